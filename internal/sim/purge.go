package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

func stampKey(unit int) string { return fmt.Sprint(keyStamp, unit) }

// standing is where a store stands in the rounds of a unit. Like all that is
// shown it is synced.
func (s *store) standing(unit int) purge.Standing {
	v, _ := s.host.Disk.Get(stampKey(unit))
	m, _ := v.(purge.Standing)
	return m
}

func (s *store) syncedStamp(unit int) purge.Stamp { return s.standing(unit).Stamp }

// standingIn is where it stands inside an update.
func standingIn(tx *Tx, unit int) purge.Standing {
	v, _ := tx.Get(stampKey(unit))
	m, _ := v.(purge.Standing)
	return m
}

// setStanding moves, in an update, where this store stands in a unit.
func setStanding(tx *Tx, unit int, next purge.Standing) {
	now := standingIn(tx, unit)
	if next.Filled = next.Filled || now.Filled; next != now {
		tx.Set(stampKey(unit), next)
	}
}

// openRounds makes of what is on disk what a store knows when it starts.
func (s *store) openRounds() {
	for unit := range s.cluster.Units {
		m := s.standing(unit)
		m = purge.Standing{Stamp: m.Stamp, From: m.From, Logged: m.Logged}
		for _, k := range s.host.Disk.Keys(keyRecord) {
			m.Filled = m.Filled || s.cluster.unitOf(k[len(keyRecord):]) == unit
		}
		s.putNow(stampKey(unit), m)
		if m.Stamp.Committed != (purge.Round{}) {
			s.host.After(time.Millisecond, func() { s.finishRound(unit) }) // it may have gone down before it let go of all
		}
	}
}

// saveRecord writes a record, or drops it with its last role.
func (s *store) saveRecord(tx *Tx, key string, rec replicate.Record) {
	unit := s.cluster.unitOf(key)
	m := standingIn(tx, unit)
	m.Filled = true
	setStanding(tx, unit, m)
	if rec.Idle() {
		tx.Delete(keyRecord + key)
	} else {
		tx.Set(keyRecord+key, rec)
	}
}

// admitItem judges an item by the stamp it came with.
func (s *store) admitItem(tx *Tx, from view.NodeID, o *offer) bool {
	unit := s.cluster.unitOf(o.Key)
	next, news, ok := standingIn(tx, unit).Admit(o.Stamp)
	setStanding(tx, unit, next)
	if news.CatchUp {
		s.missed(unit, from)
	}
	if news.Finish {
		s.host.After(time.Millisecond, func() { s.finishRound(unit) })
	}
	return ok
}

// buriedAt is what was purged here of a key.
func buriedAt(tx *Tx, key string) (b purge.Buried) {
	if v, err := tx.Get(keyLog + key); err == nil {
		b = v.(purge.Buried)
	}
	return b
}

// amended is what is taken in of an item, see purgeUnit.Buried.Amend.
func (s *store) amended(tx *Tx, o *offer) version.Item {
	if b := buriedAt(tx, o.Key); b.Round != (purge.Round{}) && standingIn(tx, s.cluster.unitOf(o.Key)).Amends(o.Stamp) {
		return b.Amend(o.Stamp, o.Item)
	}
	return o.Item
}

// isPurged tells whether an item offered where there is no record is what was
// purged there.
func (s *store) isPurged(tx *Tx, key string, in version.Item) bool {
	_, err := tx.Get(keyRecord + key)
	return errors.Is(err, ErrNotFound) && standingIn(tx, s.cluster.unitOf(key)).Remembers(in) && buriedAt(tx, key).Nothing(in)
}

// addToLog notes what was purged of a key. The log has lost something of rounds up to
// the one that it returns.
func addToLog(tx *Tx, key string, b purge.Buried) (lost purge.Round) {
	if old := buriedAt(tx, key); old.Round != (purge.Round{}) {
		b, lost = old.Join(b).Bound(old.Round)
	}
	tx.Set(keyLog+key, b)
	return lost
}

// purgeUnit tries to purge the tombs of a unit of which this store is a home.
func (s *store) purgeUnit() {
	unit := s.host.World.Rand.IntN(s.cluster.Units)
	if !slices.Contains(s.homesOfUnit(unit), s.self.ID) || s.busy["purge"] {
		return
	}
	ids, digest := s.members()
	var told []purge.Stamp
	asked := 0
	for _, id := range ids {
		if id == s.self.ID {
			continue
		}
		asked++
		s.callStore(id, askRequest{unit, digest}, 2*time.Second, func(body any, ok bool) {
			r, _ := body.(askReply)
			if !ok || !r.Able {
				return
			}
			if s.syncedStamp(unit).Behind(r.Stamp) {
				s.missed(unit, id)
			}
			if told = append(told, r.Stamp); len(told) == asked {
				s.propose(unit, told)
			}
		})
	}
	if asked == 0 {
		s.propose(unit, told)
	}
}

