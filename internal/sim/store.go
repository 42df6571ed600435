package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// store is the shell around reconcile, replicate and purge: it moves records
// and messages and holds no rule of its own.
type store struct {
	h      *Host
	c      *Cluster
	who    hello
	roster roster.Roster
	writer reconcile.Writer
	ready  replicate.Readiness
	homeOf map[int]bool // units as of the last look at the roster
	healer *replicate.Healer
	alive  map[view.NodeID]bool
	peers  map[view.NodeID]hello // the last that was met of each store
	shown  map[*Host]uint64      // sum of the roster that the store there had
	calls  map[uint64]func(body any, ok bool)
	busy   map[string]bool      // background work that is under way
	behind []missing            // rounds that others know of, to catch up with
	search map[int]purge.Search // by unit: for whose log reaches back to this one's stamp
	serial uint64

	inventories map[uint64]inventory // that peers ask for symbols of
	leaves      bool
	quit        bool
}

// hello is how a store presents itself with every message.
type hello struct {
	ID             view.NodeID
	Boot, Instance uint64
	Session        uint64
}

// identity is what a data directory says about whose it is.
type identity struct {
	ID   view.NodeID
	Boot uint64
}

const (
	keyIdentity = "identity"
	keyRoster   = "roster"
	keyMeta     = "meta"
	keyRecord   = "r/"
	keySynced   = "u/"
	keyStamp    = "m/" // of a unit: where the store stands in its rounds
	keyLog      = "p/" // of a key: what was purged of it
	keyBatch    = "b/" // of a unit: the keys of its last round
)

// start opens a store on a host.
func (c *Cluster) start(h *Host) Process {
	s := &store{
		h: h, c: c,
		alive: map[view.NodeID]bool{}, peers: map[view.NodeID]hello{}, shown: map[*Host]uint64{},
		calls: map[uint64]func(any, bool){}, busy: map[string]bool{},
		search: map[int]purge.Search{}, inventories: map[uint64]inventory{},
		healer: replicate.NewHealer(c.Heal),
	}
	id := identity{}
	if v, err := h.Disk.Get(keyIdentity); err == nil {
		id = v.(identity)
		if v, err := h.Disk.Get(keyRoster); err == nil {
			s.roster = v.(roster.Roster)
		}
	} else {
		s.roster = c.mintID(h)
		id.ID = c.members[c.slots[h]]
		if _, founder := c.seeds.Get(id.ID); founder {
			for unit := range c.Units { // there is nothing yet that it could lack
				s.putNow(fmt.Sprint(keySynced, unit), true)
			}
		}
	}
	id.Boot++
	s.putNow(keyIdentity, id)
	s.putNow(keyRoster, s.roster)
	s.openRounds()
	s.open(id)
	s.refresh()
	s.every(300*time.Millisecond, s.refresh)
	s.every(700*time.Millisecond, s.deliverHints)
	s.every(900*time.Millisecond, s.antiEntropy)
	s.every(1100*time.Millisecond, s.handOff)
	s.every(1300*time.Millisecond, s.mend)
	if c.Purge > 0 {
		s.every(c.Purge, s.purge)
	}
	return s
}

// putNow writes what is synced before anything else is done.
func (s *store) putNow(key string, v any) { s.h.Disk.latest[key], s.h.Disk.synced[key] = v, v }

func (s *store) open(id identity) {
	s.who = hello{ID: id.ID, Boot: id.Boot, Instance: s.h.World.Rand.Uint64()}
	start := reconcile.Start{Store: uint64(id.ID), Machine: s.h.Machine, Random: s.h.World.Rand.Uint64(), TrustDisk: !s.c.distrust}
	if v, err := s.h.Disk.Get(keyMeta); err == nil {
		start.Meta = v.(*reconcile.Meta)
	}
	s.writer = reconcile.Open(start)
	s.who.Session = s.writer.Session()
	s.homeOf = nil
	s.follow()
}

func (s *store) running() bool { return s.h.process == s && !s.quit }

func (s *store) every(d time.Duration, fn func()) {
	pause := d * max(s.c.Pace, 1)
	s.h.After(s.h.World.Between(pause/2, pause+pause/2), func() {
		fn()
		s.every(d, fn)
	})
}

