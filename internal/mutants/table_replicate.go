package main

const (
	fileRecord = "internal/replicate/record.go"
	fileWrite  = "internal/replicate/write.go"
	fileRead   = "internal/replicate/read.go"

	pkgReplicate = "./internal/replicate"
)

var replicate = []Mutant{
	{
		Name: "unsynced-records-are-shown", Rule: "nothing unsynced leaves a store (protocol 0.5); in the model of a disk",
		File: "internal/sim/disk.go",
		Old:  "error) { return lookup(d.synced, key) }", New: "error) { return lookup(d.latest, key) }",
		Packages: pkgSim, Tests: "TestF1_21",
	},
	{
		Name: "hints-in-a-record-apart", Rule: "one record per key and store (protocol 0.3); in the model of a shell",
		File: "internal/sim/store.go",
		Old:  "		seen := rec.Ctx\n", New: "		if !rec.Home {\n			rec.Local = reconcile.Local{}\n		}\n		seen := rec.Ctx\n",
		Packages: pkgSim, Tests: "TestF1_05|TestF1_16|TestF1_04",
	},
	{
		Name: "hint-dropped-for-an-older-item", Rule: "a hint goes only when its target holds at least the record (protocol B.3)",
		File: fileRecord,
		Old:  "if !ok || !acked.Dominates(r.Item) {", New: "if !ok {",
		Packages: pkgReplicate + " " + pkgSim, Tests: "TestF1_16",
	},
	{
		Name: "hint-dropped-for-one-home", Rule: "dropping a hint leaves the copies that the ack promised",
		File: fileRecord,
		Old:  "return n >= need && n > 0", New: "return n > 0",
		Packages: pkgReplicate + " " + pkgSim, Tests: "TestHints|TestF1_16",
	},
	{
		Name: "hint-dropped-before-the-ack", Rule: "a hint is dropped only after an ack (protocol B.3)",
		File: fileRecord,
		Old:  "	if acked(h.Target) {", New: "	if acked(h.Target) || live(h.Target) {",
		Packages: pkgSim, Tests: "TestF1_16",
	},
	{
		Name: "accept-forgets-the-role", Rule: "a record is kept under the role it was sent for (protocol 0.3)",
		File: fileRecord,
		Old:  "	return r.Take(role), out, nil", New: "	return r, out, nil",
		Packages: pkgReplicate + " " + pkgSim, Tests: "TestF1_16",
	},
	{
		Name: "stranger-commits-without-hints", Rule: "a coordinator that is no home keeps the write for the homes from the first sync on",
		File: fileWrite,
		Old:  "	if op.selfHome {\n		return []Role{HomeRole}", New: "	if true {\n		return []Role{HomeRole}",
		Packages: pkgReplicate, Tests: "TestWriteLocalRoles|TestF1_16",
	},
	{
		Name: "homeless-write-has-no-role", Rule: "a write that is kept has a role, also while all stores are on their way out",
		File: fileWrite,
		Old:  "selfHome: plan.IsHome(plan.Self) || plan.homeless(),", New: "selfHome: plan.IsHome(plan.Self),",
		Packages: pkgReplicate + " " + replicaTests, Tests: "TestWriteLocalRoles|TestWritesWhileAllAreLeaving",
	},
	{
		Name: "unreached-home-forgotten", Rule: "a home that nobody stands in for gets a hint here (protocol B.2)",
		File: fileWrite,
		Old:  "	if s.owed() {\n		out = append(out, Effect{Kind: Keep", New: "	if false {\n		out = append(out, Effect{Kind: Keep",
		Packages: pkgReplicate, Tests: "TestF1_16|TestWriteSteps",
	},
	{
		Name: "silent-home-trusted", Rule: "a live but silent store counts as dead after the ack timeout (protocol B.2)",
		File: fileWrite,
		Old:  "s.asked != 0 && now-s.since >= op.timeout {", New: "false {",
		Packages: pkgReplicate, Tests: "TestWriteSteps",
	},
	{
		Name: "ack-before-it-is-durable", Rule: "acked means synced on Durable stores (protocol B.2)",
		File: fileWrite,
		Old:  "return r.Durable >= max(stores, op.minDurable) && r.Homes >= homes", New: "return stores+homes >= 0",
		Packages: pkgReplicate, Tests: "TestWriteSteps",
	},
	{
		Name: "passing-copy-counted", Rule: "Durable counts only copies that stay",
		File: fileWrite,
		Old:  "	if op.selfHome || r.Durable < len(op.slots) {", New: "	if true {",
		Packages: pkgReplicate + " " + pkgSim, Tests: "TestWriteSteps|TestF1_16",
	},
	{
		Name: "absence-counts-anywhere", Rule: "absent at a syncing home or elsewhere proves nothing (protocol B.2)",
		File: fileRead,
		Old:  "vouches := !r.Syncing && op.plan.IsHome(r.From)", New: "vouches := true",
		Packages: pkgReplicate + " " + pkgSim, Tests: "TestReadEvidence|TestF2_04",
	},
	{
		Name: "damaged-counts-as-absent", Rule: "a bad record is unknown, not absent (protocol A.4)",
		File: fileRead,
		Old:  "	case r.Know == Absent && vouches:", New: "	case vouches:",
		Packages: pkgReplicate + " " + pkgSim, Tests: "TestReadEvidence|TestF1_11",
	},
	{
		Name: "one-absence-is-enough", Rule: "absent is concluded from a majority of homes",
		File: fileRead,
		Old:  "op.vouch = max(op.want, plan.Homes/2+1)", New: "op.vouch = op.want",
		Packages: pkgReplicate + " " + pkgSim, Tests: "TestReadEvidence|TestF1_11",
	},
	{
		Name: "delete-left-out-too-soon", Rule: "a delete is left out only if all homes say absent (protocol A.4)",
		File: fileRead,
		Old:  "		op.vouch = plan.Homes\n", New: "		op.vouch = op.want\n",
		Packages: pkgReplicate, Tests: "TestReadEvidence",
	},
	{
		Name: "strangers-make-a-quorum", Rule: "a quorum is one of homes that have caught up",
		File: fileRead,
		Old:  "		if vouches || !op.strict {", New: "		if true {",
		Packages: pkgReplicate, Tests: "TestReadEvidence",
	},
	{
		Name: "nobody-is-repaired", Rule: "replicas that are strictly behind are repaired (protocol B.2)",
		File: fileRead,
		Old:  "(r.Know != Present || !r.Item.Dominates(op.merged))", New: "r.Item.Dominates(op.merged)",
		Packages: pkgReplicate, Tests: "TestReadTimeoutsAndRepair",
	},
	{
		Name: "ready-at-once", Rule: "a home answers for absence only once it is in sync (protocol B.3)",
		File: "internal/replicate/ready.go",
		Old:  "u.ready = n >= need || everyone", New: "u.ready = n >= 0*need || everyone",
		Packages: pkgReplicate + " " + pkgSim, Tests: "TestReadiness|TestF2_04",
	},
	{
		Name: "exchange-only-pulls", Rule: "anti-entropy makes both sides equal (protocol D)",
		File: "internal/replicate/exchange.go",
		Old:  "		push = append(push, m.Key)\n", New: "",
		Packages: pkgReplicate + " " + pkgSim, Tests: "TestF1_23|TestF1_07",
	},
	{
		Name: "exchange-moves-everything", Rule: "anti-entropy moves only what differs (F1.23)",
		File: "internal/replicate/exchange.go",
		Old:  "			if theirs.Marks[i].Hash != m.Hash {", New: "			if true {",
		Packages: pkgReplicate, Tests: "TestF1_23",
	},
	{
		Name: "exchange-trusts-a-byte", Rule: "units that are equal by a byte of their digests are compared by the whole (protocol D)",
		File: "internal/replicate/exchange.go",
		Old:  "		if s.RestEqual {", New: "		if true {",
		Packages: pkgReplicate + " " + pkgSim, Tests: "TestF1_23|TestF1_07",
	},
	{
		Name: "exchange-keeps-what-only-it-has", Rule: "anti-entropy makes both sides equal (protocol D)",
		File: "internal/replicate/exchange.go",
		Old:  "		if !e.got[k] {", New: "		if false {",
		Packages: pkgReplicate + " " + pkgSim, Tests: "TestF1_23|TestF1_07",
	},
	{
		Name: "exchange-sends-back-what-it-got", Rule: "anti-entropy moves only what differs (F1.23)",
		File: "internal/replicate/exchange.go",
		Old:  "		e.got[k] = true", New: "		e.got[k] = false",
		Packages: pkgReplicate, Tests: "TestF1_23",
	},
	{
		Name: "doubt-settled-by-an-old-try", Rule: "a comparison shows nothing of what happened after it began (protocol D.5)",
		File: "internal/replicate/doubt.go",
		Old:  "at != nil && at.event == event", New: "at != nil",
		Packages: pkgReplicate, Tests: "TestDoubtsEnd",
	},
	{
		Name: "doubt-tried-without-a-pause", Rule: "a peer that does not become equal is compared with more and more seldom, and holds up no other (protocol D.5)",
		File: "internal/replicate/doubt.go",
		Old:  "at.due = now + at.wait", New: "at.due = now",
		Packages: pkgReplicate, Tests: "TestDoubtsAre",
	},
}