// propose begins a round.
func (s *store) propose(unit int, told []purge.Stamp) {
	ids, digest := s.members()
	p := purge.Proposal{Shard: unit, Members: digest}
	var err error
	if p.Round, p.Stamp, err = s.syncedStamp(unit).Next(s.self.ID, told...); err != nil {
		return // who knows more was noted
	}
	for _, k := range s.host.Disk.Keys(keyRecord) {
		key := k[len(keyRecord):]
		if rec := s.record(key); s.cluster.unitOf(key) == unit {
			if _, known := rec.Grave(0); known {
				p.Batch = append(p.Batch, purge.Tomb{Key: key, Item: rec.Item})
			}
		}
	}
	if len(p.Batch) == 0 {
		return
	}
	s.host.World.Logf("host %d proposes %v of unit %d, %d tombs", s.host.Index, p.Round, unit, len(p.Batch))
	attempt := purge.NewAttempt(ids)
	acked := func(id view.NodeID) {
		if attempt.Acked(id); attempt.Committed() {
			s.cluster.oracle.checkCommit(s, &p, ids)
			for _, to := range ids {
				s.callStore(to, commitRequest{unit, p.Round}, time.Second, func(any, bool) {})
			}
		}
	}
	s.acknowledge(&p, func(err error) {
		if err != nil {
			return
		}
		acked(s.self.ID)
		for _, id := range ids {
			if id != s.self.ID {
				s.callStore(id, proposeRequest{p}, 2*time.Second, func(body any, ok bool) {
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
func (s *store) acknowledge(p *purge.Proposal, done func(refused error)) {
	id := s.self.ID
	var refused error
	var gone []tombstone
	s.failOnError(s.host.Disk.Update(func(tx *Tx) error {
		_, digest := s.members()
		var next purge.Standing
		if next, refused = standingIn(tx, p.Shard).Acknowledge(p, digest, s.host.Wall(), false); refused != nil {
			s.host.World.Logf("host %d: %v", s.host.Index, refused)
			return nil
		}
		gone, _ = s.finishIn(tx, p.Shard, next.Stamp) // its note is about to go
		home := slices.Contains(s.homesOfUnit(p.Shard), s.self.ID)
		note := batchNote{Round: p.Round}
		for _, t := range p.Batch {
			if err := s.mergeTomb(tx, t.Key, t.Item, home); err != nil {
				return err
			}
			next = next.Lose(addToLog(tx, t.Key, purge.Buried{}.Bury(p.Round, t.Item)))
			note.Keys = append(note.Keys, t.Key)
		}
		tx.Set(batchKey(p.Shard), note)
		setStanding(tx, p.Shard, next)
		return nil
	}, func(synced bool) {
		if synced {
			s.cluster.oracle.noteStamp(id, p.Shard, s.syncedStamp(p.Shard))
			s.cluster.oracle.noteStamp(s.self.ID, p.Shard, s.syncedStamp(p.Shard)) // the disk may have a new owner by now
			s.letGone(gone)
		}
		if synced && s.running() {
			done(refused)
		}
	}))
}

// mergeTomb merges a tomb into what is here of its key, see purgeUnit.Buried.Takes.
func (s *store) mergeTomb(tx *Tx, key string, tomb version.Item, home bool) error {
	rec, damaged := loadRecord(tx, key)
	if !buriedAt(tx, key).Takes(tomb, !rec.Unknown(), damaged, home) {
		return nil
	}
	rec, _, err := rec.Accept(&s.writer, tomb, rec.TombRole(), s.host.Wall())
	s.saveRecord(tx, key, rec)
	return err
}

// batchNote is which keys were in the last round that a store has acknowledged.
type batchNote struct {
	Round purge.Round
	Keys  []string
}

func batchKey(unit int) string { return fmt.Sprint(keyBatch, unit) }

// tombstone is a key that was let go of for good.
type tombstone struct {
	key  string
	tomb version.Item
}

func (s *store) letGone(gone []tombstone) {
	s.cluster.purged += len(gone)
	for _, g := range gone {
		s.cluster.oracle.notePurged(s, g.key, g.tomb)
	}
}

// finishRound lets go of what was purged in the last round that this store has
// acknowledged, if that is known to be committed.
func (s *store) finishRound(unit int) {
	var gone []tombstone
	over := false
	s.failOnError(s.host.Disk.Update(func(tx *Tx) error {
		gone, over = s.finishIn(tx, unit, standingIn(tx, unit).Stamp)
		return nil
	}, func(synced bool) {
		if !synced {
			return
		}
		s.letGone(gone)
		if over && s.running() {
			s.trimLog(unit)
		}
	}))
}

// finishIn is finish in an update.
func (s *store) finishIn(tx *Tx, unit int, stamp purge.Stamp) (gone []tombstone, over bool) {
	v, err := tx.Get(batchKey(unit))
	if err != nil || !stamp.Over(v.(batchNote).Round) {
		return nil, false
	}
	for _, key := range v.(batchNote).Keys {
		b := buriedAt(tx, key)
		if b.Round == (purge.Round{}) {
			continue
		}
		b = b.Hear(stamp)
		tx.Set(keyLog+key, b)
		if rec, _ := loadRecord(tx, key); !rec.Unknown() && b.Drop(rec.Item) {
			tx.Delete(keyRecord + key)
			gone = append(gone, tombstone{key, b.Tomb})
		}
	}
	tx.Delete(batchKey(unit))
	return gone, true
}

// trimLog forgets the oldest entries of a unit's log beyond what is kept.
func (s *store) trimLog(unit int) {
	var all []purge.Round
	keys := s.logKeysOf(unit)
	for _, key := range keys {
		v, _ := s.host.Disk.Get(keyLog + key)
		all = append(all, v.(purge.Buried).Round)
	}
	upTo, ok := purge.Trim(all, s.cluster.LogKept)
	if !ok || s.cluster.LogKept == 0 {
		return
	}
	s.cluster.events["log trimmed"]++
	s.failOnError(s.host.Disk.Update(func(tx *Tx) error {
		for i, key := range keys {
			if b := buriedAt(tx, key); b.Round == all[i] && !upTo.Before(b.Round) {
				tx.Delete(keyLog + key)
			}
		}
		setStanding(tx, unit, standingIn(tx, unit).Lose(upTo))
		return nil
	}, nil))
}

// loseLog is a disk that gives up its log of a unit.
func (s *store) loseLog(unit int) {
	s.cluster.events["log lost"]++
	s.host.World.Logf("host %d loses its log of unit %d", s.host.Index, unit)
	s.failOnError(s.host.Disk.Update(func(tx *Tx) error {
		for _, key := range s.logKeysOf(unit) {
			tx.Delete(keyLog + key)
		}
		setStanding(tx, unit, standingIn(tx, unit).LoseAny())
		return nil
	}, nil))
}

// logKeysOf lists the keys of a unit of which there is something in the log.
func (s *store) logKeysOf(unit int) (out []string) {
	for _, k := range s.host.Disk.Keys(keyLog) {
		if key := k[len(keyLog):]; s.cluster.unitOf(key) == unit {
			out = append(out, key)
		}
	}
	return out
}

func (s *store) servePurge(from view.NodeID, body any, reply func(any)) {
	switch b := body.(type) {
	case askRequest:
		_, digest := s.members()
		reply(askReply{Stamp: s.syncedStamp(b.Unit), Able: digest == b.Members})
	case proposeRequest:
		s.acknowledge(&b.Proposal, func(refused error) {
			if errors.Is(refused, purge.ErrLagging) {
				s.missed(b.Proposal.Shard, from)
			}
			reply(refused == nil)
		})
	case commitRequest:
		s.failOnError(s.host.Disk.Update(func(tx *Tx) error {
			setStanding(tx, b.Unit, standingIn(tx, b.Unit).Hear(purge.Stamp{Committed: b.Round}))
			return nil
		}, nil))
		s.finishRound(b.Unit)
		reply(nil)
	case stampsRequest:
		r := stampsReply{Stamps: map[int]purge.Stamp{}}
		for unit := range s.cluster.Units {
			r.Stamps[unit] = s.syncedStamp(unit)
		}
		reply(r)
	case logRequest:
		reply(s.serveLog(from, &b))
	}
}

// isStale tells whether a store has yet to catch up with rounds of a key's unit
// that some store has seen committed.
func (s *store) isStale(key string) bool {
	unit := s.cluster.unitOf(key)
	m := s.syncedStamp(unit)
	for _, h := range s.cluster.World.Hosts {
		if v, err := h.Disk.Get(stampKey(unit)); err == nil {
			m = m.Heard(v.(purge.Standing).Stamp)
		}
	}
	return m.Lagging()
}
