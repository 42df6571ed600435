package detect

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// history is the dumb model: it keeps what was fed in and what came out, and
// checks every output against all of it.
type history struct {
	t       *testing.T
	par     Params
	states  map[view.NodeID]view.State
	listed  map[view.NodeID]bool
	gossip  map[view.NodeID]Kind
	outcome map[view.NodeID][]bool          // direct outcomes, oldest first
	pending map[view.NodeID]time.Duration   // start of the probe under way
	starts  []time.Duration                 // of all probes
	upSince map[view.NodeID]time.Duration   // gossip
	redials map[view.NodeID][]time.Duration // starts
	cut     map[view.NodeID]bool            // on the list of Unreachable, as reported
	heard   map[view.NodeID]time.Duration   // the last direct success
}

func newHistory(t *testing.T, par Params) *history {
	return &history{
		t: t, par: par,
		states: map[view.NodeID]view.State{}, listed: map[view.NodeID]bool{}, gossip: map[view.NodeID]Kind{},
		outcome: map[view.NodeID][]bool{}, pending: map[view.NodeID]time.Duration{},
		upSince: map[view.NodeID]time.Duration{}, redials: map[view.NodeID][]time.Duration{},
		cut: map[view.NodeID]bool{}, heard: map[view.NodeID]time.Duration{},
	}
}

// failures counts the failures since the last success.
func (h *history) failures(id view.NodeID) int {
	n, o := 0, h.outcome[id]
	for i := len(o) - 1; i >= 0 && !o[i]; i-- {
		n++
	}
	return n
}

func (h *history) event(now time.Duration, ev Event) {
	switch ev.Kind {
	case Joined, Gone:
		h.listed[ev.ID] = true
	case GossipAlive:
		if h.gossip[ev.ID] != GossipAlive {
			h.upSince[ev.ID] = now
		}
		h.gossip[ev.ID] = ev.Kind
	case GossipFailed, GossipLeft:
		h.gossip[ev.ID] = ev.Kind
	case ProbeOK:
		h.outcome[ev.ID] = append(h.outcome[ev.ID], true)
		if h.listed[ev.ID] {
			h.heard[ev.ID] = now
		}
		delete(h.pending, ev.ID)
	case ProbeFailed:
		if at, ok := h.pending[ev.ID]; ok && now-at <= 2*h.par.ProbeTimeout {
			h.outcome[ev.ID] = append(h.outcome[ev.ID], false)
		}
		delete(h.pending, ev.ID)
	}
}

func (h *history) effect(now time.Duration, ev Event, e Effect) {
	h.t.Helper()
	if e.Action != Seek && e.Action != Relisted && (!h.listed[e.ID] || h.states[e.ID] == view.Departed) {
		h.t.Fatalf("at %v: %+v for a member that is gone or not in the roster", now, e)
	}
	switch e.Action {
	case Probe:
		if at, ok := h.pending[e.ID]; ok && now-at < 4*h.par.ProbeTimeout {
			h.t.Fatalf("at %v: second probe of %v while one is under way", now, e.ID)
		}
		h.pending[e.ID] = now
		h.starts = append(h.starts, now)
	case Redial:
		h.redials[e.ID] = append(h.redials[e.ID], now)
		if h.states[e.ID] == view.Alive && h.gossip[e.ID] == GossipAlive {
			h.t.Fatalf("at %v: redial of %v, which is in contact", now, e.ID)
		}
	case Changed:
		h.changed(now, ev, e)
	case Relisted:
		h.cut[e.ID] = !h.cut[e.ID]
	}
}

func (h *history) changed(now time.Duration, ev Event, e Effect) {
	h.t.Helper()
	if e.From != h.states[e.ID] || e.From == e.To {
		h.t.Fatalf("at %v: %+v, yet the state was %v", now, e, h.states[e.ID])
	}
	h.states[e.ID] = e.To
	up := h.gossip[e.ID] == GossipAlive
	fails := h.failures(e.ID)
	ok := false
	switch e.To {
	case view.Failed:
		ok = fails >= h.par.Probes && !up
	case view.Alive:
		ok = ev.ID == e.ID && (ev.Kind == ProbeOK || e.From == view.Unknown && up && fails == 0)
	case view.Suspect:
		ok = fails >= 1 && (e.From == view.Alive && ev.Kind == ProbeFailed ||
			e.From == view.Unknown && up && fails >= h.par.Probes ||
			e.From == view.Failed && up && now-h.upSince[e.ID] >= h.par.Hold)
	case view.Departed:
		ok = ev.Kind == Gone && ev.ID == e.ID
	}
	if !ok {
		h.t.Fatalf("at %v: %+v after %+v is not justified: %d failures in a row, gossip %v",
			now, e, ev, fails, h.gossip[e.ID])
	}
}

