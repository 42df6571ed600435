package main

import (
	"context"
	"errors"
	"testing"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica"
)

func TestLedgerBooksBytesOnTheirCalls(t *testing.T) {
	var arrived int64
	l := newLedger(func() int64 { return arrived })
	arrived += 1000 // no call is under way
	one := l.beginCall(wire.MethodDigest)
	arrived += 70
	l.endCall(one, 40)
	arrived += 1000
	read := l.beginCall(wire.MethodRead)
	arrived += 500
	l.endCall(read, 450)
	two := l.beginCall(wire.MethodDigest)
	arrived += 80
	l.endCall(two, 50)
	got := l.takeAccount()
	if want := (usage{calls: 2, payload: 90, wire: 150}); got.finding() != want || got.by[wire.MethodDigest] != want {
		t.Errorf("finding took %+v, want %+v", got.finding(), want)
	}
	if want := (usage{calls: 1, payload: 450, wire: 500}); got.moving() != want {
		t.Errorf("moving took %+v, want %+v", got.moving(), want)
	}
	if got.rounds != 1 {
		t.Errorf("%d rounds until the items were known, want 1", got.rounds)
	}
	if again := l.takeAccount(); len(again.by) != 0 || again.rounds != 0 {
		t.Errorf("taken twice: %+v", again)
	}
}

func TestLedgerOfCallsAtTheSameTime(t *testing.T) {
	var arrived int64
	l := newLedger(func() int64 { return arrived })
	read := l.beginCall(wire.MethodRead)
	arrived += 10
	one, two := l.beginCall(wire.MethodDigest), l.beginCall(wire.MethodDigest)
	arrived += 300
	l.endCall(one, 0)
	l.endCall(two, 0)
	arrived += 5
	l.endCall(read, 0)
	after := l.beginCall(wire.MethodDigest)
	l.endCall(after, 0)
	l.endCall(l.beginCall(wire.MethodRead), 0)
	got := l.takeAccount()
	if got.finding().wire != 300 || got.moving().wire != 15 {
		t.Errorf("finding took %d B, moving %d B, want 300 and 15", got.finding().wire, got.moving().wire)
	}
	if got.rounds != 2 {
		t.Errorf("two calls at once and one after them are %d rounds, want 2", got.rounds)
	}
}

// echo is a mesh that answers with the request, twice.
type echo struct {
	replica.Mesh
	calls int
}

func (e *echo) Call(_ context.Context, _ view.NodeID, _ string, req []byte) ([]byte, error) {
	e.calls++
	return append(req[:len(req):len(req)], req...), nil
}

func TestMeteredMeshRefuses(t *testing.T) {
	inner := &echo{}
	m := meteredMesh{inner, newLedger(func() int64 { return 0 }), func(method string, _ []byte) bool { return method == wire.MethodDigest }}
	if _, err := m.Call(t.Context(), 1, wire.MethodMerge, []byte("abc")); !errors.Is(err, mesh.ErrUnreachable) || inner.calls != 0 {
		t.Errorf("a call that is not allowed: %v, %d calls went on", err, inner.calls)
	}
	reply, err := m.Call(t.Context(), 1, wire.MethodDigest, []byte("abc"))
	if err != nil || string(reply) != "abcabc" {
		t.Errorf("reply %q, %v", reply, err)
	}
	if got := m.ledger.takeAccount().finding(); got != (usage{calls: 1, payload: 9}) {
		t.Errorf("booked %+v", got)
	}
}
