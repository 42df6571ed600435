package main

const situationTests = "./internal/situation"

var situation = []Mutant{
	{
		Name: "situation-half-is-enough", Rule: "the minority ends with a strict majority of the storing members",
		File: "internal/situation/modes.go", Old: "2*here <= all", New: "2*here < all",
		Packages: situationTests, Tests: "TestModesFollow|TestHalf",
	},
	{
		Name: "situation-cameras-count", Rule: "all majorities count storing members (protocol 0.6)",
		File: "internal/situation/modes.go", Old: "if all == 0 {", New: "if true {",
		Packages: situationTests, Tests: "TestModesFollow|TestHalf",
	},
	{
		Name: "situation-start-is-a-cut", Rule: "a cold start is not taken for a cut",
		File: "internal/situation/modes.go", Old: "m.settled = m.settled || f.Ready ||", New: "m.settled = true || f.Ready ||",
		Packages: situationTests, Tests: "TestModesFollow|TestColdStart",
	},
	{
		Name: "situation-starts-for-ever", Rule: "who meets nobody for ReadyAfter is alone",
		File: "internal/situation/modes.go", Old: "m.now-m.start >= m.par.ReadyAfter ||", New: "",
		Packages: situationTests, Tests: "TestModesFollow|TestColdStart",
	},
	{
		Name: "situation-enters-at-once", Rule: "a mode is entered after a delay",
		File: "internal/situation/modes.go", Old: "return l.since + par.EnterAfter", New: "return l.since",
		Packages: situationTests, Tests: "TestModesFollow|TestFlapping",
	},
	{
		Name: "situation-leaves-at-once", Rule: "a mode is left after a delay",
		File: "internal/situation/modes.go", Old: "return l.since + par.LeaveAfter", New: "return l.since",
		Packages: situationTests, Tests: "TestModesFollow|TestFlapping",
	},
	{
		Name: "situation-broken-delay-counts-on", Rule: "a delay starts afresh when the condition breaks off",
		File: "internal/situation/modes.go", Old: "if holds == l.on {\n\t\tl.since = Never", New: "if holds == l.on {",
		Packages: situationTests, Tests: "TestModesFollow|TestFlapping",
	},
	{
		Name: "situation-lowest-mode-wins", Rule: "alone goes before minority, minority before local",
		File: "internal/situation/modes.go", Old: "holds[i], &m.par) {\n\t\t\tmode = i", New: "holds[i], &m.par) && mode == Normal {\n\t\t\tmode = i",
		Packages: situationTests, Tests: "TestModesFollow",
	},
	{
		Name: "situation-one-failure-cuts-off", Rule: "Failures in a row make the cloud unreachable",
		File: "internal/situation/reachability.go", Old: "r.failures = 0\n\t\tr.successes++", New: "r.successes++",
		Packages: situationTests, Tests: "TestReachability",
	},
	{
		Name: "situation-one-success-is-a-return", Rule: "Successes in a row make the cloud reachable",
		File: "internal/situation/reachability.go", Old: "case r.successes >= r.par.Successes:", New: "case r.successes >= 1:",
		Packages: situationTests, Tests: "TestReachability",
	},
	{
		Name: "situation-probes-all-at-once", Rule: "pauses between probes are spread by chance",
		File: "internal/situation/reachability.go", Old: "time.Duration(float64(d) * chance)", New: "d",
		Packages: situationTests, Tests: "TestPause|TestBackoff",
	},
	{
		Name: "situation-backoff-without-end", Rule: "the pause between probes is bounded",
		File: "internal/situation/reachability.go", Old: "min(top, limit-top)", New: "top",
		Packages: situationTests, Tests: "TestPause|TestBackoff",
	},
	{
		Name: "situation-probers-by-own-order", Rule: "all nodes of a component choose the same probers",
		File: "internal/situation/verdict.go", Old: "slices.SortFunc(chosen,", New: "slices.SortFunc([]view.NodeID{},",
		Packages: situationTests, Tests: "TestProbers",
	},
	{
		Name: "situation-reports-never-age", Rule: "only fresh reports count",
		File: "internal/situation/verdict.go", Old: "|| v.now >= ends ||", New: "||",
		Packages: situationTests, Tests: "TestVerdict",
	},
	{
		Name: "situation-reports-of-the-other-side", Rule: "reports from outside the component do not count",
		File: "internal/situation/verdict.go", Old: "|| !slices.Contains(component, r.Node)", New: "",
		Packages: situationTests, Tests: "TestVerdict",
	},
	{
		Name: "situation-last-report-wins", Rule: "one node that reaches the cloud is enough",
		File: "internal/situation/verdict.go", Old: "if heard != Reachable {", New: "if true {",
		Packages: situationTests, Tests: "TestVerdict",
	},
	{
		Name: "situation-verdict-for-ever", Rule: "without reports the verdict becomes unknown after a while",
		File: "internal/situation/verdict.go", Old: "case v.now >= v.until:", New: "case false:",
		Packages: situationTests, Tests: "TestVerdict",
	},
	{
		Name: "situation-verdict-forgotten-at-once", Rule: "without reports the verdict is kept for a while",
		File: "internal/situation/verdict.go", Old: "v.until = max(v.until, ends+v.par.KeepFor)", New: "v.until = ends",
		Packages: situationTests, Tests: "TestVerdict",
	},
}

