package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/detect"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// refresh looks who can be reached. While there are faults it errs at times.
func (s *store) refresh() {
	if next, evicted := s.roster.Settle(s.live); len(evicted) > 0 {
		s.adopt(next)
	}
	if e, _ := s.roster.Get(s.who.ID); e.Status == view.Evicted {
		s.retire(hello{}) // there is no second copy of it
		return
	}
	clear(s.alive)
	var members []view.NodeID
	for _, e := range s.roster.Storing() {
		members = append(members, e.ID)
		s.alive[e.ID] = s.reaches(e.ID)
		if s.h.World.Chance(s.c.doubt) {
			s.alive[e.ID] = !s.alive[e.ID]
		}
	}
	s.greet()
	if s.c.Heal > 0 {
		s.healer.Look(s.h.Now(), s.who.ID, members, s.live, false)
		s.confirm()
	}
}

// confirm asks others, as the healer will have it, whether they reach a store.
func (s *store) confirm() {
	id, ok := s.healer.Ask()
	if !ok {
		return
	}
	peers, need := detect.Jury(s.view(), id, s.h.World.Rand)
	w, left := view.Witnesses{Need: need}, len(peers)+1
	hear := func(body any, ok bool) {
		w.Asked++
		switch reached, _ := body.(bool); {
		case ok && reached:
			w.Reached++
		case ok:
			w.Failed++
		}
		if left--; left == 0 {
			w.Confirmed = detect.Enough(need, w.Failed, w.Reached)
			s.healer.Heard(s.h.Now(), id, w)
		}
	}
	for _, peer := range peers {
		s.call(peer, reachRequest{id}, 2*time.Second, hear)
	}
	hear(s.reaches(id), true)
}

// reaches tries a store now, without error.
func (s *store) reaches(id view.NodeID) bool {
	host := s.c.resolve(s.h, id)
	return host != nil && s.h.World.Net.Reaches(s.h, host) && s.h.World.Net.Reaches(host, s.h)
}

// view is who belongs to the mesh and who is alive, as far as Jury looks.
func (s *store) view() view.View {
	v := view.View{Self: s.who.ID}
	for _, e := range s.roster.Storing() {
		m := view.Member{ID: e.ID, Zone: e.Zone, Storing: true, Status: e.Status, State: view.Failed}
		if s.live(e.ID) {
			m.State = view.Alive
		}
		v.Members = append(v.Members, m)
	}
	return v
}

// greet shows whoever is at the known addresses who belongs to the mesh, unless
// they know, and hears what they know of that.
func (s *store) greet() {
	for _, h := range s.h.World.Hosts {
		if h != s.h && h.Up() && s.shown[h] != s.roster.Sum() && s.h.World.Net.Reaches(s.h, h) {
			s.h.Send(h, request{s.who, s.roster, 0, 0, greeting{}})
		}
	}
}

// adopt takes in a roster that is at least the one so far.
func (s *store) adopt(next roster.Roster) {
	merged, changed, _ := s.roster.Merge(next)
	if len(changed) == 0 {
		return
	}
	s.roster = merged
	s.putNow(keyRoster, merged)
	s.follow()
}

// follow begins anew in the units that the roster has made this store a home
// of. What it was a home of when it went down it need only catch up with.
func (s *store) follow() {
	first := s.homeOf == nil
	if first {
		s.homeOf = map[int]bool{}
	}
	for unit := range s.c.Units {
		home := slices.Contains(s.homes(unit), s.who.ID)
		if home && !s.homeOf[unit] {
			_, err := s.h.Disk.Get(fmt.Sprint(keySynced, unit))
			s.ready.Begin(unit, !first || err != nil)
		}
		if !home {
			s.forget(unit)
		}
		s.homeOf[unit] = home
	}
}

// forget takes back the note that this store has caught up in a unit.
func (s *store) forget(unit int) {
	mark := fmt.Sprint(keySynced, unit)
	if _, err := s.h.Disk.Get(mark); err == nil {
		s.must(s.h.Disk.Update(func(tx *Tx) error { tx.Delete(mark); return nil }, nil))
	}
}

