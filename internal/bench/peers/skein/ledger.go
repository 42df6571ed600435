package main

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica"
)

// carriesItems tells whether calls of a method carry items. Every other call that a
// comparison makes serves to find out which items differ.
func carriesItems(method string) bool {
	return method == wire.MethodRead || method == wire.MethodFetch || method == wire.MethodMerge || method == wire.MethodPut
}

// usage is what the calls of one method took.
type usage struct {
	calls   int
	payload int64 // requests and replies, without any framing
	wire    int64 // bytes of the connections, with frame headers and TLS
}

func (u usage) plusUsage(other usage) usage {
	return usage{u.calls + other.calls, u.payload + other.payload, u.wire + other.wire}
}

// ledger books the bytes that come in at the connections of some nodes on the
// calls that are under way at that time. As replies are counted before a caller
// sees them, and requests before they are answered, a call that is alone is
// booked to the byte. Of calls at the same time one gets all, first of all one
// that serves to find differences: what is told of these is never too little.
type ledger struct {
	arrived func() int64

	mu     sync.Mutex
	seen   int64 // of arrived, what is booked already
	open   []*call
	by     map[string]usage
	rounds int // the longest chain of calls that find differences, each begun after the one before it had ended
	found  int // of these, how many had ended when items were last called for: who calls for an item knows that it differs
	moved  time.Time
}

type call struct {
	method string
	round  int
}

func newLedger(arrived func() int64) *ledger {
	return &ledger{arrived: arrived, seen: arrived(), by: make(map[string]usage)}
}

func (l *ledger) beginCall(method string) *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.chargeArrived()
	c := &call{method: method, round: l.rounds + 1}
	l.open = append(l.open, c)
	if carriesItems(method) {
		l.found = l.rounds
		if l.moved.IsZero() {
			l.moved = time.Now()
		}
	}
	return c
}

func (l *ledger) endCall(c *call, payload int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.chargeArrived()
	l.by[c.method] = l.by[c.method].plusUsage(usage{calls: 1, payload: int64(payload)})
	if !carriesItems(c.method) {
		l.rounds = max(l.rounds, c.round)
	}
	for i, other := range l.open {
		if other == c {
			l.open = append(l.open[:i], l.open[i+1:]...)
			break
		}
	}
}

// chargeArrived charges what has come since the last time. It needs mu.
func (l *ledger) chargeArrived() {
	now := l.arrived()
	came := usage{wire: now - l.seen}
	l.seen = now
	if len(l.open) == 0 {
		return // pings and gossip
	}
	charged := l.open[0]
	for _, c := range l.open {
		if !carriesItems(c.method) {
			charged = c
			break
		}
	}
	l.by[charged.method] = l.by[charged.method].plusUsage(came)
}

// account is what a ledger holds between two moments.
type account struct {
	by     map[string]usage
	rounds int // until it was known what differs: where no call carried items, all of them
}

// takeAccount empties the ledger.
func (l *ledger) takeAccount() account {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.chargeArrived()
	out := account{by: maps.Clone(l.by), rounds: l.found}
	if out.moving().calls == 0 {
		out.rounds = l.rounds
	}
	clear(l.by)
	l.rounds, l.found = 0, 0
	return out
}

// firstMove is when a call with items was first made; zero: never.
func (l *ledger) firstMove() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.moved
}

// finding and moving add up the two kinds of calls.
func (a account) finding() usage {
	return a.sumWhere(func(method string) bool { return !carriesItems(method) })
}
func (a account) moving() usage { return a.sumWhere(carriesItems) }

func (a account) sumWhere(counts func(string) bool) (total usage) {
	for method, u := range a.by {
		if counts(method) {
			total = total.plusUsage(u)
		}
	}
	return total
}

// meteredMesh is what stands between a node and its store: it books the store's
// calls, and refuses those that are not allowed as if nobody could be reached.
type meteredMesh struct {
	replica.Mesh
	ledger *ledger
	allow  func(method string, req []byte) bool // nil: all are
}

func (m meteredMesh) Call(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error) {
	if m.allow != nil && !m.allow(method, req) {
		return nil, mesh.ErrUnreachable
	}
	if method == wire.MethodClock { // now and then, whether stores are compared or not
		return m.Mesh.Call(ctx, to, method, req)
	}
	c := m.ledger.beginCall(method)
	reply, err := m.Mesh.Call(ctx, to, method, req)
	m.ledger.endCall(c, len(req)+len(reply))
	return reply, err
}
