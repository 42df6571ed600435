package replica

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// The parts of AckTimeout, of a write that is handed on. A store that keeps silent
// for half of it is asked whether it is there, and has the other half to say so.
// Then the write goes to another one, and must not be committed by the first any
// more: three quarters are what that one has for it, and the rest is for clocks that
// do not go alike.
func (s *Store) mayBegin() time.Duration { return s.cfg.AckTimeout * 3 / 4 }

func (s *Store) mayBeSilent() time.Duration { return s.cfg.AckTimeout / 2 }

// mayForward is how long all the stores together may take that a write is handed to.
func (s *Store) mayForward() time.Duration { return 3 * s.cfg.AckTimeout }

// mayTake is how long a client of this store may wait for copies, and mayTakeFor how
// long one of another node may: that one has met a silent store before, and the
// answer takes time, too.
func (s *Store) mayTake() time.Duration { return s.cfg.AckTimeout * 11 / 4 }

func (s *Store) mayTakeFor() time.Duration { return s.cfg.AckTimeout * 7 / 4 }

// mayInform is until when a write that is to end by then may ask what others know:
// it is committed after that, and some copies should be made.
func (s *Store) mayInform(ends time.Duration) time.Duration { return ends - s.cfg.AckTimeout*3/4 }

// mayOutliveClose is how long a call may go on at most once the store is being closed.
const mayOutliveClose = time.Second

// askSoon calls a store that must answer soon, or counts as silent. When nothing
// comes for a while it is asked whether it is there, and so are the others that may
// be turned to: of several that are silent, as in a cut, each would cost as much time
// as the first. A store that is there has more time, for what it does is not to be
// done twice.
func (s *Store) askSoon(ctx context.Context, to view.NodeID, method string, req []byte, until time.Time, others []view.NodeID) ([]byte, error) {
	end := time.Now().Add(2 * s.cfg.AckTimeout)
	if until.Before(end) {
		end = until
	}
	call, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	silent := make(chan struct{})
	// Most calls end before this, and so before a Close has to end them.
	care := min(s.mayBeSilent(), mayOutliveClose)
	look := time.AfterFunc(care, func() {
		if !s.group.Go(func(ctx context.Context) {
			defer context.AfterFunc(ctx, cancel)()
			if clock.Sleep(call, s.mayBeSilent()-care) && !s.callRoll(ctx, to, others) {
				close(silent)
				cancel()
			}
			<-call.Done()
		}) {
			cancel()
		}
	})
	defer look.Stop()
	answer, err := s.mesh.Call(call, to, method, req)
	if err == nil || ctx.Err() == nil && time.Now().Before(until) {
		s.silence.note(to, err == nil)
	}
	select {
	case <-silent:
		if err != nil {
			err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
		}
	default:
	}
	return answer, err
}

// callRoll asks stores whether they are there, notes those that are silent, and
// tells whether the first one is not.
func (s *Store) callRoll(ctx context.Context, first view.NodeID, others []view.NodeID) (there bool) {
	var all sync.WaitGroup
	for _, id := range others {
		if id != s.id {
			all.Go(func() { s.isThere(ctx, id) })
		}
	}
	there = s.isThere(ctx, first)
	all.Wait()
	return there
}

// isThere waits for any sign of life of a store, and asks for one unless somebody
// else has just done so.
func (s *Store) isThere(ctx context.Context, id view.NodeID) bool {
	heard, first := s.silence.listen(id)
	defer s.silence.endListen(id, heard)
	wait, cancel := context.WithTimeout(ctx, s.mayBeSilent())
	defer cancel()
	if first {
		s.group.Go(func(ctx context.Context) {
			call, cancel := context.WithTimeout(ctx, s.mayBeSilent())
			defer cancel()
			if _, err := s.mesh.Call(call, id, wire.MethodClock, nil); err == nil {
				s.silence.note(id, true)
			}
		})
	}
	select {
	case <-heard:
		return true
	case <-wait.Done():
		if ctx.Err() == nil {
			s.silence.note(id, false)
		}
		return false
	}
}

// doesAnswer tells whether a store answers a short question soon. No other sign of life
// counts: a link may carry what that one says, and nothing of what this one does.
func (s *Store) doesAnswer(ctx context.Context, id view.NodeID) bool {
	call, cancel := context.WithTimeout(ctx, s.cfg.AckTimeout)
	defer cancel()
	_, err := s.mesh.Call(call, id, wire.MethodClock, nil)
	if err == nil || ctx.Err() == nil {
		s.silence.note(id, err == nil)
	}
	return err == nil
}

// coordinators lists the stores to try, those that were silent lately last. A
// node that holds nothing takes any living store when no home lives.
func (s *Store) coordinators(plan replicate.Plan, rt *route) []view.NodeID {
	out := replicate.Route(plan, rt.lead, s.disk != nil)
	if s.disk == nil {
		for _, id := range rt.order[rt.homes:] {
			if len(out) < 4 && plan.Live(id) {
				out = append(out, id)
			}
		}
	}
	if s.silence.any.Load() {
		slices.SortStableFunc(out, func(a, b view.NodeID) int {
			return cmp.Compare(btoi(s.silence.has(a)), btoi(s.silence.has(b)))
		})
	}
	return out
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
