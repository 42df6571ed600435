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

// refreshView looks who can be reached. While there are faults it errs at times.
func (s *store) refreshView() {
	if next, evicted := s.roster.Settle(s.isLive); len(evicted) > 0 {
		s.adoptRoster(next)
	}
	if e, _ := s.roster.Get(s.self.ID); e.Status == view.Evicted {
		s.retireIdentity(hello{}) // there is no second copy of it
		return
	}
	clear(s.alive)
	var members []view.NodeID
	for _, e := range s.roster.Storing() {
		members = append(members, e.ID)
		s.alive[e.ID] = s.reaches(e.ID)
		if s.host.World.Chance(s.cluster.doubt) {
			s.alive[e.ID] = !s.alive[e.ID]
		}
	}
	s.greetHosts()
	if s.cluster.Heal > 0 {
		s.healer.Look(s.host.Now(), s.self.ID, members, s.isLive, false)
		s.confirmLost()
	}
}

// confirmLost asks others, as the healer will have it, whether they reach a store.
func (s *store) confirmLost() {
	id, ok := s.healer.Ask()
	if !ok {
		return
	}
	peers, need := detect.Jury(s.rosterView(), id, s.host.World.Rand)
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
			s.healer.Heard(s.host.Now(), id, w)
		}
	}
	for _, peer := range peers {
		s.callStore(peer, reachRequest{id}, 2*time.Second, hear)
	}
	hear(s.reaches(id), true)
}

// reaches tries a store now, without error.
func (s *store) reaches(id view.NodeID) bool {
	host := s.cluster.resolve(s.host, id)
	return host != nil && s.host.World.Net.Reaches(s.host, host) && s.host.World.Net.Reaches(host, s.host)
}

// rosterView is who belongs to the mesh and who is alive, as far as Jury looks.
func (s *store) rosterView() view.View {
	v := view.View{Self: s.self.ID}
	for _, e := range s.roster.Storing() {
		m := view.Member{ID: e.ID, Zone: e.Zone, Storing: true, Status: e.Status, State: view.Failed}
		if s.isLive(e.ID) {
			m.State = view.Alive
		}
		v.Members = append(v.Members, m)
	}
	return v
}

// greetHosts shows whoever is at the known addresses who belongs to the mesh, unless
// they know, and hears what they know of that.
func (s *store) greetHosts() {
	for _, h := range s.host.World.Hosts {
		if h != s.host && h.Up() && s.shownRosters[h] != s.roster.Sum() && s.host.World.Net.Reaches(s.host, h) {
			s.host.Send(h, request{s.self, s.roster, 0, 0, greeting{}})
		}
	}
}

// adoptRoster takes in a roster that is at least the one so far.
func (s *store) adoptRoster(next roster.Roster) {
	merged, changed, _ := s.roster.Merge(next)
	if len(changed) == 0 {
		return
	}
	s.roster = merged
	s.putNow(keyRoster, merged)
	s.followRoster()
}

// followRoster takes in of which units the roster has made this store a home.
func (s *store) followRoster() {
	isHome := func(unit int) bool { return slices.Contains(s.homesOfUnit(unit), s.self.ID) }
	s.ready.Follow(s.cluster.Units, isHome, func(unit int) bool {
		_, err := s.host.Disk.Get(fmt.Sprint(keySynced, unit))
		return err == nil
	})
	for unit := range s.cluster.Units {
		if s.homeOf[unit] = isHome(unit); !s.homeOf[unit] {
			s.forgetSynced(unit)
		}
	}
}

// forgetSynced takes back the note that this store has caught up in a unit.
func (s *store) forgetSynced(unit int) {
	mark := fmt.Sprint(keySynced, unit)
	if _, err := s.host.Disk.Get(mark); err == nil {
		s.failOnError(s.host.Disk.Update(func(tx *Tx) error { tx.Delete(mark); return nil }, nil))
	}
}

// Evict has a store that runs give up another one for good.
func (c *Cluster) Evict(by *Host, id view.NodeID) {
	s, ok := storeOn(by)
	if !ok || s.stopped || s.self.ID == id {
		return
	}
	if next, err := s.roster.Move(id, view.Evicted); err == nil {
		c.World.Logf("host %d evicts %v", by.Index, id)
		s.adoptRoster(next)
	}
}

// Leave has a store hand over what it holds and go for good.
func (c *Cluster) Leave(h *Host) {
	s, ok := storeOn(h)
	if !ok {
		return
	}
	if next, err := s.roster.Move(s.self.ID, view.Leaving); err == nil {
		c.World.Logf("host %d begins to leave", h.Index)
		s.leaves = true
		s.adoptRoster(next)
	}
}

// finishLeaving is called when a store that leaves has looked through all it holds: it
// goes when that is nothing.
func (s *store) finishLeaving() {
	if len(s.host.Disk.Keys(keyRecord)) > 0 || len(s.host.Disk.pending) > 0 {
		return
	}
	next, err := s.roster.Move(s.self.ID, view.Left)
	s.failOnError(err)
	s.adoptRoster(next)
	s.host.World.Logf("host %d has left", s.host.Index)
	s.greetHosts()
	s.stopped, s.host.Gone = true, true
}

// retireIdentity gives the data here a new owner: others know its store by a later
// boot, or there is a second copy of it, or it was given up. What the data
// holds is handed to the homes like hints, once it has caught up with what was
// purged meanwhile. If the other copy ran in the same session its dots may
// name other writes, so the values that carry them here are written again.
func (s *store) retireIdentity(known hello) {
	s.host.World.Logf("host %d: store %v retires, boot %d; known boot %d", s.host.Index, s.self.ID, s.self.Boot, known.Boot)
	old, was := s.self, s.roster
	s.roster = s.cluster.mintID(s.host)
	id := identity{ID: s.cluster.members[s.cluster.slots[s.host]], Boot: 1}
	if merged, _, _ := s.roster.Merge(was); merged.Len() > 0 {
		s.roster = merged
	}
	s.putNow(keyIdentity, id)
	s.putNow(keyRoster, s.roster)
	for _, k := range s.host.Disk.Keys(keySynced) {
		s.failOnError(s.host.Disk.Update(func(tx *Tx) error { tx.Delete(k); return nil }, nil))
	}
	s.openWriter(id)
	clear(s.calls)
	clear(s.busy)
	s.behind = nil
	s.healer = replicate.NewHealer(s.cluster.Heal) // one that waits for an answer would wait for ever
	for _, k := range s.host.Disk.Keys(keyRecord) {
		key := k[len(keyRecord):]
		plan := s.planFor(key)
		s.failOnError(s.updateRecord(key, func(tx *Tx, rec replicate.Record, w *reconcile.Writer) (replicate.Record, error) {
			if rec.Unknown() {
				return replicate.Record{}, nil // damaged
			}
			rec.Home = plan.IsHome(s.self.ID)
			for _, home := range plan.Order[:plan.Homes] {
				if home != s.self.ID {
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
			s.cluster.oracle.noteDisowned(s, key, was, rec.Local)
			return rec, nil
		}, nil))
	}
	s.refreshView()
}

// members lists whose acknowledgement a purge needs, as this store knows them.
func (s *store) members() (ids []view.NodeID, digest [16]byte) {
	for _, e := range s.roster.Storing() {
		ids = append(ids, e.ID)
	}
	return ids, s.roster.StoringDigest()
}
