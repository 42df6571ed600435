package peering

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// pass lets virtual time go on, and all that is due then.
func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

// callerFunc is a mesh.
type callerFunc func(ctx context.Context, to view.NodeID, method string) ([]byte, error)

func (f callerFunc) Call(ctx context.Context, to view.NodeID, method string, _ []byte) ([]byte, error) {
	return f(ctx, to, method)
}

// withPeers runs f, in virtual time, at node 1, whose AckTimeout is a second.
func withPeers(t *testing.T, call callerFunc, f func(t *testing.T, p *Peers)) {
	synctest.Test(t, func(t *testing.T) {
		group, begun := lifecycle.NewGroup(context.Background()), time.Now()
		defer group.Close()
		f(t, NewPeers(Options{
			Self: 1, Mesh: call, Group: group, Patience: 1e9,
			Boot: func() time.Duration { return time.Since(begun) },
		}))
	})
}

// hang waits for an answer that never comes.
func hang(ctx context.Context) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }

// One call to a silent store finds out, within AckTimeout, who else is silent of those
// that could be turned to.
func TestSilentOnesAreFoundTogether(t *testing.T) {
	withPeers(t, func(ctx context.Context, to view.NodeID, _ string) ([]byte, error) {
		if to < 4 {
			return hang(ctx)
		}
		return nil, nil
	}, func(t *testing.T, p *Peers) {
		begun := time.Now()
		_, err := p.Ask(t.Context(), 2, "put", nil, begun.Add(time.Minute), []view.NodeID{1, 3, 4})
		if took := time.Since(begun); !errors.Is(err, context.DeadlineExceeded) || took > time.Second {
			t.Errorf("%v after %v", err, took)
		}
		for id, want := range map[view.NodeID]bool{1: false, 2: true, 3: true, 4: false} {
			if p.Silence.Has(id) != want {
				t.Errorf("node %v is silent: %v", id, !want)
			}
		}
		if rest := p.Silence.Without([]view.NodeID{2, 3, 4}, begun); len(rest) != 1 || rest[0] != 4 {
			t.Errorf("left to turn to: %v", rest)
		}
	})
}

// A store that is at work and says that it is there has twice AckTimeout.
func TestBusyStoreHasMoreTime(t *testing.T) {
	withPeers(t, func(ctx context.Context, _ view.NodeID, method string) ([]byte, error) {
		if method == wire.MethodClock {
			return nil, nil
		}
		time.Sleep(1900 * time.Millisecond)
		return []byte("done"), ctx.Err()
	}, func(t *testing.T, p *Peers) {
		answer, err := p.Ask(t.Context(), 2, "put", nil, time.Now().Add(time.Minute), nil)
		if err != nil || string(answer) != "done" || p.Silence.Has(2) {
			t.Errorf("%q, %v, silent %v", answer, err, p.Silence.Has(2))
		}
	})
}

// When the store closes, a call ends within a second, whoever is silent.
// A store that reads much for long, or cannot, is there for everything else.
func TestBulkSaysNothingOfAStore(t *testing.T) {
	refused := errors.New("refused")
	withPeers(t, func(ctx context.Context, to view.NodeID, method string) ([]byte, error) {
		switch {
		case method == "bulk" && to == 4:
			return nil, refused
		case method == "bulk" || to == 3:
			return hang(ctx)
		}
		return nil, nil
	}, func(t *testing.T, p *Peers) {
		for id, silent := range map[view.NodeID]bool{2: false, 3: true, 4: false} {
			_, err := p.AskBulk(t.Context(), id, "bulk", nil, time.Now().Add(time.Minute), nil)
			if err == nil || p.Silence.Has(id) != silent {
				t.Errorf("node %v counts as silent: %v, %v", id, !silent, err)
			}
		}
	})
}

func TestCallEndsWithItsOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		group := lifecycle.NewGroup(context.Background())
		p := NewPeers(Options{
			Self: 1, Group: group, Patience: 60e9, Boot: func() time.Duration { return 0 },
			Mesh: callerFunc(func(ctx context.Context, _ view.NodeID, _ string) ([]byte, error) { return hang(ctx) }),
		})
		ended := make(chan error, 1)
		go func() {
			_, err := p.Ask(context.Background(), 2, "put", nil, time.Now().Add(time.Hour), nil)
			ended <- err
		}()
		pass(5 * time.Second)
		begun := time.Now()
		group.Close()
		if err := <-ended; err == nil || time.Since(begun) > mayOutliveClose {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

// A deadline is made from the peer's own reading, which is asked for once, and only
// the run that it was made for heeds it.
func TestDeadlines(t *testing.T) {
	asked := 0
	var theirs Deadlines
	withPeers(t, func(context.Context, view.NodeID, string) ([]byte, error) {
		asked++
		return wire.AppendPutReply(nil, &wire.PutReply{Clock: theirs.Reading()}), nil
	}, func(t *testing.T, p *Peers) {
		begun := time.Now()
		theirs = Deadlines{opening: 77, readBoot: func() time.Duration { return time.Hour + time.Since(begun) }}
		next := func() wire.Clock {
			c, err := p.Deadlines.Make(t.Context(), 2, 300*time.Millisecond, time.Now().Add(time.Second), nil)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		c := next()
		if at, err := theirs.Read(c); err != nil || at != time.Hour+300*time.Millisecond {
			t.Errorf("%v, %v", at, err)
		}
		pass(FreshClock / 2)
		if at, err := theirs.Read(next()); err != nil || at > time.Hour+FreshClock/2+300*time.Millisecond || asked != 1 {
			t.Errorf("%v, %v, asked %d times", at, err, asked)
		}
		pass(FreshClock)
		if next(); asked != 2 {
			t.Errorf("a reading of %v ago is good enough", 3*FreshClock/2)
		}
		// Our clock has gone on while this machine slept, and who knows what theirs did.
		p.Deadlines.readBoot = func() time.Duration { return 10*time.Hour + time.Since(begun) }
		pass(roughClock + 1)
		if at, err := theirs.Read(next()); err != nil || at > time.Hour+time.Since(begun)+300*time.Millisecond {
			t.Errorf("%v later than meant", at-time.Hour-time.Since(begun)-300*time.Millisecond)
		}
		theirs.opening++
		if _, err := theirs.Read(c); !errors.Is(err, ErrLate) {
			t.Errorf("another run: %v", err)
		}
	})
}
