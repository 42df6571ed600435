package mesh

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// These tests use the host's network and disk.

func realConfig(t *testing.T, name string, seeds ...string) Config {
	return Config{
		Dir: filepath.Join(t.TempDir(), name), Secret: testSecret, Name: name, Storing: true,
		Listen: "127.0.0.1:0", Seeds: seeds,
	}
}

func within(t *testing.T, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !cond(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		runtime.Gosched()
		time.Sleep(5 * time.Millisecond)
	}
}

func sees(n *Node, id view.NodeID, s view.State) func() bool {
	return func() bool {
		m, _ := n.View().Member(id)
		return m.State == s
	}
}

func TestRealNodesMeet(t *testing.T) {
	a, err := Start(t.Context(), realConfig(t, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Close() }()
	b, err := Start(t.Context(), realConfig(t, "b", a.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	if err := b.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "both see both", func() bool {
		return sees(a, b.ID(), view.Alive)() && sees(b, a.ID(), view.Alive)()
	})
	ctx, cancel := context.WithCancel(t.Context())
	views := a.Watch(ctx)
	<-views
	if err := b.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	for v := range views {
		if m, _ := v.Member(b.ID()); m.State == view.Departed {
			break
		}
	}
	cancel()
	within(t, 10*time.Second, "the channel of Watch is closed", func() bool {
		_, open := <-views
		return !open
	})
}

func TestStartRefusals(t *testing.T) {
	cfg := realConfig(t, "a")
	a, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Close() }()
	if _, err := Start(t.Context(), cfg); !errors.Is(err, ErrLocked) {
		t.Errorf("the same directory: %v, want ErrLocked", err)
	}
	taken := realConfig(t, "b")
	taken.Listen = a.Addr().String()
	if _, err := Start(t.Context(), taken); !errors.Is(err, ErrPortTaken) {
		t.Errorf("the same port: %v, want ErrPortTaken", err)
	}
	taken.Listen = "127.0.0.1:0"
	b, err := Start(t.Context(), taken)
	if err != nil {
		t.Fatalf("after a failed start: %v", err)
	}
	if err := errors.Join(b.Close(), b.Close()); err != nil {
		t.Error(err)
	}
	if err := b.Ready(t.Context()); !errors.Is(err, ErrClosed) || b.Err() != nil {
		t.Errorf("after Close: Ready=%v, Err=%v", err, b.Err())
	}
}

func TestListensEverywhere(t *testing.T) {
	cfg := realConfig(t, "a")
	cfg.Listen = ":0"
	n, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Close() }()
	if a := n.Addr(); !a.IsValid() || a.Addr().IsUnspecified() || a.Port() == 0 {
		t.Errorf("makes itself known at %v", a)
	}
	cfg = realConfig(t, "b")
	cfg.Listen, cfg.Advertise = ":0", "192.0.2.9"
	m, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	if m.Addr() != netip.AddrPortFrom(netip.MustParseAddr("192.0.2.9"), m.link.Addr().Port()) {
		t.Errorf("advertises %v", m.Addr())
	}
}

// A hundred starts and stops beside a node that stays leave no goroutine.
func TestStartStopLeavesNothing(t *testing.T) {
	stays, err := Start(t.Context(), realConfig(t, "stays"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stays.Close() }()
	cfg := realConfig(t, "comes", stays.Addr().String())
	cycle := func() {
		n, err := Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Listen = n.Addr().String()
		if err := n.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	cycle()
	before := runtime.NumGoroutine()
	for range 100 {
		cycle()
	}
	var left int
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		// The node that stays may be in touch with the one that has gone.
		if left = runtime.NumGoroutine() - before; left <= 2 {
			return
		}
	}
	var stacks strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
	t.Errorf("%d goroutines are left:\n%s", left, stacks.String())
}
