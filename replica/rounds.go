package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// rounds is where this store stands in the purges of each shard.
type rounds struct {
	// shown is what others see: synced, and read before the item that it goes
	// out with. Nil: no round yet.
	shown []atomic.Pointer[round]

	// Only the committing goroutine touches these.
	now    []round
	before []before // what the update under way has moved, as it was

	mu     sync.Mutex // of raise
	behind behind
}

// round is the state of one shard as the last update left it.
type round struct {
	stamp  purge.Stamp
	from   purge.Round // the log is whole after it
	logged purge.Round // the last one of which there is something in the log
	filled bool        // there may be records
	aside  bool        // they are being set aside: nothing is taken in meanwhile
	cuts   int         // counts losses of its log, see voidClaims
	step   int         // counts changes since the store was opened
}

// behind is what has been heard of rounds that this store does not know.
type behind struct {
	mu   sync.Mutex
	of   map[int]map[view.NodeID]bool // by shard: who knows more
	done map[int]bool                 // shards of which a round was committed
	// By shard: who knows more, but does not remember it back to where this
	// store stands.
	short map[int]map[view.NodeID]bool
	kick  chan struct{}
}

func newRounds(shards int) *rounds {
	return &rounds{
		shown: make([]atomic.Pointer[round], shards), now: make([]round, shards),
		behind: behind{of: make(map[int]map[view.NodeID]bool), done: make(map[int]bool), kick: make(chan struct{}, 1)},
	}
}

const roundsPrefix = "rounds/"

func metaRounds(shard int) []byte { return wire.MetaKey(roundsPrefix + strconv.Itoa(shard)) }

func metaBatch(shard int) []byte { return wire.MetaKey("batch/" + strconv.Itoa(shard)) }

func wireStamp(s purge.Stamp) wire.Stamp {
	return wire.Stamp{Acked: wire.Round(s.Acked), Committed: wire.Round(s.Committed)}
}

func stampOf(s wire.Stamp) purge.Stamp {
	return purge.Stamp{Acked: purge.Round(s.Acked), Committed: purge.Round(s.Committed)}
}

// openRounds reads where the store stands. A note that is damaged counts as
// none: the store then catches up from the beginning.
func (s *Store) openRounds(ctx context.Context) error {
	s.rounds = newRounds(s.shards)
	lower := wire.MetaKey(roundsPrefix)
	err := s.disk.Scan(ctx, lower, wire.After(lower), func(k, v []byte) error {
		shard, err := strconv.Atoi(strings.TrimPrefix(string(k), string(lower)))
		if err != nil || shard < 0 || shard >= s.shards {
			return nil
		}
		m, err := wire.DecodeRoundState(v)
		if errors.Is(err, wire.ErrNewerVersion) {
			return fmt.Errorf("%w: %w", ErrNewerFormat, err)
		}
		if err != nil {
			s.log.Error("note of purges does not read", "shard", shard, "err", err)
			return nil
		}
		r := round{stamp: stampOf(m.Stamp), from: purge.Round(m.From), logged: purge.Round(m.Logged)}
		s.rounds.now[shard] = r
		s.rounds.shown[shard].Store(&r)
		return nil
	})
	if err != nil {
		return err
	}
	all, err := s.held(ctx)
	for _, at := range all {
		s.rounds.now[at.shard].filled = true
	}
	if errors.Is(err, storage.ErrCorrupt) { // some of it does not read, see lose: there may be more
		for shard := range s.rounds.now {
			s.rounds.now[shard].filled = true
		}
		err = nil
	}
	for shard := range s.rounds.now {
		if s.rounds.now[shard].stamp.Committed != (purge.Round{}) {
			s.rounds.behind.over(shard) // it may have gone down before it let go of all
		}
	}
	return err
}

// stamp is what items of a shard that are read from now on go out with.
func (s *Store) stamp(shard int) purge.Stamp {
	if p := s.rounds.shown[shard].Load(); p != nil {
		return p.stamp
	}
	return purge.Stamp{}
}

// setRound is part of an update: it moves the stamp of a shard.
func (s *Store) setRound(tx *storage.Tx, shard int, next round) error {
	st := wire.RoundState{Stamp: wireStamp(next.stamp), From: wire.Round(next.from), Logged: wire.Round(next.logged)}
	if err := tx.Set(metaRounds(shard), wire.AppendRoundState(nil, st)); err != nil {
		return err
	}
	s.rounds.before = append(s.rounds.before, before{shard, s.rounds.now[shard]})
	next.step++
	s.rounds.now[shard] = next
	return nil
}