func (s *store) live(id view.NodeID) bool { return id == s.who.ID || s.alive[id] }

// homes returns the homes of a unit, as this store knows the roster.
func (s *store) homes(unit int) []view.NodeID {
	all := order(s.roster, unit)
	return all[:min(s.c.Homes, len(all))]
}

func (s *store) plan(key string) replicate.Plan {
	all := order(s.roster, s.c.unit(key))
	return replicate.Plan{Self: s.who.ID, Order: all, Homes: min(s.c.Homes, len(all)), Live: s.live}
}

// keeps tells whether this store, or another, is to keep a unit.
func (s *store) keeps(id view.NodeID, unit int) bool {
	all := order(s.roster, unit)
	return slices.Contains(replicate.Keepers(all, min(s.c.Homes, len(all)), s.healer.Lost), id)
}

// load reads a record inside an update. A damaged one is an unknown one.
func load(tx *Tx, key string) (rec replicate.Record, corrupt bool) {
	v, err := tx.Get(keyRecord + key)
	if err != nil {
		return replicate.Record{}, errors.Is(err, ErrCorrupt)
	}
	return v.(replicate.Record), false
}

// update changes one record; then runs when the change is synced.
func (s *store) update(key string, fn func(tx *Tx, rec replicate.Record, w *reconcile.Writer) (replicate.Record, error), then func()) error {
	return s.h.Disk.Update(func(tx *Tx) error {
		w := s.writer
		rec, _ := load(tx, key)
		rec, err := fn(tx, rec, &w)
		if err != nil {
			return err
		}
		s.writer = w
		if before, bad := load(tx, key); !bad && before.Idle() && rec.Idle() {
			return nil // nothing was here, and is
		}
		s.save(tx, key, rec)
		return nil
	}, func(synced bool) {
		if synced && s.running() && then != nil {
			then()
		}
	})
}

// put routes a client's write. done may run more than once if a store that
// had fallen silent answers late; the client takes the first.
func (s *store) put(p putRequest, done func(putReply)) {
	plan := s.plan(p.Key)
	if len(plan.Order) == 0 {
		done(putReply{Err: errors.New("no store is to hold anything")})
		return
	}
	s.try(replicate.Route(plan, plan.Order[0], true), p, done)
}

func (s *store) try(route []view.NodeID, p putRequest, done func(putReply)) {
	switch {
	case !s.running():
	case len(route) == 0:
		done(putReply{Err: errors.New("no home in reach")})
	case route[0] == s.who.ID:
		s.coordinate(p, done)
	default:
		s.call(route[0], p, 2*time.Second, func(body any, ok bool) {
			if ok {
				done(body.(putReply))
			} else {
				s.try(route[1:], p, done)
			}
		})
	}
}

// coordinate writes here and to the other homes. Before that it reads
// elsewhere if the record here is damaged, or if there is none to delete.
func (s *store) coordinate(p putRequest, done func(putReply)) {
	v, err := s.h.Disk.Get(keyRecord + p.Key)
	blank := err != nil || v.(replicate.Record).Unknown()
	if !errors.Is(err, ErrCorrupt) && !(p.Write.Tomb && blank) {
		s.commit(p, replicate.ReadResult{}, done)
		return
	}
	s.read(p.Key, replicate.Quorum, p.Write.Tomb, func(r replicate.ReadResult) {
		if p.Write.Tomb && !r.Found() && r.Err == nil {
			done(putReply{Nothing: true})
			return
		}
		s.commit(p, r, done)
	})
}

