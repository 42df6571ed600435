package replica

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/mesh/view"
)

// fakeNet joins stores without a mesh: calls are function calls, and who is
// alive is what the test says.
type fakeNet struct {
	t testing.TB

	mu      sync.Mutex
	version uint64
	roster  uint64
	members []view.Member
	nodes   map[view.NodeID]*fakeNode
	cut     map[[2]view.NodeID]bool // messages are lost without a word
	calls   map[string]int          // tried, by method
	bytes   map[string]int          // of requests and answers
	before  func(method string)     // runs before each call is carried out
}

// count takes a call into account.
func (f *fakeNet) count(method string, req []byte) {
	f.mu.Lock()
	f.calls[method]++
	f.bytes[method] += len(req)
	before := f.before
	f.mu.Unlock()
	if before != nil {
		before(method)
	}
}

// watchCalls begins to count anew, with a function to run before each call.
func (f *fakeNet) watchCalls(before func(method string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.calls)
	clear(f.bytes)
	f.before = before
}

func (f *fakeNet) counted(method string) (calls, bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[method], f.bytes[method]
}

type fakeNode struct {
	net   *fakeNet
	id    view.NodeID
	dir   string
	fs    vfs.FS
	clock *clock.Clock
	views *notify.Value[view.View]

	mu       sync.Mutex
	handlers map[string]func(context.Context, view.NodeID, []byte) ([]byte, error)
	leave    []func(context.Context) error
	done     chan struct{}
	down     bool
	store    *Store
}

var errFakeUnreachable = errors.New("unreachable")

func newFakeNet(t testing.TB) *fakeNet {
	return &fakeNet{t: t, nodes: make(map[view.NodeID]*fakeNode), cut: make(map[[2]view.NodeID]bool), calls: make(map[string]int), bytes: make(map[string]int)}
}

// add makes a node; ids are 1, 2, 3, and so on; three zones take turns.
func (f *fakeNet) add(storing bool) *fakeNode {
	f.mu.Lock()
	id := view.NodeID(len(f.nodes) + 1)
	n := &fakeNode{net: f, id: id, dir: "/data/" + id.String(), clock: clock.Simulated(0)}
	n.fs = vfs.NewCrashableMem()
	n.makeDir()
	n.reset()
	f.nodes[id] = n
	f.members = append(f.members, view.Member{
		ID: id, Name: "node-" + id.String(), Zone: string(rune('a' + int(id)%3)), Weight: 1, Storing: storing,
		Status: view.Active, State: view.Alive, Addr: netip.MustParseAddrPort("127.0.0.1:1"),
	})
	f.roster++
	f.mu.Unlock()
	f.publish()
	return n
}

// makeDir makes the data directory so that a crash leaves it there.
func (n *fakeNode) makeDir() {
	if err := n.fs.MkdirAll(n.dir+"/store", 0o700); err != nil {
		n.net.t.Fatal(err)
	}
	for _, dir := range []string{"/", "/data", n.dir, n.dir + "/store"} {
		d, err := n.fs.OpenDir(dir)
		if err == nil {
			err = errors.Join(d.Sync(), d.Close())
		}
		if err != nil {
			n.net.t.Fatal(err)
		}
	}
}

func (n *fakeNode) reset() {
	n.handlers = make(map[string]func(context.Context, view.NodeID, []byte) ([]byte, error))
	n.leave, n.done, n.down = nil, make(chan struct{}), false
	if n.views != nil {
		n.views.Close()
	}
	n.views = notify.New(view.View{})
}

// publish shows every node who is there: those that it can exchange messages
// with.
func (f *fakeNet) publish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version++
	for id, n := range f.nodes {
		v := view.View{Mesh: view.MeshID{1}, Self: id, Version: f.version, Roster: f.roster, Members: slices.Clone(f.members)}
		v.Storing = storingDigest(f.members)
		for i := range v.Members {
			m := &v.Members[i]
			if m.ID != id && (f.nodes[m.ID].down || f.cut[[2]view.NodeID{id, m.ID}] || f.cut[[2]view.NodeID{m.ID, id}]) {
				m.State = view.Failed
			}
		}
		n.views.Set(v)
	}
}

func storingDigest(members []view.Member) [16]byte {
	h := sha256.New()
	for _, m := range members {
		if m.Storing {
			fmt.Fprintln(h, m.ID, m.Status.Gone())
		}
	}
	return [16]byte(h.Sum(nil))
}

