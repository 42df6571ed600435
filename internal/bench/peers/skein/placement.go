package main

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/skeinmesh/skein/internal/placement"
	"github.com/skeinmesh/skein/mesh/view"
)

const copies = 3

// roster is a mesh that grows to twice its nodes, which are spread evenly over
// the zones, and shrinks again. A whole doubling is what a join costs on
// average: a zone's capacity counts in steps, so that most joins move little
// and one that takes a step moves more.
type roster struct{ nodes, zones, shards int }

// All have at least as many zones as copies, and about 40 shards a node.
func rosters() []roster {
	return []roster{{6, 3, 271}, {10, 3, 271}, {15, 5, 1021}, {50, 3, 1021}, {50, 5, 1021}, {60, 10, 2039}}
}

// movement returns how many copies a join and a leave move, as a multiple of
// the ideal, a node's even share of all copies: the mean over all joins (leaves)
// of a roster, and under "join" and "leave" that of the worst roster.
func movement() (map[string]float64, error) {
	values := map[string]float64{}
	for _, r := range rosters() {
		join, leave, err := r.double(rand.New(rand.NewPCG(uint64(r.nodes), uint64(r.zones))))
		if err != nil {
			return nil, err
		}
		for name, costs := range map[string][]float64{"join": join, "leave": leave} {
			values[name] = max(values[name], meanOf(costs))
			label := fmt.Sprintf("%s: %d to %d nodes, %d zones, %d shards", name, r.nodes, 2*r.nodes, r.zones, r.shards)
			values[label+", mean"] = meanOf(costs)
			values[label+", middle"] = slices.Sorted(slices.Values(costs))[len(costs)/2]
			values[label+", worst one"] = slices.Max(costs)
		}
	}
	return values, nil
}

// double lets nodes with chance names join one by one, then lets nodes leave in
// chance order.
func (r roster) double(chance *rand.Rand) (join, leave []float64, err error) {
	members := make([]placement.Node, 2*r.nodes)
	for i := range members {
		members[i] = placement.Node{
			ID:   view.NodeID(chance.Uint64() | 1),
			Name: fmt.Sprintf("gateway-%06x", chance.Uint32()>>8), Zone: fmt.Sprintf("zone-%d", i%r.zones), Weight: 1,
		}
	}
	current, err := placement.New(members[:r.nodes], r.shards)
	if err != nil {
		return nil, nil, err
	}
	table := current.Table(copies, nil)
	change := func(nodes []placement.Node, larger int) float64 {
		before := table
		current = current.With(nodes)
		table = current.Table(copies, nil)
		return float64(countMoved(r.shards, before, table)) * float64(larger) / float64(copies*r.shards)
	}
	for n := r.nodes + 1; n <= 2*r.nodes; n++ {
		join = append(join, change(members[:n], n))
	}
	for n := 2 * r.nodes; n > r.nodes; n-- {
		gone := chance.IntN(n)
		members = slices.Delete(members, gone, gone+1)
		leave = append(leave, change(members, n))
	}
	return join, leave, nil
}

func meanOf(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// countMoved counts the homes that a shard has after and had not before.
func countMoved(shards int, before, after *placement.Table) int {
	n := 0
	for s := range shards {
		had := before.Homes(s)
		for _, home := range after.Homes(s) {
			if !slices.Contains(had, home) {
				n++
			}
		}
	}
	return n
}
