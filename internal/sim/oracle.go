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
	c        *Cluster
	writes   map[version.Dot]*write
	unsynced map[version.Dot]bool
	lost     map[string]int             // copies of a key that were destroyed on purpose
	gone     map[string]version.Context // of a key: what was purged
	cloned   bool                       // dots may have been given out twice, see F2.13
	stands   map[ackedKey]purge.Round   // the last round that a store has acknowledged, or caught up with
	commits  int
	reads    int
	acks     int
	aside    int // writes that were set aside

	restored  bool // disks were put back to an older state
	destroyed bool // records were destroyed on purpose
}

// write is what the oracle remembers of a dot.
type write struct {
	key     string
	sib     version.Sibling
	seen    version.Context // what it replaces: the client's context
	acked   bool
	moved   bool // written again as a new dot
	durable int  // stores, by the ack
}

func newOracle(c *Cluster) *Oracle {
	return &Oracle{c: c, writes: map[version.Dot]*write{}, unsynced: map[version.Dot]bool{}, lost: map[string]int{}, gone: map[string]version.Context{}, stands: map[ackedKey]purge.Round{}}
}

// minted: a dot was given out. Property F1.3: nobody has had it before.
func (o *Oracle) minted(s *store, p putRequest, wrote reconcile.Wrote, seen version.Context) {
	if old := o.writes[wrote.Dot]; old != nil && !o.cloned {
		o.c.World.Fail("F1.3: dot %v of key %s was given out before, to key %s", wrote.Dot, p.Key, old.key)
	}
	if err := wrote.Local.Check(); err != nil {
		o.c.World.Fail("F1.2: %v", err)
	}
	if wrote.Dot.N > 1 {
		before := o.writes[version.Dot{A: wrote.Dot.A, N: wrote.Dot.N - 1}]
		if before != nil && before.sib.HLC >= wrote.Local.Sibling(wrote.Dot).HLC {
			o.c.World.Fail("F1.13: %v is dated before the dot before it", wrote.Dot)
		}
	}
	o.c.World.Logf("host %d: %s = %q is %v, covers %v", s.h.Index, p.Key, p.Write.Value, wrote.Dot, wrote.Covered)
	o.writes[wrote.Dot] = &write{key: p.Key, sib: *wrote.Local.Sibling(wrote.Dot), seen: seen}
	o.unsynced[wrote.Dot] = true
}

// settled: the batch of a dot is synced, or died with the process. A dot that
// nobody has seen may be given out again.
func (o *Oracle) settled(d version.Dot, synced bool) {
	delete(o.unsynced, d)
	if !synced && !o.cloned {
		delete(o.writes, d)
	}
}

// imported: a value got a new dot because its old one names two writes.
func (o *Oracle) imported(s *store, key string, again reconcile.Wrote, old version.Sibling) {
	o.c.World.Logf("host %d: %s: %v is written again as %v", s.h.Index, key, old.Dot, again.Dot)
	o.writes[again.Dot] = &write{key: key, sib: *again.Local.Sibling(again.Dot)}
}

// disowned: a store has taken back dots that may name two writes.
func (o *Oracle) disowned(s *store, key string, was, now reconcile.Local) {
	for _, sib := range was.Sibs {
		if w := o.writes[sib.Dot]; w != nil && now.Sibling(sib.Dot) == nil {
			w.moved = true
		}
	}
	for _, sib := range now.Sibs {
		if was.Sibling(sib.Dot) == nil {
			o.imported(s, key, reconcile.Wrote{Local: now, Dot: sib.Dot}, sib)
		}
	}
}

type ackedKey struct {
	store view.NodeID
	unit  int
}

// stood: a store has synced where it stands.
func (o *Oracle) stood(id view.NodeID, unit int, at purge.Stamp) {
	o.stands[ackedKey{id, unit}] = at.Acked
}

