package main

const (
	hostTests  = "./internal/host"
	scoreTests = "./internal/elect"
)

var hosts = []Mutant{
	{
		Name: "host-own-group-only", Rule: "limits of the groups above count, too",
		File: "internal/host/group.go", Old: "\t\tlevels = append(levels, g)\n", New: "",
		Packages: hostTests, Tests: "TestRecordedTrees|TestLevels",
	},
	{
		Name: "host-above-the-container", Rule: "the groups that a mount shows begin at its root",
		File: "internal/host/group.go", Old: "strings.TrimPrefix(group, h.root)", New: "group",
		Packages: hostTests, Tests: "TestRecordedTrees|TestLevels",
	},
	{
		Name: "host-outside-its-mount", Rule: "of a mount that does not show the own group, only the root counts",
		File: "internal/host/group.go", Old: "if !inside(h.group, h.root) {", New: "if false {",
		Packages: hostTests, Tests: "TestLevels",
	},
	{
		Name: "host-last-quota-counts", Rule: "the tightest CPU quota counts",
		File: "internal/host/cpu.go", Old: "whole = min(whole, q.milli)", New: "whole = q.milli",
		Packages: hostTests, Tests: "TestRecordedTrees",
	},
	{
		Name: "host-last-limit-counts", Rule: "the tightest memory limit counts",
		File: "internal/host/memory.go", Old: "whole = min(whole, limit)", New: "whole = limit",
		Packages: hostTests, Tests: "TestRecordedTrees",
	},
	{
		Name: "host-last-rest-counts", Rule: "free memory is what the tightest group has left",
		File: "internal/host/memory.go", Old: "free, known = min(free, n), known && ok", New: "free, known = n, known && ok",
		Packages: hostTests, Tests: "TestRecordedTrees",
	},
	{
		Name: "host-no-limit-is-a-limit", Rule: "a limit above the memory there is limits nothing",
		File: "internal/host/memory.go", Old: "if limit >= total {", New: "if false {",
		Packages: hostTests, Tests: "TestRecordedTrees",
	},
	{
		Name: "host-cache-is-used", Rule: "cache that can be taken back is free",
		File: "internal/host/memory.go", Old: "used -= min(used, cache)", New: "used -= min(0, cache)",
		Packages: hostTests, Tests: "TestRecordedTrees",
	},
	{
		Name: "host-unknown-is-free", Rule: "a quota whose use is unknown makes what is free unknown",
		File: "internal/host/cpu.go", Old: "if !known {\n\t\t\treturn 0, false\n\t\t}", New: "if !known {\n\t\t\tcontinue\n\t\t}",
		Packages: hostTests, Tests: "TestSpoiledFiles|TestMovedGroup",
	},
	{
		Name: "host-guesses-without-limits", Rule: "amounts are unknown where the limits are",
		File: "internal/host/host.go", Old: "if err == nil { // without the limits", New: "if true { // without the limits",
		Packages: hostTests, Tests: "TestSpoiledFiles",
	},
	{
		Name: "host-time-stands-still", Rule: "two readings at one time make no share",
		File: "internal/host/cpu.go", Old: "|| c.at <= last.at ||", New: "||",
		Packages: hostTests, Tests: "TestFirstOfTwo",
	},
	{
		Name: "host-cpus-change", Rule: "readings of different CPUs are not compared",
		File: "internal/host/cpu.go", Old: "if last.cores != c.cores || ", New: "if last.cores == 0 || ",
		Packages: hostTests, Tests: "TestFirstOfTwo",
	},
	{
		Name: "host-cpus-numbered-anew", Rule: "CPUs that a container numbers anew are all counted",
		File: "internal/host/parse.go", Old: "own.cores < cores {", New: "false && cores > 0 {",
		Packages: hostTests, Tests: "TestRecordedTrees",
	},
	{
		Name: "host-battery-is-mains", Rule: "a battery that is discharging is not mains",
		File: "internal/host/power.go", Old: "case p.draining:\n\t\treturn Known(false)", New: "case p.draining:\n\t\treturn Known(true)",
		Packages: hostTests, Tests: "TestRecordedTrees|TestMains",
	},
	{
		Name: "host-battery-of-a-mouse", Rule: "supplies of devices do not power the machine",
		File: "internal/host/power.go", Old: `scope == "Device"`, New: `scope == "-"`,
		Packages: hostTests, Tests: "TestRecordedTrees",
	},
	{
		Name: "host-silence-is-battery", Rule: "a machine that reports no supply counts as on mains",
		File: "internal/host/host.go", Old: "return mains || !known", New: "return mains && known",
		Packages: hostTests, Tests: "TestRecordedTrees|TestNothing",
	},
	{
		Name: "host-wrong-file-panics", Rule: "no content of a file panics",
		File: "internal/host/parse.go", Old: "if hi >= c {", New: "if false {",
		Packages: hostTests, Tests: "TestMulDiv|FuzzTree",
	},
}

