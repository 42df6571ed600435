package mesh

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

func confirm(t *testing.T, n *Node, id view.NodeID) view.Witnesses {
	t.Helper()
	begin := time.Now()
	w, err := n.Confirm(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > n.pace.dial {
		t.Errorf("took %v", took)
	}
	return w
}

// cut cuts the link between two boxes, one way or both.
func (w *world) cut(a, b *box, both bool) {
	w.net.Cut(a.addr, b.addr)
	if both {
		w.net.Cut(b.addr, a.addr)
	}
}

// One node does not reach a member, others do: it lives. It is listed as
// unreachable as long as that lasts.
func TestConfirmOfABrokenLink(t *testing.T) {
	for name, both := range map[string]bool{"one way": false, "both ways": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, 5, func(t *testing.T, w *world) {
				w.form(10 * time.Second)
				time.Sleep(30 * time.Second)
				here, there := w.boxes[0], w.boxes[4]
				x := there.node.ID()
				seen := func(b *box) view.Member { m, _ := b.node.View().Member(x); return m }
				w.cut(here, there, both)
				_, _ = here.node.Call(t.Context(), x, "anything", nil)
				w.eventually(time.Minute, "it is listed as unreachable", func() bool { return seen(here).Unreachable })
				if m := seen(w.boxes[1]); m.Unreachable || m.State != view.Alive {
					t.Errorf("a node that reaches it has it as %v, unreachable %v", m.State, m.Unreachable)
				}
				for range 10 { // whoever is drawn
					got := confirm(t, here.node, x)
					if got.Confirmed || got.Reached != 2 || got.Failed != 1 || got.Need != 3 || len(got.By) != 2 || slices.Contains(got.By, here.node.ID()) {
						t.Fatalf("witnesses of one broken link: %+v", got)
					}
				}
				if got := confirm(t, w.boxes[1].node, x); got.Confirmed || got.Reached < 2 || !slices.Contains(got.By, w.boxes[1].node.ID()) {
					t.Errorf("asked by one that reaches it: %+v", got)
				}
				w.net.HealAll()
				w.eventually(time.Minute, "it is reached again", func() bool { return !seen(here).Unreachable && seen(here).State == view.Alive })
			})
		})
	}
}

// All fail to reach one that was killed, at once and for as long as it is down.
func TestConfirmOfAKilledNode(t *testing.T) {
	bubble(t, 5, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		time.Sleep(30 * time.Second)
		x := w.boxes[4].node.ID()
		if got := confirm(t, w.boxes[0].node, x); got.Confirmed || got.Reached != 3 || got.Asked != 3 {
			t.Errorf("while it lives: %+v", got)
		}
		time.Sleep(10 * time.Second) // what was heard of it before proves nothing any more
		w.boxes[4].kill()
		// At once is when what it has sent has arrived: that is heard from it.
		for _, wait := range []time.Duration{100 * time.Millisecond, time.Minute, time.Hour} {
			time.Sleep(wait)
			for _, n := range w.running() {
				if got := confirm(t, n, x); !got.Confirmed || got.Failed != 3 || got.Need != 3 || got.Reached != 0 || got.By != nil {
					t.Errorf("%v after it was killed: %+v", wait, got)
				}
			}
		}
		w.boxes[3].kill()
		w.boxes[2].kill()
		w.eventually(10*time.Second, "three are down", func() bool { return w.boxes[0].node.View().Count(view.Alive) == 2 })
		if got := confirm(t, w.boxes[0].node, x); !got.Confirmed || got.Failed != 2 || got.Need != 2 {
			t.Errorf("two are left: %+v", got)
		}
		w.boxes[4].start()
		w.eventually(time.Minute, "it is back", func() bool { return w.everySees(x, view.Alive) })
		if got := confirm(t, w.boxes[0].node, x); got.Confirmed || got.Reached != 2 {
			t.Errorf("after its return: %+v", got)
		}
	})
}

