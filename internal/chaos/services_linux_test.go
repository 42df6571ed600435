package chaos

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/partition"
)

// serving is a mesh whose nodes serve a command.
type serving struct {
	*Cluster
	t   *testing.T
	dir string
}

// startServing returns a mesh of five that serves a command, or skips the test.
func startServing(t *testing.T) *serving {
	t.Helper()
	t.Parallel()
	s := &serving{Cluster: New(t, 5), t: t, dir: t.TempDir()}
	binary, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	s.Start(binary, "-voters", strings.Join(sortedNames(s.Nodes), ","), "-serves", s.dir)
	s.runner(agreeIn)
	return s
}

// runner waits until one node runs the service, verified, and returns it.
func (s *serving) runner(limit time.Duration, except ...*Node) (n *Node) {
	s.t.Helper()
	s.Await(limit, "the service runs at one node", func() bool {
		n = nil
		for _, o := range s.Nodes {
			if o.process() == nil || !o.State().Serves || slices.Contains(except, o) {
				continue
			}
			if n != nil {
				return false
			}
			n = o
		}
		return n != nil
	})
	return n
}

// checkAlone waits until so many commands have begun at least, for the last one may be about to
// say so, and fails if one ran when another one began.
func (s *serving) checkAlone(least int) {
	s.t.Helper()
	var lines []CommandLine
	s.Await(agreeIn, fmt.Sprintf("%d commands have begun", least), func() bool {
		var err error
		if lines, err = ReadCommands(s.dir); err != nil {
			s.t.Fatal(err)
		}
		lines = slices.DeleteFunc(lines, func(l CommandLine) bool { return l.Kind != Begin })
		return len(lines) >= least
	})
	for _, l := range lines {
		if len(l.Beside) > 0 {
			s.t.Errorf("beside others: %+v", l)
		}
	}
}

// took logs how long services were gone, and fails if that was longer than promised: with -long
// on a machine that does nothing else, or on one that is busy.
func (s *serving) took(what string, all []time.Duration, half, most time.Duration) {
	s.t.Helper()
	if !*long {
		half, most = half+leadSlack, most+leadSlack
	}
	slices.Sort(all)
	n := len(all)
	s.t.Logf("%s: %d times, min %v, median %v, max %v", what, n, all[0].Round(time.Millisecond), all[n/2].Round(time.Millisecond), all[n-1].Round(time.Millisecond))
	if all[n/2] > half || all[n-1] > most {
		s.t.Errorf("%s: median %v, max %v, promised %v and %v", what, all[n/2], all[n-1], half, most)
	}
}

func times(few int) int {
	if *long {
		return 50
	}
	return few
}

var lease = partition.LAN().Lease

// fault is what befalls the node that runs a service.
type fault struct {
	strike, end func(victim *Node)
	lasts       time.Duration // behind the takeover
	stays       bool          // the service stays where it runs then when the fault has ended
}

// surviveFaults has a fault befall the node that runs the service, again and again: it runs
// elsewhere in time, and never at two nodes.
func (s *serving) surviveFaults(what string, rounds int, half time.Duration, f fault) {
	s.t.Helper()
	var gone []time.Duration
	for range rounds {
		victim := s.runner(agreeIn)
		s.Pass(2 * lease) // the lease is a whole one
		begin := time.Now()
		f.strike(victim)
		next := s.runner(agreeIn, victim)
		gone = append(gone, time.Since(begin))
		s.Pass(f.lasts)
		f.end(victim)
		s.Await(healIn, "the mesh is whole", s.Whole)
		if now := s.runner(agreeIn); f.stays && now != next {
			s.t.Errorf("it runs at %s, and ran at %s when what befell %s ended", now.Name, next.Name, victim.Name)
		}
	}
	s.took(what, gone, half, lease+6*time.Second)
	s.checkAlone(len(gone) + 1)
	s.Quit()
}

// TestServiceIsKilled kills the node that runs a service, with its leash and command then.
func TestServiceIsKilled(t *testing.T) {
	s := startServing(t)
	s.surviveFaults("killed until verified elsewhere", times(4), lease+time.Second, fault{strike: s.Kill, end: s.Restart})
}

// TestServiceIsFrozen freezes the node that runs a service for longer than its lease: the
// command has ended before another one begins, and the node does not run it when it wakes up.
func TestServiceIsFrozen(t *testing.T) {
	s := startServing(t)
	s.surviveFaults("frozen until verified elsewhere", times(3), lease+2*time.Second, fault{strike: s.Pause, end: s.Resume, lasts: lease, stays: true})
}

// TestServiceIsCutOff cuts the node that runs a service off from all others.
func TestServiceIsCutOff(t *testing.T) {
	s := startServing(t)
	cut := func(victim *Node) {
		s.Cut([]*Node{victim}, slices.DeleteFunc(slices.Clone(s.Nodes), func(n *Node) bool { return n == victim }))
	}
	s.surviveFaults("cut off until verified elsewhere", times(3), lease+2*time.Second, fault{strike: cut, end: func(*Node) { s.Heal() }, lasts: lease, stays: true})
}

// TestServiceIsMoved moves a service by hand.
func TestServiceIsMoved(t *testing.T) {
	s := startServing(t)
	var gone []time.Duration
	for i := range times(8) {
		from := s.runner(agreeIn)
		to := s.Nodes[(slices.Index(s.Nodes, from)+1+i%4)%5]
		s.Pass(lease / 2) // a lead that was won a moment ago may come back to whoever gave it
		begin := time.Now()
		if err := from.Move(t.Context(), to.Name); err != nil {
			t.Fatal(err)
		}
		if now := s.runner(agreeIn, from); now != to {
			t.Errorf("moved to %s, and it runs at %s", to.Name, now.Name)
		}
		gone = append(gone, time.Since(begin))
	}
	s.took("moved until verified there", gone, 500*time.Millisecond, lease)
	s.checkAlone(len(gone) + 1)
	s.Quit()
}
