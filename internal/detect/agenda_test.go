package detect

import (
	"runtime"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// A node that starts among thousands of dead members probes each of them three
// times, some hundreds a second. A probe must not cost a look at all the others:
// what is done for one is measured by what is allocated, which does not depend on
// the machine.
func TestProbesOfAGreatRosterCostNoLookAtAll(t *testing.T) {
	const dead = 8000
	d := New(1, LAN(), rng(1))
	for id := view.NodeID(2); id < dead+2; id++ {
		d.Step(0, Event{Joined, id})
	}
	probes, failed := 0, 0
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for now := time.Duration(0); failed < dead; {
		effects := d.Step(now, Event{Kind: Tick})
		for _, e := range effects {
			if e.Action == Probe {
				probes++
				for _, f := range d.Step(now, Event{ProbeFailed, e.ID}) {
					effects = append(effects, f)
					if f.Action == Changed && f.To == view.Failed {
						failed++
					}
				}
			}
		}
		if now = max(d.Next(), now); now > 10*time.Minute {
			t.Fatalf("%d of %d given up after %d probes in %v", failed, dead, probes, now)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / uint64(probes); each > 4096 {
		t.Errorf("each of %d probes among %d members allocated %d bytes", probes, dead, each)
	}
}

// Whoever is urgent goes first, then whoever waits for longest.
func TestAgendaKeepsOrder(t *testing.T) {
	a := newAgenda()
	for i, m := range []member{{id: 5, due: 30}, {id: 4, due: 10}, {id: 3, due: 20, urgent: true}, {id: 2, due: 90}, {id: 1, due: 5}} {
		a.placeMember(&m, m.due, 40)
		if i == 4 {
			a.placeMember(&m, Never, 40)
		}
	}
	if a.nextDue() != 90 || a.later.Len() != 1 {
		t.Errorf("next at %v, of %d", a.nextDue(), a.later.Len())
	}
	var got []view.NodeID
	for a.ready.Len() > 0 {
		m := a.ready.members[0]
		got = append(got, m.id)
		m.due, m.urgent = 100, true // noted when it is put, not before
		a.placeMember(m, 100, 40)
	}
	if len(got) != 3 || got[0] != 3 || got[1] != 4 || got[2] != 5 {
		t.Errorf("went in the order %v", got)
	}
}

func BenchmarkStartAmongTheDead(b *testing.B) {
	for range b.N {
		d := New(1, LAN(), rng(1))
		for id := view.NodeID(2); id < 10_000; id++ {
			d.Step(0, Event{Joined, id})
		}
		for now := time.Duration(0); now < time.Minute; now = d.Next() {
			for _, e := range d.Step(now, Event{Kind: Tick}) {
				if e.Action == Probe {
					d.Step(now, Event{ProbeFailed, e.ID})
				}
			}
		}
	}
}
