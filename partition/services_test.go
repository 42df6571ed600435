package partition

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/skeinmesh/skein/failover"
	words "github.com/skeinmesh/skein/failover/service"
)

var _ failover.Elections = (*Partition)(nil)

// line is a service on all boxes of a world, and where it runs.
type line struct {
	w    *world
	plan words.Plan
	// records are those of the box that is served next; nil: none.
	records failover.Records

	at    map[*box]*failover.Failover
	mu    sync.Mutex
	runs  map[*box]bool
	twice bool // it ran at two boxes at once
}

// serveLine has all boxes serve a service, until the end of the test.
func (w *world) serveLine(mode words.Mode, names ...string) *line {
	w.t.Helper()
	l := &line{w: w, plan: words.Plan{Service: "press", Mode: mode, Primary: names[0], Backups: names[1:]}, at: map[*box]*failover.Failover{}, runs: map[*box]bool{}}
	for _, b := range w.boxes {
		l.serve(b)
	}
	return l
}

func (l *line) serve(b *box) {
	l.w.t.Helper()
	f, err := failover.Open(context.Background(), failover.Config{Mesh: b.node, Elections: b.part, Records: l.records, Logger: b.mesh.Logger})
	if err != nil {
		l.w.t.Fatal(err)
	}
	l.at[b] = f
	err = f.Serve(failover.Service{
		Plan: l.plan, Address: b.addr.String(),
		Start: func(context.Context, failover.Run) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.twice = l.twice || len(l.runs) > 0
			l.runs[b] = true
			return nil
		},
		Stop: func(context.Context, failover.Run) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			delete(l.runs, b)
			return nil
		},
	})
	if err != nil {
		l.w.t.Fatal(err)
	}
}

// kill ends a box as a power cut does: what ran there is gone.
func (l *line) kill(b *box) {
	l.mu.Lock()
	delete(l.runs, b)
	l.mu.Unlock()
	b.kill()
	_ = l.at[b].Close()
	delete(l.at, b)
	l.mu.Lock()
	delete(l.runs, b)
	l.mu.Unlock()
}

func (l *line) close() {
	for _, f := range l.at {
		if err := f.Close(); err != nil {
			l.w.t.Error(err)
		}
	}
}

// runsAt waits until the service runs, verified, at these boxes alone and returns how long
// that took.
func (l *line) runsAt(limit time.Duration, boxes ...*box) time.Duration {
	l.w.t.Helper()
	return l.w.until(limit, "it runs there", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.runs) != len(boxes) {
			return false
		}
		for _, b := range boxes {
			if !l.runs[b] || l.at[b].Status()[0].Health != words.Healthy {
				return false
			}
		}
		return true
	})
}

func (l *line) checkNeverTwice() {
	l.w.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.twice {
		l.w.t.Error("it ran at two boxes at once")
	}
}

// voting names the first three boxes as voters.
func voting(_ int, c *Config) { c.Voters = []string{"node-0", "node-1", "node-2"} }

// TestAnExclusiveServiceSurvives has its node killed, moved from, cut off and healed: it runs
// elsewhere in time, never at two nodes, and is not restarted when a node returns.
func TestAnExclusiveServiceSurvives(t *testing.T) {
	t.Parallel()
	inWorld(t, 5, lan, voting, func(w *world) {
		l := w.serveLine(words.Exclusive, "node-3", "node-4", "node-0", "node-1")
		defer l.close()
		b := w.boxes
		l.runsAt(10*time.Second, b[3])
		l.kill(b[3])
		if took := l.runsAt(lan.pace.Lease+6*time.Second, b[4]); took > lan.pace.Lease+time.Second {
			t.Errorf("%v after the kill", took)
		}
		b[3].start()
		l.serve(b[3])
		w.until(time.Minute, "all see all", w.whole)
		time.Sleep(30 * time.Second)
		l.runsAt(0, b[4])
		if err := l.at[b[4]].Move("press", "node-0"); err != nil {
			t.Fatal(err)
		}
		if took := l.runsAt(5*time.Second, b[0]); took > 500*time.Millisecond {
			t.Errorf("moved in %v", took)
		}
		w.net.Partition(w.addrs(b[0]), w.addrs(b[1:]...))
		l.runsAt(lan.pace.Lease+6*time.Second, b[3])
		w.net.HealAll()
		time.Sleep(time.Minute)
		l.runsAt(0, b[3])
		l.checkNeverTwice()
	})
}

// TestAServicePerComponent runs on both sides of a cut, and on one when they have met.
func TestAServicePerComponent(t *testing.T) {
	t.Parallel()
	inWorld(t, 5, lan, nil, func(w *world) {
		l := w.serveLine(words.PerComponent, "node-0")
		defer l.close()
		b := w.boxes
		l.runsAt(10*time.Second, b[0])
		w.net.Partition(w.addrs(b[0], b[1]), w.addrs(b[2:]...))
		w.until(time.Minute, "both sides run it", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return len(l.runs) == 2 && l.runs[b[0]]
		})
		w.net.HealAll()
		w.until(time.Minute, "one side runs it", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return len(l.runs) == 1
		})
		time.Sleep(30 * time.Second)
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.runs) != 1 {
			t.Errorf("it runs at %d boxes after the heal", len(l.runs))
		}
	})
}

// TestNoServiceWithoutAMajority has two of three voters go: nobody runs an exclusive service,
// and it is said why.
func TestNoServiceWithoutAMajority(t *testing.T) {
	t.Parallel()
	inWorld(t, 3, lan, voting, func(w *world) {
		l := w.serveLine(words.Exclusive, "node-0")
		defer l.close()
		l.runsAt(10*time.Second, w.boxes[0])
		l.kill(w.boxes[1])
		l.kill(w.boxes[2])
		w.until(time.Minute, "it has ended", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return len(l.runs) == 0
		})
		e := failover.Service{Plan: l.plan}.Election()
		w.until(time.Minute, "it is said why", func() bool {
			all := w.boxes[0].part.Status().Elections
			return slices.ContainsFunc(all, func(l Leadership) bool { return l.Election == e && l.Problem != "" })
		})
		l.checkNeverTwice()
	})
}