// took: a store merges an item. Property F1.10: it was read no earlier than the
// round that the store has acknowledged. A disk that was put back has forgotten
// what it had acknowledged.
func (o *Oracle) took(s *store, unit int, from purge.Stamp) {
	if last := o.stands[ackedKey{s.who.ID, unit}]; from.Acked.Before(last) && !o.restored {
		o.c.World.Fail("F1.10: host %d takes in an item of round %v after it has acknowledged %v", s.h.Index, from.Acked, last)
	}
}

// commits: a proposer takes a round for committed. Property F1.9: all members
// have acknowledged it, as all of them know the members.
func (o *Oracle) committed(s *store, p *purge.Proposal, members []view.NodeID) {
	o.commits++
	if o.restored {
		return
	}
	for _, id := range members {
		if last := o.stands[ackedKey{id, p.Shard}]; last.Before(p.Round) {
			o.c.World.Fail("F1.9: round %v of unit %d is committed, %v has acknowledged %v", p.Round, p.Shard, id, last)
		}
	}
}

// letGo: a store lets go of what it is not to keep. Property F1.15: every home
// holds it.
func (o *Oracle) letGo(s *store, unit int, key string, it version.Item) {
	o.dropped(s, key, it)
	if o.destroyed || o.restored {
		return // a home may have lost what it has vouched for
	}
	for _, id := range s.homes(unit) {
		other, ok := storeOn(o.c.resolve(s.h, id))
		if !ok {
			h := o.c.resolve(s.h, id)
			if v, err := h.Disk.Get(keyRecord + key); err == nil && v.(replicate.Record).Dominates(it) {
				continue
			}
		} else if other.record(key).Dominates(it) || o.gone[key].Includes(it.Ctx) {
			continue
		}
		o.c.World.Fail("F1.15: host %d lets go of %s, which home %v does not hold", s.h.Index, key, id)
	}
}

// purged: a store lets go of a tomb. Whatever it had seen is gone for good.
func (o *Oracle) purged(s *store, key string, it version.Item) {
	o.c.World.Logf("host %d: %s is purged, %v", s.h.Index, key, it)
	o.gone[key] = o.gone[key].Join(it.Ctx)
	for _, h := range o.c.World.Hosts {
		if other, ok := storeOn(h); ok && !other.quit {
			o.holds(other, key, other.record(key).Item)
		}
	}
}

// refused: a store has set aside, and listed, what it could not vouch for. Only
// data that was rolled back, in a cluster that has lost all other disks of that
// time, or whose logs are too short, comes to that. It counts as a lost copy.
func (o *Oracle) refused(s *store, key string, was, kept version.Item) {
	if !kept.Ctx.Includes(was.Ctx) {
		o.lost[key]++
	}
	for _, sib := range was.Sibs {
		if w := o.writes[sib.Dot]; w != nil && kept.Sibling(sib.Dot) == nil && o.copies(sib.Dot, s) == 0 {
			w.moved = true
			o.aside++
		}
	}
}

// holds: a store has taken an item in. Property F1.6: nothing that was purged
// is alive in it, anywhere that counts: a store that has yet to catch up must
// not let it go, and is not asked here.
func (o *Oracle) holds(s *store, key string, it version.Item) {
	for _, sib := range it.Sibs {
		if sib.Flags&version.Tomb == 0 && o.gone[key].Covers(sib.Dot) && !s.stale(key) {
			o.c.World.Fail("F1.6: host %d holds %s %v alive, which was purged", s.h.Index, key, sib.Dot)
		}
	}
}

