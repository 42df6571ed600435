package sim

import (
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// logPage is how many entries of a log go into one answer.
const logPage = 1

// What stores say to each other of the rounds that one of them has missed.
type (
	stampsRequest struct{}
	stampsReply   struct{ Stamps map[int]purge.Stamp } // by unit
	logRequest    struct {
		Unit  int
		Stamp purge.Stamp // of the asker when it began
		From  purge.Round // its log is whole after it
		After string      // the last key of the page before; "": this is the first
	}
	logReply struct {
		Stamp   purge.Stamp
		From    purge.Round
		Entries []logged
		More    bool
	}
	// logged is an entry of a log.
	logged struct {
		Key string
		purge.Buried
	}
)

// missing is a unit of which a peer knows rounds that this store does not.
type missing struct {
	unit int
	peer view.NodeID
}

// missed has this store catch up with what a peer knows of a unit, one such log
// after the other.
func (s *store) missed(unit int, peer view.NodeID) {
	m := missing{unit, peer}
	if peer == s.self.ID || slices.Contains(s.behind, m) {
		return
	}
	s.behind = append(s.behind, m)
	s.host.After(time.Millisecond, s.followRounds)
}

func (s *store) followRounds() {
	if s.busy["rounds"] || len(s.behind) == 0 {
		return
	}
	m := s.behind[0]
	s.behind = s.behind[1:]
	s.busy["rounds"] = true
	s.catchUp(m.peer, m.unit, func(bool) {
		delete(s.busy, "rounds")
		s.host.After(time.Millisecond, s.followRounds)
	})
}

// syncStamps has this store catch up with the rounds that a peer knows of; the
// peer hears of those that it lacks itself.
func (s *store) syncStamps(peer view.NodeID, done func(ok bool)) {
	s.callStore(peer, stampsRequest{}, 2*time.Second, func(body any, ok bool) {
		r, _ := body.(stampsReply)
		if !ok {
			done(false)
			return
		}
		var next func(unit int)
		next = func(unit int) {
			for ; unit < s.cluster.Units; unit++ {
				if s.syncedStamp(unit).Asks(r.Stamps[unit]) {
					break
				}
			}
			if unit == s.cluster.Units {
				done(true)
				return
			}
			s.catchUp(peer, unit, func(ok bool) {
				if !ok {
					done(false)
					return
				}
				next(unit + 1)
			})
		}
		next(0)
	})
}

// catchUp takes in what a peer knows of the rounds of a unit. ok is false if that
// has to be done again.
func (s *store) catchUp(peer view.NodeID, unit int, done func(ok bool)) {
	mine := s.standing(unit)
	req := logRequest{Unit: unit, Stamp: mine.Stamp, From: mine.From}
	read := purge.Reading{Asked: mine}
	var next func()
	next = func() {
		s.callStore(peer, req, 2*time.Second, func(body any, ok bool) {
			page, _ := body.(logReply)
			if !ok {
				done(false)
				return
			}
			read.Page(page.Stamp, page.From)
			s.takeLog(unit, page.Entries, func() {
				if page.More {
					req.After = page.Entries[len(page.Entries)-1].Key
					next()
					return
				}
				s.caughtUp(peer, unit, read, done)
			})
		})
	}
	next()
}

// takeLog makes dead here what the log says was purged.
func (s *store) takeLog(unit int, entries []logged, then func()) {
	if len(entries) == 0 {
		then()
		return
	}
	s.cluster.events["log page"]++
	s.failOnError(s.host.Disk.Update(func(tx *Tx) error {
		next := standingIn(tx, unit)
		for _, e := range entries {
			next = next.Log(e.Round).Lose(addToLog(tx, e.Key, e.Buried))
			rec, _ := loadRecord(tx, e.Key)
			if rec.Unknown() {
				continue
			}
			got, err := s.writer.Absorb(rec.Local, e.CatchUp(rec.Item), s.host.Wall())
			if err != nil {
				return err
			}
			if rec.Local = got.Local; e.Drop(rec.Item) {
				tx.Delete(keyRecord + e.Key)
			} else if got.Changed {
				s.saveRecord(tx, e.Key, rec)
			}
		}
		setStanding(tx, unit, next)
		return nil
	}, s.whenSynced(then)))
}

// whenSynced is then, if the store still runs when the update is synced.
func (s *store) whenSynced(then func()) func(bool) {
	return func(synced bool) {
		if synced && s.running() {
			then()
		}
	}
}

func (s *store) caughtUp(peer view.NodeID, unit int, read purge.Reading, done func(ok bool)) {
	ok := false
	s.failOnError(s.host.Disk.Update(func(tx *Tx) error {
		var next purge.Standing
		next, ok = standingIn(tx, unit).CaughtUp(read)
		setStanding(tx, unit, next)
		return nil
	}, s.whenSynced(func() {
		if !ok {
			s.cluster.events["caught up in vain"]++
			s.missed(unit, peer)
			done(false)
			return
		}
		s.cluster.oracle.noteStamp(s.self.ID, unit, s.syncedStamp(unit))
		s.finishRound(unit)
		switch s.standing(unit).Outcome(read) {
		case purge.UpToDate:
			s.search[unit] = purge.Search{}
			done(true)
		case purge.Nearer:
			s.search[unit] = purge.Search{}
			s.missed(unit, peer)
			done(false)
		case purge.Short:
			ids, _ := s.members()
			search := s.search[unit]
			nobody := search.Short(peer, s.self.ID, ids)
			if s.search[unit] = search; nobody {
				s.setAside(unit, func() { done(true) })
			} else {
				done(true)
			}
		}
	})))
}

// setAside gives up what cannot be vouched for: nobody's log reaches back to where
// this store stands.
func (s *store) setAside(unit int, done func()) {
	begun := false
	s.failOnError(s.host.Disk.Update(func(tx *Tx) error {
		var next purge.Standing
		next, begun = standingIn(tx, unit).GiveUp()
		setStanding(tx, unit, next)
		return nil
	}, s.whenSynced(func() {
		if !begun {
			done()
			return
		}
		s.host.World.Logf("host %d: nobody's log of unit %d reaches back to here", s.host.Index, unit)
		s.cluster.events["unit set aside"]++
		s.setAsideKeys(unit, s.keysOf(unit, "", true), done)
	})))
}

// setAsideKeys goes through the records one by one, as others go on meanwhile.
func (s *store) setAsideKeys(unit int, left []replicate.Mark, done func()) {
	if len(left) == 0 {
		s.failOnError(s.host.Disk.Update(func(tx *Tx) error {
			setStanding(tx, unit, standingIn(tx, unit).GaveUp(true))
			return nil
		}, s.whenSynced(func() {
			s.cluster.oracle.noteStamp(s.self.ID, unit, s.syncedStamp(unit))
			done()
		})))
		return
	}
	key := left[0].Key
	s.failOnError(s.host.Disk.Update(func(tx *Tx) error {
		rec, _ := loadRecord(tx, key)
		if rec.Unknown() || !standingIn(tx, unit).GivesUp() {
			return nil
		}
		kept := purge.Keep(rec.Item, func(a version.Actor) bool { return s.writer.Current(a) })
		s.cluster.oracle.noteRefused(s, key, rec.Item, kept)
		if rec.Item = kept; kept.Unknown() {
			tx.Delete(keyRecord + key)
		} else {
			s.saveRecord(tx, key, rec)
		}
		return nil
	}, s.whenSynced(func() { s.setAsideKeys(unit, left[1:], done) })))
}

// serveLog tells what was purged of a unit since the asker last took part.
func (s *store) serveLog(from view.NodeID, b *logRequest) logReply {
	mine := s.standing(b.Unit)
	if mine.Stamp.Behind(b.Stamp) {
		s.missed(b.Unit, from)
	}
	r := logReply{Stamp: mine.Stamp, From: mine.From}
	if !mine.Tells(b.Stamp, b.From) {
		return r
	}
	for _, key := range s.logKeysOf(b.Unit) {
		if key <= b.After {
			continue
		}
		if r.More = len(r.Entries) == logPage; r.More {
			break
		}
		v, _ := s.host.Disk.Get(keyLog + key)
		r.Entries = append(r.Entries, logged{key, v.(purge.Buried)})
	}
	return r
}
