package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// deliverHints sends every record that is kept for a store in reach there.
func (s *store) deliverHints() {
	for _, k := range s.host.Disk.Keys(keyRecord) {
		v, err := s.host.Disk.Get(k)
		if err != nil {
			continue
		}
		rec, key := v.(replicate.Record), k[len(keyRecord):]
		plan, stamp := s.planFor(key), s.syncedStamp(s.cluster.unitOf(key))
		if stamp.Lagging() {
			continue
		}
		for _, target := range rec.Hints {
			hint := replicate.Hint{Target: target, Homes: plan.Order[:plan.Homes]}
			acked := map[view.NodeID]bool{}
			for _, to := range hint.Deliver(s.self.ID, s.isLive) {
				s.offerItem(to, key, rec.Item, stamp, replicate.HomeRole, func(ok bool, _ token.Token) {
					if acked[to] = ok; hint.Done(s.self.ID, s.isLive, func(id view.NodeID) bool { return acked[id] }) {
						s.settleHint(key, target, rec.Item)
					}
				})
			}
		}
	}
}

// repairDamaged gets what others have in the place of a damaged record. When enough of
// them know that there is nothing, it goes.
func (s *store) repairDamaged() {
	for _, k := range s.host.Disk.Keys(keyRecord) {
		key := k[len(keyRecord):]
		if _, err := s.host.Disk.Get(k); !errors.Is(err, ErrCorrupt) || s.busy["mend"] {
			continue
		}
		s.busy["mend"] = true
		s.readAndRepair(key, replicate.Quorum, false, func(r replicate.ReadResult) {
			delete(s.busy, "mend")
			if !r.Found() && r.Err == nil {
				s.failOnError(s.host.Disk.Update(func(tx *Tx) error {
					if _, bad := loadRecord(tx, key); bad {
						tx.Delete(k)
					}
					return nil
				}, nil))
			}
		})
	}
}

// keysOf lists what this store has of a unit after a key, with hashes.
func (s *store) keysOf(unit int, after string, first bool) []replicate.Mark {
	var out []replicate.Mark
	for _, k := range s.host.Disk.Keys(keyRecord) {
		key := k[len(keyRecord):]
		if v, err := s.host.Disk.Get(k); err == nil && s.cluster.unitOf(key) == unit && (first || key > after) {
			out = append(out, replicate.Mark{Key: key, Hash: hasher.Version(v.(replicate.Record).Item)})
		}
	}
	return out
}

var hasher = reconcile.NewHasher([16]byte{1})

func (s *store) unitDigest(unit int) (d reconcile.Digest) {
	for _, m := range s.keysOf(unit, "", true) {
		d.Add(reconcile.Element{Key: hasher.Key([]byte(m.Key)), Version: m.Hash})
	}
	return d
}

// record returns the synced record of a key, zero if there is none.
func (s *store) record(key string) replicate.Record {
	if v, err := s.host.Disk.Get(keyRecord + key); err == nil {
		return v.(replicate.Record)
	}
	return replicate.Record{}
}

// antiEntropy makes this store equal with a random other keeper of what it
// keeps, and gets from it what it holds as a home that it is no more.
func (s *store) antiEntropy() {
	var peers []view.NodeID
	for _, e := range s.roster.Storing() {
		if e.ID != s.self.ID && s.isLive(e.ID) {
			peers = append(peers, e.ID)
		}
	}
	if len(peers) > 0 {
		s.compareWith(peers[s.host.World.Rand.IntN(len(peers))])
	}
}

func (s *store) compareWith(peer view.NodeID) {
	var mine []int
	for u := range s.cluster.Units {
		if s.homeOf[u] {
			mine = append(mine, u)
		}
	}
	s.syncStamps(peer, func(ok bool) {
		if !ok {
			return
		}
		s.startExchange(peer, s.sharedUnits(peer), true)
		s.callStore(peer, heldRequest{mine}, 2*time.Second, func(body any, ok bool) {
			held, _ := body.([]int)
			if !ok {
				return
			}
			for _, u := range mine {
				if !slices.Contains(held, u) && !s.keepsUnit(peer, u) {
					s.ready.Consulted(u, peer)
				}
			}
			s.startExchange(peer, held, false)
		})
	})
}

func (s *store) noteEqual(peer view.NodeID, units, seasoned []int, both bool) {
	for _, u := range units {
		if !s.homeOf[u] {
			continue
		}
		s.ready.Equal(u, peer, both && slices.Contains(seasoned, u) && slices.Contains(s.homesOfUnit(u), peer))
		if s.isReady(u) {
			mark := fmt.Sprint(keySynced, u)
			s.failOnError(s.host.Disk.Update(func(tx *Tx) error { tx.Set(mark, true); return nil }, nil))
		}
	}
}

// pullRecords gets records one after the other; back are those the peer is behind in.
func (s *store) pullRecords(peer view.NodeID, keys []string, done func(back []string)) {
	var back []string
	var next func(i int)
	next = func(i int) {
		if i == len(keys) {
			done(back)
			return
		}
		s.callStore(peer, readRequest{keys[i]}, 2*time.Second, func(body any, ok bool) {
			r, _ := body.(replicate.Reply)
			if !ok {
				return
			}
			if r.Know != replicate.Present {
				next(i + 1)
				return
			}
			s.acceptOffers(peer, []offer{{keys[i], r.Item, r.Stamp}}, replicate.HomeRole, func(got mergeReply) {
				if got.stale {
					return
				}
				if !r.Item.Dominates(s.record(keys[i]).Item) {
					back = append(back, keys[i])
				}
				next(i + 1)
			})
		})
	}
	next(0)
}

func (s *store) pushAll(peer view.NodeID, keys []string, done func(ok bool)) {
	var offers []offer
	for _, k := range keys {
		stamp := s.syncedStamp(s.cluster.unitOf(k))
		if stamp.Lagging() {
			done(false) // some of it may have been purged
			return
		}
		if rec := s.record(k); !rec.Unknown() {
			offers = append(offers, offer{k, rec.Item, stamp})
		}
	}
	if len(offers) == 0 {
		done(true)
		return
	}
	s.cluster.moved += len(offers)
	s.sendOffers(peer, offers, replicate.HomeRole, func(ok bool, got mergeReply) { done(ok && !got.stale) })
}