// What a node remembers of a member does not stand for its own attempt: one that
// is back is found by whoever asks.
func TestConfirmTriesItself(t *testing.T) {
	bubble(t, 3, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		n, x := w.boxes[0].node, w.boxes[2].node.ID()
		w.net.Silence(w.boxes[2].addr)
		w.eventually(time.Minute, "it is given up", func() bool { return w.everySees(x, view.Failed) })
		w.net.Restore(w.boxes[2].addr)
		if m, _ := n.View().Member(x); m.State != view.Failed {
			t.Fatalf("it is %v before anybody could try", m.State)
		}
		if got := confirm(t, n, x); got.Confirmed || !slices.Contains(got.By, n.ID()) {
			t.Errorf("it is back: %+v", got)
		}
		w.eventually(time.Second, "the attempt counts as a sign of life", func() bool {
			m, _ := n.View().Member(x)
			return m.State == view.Alive
		})
	})
}

func TestReachOfAnAttempt(t *testing.T) {
	refused := fmt.Errorf("hello: %w", &link.RefusedError{})
	for _, c := range []struct {
		err     error
		hadTime bool
		want    wire.Reach
	}{
		{nil, true, wire.Reached},
		{nil, false, wire.Reached},
		{refused, true, wire.Reached},
		{refused, false, wire.Reached},
		{link.ErrNotAccepted, true, wire.Reached},
		{link.ErrUnreachable, true, wire.NotReached},
		{link.ErrUnreachable, false, wire.ReachUnknown},
		{context.DeadlineExceeded, false, wire.ReachUnknown},
		{link.ErrClosed, true, wire.ReachUnknown},
		{link.ErrUnknownPeer, true, wire.ReachUnknown},
	} {
		if got := reachOf(c.err, c.hadTime); got != c.want {
			t.Errorf("%v, had time: %v: got %v, want %v", c.err, c.hadTime, got, c.want)
		}
	}
}

