package retain

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// mostChoices is how many points are named for what one node has backed up of one slice.
const mostChoices = 8

// Choice is what to read of a slice, of what one node has backed up of it by one policy. All choices
// of a slice are read and merged: who was its first home has changed, and more than one may have been.
type Choice struct {
	Slice  Slice
	Node   view.NodeID
	Policy string
	Points []Place // the first that reads is enough
}

// Place is a point at a tier.
type Place struct {
	Tier int
	PointID
}

// ChoosePoints chooses, for each slice, the newest points that were made by a time; zero: the newest
// ones. Of equally new ones that at the nearest tier comes first. Then comes the newest of each other
// tier, and then older ones. A point of which the time is not known counts as new for whether it was
// made by then, and as old for whether it is the newest. Points at fault are left out.
func ChoosePoints(points []Point, by, now time.Time) []Choice {
	all := datePoints(points, now)
	all = slices.DeleteFunc(all, func(p dated) bool { return p.Fault != nil || !by.IsZero() && p.to.After(by) })
	slices.SortStableFunc(all, func(a, b dated) int {
		return cmp.Or(b.from.Compare(a.from), cmp.Compare(a.Tier, b.Tier), cmp.Compare(a.Chain, b.Chain), cmp.Compare(b.Seq, a.Seq))
	})
	type part struct {
		line
		slice Slice
	}
	found := map[part]*Choice{}
	rest := map[part][]Place{}
	for _, p := range all {
		for _, s := range p.Slices {
			of, place := part{line{p.Node, p.Policy}, s}, Place{p.Tier, p.PointID}
			c := found[of]
			if c == nil {
				c = &Choice{Slice: s, Node: p.Node, Policy: p.Policy}
				found[of] = c
			}
			if !slices.ContainsFunc(c.Points, func(o Place) bool { return o.Tier == p.Tier }) {
				c.Points = append(c.Points, place)
			} else if len(rest[of]) < mostChoices {
				rest[of] = append(rest[of], place)
			}
		}
	}
	choices := make([]Choice, 0, len(found))
	for of, c := range found {
		c.Points = append(c.Points, rest[of]...)
		c.Points = c.Points[:min(len(c.Points), mostChoices)]
		choices = append(choices, *c)
	}
	slices.SortFunc(choices, func(a, b Choice) int {
		return cmp.Or(strings.Compare(a.Slice.Bucket, b.Slice.Bucket), cmp.Compare(a.Slice.Shard, b.Slice.Shard), cmp.Compare(a.Node, b.Node), strings.Compare(a.Policy, b.Policy))
	})
	return choices
}

// Query tells which points to find; its zero fields leave all.
type Query struct {
	ID       string // how the text of a PointID begins
	Tiers    []int
	Nodes    []view.NodeID
	Policies []string
	From, To time.Time
}

// FindPoints returns the points that a query asks for, the newest first.
func FindPoints(points []Point, q Query, now time.Time) (found []Point) {
	all := datePoints(points, now)
	slices.SortStableFunc(all, func(a, b dated) int {
		return cmp.Or(b.to.Compare(a.to), b.from.Compare(a.from), b.compareTo(a.PointID))
	})
	for _, p := range all {
		if strings.HasPrefix(p.String(), q.ID) && isAmong(q.Tiers, p.Tier) && isAmong(q.Nodes, p.Node) && isAmong(q.Policies, p.Policy) &&
			(q.From.IsZero() || !p.to.Before(q.From)) && (q.To.IsZero() || !p.to.After(q.To)) {
			found = append(found, *p.Point)
		}
	}
	return found
}

func isAmong[T comparable](list []T, v T) bool { return len(list) == 0 || slices.Contains(list, v) }

// Coverage says that a node had backed up a slice, as it was at a time.
type Coverage struct {
	Node  view.NodeID
	Slice Slice
	Time  time.Time
}

// Uncovered is a slice that nobody has backed up in time.
type Uncovered struct {
	Slice Slice
	Last  time.Time // zero: never
}

// FindUncovered returns those of all slices that nobody has backed up within the objective, in their
// order. What lies ahead of now by more than a day proves nothing.
func FindUncovered(all []Slice, by []Coverage, now time.Time, objective time.Duration) (bare []Uncovered) {
	last := map[Slice]time.Time{}
	for _, c := range by {
		if c.Time.After(last[c.Slice]) && !c.Time.After(now.Add(clockError)) {
			last[c.Slice] = c.Time
		}
	}
	for _, s := range all {
		if t := last[s]; t.IsZero() || now.Sub(t) > objective {
			bare = append(bare, Uncovered{s, t})
		}
	}
	return bare
}