// commit makes the dot. known was read elsewhere just now.
func (s *store) commit(p putRequest, read replicate.ReadResult, done func(putReply)) {
	if !s.running() {
		return
	}
	op := replicate.NewWrite(s.plan(p.Key), p.Level, p.MinDurable, 0)
	var item version.Item
	var wrote reconcile.Wrote
	var stamp purge.Stamp
	known := read.Item
	err := s.h.Disk.Update(func(tx *Tx) error {
		w := s.writer
		rec, _ := load(tx, p.Key)
		stamp = standingIn(tx, s.c.unit(p.Key)).Stamp
		if !known.Unknown() && stamp.Admits(read.Stamp) {
			merged, _, err := rec.Accept(&w, known, op.LocalRoles()[0], s.h.Wall())
			if err != nil {
				return err
			}
			rec = merged
		}
		seen := rec.Ctx
		if p.Write.Seen != nil {
			seen = p.Write.Seen.Ctx
		}
		var err error
		if rec, wrote, err = rec.Commit(&w, p.Write, s.h.Wall(), op.LocalRoles()); err != nil {
			return err
		}
		s.writer, item = w, rec.Item
		s.save(tx, p.Key, rec)
		if wrote.Meta != nil {
			tx.Set(keyMeta, wrote.Meta)
		}
		s.c.oracle.minted(s, p, wrote, seen)
		return nil
	}, func(synced bool) {
		s.c.oracle.settled(wrote.Dot, synced)
		if synced && s.running() {
			s.drive(p.Key, item, stamp, op, wrote, done)
		}
	})
	if err != nil {
		done(putReply{Err: err})
	}
}

// drive performs the effects of a write operation.
func (s *store) drive(key string, item version.Item, stamp purge.Stamp, op *replicate.WriteOp, wrote reconcile.Wrote, done func(putReply)) {
	var perform func([]replicate.Effect)
	perform = func(effects []replicate.Effect) {
		for _, e := range effects {
			switch e.Kind {
			case replicate.Send:
				s.offer(e.To, key, item, stamp, replicate.Role{For: e.For}, func(ok bool) {
					if ok {
						perform(op.Acked(e.To, s.h.Now()))
					} else {
						perform(op.Failed(e.To, s.h.Now()))
					}
				})
			case replicate.Keep:
				s.must(s.update(key, func(tx *Tx, rec replicate.Record, w *reconcile.Writer) (replicate.Record, error) {
					if !standingIn(tx, s.c.unit(key)).Stamp.Admits(stamp) {
						if !rec.Unknown() { // else it was purged
							rec = rec.Take(replicate.Role{For: e.For})
						}
						return rec, nil
					}
					rec, _, err := rec.Accept(w, item, replicate.Role{For: e.For}, s.h.Wall())
					return rec, err
				}, func() { perform(op.Kept(e.For)) }))
			case replicate.Settle:
				s.settle(key, e.For, item)
			case replicate.Finish:
				done(putReply{Result: op.Result(), Dot: wrote.Dot, Seen: wrote.Seen})
			}
		}
		if at, ok := op.Next(); ok {
			s.h.After(max(at-s.h.Now(), 0), func() {
				if again, ok := op.Next(); ok && again <= s.h.Now() {
					perform(op.Tick(s.h.Now()))
				}
			})
		}
	}
	perform(op.Committed(s.h.Now()))
}

func (s *store) must(err error) {
	if err != nil {
		s.h.World.Fail("store on host %d: %v", s.h.Index, err)
	}
}

// settle drops a hint whose target holds acked, and the record with its last
// role.
func (s *store) settle(key string, target view.NodeID, acked version.Item) {
	plan := s.plan(key)
	s.must(s.update(key, func(tx *Tx, rec replicate.Record, _ *reconcile.Writer) (replicate.Record, error) {
		before := rec
		if rec = rec.Settle(target, acked); (plan.IsHome(s.who.ID) || len(plan.Order) == 0) && !before.Unknown() {
			rec = rec.Take(replicate.HomeRole)
		}
		if rec.Idle() && !before.Idle() {
			s.c.oracle.dropped(s, key, before.Item)
		}
		return rec, nil
	}, nil))
}

