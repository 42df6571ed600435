package main

const (
	fileImport      = "internal/purge/import.go"
	fileImports     = "replica/import.go"
	fileImportShard = "replica/importshard.go"
	fileImportLog   = "replica/importlog.go"
	fileFormer      = "replica/former.go"
)

var imports = []Mutant{
	{
		Name: "import-what-was-purged", Rule: "what the log of purges names dies in old data (protocol A.8)",
		File: fileImport,
		Old:  "known := version.Merge(o.Known, o.Gone)", New: "known := o.Known",
		Packages: pkgPurge, Tests: "TestImportRules|TestF1_26",
	},
	{
		Name: "import-brings-back-without-the-log", Rule: "what is brought has caught up with the log (protocol A.8)",
		File: fileImport,
		Old:  "out.Bring = version.Merge(out.Bring, o.Gone)", New: "out.Bring = version.Merge(out.Bring, o.Known)",
		Packages: pkgPurge, Tests: "TestF1_26",
	},
	{
		Name: "import-although-nobody-remembers", Rule: "a log shorter than the gap: refuse (protocol A.8)",
		File: fileImport,
		Old:  "case !seen && !o.Whole && s.Flags&version.Tomb == 0:", New: "case false:",
		Packages: pkgPurge, Tests: "TestImportRules|TestF1_26",
	},
	{
		Name: "import-context-of-what-is-withheld", Rule: "a context says nothing of what was refused, or it would delete it elsewhere",
		File: fileImport,
		Old:  "			e.N = n - 1", New: "			e.N = max(n-1, e.N)",
		Packages: pkgPurge, Tests: "TestImportRules|TestF1_26",
	},
	{
		Name: "import-doubted-context", Rule: "what a twin says of its own dots is not merged (protocol A.5.4)",
		File: fileImport,
		Old:  "		if unsure(e.A) {\n			continue\n		}\n", New: "",
		Packages: pkgPurge, Tests: "TestImportRules|TestF1_26",
	},
	{
		Name: "import-doubted-dots", Rule: "values under doubted dots come as new dots (protocol A.5.4)",
		File: fileImport,
		Old:  "case !unsure(s.Dot.A):", New: "case true:",
		Packages: pkgPurge, Tests: "TestImportRules|TestF1_26",
	},
	{
		Name: "import-twin-brings-back-the-dead", Rule: "what the mesh has seen and deleted later stays dead, in an old image too (F2.11)",
		File: fileImport,
		Old:  "return s.HLC > known.HLC", New: "return s.HLC > 0",
		Packages: pkgPurge + " " + replicaTests, Tests: "TestImportRules|TestF1_26|TestF2_13_RolledBack",
	},
	{
		Name: "import-twin-loses-a-reused-dot", Rule: "a twin's write under a dot that is dead in the mesh is kept if it is later (F2.13)",
		File: fileImport,
		Old:  "return s.HLC > known.HLC", New: "return false",
		Packages: pkgPurge + " " + replicaTests, Tests: "TestImportRules|TestF1_26|TestF2_13_RolledBack",
	},
	{
		Name: "import-believes-a-dot-of-two-dates", Rule: "a dot that turns out to name two writes is in doubt, whoever gave it out",
		File: fileImport,
		Old:  "return doubted != nil && doubted(a) || twice[a] }", New: "return doubted != nil && doubted(a) || twice == nil && twice[a] }",
		Packages: pkgPurge, Tests: "TestImportRules",
	},
	{
		Name: "import-log-always-reaches-back", Rule: "a log shorter than the gap proves nothing (protocol A.8)",
		File: fileStamp,
		Old:  "return !m.Acked.Before(theirs.Acked) || !m.Acked.Before(from)", New: "return from == from",
		Packages: pkgPurge + " " + replicaTests, Tests: "TestReaches|TestShortLogRefusesOldData",
	},
	{
		Name: "import-asks-who-is-behind", Rule: "only who knows of all rounds can tell what was purged",
		File: fileImportLog,
		Old:  "		if tops.of[id][shard].Acked.Before(top.Acked) {", New: "		if false {",
		Packages: replicaTests, Tests: "TestLogOfWhoIsBehind",
	},
	{
		Name: "import-refuses-while-members-are-away", Rule: "nothing is refused while a member that may remember is away",
		File: fileImportLog,
		Old:  "	case len(tops.away) > 0:\n", New: "	case false:\n",
		Packages: replicaTests, Tests: "TestOldDataWaitsForALog",
	},
	{
		Name: "import-twins-equal-dots-prove-it", Rule: "where dots are in doubt, records with equal dots may hold other values",
		File: fileImportShard,
		Old:  "		if w.f.doubted() == nil { // else the same dots prove nothing", New: "		if true {",
		Packages: replicaTests, Tests: "TestF2_13_RolledBack",
	},
	{
		Name: "import-ends-on-few-homes", Rule: "old data goes only when more than half of the homes hold it",
		File: fileImportShard,
		Old:  "	if synced < most {", New: "	if synced < 0 {",
		Packages: replicaTests, Tests: "TestOldDataStaysUntilHomesHaveIt",
	},
	{
		Name: "import-writes-anew-again", Rule: "a restart does not write values anew a second time",
		File: fileImportShard,
		Old:  "			if bytes.Compare(at.record, w.state.Anew) <= 0 {", New: "			if bytes.Compare(at.record, nil) <= 0 {",
		Packages: replicaTests, Tests: "TestOldDataStaysUntilHomesHaveIt",
	},
	{
		Name: "import-removes-what-was-refused", Rule: "what was refused is never deleted",
		File: fileImports,
		Old:  "keep := refused+unread > 0", New: "keep := unread > 0",
		Packages: replicaTests, Tests: "TestShortLogRefusesOldData",
	},
	{
		Name: "import-removes-what-does-not-read", Rule: "old data that does not read is kept",
		File: fileImports,
		Old:  "keep := refused+unread > 0", New: "keep := refused > 0",
		Packages: replicaTests, Tests: "TestDamagedOldRecordIsNamed",
	},
	{
		Name: "import-of-another-mesh", Rule: "meshes do not mix",
		File: fileFormer,
		Old:  "case err == nil && id.Mesh != v.Mesh:", New: "case false:",
		Packages: replicaTests, Tests: "TestOldDataThatIsLeftAsItIs",
	},
	{
		Name: "import-writes-into-the-old-store", Rule: "nothing is written into an old store",
		File: fileFormer,
		Old:  "ReadOnly: true, ", New: "",
		Packages: replicaTests, Tests: "TestDamagedOldRecordIsNamed",
	},
	{
		Name: "import-trusts-a-twin", Rule: "dots of a store that was rolled back are in doubt (protocol A.5.4)",
		File: fileFormer,
		Old:  "f.twin = err == nil && id.End == wire.EndRolled", New: "f.twin = err != nil && id.End == wire.EndRolled",
		Packages: replicaTests, Tests: "TestF2_13_RolledBack",
	},
	{
		Name: "import-delivers-an-outbox-of-nobody-knows-which-mesh", Rule: "meshes do not mix",
		File: "replica/importoutbox.go",
		Old:  "!id.Storing && id.Mesh == s.mesh.View().Mesh {", New: "!id.Storing {",
		Packages: replicaTests, Tests: "TestFormerOutboxOfAnotherMesh",
	},
	{
		Name: "import-forgets-the-outbox", Rule: "what waits in an outbox is data of a former identity, too",
		File: "replica/import.go",
		Old:  "		s.imports.outbox, err = s.findOutbox()\n", New: "",
		Packages: replicaTests, Tests: "TestFormerOutboxIsDelivered",
	},
	{
		Name: "import-doubts-who-was-evicted", Rule: "a store that was given up has given out its dots once: what was deleted stays so",
		File: fileFormer,
		Old:  "f.twin = err == nil && id.End == wire.EndRolled", New: "f.twin = err == nil",
		Packages: replicaTests, Tests: "TestEvictedStoreBringsItsWrites",
	},
}
