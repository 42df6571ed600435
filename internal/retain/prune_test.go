package retain

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

var errRead = errors.New("does not verify")

// testTier is a tier, and the truth about what is there.
type testTier struct {
	t                        *testing.T
	rng                      *rand.Rand
	now                      time.Time
	clock                    time.Duration // how wrong the tier's is
	dateless                 bool
	points                   map[PointID]Point
	made                     map[PointID]time.Time // when in truth, for all that ever were
	all                      map[PointID]Point
	put                      map[SegmentID]time.Time
	nodes                    []*testNode
	left                     []view.NodeID
	pinned                   []Point
	restores                 []*testRestore
	leftPins                 []Pin // of restores that broke off
	isQuick                  bool  // no backup takes days
	faulty                   map[PointID]bool
	deleted, refused, broken int
	held                     int
}

// testRestore reads what was kept when it began, and pins the tier.
type testRestore struct {
	reads []PointID
	ends  time.Time
}

type testNode struct {
	id      view.NodeID
	clock   time.Duration
	chains  map[string]Point // the last of the chain; Seq 0: begun
	last    map[string]time.Time
	running *Point
	made    time.Time
	ends    time.Time
}

var testKeep = map[string]Keep{"a": {For: 2 * day, Every: 3 * time.Hour}, "b": {For: 10 * day, Lost: 15 * day, Every: day}}

func newTestTier(t *testing.T, rng *rand.Rand) *testTier {
	s := &testTier{t: t, rng: rng, now: noon, dateless: rng.IntN(4) == 0, points: map[PointID]Point{}, made: map[PointID]time.Time{},
		all: map[PointID]Point{}, put: map[SegmentID]time.Time{}, faulty: map[PointID]bool{}}
	for i := range 4 {
		s.nodes = append(s.nodes, &testNode{id: view.NodeID(i + 1), chains: map[string]Point{}, last: map[string]time.Time{}})
	}
	return s
}

// date is the tier's.
func (s *testTier) date() time.Time {
	if s.dateless {
		return time.Time{}
	}
	return s.now.Add(s.clock)
}

func (s *testTier) putSegment(p *Point) {
	id := [16]byte{}
	for i := range id {
		id[i] = byte(s.rng.IntN(256))
	}
	p.Segments = append(p.Segments, id)
	s.put[p.segment(len(p.Segments)-1)] = s.date()
}

func (s *testTier) backUp(n *testNode) {
	if n.running != nil {
		if s.rng.IntN(2) == 0 {
			s.putSegment(n.running)
		}
		if s.now.After(n.ends) {
			p := *n.running
			for i := range p.Segments {
				if _, ok := s.put[p.segment(i)]; !ok {
					s.t.Errorf("a segment of %v went before its manifest came", p.PointID)
				}
			}
			p.Put = s.date()
			p.Hash[0], p.Hash[1] = byte(p.Seq), byte(s.rng.IntN(256))
			s.points[p.PointID], s.all[p.PointID], s.made[p.PointID] = p, p, n.made
			n.chains[p.Policy], n.last[p.Policy], n.running = p, n.made, nil
		}
		return
	}
	for _, policy := range []string{"a", "b"} {
		if s.now.Sub(n.last[policy]) < testKeep[policy].Every {
			continue
		}
		before, ok := n.chains[policy]
		if !ok {
			before = Point{PointID: PointID{n.id, s.rng.Uint64(), 0}, Policy: policy}
		}
		p := before
		p.Seq, p.Previous, p.Time = p.Seq+1, p.Hash, s.now.Add(n.clock)
		p.Segments = slices.Clone(p.Segments)
		if len(p.Segments) > 5 {
			p.Segments = nil
		}
		n.made = s.now
		n.ends = s.now.Add(time.Duration(s.rng.Int64N(int64(time.Hour))))
		if !s.isQuick && s.rng.IntN(60) == 0 {
			n.ends = s.now.Add(time.Duration(s.rng.Int64N(int64(4 * day))))
		}
		n.running = &p
		s.putSegment(&p)
		return
	}
}

// lose has a node lose what it knows of its chains. They do not end in a far year, all of them: such a
// node counts as one whose clock is wrong, for a device of which the clock is as wrong.
func (s *testTier) lose(n *testNode) {
	n.running = nil
	if s.rng.IntN(4) == 0 {
		for policy, p := range maps.Clone(n.chains) {
			if s.made[p.PointID].Equal(p.Time) || policy == "a" {
				delete(n.chains, policy)
			}
		}
	}
}

