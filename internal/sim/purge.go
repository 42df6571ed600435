package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// logged is what a store remembers of a key that was in a round.
type logged struct {
	Key string
	purge.Buried
}

func stampKey(unit int) string { return fmt.Sprint(keyStamp, unit) }

func logKey(unit int) string { return fmt.Sprint(keyFrom, unit) }

// logFrom is the round after which this store's log is whole.
func (s *store) logFrom(unit int) purge.Round {
	v, _ := s.h.Disk.Get(logKey(unit))
	r, _ := v.(purge.Round)
	return r
}

// stamp is what a store shows of where it stands: synced, like all it shows.
func (s *store) stamp(unit int) purge.Stamp {
	v, _ := s.h.Disk.Get(stampKey(unit))
	m, _ := v.(purge.Stamp)
	return m
}

// stampIn is where it stands inside an update.
func stampIn(tx *Tx, unit int) purge.Stamp {
	v, _ := tx.Get(stampKey(unit))
	m, _ := v.(purge.Stamp)
	return m
}

// admit judges an item by the stamp it came with. A store that holds nothing of
// a unit has nothing to catch up with.
func (s *store) admit(tx *Tx, key string, from purge.Stamp) bool {
	unit := s.c.unit(key)
	m := stampIn(tx, unit)
	next := m.Heard(from)
	if next.Acked.Before(from.Acked) && s.hollow(unit) {
		next.Acked = from.Acked
		tx.Set(logKey(unit), from.Acked)
	}
	if next != m {
		tx.Set(stampKey(unit), next)
	}
	return m.Admits(from)
}

// hollow tells whether there is no record of a unit, synced or not.
func (s *store) hollow(unit int) bool {
	for k := range s.h.Disk.latest {
		if strings.HasPrefix(k, keyRecord) && s.c.unit(k[len(keyRecord):]) == unit {
			return false
		}
	}
	return true
}

// isPurged tells whether an item is what was purged here of a key.
func (s *store) isPurged(tx *Tx, key string, rec replicate.Record, in version.Item) bool {
	v, err := tx.Get(keyLog + key)
	return err == nil && rec.Unknown() && v.(logged).Nothing(in)
}

// purge tries to purge the tombs of a unit of which this store is a home.
func (s *store) purge() {
	unit := s.h.World.Rand.IntN(s.c.Units)
	if !slices.Contains(s.homes(unit), s.who.ID) || s.busy["purge"] {
		return
	}
	ids, digest := s.members()
	var marks []purge.Stamp
	asked := 0
	for _, id := range ids {
		if id == s.who.ID {
			continue
		}
		asked++
		s.call(id, askRequest{unit, digest}, 2*time.Second, func(body any, ok bool) {
			if r, _ := body.(askReply); ok && r.Able {
				if marks = append(marks, r.Stamp); len(marks) == asked {
					s.propose(unit, marks)
				}
			}
		})
	}
	if asked == 0 {
		s.propose(unit, marks)
	}
}

// propose begins a round.
func (s *store) propose(unit int, marks []purge.Stamp) {
	ids, digest := s.members()
	p := purge.Proposal{Shard: unit, Members: digest}
	var err error
	if p.Round, p.Stamp, err = s.stamp(unit).Next(s.who.ID, marks...); err != nil {
		return // comparisons bring what it has missed
	}
	for _, k := range s.h.Disk.Keys(keyRecord) {
		key := k[len(keyRecord):]
		if rec := s.record(key); s.c.unit(key) == unit {
			if _, known := purge.Grave(rec.Item, 0); known {
				p.Batch = append(p.Batch, purge.Tomb{Key: key, Item: rec.Item})
			}
		}
	}
	if len(p.Batch) == 0 {
		return
	}
	s.h.World.Logf("host %d proposes %v of unit %d, %d tombs", s.h.Index, p.Round, unit, len(p.Batch))
	attempt := purge.NewAttempt(ids)
	acked := func(id view.NodeID) {
		if attempt.Acked(id); attempt.Committed() {
			s.c.oracle.committed(s, &p, ids)
			for _, to := range ids {
				s.call(to, commitRequest{unit, p.Round}, time.Second, func(any, bool) {})
			}
		}
	}
	s.acknowledge(&p, func(ok bool) {
		if !ok {
			return
		}
		acked(s.who.ID)
		for _, id := range ids {
			if id != s.who.ID {
				s.call(id, proposeRequest{p}, 2*time.Second, func(body any, ok bool) {
					if yes, _ := body.(bool); ok && yes {
						acked(id)
					}
				})
			}
		}
	})
}

