package mesh

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/golden"
	"github.com/skeinmesh/skein/mesh/view"
)

func TestJSONOfAnswers(t *testing.T) {
	golden.CheckJSON(t, "answer", Answer{From: 1<<63 + 1, Payload: []byte("81 degrees")})
}

// handleName has a node answer with its name.
func (w *world) handleName(n *Node) {
	w.t.Helper()
	if err := n.Handle("name", func(_ context.Context, _ view.NodeID, req []byte) ([]byte, error) {
		return append(req, n.Name()...), nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

// All in contact are asked, and each has a pair, whatever is the matter with it: without a
// handler, silent, reached by others only. Who is failed is not asked.
func TestRequestAsksAll(t *testing.T) {
	bubble(t, 6, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		asker, bare, third, silent := w.boxes[0], w.boxes[1], w.boxes[2], w.boxes[3]
		for _, b := range []*box{asker, third, w.boxes[4], w.boxes[5]} {
			w.handleName(b.node)
		}
		if err := silent.node.Handle("name", func(ctx context.Context, _ view.NodeID, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}); err != nil {
			t.Fatal(err)
		}
		w.net.Cut(asker.addr, third.addr)
		w.net.Cut(third.addr, asker.addr)
		w.eventually(time.Minute, "a member is reached by others only", func() bool {
			m, _ := asker.node.View().Member(third.node.ID())
			return m.Unreachable && m.State == view.Suspect
		})
		failed := w.boxes[5].silence()
		w.eventually(time.Minute, "a member is failed", func() bool {
			m, _ := asker.node.View().Member(failed)
			return m.State == view.Failed
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		got := map[view.NodeID]error{}
		begin := time.Now()
		for a, err := range asker.node.Request(ctx, "name", []byte("I am ")) {
			if _, twice := got[a.From]; twice {
				t.Errorf("%v has two pairs", a.From)
			}
			if got[a.From] = err; err == nil {
				n, _ := asker.node.View().Member(a.From)
				if string(a.Payload) != "I am "+n.Name {
					t.Errorf("%s says %q", n.Name, a.Payload)
				}
			}
		}
		for b, want := range map[*box]error{asker: nil, bare: ErrNoHandler, third: ErrUnreachable, silent: context.DeadlineExceeded, w.boxes[4]: nil} {
			if err, asked := got[b.node.ID()]; !asked || !errors.Is(err, want) {
				t.Errorf("box %d: asked %v, %v, want %v", b.n, asked, err, want)
			}
		}
		if len(got) != 5 || time.Since(begin) > 11*time.Second {
			t.Errorf("%d were asked in %v", len(got), time.Since(begin))
		}
	})
}

// Silent nodes hold up the others for a moment, however many they are, and answer yet.
func TestRequestGoesPastTheSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const patience, silence = 3 * time.Second, time.Minute
		members := make([]view.Member, 3*maxAtATime)
		for i := range members {
			members[i].ID = view.NodeID(i)
		}
		begin, quick, slow := time.Now(), 0, 0
		askAll(t.Context(), members, patience, func(a Answer, err error) bool {
			switch took := time.Since(begin); {
			case err != nil:
				t.Errorf("%v: %v", a.From, err)
			case int(a.From) < 2*maxAtATime:
				slow++
			case took > 2*patience:
				t.Errorf("%v was asked or heard after %v", a.From, took)
			default:
				quick++
			}
			return true
		}, func(ctx context.Context, m view.Member) ([]byte, error) {
			if int(m.ID) < 2*maxAtATime {
				time.Sleep(silence)
			}
			return nil, nil
		})
		if quick != maxAtATime || slow != 2*maxAtATime || time.Since(begin) > silence+2*patience {
			t.Errorf("%d quick and %d slow answers within %v", quick, slow, time.Since(begin))
		}
	})
}

// What was not consumed yet keeps its place: answers do not pile up.
func TestRequestDoesNotFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		consumed := 0
		askAll(t.Context(), make([]view.Member, 4*maxAtATime), time.Second, func(Answer, error) bool {
			consumed++
			time.Sleep(time.Minute)
			synctest.Wait()
			if ahead := int(asked.Load()) - consumed; ahead > maxAtATime {
				t.Errorf("%d answers wait to be consumed", ahead)
			}
			return consumed < 2*maxAtATime
		}, func(context.Context, view.Member) ([]byte, error) {
			asked.Add(1)
			return nil, nil
		})
	})
}

// ctx bounds the wait for the asker's own answer too, and a handler that wants what the
// loop holds ends with the loop.
func TestRequestOfSelfIsBounded(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		n := w.boxes[0].node
		held := make(chan struct{}, 1) // a lock
		ran := make(chan struct{})
		if err := n.Handle("locked", func(context.Context, view.NodeID, []byte) ([]byte, error) {
			held <- struct{}{}
			close(ran)
			return nil, nil
		}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		held <- struct{}{}
		free := time.AfterFunc(time.Minute, func() { <-held })
		for a, err := range n.Request(ctx, "locked", nil) {
			if a.From != n.ID() || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the own pair is %v, %v", a.From, err)
			}
		}
		if free.Stop() {
			<-held
		}
		<-ran
	})
}

// Close breaks off a call of a node to itself whose caller holds what the handler wants.
func TestCloseEndsCallsOfSelf(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		n := w.boxes[0].node
		held, begun, result := make(chan struct{}, 1), make(chan struct{}), make(chan error)
		if err := n.Handle("locked", func(ctx context.Context, _ view.NodeID, _ []byte) ([]byte, error) {
			close(begun)
			<-ctx.Done() // the node stops
			held <- struct{}{}
			return nil, nil
		}); err != nil {
			t.Fatal(err)
		}
		held <- struct{}{}
		go func() {
			_, err := n.Call(context.Background(), n.ID(), "locked", nil)
			<-held
			result <- err
		}()
		<-begun
		closed := make(chan error)
		go func() { closed <- n.Close() }()
		if err := <-result; !errors.Is(err, ErrClosed) {
			t.Errorf("the call ends with %v", err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

// Who leaves the loop leaves no call behind, and no more than so many are asked at a time.
func TestRequestIsLeft(t *testing.T) {
	bubble(t, 3, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		var running atomic.Int32
		for _, b := range w.boxes[1:] {
			if err := b.node.Handle("wait", func(ctx context.Context, _ view.NodeID, _ []byte) ([]byte, error) {
				running.Add(1)
				defer running.Add(-1)
				<-ctx.Done()
				return nil, ctx.Err()
			}); err != nil {
				t.Fatal(err)
			}
		}
		n := w.boxes[0].node
		for a, err := range n.Request(t.Context(), "wait", nil) {
			if a.From != n.ID() || !errors.Is(err, ErrNoHandler) {
				t.Errorf("the first pair is %v, %v", a.From, err)
			}
			w.eventually(5*time.Second, "the others are asked", func() bool { return running.Load() == 2 })
			break
		}
		w.eventually(5*time.Second, "nothing goes on", func() bool { return running.Load() == 0 })
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		for a, err := range n.Request(t.Context(), "wait", nil) {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("after Close %v, %v", a.From, err)
			}
		}
	})
}
