package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/ledger"
	"github.com/skeinmesh/skein/internal/memnet"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

var _ Mesh = (*mesh.Node)(nil)

// world is a real mesh on a network in memory, in virtual time, with a Ledger on each node
// but those that a test plays.
type world struct {
	t     *testing.T
	net   *memnet.Net
	boxes []*box
}

type box struct {
	addr netip.Addr
	fs   *vfs.MemFS
	node *mesh.Node
	*Ledger

	mu       sync.Mutex
	handlers map[string]func(context.Context, view.NodeID, []byte) ([]byte, error)
}

func (b *box) ID() view.NodeID { return b.node.ID() }

func (b *box) View() view.View { return b.node.View() }

func (b *box) Call(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error) {
	return b.node.Call(ctx, to, method, req)
}

func (b *box) Subkey(purpose string) [32]byte { return b.node.Subkey(purpose) }

// Handle lets a later Ledger take the place of the one before, as in another run of the node.
func (b *box) Handle(method string, h func(context.Context, view.NodeID, []byte) ([]byte, error)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, known := b.handlers[method]
	if b.handlers[method] = h; known {
		return nil
	}
	return b.node.Handle(method, func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
		b.mu.Lock()
		h := b.handlers[method]
		b.mu.Unlock()
		return h(ctx, from, req)
	})
}

// inWorld runs fn in a mesh of n nodes that see each other. The first of them have no Ledger.
func inWorld(t *testing.T, n, played int, fn func(w *world)) {
	t.Helper()
	dirs := make([]string, n)
	for i := range dirs {
		dirs[i] = t.TempDir()
	}
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: memnet.New(1)}
		w.net.SetPaths(memnet.Path{Delay: 500 * time.Microsecond})
		defer w.close()
		for i, dir := range dirs {
			b := &box{addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), fs: vfs.NewCrashableMem(), handlers: map[string]func(context.Context, view.NodeID, []byte) ([]byte, error){}}
			w.boxes = append(w.boxes, b)
			cfg := mesh.Config{
				Dir: dir, Secret: bytes.Repeat([]byte{5}, identity.SecretSize), MeshName: "ledger", Storing: true, Profile: mesh.LAN,
				Name: fmt.Sprintf("node-%d", i), Listen: netip.AddrPortFrom(b.addr, 7800).String(), Seeds: []string{"10.0.0.1:7800"}, Network: w.net.Host(b.addr),
			}
			if os.Getenv("SKEIN_TEST_LOG") != "" {
				cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("box", i)
			}
			var err error
			if b.node, err = mesh.Start(context.Background(), cfg); err != nil {
				t.Fatal(err)
			}
			if i >= played {
				b.open(t)
			}
		}
		w.until("all see all", func() bool {
			for _, b := range w.boxes {
				if b.node.View().Count(view.Alive) < n {
					return false
				}
			}
			return true
		})
		fn(w)
	})
}

func (b *box) open(t *testing.T) {
	t.Helper()
	var err error
	if b.Ledger, err = Open(context.Background(), Config{Mesh: b, Dir: "ledger", fs: b.fs}); err != nil {
		t.Fatal(err)
	}
}

func (w *world) close() {
	var all sync.WaitGroup
	for _, b := range w.boxes {
		if b.Ledger != nil {
			all.Go(func() { _ = b.Ledger.Close() })
		}
		all.Go(func() { _ = b.node.Close() })
	}
	all.Wait()
	_ = w.net.Close()
	time.Sleep(30 * time.Second) // what memberlist leaves behind ends by then
}

func (w *world) until(what string, cond func() bool) {
	w.t.Helper()
	for begin := time.Now(); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > time.Minute {
			w.t.Fatalf("not within a minute: %s", what)
		}
	}
}

// round has all that keep a ledger cosign once.
func (w *world) round() {
	w.t.Helper()
	var all sync.WaitGroup
	for _, b := range w.boxes {
		if b.Ledger != nil {
			all.Go(func() {
				if err := b.Cosign(context.Background()); err != nil {
					w.t.Error(err)
				}
			})
		}
	}
	all.Wait()
}

// alarmed returns what kinds of alarm there are about a node.
func (w *world) alarmed(about *box) map[AlarmKind]int {
	kinds := map[AlarmKind]int{}
	for _, b := range w.boxes {
		if b.Ledger == nil {
			continue
		}
		for _, a := range b.Status().Alarms {
			if a.Node != about.node.ID() {
				w.t.Errorf("an alarm about %v: %v, %s", a.Node, a.Kind, a.Text)
			}
			kinds[a.Kind]++
		}
	}
	return kinds
}

func testLeaf(i int) Leaf {
	return Leaf{
		Kind: Write, Bucket: "b", Key: fmt.Sprint("key", i), At: time.UnixMilli(int64(i)).UTC(), Sum: sha256.Sum256(fmt.Append(nil, "value", i)),
		Dot: version.Dot{A: version.Actor{Store: 7, Session: 8, Seq: 9}, N: uint64(i + 1)},
	}
}

func (b *box) append(t *testing.T, from, to int) {
	t.Helper()
	appendLeaves(t, b.Ledger, from, to)
}

// appendLeaves appends leaves at the same time, which may come in any order.
func appendLeaves(t *testing.T, l *Ledger, from, to int) {
	t.Helper()
	var all sync.WaitGroup
	for i := from; i < to; i++ {
		all.Go(func() {
			if _, err := l.Append(context.Background(), testLeaf(i)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// loneMesh is a mesh of one node.
type loneMesh struct{ id view.NodeID }

func (m loneMesh) ID() view.NodeID { return m.id }

func (m loneMesh) View() view.View { return view.View{Self: m.id} }

func (m loneMesh) Call(context.Context, view.NodeID, string, []byte) ([]byte, error) {
	return nil, fmt.Errorf("there is nobody")
}

func (m loneMesh) Handle(string, func(context.Context, view.NodeID, []byte) ([]byte, error)) error {
	return nil
}

func (m loneMesh) Subkey(purpose string) [32]byte { return sha256.Sum256([]byte(purpose)) }

func openLone(t testing.TB, fs vfs.FS) *Ledger {
	t.Helper()
	l, err := Open(context.Background(), Config{Mesh: loneMesh{7}, Dir: "ledger", fs: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// evil is a node that keeps two histories of its log and shows them as it likes.
type evil struct {
	*box
	signer *ledger.Signer
	trees  [2]*memoryLog
	silent bool // gives no proofs
}

type memoryLog struct {
	tree  ledger.Tree
	tiles map[string][]byte
}

func (m *memoryLog) add(entry string) {
	for _, tile := range append(m.tree.Add([]byte(entry)), m.tree.Edges()...) {
		m.tiles[tile.Path] = tile.Data
	}
}

func (m *memoryLog) read(path string) ([]byte, error) { return m.tiles[path], nil }