// acknowledge makes all that is here of the keys of a round at least as new as
// their tombs, and takes in nothing older from then on.
func (s *store) acknowledge(p *purge.Proposal, done func(ok bool)) {
	refused, id := false, s.who.ID
	s.must(s.h.Disk.Update(func(tx *Tx) error {
		_, digest := s.members()
		m, err := stampIn(tx, p.Shard).Acknowledge(p, digest, s.h.Wall(), false)
		if refused = err != nil; refused {
			s.h.World.Logf("host %d: %v", s.h.Index, err)
			return nil
		}
		for _, t := range p.Batch {
			if err := s.bury(tx, t.Key, t.Item, slices.Contains(s.homes(p.Shard), s.who.ID)); err != nil {
				return err
			}
			s.log(tx, logged{t.Key, purge.Buried{}.Bury(p.Round, t.Item)})
		}
		tx.Set(stampKey(p.Shard), m)
		return nil
	}, func(synced bool) {
		if synced {
			s.c.oracle.stood(id, p.Shard, s.stamp(p.Shard))
			s.c.oracle.stood(s.who.ID, p.Shard, s.stamp(p.Shard)) // the disk may have a new owner by now
		}
		if synced && s.running() {
			done(!refused)
		}
	}))
}

// bury merges a tomb into what is here of its key. A home that has nothing
// takes the tomb in.
func (s *store) bury(tx *Tx, key string, tomb version.Item, home bool) error {
	rec, _ := load(tx, key)
	if rec.Unknown() && !home || s.isPurged(tx, key, rec, tomb) {
		return nil
	}
	role := replicate.HomeRole
	if !rec.Home && len(rec.Hints) > 0 {
		role = replicate.Role{For: rec.Hints[0]}
	}
	rec, _, err := rec.Accept(&s.writer, tomb, role, s.h.Wall())
	tx.Set(keyRecord+key, rec)
	return err
}

func (s *store) log(tx *Tx, l logged) {
	if v, err := tx.Get(keyLog + l.Key); err == nil {
		l.Buried = v.(logged).Join(l.Buried)
	}
	tx.Set(keyLog+l.Key, l)
}

// committed lets go of what was purged in a round that is known to be
// committed.
func (s *store) committed(unit int, upTo purge.Stamp) {
	var gone []logged
	s.must(s.h.Disk.Update(func(tx *Tx) error {
		m := stampIn(tx, unit).Heard(upTo)
		tx.Set(stampKey(unit), m)
		for _, k := range s.h.Disk.Keys(keyLog) {
			v, err := tx.Get(k)
			if err != nil {
				continue
			}
			l := v.(logged)
			if l.Round != m.Committed || s.c.unit(l.Key) != unit {
				continue
			}
			l.Buried = l.Hear(m)
			tx.Set(k, l)
			if rec, _ := load(tx, l.Key); l.Drop(rec.Item) {
				tx.Delete(keyRecord + l.Key)
				gone = append(gone, l)
			}
		}
		return nil
	}, func(synced bool) {
		if synced {
			s.c.purged += len(gone)
			for _, l := range gone {
				s.c.oracle.purged(s, l.Key, l.Tomb)
			}
		}
	}))
}

// syncStamps has this store catch up with the rounds that a peer knows of; the
// peer hears of those that it lacks itself.
func (s *store) syncStamps(peer view.NodeID, units []int, done func(ok bool)) {
	req := stampsRequest{Marks: map[int]purge.Stamp{}, From: map[int]purge.Round{}}
	for _, u := range units {
		req.Marks[u], req.From[u] = s.stamp(u), s.logFrom(u)
	}
	s.call(peer, req, 2*time.Second, func(body any, ok bool) {
		r, _ := body.(stampsReply)
		if !ok {
			done(false)
			return
		}
		s.catchUp(req, r, func() {
			for _, u := range units {
				s.stuck(u, peer, r)
			}
			done(true)
		})
	})
}

// stuck gives up what cannot be vouched for, when a store lags behind and
// nobody's log reaches back to where it stands.
func (s *store) stuck(unit int, peer view.NodeID, r stampsReply) {
	m := s.stamp(unit)
	if !m.Lagging() || m.Acked.Before(r.Marks[unit].Acked) && !m.Acked.Before(r.From[unit]) {
		delete(s.short, unit)
		return
	}
	if s.short[unit] == nil {
		s.short[unit] = map[view.NodeID]bool{}
	}
	s.short[unit][peer] = true
	ids, _ := s.members()
	for _, id := range ids {
		if id != s.who.ID && !s.short[unit][id] {
			return
		}
	}
	s.h.World.Logf("host %d: nobody's log of unit %d reaches back to here", s.h.Index, unit)
	s.must(s.h.Disk.Update(func(tx *Tx) error {
		m := stampIn(tx, unit)
		for k := range s.h.Disk.latest {
			if !strings.HasPrefix(k, keyRecord) || s.c.unit(k[len(keyRecord):]) != unit {
				continue
			}
			rec, _ := load(tx, k[len(keyRecord):])
			kept := purge.Keep(rec.Item, func(a version.Actor) bool {
				return a.Store == uint64(s.who.ID) && a.Session == s.writer.Session()
			})
			s.c.oracle.refused(s, k[len(keyRecord):], rec.Item, kept)
			if rec.Item = kept; kept.Unknown() {
				tx.Delete(k)
			} else {
				tx.Set(k, rec)
			}
		}
		m.Acked = m.Committed
		tx.Set(stampKey(unit), m)
		tx.Set(logKey(unit), m.Acked)
		return nil
	}, nil))
}