func TestConfirmRefuses(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		a, b := w.boxes[0].node, w.boxes[1].node.ID()
		if _, err := a.Confirm(t.Context(), 12345); !errors.Is(err, ErrNoMember) {
			t.Errorf("a stranger: %v", err)
		}
		if _, err := a.Confirm(t.Context(), a.ID()); !errors.Is(err, ErrInContact) {
			t.Errorf("itself: %v", err)
		}
		w.boxes[1].silence()
		w.eventually(time.Minute, "it is given up", func() bool { return w.everySees(b, view.Failed) })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if got, err := a.Confirm(ctx, b); got.Failed != 0 || err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an attempt that had no time counts: %+v, %v", got, err)
		}
		<-ctx.Done()
		if _, err := a.Confirm(ctx, b); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after the deadline: %v", err)
		}
		if err := a.Evict(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		w.eventually(time.Second, "it is gone", func() bool { m, _ := a.View().Member(b); return m.Status == view.Evicted })
		if _, err := a.Confirm(t.Context(), b); !errors.Is(err, ErrNoMember) {
			t.Errorf("one that was evicted: %v", err)
		}
		done := make(chan error, 1)
		go func() { _, err := a.Confirm(t.Context(), b); done <- err }()
		_ = a.Close()
		<-done
		if _, err := a.Confirm(t.Context(), b); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func askReach(t *testing.T, from, to *Node, ids ...view.NodeID) ([]wire.Reach, error) {
	t.Helper()
	slices.Sort(ids)
	b, err := from.Call(t.Context(), to.ID(), methodReach, wire.AppendReachQuery(nil, wire.ReachQuery{IDs: ids}))
	if err != nil {
		return nil, err
	}
	r, err := wire.DecodeReachReply(b)
	if err != nil || len(r.Reach) != len(ids) {
		t.Fatalf("%v, %v", r, err)
	}
	return r.Reach, nil
}

// A node answers what it knows first hand, probes what it does not know, and is
// not to be kept busy by that.
func TestReach(t *testing.T) {
	bubble(t, 4, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		time.Sleep(30 * time.Second)
		a, b, c, d := w.boxes[0].node, w.boxes[1].node, w.boxes[2].node, w.boxes[3].node.ID()
		w.boxes[3].silence()
		want := map[view.NodeID]wire.Reach{a.ID(): wire.Reached, b.ID(): wire.Reached, c.ID(): wire.Reached, d: wire.NotReached, 77: wire.ReachUnknown}
		ids := []view.NodeID{a.ID(), b.ID(), c.ID(), d, 77}
		check := func(what string) {
			t.Helper()
			got, err := askReach(t, a, b, ids...)
			if err != nil {
				t.Fatal(err)
			}
			for i, id := range slices.Sorted(slices.Values(ids)) {
				if got[i] != want[id] {
					t.Errorf("%s: says %v of %v, want %v", what, got[i], id, want[id])
				}
			}
		}
		check("before it knows that one is down")
		w.eventually(time.Minute, "it is given up", func() bool { return w.everySees(d, view.Failed) })

		for range maxProbes - 1 {
			b.prober.slots <- struct{}{}
		}
		time.Sleep(time.Minute)
		check("with room for one probe")
		b.prober.slots <- struct{}{}
		time.Sleep(time.Minute)
		if got, err := askReach(t, a, b, c.ID()); !errors.Is(err, ErrOverloaded) {
			t.Errorf("with no room for probes: %v, %v", got, err)
		}
		if got, err := askReach(t, a, b, d); err != nil || got[0] != wire.NotReached {
			t.Errorf("what takes no probe: %v, %v", got, err)
		}
		for range maxProbes {
			select {
			case <-b.prober.slots:
			default:
				t.Error("gave back room that it had not taken")
			}
		}
		var many []view.NodeID
		for id := range view.NodeID(wire.MaxReach + 1) {
			many = append(many, id+1)
		}
		if _, err := askReach(t, a, b, many...); err == nil {
			t.Error("answers about more members than it should")
		}
	})
}

func TestCountOfWitnesses(t *testing.T) {
	no, yes := wire.NotReached, wire.Reached
	late, old := context.DeadlineExceeded, ErrNoHandler
	for _, c := range []struct {
		what  string
		need  int
		heard []testimony
		want  view.Witnesses
	}{
		{"all fail", 3, []testimony{{1, no, nil}, {2, no, nil}, {3, no, nil}}, view.Witnesses{Need: 3, Asked: 3, Failed: 3, Confirmed: true}},
		{"one reaches it", 3, []testimony{{1, no, nil}, {3, yes, nil}, {2, yes, nil}}, view.Witnesses{Need: 3, Asked: 3, Failed: 1, Reached: 2, By: []view.NodeID{2, 3}}},
		{"one is silent", 3, []testimony{{1, no, nil}, {2, no, nil}, {3, 0, late}}, view.Witnesses{Need: 3, Asked: 3, Failed: 2}},
		{"one does not know the question", 3, []testimony{{1, no, nil}, {2, no, nil}, {3, 0, old}}, view.Witnesses{Need: 3, Asked: 2, Failed: 2}},
		{"one cannot say", 2, []testimony{{1, no, nil}, {2, wire.ReachUnknown, nil}}, view.Witnesses{Need: 2, Asked: 2, Failed: 1}},
		{"this one could not try", 2, []testimony{{1, wire.ReachUnknown, nil}, {2, no, nil}}, view.Witnesses{Need: 2, Asked: 2, Failed: 1}},
		{"alone", 1, []testimony{{1, no, nil}}, view.Witnesses{Need: 1, Asked: 1, Failed: 1, Confirmed: true}},
	} {
		if got := countWitnesses(c.need, c.heard); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.what, got, c.want)
		}
	}
}
