package partition

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/jsonlog"
	"github.com/skeinmesh/skein/internal/memnet"
	"github.com/skeinmesh/skein/internal/storage/file"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/identity"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

var _ Mesh = (*mesh.Node)(nil)

// world is a real mesh on a network in memory, in virtual time, with a Partition
// on each node.
type world struct {
	t     *testing.T
	net   *memnet.Net
	boxes []*box

	working  atomic.Int32 // works of Lead that run now
	together atomic.Bool  // more than one has run
}

type box struct {
	w      *world
	addr   netip.Addr
	fs     *vfs.MemFS // of the Partition
	full   atomic.Bool
	clock  *clock.Clock
	mesh   mesh.Config
	config func(*Config)
	node   *mesh.Node
	part   *Partition
	all    []*mesh.Node
	parts  []*Partition
	// opensLate is for how long the node is up before its Partition is opened.
	opensLate time.Duration
}

// profile couples the paces of a mesh and of its leaders.
type profile struct {
	mesh mesh.Profile
	pace Pace
}

var lan, wan, edge = profile{mesh.LAN, LAN()}, profile{mesh.WAN, WAN()}, profile{mesh.Edge, Edge()}

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
		w.until(time.Minute, "all see all", w.whole)
		w.leader(30*time.Second+2*pr.pace.Lease, w.boxes...)
		// The leader may have been chosen by those who met first. By then all
		// follow its term.
		time.Sleep(pr.pace.Settle + 2*pr.pace.Lease)
		w.leader(pr.pace.Lease, w.boxes...)
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
	b.mesh.Logger = jsonlog.New(func(fault, line string) { w.t.Errorf("the log has %s: %s", fault, line) })
	if os.Getenv("SKEIN_TEST_LOG") != "" {
		b.mesh.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo})).With("box", i)
	}
	b.config = func(c *Config) {
		c.Pace, c.fs, c.clock, c.Logger = pr.pace, b.disk(), b.clock, b.mesh.Logger
		c.root, c.disk = fstest.MapFS{}, func(string) (uint64, uint64, error) { return 1 << 30, 1 << 29, nil }
		config(c)
	}
	b.makeDir(dir)
	w.boxes = append(w.boxes, b)
	return b
}

// makeDir makes the data directory such that a crash does not undo it.
func (b *box) makeDir(dir string) {
	b.w.t.Helper()
	err := b.fs.MkdirAll(dir, 0o700)
	for ; err == nil; dir = filepath.Dir(dir) {
		if err = file.SyncDir(b.fs, dir); dir == "/" {
			break
		}
	}
	if err != nil {
		b.w.t.Fatal(err)
	}
}

// disk is the file system of a box, on which nothing can be written while it is
// full.
func (b *box) disk() vfs.FS {
	return errorfs.Wrap(b.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if b.full.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return &fs.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
		}
		return nil
	}))
}

func (b *box) start() {
	b.w.t.Helper()
	b.mesh.Network = b.w.net.Host(b.addr)
	var err error
	if b.node, err = mesh.Start(context.Background(), b.mesh); err != nil {
		b.w.t.Fatal(err)
	}
	b.all = append(b.all, b.node)
	time.Sleep(b.opensLate) // virtual
	cfg := Config{Mesh: b.node}
	b.config(&cfg)
	if b.part, err = Open(context.Background(), cfg); err != nil {
		b.w.t.Fatal(err)
	}
	b.parts = append(b.parts, b.part)
}

// kill ends a node as a power cut does: nothing that it still tries arrives, and
// what was not synced is not on its disk.
func (b *box) kill() {
	b.w.net.Kill(b.addr)
	b.fs = b.fs.CrashClone(vfs.CrashCloneCfg{})
	_ = b.node.Close()
	_ = b.part.Close()
}

func (w *world) close() {
	var all sync.WaitGroup
	for _, b := range w.boxes {
		for _, n := range b.all {
			all.Go(func() { _ = n.Close() })
		}
		for _, p := range b.parts {
			all.Go(func() { _ = p.Close() })
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
		if e := b.part.elections.findElection(b.part.leaderOf()); e != nil {
			_ = e.runStep(w.t.Context(), func() { w.t.Logf("  at %v: %+v", e.bootTime(), *e.machine) })
		}
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

// whole tells whether each node has all of them in its component.
func (w *world) whole() bool {
	return !slices.ContainsFunc(w.boxes, func(b *box) bool { return len(b.part.Status().Component) != len(w.boxes) })
}

// leader waits until one of some boxes leads them all.
func (w *world) leader(limit time.Duration, among ...*box) *box {
	w.t.Helper()
	w.until(limit, "one leads", func() bool { return w.agreed(among...) != nil })
	return w.agreed(among...)
}

func (b *box) leads() bool { return b.leadsIn(b.part.leaderOf()) }

func (b *box) leadsIn(name Election) bool { return !b.token(name).IsZero() }

// token is that with which a box leads an election by its own lease.
func (b *box) token(name Election) token.Token {
	if e := b.election(name); e != nil {
		return e.leadingToken()
	}
	return token.Token{}
}

func (b *box) election(name Election) *election {
	b.part.elections.mu.Lock()
	defer b.part.elections.mu.Unlock()
	return b.part.elections.byName[name]
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
