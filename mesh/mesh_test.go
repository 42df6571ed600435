package mesh

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// bubble runs a test in virtual time.
func bubble(t *testing.T, boxes int, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, boxes)
		defer w.close()
		test(t, w)
	})
}

// silence takes the power off a box.
func (b *box) silence() view.NodeID {
	id := b.node.ID()
	b.w.net.Silence(b.addr)
	b.node = nil
	return id
}

func TestFiveNodes(t *testing.T) {
	bubble(t, 5, func(t *testing.T, w *world) {
		t.Logf("formed after %v", w.form(10*time.Second))
		for _, b := range w.boxes {
			if err := b.node.Ready(t.Context()); err != nil {
				t.Errorf("box %d is not ready: %v", b.n, err)
			}
		}
		time.Sleep(time.Minute)
		if !w.whole() {
			t.Fatal("the mesh fell apart by itself")
		}
		id := w.boxes[4].silence()
		took := w.eventually(8*time.Second, "silent node is failed by all", func() bool { return w.everySees(id, view.Failed) })
		t.Logf("failed by the last after %v", took)
	})
}

func TestKilledProcessIsSuspectedAtOnce(t *testing.T) {
	bubble(t, 5, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		time.Sleep(30 * time.Second)
		b := w.boxes[2]
		id := b.node.ID()
		var peers []*Node
		for _, n := range w.running() {
			if n.ID() == id {
				continue
			}
			peers = append(peers, n)
			// A data peer is one that has asked for something of late.
			if _, err := n.Call(t.Context(), id, "test/unknown", nil); !errors.Is(err, ErrNoHandler) {
				t.Fatalf("call of an unknown method: %v", err)
			}
		}
		begin := time.Now()
		w.net.Kill(b.addr)
		b.node = nil
		w.eventually(500*time.Millisecond, "data peers suspect the killed node", func() bool {
			for _, n := range peers {
				if m, _ := n.View().Member(id); m.State != view.Suspect && m.State != view.Failed {
					return false
				}
			}
			return true
		})
		t.Logf("%d data peers suspected it after %v", len(peers), time.Since(begin))
	})
}

func TestTenMinuteCutHeals(t *testing.T) {
	t.Parallel()
	bubble(t, 5, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		a := []netip.Addr{w.boxes[0].addr, w.boxes[1].addr, w.boxes[2].addr}
		b := []netip.Addr{w.boxes[3].addr, w.boxes[4].addr}
		w.net.Partition(a, b)
		w.eventually(20*time.Second, "both sides see the cut", func() bool {
			return w.boxes[0].node.View().Count(view.Alive) == 3 && w.boxes[4].node.View().Count(view.Alive) == 2
		})
		time.Sleep(10 * time.Minute)
		w.net.HealAll()
		t.Logf("whole after %v", w.eventually(30*time.Second, "mesh heals", w.whole))
	})
}

// After a cut TCP tries again when about as much time has passed once more. Whoever
// sees a member again can call it all the same.
func TestCallsGoOnAfterACut(t *testing.T) {
	t.Parallel()
	bubble(t, 5, func(t *testing.T, w *world) {
		w.net.Backoff(true)
		w.form(10 * time.Second)
		call := func(from, to *box, d time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			_, err := from.node.Call(ctx, to.node.ID(), "echo", nil)
			return err
		}
		a, b := w.boxes[:3], w.boxes[3:]
		across := func(d time.Duration) (failed []error) {
			for _, x := range a {
				for _, y := range b {
					failed = append(failed, call(x, y, d), call(y, x, d))
				}
			}
			return slices.DeleteFunc(failed, func(err error) bool { return err == nil })
		}
		for _, b := range w.boxes {
			echo := func(_ context.Context, _ view.NodeID, req []byte) ([]byte, error) { return req, nil }
			if err := b.node.Handle("echo", echo); err != nil {
				t.Fatal(err)
			}
		}
		if failed := across(time.Second); len(failed) > 0 {
			t.Fatal(failed)
		}
		for _, d := range []time.Duration{10 * time.Second, 13 * time.Second, 20 * time.Second, 26 * time.Second} {
			w.net.Partition([]netip.Addr{a[0].addr, a[1].addr, a[2].addr}, []netip.Addr{b[0].addr, b[1].addr})
			begin := time.Now()
			if failed := across(500 * time.Millisecond); len(failed) != 12 {
				t.Errorf("%d of 12 calls through a cut fail", len(failed))
			}
			time.Sleep(d - time.Since(begin))
			w.net.HealAll()
			w.eventually(30*time.Second, "mesh heals", w.whole)
			time.Sleep(100 * time.Millisecond)
			if failed := across(100 * time.Millisecond); len(failed) > 0 {
				t.Errorf("after a cut of %v %d of 12 calls fail when all see all: %v", d, len(failed), failed)
			}
		}
	})
}

func TestNodeAloneIsReady(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		b := w.boxes[0]
		b.cfg.Seeds = []string{"10.9.9.9:7800", "nowhere.example:7800"}
		n := b.start()
		begin := time.Now()
		if err := n.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("ready only after %v", took)
		}
		if v := n.View(); len(v.Members) != 1 || v.Members[0].State != view.Alive || v.Self != n.ID() || v.Mesh != n.Mesh() {
			t.Errorf("view of a node alone: %+v", v)
		}
	})
}

