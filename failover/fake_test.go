package failover

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

const (
	fakeLease = 2 * time.Second
	fakeRenew = 500 * time.Millisecond
	fakeGuard = 200 * time.Millisecond // a lead ends so long before its lease
)

// fakeMesh is the elections of some nodes as they are without faults: of one election the
// preferred candidate leads, by a lease that is renewed while its node is not cut off, and
// nobody else before that has ended or was handed over.
type fakeMesh struct {
	mu      sync.Mutex
	names   []string // of the nodes 1, 2, ...
	cut     map[view.NodeID]bool
	failed  map[view.NodeID]bool
	refuses map[view.NodeID]bool
	ballots map[token.Election]*fakeBallot
	bell    *notify.Value[int]
	rings   int
	// handlers are those of all nodes, by node and method.
	handlers map[string]func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error)
}

type fakeBallot struct {
	standing   map[view.NodeID]*fakeStanding
	prefer     map[view.NodeID]uint32
	term       uint64
	leader     token.Token
	ends       time.Time
	lapses     bool
	nominee    view.NodeID
	handedOver bool
	since      time.Time            // nobody leads before the others had time to stand
	busy       map[view.NodeID]bool // their work has not returned
}

type fakeStanding struct {
	work   func(ctx context.Context, t token.Token)
	cancel context.CancelFunc // of the work; nil: it does not lead
	quits  bool               // it is not to lead again
}

// fakeNode is one node's Mesh and Elections.
type fakeNode struct {
	*fakeMesh
	id view.NodeID
}

func newFakeMesh(names ...string) *fakeMesh {
	return &fakeMesh{names: names, cut: map[view.NodeID]bool{}, refuses: map[view.NodeID]bool{}, ballots: map[token.Election]*fakeBallot{}, bell: notify.New(0)}
}

func (m *fakeMesh) node(i int) fakeNode { return fakeNode{m, view.NodeID(i)} }

func (m *fakeMesh) ballot(e token.Election) *fakeBallot {
	if m.ballots[e] == nil {
		m.ballots[e] = &fakeBallot{standing: map[view.NodeID]*fakeStanding{}, prefer: map[view.NodeID]uint32{}, busy: map[view.NodeID]bool{}, since: time.Now()}
	}
	return m.ballots[e]
}

func (m *fakeMesh) ring() {
	m.rings++
	m.bell.Set(m.rings)
}

// run renews leases and has the elections held until ctx ends.
func (m *fakeMesh) run(ctx context.Context) {
	for ctx.Err() == nil {
		m.mu.Lock()
		for e, b := range m.ballots {
			m.hold(e, b)
		}
		m.mu.Unlock()
		select {
		case <-time.After(fakeRenew / 10):
		case <-ctx.Done():
		}
	}
	m.bell.Close()
}

// hold renews a lease, ends it, or has the next one lead.
func (m *fakeMesh) hold(e token.Election, b *fakeBallot) {
	now := time.Now()
	id := b.leader.Node
	if s := b.standing[id]; id != 0 && !b.lapses && !m.cut[id] && s != nil && s.cancel != nil {
		if b.ends.Sub(now) < fakeLease-fakeRenew {
			b.ends = now.Add(fakeLease)
		}
		return
	}
	if id != 0 && now.Before(b.ends) {
		return
	}
	if id != 0 {
		m.endLead(b)
	}
	var best view.NodeID
	for n, s := range b.standing {
		if s.cancel != nil || s.quits || b.busy[n] || m.cut[n] {
			continue
		}
		if best == 0 || n == b.nominee || best != b.nominee && cmp.Or(cmp.Compare(b.prefer[n], b.prefer[best]), cmp.Compare(best, n)) > 0 {
			best = n
		}
	}
	if best == 0 || now.Sub(b.since) < fakeRenew {
		return
	}
	b.term++
	b.handedOver = best == b.nominee
	b.leader, b.ends, b.lapses, b.nominee = token.Token{Term: b.term, Node: best}, now.Add(fakeLease), false, 0
	s, t := b.standing[best], b.leader
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	b.busy[best] = true
	go func() {
		s.work(ctx, t)
		m.mu.Lock()
		defer m.mu.Unlock()
		if ctx.Err() == nil {
			panic(fmt.Sprintf("the work of %v has returned before its context ended", e))
		}
		s.cancel, b.busy[best] = nil, false
		if b.leader == t && !b.lapses {
			b.leader = token.Token{}
		}
		m.ring()
	}()
	m.ring()
}

