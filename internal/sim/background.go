package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
)

// deliverHints sends every record that is kept for a store in reach there.
func (s *store) deliverHints() {
	for _, k := range s.h.Disk.Keys(keyRecord) {
		v, err := s.h.Disk.Get(k)
		if err != nil {
			continue
		}
		rec, key := v.(replicate.Record), k[len(keyRecord):]
		plan := s.plan(key)
		for _, target := range rec.Hints {
			hint := replicate.Hint{Target: target, Homes: plan.Order[:plan.Homes]}
			acked := map[view.NodeID]bool{}
			for _, to := range hint.Deliver(s.who.ID, s.live) {
				s.offer(to, key, rec.Item, replicate.HomeRole, func(ok bool) {
					if acked[to] = ok; hint.Done(s.who.ID, s.live, func(id view.NodeID) bool { return acked[id] }) {
						s.settle(key, target, rec.Item)
					}
				})
			}
		}
	}
}

// keysOf lists what this store has of a unit after a key, with hashes.
func (s *store) keysOf(unit int, after string, first bool) []replicate.Mark {
	var out []replicate.Mark
	for _, k := range s.h.Disk.Keys(keyRecord) {
		key := k[len(keyRecord):]
		if v, err := s.h.Disk.Get(k); err == nil && s.c.unit(key) == unit && (first || key > after) {
			out = append(out, replicate.Mark{Key: key, Hash: hasher.Version(v.(replicate.Record).Item)})
		}
	}
	return out
}

var hasher = reconcile.NewHasher([16]byte{1})

func (s *store) digest(unit int) (d reconcile.Digest) {
	for _, m := range s.keysOf(unit, "", true) {
		d.Add(reconcile.Element{Key: hasher.Key([]byte(m.Key)), Version: m.Hash})
	}
	return d
}

// record returns the synced record of a key, zero if there is none.
func (s *store) record(key string) replicate.Record {
	if v, err := s.h.Disk.Get(keyRecord + key); err == nil {
		return v.(replicate.Record)
	}
	return replicate.Record{}
}

// antiEntropy makes this store equal with a random other home.
func (s *store) antiEntropy() {
	var peers []view.NodeID
	for _, id := range s.c.members {
		if id != s.who.ID && s.live(id) && len(s.c.shared(s.who.ID, id)) > 0 {
			peers = append(peers, id)
		}
	}
	if len(peers) > 0 {
		peer := peers[s.h.World.Rand.IntN(len(peers))]
		s.exchange(peer, s.c.shared(s.who.ID, peer))
	}
}

func (s *store) exchange(peer view.NodeID, units []int) {
	ex := replicate.NewExchange(units, 4)
	var step func()
	step = func() {
		at := ex.Step()
		switch at.Kind {
		case replicate.Done:
			s.equal(peer, units)
		case replicate.Digests:
			req := sumsRequest{Units: slices.Clone(at.Units)}
			for _, u := range at.Units {
				req.Sums = append(req.Sums, s.digest(u))
			}
			s.call(peer, req, 2*time.Second, func(body any, ok bool) {
				if ok {
					ex.Differ(body.([]int))
					step()
				}
			})
		case replicate.List:
			s.call(peer, listRequest{at.Unit, at.After, at.First}, 2*time.Second, func(body any, ok bool) {
				if ok {
					ex.Listed(body.(replicate.Page), s.keysOf(at.Unit, at.After, at.First))
					step()
				}
			})
		case replicate.Pull:
			s.pull(peer, at.Keys, func(back []string) {
				ex.Pulled(len(at.Keys), back)
				step()
			})
		case replicate.Push:
			s.pushAll(peer, at.Keys, func() {
				ex.Pushed(len(at.Keys))
				step()
			})
		}
	}
	step()
}

func (s *store) equal(peer view.NodeID, units []int) {
	for _, u := range units {
		s.ready.Equal(u, peer)
		if s.isReady(u) {
			mark := fmt.Sprint(keySynced, u)
			s.must(s.h.Disk.Update(func(tx *Tx) error { tx.Set(mark, true); return nil }, nil))
		}
	}
}

// pull gets records one after the other; back are those the peer is behind in.
func (s *store) pull(peer view.NodeID, keys []string, done func(back []string)) {
	var back []string
	var next func(i int)
	next = func(i int) {
		if i == len(keys) {
			done(back)
			return
		}
		s.call(peer, readRequest{keys[i]}, 2*time.Second, func(body any, ok bool) {
			r, _ := body.(replicate.Reply)
			if !ok {
				return
			}
			if r.Know != replicate.Present {
				next(i + 1)
				return
			}
			s.accept([]offer{{keys[i], r.Item}}, replicate.HomeRole, func() {
				if !r.Item.Dominates(s.record(keys[i]).Item) {
					back = append(back, keys[i])
				}
				next(i + 1)
			})
		})
	}
	next(0)
}

func (s *store) pushAll(peer view.NodeID, keys []string, done func()) {
	var offers []offer
	for _, k := range keys {
		if rec := s.record(k); !rec.Unknown() {
			offers = append(offers, offer{k, rec.Item})
		}
	}
	if len(offers) == 0 {
		done()
		return
	}
	s.c.moved += len(offers)
	s.call(peer, mergeRequest{Offers: offers}, 5*time.Second, func(_ any, ok bool) {
		if ok {
			done()
		}
	})
}
