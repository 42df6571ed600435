package main

const (
	fileStamp   = "internal/purge/stamp.go"
	fileRound   = "internal/purge/round.go"
	fileHandoff = "internal/replicate/handoff.go"
	fileLeaving = "replica/leaving.go"
	fileHeal    = "internal/replicate/heal.go"
	fileReady   = "internal/replicate/ready.go"

	pkgPurge = "./internal/purge"
)

var purges = []Mutant{
	{
		Name: "purge-merge-of-replies-takes-the-newest-stamp", Rule: "read repair does not stamp anew what it has read (protocol A.7)",
		File: fileRead,
		Old:  "op.stamp = op.stamp.Least(r.Stamp)", New: "op.stamp = r.Stamp",
		Packages: pkgReplicate, Tests: "TestStampOfARead",
	},
	{
		Name: "purge-read-repair-stamps-anew", Rule: "read repair does not stamp anew what it has read (protocol A.7)",
		File: "replica/get.go",
		Old:  "op.s.repairs.push(op.at, merged, stamp, behind)", New: "_ = stamp\n\t\top.s.repairs.push(op.at, merged, op.s.stamp(op.at.shard), behind)",
		Packages: replicaTests, Tests: "TestRepairKeepsTheStamp|TestF2_01",
	},
	{
		Name: "purge-model-read-repair-stamps-anew", Rule: "read repair does not stamp anew what it has read (protocol A.7); in the model of a shell",
		File: "internal/sim/store.go",
		Old:  "			merged, stamp := op.Merged()\n", New: "			merged, _ := op.Merged()\n			stamp := s.stamp(s.c.unit(key))\n",
		Packages: pkgSim, Tests: "TestF1_06|TestF1_10",
	},
	{
		Name: "purge-rounds-without-the-proposer", Rule: "no two rounds of a shard are equal (protocol A.7)",
		File: fileStamp,
		Old:  "return cmp.Or(cmp.Compare(r.Counter, o.Counter), cmp.Compare(r.Proposer, o.Proposer))", New: "return cmp.Compare(r.Counter, o.Counter)",
		Packages: pkgPurge + " " + pkgSim, Tests: "TestRounds|TestF1_09",
	},
	{
		Name: "purge-by-timer", Rule: "a tomb goes only when all members have acknowledged it, however long that takes (protocol A.7)",
		File: fileRound,
		Old:  "return len(a.acked) == len(a.members)", New: "return len(a.acked) > 0",
		Packages: pkgSim, Tests: "TestF1_09|TestF2_01",
	},
	{
		Name: "purge-by-other-members", Rule: "all acknowledge under one digest of the members (protocol A.7)",
		File: fileRound,
		Old:  "	case members != p.Members:\n		return m, ErrMembers\n", New: "",
		Packages: pkgPurge, Tests: "TestAcknowledge",
	},
	{
		Name: "purge-stale-items-admitted", Rule: "what was read before the round is refused after it (protocol A.7)",
		File: fileStamp,
		Old:  "return !from.Acked.Before(m.Acked)", New: "return m == m",
		Packages: pkgSim, Tests: "TestF1_10|TestF2_01",
	},
	{
		Name: "purge-lagging-store-proposes", Rule: "a store whose disk was rolled back catches up before it takes part",
		File: fileRound,
		Old:  "case m.Acked.Before(all.Acked), m.Acked.Before(all.Committed):", New: "case false:",
		Packages: pkgPurge, Tests: "TestNextRound",
	},
	{
		Name: "purge-older-rounds-count-as-committed", Rule: "a committed round tells nothing of those before it",
		File: fileRound,
		Old:  "b.Over = b.Over || b.Round == m.Committed", New: "b.Over = b.Over || !m.Committed.Before(b.Round)",
		Packages: pkgPurge, Tests: "TestBuried",
	},
	{
		Name: "purge-drops-what-was-written-since", Rule: "a home drops a key only if its item still equals the tomb (protocol A.7)",
		File: fileRound,
		Old:  "return b.Over && held.Equal(b.Tomb)", New: "return b.Over && held.Dominates(b.Tomb)",
		Packages: pkgPurge + " " + pkgSim, Tests: "TestBuried|TestF1_06",
	},
	{
		Name: "purge-shell-takes-in-what-is-stale", Rule: "what was read before the round is refused after it (protocol A.7); in the store",
		File: "replica/record.go",
		Old:  "	if ok, err := s.admitted(tx, in); err != nil || !ok {", New: "	if ok, err := s.admitted(tx, in); err != nil {",
		Packages: replicaTests, Tests: "TestF2_01",
	},
	{
		Name: "purge-delete-of-what-is-not-taken-in", Rule: "a delete is based on what others have, also where the home must not take that in",
		File: "replica/put.go",
		Old:  "		if err != nil || !got[0].stale {", New: "		if err != nil || len(got) > 0 {",
		Packages: replicaTests, Tests: "TestDeleteOfWhat",
	},
	{
		Name: "purge-living-values", Rule: "only what is dead is purged",
		File: fileRound,
		Old:  "		if !dead || !known && !trusted {", New: "		if !dead && !known && false {",
		Packages: pkgPurge, Tests: "TestAcknowledge",
	},
	{
		Name: "purge-log-takes-no-part", Rule: "who was no member catches up with what was purged (protocol A.7)",
		File: fileRound,
		Old:  "func (b Buried) CatchUp(held version.Item) version.Item { return version.Merge(held, b.All) }", New: "func (b Buried) CatchUp(held version.Item) version.Item { return held }",
		Packages: replicaTests + " " + pkgPurge, Tests: "TestOldData|TestBuried",
	},
	{
		Name: "purge-catching-up-takes-old-items", Rule: "what is admitted while a store catches up dies of what the log says",
		File: "replica/buried.go",
		Old:  "	if it := b.CatchUp(in.item); !it.Equal(in.item) {", New: "	if it := b.CatchUp(in.item); false {",
		Packages: replicaTests, Tests: "TestItemsWhileCatchingUp",
	},
	{
		Name: "purge-stamp-shown-before-it-is-synced", Rule: "an item goes out with a stamp that was synced before it was read (protocol A.7)",
		File: "replica/rounds.go",
		Old:  "	next.step++\n	s.rounds.now[shard] = next\n", New: "	next.step++\n	s.rounds.now[shard] = next\n	s.rounds.raise([]raised{{shard, next}})\n",
		Packages: replicaTests, Tests: "TestStampIsShownWhenItIsSynced",
	},
	{
		Name: "purge-strangers-are-served", Rule: "a store is given nothing before it counts in a purge",
		File: "replica/serve.go",
		Old:  "!member && !(open", New: "!member && from == 0 && !(open",
		Packages: replicaTests, Tests: "TestStrangersGetNothing",
	},
	{
		Name: "purge-next-round-passes-over-the-last", Rule: "a round that a store has missed counts as committed until it has caught up: whoever proposes the next one may not have heard yet",
		File: fileRound,
		Old:  "case m.Lagging(), m.Acked.Before(p.Stamp.Acked):", New: "case m.Lagging():",
		Packages: replicaTests + " " + pkgPurge, Tests: "TestJoinBetween|TestAcknowledge",
	},
	{
		Name: "purge-lagging-home-answers", Rule: "a store that lags lets nothing go that may have been purged, not even to its own readers (protocol A.7)",
		File: "replica/get.go",
		Old:  " && !s.stamp(at.shard).Lagging() {", New: " {",
		Packages: replicaTests, Tests: "TestLaggingHome",
	},
	{
		Name: "purge-proposer-under-other-members", Rule: "the proposer acknowledges under the members that it asks (protocol A.7)",
		File: "replica/purge.go",
		Old:  "s.acknowledge(ctx, lay.storing, out)", New: "s.acknowledge(ctx, s.layout.Load().storing, out)",
		Packages: replicaTests, Tests: "TestProposerStands",
	},
	{
		Name: "purge-not-finished-after-a-restart", Rule: "tombs of a committed round go, whenever the store goes down",
		File: "replica/rounds.go",
		Old:  "if s.rounds.now[shard].stamp.Committed != (purge.Round{}) {", New: "if shard < 0 {",
		Packages: replicaTests, Tests: "TestPurgeIsFinishedAfter",
	},
	{
		Name: "purge-commit-heard-with-the-next-round", Rule: "tombs of a committed round go, although its commit is heard only with the next round",
		File: "replica/acknowledge.go",
		Old:  "s.finishBatch(tx, p.Shard, next.stamp)", New: "s.finishBatch(tx, p.Shard, purge.Stamp{})",
		Packages: replicaTests, Tests: "TestPurgeIsFinishedBefore",
	},
	{
		Name: "purge-two-logs-at-a-time", Rule: "data is set aside only when nobody's log reaches back, not when two were read at a time",
		File: "replica/catchup.go",
		Old:  "	case now.Acked != mine.stamp.Acked:\n", New: "	case now.Acked.Before(mine.stamp.Acked):\n",
		Packages: replicaTests, Tests: "TestCatchUpWith",
	},
	{
		Name: "purge-log-trimmed-while-it-is-read", Rule: "a log counts as whole only after what was forgotten while it was read",
		File: "replica/catchup.go",
		Old:  "			theirs.From = page.From // it", New: "			_ = page.From // it",
		Packages: replicaTests, Tests: "TestLogWithHoles",
	},
	{
		Name: "purge-damaged-log-is-whole", Rule: "a log with damaged entries is not whole",
		File: "replica/purgelog.go",
		Old:  "		next.from = next.stamp.Acked\n", New: "",
		Packages: replicaTests, Tests: "TestLogWithHoles",
	},
	{
		Name: "purge-by-the-lead-alone", Rule: "a tomb that the lead has not is purged, too",
		File: "replica/purge.go",
		Old:  "strays := p.passes%strayEvery == strayEvery-1", New: "strays := p.passes < 0",
		Packages: replicaTests, Tests: "TestTombsThat",
	},
	{
		Name: "purge-begins-with-the-same-graves", Rule: "graves that cannot be purged do not keep out those behind them",
		File: "replica/purge.go",
		Old:  "p.after = append(append(p.after[:0], k...), 0)", New: "_ = k",
		Packages: replicaTests, Tests: "TestPassesGo",
	},
	{
		Name: "purge-takes-in-while-it-sets-aside", Rule: "nothing comes in behind the search for old data",
		File: "replica/catchup.go",
		Old:  "		next.aside = true\n", New: "",
		Packages: replicaTests, Tests: "TestNothingComes",
	},
	{
		Name: "purge-blocked-in-silence", Rule: "the operator hears what a purge waits for, be it there or not",
		File: "replica/purge.go",
		Old:  "err = errors.Join(err, p.waiting.on(ctx, p.s, []view.NodeID{unable}))", New: "_ = unable",
		Packages: replicaTests, Tests: "TestPurgeBlockedBy",
	},
	{
		Name: "purge-wait-begins-anew-at-restart", Rule: "a box that never runs for a week says what its deletes wait for, too",
		File: "replica/purgewait.go",
		Old:  "	due := begins || now-w.noted >= purgeNote", New: "	due := begins",
		Packages: replicaTests, Tests: "TestPurgeBlockedOutlives",
	},
	{
		Name: "purge-sends-expired-values", Rule: "what has expired goes without its values",
		File: fileRound,
		Old:  "		it.Sibs[i].Value = nil\n", New: "		_ = i\n",
		Packages: replicaTests, Tests: "TestLogHoldsNo",
	},
	{
		Name: "purge-log-grows-without-bound", Rule: "what is remembered of a key that is purged again and again is bounded",
		File: fileRound,
		Old:  "if len(b.All.Ctx) <= mostRemembered ||", New: "if b.Over || !b.Over ||",
		Packages: pkgPurge, Tests: "TestBuried",
	},
	{
		Name: "handoff-drops-for-one-home", Rule: "a record goes only when every home holds it (F1.15)",
		File: fileHandoff,
		Old:  "	case h.at == len(h.homes):\n		return HandoffStep{Kind: HandoffDrop", New: "	case h.at > 0:\n		return HandoffStep{Kind: HandoffDrop",
		Packages: pkgReplicate + " " + pkgSim, Tests: "TestHandoff|TestF1_15",
	},
	{
		Name: "handoff-drops-although-a-home-is-down", Rule: "a record goes only when every home holds it (F1.15)",
		File: fileHandoff,
		Old:  "			h.all = false\n", New: "",
		Packages: pkgReplicate + " " + pkgSim, Tests: "TestHandoff|TestF1_15",
	},
	{
		Name: "handoff-drops-what-was-written-since", Rule: "a record goes only in the version that the homes hold",
		File: fileHandoff,
		Old:  "return then == now && !keeper && mark == hash", New: "return then == now && !keeper",
		Packages: pkgReplicate, Tests: "TestMayDrop",
	},
	{
		Name: "handoff-vouches-by-another-roster", Rule: "two stores must not let go of the same data on each other's word",
		File: fileHandoff,
		Old:  "return asked == own && home }", New: "return home }",
		Packages: pkgReplicate, Tests: "TestMayDrop",
	},
	{
		Name: "handoff-drops-what-was-not-brought", Rule: "a record that was left out of what is brought to a home stays",
		File: "replica/handover.go",
		Old:  "	if len(page) < want || slices.ContainsFunc(page, s.tooLargeToSend) {", New: "	if len(page) < want {",
		Packages: replicaTests, Tests: "TestOnlyWhatWasBrought",
	},
	{
		Name: "leave-forgets-what-it-keeps-for-others", Rule: "hints are delivered or converted, also by a store that leaves (F1.16)",
		File: fileLeaving,
		Old:  "return false, errors.Join(err, s.hints.handOn(ctx, lay))", New: "return false, err",
		Packages: replicaTests, Tests: "TestF1_16_Leave|TestLeaveWaits",
	},
	{
		Name: "leave-on-the-word-of-one-that-knows-another-roster", Rule: "two that leave must not count on each other",
		File: "replica/handover.go",
		Old:  "	if core.Refused() {", New: "	if core.Refused() && !pass.leaving {",
		Packages: replicaTests, Tests: "TestWritesDuringALeave|TestTwoThatLeave",
	},
	{
		Name: "leave-does-not-wait-for-what-it-let-in", Rule: "what a leaving store has acknowledged is handed over",
		File: fileLeaving,
		Old:  "!over || s.leaving.Load() && s.taking.Load() > 0", New: "!over",
		Packages: replicaTests, Tests: "TestLeaveWaitsForWhatItLetIn",
	},
	{
		Name: "leave-keeps-fewer-copies", Rule: "while homes are down others keep what a leaving store held for them",
		File: "replica/handover.go",
		Old:  "pass.leaving && len(down) > 0 {", New: "pass.leaving && len(down) > len(homes) {",
		Packages: replicaTests, Tests: "TestLeaveWhileAHomeIsDown",
	},
	{
		Name: "leave-waits-for-room-on-the-disk", Rule: "a node whose disk is full can be taken out of service",
		File: "replica/handover.go",
		Old:  "		if pass.leaving && errors.Is(err, ErrStorageFull) {", New: "		if n < 0 {",
		Packages: replicaTests, Tests: "TestLeaveOnAFullDisk",
	},
	{
		Name: "hints-for-the-gone-over-and-over", Rule: "what waits for a home that is down is sent to the others once",
		File: "replica/hints.go",
		Old:  "if n < len(gone) {", New: "if n < len(page) {",
		Packages: replicaTests, Tests: "TestHintsForTheGone",
	},
	{
		Name: "hints-at-any-rate", Rule: "all that is copied in the background is held to the rate",
		File: "replica/hints.go",
		Old:  "	if err := s.pace.wait(ctx, size); err != nil {", New: "	if err := s.pace.wait(ctx, 0); err != nil {",
		Packages: replicaTests, Tests: "TestHintsAreHeldToTheRate",
	},
	{
		Name: "hints-behind-which-nothing-is", Rule: "an index entry without a record goes",
		File: "replica/record.go",
		Old:  "if !old.unknown && !old.Hinted(in[i].target) {", New: "if !old.Unknown() && !old.Hinted(in[i].target) {",
		Packages: replicaTests, Tests: "TestStrayHintsGo",
	},
	{
		Name: "handover-waits-for-a-home-that-hangs", Rule: "a home that hangs does not hold up what others are to get",
		File: "replica/handover.go",
		Old:  "			if step.To != 0 && !errors.Is(err, errNotBrought) {", New: "			if step.To == 0 {",
		Packages: replicaTests, Tests: "TestAHangingHome",
	},
	{
		Name: "handoff-of-a-store-that-lags", Rule: "what may have been purged goes nowhere, and is not let go of",
		File: "replica/handover.go",
		Old:  "	if len(page) < want ||", New: "	if want < 0 ||",
		Packages: replicaTests, Tests: "TestOnlyWhatWasBrought",
	},
	{
		Name: "scrub-begins-anew-at-restart", Rule: "a box that never runs for a week is scrubbed, too",
		File: "replica/scrub.go",
		Old:  "if data, err := c.s.disk.Get(ctx, metaScrub()); err == nil {", New: "if data, err := c.s.disk.Get(ctx, metaScrub()); err == nil && every < 0 {",
		Packages: replicaTests, Tests: "TestScrubOutlives",
	},
	{
		Name: "heal-in-a-minority", Rule: "only more than half of the storing members heal (protocol B.3)",
		File: fileHeal,
		Old:  "return forced || 2*met > members", New: "return forced || met > 0",
		Packages: pkgReplicate + " " + pkgSim, Tests: "TestHealer|TestF2_07",
	},
	{
		Name: "heal-counts-time-in-which-nobody-looked", Rule: "a process that is held learns nothing about who is down (protocol B.3)",
		File: fileHeal,
		Old:  "passed := min(now-h.last, h.after/2)", New: "passed := now - h.last",
		Packages: pkgReplicate, Tests: "TestHealer",
	},
	{
		Name: "heal-counts-time-alone", Rule: "who sees nobody learns nothing about who is down (protocol B.3)",
		File: fileHeal,
		Old:  "		case met < 2:\n", New: "		case met < 1:\n",
		Packages: pkgReplicate, Tests: "TestHealer",
	},
	{
		Name: "ready-by-fresh-homes", Rule: "a home that knows nothing itself makes nobody ready",
		File: fileReady,
		Old:  "u != nil && seasoned && !slices.Contains(u.homes, peer)", New: "u != nil && !slices.Contains(u.homes, peer)",
		Packages: pkgReplicate + " " + replicaTests, Tests: "TestReadiness|TestJoinedHomes",
	},
	{
		Name: "ready-although-members-were-not-heard", Rule: "without seasoned homes every member must be heard",
		File: fileReady,
		Old:  "return id != self && !slices.Contains(u.consulted, id)", New: "return id == 0",
		Packages: pkgReplicate + " " + replicaTests, Tests: "TestReadiness|TestJoinedHomes",
	},
}
