package partition

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/memnet"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/mesh/view"
)

var _ Mesh = (*mesh.Node)(nil)

// world is a real mesh on a network in memory, in virtual time, with a Partition
// on each node.
type world struct {
	t     *testing.T
	net   *memnet.Net
	boxes []*box
}

type box struct {
	w      *world
	addr   netip.Addr
	fs     *vfs.MemFS // of the Partition
	clock  *clock.Clock
	mesh   mesh.Config
	config func(*Config)
	node   *mesh.Node
	part   *Partition
	all    []*mesh.Node
}

// profile couples the paces of a mesh and of its leaders.
type profile struct {
	mesh mesh.Profile
	pace Pace
}

var lan, edge = profile{mesh.LAN, LAN()}, profile{mesh.Edge, Edge()}

// inWorld runs fn in a mesh of n nodes in three zones, whole and led.
func inWorld(t *testing.T, n int, pr profile, config func(i int, c *Config), fn func(w *world)) {
	t.Helper()
	dirs := make([]string, n)
	for i := range dirs {
		dirs[i] = t.TempDir()
	}
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: memnet.New(1)}
		w.net.SetPaths(memnet.Path{Delay: 500 * time.Microsecond, Jitter: 200 * time.Microsecond})
		defer w.close()
		for i := range n {
			w.add(dirs[i], pr, func(c *Config) {
				if config != nil {
					config(i, c)
				}
			})
		}
		for _, b := range w.boxes {
			b.start()
		}
		w.until(time.Minute, "all see all", func() bool {
			return !slices.ContainsFunc(w.boxes, func(b *box) bool { return len(b.part.Status().Component) != n })
		})
		w.until(30*time.Second+2*pr.pace.Lease, "one leads", func() bool { return w.agreed(w.boxes...) != nil })
		time.Sleep(5*time.Second + 2*pr.pace.Settle) // until all follow it who will
		w.until(2*pr.pace.Lease, "one leads on", func() bool { return w.agreed(w.boxes...) != nil })
		fn(w)
	})
}

func (w *world) add(dir string, pr profile, config func(*Config)) *box {
	i := len(w.boxes)
	addr := netip.AddrFrom4([4]byte{10, 0, byte((i + 1) >> 8), byte(i + 1)})
	b := &box{w: w, addr: addr, fs: vfs.NewCrashableMem(), clock: clock.Simulated(0), mesh: mesh.Config{
		Dir: dir, Secret: bytes.Repeat([]byte{5}, identity.SecretSize), MeshName: "cut", Storing: true, AllowAdmin: true, Shards: 16, Profile: pr.mesh,
		Name: fmt.Sprintf("node-%d", i), Zone: fmt.Sprintf("zone-%d", i%3),
		Listen: netip.AddrPortFrom(addr, 7800).String(), Seeds: []string{"10.0.0.1:7800"}, Network: w.net.Host(addr),
	}}
	if os.Getenv("SKEIN_TEST_LOG") != "" {
		b.mesh.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo})).With("box", i)
	}
	b.config = func(c *Config) {
		c.Pace, c.fs, c.clock, c.Logger = pr.pace, b.fs, b.clock, b.mesh.Logger
		c.root, c.disk = fstest.MapFS{}, func(string) (uint64, uint64, error) { return 1 << 30, 1 << 29, nil }
		config(c)
	}
	if err := b.fs.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	w.boxes = append(w.boxes, b)
	return b
}

func (b *box) start() {
	b.w.t.Helper()
	b.mesh.Network = b.w.net.Host(b.addr)
	var err error
	if b.node, err = mesh.Start(context.Background(), b.mesh); err != nil {
		b.w.t.Fatal(err)
	}
	b.all = append(b.all, b.node)
	cfg := Config{Mesh: b.node}
	b.config(&cfg)
	if b.part, err = Open(context.Background(), cfg); err != nil {
		b.w.t.Fatal(err)
	}
}

// kill ends a node as SIGKILL does: nothing that it still tries arrives.
func (b *box) kill() {
	b.w.net.Kill(b.addr)
	_ = b.node.Close()
	_ = b.part.Close()
}

func (w *world) close() {
	var all sync.WaitGroup
	for _, b := range w.boxes {
		for _, n := range b.all {
			all.Go(func() { _ = n.Close() })
		}
		if b.part != nil {
			all.Go(func() { _ = b.part.Close() })
		}
	}
	all.Wait()
	_ = w.net.Close()
	time.Sleep(30 * time.Second) // what memberlist leaves behind ends by then
}

// until waits and returns how long it took.
func (w *world) until(limit time.Duration, what string, cond func() bool) time.Duration {
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

func (w *world) dump() {
	w.t.Helper()
	for _, b := range w.boxes[:min(len(w.boxes), 8)] {
		st := b.part.Status()
		var states []string
		for _, m := range b.node.View().Members {
			states = append(states, m.Name+"="+m.State.String())
		}
		w.t.Logf("%s %s: component %v, %s (lost %v), leader %+v, mode %s, cloud %s\n  %s", b.mesh.Name, b.node.ID(),
			st.Component, st.Situation, st.Lost, st.Leader, st.Mode, st.Cloud, strings.Join(states, " "))
	}
}

// agreed returns the one of some boxes that leads if all of them know it and no
// other of them leads.
func (w *world) agreed(among ...*box) *box {
	var leader *box
	for _, b := range among {
		if b.leads() {
			if leader != nil {
				return nil
			}
			leader = b
		}
	}
	if leader == nil {
		return nil
	}
	for _, b := range among {
		if got := b.part.Status().Leader.Token; got.Node != leader.node.ID() {
			return nil
		}
	}
	return leader
}

func (b *box) leads() bool { return b.leadsIn(b.part.leaderOf()) }

// leadsIn tells whether a box leads an election by its own lease.
func (b *box) leadsIn(name Election) bool {
	b.part.mu.Lock()
	e := b.part.elections[name]
	b.part.mu.Unlock()
	return e != nil && !e.leading().IsZero()
}

func (w *world) addrs(boxes ...*box) (out []netip.Addr) {
	for _, b := range boxes {
		out = append(out, b.addr)
	}
	return out
}

func (w *world) ids(boxes ...*box) (out []view.NodeID) {
	for _, b := range boxes {
		out = append(out, b.node.ID())
	}
	slices.Sort(out)
	return out
}

// without returns all boxes but one.
func (w *world) without(b *box) []*box {
	return slices.DeleteFunc(slices.Clone(w.boxes), func(x *box) bool { return x == b })
}
