package main

var badDays = []Mutant{
	{
		Name: "bad-days-full-store-refuses-for-all", Rule: "a write that one home has no room for goes to another",
		File: "replica/put.go", Old: "			if errors.Is(err, ErrStorageFull) {\n				full = err", New: "			if errors.Is(err, ErrStorageFull) && ctx == nil {\n				full = err",
		Packages: replicaTests, Tests: "TestFullDiskOfOneHome",
	},
	{
		Name: "bad-days-refused-write-may-be-kept", Rule: "a write that no store can have kept is not called uncertain",
		File: "replica/put.go", Old: "case full != nil && last == nil:", New: "case false:",
		Packages: replicaTests, Tests: "TestFullDiskAlone",
	},
	{
		Name: "bad-days-full-home-acks", Rule: "a home that has no room for a copy does not acknowledge it",
		File: "replica/serve.go", Old: "return reply(wire.CodeStorage, nil), nil\n\t}\n\tin,", New: "return reply(wire.CodeOK, nil), nil\n\t}\n\tin,",
		Packages: replicaTests, Tests: "TestFullDisksDoNotAck",
	},
	{
		Name: "bad-days-full-disk-unsaid", Rule: "a store says that its disk is full",
		File: "replica/health.go", Old: "if st.Full {", New: "if st.Full && st.DiskBytes == 0 {",
		Packages: replicaTests, Tests: "TestFullDiskOfOneHome",
	},
	{
		Name: "bad-days-failed-disk-unsaid", Rule: "a store says that its disk has failed, and what to do",
		File: "replica/health.go", Old: "if errors.Is(err, ErrStorage) {", New: "if errors.Is(err, ErrStorage) && ctx == nil {",
		Packages: replicaTests, Tests: "TestFailedDiskOfOneHome",
	},
	{
		Name: "bad-days-any-bytes-wait", Rule: "memory is bounded by bytes, not by the number of writes alone",
		File: "replica/gate.go", Old: "b > s.cfg.MaxPendingBytes && n > 1", New: "b > 1<<40 && n > 1",
		Packages: replicaTests, Tests: "TestWritersFasterThanTheDisk",
	},
	{
		Name: "bad-days-copies-pile-up", Rule: "what waits for a slow store is bounded, too",
		File: "replica/lanes.go", Old: "p.bytes+n > l.room", New: "p.bytes+n > 1<<40",
		Packages: replicaTests, Tests: "TestCopiesForASlowStoreAreBounded",
	},
	{
		Name: "bad-days-no-hint-when", Rule: "who is refused for load learns when to try again",
		File: "replica/bucket.go", Old: "return Result{}, overload{retryAfter}", New: "return Result{}, overload{}",
		Packages: replicaTests, Tests: "TestOverload|TestWritersFasterThanTheDisk",
	},
	{
		Name: "bad-days-blocked-purge-unsaid", Rule: "that a purge waits for a member is told after a week",
		File: "replica/purgewait.go", Old: "waits := w.waits && ran >= purgePatience &&", New: "waits := w.waits && ran >= 100*purgePatience &&",
		Packages: replicaTests, Tests: "TestGoneForAMonth|TestPurgeWaits",
	},
	{
		Name: "bad-days-purged-behind-a-back", Rule: "nothing is forgotten that a member, however long it is away, has not acknowledged",
		File: "replica/layout.go", Old: "\t\tif m.Storing {\n", New: "\t\tif m.Storing && m.State != view.Failed {\n",
		Packages: replicaTests, Tests: "TestGoneForAMonth|TestPurgeWaits",
	},
	{
		Name: "scrub-looks-at-nothing", Rule: "damage that nobody reads is found within a period",
		File: "replica/scrub.go", Old: "rec.unknown {", New: "rec.unknown && size < 0 {",
		Packages: replicaTests, Tests: "TestScrubFinds",
	},
	{
		Name: "bad-days-full-disk-keeps-to-itself", Rule: "what only a full store has goes to the other homes (protocol D, B.3)",
		File: "replica/exchange.go", Old: "	if errors.Is(err, ErrStorageFull) {\n		for i := range in {", New: "	if false {\n		for i := range in {",
		Packages: replicaTests, Tests: "TestFullDiskGivesAway",
	},
}
