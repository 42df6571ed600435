package retain

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// at has a point be at a tier and hold slices.
func at(tier int, p Point, shards ...uint32) Point {
	p.Tier = tier
	for _, n := range shards {
		p.Slices = append(p.Slices, Slice{"b", n})
	}
	return p
}

// drawChoices tells the tier, chain and number of what is chosen.
func drawChoices(choices []Choice) string {
	got := ""
	for _, c := range choices {
		got += fmt.Sprintf("%s%d of %d:", c.Slice.Bucket, c.Slice.Shard, c.Node)
		for _, p := range c.Points {
			got += fmt.Sprintf(" %d/%d/%d", p.Tier, p.Chain, p.Seq)
		}
		got += "; "
	}
	return got
}

func TestWhatARestoreTakes(t *testing.T) {
	points := []Point{
		at(0, pointOf(1, 1, 1, 9), 1, 2), at(0, pointOf(1, 1, 2, 5), 1, 2), at(0, pointOf(1, 1, 3, 1), 1), // 2 has moved away
		at(2, pointOf(1, 2, 1, 5), 1, 2), at(2, pointOf(1, 2, 2, 0.5), 1),
		at(0, pointOf(2, 3, 1, 4), 2),
		{PointID: PointID{2, 3, 2}, Fault: errRead, Slices: []Slice{{"b", 2}}},
	}
	dark := at(0, pointOf(1, 1, 4, 0), 1) // made while the clock said 2106
	dark.Time, dark.Put = y106, y106
	lost := at(0, pointOf(1, 9, 1, 0), 1) // and a chain that was given up
	lost.Time, lost.Put = y106, y106
	for name, c := range map[string]struct {
		by   time.Time
		more []Point
		want string
	}{
		"the newest":         {want: "b1 of 1: 2/2/2 0/1/3 0/1/2 2/2/1 0/1/1; b2 of 1: 0/1/2 2/2/1 0/1/1; b2 of 2: 0/3/1; "},
		"by a time":          {by: noon.Add(-5 * day), want: "b1 of 1: 0/1/2 2/2/1 0/1/1; b2 of 1: 0/1/2 2/2/1 0/1/1; "},
		"before all":         {by: noon.Add(-10 * day)},
		"of 2106":            {by: noon.Add(-4*day - 1), more: []Point{dark, lost}, want: "b1 of 1: 0/1/2 2/2/1 0/1/1; b2 of 1: 0/1/2 2/2/1 0/1/1; "},
		"with those of 2106": {more: []Point{dark, lost}, want: "b1 of 1: 2/2/2 0/1/4 0/1/3 0/1/2 2/2/1 0/1/1 0/9/1; b2 of 1: 0/1/2 2/2/1 0/1/1; b2 of 2: 0/3/1; "},
	} {
		if got := drawChoices(ChoosePoints(append(slices.Clone(points), c.more...), c.by, noon)); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
	var many []Point
	for i := range 30 {
		many = append(many, at(i/20, pointOf(1, uint64(1+i/20), uint64(i+1), float64(30-i%20)), 1))
	}
	other := at(0, pointOf(1, 5, 1, 2), 1)
	other.Policy = "q"
	want := "b1 of 1: 0/1/20 1/2/30 0/1/19 0/1/18 0/1/17 0/1/16 0/1/15 0/1/14; b1 of 1: 0/5/1; "
	if got := drawChoices(ChoosePoints(append(many, other), time.Time{}, noon)); got != want {
		t.Errorf("%s", got)
	}
}

// TestARestoreTakesTheLastOfEachNode compares with a model: of each slice and node the state that the
// last backup by then has seen.
func TestARestoreTakesTheLastOfEachNode(t *testing.T) {
	eachSeed(t, 200, func(t *testing.T, rng *rand.Rand) {
		var points []Point
		type part struct {
			node  view.NodeID
			shard uint32
		}
		want := map[part]time.Time{}
		by := noon.Add(-time.Duration(rng.IntN(100)) * time.Hour)
		seqs, chains := map[[2]int]uint64{}, map[[2]int]uint64{}
		for i := range 100 {
			when, node, tier := noon.Add(time.Duration(i-100)*time.Hour), rng.IntN(3), rng.IntN(3)
			at := [2]int{node, tier}
			if chains[at] == 0 || rng.IntN(10) == 0 {
				chains[at], seqs[at] = rng.Uint64(), 0
			}
			seqs[at]++
			p := Point{PointID: PointID{view.NodeID(node), chains[at], seqs[at]}, Tier: tier, Time: when}
			for shard := range uint32(4) {
				if rng.IntN(3) > 0 {
					p.Slices = append(p.Slices, Slice{"b", shard})
					if !when.After(by) {
						want[part{p.Node, shard}] = when
					}
				}
			}
			points = append(points, p)
		}
		rng.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
		got := map[part]time.Time{}
		for _, c := range ChoosePoints(points, by, noon) {
			for i, place := range c.Points {
				k := slices.IndexFunc(points, func(p Point) bool { return p.PointID == place.PointID && p.Tier == place.Tier })
				if !slices.Contains(points[k].Slices, c.Slice) || points[k].Time.After(by) || points[k].Node != c.Node {
					t.Errorf("%v does not hold %v by %v", place, c.Slice, by)
				}
				if i == 0 {
					got[part{c.Node, c.Slice.Shard}] = points[k].Time
				}
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("by %v: %v, want %v", by, got, want)
		}
	})
}

func TestFind(t *testing.T) {
	other := at(1, pointOf(2, 8, 1, 4))
	other.Policy = "q"
	points := []Point{at(0, pointOf(1, 7, 1, 5)), at(0, pointOf(1, 7, 2, 3)), other, at(2, pointOf(2, 9, 1, 1))}
	for name, c := range map[string]struct {
		q    Query
		want string
	}{
		"all":       {Query{}, "9/1 7/2 8/1 7/1 "},
		"an id":     {Query{ID: points[1].String()}, "7/2 "},
		"a chain":   {Query{ID: "0000000000000001/0000000000000007"}, "7/2 7/1 "},
		"a tier":    {Query{Tiers: []int{1, 2}}, "9/1 8/1 "},
		"a node":    {Query{Nodes: []view.NodeID{2}}, "9/1 8/1 "},
		"a policy":  {Query{Policies: []string{"p"}}, "9/1 7/2 7/1 "},
		"from":      {Query{From: noon.Add(-3 * day)}, "9/1 7/2 "},
		"to":        {Query{To: noon.Add(-4 * day)}, "8/1 7/1 "},
		"a time of": {Query{From: noon.Add(-4 * day), To: noon.Add(-3 * day)}, "7/2 8/1 "},
	} {
		got := ""
		for _, p := range FindPoints(points, c.q, noon) {
			got += fmt.Sprintf("%d/%d ", p.Chain, p.Seq)
		}
		if got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestUncovered(t *testing.T) {
	ago := func(h int) time.Time { return noon.Add(-time.Duration(h) * time.Hour) }
	slice := func(n uint32) Slice { return Slice{"b", n} }
	all := []Slice{slice(1), slice(2), slice(3), slice(4), slice(5), {"c", 1}}
	by := []Coverage{
		{1, slice(1), ago(30)}, {2, slice(1), ago(1)}, {3, slice(1), ago(40)},
		{1, slice(2), ago(30)}, {2, slice(2), ago(26)},
		{1, slice(3), ago(24)},
		{1, slice(4), y106},
		{1, slice(5), y106}, {2, slice(5), ago(2)},
	}
	want := []Uncovered{{slice(2), ago(26)}, {slice(4), time.Time{}}, {Slice{"c", 1}, time.Time{}}}
	if got := FindUncovered(all, by, noon, day); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}