func TestRestartKeepsIdentity(t *testing.T) {
	bubble(t, 3, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		b := w.boxes[1]
		id := b.node.ID()
		b.kill()
		time.Sleep(time.Second)
		b.start()
		if b.node.ID() != id {
			t.Fatalf("restarted as %v, was %v", b.node.ID(), id)
		}
		t.Logf("whole after %v", w.eventually(10*time.Second, "restarted node is back", func() bool { return w.whole() && w.agreed() }))
		if m, _ := w.boxes[0].node.View().Member(id); m.Boot != 2 {
			t.Errorf("boot is %d in the view of another, want 2", m.Boot)
		}
		// Without a word of anybody else, from its own disk.
		for _, b := range w.boxes {
			b.kill()
		}
		time.Sleep(time.Hour)
		for _, b := range w.boxes {
			b.cfg.Seeds = nil
		}
		w.startAll()
		t.Logf("whole after %v", w.eventually(15*time.Second, "mesh is found by address book", func() bool { return w.whole() && w.agreed() }))
	})
}

func TestAddressChange(t *testing.T) {
	bubble(t, 5, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		b := w.boxes[3]
		id := b.node.ID()
		b.kill()
		b.addr = netip.MustParseAddr("10.7.7.7")
		b.cfg.Listen = "10.7.7.7:9000"
		b.start()
		took := w.eventually(10*time.Second, "moved node is met at its new address", func() bool {
			for _, n := range w.running() {
				if m, _ := n.View().Member(id); m.Addr.String() != "10.7.7.7:9000" {
					return false
				}
			}
			return w.whole() && w.agreed()
		})
		t.Logf("whole after %v", took)
		time.Sleep(time.Minute)
		if !w.whole() {
			t.Error("the moved node was lost again")
		}
	})
}

func TestIPv6(t *testing.T) {
	bubble(t, 0, func(t *testing.T, w *world) {
		for _, a := range []string{"fd00::1", "fd00::2", "2001:db8::3"} {
			b := w.add(netip.MustParseAddr(a))
			b.cfg.Seeds = []string{"[fd00::1]:7800"}
		}
		w.form(10 * time.Second)
		id := w.boxes[2].silence()
		w.eventually(8*time.Second, "silent node is failed", func() bool { return w.everySees(id, view.Failed) })
	})
}

func TestWrongSecretNeverMerges(t *testing.T) {
	bubble(t, 4, func(t *testing.T, w *world) {
		secret := append([]byte(nil), testSecret...)
		secret[0] ^= 1
		w.boxes[2].cfg.Secret = secret
		w.boxes[3].cfg.MeshName = "another"
		w.startAll()
		time.Sleep(2 * time.Minute)
		for i, want := range []int{2, 2, 1, 1} {
			if got := len(w.boxes[i].node.View().Members); got != want {
				t.Errorf("box %d knows %d members, want %d", i, got, want)
			}
		}
	})
}

func TestFreshIslandsMerge(t *testing.T) {
	t.Parallel()
	bubble(t, 4, func(t *testing.T, w *world) {
		for i, b := range w.boxes {
			b.cfg.Seeds = []string{w.boxes[i/2*2].cfg.Listen}
		}
		w.boxes[3].cfg.Seeds = append(w.boxes[3].cfg.Seeds, w.boxes[0].cfg.Listen)
		a := []netip.Addr{w.boxes[0].addr, w.boxes[1].addr}
		b := []netip.Addr{w.boxes[2].addr, w.boxes[3].addr}
		w.net.Partition(a, b)
		w.startAll()
		time.Sleep(5 * time.Minute)
		for _, n := range w.running() {
			if got := len(n.View().Members); got != 2 {
				t.Fatalf("an island has %d members", got)
			}
		}
		w.net.HealAll()
		// One node in four looks for the seed: every 2 minutes on average.
		t.Logf("one mesh after %v", w.eventually(15*time.Minute, "islands merge", func() bool { return w.whole() && w.agreed() }))
	})
}

func TestSeedsAreLookedUpAfresh(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		w.boxes[0].start()
		b := w.boxes[1]
		b.cfg.Seeds = []string{"gateway.example:7800"}
		var dns atomic.Value
		dns.Store(netip.MustParseAddr("10.9.9.9"))
		s := b.seams()
		s.lookup = func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{dns.Load().(netip.Addr)}, nil
		}
		cfg := b.cfg
		cfg.Network = w.net.Host(b.addr)
		n, err := startNode(t.Context(), cfg, s)
		if err != nil {
			t.Fatal(err)
		}
		b.node, b.nodes = n, append(b.nodes, n)
		time.Sleep(time.Minute)
		if len(n.View().Members) != 1 {
			t.Fatal("met somebody at the old address")
		}
		dns.Store(w.boxes[0].addr)
		w.eventually(time.Minute, "seed is found at its new address", w.whole)
	})
}
