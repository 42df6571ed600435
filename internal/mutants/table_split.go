package main

const splitTests = "./internal/split"

var split = []Mutant{
	{
		Name: "split-one-way-link-counts", Rule: "a link that one end denies is none (protocol E.3, F2.9)",
		File: "internal/split/graph.go", Old: "if g.doubts(a, b) || g.doubts(b, a) {", New: "if g.doubts(a, b) && g.doubts(b, a) {",
		Packages: splitTests, Tests: "TestF1_27",
	},
	{
		Name: "split-suspect-is-linked", Rule: "a suspect member has no direct link (protocol E.3)",
		File: "internal/split/graph.go", Old: "return !g.direct[b]", New: "return false",
		Packages: splitTests, Tests: "TestF1_27",
	},
	{
		Name: "split-old-own-row-counts", Rule: "of its own links a node believes its view",
		File: "internal/split/graph.go", Old: "return !g.direct[b]", New: "return !g.direct[b] || g.rows[a].lists(g.ids[b])",
		Packages: splitTests, Tests: "TestComponent",
	},
	{
		Name: "split-no-relays", Rule: "a component is what is reached, relays allowed (protocol E.3)",
		File: "internal/split/graph.go", Old: "i < len(found) && len(rest) > 0", New: "i < 1 && len(rest) > 0",
		Packages: splitTests, Tests: "TestF1_27",
	},
	{
		Name: "split-failed-in-component", Rule: "only who is alive or suspect is in a component",
		File: "internal/split/graph.go", Old: "m.State == view.Alive || m.State == view.Suspect:", New: "m.State != view.Unknown:",
		Packages: splitTests, Tests: "TestF1_27",
	},
	{
		Name: "split-gone-in-component", Rule: "who left or was evicted is in no component",
		File: "internal/split/graph.go", Old: "case m.Status.Gone():\n\t\tcase m.State", New: "case m.State",
		Packages: splitTests, Tests: "TestComponent",
	},
	{
		Name: "split-isolated-linked-to-isolated", Rule: "no link is assumed where nobody is left to ask",
		File: "internal/split/graph.go", Old: "return own || !g.rows[a].Isolated || !g.rows[b].Isolated", New: "return own || true",
		Packages: splitTests, Tests: "TestComponent|TestBridge",
	},
	{
		Name: "split-isolated-linked-to-nobody", Rule: "an isolated node is linked to those that do not list it",
		File: "internal/split/graph.go", Old: "return own || !g.rows[a].Isolated || !g.rows[b].Isolated", New: "return own || !g.rows[a].Isolated && !g.rows[b].Isolated",
		Packages: splitTests, Tests: "TestComponent|TestBridge",
	},
	{
		Name: "split-row-unbounded", Rule: "a row lists 64 members at most (protocol E.3)",
		File: "internal/split/graph.go", Old: "if len(ids) > MaxExceptions {", New: "if len(ids) > 2*MaxExceptions {",
		Packages: splitTests, Tests: "TestNewRow",
	},
	{
		Name: "split-cold-start-suspects", Rule: "who was never met is not lost (F1.18)",
		File: "internal/split/verdict.go", Old: "if r == nil {\n\t\treturn false\n\t}", New: "if r == nil {\n\t\tr = &member{since: w.now}\n\t\tw.met[m.ID] = r\n\t}",
		Packages: splitTests, Tests: "TestColdStart|TestSituation",
	},
	{
		Name: "split-losses-of-any-time", Rule: "only losses close to each other speak for a cut (protocol E.3)",
		File: "internal/split/situation.go", Old: "at-times[first] > w.par.Window", New: "false",
		Packages: splitTests, Tests: "TestSituation",
	},
	{
		Name: "split-one-loss-is-a-cut", Rule: "at least two members must be lost (protocol E.3)",
		File: "internal/split/situation.go", Old: "n >= max(2, (all+4)/5)", New: "n >= (all+4)/5",
		Packages: splitTests, Tests: "TestSituation",
	},
	{
		Name: "split-a-fifth-rounded-down", Rule: "at least 20 % of the roster must be lost (protocol E.3)",
		File: "internal/split/situation.go", Old: "n >= max(2, (all+4)/5)", New: "n >= max(2, all/5)",
		Packages: splitTests, Tests: "TestSituation",
	},
	{
		Name: "split-lone-node-is-a-zone", Rule: "one dead node in a zone of its own is no cut",
		File: "internal/split/situation.go", Old: "t.lost < 2 ||", New: "t.lost < 1 ||",
		Packages: splitTests, Tests: "TestSituation",
	},
	{
		Name: "split-part-of-a-zone", Rule: "the whole zone must be lost (protocol E.3)",
		File: "internal/split/situation.go", Old: "|| t.lost+t.unmet < t.all {", New: "{",
		Packages: splitTests, Tests: "TestSituation",
	},
	{
		Name: "split-suspicion-fades", Rule: "a suspicion is kept until nobody is lost",
		File: "internal/split/situation.go", Old: "case was.Kind == PartitionSuspected && !grew:", New: "case grew && false:",
		Packages: splitTests, Tests: "TestSituation",
	},
	{
		Name: "split-suspicion-spreads", Rule: "a suspicion does not cover who is lost later for other reasons",
		File: "internal/split/situation.go", Old: "case was.Kind == PartitionSuspected && !grew:", New: "case was.Kind == PartitionSuspected && (!grew || true):",
		Packages: splitTests, Tests: "TestSituation",
	},
	{
		Name: "split-evicted-stays-lost", Rule: "who is gone is not lost",
		File: "internal/split/watcher.go", Old: "case m.Status.Gone():\n\t\t\tdelete(w.met, m.ID)", New: "case false:",
		Packages: splitTests, Tests: "TestSituation|TestVerdict",
	},
	{
		Name: "split-bridge-unseen", Rule: "evidence names the nodes that others hang together through",
		File: "internal/split/situation.go", Old: "if len(groups) < 2 {", New: "if len(groups) < 3 {",
		Packages: splitTests, Tests: "TestEvidence|TestF2_09",
	},
	{
		Name: "split-boot-ignored", Rule: "a changed boot is a restart (protocol E.3, F1.27)",
		File: "internal/split/verdict.go", Old: "case life.Boot == r.boot && r.ranUntilBack(life):", New: "case r.ranUntilBack(life):",
		Packages: splitTests, Tests: "TestVerdict",
	},
	{
		Name: "split-restart-unseen-in-the-report", Rule: "a changed boot is a restart (protocol E.3, F1.27)",
		File: "internal/split/verdict.go", Old: "case life.Boot > r.boot && life.At-life.Uptime <= r.backAt:", New: "case false:",
		Packages: splitTests, Tests: "TestF1_27",
	},
	{
		Name: "split-restart-unseen-in-the-view", Rule: "a changed boot is a restart (protocol E.3, F1.27)",
		File: "internal/split/verdict.go", Old: "case boot > r.boot && now-r.backAt <= lead:", New: "case boot > r.boot && now < 0:",
		Packages: splitTests, Tests: "TestVerdict",
	},
	{
		Name: "split-restart-after-return-blamed", Rule: "a restart after the return does not explain the outage (F1.27)",
		File: "internal/split/verdict.go", Old: "case life.Boot > r.boot && life.At-life.Uptime <= r.backAt:", New: "case life.Boot > r.boot:",
		Packages: splitTests, Tests: "TestF1_27",
	},
	{
		Name: "split-boot-after-return-blamed", Rule: "a boot counter that grows after the return does not explain the outage (F1.27)",
		File: "internal/split/verdict.go", Old: "case boot > r.boot && now-r.backAt <= lead:", New: "case boot > r.boot:",
		Packages: splitTests, Tests: "TestF1_27",
	},
	{
		Name: "split-old-report-counts", Rule: "only a report made after the return proves that the process ran (protocol E.3, F1.27)",
		File: "internal/split/verdict.go", Old: "case life.Boot == r.boot && r.ranUntilBack(life):", New: "case life.Boot == r.boot:",
		Packages: splitTests, Tests: "TestF1_27",
	},
	{
		Name: "split-uptime-over-outage-is-enough", Rule: "a report of before the loss that comes late proves nothing",
		File: "internal/split/verdict.go", Old: "if r.life.Boot == r.boot {", New: "if false {",
		Packages: splitTests, Tests: "TestVerdict",
	},
	{
		Name: "split-report-from-before-the-return", Rule: "a report that came before the return proves nothing (F1.27)",
		File: "internal/split/verdict.go", Old: "life.At >= r.backAt-lead && ", New: "",
		Packages: splitTests, Tests: "TestVerdict",
	},
	{
		Name: "split-uptime-of-another-process", Rule: "uptime is compared within one process",
		File: "internal/split/verdict.go", Old: "if r.life.Boot == r.boot {", New: "if true {",
		Packages: splitTests, Tests: "TestVerdict",
	},
	{
		Name: "split-verdict-without-comparison", Rule: "without a boot from before the loss there is no verdict",
		File: "internal/split/verdict.go", Old: "case r.boot == 0:", New: "case false:",
		Packages: splitTests, Tests: "TestVerdict",
	},
	{
		Name: "split-verdict-at-once", Rule: "the report of a member that is back is waited for",
		File: "internal/split/verdict.go", Old: "if !sure && w.now-r.backAt < w.par.VerdictWait {", New: "if !sure && false {",
		Packages: splitTests, Tests: "TestF1_27",
	},
	{
		Name: "split-seeming-return-counts", Rule: "who is back by what others say is back when it is heard",
		File: "internal/split/verdict.go", Old: "r.phase == lost || r.phase == back && r.byRows && heard", New: "r.phase == lost",
		Packages: splitTests, Tests: "TestVerdict",
	},
	{
		Name: "split-outage-starts-anew", Rule: "who goes again before the verdict was not back",
		File: "internal/split/verdict.go", Old: "if r.phase == here {\n\t\tr.since = w.now", New: "if r.phase != lost {\n\t\tr.since = w.now",
		Packages: splitTests, Tests: "TestVerdict",
	},
	{
		Name: "split-row-taken-back-late", Rule: "a row does not call a link broken for longer than it must (protocol E.3)",
		File: "internal/split/doubts.go", Old: "pause := takeBackPause", New: "pause := rowPause",
		Packages: splitTests, Tests: "TestRowsKeepTheirPace",
	},
}