// Evict has a store that runs give up another one for good.
func (c *Cluster) Evict(by *Host, id view.NodeID) {
	s, ok := storeOn(by)
	if !ok || s.quit || s.who.ID == id {
		return
	}
	if next, err := s.roster.Move(id, view.Evicted); err == nil {
		c.World.Logf("host %d evicts %v", by.Index, id)
		s.adopt(next)
	}
}

// Leave has a store hand over what it holds and go for good.
func (c *Cluster) Leave(h *Host) {
	s, ok := storeOn(h)
	if !ok {
		return
	}
	if next, err := s.roster.Move(s.who.ID, view.Leaving); err == nil {
		c.World.Logf("host %d begins to leave", h.Index)
		s.leaves = true
		s.adopt(next)
	}
}

// left is called when a store that leaves has looked through all it holds: it
// goes when that is nothing.
func (s *store) left() {
	if len(s.h.Disk.Keys(keyRecord)) > 0 || len(s.h.Disk.pending) > 0 {
		return
	}
	next, err := s.roster.Move(s.who.ID, view.Left)
	s.must(err)
	s.adopt(next)
	s.h.World.Logf("host %d has left", s.h.Index)
	s.greet()
	s.quit, s.h.Gone = true, true
}

// retire gives the data here a new owner: others know its store by a later
// boot, or there is a second copy of it, or it was given up. What the data
// holds is handed to the homes like hints, once it has caught up with what was
// purged meanwhile. If the other copy ran in the same session its dots may
// name other writes, so the values that carry them here are written again.
func (s *store) retire(known hello) {
	s.h.World.Logf("host %d: store %v retires, boot %d; known boot %d", s.h.Index, s.who.ID, s.who.Boot, known.Boot)
	old, was := s.who, s.roster
	s.roster = s.c.mintID(s.h)
	id := identity{ID: s.c.members[s.c.slots[s.h]], Boot: 1}
	if merged, _, _ := s.roster.Merge(was); merged.Len() > 0 {
		s.roster = merged
	}
	s.putNow(keyIdentity, id)
	s.putNow(keyRoster, s.roster)
	for _, k := range s.h.Disk.Keys(keySynced) {
		s.must(s.h.Disk.Update(func(tx *Tx) error { tx.Delete(k); return nil }, nil))
	}
	s.open(id)
	clear(s.calls)
	clear(s.busy)
	s.behind = nil
	s.healer = replicate.NewHealer(s.c.Heal) // one that waits for an answer would wait for ever
	for _, k := range s.h.Disk.Keys(keyRecord) {
		key := k[len(keyRecord):]
		plan := s.plan(key)
		s.must(s.update(key, func(tx *Tx, rec replicate.Record, w *reconcile.Writer) (replicate.Record, error) {
			if rec.Unknown() {
				return replicate.Record{}, nil // damaged
			}
			rec.Home = plan.IsHome(s.who.ID)
			for _, home := range plan.Order[:plan.Homes] {
				if home != s.who.ID {
					rec = rec.Take(replicate.Role{For: home})
				}
			}
			if known.Session != old.Session {
				return rec, nil
			}
			was := rec.Local
			var meta *reconcile.Meta
			rec.Local, meta = w.Disown(rec.Local, func(a version.Actor) bool {
				return a.Store == uint64(old.ID) && a.Session == old.Session
			})
			if meta != nil {
				tx.Set(keyMeta, meta)
			}
			s.c.oracle.disowned(s, key, was, rec.Local)
			return rec, nil
		}, nil))
	}
	s.refresh()
}

// members lists whose acknowledgement a purge needs, as this store knows them.
func (s *store) members() (ids []view.NodeID, digest [16]byte) {
	for _, e := range s.roster.Storing() {
		ids = append(ids, e.ID)
	}
	return ids, s.roster.StoringDigest()
}
