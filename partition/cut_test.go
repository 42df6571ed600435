package partition

import (
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/memnet"
)

var long = flag.Bool("long", false, "run the tests of large meshes and of long times")

// patrol looks, every 50 ms, who of each side leads by its own lease. Once a side
// has agreed on a leader it must never have two.
type patrol struct {
	w       *world
	sides   [][]*box
	begin   time.Time
	agreed  []bool          // the side has had a leader, known to all of it
	settled []time.Duration // since when it has had one without a break
	faults  []string
	last    []string
	trace   []string // who led when
	halt    chan struct{}
	all     sync.WaitGroup
}

func (w *world) patrol(sides ...[]*box) *patrol {
	p := &patrol{
		w: w, sides: sides, begin: time.Now(), halt: make(chan struct{}),
		agreed: make([]bool, len(sides)), settled: make([]time.Duration, len(sides)), last: make([]string, len(sides)),
	}
	p.all.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-p.halt:
				return
			case <-tick.C:
				p.look()
			}
		}
	})
	return p
}

func (p *patrol) look() {
	at := time.Since(p.begin)
	for i, side := range p.sides {
		var leads []string
		for _, b := range side {
			if b.leads() {
				leads = append(leads, b.mesh.Name)
			}
		}
		if len(leads) > 1 && p.agreed[i] {
			p.faults = append(p.faults, fmt.Sprintf("%v lead at the same time, after %v", leads, at))
		}
		known := p.w.agreed(side...) != nil
		if now := fmt.Sprintf("%v lead, known to all: %v", leads, known); now != p.last[i] {
			p.last[i] = now
			p.trace = append(p.trace, fmt.Sprintf("%v: of side %d %s", at, i, now))
		}
		if !known {
			p.settled[i] = at
		} else {
			p.agreed[i] = true
		}
	}
}

// end stops the patrol and tells what was wrong: two leaders, or no lasting one
// within the limit.
func (p *patrol) end(limit time.Duration) {
	p.w.t.Helper()
	close(p.halt)
	p.all.Wait()
	for _, f := range p.faults[:min(len(p.faults), 10)] {
		p.w.t.Error(f)
	}
	defer func() {
		if p.w.t.Failed() {
			p.w.t.Logf("who led when:\n%s", strings.Join(p.trace, "\n"))
		}
	}()
	for i, side := range p.sides {
		if p.settled[i] > limit {
			p.w.dump()
			p.w.t.Errorf("the side with %s and %d others had no lasting leader before %v, the limit is %v",
				side[0].mesh.Name, len(side)-1, p.settled[i], limit)
		}
	}
}

// cut parts the mesh and heals it after a while. Each side must have one leader
// within a limit, and so must the whole: that of the side with more than half of all,
// if there is one.
func (w *world) cut(part, whole, rest time.Duration, sides ...[]*box) {
	w.t.Helper()
	var sizes []int
	for i, a := range sides {
		sizes = append(sizes, len(a))
		for _, b := range sides[i+1:] {
			w.net.Partition(w.addrs(a...), w.addrs(b...))
		}
	}
	p := w.patrol(sides...)
	time.Sleep(rest)
	p.end(part)
	var leader *box
	for _, side := range sides {
		if 2*len(side) > len(w.boxes) {
			leader = w.agreed(side...)
		}
	}
	w.net.HealAll()
	q := w.patrol(w.boxes)
	took := w.until(2*time.Minute, "all see all again", w.whole)
	w.until(whole, "one leads again", func() bool { return w.agreed(w.boxes...) != nil })
	if leader != nil && w.agreed(w.boxes...) != leader {
		w.dump()
		w.t.Errorf("cut into %v: %s of the larger side does not lead after the heal", sizes, leader.mesh.Name)
	}
	time.Sleep(rest)
	q.end(whole)
	w.t.Logf("cut into %v: sides led after %v; healed: led after %v, whole after %v", sizes, p.settled, q.settled, took)
}

// Of a mesh of five, cut in any way, each side has one leader within the time that
// the pace promises, never two, and the whole has one again.
func TestEachSideOfFiveIsLed(t *testing.T) {
	t.Parallel()
	inWorld(t, 5, lan, nil, func(w *world) {
		b := w.boxes
		for _, sides := range [][][]*box{
			{b[:4], b[4:]},
			{b[1:], b[:1]},
			{b[:2], b[2:]},
			{{b[0], b[2], b[4]}, {b[1], b[3]}},
			{b[:2], b[2:4], b[4:]},
		} {
			w.cut(20*time.Second, 30*time.Second, time.Minute, sides...)
		}
	})
}

func TestEachSideIsLedAtOtherPaces(t *testing.T) {
	for name, pr := range map[string]profile{"WAN": wan, "Edge": edge} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, 5, pr, nil, func(w *world) {
				w.net.SetPaths(memnet.Path{Delay: 100 * time.Millisecond, Jitter: 50 * time.Millisecond})
				b := w.boxes
				for _, sides := range [][][]*box{{b[:3], b[3:]}, {b[:1], b[1:]}, {b[:2], b[2:4], b[4:]}} {
					w.cut(time.Minute, time.Minute, 3*time.Minute, sides...)
				}
			})
		})
	}
}

// The same of fifty, in which half a mesh is lost more slowly than one node.
func TestLongEachSideOfFiftyIsLed(t *testing.T) {
	if !*long {
		t.Skip("run with -long")
	}
	t.Parallel()
	inWorld(t, 50, lan, nil, func(w *world) {
		b := w.boxes
		for _, sides := range [][][]*box{
			{b[:25], b[25:]},
			{b[:40], b[40:]},
			{b[:49], b[49:]},
			{b[:20], b[20:35], b[35:]},
		} {
			w.cut(30*time.Second, 30*time.Second, time.Minute, sides...)
		}
	})
}