// leaving: something is about to leave a store. Property F1.21: all dots that
// it shows are synced.
func (o *Oracle) leaving(s *store, body any) {
	check := func(ctx version.Context) {
		for _, e := range ctx {
			if d := version.Dot(e); o.unsynced[d] {
				o.c.World.Fail("F1.21: host %d shows dot %v before it is synced", s.h.Index, d)
			} else if o.writes[d] == nil && !o.cloned {
				o.c.World.Fail("F1.21: host %d shows dot %v, which was lost before it was synced", s.h.Index, d)
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

// acked: a client was told that its write is kept on so many stores.
func (o *Oracle) acked(d version.Dot, r replicate.Result) {
	o.acks++
	if w := o.writes[d]; w != nil {
		w.acked, w.durable = true, r.Durable
		if n := o.copies(d, nil); n < r.Durable-o.lost[w.key] {
			o.c.World.Fail("%s %v was acked as durable on %d stores, it is on %d", w.key, d, r.Durable, n)
		}
	} else {
		o.c.World.Fail("ack of %v, which nobody has written", d)
	}
}

// copies counts the stores, up or down, whose synced record knows a dot.
func (o *Oracle) copies(d version.Dot, except *store) int {
	n := 0
	for _, h := range o.c.World.Hosts {
		if s, ok := storeOn(h); ok && s == except {
			continue
		}
		if v, err := h.Disk.Get(keyRecord + o.writes[d].key); err == nil && v.(replicate.Record).Ctx.Covers(d) || o.gone[o.writes[d].key].Covers(d) {
			n++
		}
	}
	return n
}

// dropped: a store lets go of a record. What was promised must be elsewhere.
func (o *Oracle) dropped(s *store, key string, it version.Item) {
	for _, sib := range it.Sibs {
		w := o.writes[sib.Dot]
		if w == nil {
			continue
		}
		need := 1
		if w.acked {
			need = max(1, w.durable-o.lost[key])
		}
		if n := o.copies(sib.Dot, s); n < need {
			o.c.World.Fail("F1.16: host %d drops %s %v, which is left on %d stores of %d", s.h.Index, key, sib.Dot, n, need)
		}
	}
}

// spare tells whether a host's record of a key may be destroyed: everything
// that it knows is known elsewhere.
func (o *Oracle) spare(h *Host, key string) bool {
	v, err := h.Disk.Get(keyRecord + key)
	if err != nil {
		return true
	}
	others := o.gone[key]
	for _, x := range o.c.World.Hosts {
		if x == h {
			continue
		}
		if v, err := x.Disk.Get(keyRecord + key); err == nil {
			others = others.Join(v.(replicate.Record).Ctx)
		}
	}
	return others.Includes(v.(replicate.Record).Ctx)
}

// read: a client was shown an item. Property F1.12: what last-writer-wins
// shows is not older, by causality, than anything the item knows.
func (o *Oracle) read(key string, it version.Item, now version.HLC) {
	o.reads++
	s, ok := reconcile.Last(it, now)
	if !ok {
		return
	}
	for d, w := range o.writes {
		if w.key == key && d != s.Dot && it.Ctx.Covers(d) && w.seen.Covers(s.Dot) {
			o.c.World.Fail("F1.12: %s shows %v, which %v has replaced", key, s.Dot, d)
		}
	}
}

// Verify checks the state of a quiet cluster against all that was written.
func (o *Oracle) Verify() {
	if o.c.World.Err() != nil {
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

// replaced tells whether something that was purged had replaced a write.
func (o *Oracle) replaced(key string, d version.Dot, dots []version.Dot) bool {
	return slices.ContainsFunc(dots, func(e version.Dot) bool {
		return e != d && o.gone[key].Covers(e) && o.writes[e].seen.Covers(d)
	})
}

func (o *Oracle) verifyKey(key string, dots []version.Dot) {
	w := o.c.World
	var final version.Item
	first := true
	for _, id := range o.c.homes(key) {
		s, ok := storeOn(o.c.resolve(w.Hosts[0], id))
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
	o.read(key, final, w.Hosts[0].Wall())
	for i := range final.Sibs {
		sib := &final.Sibs[i]
		if wr := o.writes[sib.Dot]; wr == nil || wr.sib.HLC != sib.HLC || string(wr.sib.Value) != string(sib.Value) {
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
		case live && o.gone[key].Covers(d) && o.writes[d].sib.Flags&version.Tomb == 0:
			w.Fail("F1.6: %s: %v is live, but it was purged", key, d)
		case o.gone[key].Covers(d) && by == nil && o.writes[d].sib.Flags&version.Tomb == 0 && !o.writes[d].moved && !o.replaced(key, d, dots):
			w.Fail("F1.5: %s: %v (acked: %v) was purged, nothing replaced it", key, d, o.writes[d].acked)
		case o.gone[key].Covers(d):
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
