package keep

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
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
)

// rounds is where this store stands in the purges of each shard.
type rounds struct {
	// shown is what others see: synced, and read before the item that it goes
	// out with. Nil: no round yet.
	shown []atomic.Pointer[round]

	// Only the committing goroutine touches these.
	current []round
	before  []roundBefore // what the update under way has moved, as it was

	mu sync.Mutex // of showRounds
}

// round is the state of one shard as the last update left it.
type round struct {
	purge.Standing
	step int // counts changes since the store was opened
}

func newRounds(shards int) *rounds {
	return &rounds{shown: make([]atomic.Pointer[round], shards), current: make([]round, shards)}
}

const roundsPrefix = "rounds/"

// MetaRounds is the key of the note of where a store stands in a shard.
func MetaRounds(shard int) []byte { return wire.MetaKey(roundsPrefix + strconv.Itoa(shard)) }

// MetaBatch is the key of the note of the round of a shard that was acknowledged last.
func MetaBatch(shard int) []byte { return wire.MetaKey("batch/" + strconv.Itoa(shard)) }

// openRounds reads where the store stands. A note that is damaged counts as
// none: the store then catches up from the beginning.
func (rs *Records) openRounds(ctx context.Context) error {
	lower := wire.MetaKey(roundsPrefix)
	err := rs.disk.Scan(ctx, lower, wire.After(lower), func(k, v []byte) error {
		shard, err := strconv.Atoi(strings.TrimPrefix(string(k), string(lower)))
		if err != nil || shard < 0 || shard >= rs.shards {
			return nil
		}
		m, err := wire.DecodeRoundState(v)
		if errors.Is(err, wire.ErrNewerVersion) {
			return fmt.Errorf("%w: %w", ErrNewerFormat, err)
		}
		if err != nil {
			rs.log.Error("note of purges does not read", "shard", shard, "error", err)
			return nil
		}
		r := round{Standing: purge.Standing{Stamp: StampOf(m.Stamp), From: purge.Round(m.From), Logged: purge.Round(m.Logged)}}
		rs.rounds.current[shard] = r
		rs.rounds.shown[shard].Store(&r)
		return nil
	})
	if err != nil {
		return err
	}
	all, err := rs.ListHeld(ctx)
	for _, at := range all {
		rs.rounds.current[at.Shard].Filled = true
	}
	if errors.Is(err, storage.ErrCorrupt) { // some of it does not read: there may be more
		for shard := range rs.rounds.current {
			rs.rounds.current[shard].Filled = true
		}
		err = nil
	}
	for shard := range rs.rounds.current {
		if rs.rounds.current[shard].Stamp.Committed != (purge.Round{}) {
			rs.CatchUps.Committed(shard) // it may have gone down before it let go of all
		}
	}
	return err
}

// Standing is where this store stands in a shard, as of this update.
func (tx Tx) Standing(shard int) purge.Standing { return tx.rs.rounds.current[shard].Standing }

// Move moves where this store stands in a shard.
func (tx Tx) Move(shard int, next purge.Standing) error {
	now := tx.Standing(shard)
	next.Filled = next.Filled || now.Filled // records may have come since next was made
	if next == now {
		return nil
	}
	return tx.writeStanding(shard, next)
}

// writeStanding is Move, although it may be written down already.
func (tx Tx) writeStanding(shard int, next purge.Standing) error {
	st := wire.RoundState{Stamp: WireStamp(next.Stamp), From: wire.Round(next.From), Logged: wire.Round(next.Logged)}
	if err := tx.Set(MetaRounds(shard), wire.AppendRoundState(nil, st)); err != nil {
		return err
	}
	tx.rs.rounds.moveTo(shard, next)
	return nil
}

func (r *rounds) moveTo(shard int, next purge.Standing) {
	now := r.current[shard]
	r.before = append(r.before, roundBefore{shard, now})
	r.current[shard] = round{Standing: next, step: now.step + 1}
}

type roundBefore struct {
	shard int
	round round
}

// beginUpdate and undoUpdate frame an update.
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
