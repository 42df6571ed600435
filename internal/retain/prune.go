package retain

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

const (
	// graceOfSegments is how old a segment is at least that goes although no manifest names it.
	graceOfSegments = 24 * time.Hour
	mostDeletes     = 1000
)

var (
	// ErrNoTime says that nothing at a tier tells what time it is.
	ErrNoTime = errors.New("neither nodes nor the tier tell the time")
	// ErrClock says that a clock differs from what the others say.
	ErrClock = errors.New("a clock is wrong")
)

// Keep is for how long points of a policy are kept. The zero Keep keeps all for ever.
type Keep struct {
	For   time.Duration
	Lost  time.Duration // the last one of a node that has left the mesh, if longer; zero: for ever
	Every time.Duration // from one to the next; zero: none is made any more
}

// Segment is a segment as a tier lists it.
type Segment struct {
	SegmentID
	Put time.Time // by the clock of the tier; one that is wrong, or zero, may have it stay for ever
}

// Holdings is all that is at one tier, of one node or of all, and what is known about it. Both
// lists are whole: a list that broke off would have segments deleted that are named.
type Holdings struct {
	Points   []Point
	Segments []Segment
	Pinned   []Point         // stay in any case, listed or not
	Pins     []Pin           // of restores that run
	Keep     map[string]Keep // by policy; points of others stay
	Left     []view.NodeID   // nodes that have left the mesh for good
	Quiet    []view.NodeID   // nodes that make no backup at this tier now
	Own      time.Time       // this node's wall clock
	Tier     time.Time       // the tier's date; zero: it tells none
	Most     int             // so many objects go at most; zero: 1000
}

// line is what one node backs up by one policy.
type line struct {
	node   view.NodeID
	policy string
}

// Object is a manifest, or a segment if Seq is 0.
type Object struct {
	PointID
	Segment [16]byte
}

// Pruning is what is to be deleted, in this order; the first error ends it. A segment goes after
// all manifests that name it, so that what is left of a pass that broke off is found by the next.
type Pruning struct {
	Now     time.Time // by what it was decided
	Delete  []Object
	More    bool      // there is more than Most
	Held    bool      // a restore may run: what it may read stays
	Unpin   []string  // the names of pins that are to be deleted as well
	Faulty  []PointID // their chains stay as they are
	Undated []PointID // they stay until a later one of their chain is dated
}

// Prune decides what may go at a tier. The time is what most nodes' newest points and the tier say;
// with ErrClock or ErrNoTime nothing goes. A point stays
//
//   - that is younger than its policy's Keep, or of a policy that has none;
//   - that is the newest of its node and policy beyond that, and the newest of these of which all
//     segments are there: so there is one to go back to at any time within Keep, and always a last one;
//   - that is pinned, or in a chain of which a manifest does not read or verify;
//   - while there is a pin of a restore: that has not been to go for three days.
//
// A segment stays that is named by a point that stays, or is in such a chain. It stays for a day, and until
// its node has put a later manifest: it may be of a backup under way.
func Prune(h Holdings) (Pruning, error) {
	now, err := h.judgeTime()
	if err != nil {
		return Pruning{}, err
	}
	out := Pruning{Now: now}
	if out.Held, out.Unpin = h.sortPins(now); out.Held {
		h.holdUp()
	}
	all := datePoints(h.Points, now)
	faulty := map[PointID]bool{} // by chain: Seq is 0
	for i, p := range all {
		if p.Fault != nil {
			faulty[PointID{p.Node, p.Chain, 0}] = true
			out.Faulty = append(out.Faulty, p.PointID)
		} else if p.from != p.to && (i+1 == len(all) || !p.isSameChain(all[i+1].PointID)) {
			out.Undated = append(out.Undated, p.PointID)
		}
	}
	stays := h.keepPoints(all, now)
	named := map[SegmentID]bool{}
	var manifests []dated
	for _, p := range all {
		if !stays[p.PointID] && !faulty[PointID{p.Node, p.Chain, 0}] {
			manifests = append(manifests, p)
			continue
		}
		for i := range p.Segments {
			named[p.segment(i)] = true
		}
	}
	slices.SortStableFunc(manifests, func(a, b dated) int { return cmp.Or(a.to.Compare(b.to), a.compareTo(b.PointID)) })
	doomed := map[SegmentID]int{} // by which of them they go
	for n, p := range manifests {
		for i := range p.Segments {
			doomed[p.segment(i)] = n
		}
	}
	segments := h.findUnnamed(now, faulty, named, doomed, manifests)
	out.Delete = segments[-1]
	for n, p := range manifests {
		out.Delete = append(append(out.Delete, Object{PointID: p.PointID}), segments[n]...)
	}
	if most := cmp.Or(max(h.Most, 0), mostDeletes); len(out.Delete) > most {
		out.Delete, out.More = out.Delete[:most], true
	}
	return out, nil
}

