package sim

import (
	"slices"

	"time"

	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
)

// unitsHeld tells of which units there is something here although this store is
// not to keep them.
func (s *store) unitsHeld(units []int) (out []int) {
	for _, u := range units {
		if !s.keepsUnit(s.self.ID, u) && len(s.keysOf(u, "", true)) > 0 {
			out = append(out, u)
		}
	}
	return out
}

// handOff brings what this store is not to keep to those that are, and lets
// go of it. Records that are kept for one store only go another way.
func (s *store) handOff() {
	if s.busy["handoff"] {
		return
	}
	for u := range s.cluster.Units {
		if !s.keepsUnit(s.self.ID, u) && len(s.formerRecords(u, "", true)) > 0 {
			s.busy["handoff"] = true
			serial := s.serial
			s.handOffUnit(u, func() { delete(s.busy, "handoff") })
			s.host.After(20*time.Second, func() {
				if s.serial >= serial {
					delete(s.busy, "handoff")
				}
			})
			return
		}
	}
	if s.leaves {
		s.finishLeaving()
	}
}

// formerRecords lists the records that this store keeps as a home it is not.
func (s *store) formerRecords(unit int, after string, first bool) []replicate.Mark {
	return slices.DeleteFunc(s.keysOf(unit, after, first), func(m replicate.Mark) bool { return !s.record(m.Key).Home })
}

func (s *store) handOffUnit(unit int, done func()) {
	homes := s.homesOfUnit(unit)
	roster := s.roster.Digest()
	core := replicate.NewHandoff(homes, s.isLive, 4)
	var step func()
	step = func() {
		at := core.Step()
		switch at.Kind {
		case replicate.HandoffList:
			marks := s.formerRecords(unit, at.After, at.First)
			n := min(len(marks), 4)
			core.Listed(marks[:n], n == len(marks))
			step()
		case replicate.HandoffCover:
			s.callStore(at.To, coverRequest{unit, roster, at.Marks}, 2*time.Second, func(body any, ok bool) {
				r, _ := body.(coverReply)
				if !ok {
					done()
					return
				}
				core.Covered(r.Missing, r.Vouches)
				step()
			})
		case replicate.HandoffPush:
			gone := slices.ContainsFunc(at.Keys, func(k string) bool { return s.record(k).Unknown() })
			s.pushAll(at.To, at.Keys, func(ok bool) {
				if !ok || gone {
					done()
					return
				}
				core.Pushed(len(at.Keys))
				step()
			})
		case replicate.HandoffDrop:
			s.dropRecords(unit, roster, at.Marks, func(n int) {
				core.Dropped(n)
				step()
			})
		case replicate.HandoffDone:
			done()
		}
	}
	step()
}

// vouchForRecords tells which of a store's records this home does not hold as they are
// there. The other lets go of the rest. An update of its own makes sure that
// what this store had itself let go of by then is seen to be gone.
func (s *store) vouchForRecords(b coverRequest, done func(coverReply)) {
	r := coverReply{Vouches: replicate.MayVouch(b.Roster, s.roster.Digest(), slices.Contains(s.homesOfUnit(b.Unit), s.self.ID))}
	s.failOnError(s.host.Disk.Update(func(*Tx) error { return nil }, func(synced bool) {
		if !synced || !s.running() {
			return
		}
		for i, m := range b.Marks {
			rec := s.record(m.Key)
			if !replicate.Covers(rec, hasher.Version(rec.Item), m.Hash) {
				r.Missing = append(r.Missing, i)
			}
		}
		done(r)
	}))
}

// dropRecords takes the role of a home from records that all homes hold.
func (s *store) dropRecords(unit int, roster uint64, marks []replicate.Mark, done func(n int)) {
	n := 0
	s.failOnError(s.host.Disk.Update(func(tx *Tx) error {
		for _, m := range marks {
			rec, bad := loadRecord(tx, m.Key)
			if bad || rec.Unknown() {
				continue
			}
			if !replicate.MayDrop(roster, s.roster.Digest(), s.keepsUnit(s.self.ID, unit), m.Hash, hasher.Version(rec.Item)) {
				continue
			}
			rec.Home = false
			n++
			if rec.Idle() {
				s.cluster.dropped++
				s.cluster.oracle.checkHandOff(s, unit, m.Key, rec.Item)
				tx.Delete(keyRecord + m.Key)
			} else {
				s.saveRecord(tx, m.Key, rec)
			}
		}
		return nil
	}, func(synced bool) {
		if synced && s.running() {
			done(n)
		}
	}))
}

// sharedUnits lists the units that both this store and a peer are to keep.
func (s *store) sharedUnits(peer view.NodeID) (out []int) {
	for u := range s.cluster.Units {
		if s.keepsUnit(s.self.ID, u) && s.keepsUnit(peer, u) {
			out = append(out, u)
		}
	}
	return out
}
