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
	"github.com/skeinmesh/skein/partition/token"
	"github.com/skeinmesh/skein/replica/version"
)

// store is the shell around reconcile, replicate and purge: it moves records
// and messages and holds no rule of its own.
type store struct {
	host         *Host
	cluster      *Cluster
	self         hello
	roster       roster.Roster
	writer       reconcile.Writer
	ready        replicate.Readiness
	homeOf       map[int]bool // units as of the last look at the roster
	healer       *replicate.Healer
	alive        map[view.NodeID]bool
	peers        map[view.NodeID]hello // the last that was met of each store
	shownRosters map[*Host]uint64      // sum of the roster that the store there had
	calls        map[uint64]func(body any, ok bool)
	busy         map[string]bool      // background work that is under way
	behind       []missing            // rounds that others know of, to catch up with
	search       map[int]purge.Search // by unit: for whose log reaches back to this one's stamp
	serial       uint64

	inventories map[uint64]inventory // that peers ask for symbols of
	clocks      clocks
	leaves      bool
	stopped     bool
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

// startStore opens a store on a host.
func (c *Cluster) startStore(h *Host) Process {
	s := &store{
		host: h, cluster: c,
		alive: map[view.NodeID]bool{}, peers: map[view.NodeID]hello{}, shownRosters: map[*Host]uint64{},
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
	s.openWriter(id)
	s.refreshView()
	s.repeatEvery(300*time.Millisecond, s.refreshView)
	s.repeatEvery(700*time.Millisecond, s.deliverHints)
	s.repeatEvery(900*time.Millisecond, s.antiEntropy)
	s.repeatEvery(1100*time.Millisecond, s.handOff)
	s.repeatEvery(1300*time.Millisecond, s.repairDamaged)
	if c.Purge > 0 {
		s.repeatEvery(c.Purge, s.purgeUnit)
	}
	if c.Lapse > 0 {
		s.repeatEvery(c.Lapse, s.lapseExpired)
	}
	return s
}

// putNow writes what is synced before anything else is done.
func (s *store) putNow(key string, v any) { s.host.Disk.latest[key], s.host.Disk.synced[key] = v, v }

func (s *store) openWriter(id identity) {
	s.self = hello{ID: id.ID, Boot: id.Boot, Instance: s.host.World.Rand.Uint64()}
	start := reconcile.Start{Store: uint64(id.ID), Machine: s.host.Machine, Random: s.host.World.Rand.Uint64(), TrustDisk: !s.cluster.distrust, MaxSkew: s.maxSkew()}
	if v, err := s.host.Disk.Get(keyMeta); err == nil {
		start.Meta = v.(*reconcile.Meta)
	}
	s.writer = reconcile.Open(start)
	s.self.Session = s.writer.Session()
	s.homeOf, s.ready = make(map[int]bool), replicate.Readiness{}
	s.followRoster()
}

func (s *store) running() bool { return s.host.process == s && !s.stopped }

func (s *store) repeatEvery(d time.Duration, fn func()) {
	pause := d * max(s.cluster.Pace, 1)
	s.host.After(s.host.World.Between(pause/2, pause+pause/2), func() {
		fn()
		s.repeatEvery(d, fn)
	})
}

func (s *store) isLive(id view.NodeID) bool { return id == s.self.ID || s.alive[id] }

// homesOfUnit returns the homes of a unit, as this store knows the roster.
func (s *store) homesOfUnit(unit int) []view.NodeID {
	all := rankMembers(s.roster, unit)
	return all[:min(s.cluster.Homes, len(all))]
}

func (s *store) planFor(key string) replicate.Plan {
	all := rankMembers(s.roster, s.cluster.unitOf(key))
	return replicate.Plan{Self: s.self.ID, Order: all, Homes: min(s.cluster.Homes, len(all)), Live: s.isLive}
}

// keepsUnit tells whether this store, or another, is to keep a unit.
func (s *store) keepsUnit(id view.NodeID, unit int) bool {
	all := rankMembers(s.roster, unit)
	return slices.Contains(replicate.Keepers(all, min(s.cluster.Homes, len(all)), s.healer.Lost), id)
}

// loadRecord reads a record inside an update. A damaged one is an unknown one.
func loadRecord(tx *Tx, key string) (rec replicate.Record, corrupt bool) {
	v, err := tx.Get(keyRecord + key)
	if err != nil {
		return replicate.Record{}, errors.Is(err, ErrCorrupt)
	}
	return v.(replicate.Record), false
}

// updateRecord changes one record; then runs when the change is synced.
func (s *store) updateRecord(key string, fn func(tx *Tx, rec replicate.Record, w *reconcile.Writer) (replicate.Record, error), then func()) error {
	return s.host.Disk.Update(func(tx *Tx) error {
		w := s.writer
		rec, _ := loadRecord(tx, key)
		rec, err := fn(tx, rec, &w)
		if err != nil {
			return err
		}
		s.writer = w
		if before, bad := loadRecord(tx, key); !bad && before.Idle() && rec.Idle() {
			return nil // nothing was here, and is
		}
		s.saveRecord(tx, key, rec)
		return nil
	}, func(synced bool) {
		if synced && s.running() && then != nil {
			then()
		}
	})
}

// routePut routes a client's write. done may run more than once if a store that
// had fallen silent answers late; the client takes the first.
func (s *store) routePut(p putRequest, done func(putReply)) {
	plan := s.planFor(p.Key)
	if len(plan.Order) == 0 {
		done(putReply{Err: errors.New("no store is to hold anything")})
		return
	}
	s.tryRoute(replicate.Route(plan, plan.Order[0], true), p, done)
}

func (s *store) tryRoute(route []view.NodeID, p putRequest, done func(putReply)) {
	switch {
	case !s.running():
	case len(route) == 0:
		done(putReply{Err: errors.New("no home in reach")})
	case route[0] == s.self.ID:
		s.coordinatePut(p, done)
	default:
		s.callStore(route[0], p, 2*time.Second, func(body any, ok bool) {
			if ok {
				done(body.(putReply))
			} else {
				s.tryRoute(route[1:], p, done)
			}
		})
	}
}

// coordinatePut writes here and to the other homes. Before that it reads
// elsewhere if the record here is damaged, or if there is none to delete.
func (s *store) coordinatePut(p putRequest, done func(putReply)) {
	v, err := s.host.Disk.Get(keyRecord + p.Key)
	blank := err != nil || v.(replicate.Record).Unknown()
	if !errors.Is(err, ErrCorrupt) && !(p.Write.Tomb && blank) {
		s.commitWrite(p, replicate.ReadResult{}, done)
		return
	}
	s.readAndRepair(p.Key, replicate.Quorum, p.Write.Tomb, func(r replicate.ReadResult) {
		if p.Write.Tomb && !r.Found() && r.Err == nil {
			done(putReply{Nothing: true})
			return
		}
		s.commitWrite(p, r, done)
	})
}

// commitWrite makes the dot. known was read elsewhere just now.
func (s *store) commitWrite(p putRequest, read replicate.ReadResult, done func(putReply)) {
	if !s.running() {
		return
	}
	op := replicate.NewWrite(s.planFor(p.Key), p.Level, p.MinDurable, 0)
	var item version.Item
	var wrote reconcile.Wrote
	var stamp purge.Stamp
	known := read.Item
	err := s.host.Disk.Update(func(tx *Tx) error {
		w := s.writer
		rec, _ := loadRecord(tx, p.Key)
		stamp = standingIn(tx, s.cluster.unitOf(p.Key)).Stamp
		if !known.Unknown() && stamp.Admits(read.Stamp) {
			merged, _, err := rec.Accept(&w, known, op.LocalRoles()[0], s.host.Wall())
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
		if rec, wrote, err = rec.Commit(&w, p.Write, s.dateWrite(&w, &p.Write), op.LocalRoles()); err != nil {
			return err
		}
		s.writer, item = w, rec.Item
		s.saveRecord(tx, p.Key, rec)
		if wrote.Meta != nil {
			tx.Set(keyMeta, wrote.Meta)
		}
		s.cluster.oracle.noteMinted(s, p, wrote, seen)
		return nil
	}, func(synced bool) {
		s.cluster.oracle.noteSettled(wrote.Dot, synced)
		if synced && s.running() {
			s.performWrite(p, item, stamp, op, wrote, done)
		}
	})
	if err != nil {
		done(putReply{Err: err})
	}
}

// performWrite performs the effects of a write operation.
func (s *store) performWrite(p putRequest, item version.Item, stamp purge.Stamp, op *replicate.WriteOp, wrote reconcile.Wrote, done func(putReply)) {
	key := p.Key
	var perform func([]replicate.Effect)
	perform = func(effects []replicate.Effect) {
		for _, e := range effects {
			switch e.Kind {
			case replicate.Send:
				s.offerItem(e.To, key, item, stamp, replicate.Role{For: e.For}, func(ok bool, fence token.Token) {
					if err := reconcile.CheckFence(p.Write.Token, fence); !ok {
						perform(op.Failed(e.To, s.host.Now()))
					} else if err != nil {
						perform(op.Fenced(e.To, err, s.host.Now()))
					} else {
						perform(op.Acked(e.To, s.host.Now()))
					}
				})
			case replicate.Keep:
				s.failOnError(s.updateRecord(key, func(tx *Tx, rec replicate.Record, w *reconcile.Writer) (replicate.Record, error) {
					if !standingIn(tx, s.cluster.unitOf(key)).Stamp.Admits(stamp) {
						if !rec.Unknown() { // else it was purged
							rec = rec.Take(replicate.Role{For: e.For})
						}
						return rec, nil
					}
					rec, _, err := rec.Accept(w, item, replicate.Role{For: e.For}, s.host.Wall())
					return rec, err
				}, func() { perform(op.Kept(e.For)) }))
			case replicate.Settle:
				s.settleHint(key, e.For, item)
			case replicate.Finish:
				done(putReply{Result: op.Result(), Dot: wrote.Dot, Seen: wrote.Seen})
			}
		}
		if at, ok := op.Next(); ok {
			s.host.After(max(at-s.host.Now(), 0), func() {
				if again, ok := op.Next(); ok && again <= s.host.Now() {
					perform(op.Tick(s.host.Now()))
				}
			})
		}
	}
	perform(op.Committed(s.host.Now()))
}

func (s *store) failOnError(err error) {
	if err != nil {
		s.host.World.Fail("store on host %d: %v", s.host.Index, err)
	}
}

// settleHint drops a hint whose target holds acked, and the record with its last
// role.
func (s *store) settleHint(key string, target view.NodeID, acked version.Item) {
	plan := s.planFor(key)
	s.failOnError(s.updateRecord(key, func(tx *Tx, rec replicate.Record, _ *reconcile.Writer) (replicate.Record, error) {
		before := rec
		if rec = rec.Settle(target, acked); (plan.IsHome(s.self.ID) || len(plan.Order) == 0) && !before.Unknown() {
			rec = rec.Take(replicate.HomeRole)
		}
		if rec.Idle() && !before.Idle() {
			s.cluster.oracle.checkDrop(s, key, before.Item)
		}
		return rec, nil
	}, nil))
}

// readAndRepair reads with the given level and repairs what it finds behind.
func (s *store) readAndRepair(key string, level replicate.Level, all bool, done func(replicate.ReadResult)) {
	op := replicate.NewRead(s.planFor(key), level, all, 0)
	over := false
	var ask func(ids []view.NodeID, final bool)
	ask = func(ids []view.NodeID, final bool) {
		for _, id := range ids {
			s.callStore(id, readRequest{key}, 3*time.Second, func(body any, ok bool) {
				if ok {
					ask(op.Replied(body.(replicate.Reply), s.host.Now()))
				} else {
					ask(op.Failed(id, s.host.Now()))
				}
			})
		}
		if at, ok := op.Next(); ok && !over {
			s.host.After(max(at-s.host.Now(), 0), func() {
				if again, ok := op.Next(); ok && again <= s.host.Now() {
					ask(op.Tick(s.host.Now()))
				}
			})
		}
		if final && !over {
			over = true
			merged, stamp := op.Merged()
			for _, id := range op.Repairs() {
				s.sendOffers(id, []offer{{key, merged, stamp}}, replicate.HomeRole, func(bool, mergeReply) {})
			}
			done(op.Result())
		}
	}
	first := op.Start(s.host.Now())
	if ask(first, false); len(first) == 0 {
		ask(op.Tick(s.host.Now()))
	}
}

// answerRead tells what this store knows of a key.
func (s *store) answerRead(key string) replicate.Reply {
	unit := s.cluster.unitOf(key)
	r := replicate.Reply{From: s.self.ID, Syncing: !s.isReady(unit), Stamp: s.syncedStamp(unit)}
	v, err := s.host.Disk.Get(keyRecord + key)
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
	return s.ready.Ready(unit, s.self.ID, s.homesOfUnit(unit), members)
}

// acceptOffers merges what another store sends and acks when it is synced. What was
// read before a round that this store has acknowledged it refuses.
func (s *store) acceptOffers(from view.NodeID, offers []offer, role replicate.Role, ack func(mergeReply)) {
	left, answer := len(offers), mergeReply{}
	over := func() {
		if left--; left == 0 {
			ack(answer)
		}
	}
	for _, o := range offers {
		admitted := true
		err := s.updateRecord(o.Key, func(tx *Tx, rec replicate.Record, w *reconcile.Writer) (replicate.Record, error) {
			if admitted = s.admitItem(tx, from, &o); !admitted {
				return rec, nil
			}
			s.cluster.oracle.checkMerge(s, s.cluster.unitOf(o.Key), o.Stamp)
			in := s.amended(tx, &o)
			if s.isPurged(tx, o.Key, in) {
				return rec, nil
			}
			rec, got, err := rec.Accept(w, in, role, s.host.Wall())
			answer.fence = got.Fence // who asks for it offers one item
			for _, lost := range got.Clashes {
				again := w.Import(rec.Local, lost)
				rec.Local = again.Local
				if again.Meta != nil {
					tx.Set(keyMeta, again.Meta)
				}
				s.cluster.oracle.noteImported(s, o.Key, again, lost)
			}
			s.cluster.oracle.checkNotPurged(s, o.Key, rec.Item)
			return rec, err
		}, over)
		answer.stale = answer.stale || !admitted
		if err != nil {
			s.failOnError(err)
			return
		}
	}
}

// offerItem sends an item to a store, this one included. If that has acknowledged
// a round that this store has not, it catches up and sends what it holds then. fence
// is the token of a later leader than the item's, as far as one of the two knows.
func (s *store) offerItem(to view.NodeID, key string, item version.Item, stamp purge.Stamp, role replicate.Role, done func(ok bool, fence token.Token)) {
	s.sendOffers(to, []offer{{key, item, stamp}}, role, func(ok bool, got mergeReply) {
		if !got.stale {
			done(ok, got.fence)
			return
		}
		s.catchUp(to, s.cluster.unitOf(key), func(ok bool) {
			stamp, rec := s.syncedStamp(s.cluster.unitOf(key)), s.record(key)
			if !ok || !rec.Item.Dominates(item) { // it may have been lost meanwhile
				done(false, token.Token{})
				return
			}
			s.sendOffers(to, []offer{{key, rec.Item, stamp}}, role, func(ok bool, got mergeReply) {
				fence := rec.Item.Fence()
				if fence.Less(got.fence) {
					fence = got.fence
				}
				done(ok && !got.stale, fence)
			})
		})
	})
}

func (s *store) sendOffers(to view.NodeID, offers []offer, role replicate.Role, done func(ok bool, got mergeReply)) {
	s.callStore(to, mergeRequest{Offers: offers, Role: role}, 5*time.Second, func(body any, ok bool) {
		got, _ := body.(mergeReply)
		done(ok, got)
	})
}
