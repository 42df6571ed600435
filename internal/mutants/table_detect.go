package main

const detectTests = "./internal/detect"

var detect = []Mutant{
	{
		Name: "detect-gossip-kills", Rule: "nobody is failed without direct probes that failed (protocol E.1)",
		File: "internal/detect/detector.go", Old: "if d.judge(m); m.state != view.Failed {", New: "d.set(m, view.Failed, BySilence)\n\tif m.state != view.Failed {",
		Packages: detectTests, Tests: "TestRandomEvents",
	},
	{
		Name: "detect-one-failure-is-enough", Rule: "Probes direct attempts in a row must fail (protocol E.1)",
		File: "internal/detect/detector.go", Old: "if m.fails < d.par.Probes {\n\t\treturn\n\t}", New: "if m.fails < 1 {\n\t\treturn\n\t}",
		Packages: detectTests, Tests: "TestRandomEvents",
	},
	{
		Name: "detect-failed-though-gossip-says-alive", Rule: "a one-way link makes nobody failed (protocol E.1, F2.9)",
		File: "internal/detect/detector.go", Old: "case m.gossip != up && m.state != view.Failed:", New: "case m.state != view.Failed:",
		Packages: detectTests, Tests: "TestRandomEvents|TestOneWay|TestKilled",
	},
	{
		Name: "detect-gossip-revives", Rule: "gossip brings nobody back that was given up here (protocol E.1)",
		File: "internal/detect/detector.go", Old: "case m.state == view.Unknown && m.fails == 0 && !m.probing:", New: "case m.state != view.Alive:",
		Packages: detectTests, Tests: "TestRandomEvents|TestOneWay",
	},
	{
		Name: "detect-success-counts-for-nothing", Rule: "a direct success ends the row of failures",
		File: "internal/detect/detector.go", Old: "m.fails, m.probing, m.due, m.urgent = 0, false, Never, false", New: "m.probing, m.due, m.urgent = false, Never, false",
		Packages: detectTests, Tests: "TestRandomEvents",
	},
	{
		Name: "detect-success-leaves-suspect", Rule: "a direct success restores alive at once",
		File: "internal/detect/detector.go", Old: "d.set(m, view.Alive, ByProbe)", New: "if m.state != view.Suspect {\n\t\td.set(m, view.Alive, ByProbe)\n\t}",
		Packages: detectTests, Tests: "TestRandomEvents",
	},
	{
		Name: "detect-left-returns", Rule: "left is final (F1.17)",
		File: "internal/detect/detector.go", Old: "if m.state == view.Departed {\n\t\treturn\n\t}", New: "",
		Packages: detectTests, Tests: "TestDeparted|TestRandomEvents",
	},
	{
		Name: "detect-standstill-accuses", Rule: "a process that stood still accuses nobody",
		File: "internal/detect/detector.go", Old: "if d.now-m.sent > 2*d.par.ProbeTimeout {", New: "if false {",
		Packages: detectTests, Tests: "TestStandstill",
	},
	{
		Name: "detect-probes-unbounded", Rule: "mass failure keeps to the pace of probes",
		File: "internal/detect/detector.go", Old: "d.agenda.ready.Len() > 0 && d.probes.allow(d.now)", New: "d.agenda.ready.Len() > 0 && (d.probes.allow(d.now) || true)",
		Packages: detectTests, Tests: "TestRandomEvents|TestMassFailure",
	},
	{
		Name: "detect-flaps", Rule: "gossip must last before a failed member counts again",
		File: "internal/detect/detector.go", Old: "d.now-m.upSince >= d.par.Hold:", New: "true:",
		Packages: detectTests, Tests: "TestRandomEvents|TestOneWay",
	},
	{
		Name: "detect-poor-link-flaps", Rule: "one lately in doubt is not suspected for one failure",
		File: "internal/detect/member.go", Old: "return par.Probes\n\t}\n\treturn 1", New: "return 1\n\t}\n\treturn 1",
		Packages: detectTests, Tests: "TestPoorLink",
	},
	{
		Name: "detect-broken-connection-waits", Rule: "a broken connection is probed at once",
		File: "internal/detect/detector.go", Old: "case Broken:\n\t\td.doubt(m, ByBroken, d.par.ProbeTimeout/4)", New: "case Broken:",
		Packages: detectTests, Tests: "TestKilled",
	},
	{
		Name: "detect-down-while-alone", Rule: "down-timers count own run time while somebody is seen (protocol B.3, F1.18)",
		File: "internal/detect/detector.go", Old: "if d.others > 0 {\n\t\td.seen += min(now-d.now, maxGap)\n\t}", New: "d.seen += now - d.now",
		Packages: detectTests, Tests: "TestDowntime",
	},
	{
		Name: "detect-redial-gives-up", Rule: "lost members are redialled for ever (protocol E.1)",
		File: "internal/detect/redial.go", Old: "case m.gossip != up || m.state == view.Failed:", New: "case m.gossip == silent:",
		Packages: detectTests, Tests: "TestLongCut|TestRedial",
	},
	{
		Name: "detect-redial-by-every-node", Rule: "one attempt per member and interval of the whole component (protocol E.1)",
		File: "internal/detect/redial.go", Old: "return mean * time.Duration(d.Size())", New: "return mean",
		Packages: detectTests, Tests: "TestRedialKeeps",
	},
	{
		Name: "detect-lost-answer-blocks", Rule: "a probe whose outcome never comes does not end probing",
		File: "internal/detect/detector.go", Old: "wake = m.sent + d.lost()", New: "wake = Never",
		Packages: detectTests, Tests: "TestLostOutcome",
	},
	{
		Name: "detect-no-sweep", Rule: "when many are lost at once the rest is probed",
		File: "internal/detect/detector.go", Old: "massShare  = 20", New: "massShare  = 1",
		Packages: detectTests, Tests: "TestSweepAfterAMassLoss",
	},
	{
		Name: "detect-sweeps-all-the-time", Rule: "sweeps keep their distance",
		File: "internal/detect/detector.go", Old: "|| d.now < d.sweepAt {", New: "|| d.now < 0 {",
		Packages: detectTests, Tests: "TestSweepsKeepTheirDistance",
	},
	{
		Name: "detect-urgent-waits", Rule: "urgent probes go before those that are not",
		File: "internal/detect/agenda.go", Old: "return a.first", New: "return b.first",
		Packages: detectTests, Tests: "TestAgendaKeepsOrder",
	},
	{
		Name: "detect-agenda-sorted-anew", Rule: "a probe does not cost a look at all members",
		File: "internal/detect/detector.go", Old: "d.agenda.ready.Len() > 0 && d.probes.allow(d.now)",
		New:      "len(append([]*member(nil), d.agenda.ready.members...)) > 0 && d.probes.allow(d.now)",
		Packages: detectTests, Tests: "TestProbesOf",
	},
}