// status moves a member along in the roster.
func (f *fakeNet) status(id view.NodeID, s view.Status) {
	f.mu.Lock()
	for i := range f.members {
		if f.members[i].ID == id {
			f.members[i].Status = s
		}
	}
	f.roster++
	f.mu.Unlock()
	f.publish()
}

// split cuts the nodes of one side from the rest; tell says whether the nodes
// are told at once.
func (f *fakeNet) split(tell bool, side ...view.NodeID) {
	f.mu.Lock()
	for a := range f.nodes {
		for b := range f.nodes {
			if slices.Contains(side, a) != slices.Contains(side, b) {
				f.cut[[2]view.NodeID{a, b}] = true
			}
		}
	}
	f.mu.Unlock()
	if tell {
		f.publish()
	}
}

func (f *fakeNet) heal() {
	f.mu.Lock()
	clear(f.cut)
	f.mu.Unlock()
	f.publish()
}

// open opens the node's store.
func (n *fakeNode) open(change ...func(*Config)) *Store {
	n.net.t.Helper()
	cfg := Config{Mesh: n, fs: n.fs, clock: n.clock, boot: "boot", SyncEvery: 10 * time.Second, ReserveBytes: -1, CacheBytes: 1 << 20}
	for _, c := range change {
		c(&cfg)
	}
	s, err := Open(context.Background(), cfg)
	if err != nil {
		n.net.t.Fatal(err)
	}
	n.store = s
	return s
}

// kill ends the node as a killed process ends: what is not synced is lost.
func (n *fakeNode) kill() {
	n.mu.Lock()
	n.down = true
	n.mu.Unlock()
	crash := n.fs.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{})
	n.net.publish()
	_ = n.store.Close()
	n.fs = crash
}

// restart brings a killed node back with what its disk holds.
func (n *fakeNode) restart(change ...func(*Config)) *Store {
	n.mu.Lock()
	n.reset()
	n.mu.Unlock()
	n.net.publish()
	s := n.open(change...)
	n.net.publish()
	return s
}

func (n *fakeNode) ID() view.NodeID { return n.id }
func (n *fakeNode) Dir() string     { return n.dir }
func (n *fakeNode) Shards() int     { return 16 }
func (n *fakeNode) View() view.View { return n.views.Get() }

func (n *fakeNode) Watch(ctx context.Context) <-chan view.View { return n.views.Watch(ctx) }
func (n *fakeNode) OnLeave(h func(context.Context) error)      { n.leave = append(n.leave, h) }

func (n *fakeNode) Done() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.done
}

func (n *fakeNode) HandlePrompt(method string, h func(context.Context, view.NodeID, []byte) ([]byte, error)) error {
	return n.Handle(method, h)
}

func (n *fakeNode) Handle(method string, h func(context.Context, view.NodeID, []byte) ([]byte, error)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.handlers[method] = h
	return nil
}

func (n *fakeNode) Call(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error) {
	n.net.count(method, req)
	n.net.mu.Lock()
	peer := n.net.nodes[to]
	there, back := n.net.cut[[2]view.NodeID{n.id, to}], n.net.cut[[2]view.NodeID{to, n.id}]
	n.net.mu.Unlock()
	if n.isDown() || peer == nil || peer.isDown() {
		return nil, errFakeUnreachable
	}
	if there {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	peer.mu.Lock()
	h := peer.handlers[method]
	peer.mu.Unlock()
	if h == nil {
		return nil, errors.New("no such method")
	}
	ch := make(chan fakeAnswer, 1)
	go func() {
		late := &fakeRequest{Context: ctx, ch: ch}
		b, err := h(late, n.id, slices.Clone(req))
		if !late.later {
			ch <- fakeAnswer{b, err}
		}
	}()
	select {
	case a := <-ch:
		if back || n.isDown() || peer.isDown() {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		n.net.mu.Lock()
		n.net.bytes[method] += len(a.b)
		n.net.mu.Unlock()
		return a.b, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fakeRequest may be answered later, see Mesh.
type fakeRequest struct {
	context.Context
	later bool
	ch    chan fakeAnswer
}

type fakeAnswer struct {
	b   []byte
	err error
}

func (r *fakeRequest) Later() func([]byte, error) {
	r.later = true
	return func(b []byte, err error) { r.ch <- fakeAnswer{b, err} }
}

func (n *fakeNode) isDown() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.down
}