// paced checks that no second saw more probes than allowed.
func (h *history) paced() {
	h.t.Helper()
	limit := h.par.ProbeBurst + h.par.ProbeRate + 1
	for i := range h.starts {
		if j := i + limit; j < len(h.starts) && h.starts[j]-h.starts[i] < time.Second {
			h.t.Fatalf("more than %d probes between %v and %v", limit, h.starts[i], h.starts[j])
		}
	}
}

func TestRandomEventsJustifyEveryEffect(t *testing.T) {
	kinds := []Kind{Tick, Joined, Gone, GossipAlive, GossipFailed, GossipLeft, Broken, Doubt,
		ProbeOK, ProbeFailed, ProbeFailed, ProbeFailed, ProbeFailed, GossipFailed}
	failed := 0
	for seed := range uint64(400) {
		r := rng(seed)
		par := []Params{LAN(), WAN(), Edge()}[seed%3]
		par.ProbeRate, par.ProbeBurst = 1+r.IntN(20), 1+r.IntN(5)
		d, h := New(1000, par, rng(seed+1)), newHistory(t, par)
		now := time.Duration(0)
		for range 600 {
			now += time.Duration(r.Int64N(int64(par.ProbeTimeout)))
			if r.IntN(50) == 0 {
				now += time.Duration(r.Int64N(int64(2 * par.Hold)))
			}
			ev := Event{Kind: kinds[r.IntN(len(kinds))], ID: view.NodeID(1 + r.IntN(6))}
			if ev.Kind == Gone && r.IntN(10) != 0 {
				ev.Kind = Joined
			}
			h.event(now, ev)
			for _, e := range d.Step(now, ev) {
				h.effect(now, ev, e)
				if e.Action == Changed && e.To == view.Failed {
					failed++
				}
			}
			if ev.Kind == ProbeOK && h.listed[ev.ID] && h.states[ev.ID] != view.Departed && d.State(ev.ID) != view.Alive {
				t.Fatalf("seed %d: %v answered and is %v", seed, ev.ID, d.State(ev.ID))
			}
			h.agree(now, d)
			if d.Next() < now-par.ProbeTimeout {
				t.Fatalf("seed %d at %v: a step was due at %v", seed, now, d.Next())
			}
		}
		h.paced()
	}
	if failed < 400 {
		t.Fatalf("only %d failures declared: the schedules are too tame", failed)
	}
}

func (h *history) agree(now time.Duration, d *Detector) {
	h.t.Helper()
	alive := 1
	var unreachable []view.NodeID
	for id := view.NodeID(1); id <= 6; id++ {
		if h.states[id] == view.Alive {
			alive++
		}
		if h.listed[id] && h.states[id] != view.Departed && h.gossip[id] == GossipAlive && h.failures(id) >= h.par.Probes {
			unreachable = append(unreachable, id)
		}
		if h.cut[id] != (len(unreachable) > 0 && unreachable[len(unreachable)-1] == id) {
			h.t.Fatalf("%v on the list of %v, reported %v", id, unreachable, h.cut[id])
		}
		h.testify(now, d, id)
		if d.State(id) != h.states[id] {
			h.t.Fatalf("state of %v is %v, reported %v", id, d.State(id), h.states[id])
		}
	}
	if d.Size() != alive {
		h.t.Fatalf("size %d, want %d", d.Size(), alive)
	}
	if got := d.Unreachable(); !slices.Equal(got, unreachable) {
		h.t.Fatalf("unreachable %v, want %v", got, unreachable)
	}
}

// testify checks what a node says of a member without probing it.
func (h *history) testify(now time.Duration, d *Detector, id view.NodeID) {
	h.t.Helper()
	at, heard := h.heard[id]
	want := wire.ReachUnknown
	switch {
	case h.states[id] == view.Failed:
		want = wire.NotReached
	case h.states[id] == view.Alive && heard && now-at < h.par.Watch:
		want = wire.Reached
	}
	if got := d.Witness(now, id); got != want {
		h.t.Fatalf("at %v: says %v of %v, which is %v and was heard at %v (%v)", now, got, id, h.states[id], at, heard)
	}
}

func TestSameSeedSameRun(t *testing.T) {
	run := func() (out []Effect) {
		r, d := rng(7), New(1000, LAN(), rng(8))
		for now := time.Duration(0); now < time.Minute; now += 100 * time.Millisecond {
			out = append(out, d.Step(now, Event{Kind(r.IntN(int(ProbeFailed) + 1)), view.NodeID(1 + r.IntN(20))})...)
		}
		return out
	}
	if a, b := run(), run(); !slices.Equal(a, b) || len(a) == 0 {
		t.Fatalf("two runs of one seed differ, or did nothing: %d and %d effects", len(a), len(b))
	}
}
