package main

const (
	storageTests = "./internal/storage"
	fileTests    = "./internal/storage/file"
)

var storage = []Mutant{
	{
		Name: "slots-trust-the-cache", Rule: "after a sync that failed a new file is written",
		File: "internal/storage/file/slots.go", Old: "if s.fresh = err == nil; err != nil {", New: "if s.fresh = true; err != nil {",
		Packages: fileTests, Tests: "TestSlotsSyncOnce",
	},
	{
		Name: "slots-one-slot", Rule: "a write leaves the present payload alone",
		File: "internal/storage/file/slots.go", Old: "f.WriteAt(slot, int64(s.number%2*slotSize))", New: "f.WriteAt(slot, 0*int64(s.number))",
		Packages: fileTests, Tests: "TestSlots",
	},
	{
		Name: "storage-no-sync", Rule: "an update is acknowledged after it is synced (protocol A.5.1)",
		File: "internal/storage/commit.go", Old: "s.db.Apply(batch, pebble.Sync)", New: "s.db.Apply(batch, pebble.NoSync)",
		Packages: storageTests, Tests: "TestCrashAtEverySyncPoint|TestF1_21|TestSyncIsNotRetried",
	},
	{
		Name: "storage-ungated-get", Rule: "Get shows nothing unsynced (protocol 0.5, F1.21)",
		File: "internal/storage/read.go", Old: "if w, ok := g.writes[string(key)]; ok {", New: "if w, ok := g.writes[string(key)]; ok && w.record == nil {",
		Packages: storageTests, Tests: "TestF1_21",
	},
	{
		Name: "storage-ungated-scan", Rule: "Scan shows nothing unsynced (protocol 0.5, F1.21)",
		File: "internal/storage/read.go", Old: "all of that is.\n\tif g := s.inflight.Load(); g != nil {", New: "all of that is.\n\tif g := s.inflight.Load(); g != nil && g.bytes < 0 {",
		Packages: storageTests, Tests: "TestF1_21",
	},
	{
		Name: "storage-registered-too-late", Rule: "a group is registered before Pebble makes it visible (protocol 0.5, F1.21)",
		File: "internal/storage/commit.go", Old: "s.inflight.Store(g)\n\ts.apply(batch)", New: "s.apply(batch)\n\ts.inflight.Store(g)",
		Packages: storageTests, Tests: "TestF1_21",
	},
	{
		Name: "storage-cached-before-synced", Rule: "the record cache holds synced values only (protocol 0.5, F1.21)",
		File: "internal/storage/commit.go", Old: "s.inflight.Store(g)\n\ts.apply(batch)",
		New:      "s.inflight.Store(g)\n\tfor key, w := range g.writes {\n\t\tif w.record != nil {\n\t\t\ts.cache.wrote(key, w.record[recordOverhead:])\n\t\t}\n\t}\n\ts.apply(batch)",
		Packages: storageTests, Tests: "TestF1_21",
	},
	{
		Name: "storage-acked-after-failed-sync", Rule: "an update whose sync failed is not acknowledged and never shown (protocol A.5.1)",
		File: "internal/storage/commit.go", Old: "if err := s.guard.failure(); err != nil {\n\t\treturn err // g", New: "if err := s.guard.failure(); err != nil && len(g.updates) == 0 {\n\t\treturn err // g",
		Packages: storageTests, Tests: "TestF1_21|TestSyncIsNotRetried",
	},
	{
		Name: "storage-disk-not-frozen", Rule: "after a failed sync nothing is written or synced again (protocol H.1)",
		File: "internal/storage/guard.go", Old: "func (g *guard) frozen() bool { return g.failed.Load() != nil }", New: "func (g *guard) frozen() bool { return false }",
		Packages: storageTests, Tests: "TestSyncIsNotRetried",
	},
	{
		Name: "storage-log-errors-reach-pebble", Rule: "a failed disk does not end the process",
		File: "internal/storage/guard.go", Old: "return kind == directory || kind == logFile && g.opened.Load()", New: "return kind != kind",
		Packages: storageTests, Tests: "TestWhatPebbleDoesNotSee",
	},
	{
		Name: "storage-used-after-failure", Rule: "a failed store answers nothing any more",
		File: "internal/storage/read.go", Old: "return ErrClosed\n\t}\n\treturn s.guard.failure()", New: "return ErrClosed\n\t}\n\treturn nil",
		Packages: storageTests, Tests: "TestSyncIsNotRetried|TestErrorAtEveryWrite",
	},
	{
		Name: "storage-checksum-ignored", Rule: "a damaged record is unknown (F1.11)",
		File: "internal/storage/record.go", Old: "if binary.LittleEndian.Uint32(rec) != recordSum(key, value) {", New: "if binary.LittleEndian.Uint32(rec) == 0 {",
		Packages: storageTests, Tests: "TestBadRecordIsUnknown|FuzzRecord",
	},
	{
		Name: "storage-checksum-without-key", Rule: "a record under the wrong key is unknown (F1.11)",
		File: "internal/storage/record.go", Old: "sum = crc32.Update(^sum, castagnoli, key)", New: "sum = crc32.Update(^sum, castagnoli, nil)",
		Packages: storageTests, Tests: "TestBadRecordIsUnknown",
	},
	{
		Name: "storage-bad-record-is-absent", Rule: "absent or corrupt never reads as the other (F1.11)",
		File: "internal/storage/read.go", Old: "s.corrupt(key, err)\n\treturn err\n}", New: "s.corrupt(key, err)\n\treturn ErrNotFound\n}",
		Packages: storageTests, Tests: "TestBadRecordIsUnknown|TestFlippedBits",
	},
	{
		Name: "storage-failed-update-leaves-writes", Rule: "an update that errs leaves nothing",
		File: "internal/storage/commit.go", Old: "for i := len(tx.undo) - 1; i >= 0; i-- {", New: "for i := len(tx.undo) - 1; i > 0; i-- {",
		Packages: storageTests, Tests: "TestUpdateSeesQueuedUpdates|TestCrashAtEverySyncPoint",
	},
	{
		Name: "storage-abandoned-update-runs", Rule: "an update whose caller has gone before it began is not run",
		File: "internal/storage/commit.go", Old: "if !u.state.CompareAndSwap(queued, begun) {", New: "if u.state.CompareAndSwap(queued, begun) && u.fn == nil {",
		Packages: storageTests, Tests: "TestUpdateAbandoned",
	},
	{
		Name: "storage-old-value-cached", Rule: "a slow reader does not put back what a write replaced",
		File: "internal/storage/cache.go", Old: "if sh.gen == gen {", New: "if sh.gen >= gen {",
		Packages: storageTests, Tests: "TestCacheTakesNoOldValue",
	},
	{
		Name: "storage-tells-what-it-wants", Rule: "who started an update is told what became of it",
		File: "internal/storage/commit.go", Old: "u.answer(g.err)", New: "u.answer(nil)",
		Packages: storageTests, Tests: "TestStart|TestF1_21",
	},
	{
		Name: "storage-looks-for-space-by-time-alone", Rule: "the store itself does not fill the reserve between two looks",
		File: "internal/storage/pressure.go", Old: "p.since < s.opts.Reserve/16", New: "p.since < s.opts.Reserve",
		Packages: storageTests, Tests: "TestReserve",
	},
	{
		Name: "storage-no-reserve", Rule: "writes are refused before the disk is full",
		File: "internal/storage/pressure.go", Old: "if usage.AvailBytes < uint64(s.opts.Reserve) {", New: "if usage.AvailBytes == 0 {",
		Packages: storageTests, Tests: "TestReserve",
	},
	{
		Name: "storage-damaged-log-taken-for-a-crash", Rule: "damage is told from a crash (protocol H.2)",
		File: "internal/storage/logcheck.go", Old: "ok && (kind == f.full || kind == f.first) {", New: "ok && kind == 0 {",
		Packages: storageTests, Tests: "TestDamageIsToldFromACrash",
	},
	{
		Name: "storage-mark-ignored", Rule: "a store that has fewer batches than were acknowledged does not open (protocol H.2)",
		File: "internal/storage/mark.go", Old: "case s.marked != unmarked && count < s.marked:", New: "case s.marked != unmarked && count < s.marked/1e6:",
		Packages: storageTests, Tests: "TestCutFiles|TestFlippedBits",
	},
	{
		Name: "storage-marker-before-its-file", Rule: "a crash while a store is created leaves one that opens",
		File: "internal/storage/guard.go", Old: `if strings.HasPrefix(g.PathBase(name), "marker.") {`, New: `if name == "" {`,
		Packages: storageTests, Tests: "TestCrashWhileCreating|TestCrashWhileRecovering",
	},
	{
		Name: "storage-newer-format-opened", Rule: "a newer format is left untouched",
		File: "internal/storage/open.go", Old: "err == nil && n > uint64(pebbleFormat) {", New: "err == nil && n > 1e6 {",
		Packages: storageTests, Tests: "TestOpenNewerFormat",
	},
	{
		Name: "file-not-synced", Rule: "a file is synced before it takes its name",
		File: "internal/storage/file/file.go", Old: "if err := f.Sync(); err != nil {", New: "if err := f.SyncData; err == nil {\n\t\terr := error(nil)",
		Packages: fileTests, Tests: "TestCrashAtEveryStep",
	},
	{
		Name: "file-directory-not-synced", Rule: "a file's name survives a crash once written",
		File: "internal/storage/file/file.go", Old: "return SyncDir(fs, fs.PathDir(path))", New: "return nil",
		Packages: fileTests, Tests: "TestCrashAtEveryStep",
	},
	{
		Name: "file-written-in-place", Rule: "a file is replaced whole or not at all",
		File: "internal/storage/file/file.go", Old: "temp := path + tempSuffix", New: "temp := path",
		Packages: fileTests, Tests: "TestCrashAtEveryStep|TestErrorAtEveryStep|TestWriteThenRead",
	},
	{
		Name: "file-checksum-ignored", Rule: "a damaged file is corrupt",
		File: "internal/storage/file/file.go", Old: "if binary.LittleEndian.Uint32(data[20:]) != bodySum(data[16:20], payload) {", New: "if len(payload) > 1<<30 {",
		Packages: fileTests, Tests: "TestDamageIsCorrupt",
	},
	{
		Name: "file-damage-taken-for-newer", Rule: "only a whole preamble tells a newer format",
		File: "internal/storage/file/file.go", Old: "if binary.LittleEndian.Uint32(data[12:]) != crc32.Checksum(data[:12], castagnoli) {", New: "if len(data) > 1<<30 {",
		Packages: fileTests, Tests: "TestDamageIsCorrupt",
	},
	{
		Name: "lifecycle-close-does-not-wait", Rule: "no goroutine outlives its owner's Close",
		File: "internal/lifecycle/lifecycle.go", Old: "g.Cancel()\n\tg.wg.Wait()", New: "g.Cancel()",
		Packages: "./internal/lifecycle", Tests: "Test",
	},
	{
		Name: "notify-unread-value-kept", Rule: "a slow watcher reads the latest value",
		File: "internal/notify/notify.go", Old: "case <-w.ch:\n\tdefault:\n\t}\n\tw.ch <- t", New: "case w.ch <- t:\n\tdefault:\n\t}",
		Packages: "./internal/notify", Tests: "TestWatchersGetTheLatest",
	},
	{
		Name: "storage-look-writes", Rule: "what is let in on a full disk writes nothing",
		File: "internal/storage/commit.go", Old: "err == nil && u.look && len(tx.undo) > 0", New: "err == nil && u.look && len(tx.undo) > 1",
		Packages: "./internal/storage", Tests: "TestReserve",
	},
	{
		Name: "storage-loss-not-told", Rule: "what a store forgets it tells first (F1.11)",
		File: "internal/storage/mend.go", Old: "lost(tx, p.lower, p.upper)", New: "lost(tx, p.lower, p.lower)",
		Packages: storageTests, Tests: "TestMendGivesUp",
	},
	{
		Name: "storage-salvage-left-behind", Rule: "of a part that is given up all comes back that can be read (F1.5)",
		File: "internal/storage/mend.go", Old: "_ = b.Set([]byte(key), rec, nil)", New: "_ = rec",
		Packages: storageTests, Tests: "TestMendGivesUp",
	},
	{
		Name: "storage-salvage-in-memory", Rule: "what can be read of a part outlives a crash while it is given up (F1.5)",
		File: "internal/storage/mend.go", Old: "_ = b.Set(append(salvaged[:len(salvaged):len(salvaged)], key...), rec, nil)", New: "_, _ = key, rec",
		Packages: storageTests, Tests: "TestMendOutlivesCrashes",
	},
	{
		Name: "storage-crash-while-mending", Rule: "what a crash has cut short is ended by the next opening",
		File: "internal/storage/open.go", Old: "if err := s.restore(); err != nil {", New: "if err := error(nil); err != nil {",
		Packages: storageTests, Tests: "TestMendOutlivesCrashes",
	},
	{
		Name: "storage-told-in-vain", Rule: "nothing is told, or given up, that cannot be mended",
		File: "internal/storage/mend.go", Old: "if err := s.mayGo(p); err != nil {", New: "if err := error(nil); err != nil {",
		Packages: storageTests, Tests: "TestMendLeaves",
	},
	{
		Name: "storage-mended-over-and-over", Rule: "damage that stays is tried again later and later",
		File: "internal/storage/mend.go", Old: "wait = min(2*wait, lastMend)", New: "wait = firstMend",
		Packages: storageTests, Tests: "TestMendRuns",
	},
}