type before struct {
	shard int
	round round
}

// begin and undo frame an update.
func (r *rounds) begin() { r.before = r.before[:0] }

func (r *rounds) undo() {
	for _, b := range slices.Backward(r.before) {
		r.now[b.shard] = b.round
	}
}

// raised is what an update has moved, to be shown once it is synced.
type raised struct {
	shard int
	round round
}

func (r *rounds) taken() []raised {
	var out []raised
	for _, b := range r.before {
		out = append(out, raised{b.shard, r.now[b.shard]})
	}
	return out
}

// raise shows synced stamps. Those of a later update may be shown already.
func (r *rounds) raise(all []raised) {
	if len(all) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range all {
		if p := r.shown[a.shard].Load(); p == nil || p.step < a.round.step {
			r.shown[a.shard].Store(&a.round)
		}
	}
}

// admitted is part of an update: it tells whether an item with that stamp may be
// merged, and takes in which rounds its store knows to be committed.
func (s *Store) admitted(tx *storage.Tx, in *arrival) (bool, error) {
	now := s.rounds.now[in.at.shard]
	if now.aside {
		return false, nil
	}
	if now.stamp == in.stamp {
		return true, nil
	}
	next := now
	next.stamp = now.stamp.Heard(in.stamp)
	if !now.filled && next.stamp.Acked.Before(in.stamp.Acked) {
		// Who holds nothing of a shard has nothing to catch up with.
		next.stamp.Acked, next.from = in.stamp.Acked, in.stamp.Acked
	}
	if in.from != 0 && (next.stamp.Lagging() || next.from != now.from) {
		s.rounds.behind.note(in.at.shard, in.from)
	}
	if next.stamp.Committed != now.stamp.Committed {
		s.rounds.behind.over(in.at.shard)
	}
	if next != now {
		if err := s.setRound(tx, in.at.shard, next); err != nil {
			return false, err
		}
	}
	return now.stamp.Admits(in.stamp), nil
}

// note has this store catch up with what a peer knows of a shard.
func (b *behind) note(shard int, peer view.NodeID) {
	b.mu.Lock()
	if b.of[shard] == nil {
		b.of[shard] = make(map[view.NodeID]bool)
	}
	b.of[shard][peer] = true
	b.mu.Unlock()
	signal(b.kick)
}

// over has this store let go of what was purged in a round that turns out to be
// committed.
func (b *behind) over(shard int) {
	b.mu.Lock()
	b.done[shard] = true
	b.mu.Unlock()
	signal(b.kick)
}

// next takes something off what is to be done; ok is false if that is nothing.
func (b *behind) next() (shard int, peer view.NodeID, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for shard := range b.done {
		delete(b.done, shard)
		return shard, 0, true
	}
	for shard, peers := range b.of {
		for peer := range peers {
			if delete(peers, peer); len(peers) == 0 {
				delete(b.of, shard)
			}
			return shard, peer, true
		}
	}
	return 0, 0, false
}

// buriedAt reads what was purged of a key; ok is false if that is nothing, or
// does not read.
func buriedAt(value []byte, err error) (b purge.Buried, ok bool, _ error) {
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrCorrupt) {
		return b, false, nil
	}
	if err != nil {
		return b, false, err
	}
	m, err := wire.DecodeBuried(value)
	if err != nil {
		return b, false, nil
	}
	b, err = decodeBuried(m)
	return b, err == nil, nil
}

func decodeBuried(m wire.Buried) (b purge.Buried, err error) {
	b.Round, b.Over = purge.Round(m.Round), m.Over
	if b.Tomb, err = wire.DecodeItem(m.Tomb); err != nil {
		return b, err
	}
	b.All = b.Tomb
	if len(m.All) > 0 {
		b.All, err = wire.DecodeItem(m.All)
	}
	return b, err
}

func encodeBuried(b purge.Buried) wire.Buried {
	m := wire.Buried{Round: wire.Round(b.Round), Over: b.Over, Tomb: wire.AppendItem(nil, &b.Tomb)}
	if !b.All.Equal(b.Tomb) {
		m.All = wire.AppendItem(nil, &b.All)
	}
	return m
}

