package replica

import (
	"context"
	"errors"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
)

// leaveMesh hands everything over before the node leaves for good. It tries
// until ctx ends: what is only here would be lost. A store that is closed cannot hand
// over any more, and keeps the node here.
func (s *Store) leaveMesh(ctx context.Context) error {
	leave, ok := s.gate.Ops.Enter()
	if !ok {
		return ErrClosed
	}
	defer leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Whatever it waits for, closing does not wait for that.
	defer context.AfterFunc(s.group.Context(), cancel)()
	s.gate.Taking.Open()
	for {
		done, err := s.carrier.LeavePass(ctx, s.mesh.View())
		if done {
			return nil
		}
		pause := time.Second
		switch {
		case err != nil:
			s.log.Warn("this node cannot leave yet, it tries again", "error", err)
		case s.gate.Taking.IsShut():
			return nil
		default:
			// From now on nothing more is taken in. What others sent before
			// they knew, and what is under way, goes with one more pass.
			s.gate.Taking.Shut()
			pause = 2 * s.cfg.AckTimeout
		}
		if !clock.Sleep(ctx, pause) || !s.awaitIntake(ctx) {
			s.gate.Taking.Open()
			if s.group.Context().Err() != nil {
				return ErrClosed
			}
			return errors.Join(err, ctx.Err())
		}
	}
}

// awaitIntake waits, once nothing more is taken in, until what was is done with. It tells
// whether ctx goes on.
func (s *Store) awaitIntake(ctx context.Context) bool {
	if !s.gate.Taking.IsShut() {
		return true
	}
	select {
	case <-s.gate.Taking.Empty():
		return true
	case <-ctx.Done():
		return false
	}
}
