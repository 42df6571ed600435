package replicate

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// plan5 has homes 1, 2, 3 and stand-ins 4, 5; all live but those named.
func plan5(self view.NodeID, dead ...view.NodeID) Plan {
	return Plan{
		Self: self, Order: []view.NodeID{1, 2, 3, 4, 5}, Homes: 3,
		Live: func(id view.NodeID) bool { return !slices.Contains(dead, id) },
	}
}

func show(effects []Effect) string {
	var out []string
	for _, e := range effects {
		switch e.Kind {
		case Send:
			if e.For == 0 {
				out = append(out, fmt.Sprintf("send %d", uint64(e.To)))
			} else {
				out = append(out, fmt.Sprintf("hint %d for %d", uint64(e.To), uint64(e.For)))
			}
		case Keep:
			out = append(out, fmt.Sprintf("keep for %d", uint64(e.For)))
		case Settle:
			out = append(out, fmt.Sprintf("settle %d", uint64(e.For)))
		case Finish:
			out = append(out, "finish")
		}
	}
	return fmt.Sprint(out)
}

const ms = time.Millisecond

type writeStep struct {
	do   func(op *WriteOp) []Effect
	want string
}

func committed(op *WriteOp) []Effect { return op.Committed(0) }

func ack(id view.NodeID) func(*WriteOp) []Effect {
	return func(op *WriteOp) []Effect { return op.Acked(id, 10*ms) }
}

var errFenced = errors.New("fenced")

func fenced(id view.NodeID) func(*WriteOp) []Effect {
	return func(op *WriteOp) []Effect { return op.Fenced(id, errFenced, 10*ms) }
}

func fail(id view.NodeID) func(*WriteOp) []Effect {
	return func(op *WriteOp) []Effect { return op.Failed(id, 10*ms) }
}

func tick(at time.Duration) func(*WriteOp) []Effect {
	return func(op *WriteOp) []Effect { return op.Tick(at) }
}

func kept(id view.NodeID) func(*WriteOp) []Effect {
	return func(op *WriteOp) []Effect { return op.Kept(id) }
}

var writeCases = map[string]struct {
	plan     Plan
	level    Level
	min      int
	steps    []writeStep
	result   Result
	degraded bool
	over     bool
}{
	"all well, two stores": {plan5(1), DefaultLevel, 2, []writeStep{
		{committed, "[send 2 send 3]"},
		{ack(3), "[finish]"},
		{ack(2), "[]"},
	}, Result{Durable: 2, Homes: 2}, false, true},
	"one store only": {plan5(1), One, 1, []writeStep{
		{committed, "[send 2 send 3 finish]"},
	}, Result{Durable: 1, Homes: 1}, false, false},
	"dead home": {plan5(1, 2), Quorum, 2, []writeStep{
		{committed, "[hint 4 for 2 send 3]"},
		{ack(4), "[]"},
		{ack(3), "[finish]"},
	}, Result{Durable: 3, Homes: 2, Hinted: 1}, false, true},
	"silent home": {plan5(1), Quorum, 2, []writeStep{
		{committed, "[send 2 send 3]"},
		{tick(499 * ms), "[]"},
		{tick(500 * ms), "[hint 4 for 2 hint 5 for 3]"},
		{ack(5), "[]"},
		{ack(2), "[finish]"}, // late, and the home at last
		{ack(4), "[]"},
	}, Result{Durable: 3, Homes: 2, Hinted: 1}, false, true},
	"nobody else": {plan5(1, 2, 3, 4, 5), DefaultLevel, 2, []writeStep{
		{committed, "[keep for 2 keep for 3]"},
		{kept(2), "[]"},
		{kept(3), "[finish]"},
	}, Result{Durable: 1, Homes: 1, Hinted: 2}, true, true},
	"stand-ins fail, too": {plan5(1, 2), DefaultLevel, 2, []writeStep{
		{committed, "[hint 4 for 2 send 3]"},
		{fail(4), "[hint 5 for 2]"},
		{fail(5), "[keep for 2]"},
		{kept(2), "[]"},
		{fail(3), "[keep for 3]"},
		{kept(3), "[finish]"},
		{ack(3), "[settle 3]"},
	}, Result{Durable: 1, Homes: 1, Hinted: 2}, true, true},
	"no home in reach": {plan5(4, 1, 2, 3), DefaultLevel, 2, []writeStep{
		{committed, "[hint 5 for 2]"}, // this store stands in for 1
		{ack(5), "[finish]"},
	}, Result{Durable: 2, Hinted: 3}, false, true},
	"a stranger whose homes take over": {plan5(4), Sloppy(3), 2, []writeStep{
		{committed, "[send 1 send 2 send 3]"},
		{ack(1), "[settle 1]"},
		{ack(2), "[settle 2 finish]"},
		{ack(3), "[settle 3]"},
	}, Result{Durable: 3, Homes: 2, Hinted: 1}, false, true},
	"a home has seen a later leader": {plan5(1), Quorum, 2, []writeStep{
		{committed, "[send 2 send 3]"},
		{fenced(3), "[finish]"},
		{ack(2), "[]"},
	}, Result{Durable: 2, Homes: 2}, false, true},
	"a home that is fenced has the write": {plan5(4), Sloppy(3), 2, []writeStep{
		{committed, "[send 1 send 2 send 3]"},
		{fenced(2), "[settle 2 finish]"},
		{ack(1), "[settle 1]"},
		{ack(3), "[settle 3]"},
	}, Result{Durable: 2, Homes: 1, Hinted: 2}, false, true},
	"fenced too late": {plan5(1), DefaultLevel, 2, []writeStep{
		{committed, "[send 2 send 3]"},
		{ack(2), "[finish]"},
		{fenced(3), "[]"},
	}, Result{Durable: 2, Homes: 2}, false, true},
	"a stranger is not one more copy": {plan5(4), Sloppy(4), 2, []writeStep{
		{committed, "[send 1 send 2 send 3]"},
		{ack(1), "[settle 1]"},
		{ack(2), "[settle 2]"},
		{ack(3), "[settle 3 finish]"},
	}, Result{Durable: 3, Homes: 3}, true, true},
}

