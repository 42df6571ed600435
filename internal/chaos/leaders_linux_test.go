package chaos

import (
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/partition"
)

// What package partition promises with the pace of a LAN.
const (
	leadKilled = 3 * time.Second  // a lease and a second
	leadCut    = 12 * time.Second // for the side of a cut that is left without
	leadSlack  = 8 * time.Second  // for a cut on a machine that is busy, see detectIn
	stopIn     = time.Second      // for work to notice that its process was paused
)

// settled waits until the mesh is whole, all know one leader, and one works for
// "writer", and returns these two.
func settled(c *Cluster, limit time.Duration) (leader, worker *Node) {
	c.t.Helper()
	c.Await(limit, "all nodes are there, and both elections have one leader", func() bool {
		leader, worker = c.Leader(c.Nodes), nil
		if at, working := c.Working(); working {
			worker = c.nodeNamed(at.Node)
		}
		return c.Whole() && leader != nil && worker != nil
	})
	return leader, worker
}

// steady is settled, and again when all voters follow the leader: those that had just been
// started grant nothing for a lease, and those that have bid for a higher term themselves follow
// when the leader has asked for one above that, which it does once things have settled. Until
// then a leader may have no more than half of them, and one that vanishes costs its lead.
func steady(c *Cluster) (leader, worker *Node) {
	c.t.Helper()
	settled(c, healIn)
	c.Pass(partition.LAN().Lease + partition.LAN().Settle)
	return settled(c, healIn)
}

func name(n *Node) string {
	if n == nil {
		return "nobody"
	}
	return n.Name
}

// cutOff returns three nodes, and two in different zones of which one is the given.
func cutOff(c *Cluster, worker *Node) (sides [2][]*Node) {
	i := slices.Index(c.Nodes, worker)
	sides[1] = []*Node{worker, c.Nodes[(i+1)%len(c.Nodes)]}
	for _, n := range c.Nodes {
		if !slices.Contains(sides[1], n) {
			sides[0] = append(sides[0], n)
		}
	}
	return sides
}

// bothLed waits until each side of a cut has one leader.
func bothLed(t *testing.T, c *Cluster, begin time.Time, sides [2][]*Node) (leaders [2]*Node) {
	t.Helper()
	c.Await(leadCut+leadSlack-time.Since(begin), "each side has one leader", func() bool {
		leaders = [2]*Node{c.Leader(sides[0]), c.Leader(sides[1])}
		return leaders[0] != nil && leaders[1] != nil
	})
	for i, n := range leaders {
		t.Logf("%v are led by %s, all know %d ms after the cut", sortedNames(sides[i]), n.Name, max(0, knownAt(sides[i], n)-begin.UnixMilli()))
	}
	return leaders
}

// knownAt is when the last of some nodes came to know their leader.
func knownAt(side []*Node, leader *Node) (at int64) {
	for _, n := range side {
		seen := n.Since(time.Time{})
		i := len(seen) - 1
		for i > 0 && seen[i-1].Leader == leader.Name {
			i--
		}
		at = max(at, seen[i].AtMS)
	}
	return at
}

// onlyAt wants "writer" to be worked for at a side of a cut, and no more at the
// other.
func onlyAt(t *testing.T, c *Cluster, side []*Node, cut time.Duration) {
	t.Helper()
	working := false
	for _, s := range c.Spans() {
		if s.End < cut {
			continue
		}
		if slices.Contains(sortedNames(side), s.Node) {
			t.Logf("%s works for \"writer\" %v after the cut", s.Node, (s.Begin - cut).Round(time.Millisecond))
			working = working || s.End == Open
			if s.Begin-cut > leadKilled+leadSlack {
				t.Errorf("that is later than %v", leadKilled+leadSlack)
			}
			continue
		}
		t.Logf("%s stopped %v after the cut", s.Node, (s.End - cut).Round(time.Millisecond))
		if s.Begin > cut || s.End-cut > partition.LAN().Lease+stopIn {
			t.Errorf("%s works for \"writer\" on the smaller side: from %v to %v after the cut", s.Node, s.Begin-cut, s.End-cut)
		}
	}
	if !working {
		t.Error("nobody works for \"writer\" on the larger side")
	}
}

// same wants the leader and whoever works to have been the only ones since a time.
func same(t *testing.T, c *Cluster, since time.Time, leader, worker *Node) {
	t.Helper()
	for _, n := range c.Nodes {
		for _, s := range n.Since(since) {
			if s.Leader != leader.Name || s.Here != (n == leader) {
				t.Errorf("%s led, but %s saw %+v", leader.Name, n.Name, s)
			}
		}
	}
	if at, working := c.Working(); !working || at.Node != worker.Name || bootTime()-at.Begin < time.Since(since) {
		t.Errorf("%s worked, and then %+v", worker.Name, at)
	}
}

