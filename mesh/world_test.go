package mesh

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/memnet"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/mesh/view"
)

// world is a number of boxes on one network in memory, for use inside a
// synctest bubble.
type world struct {
	t     testing.TB
	net   *memnet.Net
	boxes []*box
	hasty bool
	log   *slog.Logger
}

// box is a machine with a disk. What runs on it may come and go.
type box struct {
	w    *world
	n    int
	addr netip.Addr
	fs   *vfs.MemFS
	full atomic.Bool // writes fail
	skew time.Duration
	inst uint64 // instance of the next run; 0: random

	// Its network: nil is none that answers, and the address of the box.
	lookup func(context.Context, string) ([]netip.Addr, error)
	host   *atomic.Pointer[hostAddrs]
	mdns   func(offer) (discovery, error)
	wrap   func(Network) Network
	wild   bool // listens on all addresses

	cfg   Config
	node  *Node
	nodes []*Node // all that ever ran here
}

var testSecret = bytes.Repeat([]byte{42}, identity.SecretSize)

const testPort = 7800

func newWorld(t testing.TB, boxes int) *world {
	w := &world{t: t, net: memnet.New(1), log: slog.New(slog.DiscardHandler)}
	if os.Getenv("SKEIN_TEST_LOG") != "" {
		w.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	w.net.SetPaths(memnet.Path{Delay: 500 * time.Microsecond, Jitter: 200 * time.Microsecond})
	for range boxes {
		w.add(netip.Addr{})
	}
	return w
}

// add adds a box; without an address it gets the next one of 10.0.0.0/8.
func (w *world) add(addr netip.Addr) *box {
	n := len(w.boxes)
	if !addr.IsValid() {
		addr = netip.AddrFrom4([4]byte{10, 0, byte((n + 1) >> 8), byte(n + 1)})
	}
	b := &box{w: w, n: n, addr: addr, fs: vfs.NewMem()}
	b.cfg = Config{
		Dir: "/data", Secret: testSecret, MeshName: "test", Storing: true,
		Name: fmt.Sprintf("node-%03d", n), Zone: fmt.Sprintf("zone-%d", n%3),
		Listen: netip.AddrPortFrom(addr, testPort).String(), Seeds: []string{"10.0.0.1:7800"},
	}
	w.boxes = append(w.boxes, b)
	return b
}

// seams are those of this world.
func (b *box) seams() seams {
	disk := errorfs.Wrap(b.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if b.full.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return &fs.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
		}
		return nil
	}))
	lookup := b.lookup
	if lookup == nil {
		lookup = noLookup
	}
	return seams{
		fs: disk, clock: clock.Simulated(b.skew), lookup: lookup, addrs: b.hostAddrs, mdns: b.mdns,
		hasty: b.w.hasty, instance: b.inst,
	}
}

// hostAddrs is what the box says of its addresses.
func (b *box) hostAddrs() (hostAddrs, error) {
	if b.host != nil {
		return *b.host.Load(), nil
	}
	return hostAddrs{all: []netip.Addr{b.addr}}, nil
}

// move gives the box another address; what runs on it is to be started anew.
func (b *box) move(addr netip.Addr) {
	b.addr = addr
	b.cfg.Listen = netip.AddrPortFrom(addr, testPort).String()
}

// everywhere is a network on which a node listens on all addresses of the host.
type everywhere struct{ Network }

func (e everywhere) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	l, err := e.Network.Listen(ctx, network, address)
	return wildListener{l}, err
}

type wildListener struct{ net.Listener }

func (l wildListener) Addr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4zero, Port: l.Listener.Addr().(*net.TCPAddr).Port}
}

func noLookup(context.Context, string) ([]netip.Addr, error) {
	return nil, fmt.Errorf("there is no DNS")
}