// bury is part of an update: it notes what was purged of a key. The log is whole
// only after the round that it returns.
func (s *Store) bury(tx *storage.Tx, at place, b purge.Buried) (from purge.Round, err error) {
	key := wire.LogKey(at.record)
	old, ok, err := buriedAt(tx.Get(key))
	if err != nil {
		return from, err
	}
	if ok {
		b, from = old.Join(b).Bound(old.Round)
	}
	m := encodeBuried(b)
	return from, tx.Set(key, wire.AppendBuried(nil, &m))
}

// wholeAfter is the state of a shard whose log has lost what is not after a round.
func (r round) wholeAfter(from purge.Round) round {
	if r.from.Before(from) {
		r.from = from
	}
	return r
}

// amend is part of an update: an item that was read before rounds of which the
// log here speaks, while this store is catching up with them, is taken in
// without what they have purged.
func (s *Store) amend(tx *storage.Tx, in *arrival) error {
	if !in.stamp.Acked.Before(s.rounds.now[in.at.shard].logged) {
		return nil
	}
	b, ok, err := buriedAt(tx.Get(wire.LogKey(in.at.record)))
	if err != nil || !ok || !in.stamp.Acked.Before(b.Round) {
		return err
	}
	if it := b.CatchUp(in.item); !it.Equal(in.item) {
		in.item, in.raw = it, wire.AppendItem(nil, &it)
	}
	return nil
}

// isPurged tells, in an update, whether an item offered where there is no record
// is only what was purged there.
func (s *Store) isPurged(tx *storage.Tx, in *arrival) (bool, error) {
	if _, mortal := purge.Due(in.item); !mortal || s.rounds.now[in.at.shard].stamp.Acked == (purge.Round{}) {
		return false, nil
	}
	b, ok, err := buriedAt(tx.Get(wire.LogKey(in.at.record)))
	return ok && b.Nothing(in.item), err
}

// acknowledge decides on rounds that are proposed, and takes part in those that
// nothing speaks against: from then on nothing older than their tombs is here,
// or is taken in. It returns their numbers once that is synced, and the shards
// in which this store has missed rounds.
func (s *Store) acknowledge(ctx context.Context, members [16]byte, proposals []purge.Proposal) (acked, behind []int, err error) {
	gone := 0
	err = s.update(ctx, "acknowledge a purge", func(tx *storage.Tx) error {
		acked, behind, gone = acked[:0], behind[:0], 0
		// Not before: whoever belongs to the mesh by now must be asked, too.
		lay := s.layout.Load()
		for i := range proposals {
			p := &proposals[i]
			p.Members = members
			now := s.rounds.now[p.Shard]
			next := now
			var refused error
			if next.stamp, refused = now.stamp.Acknowledge(p, lay.storing, s.now(), s.clocks.trusted(s.wall())); refused != nil {
				s.log.Debug("purge not acknowledged", "shard", p.Shard, "err", refused)
				if errors.Is(refused, purge.ErrLagging) {
					behind = append(behind, p.Shard)
				}
				continue
			}
			// The note of the round before is about to go.
			n, err := s.finishBatch(tx, p.Shard, next.stamp)
			if err != nil {
				return err
			}
			gone += max(n, 0)
			from, err := s.takePart(tx, lay, p)
			if err != nil {
				return err
			}
			next = next.wholeAfter(from)
			if next.logged.Before(p.Round) {
				next.logged = p.Round
			}
			if next != now {
				if err := s.setRound(tx, p.Shard, next); err != nil {
					return err
				}
			}
			acked = append(acked, i)
		}
		return nil
	})
	if err == nil {
		s.stats.purged.Add(uint64(gone))
	}
	return acked, behind, err
}

// takePart is the part of acknowledge for one shard; see bury for from.
func (s *Store) takePart(tx *storage.Tx, lay *layout, p *purge.Proposal) (from purge.Round, err error) {
	batch := wire.RoundBatch{Round: wire.Round(p.Round)}
	for i := range p.Batch {
		t := &p.Batch[i]
		at := s.place(t.Bucket, t.Key)
		if at.shard != p.Shard {
			return from, fmt.Errorf("replica: key of shard %d in a purge of shard %d", at.shard, p.Shard)
		}
		b := s.buckets.byID(t.Bucket)
		if err := s.mergeTomb(tx, at, t.Item, b == nil || lay.route(b, at.shard).isHome(s.id)); err != nil {
			return from, err
		}
		lost, err := s.bury(tx, at, purge.Buried{}.Bury(p.Round, t.Item))
		if err != nil {
			return from, err
		}
		if from.Before(lost) {
			from = lost
		}
		batch.Keys = append(batch.Keys, wire.RoundKey{Bucket: t.Bucket, Key: t.Key})
	}
	return from, tx.Set(metaBatch(p.Shard), wire.AppendRoundBatch(nil, &batch))
}

