package mesh

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/mesh/view"
)

// What is not on disk is not used: a node whose disk is full learns nothing
// new, works on with what it has, and catches up once there is room.
func TestRosterOnAFullDisk(t *testing.T) {
	bubble(t, 4, func(t *testing.T, w *world) {
		late := w.boxes[3]
		w.boxes = w.boxes[:3]
		w.form(10 * time.Second)
		w.boxes = append(w.boxes, late)
		b := w.boxes[1]
		b.full.Store(true)
		late.start()
		w.eventually(20*time.Second, "the others take the newcomer in", func() bool {
			m, _ := w.boxes[2].node.View().Member(late.node.ID())
			return m.State == view.Alive
		})
		time.Sleep(time.Minute)
		if _, ok := b.node.View().Member(late.node.ID()); ok {
			t.Error("used what could not be written")
		}
		for _, o := range w.boxes[:3] {
			if m, _ := b.node.View().Member(o.node.ID()); m.State != view.Alive {
				t.Errorf("node with a full disk sees %v as %v", m.Name, m.State)
			}
		}
		if err := b.node.Leave(t.Context()); !errors.Is(err, syscall.ENOSPC) || b.node.hasStopped() {
			t.Errorf("Leave with a full disk: %v", err)
		}
		b.full.Store(false)
		w.eventually(time.Minute, "it catches up", func() bool { return w.whole() && w.agreed() })
		b.kill()
		b.full.Store(true)
		if _, err := b.run(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Start with a full disk: %v", err)
		}
	})
}

// Every roster that anybody saw was on disk by then, and bursts are written
// together.
func TestBookWritesBeforeUse(t *testing.T) {
	bubble(t, 0, func(t *testing.T, _ *world) {
		var onDisk sync.Map // by sum
		var writes atomic.Int32
		b := newBook(roster.Roster{}, func(r roster.Roster) error {
			time.Sleep(50 * time.Millisecond)
			onDisk.Store(r.Sum(), true)
			writes.Add(1)
			return nil
		}, func(view.NodeID) bool { return false }, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go b.run(ctx)
		news := b.watch.Watch(ctx)
		<-news
		go func() {
			for s := range news {
				if _, ok := onDisk.Load(s.sum); !ok {
					t.Error("a roster was shown that is not on disk")
				}
			}
		}()
		done := make(chan error)
		for i := range 50 {
			go func() {
				var r roster.Roster
				r, _, _ = r.With(someEntry(view.NodeID(i+1), view.Active))
				err := b.merge(ctx, r)
				if _, ok := b.get().Get(view.NodeID(i + 1)); err == nil && !ok {
					err = errors.New("merged, yet not in use")
				}
				done <- err
			}()
		}
		for range 50 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if n := writes.Load(); n > 3 {
			t.Errorf("50 changes at once cost %d writes", n)
		}
		cancel()
		<-b.closed
		if err := b.merge(t.Context(), b.get().Roster); !errors.Is(err, ErrClosed) {
			t.Errorf("merge after the end: %v, want ErrClosed", err)
		}
	})
}

func TestSeedsByMulticast(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		w.boxes[0].start()
		b := w.boxes[1]
		b.cfg.Seeds, b.cfg.MDNS = nil, true
		s := b.seams()
		found := fixedDiscovery{w.boxes[0].node.Addr()}
		s.mdns = func(*Node) (discovery, error) { return found, nil }
		cfg := b.cfg
		cfg.Network = w.net.Host(b.addr)
		n, err := start(t.Context(), cfg, s)
		if err != nil {
			t.Fatal(err)
		}
		b.node, b.nodes = n, append(b.nodes, n)
		w.eventually(10*time.Second, "nodes meet", w.whole)
	})
}

type fixedDiscovery []netip.AddrPort

func (d fixedDiscovery) find(context.Context) []netip.AddrPort { return d }

func (d fixedDiscovery) close() error { return nil }

// As many changes as members make few views, however large the roster.
func TestViewsOfManyMembersAreFew(t *testing.T) {
	if p := viewPause(50); p != 10*time.Millisecond {
		t.Errorf("a view of 50 members is held back for %v", p)
	}
	if p := viewPause(10_000); p < 100*time.Millisecond || p > time.Second {
		t.Errorf("a view of 10 000 members is held back for %v", p)
	}
}