// run starts a node on the box.
func (b *box) run() (*Node, error) {
	cfg := b.cfg
	cfg.Network = b.w.net.Host(b.addr)
	if b.wrap != nil {
		cfg.Network = b.wrap(cfg.Network)
	}
	if b.wild {
		cfg.Network = everywhere{cfg.Network}
	}
	if cfg.Logger == nil {
		cfg.Logger = b.w.log.With("box", b.n)
	}
	n, err := startNode(b.w.t.Context(), cfg, b.seams())
	if err == nil {
		b.node = n
		b.nodes = append(b.nodes, n)
	}
	return n, err
}

func (b *box) start() *Node {
	b.w.t.Helper()
	n, err := b.run()
	if err != nil {
		b.w.t.Fatalf("start box %d: %v", b.n, err)
	}
	return n
}

func (w *world) startAll() {
	w.t.Helper()
	for _, b := range w.boxes {
		b.start()
	}
}

// kill ends the node of a box as SIGKILL does: its sockets go, and nothing
// that it still tries has any effect.
func (b *box) kill() {
	b.w.net.Kill(b.addr)
	b.abandon()
}

// abandon lets a node that can do nothing any more go to waste, and its disk
// is unlocked as that of a dead process is.
func (b *box) abandon() {
	n := b.node
	b.node = nil
	_ = n.Close()
}

// close closes all nodes at once and drains what memberlist leaves behind.
func (w *world) close() {
	var all sync.WaitGroup
	for _, b := range w.boxes {
		for _, n := range b.nodes {
			all.Go(func() { _ = n.Close() })
		}
	}
	all.Wait()
	_ = w.net.Close()
	time.Sleep(30 * time.Second)
}

// eventually waits until cond holds and returns how long that took.
func (w *world) eventually(limit time.Duration, what string, cond func() bool) time.Duration {
	w.t.Helper()
	begin := time.Now()
	for !cond() {
		if time.Since(begin) > limit {
			w.dump()
			w.t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(begin)
}

// dump logs what every node sees.
func (w *world) dump() {
	w.t.Helper()
	if len(w.boxes) > 10 {
		return
	}
	for _, b := range w.boxes {
		if b.node == nil {
			continue
		}
		var line bytes.Buffer
		for _, m := range b.node.View().Members {
			fmt.Fprintf(&line, " %s=%v/%v(b%d)", m.Name, m.State, m.Status, m.Boot)
		}
		w.t.Logf("box %d %v err=%v:%s", b.n, b.node.ID(), b.node.Err(), line.String())
	}
}

// running returns the nodes that have not stopped.
func (w *world) running() []*Node {
	var out []*Node
	for _, b := range w.boxes {
		if b.node != nil && !b.node.hasStopped() {
			out = append(out, b.node)
		}
	}
	return out
}

// whole tells whether all running nodes see all running nodes alive, and
// nobody else.
func (w *world) whole() bool {
	nodes := w.running()
	for _, n := range nodes {
		v := n.View()
		if v.Count(view.Alive) != len(nodes) {
			return false
		}
		for _, o := range nodes {
			if m, ok := v.Member(o.ID()); !ok || m.State != view.Alive {
				return false
			}
		}
	}
	return true
}

// agreed tells whether all running nodes have one roster.
func (w *world) agreed() bool {
	nodes := w.running()
	for _, n := range nodes {
		if n.book.snapshot().sum != nodes[0].book.snapshot().sum {
			return false
		}
	}
	return true
}

// everySees tells whether every running node but the one itself sees id in
// one of the states.
func (w *world) everySees(id view.NodeID, states ...view.State) bool {
	for _, n := range w.running() {
		if n.ID() == id {
			continue
		}
		m, _ := n.View().Member(id)
		ok := false
		for _, s := range states {
			ok = ok || m.State == s
		}
		if !ok {
			return false
		}
	}
	return true
}

// form starts all boxes and waits until they are one mesh.
func (w *world) form(limit time.Duration) time.Duration {
	w.t.Helper()
	w.startAll()
	return w.eventually(limit, "mesh forms", func() bool { return w.whole() && w.agreed() })
}