// mergeTomb merges a tomb into what is here of its key. A home that has
// nothing takes it in, unless it was purged here.
func (s *Store) mergeTomb(tx *storage.Tx, at place, tomb version.Item, home bool) error {
	old, err := decodeStored(tx.Get(at.record))
	if err != nil || old.Unknown() && !home {
		return err
	}
	if old.Unknown() && !old.unknown {
		if b, ok, err := buriedAt(tx.Get(wire.LogKey(at.record))); err != nil || ok && b.Nothing(tomb) {
			return err
		}
	}
	role := replicate.HomeRole
	if !old.Home && len(old.Hints) > 0 {
		role.For = old.Hints[0]
	}
	r, got, err := old.Accept(&s.writer, tomb, role, s.now())
	if err != nil || !got.Changed && !old.unknown {
		return err
	}
	return s.save(tx, at, old, r, wire.AppendItem(nil, &r.Item))
}

// finish lets go of what was purged in the round of a shard that this store has
// acknowledged last, if that is known to be committed.
func (s *Store) finish(ctx context.Context, shard int) error {
	gone, over := 0, false
	err := s.update(ctx, "finish a purge", func(tx *storage.Tx) error {
		gone, over = 0, false
		n, err := s.finishBatch(tx, shard, s.rounds.now[shard].stamp)
		gone, over = n, n >= 0
		return err
	})
	if err == nil && over {
		s.stats.purged.Add(uint64(gone))
		err = s.trimLog(ctx, shard)
	}
	return err
}

// finishBatch is the part of finish for an update. n is how many records went,
// -1 if there is nothing to finish.
func (s *Store) finishBatch(tx *storage.Tx, shard int, stamp purge.Stamp) (n int, err error) {
	data, err := tx.Get(metaBatch(shard))
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrCorrupt) {
		return -1, nil
	}
	if err != nil {
		return -1, err
	}
	batch, err := wire.DecodeRoundBatch(data)
	if err != nil || purge.Round(batch.Round) != stamp.Committed {
		return -1, nil
	}
	for _, k := range batch.Keys {
		gone, err := s.letGone(tx, s.place(k.Bucket, k.Key), stamp)
		if err != nil {
			return n, err
		}
		n += gone
	}
	return n, tx.Delete(metaBatch(shard))
}

// letGone is the part of finish for one key.
func (s *Store) letGone(tx *storage.Tx, at place, stamp purge.Stamp) (int, error) {
	key := wire.LogKey(at.record)
	b, ok, err := buriedAt(tx.Get(key))
	if err != nil || !ok {
		return 0, err
	}
	b = b.Hear(stamp)
	m := encodeBuried(b)
	if err := tx.Set(key, wire.AppendBuried(nil, &m)); err != nil {
		return 0, err
	}
	old, err := decodeStored(tx.Get(at.record))
	if err != nil || old.Unknown() || !b.Drop(old.Item) {
		return 0, err
	}
	return 1, s.save(tx, at, old, replicate.Record{Local: reconcile.Local{}}, nil)
}

// commit takes in which rounds all members have acknowledged.
func (s *Store) commit(ctx context.Context, over []wire.ShardRound) error {
	over = slices.DeleteFunc(slices.Clone(over), func(r wire.ShardRound) bool { return r.Shard >= s.shards })
	err := s.update(ctx, "commit a purge", func(tx *storage.Tx) error {
		for _, r := range over {
			next := s.rounds.now[r.Shard]
			next.stamp = next.stamp.Heard(purge.Stamp{Committed: purge.Round(r.Round)})
			if next == s.rounds.now[r.Shard] {
				continue
			}
			if err := s.setRound(tx, r.Shard, next); err != nil {
				return err
			}
		}
		return nil
	})
	for _, r := range over {
		if err == nil {
			err = s.finish(ctx, r.Shard)
		}
	}
	return err
}
