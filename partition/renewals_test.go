package partition

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// talk counts what elections ask over the meshes of a world.
type talk struct {
	mu    sync.Mutex
	calls map[string]int
	bytes int
}

func (k *talk) take() (calls map[string]int, bytes int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	calls, bytes = k.calls, k.bytes
	k.calls, k.bytes = map[string]int{}, 0
	return calls, bytes
}

// overheard is a mesh of which all calls are counted, and which serves all methods but one.
type overheard struct {
	Mesh
	talk    *talk
	without string
}

func (m overheard) CallIdempotent(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error) {
	m.talk.mu.Lock()
	m.talk.calls[method]++
	m.talk.bytes += len(req)
	m.talk.mu.Unlock()
	return m.Mesh.CallIdempotent(ctx, to, method, req)
}

func (m overheard) HandleIdempotent(method string, h func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error)) error {
	if method == m.without {
		return nil
	}
	return m.Mesh.HandleIdempotent(method, h)
}

// service is the n-th of many elections.
func service(n int) Election { return Election{Name: fmt.Sprint("service/line-", n)} }

// leadsMany has one box lead n elections.
func (w *world) leadsMany(b *box, n int) {
	w.t.Helper()
	for i := range n {
		s := b.stand(service(i))
		w.t.Cleanup(func() { s.cancel() })
	}
	w.until(20*time.Second, "it leads them all", func() bool { return b.leadsAll(n) })
	time.Sleep(w.boxes[0].part.cfg.Pace.Lease)
}

func (b *box) leadsAll(n int) bool {
	for i := range n {
		if !b.leadsIn(service(i)) {
			return false
		}
	}
	return true
}

// What one node leads is renewed with one packet to each voter, and stays led. A voter of an
// earlier release, which knows no such packets, is asked for each renewal by itself.
func TestRenewalsGoTogether(t *testing.T) {
	t.Parallel()
	const n = 20
	for what, c := range map[string]struct {
		old        int    // boxes of an earlier release
		ask, renew [2]int // calls in 10 s, at least and at most
	}{
		"all":            {0, [2]int{0, 4}, [2]int{36, 50}},
		"one is earlier": {1, [2]int{19 * n, 22*n + 50}, [2]int{19, 30}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			k := &talk{calls: map[string]int{}}
			config := func(i int, cfg *Config) {
				m := overheard{Mesh: cfg.Mesh, talk: k}
				if i >= 3-c.old {
					m.without = methodRenew
				}
				cfg.Mesh, cfg.Observe = m, i != 0
			}
			inWorld(t, 3, lan, config, func(w *world) {
				w.leadsMany(w.boxes[0], n)
				k.take()
				for range 200 {
					time.Sleep(50 * time.Millisecond)
					if !w.boxes[0].leadsAll(n) {
						t.Fatal("a lead is lost while nothing happens")
					}
				}
				calls, bytes := k.take()
				t.Logf("in 10 s: %v, %d bytes of requests", calls, bytes)
				if got := calls[methodAsk]; got < c.ask[0] || got > c.ask[1] {
					t.Errorf("%d are asked for by themselves", got)
				}
				if got := calls[methodRenew]; got < c.renew[0] || got > c.renew[1] {
					t.Errorf("%d messages with renewals", got)
				}
			})
		})
	}
}

// A renewal that waits for a slow disk holds up none that comes with it.
func TestRenewalsWaitForNoDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disks{}
		f := newFakeMesh(3)
		f.call = func(context.Context, view.NodeID, string) ([]byte, error) { return nil, ErrClosed }
		p := f.open(t, func(c *Config) { c.fs, c.Observe = d.of(c.fs), true })
		defer p.Close()
		ask := func(name Election, term uint64) {
			req := wire.AppendElectAsk(nil, wire.ElectAsk{Election: toWire(name), Term: term, Renew: true, Lease: 2 * time.Second})
			b, err := p.elections.serveAsk(t.Context(), 2, req)
			if err != nil {
				t.Fatal(err)
			}
			if ans, err := wire.DecodeElectAnswer(b); err != nil || ans.Reason != 0 {
				t.Fatalf("%+v, %v", ans, err)
			}
		}
		for i := range 3 {
			if _, err := p.elections.openElection(service(i), maxAsked); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * lookSlow) // they have looked around
		for i := range 3 {
			ask(service(i), 4)
		}
		d.sync = 300 * time.Millisecond
		begin := time.Now()
		b, err := p.elections.serveRenewals(t.Context(), 2, wire.AppendElectRenewals(nil, wire.ElectRenewals{Lease: 2 * time.Second, List: []wire.Renewal{
			{Election: toWire(service(0)), Term: 4}, {Election: toWire(service(1)), Term: 5}, {Election: toWire(service(2)), Term: 4},
			{Election: toWire(service(3)), Term: 1}, {Election: toWire(service(0)), Term: 3},
		}}))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := wire.DecodeElectRenewed(b)
		if want := fmt.Sprint([]bool{true, false, true, false, false}); err != nil || fmt.Sprint(answer.Granted) != want {
			t.Errorf("%v instead of %v, %v", answer.Granted, want, err)
		}
		if took := time.Since(begin); took > 0 {
			t.Errorf("it took %v", took)
		}
		ask(service(1), 5) // by itself it waits
		if took := time.Since(begin); took < 250*time.Millisecond {
			t.Errorf("it is granted after %v, on a disk that takes 300 ms", took)
		}
	})
}

// A voter that was started anew joins all that is led by renewals, though it knows of none of
// it at first: then the leader can do without another.
func TestVoterJoinsByRenewals(t *testing.T) {
	t.Parallel()
	const n = 5
	inWorld(t, 3, lan, func(i int, c *Config) { c.Observe = i != 0 }, func(w *world) {
		leader := w.boxes[0]
		w.leadsMany(leader, n)
		w.boxes[2].kill()
		w.boxes[2].start()
		w.until(time.Minute, "all see all again", w.whole)
		time.Sleep(lan.pace.Settle + 2*lan.pace.Lease)
		w.net.Silence(w.boxes[1].addr)
		for range 100 {
			time.Sleep(50 * time.Millisecond)
			if !leader.leadsAll(n) {
				t.Fatal("a lead is lost with a voter that was started anew")
			}
		}
	})
}
