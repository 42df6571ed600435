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
	now    []round
	before []before // what the update under way has moved, as it was

	mu     sync.Mutex // of raise
	behind behind
}

// round is the state of one shard as the last update left it.
type round struct {
	purge.Standing
	step int // counts changes since the store was opened
}

// behind is what has been heard of rounds that this store does not know.
type behind struct {
	mu   sync.Mutex
	of   map[int]map[view.NodeID]bool // by shard: who knows more
	done map[int]bool                 // shards of which a round was committed
	// By shard: for whose log reaches back to where this store stands.
	search map[int]*purge.Search
	kick   notify.Bell
}

func newRounds(shards int) *rounds {
	return &rounds{
		shown: make([]atomic.Pointer[round], shards), now: make([]round, shards),
		behind: behind{
			of: make(map[int]map[view.NodeID]bool), done: make(map[int]bool),
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
		s.rounds.now[shard] = r
		s.rounds.shown[shard].Store(&r)
		return nil
	})
	if err != nil {
		return err
	}
	all, err := s.held(ctx)
	for _, at := range all {
		s.rounds.now[at.shard].Filled = true
	}
	if errors.Is(err, storage.ErrCorrupt) { // some of it does not read, see lose: there may be more
		for shard := range s.rounds.now {
			s.rounds.now[shard].Filled = true
		}
		err = nil
	}
	for shard := range s.rounds.now {
		if s.rounds.now[shard].Stamp.Committed != (purge.Round{}) {
			s.rounds.behind.over(shard) // it may have gone down before it let go of all
		}
	}
	return err
}

// stamp is what items of a shard that are read from now on go out with.
func (s *Store) stamp(shard int) purge.Stamp {
	if p := s.rounds.shown[shard].Load(); p != nil {
		return p.Stamp
	}
	return purge.Stamp{}
}

// stand is part of an update: it moves where this store stands in a shard.
func (s *Store) stand(tx *storage.Tx, shard int, next purge.Standing) error {
	now := s.rounds.now[shard]
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
	s.rounds.before = append(s.rounds.before, before{shard, s.rounds.now[shard]})
	s.rounds.now[shard] = round{Standing: next, step: s.rounds.now[shard].step + 1}
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
	next, news, ok := s.rounds.now[in.at.shard].Admit(in.stamp)
	if news.CatchUp && in.from != 0 {
		s.rounds.behind.note(in.at.shard, in.from)
	}
	if news.Finish {
		s.rounds.behind.over(in.at.shard)
	}
	return ok, s.stand(tx, in.at.shard, next)
}

// note has this store catch up with what a peer knows of a shard.
func (b *behind) note(shard int, peer view.NodeID) {
	b.mu.Lock()
	if b.of[shard] == nil {
		b.of[shard] = make(map[view.NodeID]bool)
	}
	b.of[shard][peer] = true
	b.mu.Unlock()
	b.kick.Ring()
}

// over has this store let go of what was purged in a round that turns out to be
// committed.
func (b *behind) over(shard int) {
	b.mu.Lock()
	b.done[shard] = true
	b.mu.Unlock()
	b.kick.Ring()
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
