package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
)

// Between two passes: what is deleted meanwhile goes in one, and what has given nothing
// back, as nothing was deleted, is not done all the time.
const (
	firstReclaim = time.Second
	lastReclaim  = time.Minute
)

// isCramped tells whether to go on merging tables takes away what is left to updates that
// make room.
func (s *Store) isCramped() bool {
	free, known := s.readFree()
	return known && free < s.opts.Reserve/mergesLeave
}

// keepReclaiming gives room back when the disk is all but full: of what was deleted, or
// replaced by less. Pebble does so by and by, as it merges tables, and what merges them
// is further writing: there is none.
func (s *Store) keepReclaiming(ctx context.Context) {
	again := clock.Backoff{First: firstReclaim, Last: lastReclaim}
	for {
		select {
		case <-s.pressure.tighter:
		case <-ctx.Done():
			return
		}
		before, _ := s.readFree()
		begun := time.Now()
		if err := s.reclaimAll(ctx); err != nil && ctx.Err() == nil {
			s.opts.Logger.Debug("storage: room not given back yet", "error", err)
		}
		if hasAmpleRoom(s) {
			// A merge that did not fit had left its room when it failed. With all settled
			// there may be no table to write that would show it.
			s.guard.noRoom.Store(false)
		}
		if after, _ := s.readFree(); after > before+s.opts.Reserve/64 {
			again.Reset()
		}
		if !s.pressure.restFromReclaiming(ctx, again.Next(), time.Since(begun)) {
			return
		}
	}
}

// restFromReclaiming waits until the next pass may begin. What was deleted meanwhile does not
// wait for all of the rest, but so long that passes take a fifth of the time at most. It
// returns false when ctx has ended.
func (p *pressure) restFromReclaiming(ctx context.Context, rest, took time.Duration) bool {
	short := max(firstReclaim, 4*took)
	if !clock.Sleep(ctx, min(rest, short)) {
		return false
	}
	left := time.NewTimer(max(rest-short, 0))
	defer left.Stop()
	select {
	case <-left.C:
	case <-p.eased:
	case <-ctx.Done():
		return false
	}
	return true
}

// hasAmpleRoom tells whether there is room for data twice over.
func hasAmpleRoom(s *Store) bool {
	free, known := s.readFree()
	return known && free >= 2*s.opts.Reserve+s.pressure.unmerged.Load()
}

// reclaimAll goes through the lowest tables one by one, and merges into each what lies
// above it, until there is room twice over. Each takes no more room on the way than it
// has itself. Of one that does not fit another try is made when others have given way.
func (s *Store) reclaimAll(ctx context.Context) (err error) {
	left, err := s.listSpans()
	for len(left) > 0 && err == nil {
		var again []span
		for _, at := range left {
			if _, known := s.readFree(); !known || hasAmpleRoom(s) || ctx.Err() != nil {
				return ctx.Err()
			}
			if err := s.compactSpan(ctx, at); errors.Is(err, errCramped) {
				again = append(again, at)
			} else if err != nil {
				return err
			}
		}
		if len(again) == len(left) {
			return fmt.Errorf("%d tables: %w", len(again), errCramped)
		}
		left = again
	}
	return err
}

// span is where the keys of a table lie: both are of it.
type span struct{ first, last []byte }

// listSpans lists those of the lowest tables.
func (s *Store) listSpans() ([]span, error) {
	leave, err := s.enterReader()
	if err != nil {
		return nil, err
	}
	defer leave()
	levels, err := s.db.SSTables()
	if err != nil {
		return nil, err
	}
	for _, tables := range slices.Backward(levels) {
		var out []span
		for i := range tables {
			out = append(out, span{slices.Clone(tables[i].Smallest.UserKey), slices.Clone(tables[i].Largest.UserKey)})
		}
		if len(out) > 0 {
			return out, nil
		}
	}
	return nil, nil
}

// compactSpan merges all that lies over a table into it. Of keys beyond all tables nothing
// is known that could give way.
func (s *Store) compactSpan(ctx context.Context, at span) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.pebbleWedged.Store(true)
			s.guard.failStore(fmt.Errorf("give room back: %v", p))
			err = s.guard.failure()
		}
	}()
	if err := s.guard.failure(); err != nil {
		return err
	}
	return s.db.Compact(ctx, at.first, append(slices.Clone(at.last), 0), false)
}
