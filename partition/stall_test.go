package partition

import (
	"testing"
	"time"
)

// stall lets a process stand still for d, as one that gets SIGSTOP and then SIGCONT: nothing
// of it gets in or out, and when it goes on its clocks have gone on as well. While it stands
// still look is called.
func (b *box) stall(d time.Duration, look func(at time.Duration)) {
	const tick = 5 * time.Millisecond
	b.w.net.Stall(b.addr, d)
	for at := tick; at <= d; at += tick {
		time.Sleep(tick)
		b.clock.Suspend(-tick)
		look(at)
	}
	b.clock.Suspend(d)
}

// What a stall costs, as the package's documentation says: a process that leads many
// elections stands still for a while, at any moment between two renewals.
func TestWhatAStallCosts(t *testing.T) {
	for _, c := range []struct {
		name string
		pr   profile
		cost map[time.Duration]int // leads lost, of n
		safe time.Duration         // a stall that never costs any
	}{
		{"LAN", lan, map[time.Duration]int{time.Second: 0, 3 * time.Second: many, 10 * time.Second: many}, 1250 * time.Millisecond},
		{"WAN", wan, map[time.Duration]int{time.Second: 0, 3 * time.Second: 0, 10 * time.Second: many}, 3400 * time.Millisecond},
		{"Edge", edge, map[time.Duration]int{time.Second: 0, 3 * time.Second: 0, 10 * time.Second: 0}, 14 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, 5, c.pr, nil, func(w *world) {
				w.standForMany()
				for _, d := range []time.Duration{time.Second, 3 * time.Second, 10 * time.Second} {
					w.costs(c.pr.pace, d, c.cost[d])
				}
				for range 3 {
					w.costs(c.pr.pace, c.safe, 0)
					time.Sleep(c.pr.pace.Renew * 2 / 5)
				}
			})
		})
	}
}

// many is how many elections the process leads that stands still.
const many = 8

// standForMany has all boxes stand, the first one preferred.
func (w *world) standForMany() {
	for i := range many {
		w.boxes[0].prefer(service(i), 1)
		for _, b := range w.boxes {
			s := b.stand(service(i))
			w.t.Cleanup(func() { s.cancel() })
		}
	}
}

// costs has the first box lead all, and then stand still, and counts what it has lost.
func (w *world) costs(pace Pace, d time.Duration, want int) {
	w.t.Helper()
	first, rest := w.boxes[0], w.boxes[1:]
	w.until(5*time.Minute, "the first one leads all", func() bool { return w.whole() && first.leadsAll(many) })
	time.Sleep(pace.Settle + 2*pace.Lease) // by then the voters follow its terms
	var terms [many]uint64
	for i := range many {
		terms[i] = first.election(service(i)).firstTerm()
	}
	taken := time.Duration(0) // when the last one was taken over
	first.stall(d, func(at time.Duration) {
		n := 0
		for i := range many {
			for _, b := range rest {
				if b.leadsIn(service(i)) {
					n++
				}
			}
		}
		if n == many && taken == 0 {
			taken = at
		}
	})
	time.Sleep(10 * time.Millisecond)
	lost := 0
	for i := range many {
		if !first.leadsIn(service(i)) || first.election(service(i)).firstTerm() != terms[i] {
			lost++
		}
	}
	w.t.Logf("a stall of %v costs %d of %d leads, all are led by others after %v", d, lost, many, taken)
	if lost != want {
		w.t.Errorf("a stall of %v costs %d of %d leads, not %d", d, lost, many, want)
	}
	if bound := pace.Lease + max(time.Second, 3*pace.Pause); want > 0 && (taken == 0 || taken > bound) {
		w.t.Errorf("after a stall of %v others lead after %v, not within %v", d, taken, bound)
	}
}

// A disk that takes nothing for ten seconds costs its node no lead at any pace: renewals
// write nothing.
func TestStallOfADiskCostsNothing(t *testing.T) {
	t.Parallel()
	d := &disks{}
	config := func(i int, c *Config) {
		if i == 0 {
			c.fs = d.of(c.fs)
		}
	}
	inWorld(t, 5, lan, config, func(w *world) {
		w.standForMany()
		w.until(5*time.Minute, "the first one leads all", func() bool { return w.boxes[0].leadsAll(many) })
		time.Sleep(lan.pace.Settle + 2*lan.pace.Lease)
		d.sync = 10 * time.Second
		if err := w.boxes[0].part.Prefer(Election{Name: "one more"}, 1); err != nil { // its disk has something to do
			t.Error(err)
		}
		for range 250 {
			time.Sleep(50 * time.Millisecond)
			if !w.boxes[0].leadsAll(many) {
				t.Fatal("a lead is lost")
			}
		}
	})
}