const drawTests = "./internal/situation/draw"

var draw = []Mutant{
	{
		Name: "draw-names-as-markup", Rule: "names of others are text in an image, never markup",
		File: "internal/situation/draw/svg.go", Old: "anchor, html.EscapeString(words))", New: "anchor, words)",
		Packages: drawTests, Tests: "TestDrawings|FuzzNames",
	},
	{
		Name: "draw-titles-as-markup", Rule: "names of others are text in an image, never markup",
		File: "internal/situation/draw/svg.go", Old: "html.EscapeString(d.about(m))", New: "d.about(m)",
		Packages: drawTests, Tests: "TestDrawings|FuzzNames",
	},
	{
		Name: "draw-names-move-the-cursor", Rule: "names of others hold nothing that acts on a terminal",
		File: "internal/situation/draw/clean.go", Old: "if unicode.IsPrint(r) {", New: "if r >= ' ' || unicode.IsPrint(r) {",
		Packages: drawTests, Tests: "TestDrawings|FuzzNames",
	},
	{
		Name: "draw-order-of-a-map", Rule: "equal pictures give equal bytes",
		File: "internal/situation/draw/picture.go", Old: "cmp.Compare(a.zone, b.zone), cmp.Compare(a.label, b.label), cmp.Compare(a.ID, b.ID))", New: "cmp.Compare(a.zone, b.zone))",
		Packages: drawTests, Tests: "TestOrderOfInput",
	},
	{
		Name: "draw-nodes-on-each-other", Rule: "each node has a place of its own",
		File: "internal/situation/draw/layout.go", Old: "math.Sqrt(float64(i)+0.5)", New: "math.Sqrt(float64(i/2)+0.5)",
		Packages: drawTests, Tests: "TestEveryNode",
	},
	{
		Name: "picture-one-way-by-silence", Rule: "a link is said to work one way only if the other end would be heard to deny it",
		File: "partition/picture.go", Old: "return told && (m.State == view.Alive || m.Unreachable)", New: "return told || m.State != view.Unknown",
		Packages: "./partition", Tests: "TestDoubtfulLinks",
	},
	{
		Name: "picture-the-lost-as-a-component", Rule: "of those out of contact nobody says that they reach each other",
		File: "partition/picture.go", Old: "Components: [][]view.NodeID{s.component}", New: "Components: split.Components(s.view, s.rows)",
		Packages: "./partition", Tests: "TestTextOfACut",
	},
	{
		Name: "picture-leader-of-nobody", Rule: "an election without a known leader is shown as such",
		File: "partition/picture.go", Old: "if l.Token.IsZero() {", New: "if false {",
		Packages: "./partition", Tests: "TestTextOf",
	},
}
