package main

const replicaTests = "./replica"

var replica = []Mutant{
	{
		Name: "replica-put-hands-back-all", Rule: "a write covers only what its client was shown (protocol A.4)",
		File: "replica/put.go", Old: "seen: op.wrote.Seen, dot", New: "seen: reconcile.SeenOf(op.wrote.Local.Item), dot",
		Packages: replicaTests, Tests: "TestPutHandsBack",
	},
	{
		Name: "replica-damaged-is-absent", Rule: "a damaged record is unknown, never absent (protocol 0.3, A.4)",
		File: "replica/record.go", Old: "return stored{unknown: true}, nil", New: "return stored{}, nil",
		Packages: replicaTests, Tests: "TestDamagedRecord",
	},
	{
		Name: "replica-writes-on-what-it-does-not-know", Rule: "where a store knows nothing it asks the others before it bases a write on that (protocol A.4)",
		File: "replica/record.go", Old: "if old.Unknown() && !on.damage &&", New: "if false && old.Unknown() && !on.damage &&",
		Packages: replicaTests, Tests: "TestDamagedRecord",
	},
	{
		Name: "replica-syncing-home-vouches", Rule: "absence at a home that has not caught up proves nothing (protocol B.2)",
		File: "replica/ready.go", Old: "return v != nil && (*v)[shard].Load()", New: "return v != nil",
		Packages: replicaTests, Tests: "TestSyncingHome",
	},
	{
		Name: "replica-settled-hint-drops-a-home", Rule: "a record goes with its last role, and a home is one (protocol 0.3)",
		File: "replica/record.go", Old: "r.Home = r.Home || s.isHome(at.slice)", New: "_ = s.isHome",
		Packages: replicaTests, Tests: "TestRecordOfAHome",
	},
	{
		Name: "replica-failed-update-mints", Rule: "a birth counts only with the batch that stored its number (protocol A.2)",
		File: "replica/record.go", Old: "s.writer = writer\n\t\ts.rounds.undo()", New: "_ = writer\n\t\ts.rounds.undo()",
		Packages: replicaTests, Tests: "TestFailedUpdate",
	},
	{
		Name: "replica-session-mark-not-stored", Rule: "the session's mark travels in the batch of the first record that uses it (protocol A.2)",
		File: "replica/record.go", Old: "return tx.Set(metaSession(), wire.AppendWriterMeta(nil, wire.WriterMeta(*m)))", New: "return nil",
		Packages: replicaTests, Tests: "TestRestartKeeps|TestReplica_05",
	},
	{
		Name: "replica-session-outlives-the-boot", Rule: "a session is bound to the machine's boot (protocol A.5)",
		File: "replica/meta.go", Old: "[]byte(boot + \"\\x00\" + directoryID(dir))", New: "[]byte(directoryID(dir))",
		Packages: replicaTests, Tests: "TestRestartKeeps",
	},
	{
		Name: "replica-digest-misses-writes", Rule: "a digest always equals recomputation from storage (F1.22)",
		File: "replica/digest.go", Old: "s.later[key] = e", New: "_ = e",
		Packages: replicaTests, Tests: "TestDigestBuilt",
	},
	{
		Name: "replica-scans-for-writes", Rule: "what differed only for as long as a write is under way is not read for (protocol D)",
		File: "replica/compare.go", Old: "	lasting = lasting[:0]\n", New: "	second, lasting = first, lasting[:0]\n",
		Packages: replicaTests, Tests: "TestWritesUnderWay",
	},
	{
		Name: "replica-whole-before-compared", Rule: "a store that has come back is equal when a comparison has shown it, not when it is in contact (protocol D.5)",
		File: "replica/status.go", Old: "!b.ready.absent(shard) || slices.ContainsFunc(doubted, rt.isHome)", New: "!b.ready.absent(shard) || len(doubted) < 0",
		Packages: replicaTests, Tests: "TestWholeIsSaid",
	},
	{
		Name: "replica-silent-peer-tried-seldom", Rule: "a peer that answers again is compared with soon",
		File: "replica/entropy.go", Old: "e.doubts.TryBy(id, now+silentRetry)", New: "_ = silentRetry",
		Packages: replicaTests, Tests: "TestSilentPeer",
	},
	{
		Name: "replica-missed-writes-forgotten", Rule: "a home that has not got a write is compared with at once (protocol D.5)",
		File: "replica/put.go", Old: "if s.disk != nil && s.entropy.isPeer(by) {", New: "if by == 0 {",
		Packages: replicaTests, Tests: "TestWholeIsSaid",
	},
	{
		Name: "replica-hints-wait-for-a-wake", Rule: "every commit that adds a hint has it looked at",
		File: "replica/record.go", Old: "if left.hinted {", New: "if left.hinted && err != nil {",
		Packages: replicaTests, Tests: "TestHintsOfAStrangerNeedNoWake",
	},
	{
		Name: "replica-hints-forgotten", Rule: "hints are delivered, never dropped in silence (F1.16)",
		File: "replica/hints.go", Old: "_, err = h.deliver(ctx, target, false, h.toTarget)", New: "err = nil",
		Packages: replicaTests, Tests: "TestHintsAlone",
	},
	{
		Name: "replica-leaving-takes-copies", Rule: "who has handed over takes nothing more in (protocol B.3)",
		File: "replica/serve.go", Old: "if !s.takeIn() {", New: "if !s.takeIn() && len(m.Offers) == 0 {",
		Packages: replicaTests, Tests: "TestLeavingTakesNothing",
	},
	{
		Name: "replica-leaving-coordinates", Rule: "who has handed over takes nothing more in (protocol B.3)",
		File: "replica/serve.go", Old: "case !s.takeIn():", New: "case !s.takeIn() && size == 0:",
		Packages: replicaTests, Tests: "TestLeavingTakesNothing",
	},
	{
		Name: "replica-leaving-writes-here", Rule: "who has handed over takes nothing more in (protocol B.3)",
		File: "replica/put.go", Old: "if !s.takeIn() {", New: "if !s.takeIn() && ctx == nil {",
		Packages: replicaTests, Tests: "TestLeavingTakesNothing",
	},
	{
		Name: "replica-leave-by-the-old-routes", Rule: "who leaves hands over to those that will be homes (protocol B.3)",
		File: "replica/layout.go", Old: "l.roster = ^l.roster //", New: "l.roster = v.Roster //",
		Packages: replicaTests, Tests: "TestWritesDuringALeave",
	},
	{
		Name: "replica-sums-without-the-roster", Rule: "equal sums over different shards prove nothing",
		File: "replica/compare.go", Old: "\ttotal.Key += lay.roster\n", New: "",
		Packages: replicaTests, Tests: "TestDigestsOfAnotherRoster",
	},
	{
		Name: "replica-sums-of-any-slices", Rule: "equal sums over different shards prove nothing",
		File: "replica/compare.go", Old: "Version: uint64(a.shard) + 1}", New: "Version: 1}",
		Packages: replicaTests, Tests: "TestDigestsOfAnotherRoster",
	},
	{
		Name: "replica-record-missed-that-changed", Rule: "a record that changed after the sketch was made is one that may differ (protocol D)",
		File: "replica/inventory.go", Old: "wanted || !slices.Contains(known, now)", New: "wanted || known == nil",
		Packages: replicaTests, Tests: "TestRecordsThatChangeAfterTheSketch",
	},
	{
		Name: "replica-lagging-shards-vouch", Rule: "a shard that could not be compared is not equal (protocol B.3, F1.11)",
		File: "replica/compare.go", Old: "return slices.DeleteFunc(slices.Clone(at), func(a slice) bool { return others[a] != nil })", New: "return slices.DeleteFunc(slices.Clone(at), func(a slice) bool { return false })",
		Packages: replicaTests, Tests: "TestLaggingShards",
	},
	{
		Name: "replica-lagging-shards-given-away", Rule: "a store that lags behind a purge sends nothing of that shard (protocol A.7)",
		File: "replica/sketch.go", Old: "s.stamp(shard).Lagging() {", New: "s.stamp(shard).Lagging() && false {",
		Packages: replicaTests, Tests: "TestLaggingShards",
	},
	{
		Name: "replica-sketch-of-another-state", Rule: "all symbols of a sequence come from one state of the records (protocol D)",
		File: "replica/sketch.go", Old: "\tgot.Mine = ", New: "\tif step.From > 0 {\n\t\tc.mine, _ = s.takeStock(ctx, at)\n\t}\n\tgot.Mine = ",
		Packages: replicaTests, Tests: "TestSymbolsOfOneState",
	},
	{
		Name: "replica-admin-system-bucket", Rule: "the bucket of definitions is nobody's to use",
		File: "replica/admin.go", Old: "return b.system || b.def.Name != name", New: "return b.def.Name != name",
		Packages: replicaTests, Tests: "TestClient",
	},
	{
		Name: "replica-admin-error-lost", Rule: "an error that has no number of its own still is one",
		File: "replica/admin.go", Old: "if o.Faults == 0 {\n\t\to.Faults = wire.AdminOther", New: "if o.Faults != 0 {\n\t\to.Faults |= wire.AdminOther",
		Packages: replicaTests, Tests: "TestErrorsReachTheClient",
	},
	{
		Name: "replica-admin-blind-put", Rule: "what a client has seen goes along with what it writes (protocol A.4)",
		File: "replica/admin.go", Old: "\t\t\tContext: c, Level:", New: "\t\t\tLevel:",
		Packages: replicaTests, Tests: "TestClient",
	},
	{
		Name: "replica-admin-blind-delete", Rule: "what a client has seen goes along with what it deletes (protocol A.4)",
		File: "replica/admin.go", Old: "&DeleteOptions{Context: c, Level:", New: "&DeleteOptions{Level:",
		Packages: replicaTests, Tests: "TestClient",
	},
	{
		Name: "replica-leaves-with-the-only-copy", Rule: "who leaves hands over first (protocol B.3)",
		File: "replica/handover.go", Old: "err = s.bring(ctx, step.To, page, len(step.Keys))", New: "_ = page",
		Packages: replicaTests, Tests: "TestLeaveHands",
	},
	{
		Name: "replica-context-of-another-key", Rule: "a context belongs to one key",
		File: "replica/value.go", Old: "case c.seen != nil && c.of == b.b.id && c.key == key:", New: "case c.seen != nil:",
		Packages: replicaTests, Tests: "TestSiblingLimit",
	},
	{
		Name: "replica-context-token-of-another-key", Rule: "a context belongs to one key",
		File: "internal/wire/context.go", Old: "	h.Write([]byte(key))\n", New: "",
		Packages: "./internal/wire", Tests: "TestContextBelongs",
	},
	{
		Name: "replica-conflict-unsaid", Rule: "a bucket defined in two ways is ErrBucketConflict on both sides",
		File: "replica/bucket.go", Old: "if b.s.buckets.conflict(b.b.def.Name) {", New: "if false {",
		Packages: replicaTests, Tests: "TestBucketConflict",
	},
	{
		Name: "replica-takes-any-load", Rule: "memory is bounded: what waits has a limit",
		File: "replica/gate.go", Old: "if n > int64(s.cfg.MaxPending) ||", New: "if n > 1<<40 ||",
		Packages: replicaTests, Tests: "TestOverload",
	},
	{
		Name: "replica-opens-foreign-data", Rule: "identity and data live and die together (protocol 0.1)",
		File: "replica/store.go", Old: "case err == nil && owner.Node != s.id:", New: "case false:",
		Packages: replicaTests, Tests: "TestDataOfAnother",
	},
	{
		Name: "replica-write-from-the-past", Rule: "a forwarded write is not committed after the node that asked may have turned elsewhere",
		File: "replica/record.go", Old: "if on.by != 0 && s.cfg.clock.Boot() > on.by {", New: "if false {",
		Packages: replicaTests, Tests: "TestForwardedWriteThatArrivesLate",
	},
	{
		Name: "replica-deadline-of-another-run", Rule: "clock readings of different runs of a store do not compare",
		File: "replica/deadline.go", Old: "if c.Run != d.run {", New: "if false {",
		Packages: replicaTests, Tests: "TestForwardedWriteThatArrivesLate",
	},
	{
		Name: "replica-goes-on-for-the-gone", Rule: "however many stores are silent a write is answered within a bound, and makes room for others",
		File: "replica/put.go", Old: "if at, ok := op.core.Ends(); ok && !op.ended {", New: "if at, ok := op.core.Ends(); ok && at < 0 {",
		Packages: replicaTests, Tests: "TestForwardedWriteOfAClient",
	},
	{
		Name: "replica-read-of-many-silent", Rule: "however many stores are silent a read is answered within a bound",
		File: "replica/get.go", Old: "if at, ok := op.core.Ends(); ok && !op.ended {", New: "if at, ok := op.core.Ends(); ok && at < 0 {",
		Packages: replicaTests, Tests: "TestSilentStores",
	},
	{
		Name: "replica-silent-coordinator-is-waited-for", Rule: "a store that a write is handed to and that is silent is not waited for longer than AckTimeout",
		File: "replica/soon.go", Old: "== nil && !s.callRoll(ctx, to, others) {", New: "== nil && !s.callRoll(ctx, to, others) && to == 0 {",
		Packages: replicaTests, Tests: "TestSilentStores",
	},
	{
		Name: "replica-silent-stores-found-one-by-one", Rule: "of several stores that are silent all are found out at once",
		File: "replica/soon.go", Old: "if id != s.id {", New: "if id == 0 {",
		Packages: replicaTests, Tests: "TestSilentStores",
	},
	{
		Name: "replica-handed-on-and-committed", Rule: "a store that a write was handed to does not commit it once the next one may have it",
		File: "replica/soon.go", Old: "return s.cfg.AckTimeout * 3 / 4 }", New: "return s.cfg.AckTimeout * 3 }",
		Packages: replicaTests, Tests: "TestHandedOnWrite",
	},
	{
		Name: "replica-busy-taken-for-silent", Rule: "a write that a store is at is not handed to another one",
		File: "replica/soon.go", Old: "== nil && !s.callRoll(ctx, to, others) {", New: "== nil && (!s.callRoll(ctx, to, others) || true) {",
		Packages: replicaTests, Tests: "TestWriteUnderWay",
	},
	{
		Name: "replica-close-waits-for-a-coordinator", Rule: "closing is bounded, whoever is silent",
		File: "replica/soon.go", Old: "			defer context.AfterFunc(ctx, cancel)()\n", New: "",
		Packages: replicaTests, Tests: "TestCloseIsBounded",
	},
	{
		Name: "replica-close-waits-for-clocks", Rule: "closing is bounded, whoever is silent",
		File: "replica/clocks.go", Old: "	defer context.AfterFunc(s.group.Context(), cancel)()\n", New: "",
		Packages: replicaTests, Tests: "TestCloseIsBounded",
	},
	{
		Name: "replica-closed-store-lets-the-node-leave", Rule: "a node leaves only when what it holds is handed over (protocol B.3)",
		File: "replica/leaving.go", Old: "		return ErrClosed\n	}\n	defer s.leave()", New: "		return nil\n	}\n	defer s.leave()",
		Packages: replicaTests, Tests: "TestCloseIsBounded",
	},
	{
		Name: "replica-others-where-there-are-none", Rule: "that others reach a node is said only where there are others who would know",
		File: "replica/health.go", Old: "case s.contactOf(v.Members, m) == brokenLink:", New: "case m.Unreachable:",
		Packages: replicaTests, Tests: "TestWhoIsMissing",
	},
	{
		Name: "replica-prompt-put-waits", Rule: "a prompt handler waits for nothing, not even for room in the queue",
		File: "replica/put.go", Old: "s.commitWrite(s.disk.TryStart,", New: "s.commitWrite(s.whenRoom(context.Background()),",
		Packages: replicaTests, Tests: "TestPromptHandlersNeverWait",
	},
	{
		Name: "replica-prompt-merge-waits", Rule: "a prompt handler waits for nothing, not even for room in the queue",
		File: "replica/record.go", Old: "s.begin(s.disk.TryStart, \"merge\"", New: "s.begin(s.whenRoom(context.Background()), \"merge\"",
		Packages: replicaTests, Tests: "TestPromptHandlersNeverWait",
	},
	{
		Name: "replica-deadline-from-an-old-reading", Rule: "a deadline made for a peer is not later by its clock than was meant",
		File: "replica/deadline.go", Old: "if !fresh && !asked {", New: "if false {",
		Packages: replicaTests, Tests: "TestDeadlineIsNotLater",
	},
	{
		Name: "replica-loss-is-absence", Rule: "a home that has lost records is as a fresh one (protocol 0.3, B.2)",
		File: "replica/ready.go", Old: "r.core.Begin(shard, true)\n", New: "r.core.Begin(shard, false)\n",
		Packages: replicaTests, Tests: "TestLossVoids",
	},
	{
		Name: "replica-loss-still-vouched-for", Rule: "absence at a home that has lost records proves nothing (protocol 0.3, B.2)",
		File: "replica/ready.go", Old: "(*r.verdicts.Load())[shard].Store(false)", New: "_ = shard",
		Packages: replicaTests, Tests: "TestLossVoids",
	},
	{
		Name: "replica-loss-forgotten", Rule: "a restart does not make up for a loss (protocol B.2)",
		File: "replica/mend.go", Old: "if err := tx.Set(metaSettled(b), bits); err != nil {", New: "if err := error(nil); err != nil && bits != nil {",
		Packages: replicaTests, Tests: "TestLossVoids",
	},
	{
		Name: "replica-comparison-outlives-loss", Rule: "a comparison counts for what is here at its end (protocol B.2)",
		File: "replica/compare.go", Old: "losses != s.losses.Load()", New: "losses > s.losses.Load()",
		Packages: replicaTests, Tests: "TestLossVoids",
	},
	{
		Name: "replica-digest-outlives-loss", Rule: "a digest always equals recomputation from storage (F1.22)",
		File: "replica/mend.go", Old: "s.digests.forget(slice{b.id, shard})", New: "_ = s.digests",
		Packages: replicaTests, Tests: "TestLossVoids",
	},
	{
		Name: "replica-lost-log-is-whole", Rule: "a log of purges that has lost entries is whole only after the last round (protocol A.7)",
		File: "replica/mend.go", Old: "next.from = next.stamp.Acked\n", New: "",
		Packages: replicaTests, Tests: "TestLossOfPurgeLog",
	},
	{
		Name: "replica-caught-up-by-a-lost-log", Rule: "who lost entries of a log while catching up begins again (protocol A.7)",
		File: "replica/mend.go", Old: "next.cuts++", New: "_ = next.cuts",
		Packages: replicaTests, Tests: "TestLossOfPurgeLog",
	},
	{
		Name: "replica-index-stays-lost", Rule: "hints whose index is lost are delivered all the same (F1.16)",
		File: "replica/mend.go", Old: "return tx.Set(metaReindex(), nil)", New: "return nil",
		Packages: replicaTests, Tests: "TestLossOfIndex",
	},
	{
		Name: "replica-scrub-ends-at-damage", Rule: "what lies behind damage is scrubbed, too",
		File: "replica/scrub.go", Old: "c.state.Cursor = wire.NextShard(c.state.Cursor)", New: "_ = wire.NextShard",
		Packages: replicaTests, Tests: "TestDamageThatStays",
	},
	{
		Name: "replica-comparison-storm", Rule: "a comparison that fails is tried again later and later",
		File: "internal/replicate/doubt.go", Old: "at.wait = min(2*at.wait, d.Last)", New: "at.wait = min(at.wait, d.Last)",
		Packages: replicaTests, Tests: "TestDamageThatStays",
	},
	{
		Name: "replica-cache-ignores-memory", Rule: "caches follow the memory that there is",
		File: "replica/sizes.go", Old: "min(int64(limit/16), fullCache)", New: "fullCache",
		Packages: "./replica", Tests: "TestMemoryFollows",
	},
	{
		Name: "replica-memory-not-asked-for", Rule: "the defaults keep to the memory that there is",
		File: "replica/config.go", Old: "memorySizes(c.memory())", New: "memorySizes(1 << 40)",
		Packages: "./replica", Tests: "TestDefaultsKeepTo",
	},
	{
		Name: "takes-in-more-than-is-carried-out", Rule: "writes beyond what disks and peers get done are refused at once",
		File: "internal/replicate/intake.go", Old: "in.under > 0 && in.under+n > in.window", New: "in.under > 0 && in.under+n > 1<<40",
		Packages: replicaTests, Tests: "TestLargeValuesDoNotCollapse/slow_links",
	},
	{
		Name: "closing-waits-for-leaving", Rule: "closing does not wait for a hand-over",
		File: "replica/leaving.go", Old: "	defer context.AfterFunc(s.group.Context(), cancel)()\n", New: "",
		Packages: replicaTests, Tests: "TestCloseWhileItLeaves",
	},
}