// worked wants no two works for "writer" to have overlapped, and tokens to have
// grown, those excepted that were paused.
func worked(t *testing.T, c *Cluster, paused ...Span) {
	t.Helper()
	spans := slices.DeleteFunc(c.Spans(), func(s Span) bool {
		return slices.ContainsFunc(paused, func(p Span) bool { return p.Token == s.Token })
	})
	for _, fault := range Overlaps(spans) {
		t.Error(fault)
	}
}

// replaced waits until another leads the component if the victim did, and another
// works for "writer" if it did that, and returns how long after the fault they do.
func replaced(t *testing.T, c *Cluster, victim *Node, begin time.Time, fault time.Duration, led, worked bool) (lead, work time.Duration) {
	t.Helper()
	c.Await(4*leadKilled, "another leads", func() bool {
		lead, work = 0, 0
		for _, n := range c.Nodes {
			if n == victim {
				continue
			}
			for _, s := range n.Since(begin) {
				if d := time.Duration(s.AtMS-begin.UnixMilli()) * time.Millisecond; s.Here && d > 0 && (lead == 0 || d < lead) {
					lead = d
				}
			}
			for _, e := range n.Events() {
				if d := e.At - fault; e.Kind == Begin && d > 0 && (work == 0 || d < work) {
					work = d
				}
			}
		}
		return (lead > 0 || !led) && (work > 0 || !worked)
	})
	if led {
		t.Logf("%s is gone: another leads after %v", victim.Name, lead)
	}
	if worked {
		t.Logf("%s is gone: another works for \"writer\" after %v", victim.Name, work.Round(time.Millisecond))
	}
	limit := leadKilled + leadSlack // one may be late on a busy machine; see figures for all
	if *long {
		limit = 2 * leadKilled
	}
	if led && lead > limit || worked && work > limit {
		t.Errorf("more than %v", limit)
	}
	return lead, work
}

// outlived wants the work of a paused node to end soon after it was resumed, and a
// Fence to refuse what it did by then, and that only.
func outlived(t *testing.T, c *Cluster, victim *Node, before Span, paused, resumed time.Duration) {
	t.Helper()
	var spans []Span
	var late Span
	c.Await(10*stopIn, "the paused node's work ends", func() bool {
		spans = c.Spans()
		i := slices.IndexFunc(spans, func(s Span) bool { return s.Token == before.Token })
		late = spans[i]
		spans[i].End = paused
		return late.End != Open
	})
	for _, fault := range Overlaps(spans) {
		t.Error("but for the pause: ", fault)
	}
	var events []Event
	for _, n := range c.Nodes {
		events = append(events, n.Events()...)
	}
	refused, err := Refused(events)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range refused {
		if e.Token != before.Token.String() || e.At < resumed || e.Valid {
			t.Errorf("refused: %+v", e)
		}
	}
	t.Logf("its work ended %v after it was resumed, and was refused %d times", (late.End - resumed).Round(10*time.Microsecond), len(refused))
	if len(refused) == 0 || late.End < resumed || late.End-resumed > stopIn {
		t.Errorf("%s worked until %v after it was resumed, and was refused %d times", victim.Name, late.End-resumed, len(refused))
	}
}

// TestLeaderKilled kills whoever leads the component, again and again.
func TestLeaderKilled(t *testing.T) {
	kills := 8
	if *long {
		kills = 50
	}
	c := start(t)
	var leads, works []time.Duration
	for range kills {
		victim, worker := steady(c)
		begin, fault := time.Now(), bootTime()
		c.Kill(victim)
		lead, work := replaced(t, c, victim, begin, fault, true, worker == victim)
		leads = append(leads, lead)
		if worker == victim {
			works = append(works, work)
		}
		c.Restart(victim)
	}
	figures(t, "another leads the component", leads)
	figures(t, "another works for \"writer\"", works)
	whole(t, c, &Ledger{})
	worked(t, c)
	c.Quit()
}

func figures(t *testing.T, what string, took []time.Duration) {
	t.Helper()
	if len(took) == 0 {
		return
	}
	slices.Sort(took)
	if m := took[len(took)/2]; m > leadKilled {
		t.Errorf("%s after %v, half of the times: more than %v", what, m, leadKilled)
	}
	t.Logf("%s after a kill: %d times, min %v, median %v, max %v", what, len(took), took[0].Round(time.Millisecond),
		took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
}

func (c *Cluster) nodeNamed(name string) *Node {
	return c.Nodes[slices.IndexFunc(c.Nodes, func(n *Node) bool { return n.Name == name })]
}
