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

	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// rounds is where this store stands in the purges of each shard.
type rounds struct {
	// shown is what others see: synced, and read before the item that it goes
	// out with. Nil: no round yet.
	shown []atomic.Pointer[round]

	// Only the committing goroutine touches these.
	current []round
	before  []roundBefore // what the update under way has moved, as it was

	mu       sync.Mutex // of raise
	catchUps catchUpQueue
}

// round is the state of one shard as the last update left it.
type round struct {
	purge.Standing
	step int // counts changes since the store was opened
}

// catchUpQueue is what has been heard of rounds that this store does not know.
type catchUpQueue struct {
	mu         sync.Mutex
	peersAhead map[int]map[view.NodeID]bool // by shard: who knows more
	done       map[int]bool                 // shards of which a round was committed
	// By shard: for whose log reaches back to where this store stands.
	search map[int]*purge.Search
	kick   notify.Bell
}

func newRounds(shards int) *rounds {
	return &rounds{
		shown: make([]atomic.Pointer[round], shards), current: make([]round, shards),
		catchUps: catchUpQueue{
			peersAhead: make(map[int]map[view.NodeID]bool), done: make(map[int]bool),
			search: make(map[int]*purge.Search), kick: notify.NewBell(),
		},
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
			s.log.Error("note of purges does not read", "shard", shard, "error", err)
			return nil
		}
		r := round{Standing: purge.Standing{Stamp: stampOf(m.Stamp), From: purge.Round(m.From), Logged: purge.Round(m.Logged)}}
		s.rounds.current[shard] = r
		s.rounds.shown[shard].Store(&r)
		return nil
	})
	if err != nil {
		return err
	}
	all, err := s.listHeldSlices(ctx)
	for _, at := range all {
		s.rounds.current[at.Shard].Filled = true
	}
	if errors.Is(err, storage.ErrCorrupt) { // some of it does not read, see lose: there may be more
		for shard := range s.rounds.current {
			s.rounds.current[shard].Filled = true
		}
		err = nil
	}
	for shard := range s.rounds.current {
		if s.rounds.current[shard].Stamp.Committed != (purge.Round{}) {
			s.rounds.catchUps.enqueueFinish(shard) // it may have gone down before it let go of all
		}
	}
	return err
}

// syncedStamp is what items of a shard that are read from now on go out with.
func (s *Store) syncedStamp(shard int) purge.Stamp {
	if p := s.rounds.shown[shard].Load(); p != nil {
		return p.Stamp
	}
	return purge.Stamp{}
}

// moveStanding is part of an update: it moves where this store stands in a shard.
func (s *Store) moveStanding(tx *storage.Tx, shard int, next purge.Standing) error {
	now := s.rounds.current[shard]
	next.Filled = next.Filled || now.Filled // records may have come since next was made
	if next == now.Standing {
		return nil
	}
	return s.writeStanding(tx, shard, next)
}

// writeStanding is stand, although it may be written down already.
func (s *Store) writeStanding(tx *storage.Tx, shard int, next purge.Standing) error {
	st := wire.RoundState{Stamp: wireStamp(next.Stamp), From: wire.Round(next.From), Logged: wire.Round(next.Logged)}
	if err := tx.Set(metaRounds(shard), wire.AppendRoundState(nil, st)); err != nil {
		return err
	}
	s.rounds.before = append(s.rounds.before, roundBefore{shard, s.rounds.current[shard]})
	s.rounds.current[shard] = round{Standing: next, step: s.rounds.current[shard].step + 1}
	return nil
}

type roundBefore struct {
	shard int
	round round
}

// beginUpdate and undo frame an update.
func (r *rounds) beginUpdate() { r.before = r.before[:0] }

func (r *rounds) undoUpdate() {
	for _, b := range slices.Backward(r.before) {
		r.current[b.shard] = b.round
	}
}

// changedRound is what an update has moved, to be shown once it is synced.
type changedRound struct {
	shard int
	round round
}

func (r *rounds) changedRounds() []changedRound {
	var out []changedRound
	for _, b := range r.before {
		out = append(out, changedRound{b.shard, r.current[b.shard]})
	}
	return out
}

// showRounds shows synced stamps. Those of a later update may be shown already.
func (r *rounds) showRounds(all []changedRound) {
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

// admitStamp is part of an update: it tells whether an item with that stamp may be
// merged, and takes in which rounds its store knows to be committed.
func (s *Store) admitStamp(tx *storage.Tx, in *arrival) (bool, error) {
	next, news, ok := s.rounds.current[in.at.Shard].Admit(in.stamp)
	if news.CatchUp && in.from != 0 {
		s.rounds.catchUps.enqueueCatchUp(in.at.Shard, in.from)
	}
	if news.Finish {
		s.rounds.catchUps.enqueueFinish(in.at.Shard)
	}
	return ok, s.moveStanding(tx, in.at.Shard, next)
}

// enqueueCatchUp has this store catch up with what a peer knows of a shard.
func (b *catchUpQueue) enqueueCatchUp(shard int, peer view.NodeID) {
	b.mu.Lock()
	if b.peersAhead[shard] == nil {
		b.peersAhead[shard] = make(map[view.NodeID]bool)
	}
	b.peersAhead[shard][peer] = true
	b.mu.Unlock()
	b.kick.Ring()
}

// enqueueFinish has this store let go of what was purged in a round that turns out to be
// committed.
func (b *catchUpQueue) enqueueFinish(shard int) {
	b.mu.Lock()
	b.done[shard] = true
	b.mu.Unlock()
	b.kick.Ring()
}

// takeNext takes something off what is to be done; ok is false if that is nothing.
func (b *catchUpQueue) takeNext() (shard int, peer view.NodeID, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for shard := range b.done {
		delete(b.done, shard)
		return shard, 0, true
	}
	for shard, peers := range b.peersAhead {
		for peer := range peers {
			if delete(peers, peer); len(peers) == 0 {
				delete(b.peersAhead, shard)
			}
			return shard, peer, true
		}
	}
	return 0, 0, false
}
