package replica

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/jsonlog"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/mesh/view"
)

// fakeNet joins stores without a mesh: calls are function calls, and who is
// alive is what the test says.
type fakeNet struct {
	t testing.TB

	mu      sync.Mutex
	mesh    view.MeshID
	version uint64
	nodes   map[view.NodeID]*fakeNode
	cut     map[[2]view.NodeID]bool // messages are lost without a word
	mute    map[view.NodeID]bool    // do not say whom they reach
	calls   map[string]int          // tried, by method
	bytes   map[string]int          // of requests and answers
	before  func(method string)     // runs before each call is carried out
	// lost tells, before each call, that its request never arrives.
	lost func(from, to view.NodeID, method string, req []byte) bool
	// refuse tells, before each call, that the other one cannot be reached.
	refuse func(from, to view.NodeID, method string) bool
	// answered hears each answer when it leaves, whether it arrives or not.
	answered func(by *fakeNode, method string, req, answer []byte)
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

	roster []view.Member // as this node knows it, by id; guarded by net.mu

	mu       sync.Mutex
	handlers map[string]func(context.Context, view.NodeID, []byte) ([]byte, error)
	prompt   map[string]promptHandler // those of handlers that do not wait for their answer
	leave    []func(context.Context) error
	done     chan struct{}
	down     bool
	store    *Store
}

var errFakeUnreachable = errors.New("unreachable")

func newFakeNet(t testing.TB) *fakeNet {
	return &fakeNet{t: t, mesh: view.MeshID{1}, nodes: make(map[view.NodeID]*fakeNode), cut: make(map[[2]view.NodeID]bool), calls: make(map[string]int), bytes: make(map[string]int)}
}

// add makes a node, of which all know; ids are 1, 2, 3, and so on; three zones
// take turns.
func (f *fakeNet) add(storing bool) *fakeNode { return f.addBeside(storing, nil) }

// addBeside makes a node on the side of a cut on which another one is; who is
// on the other hears of it later.
func (f *fakeNet) addBeside(storing bool, beside *fakeNode) *fakeNode {
	f.mu.Lock()
	id := view.NodeID(len(f.nodes) + 1)
	n := &fakeNode{net: f, id: id, dir: "/data/" + id.String(), clock: clock.Simulated(0)}
	n.fs = vfs.NewCrashableMem()
	n.makeDir()
	n.reset()
	for other := range f.nodes {
		if beside != nil && f.apart(beside.id, other) {
			f.cut[[2]view.NodeID{id, other}], f.cut[[2]view.NodeID{other, id}] = true, true
		}
	}
	f.nodes[id] = n
	n.roster = []view.Member{{
		ID: id, Name: "node-" + id.String(), Zone: string(rune('a' + int(id)%3)), Weight: 1, Storing: storing,
		Status: view.Active, State: view.Alive, Addr: netip.MustParseAddrPort("127.0.0.1:1"),
	}}
	for _, other := range f.nodes {
		if beside == nil {
			n.learn(other.roster)
		}
	}
	for _, other := range f.nodes {
		if beside == nil {
			other.learn(n.roster)
		}
	}
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
	n.prompt = make(map[string]promptHandler)
	n.leave, n.done, n.down = nil, make(chan struct{}), false
	if n.views != nil {
		n.views.Close()
	}
	n.views = notify.New(view.View{})
}

// apart tells whether two nodes cannot exchange messages.
func (f *fakeNet) apart(a, b view.NodeID) bool {
	return f.cut[[2]view.NodeID{a, b}] || f.cut[[2]view.NodeID{b, a}]
}

// gossip brings what is known of members to all who can be reached.
func (f *fakeNet) gossip() {
	for changed := true; changed; {
		changed = false
		for a, to := range f.nodes {
			for b, from := range f.nodes {
				if a != b && !f.apart(a, b) && !to.isDown() && !from.isDown() {
					changed = to.learn(from.roster) || changed
				}
			}
		}
	}
}

// learn merges what another node knows of members.
func (n *fakeNode) learn(from []view.Member) (changed bool) {
	for i := range from {
		at, known := slices.BinarySearchFunc(n.roster, from[i].ID, func(m view.Member, id view.NodeID) int { return cmp.Compare(m.ID, id) })
		switch {
		case !known:
			n.roster = slices.Insert(n.roster, at, from[i])
			changed = true
		case n.roster[at].Status < from[i].Status:
			n.roster[at].Status = from[i].Status
			changed = true
		}
	}
	return changed
}

// publish shows every node who is there: those that it can exchange messages
// with. A node that hears that it was given up stops.
func (f *fakeNet) publish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version++
	f.gossip()
	for _, n := range f.nodes {
		f.show(n)
	}
}

// show shows one node who is there.
func (f *fakeNet) show(n *fakeNode) {
	v := view.View{Mesh: f.mesh, Self: n.id, Version: f.version, Members: slices.Clone(n.roster)}
	v.Storing, v.Roster = storingDigest(v.Members), rosterDigest(v.Members)
	for i := range v.Members {
		m := &v.Members[i]
		if m.ID == n.id && m.Status == view.Evicted && !n.isDown() {
			n.stop()
		}
		if m.ID != n.id && (f.nodes[m.ID].isDown() || f.apart(n.id, m.ID)) {
			m.State = view.Failed
		}
	}
	n.views.Set(v)
}

