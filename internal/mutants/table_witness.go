package main

const (
	fileWitness     = "internal/detect/witness.go"
	fileMeshWitness = "mesh/witness.go"
	fileInquest     = "internal/replicate/inquest.go"
)

var witness = []Mutant{
	{
		Name: "witness-one-is-enough", Rule: "Witnesses nodes must have failed to reach a member (protocol E.1)",
		File: fileWitness, Old: "return max(min(Witnesses, alive), 1)", New: "return 1",
		Packages: detectTests + " " + meshTests, Tests: "TestEnough|TestConfirm",
	},
	{
		Name: "witness-nobody-is-enough", Rule: "a member is not down on no word at all",
		File: fileWitness, Old: "return max(min(Witnesses, alive), 1)", New: "return min(Witnesses, alive)",
		Packages: detectTests, Tests: "TestEnough",
	},
	{
		Name: "witness-outvoted", Rule: "one that reaches a member outweighs all that do not",
		File: fileWitness, Old: "reached == 0 && failed >= need", New: "failed >= need && failed > reached",
		Packages: detectTests, Tests: "TestEnough",
	},
	{
		Name: "witness-suspects-are-asked", Rule: "only those in contact are asked, and counted",
		File: fileWitness, Old: "case m.State == view.Alive && !m.Status.Gone():", New: "case !m.Status.Gone():",
		Packages: detectTests + " " + meshTests, Tests: "TestJury|TestConfirm",
	},
	{
		Name: "witness-all-from-one-zone", Rule: "witnesses are spread over zones",
		File: fileWitness, Old: "used[there[best].Zone] += 2", New: "",
		Packages: detectTests, Tests: "TestJury",
	},
	{
		Name: "witness-always-the-same", Rule: "witnesses are drawn by lot",
		File: fileWitness, Old: "rng.Shuffle(len(there), func(i, j int) { there[i], there[j] = there[j], there[i] })", New: "",
		Packages: detectTests, Tests: "TestJury",
	},
	{
		Name: "witness-on-gossip", Rule: "a member is reached by what was heard of it directly, not by gossip",
		File: fileWitness, Old: "m.state == view.Alive && m.heard && now-m.heardAt < d.par.Watch:", New: "m.state == view.Alive:",
		Packages: detectTests + " " + meshTests, Tests: "TestRandomEvents|TestConfirm|TestReach",
	},
	{
		Name: "witness-by-memory", Rule: "who asks tries the member itself, whatever it takes it for",
		File: fileMeshWitness, Old: "heard[0] = testimony{by: n.id, reach: n.reach(asking, id)}", New: "m, _ := v.Member(id)\n\theard[0] = testimony{by: n.id, reach: wire.NotReached}\n\tif m.State != view.Failed {\n\t\theard[0].reach = n.reach(asking, id)\n\t}",
		Packages: meshTests, Tests: "TestConfirm",
	},
	{
		Name: "witness-silence-counts-as-failure", Rule: "who gives no answer has not failed to reach the member",
		File: fileMeshWitness, Old: "case t.err != nil:\n", New: "case t.err != nil:\n\t\t\tw.Failed++\n",
		Packages: meshTests, Tests: "TestCountOfWitnesses",
	},
	{
		Name: "witness-who-cannot-say-counts", Rule: "who cannot say has not failed to reach the member",
		File: fileMeshWitness, Old: "case t.reach == wire.NotReached:", New: "default:",
		Packages: meshTests, Tests: "TestCountOfWitnesses",
	},
	{
		Name: "witness-had-no-time", Rule: "an attempt cut short proves nothing",
		File: fileMeshWitness, Old: "case !hadTime,", New: "case !hadTime && err == nil,",
		Packages: meshTests, Tests: "TestReachOfAnAttempt",
	},
	{
		Name: "witness-of-strangers", Rule: "who does not know a member cannot say that it is down",
		File: fileMeshWitness, Old: "case !ok || e.Status.Gone():\n\t\t\treach[i] = wire.ReachUnknown", New: "case !ok || e.Status.Gone():\n\t\t\treach[i] = wire.NotReached",
		Packages: meshTests, Tests: "TestReach",
	},
	{
		Name: "witness-probes-unbounded", Rule: "others may have only so many members probed at once",
		File: fileMeshWitness, Old: "free = false\n", New: "room++\n",
		Packages: meshTests, Tests: "TestReach",
	},
	{
		Name: "witness-unreachable-not-shown", Rule: "a view follows when a member becomes unreachable, or is not any more",
		File: "mesh/watch.go", Old: "case detect.Relisted:\n\t\tw.changed = true", New: "case detect.Relisted:",
		Packages: meshTests, Tests: "TestConfirmOfABrokenLink",
	},
	{
		Name: "witness-unreachable-not-reported", Rule: "every change of the reach row is reported (protocol E.3)",
		File: "internal/detect/detector.go", Old: "if cut := m.unreachable(&d.par); cut != m.cut {", New: "if cut := m.unreachable(&d.par); cut && !m.cut {",
		Packages: detectTests, Tests: "TestRandomEvents",
	},
	{
		Name: "heal-without-witnesses", Rule: "before data move others must have failed to reach the member (protocol E.1)",
		File: fileHeal, Old: "if h.confirmed(id) {", New: "if true {",
		Packages: pkgReplicate + " " + replicaTests, Tests: "TestHealerAsks|TestWhatOthersReach|TestNothingIsReplaced",
	},
	{
		Name: "heal-forced-without-witnesses", Rule: "an operator's word goes without the majority, not without witnesses",
		File: fileHeal, Old: "if h.confirmed(id) {", New: "if forced || h.confirmed(id) {",
		Packages: pkgReplicate + " " + replicaTests, Tests: "TestHealerAsks|TestWhatOthersReach",
	},
	{
		Name: "heal-by-an-old-word", Rule: "a confirmation is no older than half of the time to heal after",
		File: fileInquest, Old: "q.said.Confirmed && h.last-q.at <= h.after/2", New: "q.said.Confirmed",
		Packages: pkgReplicate, Tests: "TestHealerConfirmation",
	},
	{
		Name: "heal-by-any-word", Rule: "only a confirmation counts",
		File: fileInquest, Old: "q.said.Confirmed && h.last-q.at", New: "q.said.Asked > 0 && h.last-q.at",
		Packages: pkgReplicate + " " + replicaTests, Tests: "TestHealerAsks|TestWhatOthersReach|TestNothingIsReplaced",
	},
	{
		Name: "heal-asks-without-pause", Rule: "who is not confirmed is asked about again, less and less often",
		File: fileInquest, Old: "q.next = now + q.pause", New: "q.next = now",
		Packages: pkgReplicate + " " + replicaTests, Tests: "TestHealerAsks|TestWhatOthersReach",
	},
	{
		Name: "heal-asks-only-once", Rule: "who is not confirmed is asked about again",
		File: fileInquest, Old: "min(max(2*q.pause, h.after/16), h.after/2)", New: "1000 * h.after",
		Packages: pkgReplicate + " " + replicaTests, Tests: "TestHealerAsks|TestWhatOthersReach",
	},
}