func TestWriteSteps(t *testing.T) {
	for name, c := range writeCases {
		op := NewWrite(c.plan, c.level, c.min, 0)
		for i, s := range c.steps {
			if got := show(s.do(op)); got != s.want {
				t.Errorf("%s, step %d: %s, want %s", name, i, got, s.want)
			}
		}
		r := op.Result()
		wantFenced := strings.HasPrefix(name, "a home ")
		if errors.Is(r.Err, ErrDegraded) != c.degraded || errors.Is(r.Err, errFenced) != wantFenced {
			t.Errorf("%s: %v", name, r.Err)
		}
		if r.Err = nil; r != c.result {
			t.Errorf("%s: %+v, want %+v", name, r, c.result)
		}
		if op.Over() != c.over {
			t.Errorf("%s: over is %v", name, op.Over())
		}
	}
}

func TestWriteLocalRoles(t *testing.T) {
	if got := NewWrite(plan5(2), One, 1, 0).LocalRoles(); !slices.Equal(got, []Role{HomeRole}) {
		t.Errorf("at a home: %v", got)
	}
	if got := NewWrite(plan5(5), One, 1, 0).LocalRoles(); !slices.Equal(got, []Role{{1}, {2}, {3}}) {
		t.Errorf("elsewhere: %v", got)
	}
	homeless := NewWrite(Plan{Self: 5}, One, 1, 0)
	if got := homeless.LocalRoles(); !slices.Equal(got, []Role{HomeRole}) {
		t.Errorf("where there is no home: %v", got)
	}
	homeless.Committed(0)
	if got := homeless.Result(); got.Durable != 1 || got.Homes != 0 || got.Err != nil {
		t.Errorf("where there is no home: %+v", got)
	}
}

func TestWriteAbandon(t *testing.T) {
	op := NewWrite(plan5(1), Quorum, 2, 0)
	if got := op.Abandon(); got != nil {
		t.Fatalf("before the commit: %s", show(got))
	}
	op.Committed(0)
	if got := show(op.Abandon()); got != "[finish]" {
		t.Fatal(got)
	}
	if r := op.Result(); !errors.Is(r.Err, ErrDegraded) || r.Durable != 1 || op.Over() {
		t.Fatalf("%+v", r)
	}
	op.Acked(2, 1)
	if got := show(op.Tick(DefaultAckTimeout)); got != "[hint 4 for 3]" {
		t.Fatalf("the copies stop with the client: %s", got)
	}
}

// Whatever fails in whatever order, every home ends up with the write or with
// a hint that somebody has acked, and the client is told exactly once.
func TestF1_16_EveryHomeIsAccountedFor(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 1))
	for range 20_000 {
		p := plan5(view.NodeID(1 + r.IntN(5)))
		dead := r.IntN(32)
		p.Live = func(id view.NodeID) bool { return dead>>(id-1)&1 == 0 }
		op := NewWrite(p, []Level{One, Quorum, 2, 3}[r.IntN(4)], r.IntN(4), 0)
		holds := map[view.NodeID][]view.NodeID{} // home -> stores that hold the write for it
		for _, role := range op.LocalRoles() {
			if role.For != 0 {
				holds[role.For] = append(holds[role.For], p.Self)
			}
		}
		var now time.Duration
		var sent []Effect
		finished := 0
		take := func(effects []Effect) {
			for _, e := range effects {
				switch e.Kind {
				case Send:
					sent = append(sent, e)
				case Keep:
					holds[e.For] = append(holds[e.For], p.Self)
					sent = append(sent, e)
				case Finish:
					finished++
				}
			}
		}
		take(op.Committed(now))
		for len(sent) > 0 {
			i := r.IntN(len(sent))
			e := sent[i]
			sent = slices.Delete(sent, i, i+1)
			switch {
			case e.Kind == Keep:
				take(op.Kept(e.For))
			case r.IntN(3) == 0:
				take(op.Failed(e.To, now))
			case r.IntN(3) == 0:
				now += DefaultAckTimeout
				take(op.Tick(now)) // and the ack is never heard
			default:
				home := e.For
				if home == 0 {
					home = e.To
				}
				holds[home] = append(holds[home], e.To)
				take(op.Acked(e.To, now))
			}
		}
		now += DefaultAckTimeout
		for take(op.Tick(now)); len(sent) > 0; sent = sent[1:] {
			take(op.Failed(sent[0].To, now))
			take(op.Kept(sent[0].For))
		}
		if finished != 1 || !op.Over() {
			t.Fatalf("finished %d times, over is %v: %+v", finished, op.Over(), op)
		}
		for _, home := range p.homeIDs() {
			if home != p.Self && len(holds[home]) == 0 {
				t.Fatalf("nobody holds the write for %v: %+v", home, op)
			}
		}
		if res := op.Result(); res.Durable < 1 || res.Homes > p.Homes {
			t.Fatalf("%+v", res)
		}
	}
}

func BenchmarkWriteOp(b *testing.B) {
	p := plan5(1)
	b.ReportAllocs()
	for b.Loop() {
		op := NewWrite(p, DefaultLevel, 2, 0)
		op.LocalRoles()
		op.Committed(0)
		op.Acked(2, 1)
		op.Acked(3, 1)
	}
}