// setClocks has one clock at most be wrong: the next one only when the others have made a backup of each
// policy since theirs was put right. A majority of wrong clocks is believed.
func (s *testTier) setClocks() {
	s.clock = 0
	heal := true
	for _, n := range s.nodes {
		n.clock = 0
		for _, p := range n.chains {
			heal = heal && s.made[p.PointID].Equal(p.Time)
		}
		heal = heal && (n.running == nil || n.made.Equal(n.running.Time))
	}
	if !heal {
		return
	}
	wrong := []time.Duration{y70.Sub(s.now), y106.Sub(s.now), 0}[s.rng.IntN(3)]
	if i := s.rng.IntN(5); i < 4 {
		s.nodes[i].clock = wrong
	} else {
		s.clock = wrong
	}
}

// prune makes a pass, over one node's objects or all, that may break off.
func (s *testTier) prune(n *testNode, all, breaks bool) Pruning {
	h := Holdings{Pinned: s.pinned, Keep: testKeep, Left: s.left, Own: s.now.Add(n.clock), Tier: s.date(), Most: s.rng.IntN(60)}
	for _, o := range s.nodes {
		if o.running == nil && (o == n || slices.Contains(s.left, o.id)) {
			h.Quiet = append(h.Quiet, o.id)
		}
	}
	if s.isQuick {
		h.Most = 0
	}
	h.Pins = slices.Clone(s.leftPins)
	for range s.restores {
		put := s.date()
		if s.dateless {
			put = s.now
		}
		h.Pins = append(h.Pins, Pin{Put: put.Add(-time.Duration(s.rng.Int64N(int64(20 * time.Minute))))})
	}
	for id, p := range s.points {
		if s.faulty[id] {
			p = Point{PointID: id, Put: p.Put, Fault: errRead}
		}
		h.Points = append(h.Points, p)
	}
	for id, put := range s.put {
		h.Segments = append(h.Segments, Segment{id, put})
	}
	out, err := Prune(h)
	if err != nil {
		s.refused++
		if len(out.Delete) > 0 || !errors.Is(err, ErrClock) && !errors.Is(err, ErrNoTime) {
			s.t.Errorf("%v, and %v is to be deleted", err, out.Delete)
		}
		return out
	}
	s.leftPins = slices.DeleteFunc(s.leftPins, func(p Pin) bool { return slices.Contains(out.Unpin, p.Name) })
	if out.Held {
		s.held++
	}
	if len(out.Delete) > h.Most && h.Most > 0 || len(out.Delete) > mostDeletes {
		s.t.Errorf("%d are deleted, of %d at most", len(out.Delete), h.Most)
	}
	end := len(out.Delete)
	if breaks && end > 0 {
		end = s.rng.IntN(end)
		s.broken++
	}
	for _, o := range out.Delete[:end] {
		if !all && o.Node != n.id {
			continue
		}
		s.deleted++
		if o.Seq > 0 {
			delete(s.points, o.PointID)
		} else {
			delete(s.put, SegmentID{o.Node, o.Chain, o.Segment})
		}
	}
	return out
}

// check finds what the rules keep and a pass has deleted.
func (s *testTier) check() {
	s.t.Helper()
	must := s.findKept()
	for _, r := range s.restores {
		must = append(must, r.reads...)
	}
	for _, p := range s.pinned {
		must = append(must, p.PointID)
	}
	for id := range s.points { // and whatever is listed is whole
		must = append(must, id)
	}
	for _, id := range must {
		p := s.all[id]
		if _, ok := s.points[id]; !ok {
			s.t.Fatalf("at %v %v of %q is gone, made at %v, dated %v", s.now, id, p.Policy, s.made[id], p.Time)
		}
		for i := range p.Segments {
			if _, ok := s.put[p.segment(i)]; !ok {
				s.t.Fatalf("at %v a segment of %v of %q is gone, made at %v, dated %v", s.now, id, p.Policy, s.made[id], p.Time)
			}
		}
	}
}

// findKept returns what is to stay by the true times.
func (s *testTier) findKept() (must []PointID) {
	type line struct {
		node   view.NodeID
		policy string
	}
	beyond := map[line]PointID{}
	for id, p := range s.all {
		if s.faulty[id] {
			must = append(must, id)
		}
		if s.now.Sub(s.made[id]) < testKeep[p.Policy].For {
			must = append(must, id)
		} else if of := (line{id.Node, p.Policy}); s.made[id].After(s.made[beyond[of]]) {
			beyond[of] = id
		}
	}
	for of, id := range beyond {
		if of.policy == "a" || !slices.Contains(s.left, id.Node) || s.now.Sub(s.made[id]) < testKeep["b"].Lost {
			must = append(must, id)
		}
	}
	return must
}