// endLead ends the context of the leader's work.
func (m *fakeMesh) endLead(b *fakeBallot) {
	if s := b.standing[b.leader.Node]; s != nil && s.cancel != nil {
		s.cancel()
	}
	b.leader = token.Token{}
	m.ring()
}

func (n fakeNode) ID() view.NodeID { return n.id }

// Handle replaces an earlier handler, so that a test may open a node again.
func (n fakeNode) Handle(method string, h func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.handlers == nil {
		n.handlers = map[string]func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error){}
	}
	n.handlers[fmt.Sprint(n.id, " ", method)] = h
	return nil
}

func (n fakeNode) Call(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error) {
	n.mu.Lock()
	h := n.handlers[fmt.Sprint(to, " ", method)]
	n.mu.Unlock()
	return h(ctx, n.id, req)
}

func (n fakeNode) OnLeave(func(ctx context.Context) error) {}
func (n fakeNode) Done() <-chan struct{}                   { return nil }
func (n fakeNode) View() (v view.View) {
	for i, name := range n.names {
		m := view.Member{ID: view.NodeID(i + 1), Name: name, Zone: "line", Capabilities: []string{"plc"}, State: view.Alive}
		n.mu.Lock()
		if n.failed[m.ID] {
			m.State = view.Failed
		}
		n.mu.Unlock()
		v.Members = append(v.Members, m)
	}
	return v
}

func (n fakeNode) AllowsService(string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.refuses[n.id]
}

func (n fakeNode) Lead(ctx context.Context, e token.Election, work func(ctx context.Context, t token.Token)) error {
	n.mu.Lock()
	b := n.ballot(e)
	if b.standing[n.id] != nil {
		n.mu.Unlock()
		return fmt.Errorf("node %d stands for %v already", n.id, e)
	}
	s := &fakeStanding{work: work}
	b.standing[n.id] = s
	n.ring()
	n.mu.Unlock()
	<-ctx.Done()
	n.mu.Lock()
	s.quits = true
	if b.leader.Node == n.id && s.cancel != nil {
		s.cancel()
	}
	for b.busy[n.id] {
		n.mu.Unlock()
		time.Sleep(time.Millisecond) // virtual
		n.mu.Lock()
	}
	delete(b.standing, n.id)
	n.ring()
	n.mu.Unlock()
	return ctx.Err()
}

func (n fakeNode) Prefer(e token.Election, preference uint32) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ballot(e).prefer[n.id] = preference
	n.ring()
	return nil
}

func (n fakeNode) Lease(e token.Election) (token.Token, time.Duration, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.ballot(e)
	if left := time.Until(b.ends) - fakeGuard; b.leader.Node == n.id && left > 0 {
		return b.leader, left, nil
	}
	return token.Token{}, 0, fmt.Errorf("node %d does not lead %v", n.id, e)
}

func (n fakeNode) HandedOver(e token.Election) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.ballot(e)
	return b.leader.Node == n.id && b.handedOver
}

func (n fakeNode) HandOver(e token.Election, to view.NodeID) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.ballot(e)
	if b.leader.Node != n.id {
		return fmt.Errorf("node %d does not lead %v", n.id, e)
	}
	b.nominee = to
	b.standing[n.id].cancel()
	return nil
}

func (n fakeNode) LetLapse(e token.Election) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ballot(e).lapses = true
	return nil
}

func (n fakeNode) Standing(e token.Election) (leader token.Token, candidates []token.Candidate) {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.ballot(e)
	for id := range b.standing {
		if !n.cut[id] && !n.cut[n.id] || id == n.id {
			candidates = append(candidates, token.Candidate{Node: id, Preference: b.prefer[id]})
		}
	}
	slices.SortFunc(candidates, func(a, b token.Candidate) int { return cmp.Compare(a.Node, b.Node) })
	return b.leader, candidates
}

func (n fakeNode) WatchStanding(ctx context.Context) <-chan struct{} {
	out := make(chan struct{}, 1)
	go func() {
		defer close(out)
		for range n.bell.Watch(ctx) {
			select {
			case out <- struct{}{}:
			default:
			}
		}
	}()
	return out
}

func (m *fakeMesh) setCut(id view.NodeID, cut bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cut[id] = cut
	m.ring()
}

func (m *fakeMesh) setRefuses(id view.NodeID, refuses bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refuses[id] = refuses
	m.ring()
}
