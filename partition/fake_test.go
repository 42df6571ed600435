package partition

import (
	"context"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/mesh/view"
)

// fakeMesh is a node in contact with members that do what call says.
type fakeMesh struct {
	view view.View
	call func(ctx context.Context, to view.NodeID, method string) ([]byte, error)
	done chan struct{}

	mu       sync.Mutex
	handlers map[string]func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error)
}

// newFakeMesh returns node 1 of n that all live and store.
func newFakeMesh(n int) *fakeMesh {
	f := &fakeMesh{view: view.View{Self: 1}, done: make(chan struct{}), handlers: map[string]func(context.Context, view.NodeID, []byte) ([]byte, error){}}
	for i := range n {
		f.view.Members = append(f.view.Members, view.Member{ID: view.NodeID(i + 1), Status: view.Active, State: view.Alive, Storing: true, Boot: 1})
	}
	return f
}

func (f *fakeMesh) ID() view.NodeID                     { return f.view.Self }
func (f *fakeMesh) Dir() string                         { return "dir" }
func (f *fakeMesh) View() view.View                     { return f.view }
func (f *fakeMesh) OnLeave(func(context.Context) error) {}
func (f *fakeMesh) Ready(context.Context) error         { return nil }
func (f *fakeMesh) Done() <-chan struct{}               { return f.done }

func (f *fakeMesh) Watch(context.Context) <-chan view.View {
	c := make(chan view.View, 1)
	c <- f.view
	return c
}

func (f *fakeMesh) CallIdempotent(ctx context.Context, to view.NodeID, method string, _ []byte) ([]byte, error) {
	return f.call(ctx, to, method)
}

func (f *fakeMesh) Handle(method string, h func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handlers[method] = h
	return nil
}

func (f *fakeMesh) HandleIdempotent(method string, h func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error)) error {
	return f.Handle(method, h)
}

// open opens a Partition on the fake.
func (f *fakeMesh) open(t *testing.T, change func(*Config)) *Partition {
	t.Helper()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("dir", 0o700); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Mesh: f, fs: fs, clock: clock.Simulated(0), root: fstest.MapFS{},
		disk: func(string) (uint64, uint64, error) { return 1 << 30, 1 << 29, nil }}
	change(&cfg)
	p, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A peer that does not answer a comparison holds up no news.
func TestNewsGoOnDuringAComparison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeMesh(2)
		var mu sync.Mutex
		var last time.Time
		var compared int
		f.call = func(ctx context.Context, _ view.NodeID, method string) ([]byte, error) {
			mu.Lock()
			switch method {
			case methodSums:
				compared++
			case methodSwap:
				last = time.Now()
			}
			mu.Unlock()
			<-ctx.Done()
			return nil, ctx.Err()
		}
		p := f.open(t, func(c *Config) { c.Pace = Edge() })
		defer p.Close()
		for range 300 {
			p.notices.repeatOwn()
			time.Sleep(time.Second)
			mu.Lock()
			if time.Since(last) > time.Second {
				t.Fatalf("no news for %v", time.Since(last))
			}
			mu.Unlock()
		}
		if compared == 0 {
			t.Error("nothing was compared")
		}
	})
}