func rosterDigest(members []view.Member) uint64 {
	h := sha256.New()
	for _, m := range members {
		fmt.Fprintln(h, m.ID, m.Status)
	}
	return binary.BigEndian.Uint64(h.Sum(nil))
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
func (f *fakeNet) status(id view.NodeID, s view.Status) { f.statusAt(nil, id, s) }

// statusAt is status as one node says it: who is cut off from that one hears of
// it later. nil: all know.
func (f *fakeNet) statusAt(by *fakeNode, id view.NodeID, s view.Status) {
	f.mu.Lock()
	for _, n := range f.nodes {
		if by != nil && n != by {
			continue
		}
		for i := range n.roster {
			if n.roster[i].ID == id {
				n.roster[i].Status = max(n.roster[i].Status, s)
			}
		}
	}
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
	cfg := Config{Mesh: n, fs: n.fs, clock: n.clock, boot: "boot", Logger: jsonlog.New(n.net.misreads), SyncEvery: 10 * time.Second, ReserveBytes: -1, CacheBytes: 1 << 20, block: 2 << 10}
	for _, c := range change {
		c(&cfg)
	}
	cfg.fs = renaming{cfg.fs}
	s, err := Open(context.Background(), cfg)
	if err != nil {
		n.net.t.Fatal(err)
	}
	n.store = s
	return s
}

// misreads is told of lines that a reader of logs would misread.
func (f *fakeNet) misreads(fault, line string) { f.t.Errorf("the log has %s: %s", fault, line) }

// renaming does not use MemFS.ReuseForWrite, which takes a lock for reading twice:
// if a crash image is taken in between, both wait for ever.
type renaming struct{ vfs.FS }

func (r renaming) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := r.FS.Rename(oldname, newname); err != nil {
		return nil, err
	}
	return r.FS.OpenReadWrite(newname, c)
}

func (r renaming) Unwrap() vfs.FS { return r.FS }

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

func (n *fakeNode) ID() view.NodeID                { return n.id }
func (n *fakeNode) Dir() string                    { return n.dir }
func (n *fakeNode) Shards() int                    { return 16 }
func (n *fakeNode) View() view.View                { return n.views.Get() }
func (n *fakeNode) Subkey(purpose string) [32]byte { return sha256.Sum256([]byte(purpose)) }

func (n *fakeNode) Watch(ctx context.Context) <-chan view.View { return n.views.Watch(ctx) }
func (n *fakeNode) OnLeave(h func(context.Context) error)      { n.leave = append(n.leave, h) }

func (n *fakeNode) Done() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.done
}

type promptHandler = func(context.Context, view.NodeID, []byte, func([]byte, error))

func (n *fakeNode) HandlePrompt(method string, h promptHandler) error {
	n.mu.Lock()
	n.prompt[method] = h
	n.mu.Unlock()
	return n.Handle(method, func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
		return answerOf(ctx, h, from, req)
	})
}

// answerOf waits for the answer of a handler that may give it later.
func answerOf(ctx context.Context, h promptHandler, from view.NodeID, req []byte) ([]byte, error) {
	ch := make(chan fakeAnswer, 1)
	h(ctx, from, req, func(b []byte, err error) { ch <- fakeAnswer{b, err} })
	a := <-ch
	return a.b, a.err
}

func (n *fakeNode) Handle(method string, h func(context.Context, view.NodeID, []byte) ([]byte, error)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.handlers[method] = h
	return nil
}

func (n *fakeNode) handler(method string) func(context.Context, view.NodeID, []byte) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.handlers[method]
}

// lose has the requests lost that a function tells; nil: none.
func (f *fakeNet) lose(lost func(from, to view.NodeID, method string, req []byte) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost = lost
}

// refuseCalls has calls refused from now on.
func (f *fakeNet) refuseCalls(refuse func(from, to view.NodeID, method string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = refuse
}

func (n *fakeNode) Call(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error) {
	n.net.count(method, req)
	n.net.mu.Lock()
	peer := n.net.nodes[to]
	there, back := n.net.cut[[2]view.NodeID{n.id, to}], n.net.cut[[2]view.NodeID{to, n.id}]
	refused := n.net.refuse != nil && n.net.refuse(n.id, to, method)
	lost, answered := n.net.lost, n.net.answered
	n.net.mu.Unlock()
	if n.isDown() || peer == nil || peer.isDown() || refused {
		return nil, errFakeUnreachable
	}
	if there || lost != nil && lost(n.id, to, method, req) {
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
	sent := slices.Clone(req)
	hear := func(a fakeAnswer) {
		if answered != nil && a.err == nil {
			answered(peer, method, sent, a.b)
		}
	}
	go func() {
		b, err := h(ctx, n.id, slices.Clone(sent))
		a := fakeAnswer{b, err}
		hear(a)
		ch <- a
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

type fakeAnswer struct {
	b   []byte
	err error
}

// stop ends the mesh node by itself.
func (n *fakeNode) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.done:
	default:
		close(n.done)
	}
}

func (n *fakeNode) isStopped() bool {
	select {
	case <-n.Done():
		return true
	default:
		return false
	}
}

func (n *fakeNode) isDown() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.down
}