func (s *store) catchUp(asked stampsRequest, r stampsReply, done func()) {
	var behind []int
	for u, theirs := range r.Marks {
		if s.stamp(u).Behind(theirs) || r.From[u].Before(s.logFrom(u)) {
			behind = append(behind, u)
		}
	}
	if len(behind) == 0 {
		done()
		return
	}
	slices.Sort(behind)
	s.must(s.h.Disk.Update(func(tx *Tx) error {
		for _, l := range r.Log {
			u := s.c.unit(l.Key)
			if !slices.Contains(behind, u) {
				continue
			}
			rec, _ := load(tx, l.Key)
			if !rec.Unknown() {
				got, err := s.writer.Absorb(rec.Local, l.CatchUp(rec.Item), s.h.Wall())
				if err != nil {
					return err
				}
				rec.Local = got.Local
				if tx.Set(keyRecord+l.Key, rec); l.Drop(rec.Item) {
					tx.Delete(keyRecord + l.Key)
				}
			}
			s.log(tx, l)
		}
		for _, u := range behind {
			m, theirs := stampIn(tx, u), r.Marks[u]
			if m.Acked.Before(theirs.Acked) && s.hollow(u) {
				m.Acked = theirs.Acked
				tx.Set(logKey(u), m.Acked)
			}
			if m.Acked == asked.Marks[u].Acked && m.Acked.Before(theirs.Acked) && !m.Acked.Before(r.From[u]) {
				m.Acked = theirs.Acked
			}
			v, _ := tx.Get(logKey(u))
			if from, _ := v.(purge.Round); r.From[u].Before(from) && !theirs.Acked.Before(from) {
				tx.Set(logKey(u), r.From[u])
			}
			tx.Set(stampKey(u), m.Heard(theirs))
		}
		return nil
	}, func(synced bool) {
		if synced && s.running() {
			for _, u := range behind {
				s.c.oracle.stood(s.who.ID, u, s.stamp(u))
				s.committed(u, s.stamp(u))
			}
			done()
		}
	}))
}

func (s *store) servePurge(from view.NodeID, body any, reply func(any)) {
	switch b := body.(type) {
	case askRequest:
		_, digest := s.members()
		m := s.stamp(b.Unit)
		reply(askReply{Stamp: m, Able: digest == b.Members && !m.Lagging()})
	case proposeRequest:
		s.acknowledge(&b.Proposal, func(ok bool) {
			reply(ok)
			if s.stamp(b.Proposal.Shard).Behind(b.Proposal.Stamp) && !s.busy["marks"] {
				s.busy["marks"] = true
				s.syncStamps(from, []int{b.Proposal.Shard}, func(bool) { delete(s.busy, "marks") })
			}
		})
	case commitRequest:
		s.committed(b.Unit, purge.Stamp{Committed: b.Round})
		reply(nil)
	case stampsRequest:
		r := stampsReply{Marks: map[int]purge.Stamp{}, From: map[int]purge.Round{}}
		var mine []int
		for u, theirs := range b.Marks {
			m := s.stamp(u)
			r.From[u] = s.logFrom(u)
			if r.Marks[u] = m; m.Behind(theirs) {
				mine = append(mine, u)
			}
		}
		for _, k := range s.h.Disk.Keys(keyLog) {
			v, _ := s.h.Disk.Get(k)
			l := v.(logged)
			u := s.c.unit(l.Key)
			if theirs, ok := b.Marks[u]; ok && (theirs.Acked.Before(l.Round) || r.From[u].Before(b.From[u])) {
				r.Log = append(r.Log, l)
			}
		}
		reply(r)
		if slices.Sort(mine); len(mine) > 0 && !s.busy["marks"] {
			s.busy["marks"] = true
			s.syncStamps(from, mine, func(bool) { delete(s.busy, "marks") })
		}
	}
}

// stale tells whether a store has yet to catch up with rounds of a key's unit
// that some store has seen committed.
func (s *store) stale(key string) bool {
	unit := s.c.unit(key)
	m := s.stamp(unit)
	for _, h := range s.c.World.Hosts {
		if v, err := h.Disk.Get(stampKey(unit)); err == nil {
			m = m.Heard(v.(purge.Stamp))
		}
	}
	return m.Lagging()
}
