package sim

import (
	"slices"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// Oracle sees everything that happens and knows what must hold.
type Oracle struct {
	cluster         *Cluster
	writes          map[version.Dot]*writeRecord
	unsynced        map[version.Dot]bool
	destroyedCopies map[string]int             // copies of a key that were destroyed on purpose
	purgedContexts  map[string]version.Context // of a key: what was purged
	cloned          bool                       // dots may have been given out twice, see F2.13
	ackedRounds     map[ackedKey]purge.Round   // the last round that a store has acknowledged, or caught up with
	commits         int
	reads           int
	acks            int
	setAside        int // writes that were set aside

	restored  bool // disks were put back to an older state
	destroyed bool // records were destroyed on purpose
}

// writeRecord is what the oracle remembers of a dot.
type writeRecord struct {
	key     string
	sib     version.Sibling
	seen    version.Context // what it replaces: the client's context
	acked   bool
	moved   bool // written again as a new dot
	durable int  // stores, by the ack
}

func newOracle(c *Cluster) *Oracle {
	return &Oracle{cluster: c, writes: map[version.Dot]*writeRecord{}, unsynced: map[version.Dot]bool{}, destroyedCopies: map[string]int{}, purgedContexts: map[string]version.Context{}, ackedRounds: map[ackedKey]purge.Round{}}
}

// noteMinted: a dot was given out. Property F1.3: nobody has had it before.
func (o *Oracle) noteMinted(s *store, p putRequest, wrote reconcile.Wrote, seen version.Context) {
	if old := o.writes[wrote.Dot]; old != nil && !o.cloned {
		o.cluster.World.Fail("F1.3: dot %v of key %s was given out before, to key %s", wrote.Dot, p.Key, old.key)
	}
	if err := wrote.Local.Check(); err != nil {
		o.cluster.World.Fail("F1.2: %v", err)
	}
	if wrote.Dot.N > 1 {
		before := o.writes[version.Dot{A: wrote.Dot.A, N: wrote.Dot.N - 1}]
		if before != nil && before.sib.HLC >= wrote.Local.Sibling(wrote.Dot).HLC {
			o.cluster.World.Fail("F1.13: %v is dated before the dot before it", wrote.Dot)
		}
	}
	o.checkTokens(&p, wrote.Dot, seen)
	o.cluster.World.Logf("host %d: %s = %q is %v, covers %v", s.host.Index, p.Key, p.Write.Value, wrote.Dot, wrote.Covered)
	o.writes[wrote.Dot] = &writeRecord{key: p.Key, sib: *wrote.Local.Sibling(wrote.Dot), seen: seen}
	o.unsynced[wrote.Dot] = true
}

// noteSettled: the batch of a dot is synced, or died with the process. A dot that
// nobody has seen may be given out again.
func (o *Oracle) noteSettled(d version.Dot, synced bool) {
	delete(o.unsynced, d)
	if !synced && !o.cloned {
		delete(o.writes, d)
	}
}

// noteImported: a value got a new dot because its old one names two writes.
func (o *Oracle) noteImported(s *store, key string, again reconcile.Wrote, old version.Sibling) {
	o.cluster.World.Logf("host %d: %s: %v is written again as %v", s.host.Index, key, old.Dot, again.Dot)
	o.writes[again.Dot] = &writeRecord{key: key, sib: *again.Local.Sibling(again.Dot)}
}

// noteDisowned: a store has taken back dots that may name two writes.
func (o *Oracle) noteDisowned(s *store, key string, was, now reconcile.Local) {
	for _, sib := range was.Sibs {
		if w := o.writes[sib.Dot]; w != nil && now.Sibling(sib.Dot) == nil {
			w.moved = true
		}
	}
	for _, sib := range now.Sibs {
		if was.Sibling(sib.Dot) == nil {
			o.noteImported(s, key, reconcile.Wrote{Local: now, Dot: sib.Dot}, sib)
		}
	}
}

type ackedKey struct {
	store view.NodeID
	unit  int
}

// noteStamp: a store has synced where it stands.
func (o *Oracle) noteStamp(id view.NodeID, unit int, at purge.Stamp) {
	o.ackedRounds[ackedKey{id, unit}] = at.Acked
}

// checkMerge: a store merges an item. Property F1.10: it was read no earlier than the
// round that the store has acknowledged. A disk that was put back has forgotten
// what it had acknowledged.
func (o *Oracle) checkMerge(s *store, unit int, from purge.Stamp) {
	if last := o.ackedRounds[ackedKey{s.self.ID, unit}]; from.Acked.Before(last) && !o.restored {
		o.cluster.World.Fail("F1.10: host %d takes in an item of round %v after it has acknowledged %v", s.host.Index, from.Acked, last)
	}
}

// commits: a proposer takes a round for committed. Property F1.9: all members
// have acknowledged it, as all of them know the members.
func (o *Oracle) checkCommit(s *store, p *purge.Proposal, members []view.NodeID) {
	o.commits++
	if o.restored {
		return
	}
	for _, id := range members {
		if last := o.ackedRounds[ackedKey{id, p.Shard}]; last.Before(p.Round) {
			o.cluster.World.Fail("F1.9: round %v of unit %d is committed, %v has acknowledged %v", p.Round, p.Shard, id, last)
		}
	}
}

// checkHandOff: a store lets go of what it is not to keep. Property F1.15: every home
// holds it.
func (o *Oracle) checkHandOff(s *store, unit int, key string, it version.Item) {
	o.checkDrop(s, key, it)
	if o.destroyed || o.restored {
		return // a home may have lost what it has vouched for
	}
	for _, id := range s.homesOfUnit(unit) {
		other, ok := storeOn(o.cluster.resolve(s.host, id))
		if !ok {
			h := o.cluster.resolve(s.host, id)
			if v, err := h.Disk.Get(keyRecord + key); err == nil && v.(replicate.Record).Dominates(it) {
				continue
			}
		} else if other.record(key).Dominates(it) || o.purgedContexts[key].Includes(it.Ctx) {
			continue
		}
		o.cluster.World.Fail("F1.15: host %d lets go of %s, which home %v does not hold", s.host.Index, key, id)
	}
}

// notePurged: a store lets go of a tomb. Whatever it had seen is gone for good.
func (o *Oracle) notePurged(s *store, key string, it version.Item) {
	o.cluster.World.Logf("host %d: %s is purged, %v", s.host.Index, key, it)
	o.purgedContexts[key] = o.purgedContexts[key].Join(it.Ctx)
	for _, h := range o.cluster.World.Hosts {
		if other, ok := storeOn(h); ok && !other.stopped {
			o.checkNotPurged(other, key, other.record(key).Item)
		}
	}
}

// noteRefused: a store has set aside, and listed, what it could not vouch for. Only
// data that was rolled back, in a cluster that has lost all other disks of that
// time, or whose logs are too short, comes to that. It counts as a lost copy.
func (o *Oracle) noteRefused(s *store, key string, was, kept version.Item) {
	if !kept.Ctx.Includes(was.Ctx) {
		o.destroyedCopies[key]++
	}
	for _, sib := range was.Sibs {
		if w := o.writes[sib.Dot]; w != nil && kept.Sibling(sib.Dot) == nil && o.countCopies(sib.Dot, s) == 0 {
			w.moved = true
			o.setAside++
		}
	}
}

// checkNotPurged: a store has taken an item in. Property F1.6: nothing that was purged
// is alive in it, anywhere that counts: a store that has yet to catch up must
// not let it go, and is not asked here.
func (o *Oracle) checkNotPurged(s *store, key string, it version.Item) {
	for _, sib := range it.Sibs {
		if sib.Flags&version.Tomb == 0 && o.purgedContexts[key].Covers(sib.Dot) && !s.isStale(key) && !o.hasEnded(sib.Dot) {
			o.cluster.World.Fail("F1.6: host %d holds %s %v alive, which was purged", s.host.Index, key, sib.Dot)
		}
	}
}

// checkLeaving: something is about to leave a store. Property F1.21: all dots that
// it shows are synced.
func (o *Oracle) checkLeaving(s *store, body any) {
	check := func(ctx version.Context) {
		for _, e := range ctx {
			if d := version.Dot(e); o.unsynced[d] {
				o.cluster.World.Fail("F1.21: host %d shows dot %v before it is synced", s.host.Index, d)
			} else if o.writes[d] == nil && !o.cloned {
				o.cluster.World.Fail("F1.21: host %d shows dot %v, which was lost before it was synced", s.host.Index, d)
			}
		}
	}
	switch b := body.(type) {
	case mergeRequest:
		for i := range b.Offers {
			check(b.Offers[i].Item.Ctx)
		}
	case replicate.Reply:
		check(b.Item.Ctx)
	case fetchReply:
		check(b.Item.Ctx)
	case putReply:
		check(b.Seen.Ctx)
	}
}

// noteAck: a client was told that its write is kept on so many stores.
func (o *Oracle) noteAck(d version.Dot, r replicate.Result) {
	o.acks++
	if w := o.writes[d]; w != nil {
		w.acked, w.durable = true, r.Durable
		if n := o.countCopies(d, nil); n < r.Durable-o.destroyedCopies[w.key] {
			o.cluster.World.Fail("%s %v was acked as durable on %d stores, it is on %d", w.key, d, r.Durable, n)
		}
	} else {
		o.cluster.World.Fail("ack of %v, which nobody has written", d)
	}
}

// countCopies counts the stores, up or down, whose synced record knows a dot.
func (o *Oracle) countCopies(d version.Dot, except *store) int {
	n := 0
	for _, h := range o.cluster.World.Hosts {
		if s, ok := storeOn(h); ok && s == except {
			continue
		}
		if v, err := h.Disk.Get(keyRecord + o.writes[d].key); err == nil && v.(replicate.Record).Ctx.Covers(d) || o.purgedContexts[o.writes[d].key].Covers(d) {
			n++
		}
	}
	return n
}

// checkDrop: a store lets go of a record. What was promised must be elsewhere.
func (o *Oracle) checkDrop(s *store, key string, it version.Item) {
	for _, sib := range it.Sibs {
		w := o.writes[sib.Dot]
		if w == nil {
			continue
		}
		need := 1
		if w.acked {
			need = max(1, w.durable-o.destroyedCopies[key])
		}
		if n := o.countCopies(sib.Dot, s); n < need {
			o.cluster.World.Fail("F1.16: host %d drops %s %v, which is left on %d stores of %d", s.host.Index, key, sib.Dot, n, need)
		}
	}
}

// mayDestroy tells whether a host's record of a key may be destroyed: everything
// that it knows is known elsewhere.
func (o *Oracle) mayDestroy(h *Host, key string) bool {
	v, err := h.Disk.Get(keyRecord + key)
	if err != nil {
		return true
	}
	others := o.purgedContexts[key]
	for _, x := range o.cluster.World.Hosts {
		if x == h {
			continue
		}
		if v, err := x.Disk.Get(keyRecord + key); err == nil {
			others = others.Join(v.(replicate.Record).Ctx)
		}
	}
	return others.Includes(v.(replicate.Record).Ctx)
}

// checkRead: a client was shown an item. Property F1.12: what last-writer-wins
// shows is not older, by causality, than anything the item knows.
func (o *Oracle) checkRead(key string, it version.Item, now version.HLC) {
	o.reads++
	o.checkFence(key, it)
	s, ok := reconcile.Last(it, now)
	if !ok {
		return
	}
	for d, w := range o.writes {
		if w.key == key && d != s.Dot && it.Ctx.Covers(d) && w.seen.Covers(s.Dot) {
			o.cluster.World.Fail("F1.12: %s shows %v, which %v has replaced", key, s.Dot, d)
		}
	}
}

// Verify checks the state of a quiet cluster against all that was written.
func (o *Oracle) Verify() {
	if o.cluster.World.Err() != nil {
		return
	}
	byKey := map[string][]version.Dot{}
	for d, w := range o.writes {
		byKey[w.key] = append(byKey[w.key], d)
	}
	keys := make([]string, 0, len(byKey))
	for k := range byKey {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, key := range keys {
		dots := byKey[key]
		slices.SortFunc(dots, version.Dot.Compare)
		o.verifyKey(key, dots)
	}
}

// isReplaced tells whether something that was purged had replaced a write.
func (o *Oracle) isReplaced(key string, d version.Dot, dots []version.Dot) bool {
	return slices.ContainsFunc(dots, func(e version.Dot) bool {
		return e != d && o.purgedContexts[key].Covers(e) && o.writes[e].seen.Covers(d)
	})
}

func (o *Oracle) verifyKey(key string, dots []version.Dot) {
	w := o.cluster.World
	var final version.Item
	first := true
	for _, id := range o.cluster.homesOf(key) {
		s, ok := storeOn(o.cluster.resolve(w.Hosts[0], id))
		if !ok {
			w.Fail("no store %v", id)
			return
		}
		rec := s.record(key)
		if first {
			final, first = rec.Item, false
		} else if !final.Equal(rec.Item) {
			w.Fail("F1.7: homes differ in %s: %v, %v", key, final, rec.Item)
		}
	}
	o.checkRead(key, final, w.Hosts[0].Wall())
	for i := range final.Sibs {
		sib := &final.Sibs[i]
		if wr := o.writes[sib.Dot]; wr == nil || wr.sib.HLC != sib.HLC || string(wr.sib.Value) != string(sib.Value) && !o.hasEnded(sib.Dot) {
			w.Fail("F1.3: %s: %v carries %q, which is not what was written", key, sib.Dot, sib.Value)
		}
	}
	for _, d := range dots {
		var by *version.Dot
		for _, e := range dots {
			if e != d && (final.Ctx.Covers(e) || o.writes[e].moved) && o.writes[e].seen.Covers(d) {
				by = &e
				break
			}
		}
		live := final.Sibling(d) != nil
		switch {
		case live && o.purgedContexts[key].Covers(d) && o.writes[d].sib.Flags&version.Tomb == 0:
			w.Fail("F1.6: %s: %v is live, but it was purged", key, d)
		case o.purgedContexts[key].Covers(d) && by == nil && o.writes[d].sib.Flags&version.Tomb == 0 && !o.writes[d].moved && !o.isReplaced(key, d, dots):
			w.Fail("F1.5: %s: %v (acked: %v) was purged, nothing replaced it", key, d, o.writes[d].acked)
		case o.purgedContexts[key].Covers(d):
		case o.writes[d].moved:
		case live && by != nil:
			w.Fail("F1.4: %s: %v is live, but %v has replaced it", key, d, *by)
		case !live && by == nil && final.Ctx.Covers(d):
			w.Fail("F1.5: %s: %v (acked: %v) was discarded, nothing replaced it", key, d, o.writes[d].acked)
		case !live && by == nil:
			w.Fail("F1.16: %s: %v (acked: %v) has never arrived", key, d, o.writes[d].acked)
		}
	}
}