// read reads with the given level and repairs what it finds behind.
func (s *store) read(key string, level replicate.Level, all bool, done func(replicate.ReadResult)) {
	op := replicate.NewRead(s.plan(key), level, all, 0)
	over := false
	var ask func(ids []view.NodeID, final bool)
	ask = func(ids []view.NodeID, final bool) {
		for _, id := range ids {
			s.call(id, readRequest{key}, 3*time.Second, func(body any, ok bool) {
				if ok {
					ask(op.Replied(body.(replicate.Reply), s.h.Now()))
				} else {
					ask(op.Failed(id, s.h.Now()))
				}
			})
		}
		if at, ok := op.Next(); ok && !over {
			s.h.After(max(at-s.h.Now(), 0), func() {
				if again, ok := op.Next(); ok && again <= s.h.Now() {
					ask(op.Tick(s.h.Now()))
				}
			})
		}
		if final && !over {
			over = true
			merged, stamp := op.Merged()
			for _, id := range op.Repairs() {
				s.send(id, []offer{{key, merged, stamp}}, replicate.HomeRole, func(bool, bool) {})
			}
			done(op.Result())
		}
	}
	first := op.Start(s.h.Now())
	if ask(first, false); len(first) == 0 {
		ask(op.Tick(s.h.Now()))
	}
}

// answer tells what this store knows of a key.
func (s *store) answer(key string) replicate.Reply {
	unit := s.c.unit(key)
	r := replicate.Reply{From: s.who.ID, Syncing: !s.isReady(unit), Stamp: s.stamp(unit)}
	v, err := s.h.Disk.Get(keyRecord + key)
	switch {
	case r.Stamp.Lagging():
		r.Syncing = true
	case errors.Is(err, ErrCorrupt):
		r.Know = replicate.Corrupt
	case err == nil:
		r.Know, r.Item = replicate.Present, v.(replicate.Record).Item
	}
	return r
}

func (s *store) isReady(unit int) bool {
	var members []view.NodeID
	for _, e := range s.roster.Storing() {
		members = append(members, e.ID)
	}
	return s.ready.Ready(unit, s.who.ID, s.homes(unit), members)
}

// accept merges what another store sends and acks when it is synced. What was
// read before a round that this store has acknowledged it refuses.
func (s *store) accept(from view.NodeID, offers []offer, role replicate.Role, ack func(stale bool)) {
	left, stale := len(offers), false
	over := func() {
		if left--; left == 0 {
			ack(stale)
		}
	}
	for _, o := range offers {
		admitted := true
		err := s.update(o.Key, func(tx *Tx, rec replicate.Record, w *reconcile.Writer) (replicate.Record, error) {
			if admitted = s.admit(tx, from, &o); !admitted {
				return rec, nil
			}
			s.c.oracle.took(s, s.c.unit(o.Key), o.Stamp)
			in := s.amended(tx, &o)
			if s.isPurged(tx, o.Key, in) {
				return rec, nil
			}
			rec, got, err := rec.Accept(w, in, role, s.h.Wall())
			for _, lost := range got.Clashes {
				again := w.Import(rec.Local, lost)
				rec.Local = again.Local
				if again.Meta != nil {
					tx.Set(keyMeta, again.Meta)
				}
				s.c.oracle.imported(s, o.Key, again, lost)
			}
			s.c.oracle.holds(s, o.Key, rec.Item)
			return rec, err
		}, over)
		stale = stale || !admitted
		if err != nil {
			s.must(err)
			return
		}
	}
}

// offer sends an item to a store, this one included. If that has acknowledged
// a round that this store has not, it catches up and sends what it holds then.
func (s *store) offer(to view.NodeID, key string, item version.Item, stamp purge.Stamp, role replicate.Role, done func(ok bool)) {
	s.send(to, []offer{{key, item, stamp}}, role, func(ok, stale bool) {
		if !stale {
			done(ok)
			return
		}
		s.catchUp(to, s.c.unit(key), func(ok bool) {
			stamp, rec := s.stamp(s.c.unit(key)), s.record(key)
			if !ok || !rec.Item.Dominates(item) { // it may have been lost meanwhile
				done(false)
				return
			}
			s.send(to, []offer{{key, rec.Item, stamp}}, role, func(ok, stale bool) { done(ok && !stale) })
		})
	})
}

func (s *store) send(to view.NodeID, offers []offer, role replicate.Role, done func(ok, stale bool)) {
	s.call(to, mergeRequest{Offers: offers, Role: role}, 5*time.Second, func(body any, ok bool) {
		stale, _ := body.(bool)
		done(ok, stale)
	})
}