var scores = []Mutant{
	{
		Name: "score-priority-does-not-dominate", Rule: "the better priority beats whatever else there is (protocol E.2.1)",
		File: "internal/elect/score.go", Old: "scoreLift     = 2", New: "scoreLift     = 1",
		Packages: scoreTests, Tests: "TestScorePriority",
	},
	{
		Name: "score-priority-unbounded", Rule: "priorities beyond the best count as the best",
		File: "internal/elect/score.go", Old: "min(max(w.Priority, -scorePriority), scorePriority)", New: "max(w.Priority, -scorePriority)",
		Packages: scoreTests, Tests: "TestScoreGolden|TestScoreMonotone",
	},
	{
		Name: "score-of-the-unfit", Rule: "who must not lead scores zero",
		File: "internal/elect/score.go", Old: "if w.Unfit {", New: "if false {",
		Packages: scoreTests, Tests: "TestScoreGolden",
	},
	{
		Name: "score-reach-forgotten", Rule: "who reaches nobody loses against who reaches all",
		File: "internal/elect/score.go", Old: "scoreSteps(w.Reach, 48)", New: "scoreSteps(w.Reach/2, 48)",
		Packages: scoreTests, Tests: "TestScoreMainsAndReach",
	},
	{
		Name: "score-margin", Rule: "the incumbent has a margin of 15 % (protocol E.2.1)",
		File: "internal/elect/score.go", Old: "scorePercent(b, 15)", New: "scorePercent(b, 14)",
		Packages: scoreTests, Tests: "TestScoreBeats",
	},
	{
		Name: "score-margin-overflows", Rule: "any two scores can be compared: they come from peers",
		File: "internal/elect/score.go", Old: "a > b && a-b > scorePercent(b, 15)", New: "a*100 > b*115",
		Packages: scoreTests, Tests: "TestScoreBeats",
	},
	{
		Name: "score-coarse-steps", Rule: "steps of what fluctuates stay within 5 % together",
		File: "internal/elect/score.go", Old: "scoreSteps(w.FreeCPU, 24)", New: "6*scoreSteps(w.FreeCPU, 4)",
		Packages: scoreTests, Tests: "TestScoreSlack",
	},
	{
		Name: "score-noise-is-published", Rule: "a published score stays until it is off by more than 5 %",
		File: "internal/elect/score.go", Old: "scorePercent(p.score, 5)", New: "scorePercent(p.score, 0)",
		Packages: scoreTests, Tests: "TestScorePublished",
	},
	{
		Name: "score-published-at-once", Rule: "a score must be off for 10 s before another is published",
		File: "internal/elect/score.go", Old: "p.now-p.since < scoreHold", New: "false",
		Packages: scoreTests, Tests: "TestScorePublished",
	},
	{
		Name: "score-breaks-forgotten", Rule: "a score must be off without a break",
		File: "internal/elect/score.go", Old: "if off != p.off {", New: "if off != 0 && off != p.off {",
		Packages: scoreTests, Tests: "TestScorePublished",
	},
	{
		Name: "score-swings-are-published", Rule: "a score that swings about the published one is not published",
		File: "internal/elect/score.go", Old: "if off != p.off {", New: "if (off == 0) != (p.off == 0) {",
		Packages: scoreTests, Tests: "TestScoreSwing",
	},
	{
		Name: "score-zero-waits", Rule: "zero is published at once",
		File: "internal/elect/score.go", Old: "!p.ever || fresh == 0 && p.score != 0", New: "!p.ever",
		Packages: scoreTests, Tests: "TestScorePublished",
	},
	{
		Name: "score-time-goes-back", Rule: "time that goes back counts as standing still",
		File: "internal/elect/score.go", Old: "p.now = max(p.now, now)", New: "p.now = now",
		Packages: scoreTests, Tests: "TestScorePublished",
	},
}
