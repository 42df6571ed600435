package main

const (
	fileMerge  = "replica/version/item.go"
	fileLocal  = "internal/reconcile/local.go"
	fileWriter = "internal/reconcile/writer.go"
	fileClock  = "internal/reconcile/clock.go"
	fileSketch = "internal/reconcile/sketch.go"
	filePeel   = "internal/reconcile/peel.go"

	pkgVersion   = "./replica/version"
	pkgReconcile = "./internal/reconcile"
	pkgSim       = "./internal/sim"
)

var reconcile = []Mutant{
	{
		Name: "merge-keeps-only-the-latest", Rule: "merge drops a sibling only if a write covered it (protocol A.3)",
		File: fileMerge,
		Old:  "	if len(out) == 0 {\n		return nil\n	}\n	return out\n}",
		New: `	if len(out) == 0 {
		return nil
	}
	last := 0
	for k := range out {
		if out[k].HLC > out[last].HLC {
			last = k
		}
	}
	return out[last : last+1]
}`,
		Packages: pkgVersion + " " + pkgSim, Tests: "TestF1_01_MergeLaws|TestF1_04",
	},
	{
		Name: "merge-revives-covered-values", Rule: "a dot that the other side has seen and dropped is dead (protocol A.3)",
		File: fileMerge,
		Old:  "			if !b.Ctx.Covers(a.Sibs[i].Dot) {", New: "			if true {",
		Packages: pkgVersion + " " + pkgSim, Tests: "TestF1_01_MergeLaws|TestF1_04",
	},
	{
		Name: "seq-forgotten-at-restart", Rule: "the number of a birth is durable (protocol A.2)",
		File: fileWriter,
		Old:  "w.meta.Session, w.meta.Seq = m.Session, m.Seq", New: "w.meta.Session = m.Session",
		Packages: pkgReconcile + " " + pkgSim, Tests: "TestSessions|TestF1_03",
	},
	{
		Name: "meta-not-stored-with-the-record", Rule: "the mark of a birth is in the batch of its first record (protocol A.2)",
		File: fileWriter,
		Old:  "	if !w.dirty {\n		return nil", New: "	if w.meta.Seq%2 == 0 || !w.dirty {\n		return nil",
		Packages: pkgReconcile + " " + pkgSim, Tests: "TestMetaTravels|TestF1_03",
	},
	{
		Name: "one-birth-per-store", Rule: "a store that lost its record starts a new birth (protocol A.5)",
		File: fileWriter,
		Old:  "	w.meta.Seq++\n	w.dirty = true", New: "	w.meta.Seq = 1\n	w.dirty = true",
		Packages: pkgSim, Tests: "TestF1_03|TestF2_02",
	},
	{
		Name: "birth-taken-from-the-context", Rule: "Mine is local only and lost with the record (protocol A.5)",
		File: fileLocal,
		Old:  "	mine := l.Mine\n",
		New: `	mine := l.Mine
	for _, e := range l.Ctx {
		if w.owns(e.A) {
			mine = e.A
		}
	}
`,
		Packages: pkgReconcile + " " + pkgSim, Tests: "TestAmnesia|TestF2_02|TestF1_03",
	},
	{
		Name: "amnesia-check-removed", Rule: "a context that knows more of Mine than the record forces a new birth (protocol A.4)",
		File: fileLocal,
		Old:  "	if seen.Ctx.Get(l.Mine) > l.Ctx.Get(l.Mine) {", New: "	if false {",
		Packages: pkgReconcile, Tests: "TestAmnesia",
	},
	{
		Name: "rolled-back-record-keeps-its-birth", Rule: "an item that knows more of Mine than the record clears it (protocol A.4)",
		File: fileLocal,
		Old:  "if l.Mine.Store != 0 && in.Ctx.Get(l.Mine) > l.Ctx.Get(l.Mine) {", New: "if false {",
		Packages: pkgReconcile, Tests: "TestAmnesia",
	},
	{
		Name: "births-of-old-sessions-go-on", Rule: "a new session ignores older births (protocol A.5)",
		File: fileWriter,
		Old:  "return a.Store == w.meta.Store && a.Session == w.meta.Session && a.Seq != 0", New: "return a.Store == w.meta.Store",
		Packages: pkgReconcile, Tests: "TestSessions",
	},
	{
		Name: "session-survives-a-copied-disk", Rule: "a session is bound to the machine (protocol A.5)",
		File: fileWriter,
		Old:  "m.Machine == s.Machine && ", New: "",
		Packages: pkgReconcile + " " + pkgSim, Tests: "TestSessions|TestF2_13_RolledBackDisk|TestF2_13_CloneOnAnotherMachine",
	},
	{
		Name: "relaxed-session-survives-a-crash", Rule: "an unclean start after relaxed durability takes a new session (protocol A.5)",
		File: fileWriter,
		Old:  " && (!m.Relaxed || s.Clean)", New: "",
		Packages: pkgReconcile, Tests: "TestSessions",
	},
	{
		Name: "unknown-own-birth-ignored", Rule: "a store that meets its own unknown births takes a new session (protocol A.5)",
		File: fileWriter,
		Old:  "&& a.Seq > w.meta.Seq {", New: "&& a.Seq > w.meta.Seq && false {",
		Packages: pkgReconcile, Tests: "TestUnknownOwnBirth",
	},
	{
		Name: "put-keeps-what-it-covers", Rule: "a put replaces the siblings that its context has seen (protocol A.4)",
		File: fileLocal,
		Old:  "		if ctx.Covers(sibs[i].Dot) {", New: "		if ctx.Covers(sibs[i].Dot) && false {",
		Packages: pkgReconcile + " " + pkgSim, Tests: "TestPutCovers|TestF1_04|TestF1_12",
	},
	{
		Name: "put-covers-what-was-not-seen", Rule: "a put replaces nothing that its context has not seen (protocol A.4)",
		File: fileLocal,
		Old:  "		if ctx.Covers(sibs[i].Dot) {", New: "		if true {",
		Packages: pkgReconcile + " " + pkgSim, Tests: "TestPutCovers|TestF1_04|TestF1_05",
	},
	{
		Name: "put-tells-of-unseen-values", Rule: "the context that a put returns covers no value its client was not shown",
		File: fileLocal,
		Old:  "	if covered == len(l.Sibs) {", New: "	if true {",
		Packages: pkgReconcile, Tests: "TestPutTells",
	},
	{
		Name: "no-sibling-limit", Rule: "at 32 siblings a put that covers nothing is refused (protocol A.4)",
		File: fileLocal,
		Old:  "len(l.Sibs) >= MaxSiblings && len(covered) == 0", New: "false",
		Packages: pkgReconcile, Tests: "TestF1_08",
	},
	{
		Name: "date-not-above-what-it-covers", Rule: "a write is dated above the record and its context (protocol A.6)",
		File: fileLocal,
		Old:  "w.clock.Tick(now, floor)", New: "w.clock.Tick(now, 0)",
		Packages: pkgReconcile, Tests: "TestF1_12",
	},
	{
		Name: "clock-forgets-its-ceiling", Rule: "a clock starts above the stored ceiling (protocol A.6)",
		File: fileClock,
		Old:  "Clock{last: ceiling, ceiling: ceiling", New: "Clock{ceiling: ceiling",
		Packages: pkgReconcile, Tests: "TestF1_13",
	},
	{
		Name: "ceiling-never-raised", Rule: "no reading is shown above the stored ceiling (protocol A.6)",
		File: fileClock,
		Old:  "	if h > c.ceiling {", New: "	if false {",
		Packages: pkgReconcile, Tests: "TestF1_13",
	},
	{
		Name: "ceiling-runs-away", Rule: "a store that restarts often stays near the wall clock",
		File: fileClock,
		Old:  "max(h.Add(ceilingStep), wall.Add(ceilingAhead))", New: "max(h, wall).Add(ceilingAhead)",
		Packages: pkgReconcile, Tests: "TestF1_13",
	},
	{
		Name: "wrong-date-moves-the-clock", Rule: "a date more than MaxSkew ahead does not move the clock (protocol A.6)",
		File: fileClock,
		Old:  "	if h > wall.Add(c.maxSkew) {", New: "	if h > wall.Add(c.maxSkew) && false {",
		Packages: pkgReconcile + " " + pkgSim, Tests: "TestF1_13|TestF2_06",
	},
	{
		Name: "written-over-wrong-date-moves-the-clock", Rule: "writing a key with a wrong date does not move the clock (protocol A.6)",
		File: fileClock,
		Old:  "		if floor > wall.Add(c.maxSkew) {", New: "		if false {",
		Packages: pkgReconcile + " " + pkgSim, Tests: "TestF1_13|TestF2_06",
	},
	{
		Name: "expiry-drops-the-dot-for-good", Rule: "expiry is a reading: the right clock shows the value again (protocol A.6)",
		File: "replica/version/version.go",
		Old:  "s.Expire != 0 && s.Expire <= now", New: "s.Expire != 0",
		Packages: pkgReconcile + " " + pkgSim, Tests: "TestExpiry|TestF2_06",
	},
	{
		Name: "clone-trusts-its-dots", Rule: "values under dots that may name two writes are written again (protocol A.5.4, A.8)",
		File: fileLocal,
		Old:  "		if doubted(s.Dot.A) {", New: "		if false {",
		Packages: pkgSim, Tests: "TestF2_13_CloneOfARunningMachine",
	},
	{
		Name: "removed-element-stays-counted", Rule: "what was found is taken out of the other symbols (protocol D)",
		File: fileSketch,
		Old:  "	s.Count += n * t.Count", New: "	s.Count += n * n * t.Count",
		Packages: pkgReconcile, Tests: "TestPeelingFindsTheDifference",
	},
	{
		Name: "walk-stands-still", Rule: "an element is in a symbol once: the smallest step is one symbol (protocol D)",
		File: fileSketch,
		Old:  "if num%den != 0 || num == 0 {", New: "if num%den != 0 {",
		Packages: pkgReconcile, Tests: "TestWalkAtItsLimits",
	},
	{
		Name: "checks-not-compared", Rule: "a symbol that counts one element is pure only if the check agrees (protocol D)",
		File: fileSketch,
		Old:  "return s.Check == uint32(s.Count)*alone.Check&(1<<24-1)", New: "return alone.Count == 1",
		Packages: pkgReconcile, Tests: "TestPeelingFindsTheDifference",
	},
	{
		Name: "sides-not-checked", Rule: "the check tells on which side an element is missing (protocol D)",
		File:     fileSketch,
		Old:      "return s.Check == uint32(s.Count)*alone.Check&(1<<24-1)",
		New:      "return s.Check == alone.Check || s.Check == -alone.Check&(1<<24-1)",
		Packages: pkgReconcile, Tests: "TestDamagedSymbols",
	},
	{
		Name: "new-symbols-keep-what-is-known", Rule: "an element that was found is taken out of later symbols (protocol D)",
		File: filePeel,
		Old:  "			p.left[e.walk.index].merge(e.Symbol, -1)", New: "			_ = p.left[e.walk.index]",
		Packages: pkgReconcile, Tests: "TestPeelingFindsTheDifference",
	},
	{
		Name: "element-found-again", Rule: "wrong symbols that give one element away in turn are noticed (protocol D, F1.23)",
		File: filePeel,
		Old:  "twice || len(p.peeled) == len(p.left)", New: "twice && len(p.peeled) == len(p.left)",
		Packages: pkgReconcile, Tests: "TestSameElementTwice",
	},
	{
		Name: "more-elements-than-symbols", Rule: "wrong symbols cost no more than their number (protocol D, F1.23)",
		File: filePeel,
		Old:  "twice || len(p.peeled) == len(p.left)", New: "twice",
		Packages: pkgReconcile, Tests: "TestMoreElementsThanSymbols",
	},
}