// TestF1_31_WhatStaysCanBeRestored lets nodes back up, lose what they know, leave and have wrong
// clocks, while tiers tell wrong dates or none, manifests do not read, restores run, and passes break
// off. All that is to stay by the true times stays; afterwards what is to go goes.
func TestF1_31_WhatStaysCanBeRestored(t *testing.T) {
	var deleted, refused, broken, held int
	eachSeed(t, 6, func(t *testing.T, rng *rand.Rand) {
		s := newTestTier(t, rng)
		for s.now.Before(noon.Add(40*day)) && !t.Failed() {
			s.now = s.now.Add(time.Duration(rng.Int64N(int64(2 * time.Hour))))
			n := s.nodes[rng.IntN(4)]
			switch e := rng.IntN(100); {
			case e < 3:
				s.setClocks()
			case e < 5:
				s.lose(n)
			case e < 8:
				s.pinned = nil
				for _, id := range slices.SortedFunc(maps.Keys(s.points), PointID.compareTo) {
					if rng.IntN(100) == 0 {
						s.pinned = append(s.pinned, s.points[id])
					}
				}
			case e < 9:
				clear(s.faulty)
				for _, id := range slices.SortedFunc(maps.Keys(s.points), PointID.compareTo) {
					if rng.IntN(200) == 0 {
						s.faulty[id] = true
					}
				}
			case e < 12 && e > 9:
				reads := slices.DeleteFunc(s.findKept(), func(id PointID) bool { return s.faulty[id] })
				s.restores = append(s.restores, &testRestore{reads, s.now.Add(time.Duration(rng.Int64N(int64(mostHeld))))})
			case e == 9 && len(s.left) == 0 && rng.IntN(4) == 0:
				s.left = append(s.left, 4)
				s.nodes[3].running = nil
			case e < 40:
				s.prune(n, rng.IntN(2) == 0, rng.IntN(3) == 0)
				s.check()
			}
			for _, n := range s.nodes {
				if !slices.Contains(s.left, n.id) {
					s.backUp(n)
				}
			}
			s.endRestores()
		}
		s.clearUp()
		held += s.held
		deleted, refused, broken = deleted+s.deleted, refused+s.refused, broken+s.broken
	})
	if *seed == 0 && (deleted < 6*500 || refused < 20 || broken < 50 || held < 100) {
		t.Errorf("hardly anything has happened: %d deleted, %d refused, %d broken off, %d held", deleted, refused, broken, held)
	}
}

// endRestores ends those that are done; some leave their pin.
func (s *testTier) endRestores() {
	s.restores = slices.DeleteFunc(s.restores, func(r *testRestore) bool {
		done := s.now.Add(2 * time.Hour).After(r.ends) // before the clock goes on
		if done && s.rng.IntN(4) == 0 {
			s.leftPins = append(s.leftPins, Pin{Name: fmt.Sprint("pin-", len(s.leftPins), s.now), Put: s.date()})
		}
		return done
	})
}

// clearUp lets all clocks be right for long enough and expects that nothing is left that need not be.
func (s *testTier) clearUp() {
	s.clock, s.pinned, s.restores, s.isQuick = 0, nil, nil, true
	clear(s.faulty)
	var out Pruning
	for end := s.now.Add(20 * day); s.now.Before(end) && !s.t.Failed(); s.now = s.now.Add(time.Hour) {
		for _, n := range s.nodes {
			n.clock = 0
			if !slices.Contains(s.left, n.id) {
				s.backUp(n)
			}
		}
		out = s.prune(s.nodes[0], true, false)
		s.check()
	}
	if out.Held || len(s.leftPins) > 0 {
		s.t.Errorf("%d pins of restores that broke off are left", len(s.leftPins))
	}
	undated := map[PointID]bool{} // by chain
	for _, id := range out.Undated {
		undated[PointID{id.Node, id.Chain, 0}] = true
	}
	count, named := map[string]int{}, map[SegmentID]bool{}
	for id, p := range s.points {
		if !undated[PointID{id.Node, id.Chain, 0}] {
			count[fmt.Sprint(id.Node, p.Policy)]++
		}
		for i := range p.Segments {
			named[p.segment(i)] = true
		}
	}
	for _, n := range s.nodes {
		a, b := count[fmt.Sprint(n.id, "a")], count[fmt.Sprint(n.id, "b")]
		switch isLeft := slices.Contains(s.left, n.id); {
		case isLeft && (a > 1 || b > 0), !isLeft && (a < 1 || a > 30 || b < 4 || b > 16):
			s.t.Errorf("node %v has %d and %d points", n.id, a, b)
		}
	}
	for id, put := range s.put {
		n := s.nodes[id.Node-1]
		if !named[id] && n.running == nil && isPossible(put, s.now) && s.now.Sub(put) > 5*day {
			s.t.Errorf("a segment of %v, put at %v, is named by nothing", id.Node, put)
		}
	}
}