// findUnnamed returns the segments that may go: those that no manifest names at -1, and those that
// go with one at its number.
func (h *Holdings) findUnnamed(now time.Time, faulty map[PointID]bool, named map[SegmentID]bool, doomed map[SegmentID]int, manifests []dated) map[int][]Object {
	for _, p := range h.Pinned {
		for i := range p.Segments {
			named[p.segment(i)] = true
		}
	}
	last := map[view.NodeID]time.Time{} // when the newest manifest was put
	for _, p := range h.Points {
		if isPossible(p.Put, now) && p.Put.After(last[p.Node]) {
			last[p.Node] = p.Put
		}
	}
	segments := map[int][]Object{}
	for _, s := range h.Segments {
		o := Object{PointID{s.Node, s.Chain, 0}, s.ID}
		n, isDoomed := doomed[s.SegmentID]
		put, ended := s.Put, slices.Contains(h.Quiet, s.Node) || s.Put.Before(last[s.Node])
		isKnown := isPossible(put, now)
		switch {
		case named[s.SegmentID] || faulty[o.PointID]:
			continue
		case isDoomed && !isKnown:
			put = manifests[n].to
		case !isDoomed && (!isKnown || !ended):
			continue
		case !isDoomed:
			n = -1
		}
		if now.Sub(put) > graceOfSegments {
			segments[n] = append(segments[n], o)
		}
	}
	return segments
}

// keepPoints returns the points that stay, chains at fault aside.
func (h *Holdings) keepPoints(all []dated, now time.Time) map[PointID]bool {
	stays := map[PointID]bool{}
	for _, p := range h.Pinned {
		stays[p.PointID] = true
	}
	there := map[SegmentID]bool{}
	for _, s := range h.Segments {
		there[s.SegmentID] = true
	}
	newest := slices.Clone(all)
	slices.SortStableFunc(newest, func(a, b dated) int {
		return cmp.Or(b.to.Compare(a.to), b.from.Compare(a.from), b.compareTo(a.PointID))
	})
	beyond, whole := map[line]bool{}, map[line]bool{}
	for _, p := range newest {
		keep, of := h.Keep[p.Policy], line{p.Node, p.Policy}
		isWhole := true
		for i := range p.Segments {
			isWhole = isWhole && there[p.segment(i)]
		}
		age := now.Sub(p.to)
		switch {
		case keep.For <= 0 || age < keep.For || p.Fault != nil:
			stays[p.PointID] = true
		case keep.Lost > 0 && age >= keep.Lost && slices.Contains(h.Left, p.Node):
		case !beyond[of] || isWhole && !whole[of]:
			stays[p.PointID] = true
			beyond[of], whole[of] = true, whole[of] || isWhole
		}
	}
	return stays
}

// judgeTime returns the lower median of what the tier says and the nodes of the mesh: each by the
// newest points of the policies that are made now, by the oldest of them, for a clock that has
// been put right may have left others of a far year.
func (h *Holdings) judgeTime() (time.Time, error) {
	ends := map[PointID]*Point{} // by chain: Seq is 0
	for i := range h.Points {
		p := &h.Points[i]
		of := PointID{p.Node, p.Chain, 0}
		if end := ends[of]; p.Fault == nil && h.Keep[p.Policy].Every > 0 && !slices.Contains(h.Left, p.Node) && (end == nil || end.Seq < p.Seq) {
			ends[of] = p
		}
	}
	newest := map[line]time.Time{}
	isAhead := func(t time.Time) bool { return t.Sub(h.Own.Round(0)) > clockError }
	for _, p := range ends { // a chain that was given up may end in a far year for ever
		of := line{p.Node, p.Policy}
		t, best := p.Time, newest[of]
		if best.IsZero() || isAhead(best) && !isAhead(t) || isAhead(best) == isAhead(t) && t.After(best) {
			newest[of] = t
		}
	}
	says := map[view.NodeID]time.Time{}
	for of, t := range newest {
		if says[of.node].IsZero() || t.Before(says[of.node]) {
			says[of.node] = t
		}
	}
	votes := []time.Time{h.Tier}
	for _, t := range says {
		votes = append(votes, t)
	}
	votes = slices.DeleteFunc(votes, func(t time.Time) bool { return t.Before(firstDate) })
	if len(votes) == 0 {
		return time.Time{}, ErrNoTime
	}
	slices.SortFunc(votes, time.Time.Compare)
	now, longest := votes[(len(votes)-1)/2].Round(0), h.longestEvery()
	check := func(whose string, t time.Time) error {
		if d := t.Round(0).Sub(now); d < -clockError || d > clockError+longest {
			return fmt.Errorf("%w: that of %s says %v, the others %v", ErrClock, whose, t, now)
		}
		return nil
	}
	if err := check("this node", h.Own); err != nil || h.Tier.IsZero() {
		return now, err
	}
	return now, check("the tier", h.Tier)
}
