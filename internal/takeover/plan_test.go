package takeover

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/mesh/view"
)

var threeNodes = []service.Node{
	{ID: 1, Name: "a", Zone: "line", Capabilities: []string{"plc"}, Data: []string{"recipes"}},
	{ID: 2, Name: "b", Zone: "line", Capabilities: []string{"plc", "gpu"}},
	{ID: 3, Name: "c", Zone: "hall", Capabilities: []string{"gpu"}, Data: []string{"recipes"}},
}

// preferenceOf returns what a node tells of itself by a plan.
func preferenceOf(p service.Plan, n service.Node) Preference {
	if len(p.Lacks(n)) > 0 {
		return 0
	}
	return preferFit(p, n)
}

// orderOf returns those of the nodes that stand, the preferred one first.
func orderOf(p service.Plan, nodes []service.Node) []service.Node {
	order := slices.DeleteFunc(slices.Clone(nodes), func(n service.Node) bool { return preferenceOf(p, n) == 0 })
	slices.SortFunc(order, func(a, b service.Node) int {
		return cmp.Or(cmp.Compare(preferenceOf(p, b), preferenceOf(p, a)), cmp.Compare(a.ID, b.ID))
	})
	return order
}

func TestOrder(t *testing.T) {
	p := service.Plan{Primary: "a", Backups: []string{"b", "c"}, Conditions: []string{"worn"}}
	nodes := []service.Node{
		{ID: 9, Name: "z", Penalised: true}, {ID: 8, Name: "a", Penalised: true}, {ID: 5, Name: "y", Used: []int{500}}, {ID: 7, Name: "x", Used: []int{100}},
		{ID: 6, Name: "w", Used: []int{100}}, {ID: 4, Name: "c"}, {ID: 3, Name: "b", Used: []int{899}}, {ID: 2, Name: "a"}, {ID: 1, Name: "v", Runs: true, Penalised: true, Used: []int{1000}}, {ID: 10, Name: "b", Conditions: []string{"worn"}},
	}
	want := []view.NodeID{1, 2, 3, 4, 6, 7, 5, 8, 9}
	for range 50 {
		rand.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
		var got []view.NodeID
		for _, n := range orderOf(p, nodes) {
			got = append(got, n.ID)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%v", got)
		}
	}
}

func TestWhoIsBetterThanTheOneThatRuns(t *testing.T) {
	p := service.Plan{Primary: "a", Backups: []string{"b"}, Conditions: []string{"worn"}}
	a, b, c := service.Node{ID: 1, Name: "a"}, service.Node{ID: 2, Name: "b"}, service.Node{ID: 3, Name: "c"}
	sick, penalised, busy := a, a, service.Node{ID: 4, Name: "d", Used: []int{800}}
	sick.Conditions, penalised.Penalised = []string{"worn"}, true
	for _, n := range []struct {
		than   service.Node
		others []service.Node
		want   view.NodeID
	}{
		{c, []service.Node{b, a}, 1}, {c, []service.Node{a, b}, 1}, {b, []service.Node{a, c}, 1}, {a, []service.Node{b, c}, 0}, {busy, []service.Node{c}, 0},
		{c, []service.Node{sick, b}, 2}, {c, []service.Node{penalised, b}, 2}, {c, []service.Node{sick}, 0}, {c, []service.Node{penalised}, 0}, {c, nil, 0},
	} {
		if got := findBetter(p, n.than.Name, peersOf(p, n.others)); got != n.want {
			t.Errorf("%v is better than %s of %+v", got, n.than.Name, n.others)
		}
	}
}

// TestAllNodesAgreeOnTheOrder compares the order of random facts, shuffled, with itself: it
// is one and total, and each pair stands as the two preferences say.
func TestAllNodesAgreeOnTheOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	names := []string{"a", "b", "c", "d", "e"}
	for range 2000 {
		p := service.Plan{Primary: names[rng.IntN(5)], Conditions: []string{"worn"}, Needs: service.Needs{Headroom: rng.IntN(300)}}
		for _, i := range rng.Perm(5)[:rng.IntN(4)] {
			p.Backups = append(p.Backups, names[i])
		}
		var nodes []service.Node
		for i := range 6 {
			nodes = append(nodes, service.Node{ID: view.NodeID(i + 1), Name: names[rng.IntN(5)], Used: []int{rng.IntN(1100)}, Penalised: rng.IntN(3) == 0, Runs: rng.IntN(5) == 0, Conditions: slices.Repeat([]string{"worn"}, rng.IntN(5)/4)})
		}
		first := orderOf(p, nodes)
		rng.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
		for i, n := range orderOf(p, nodes) {
			if n.ID != first[i].ID {
				t.Fatalf("%+v: %v, %v", p, first, nodes)
			}
			if i > 0 && preferenceOf(p, first[i-1]) < preferenceOf(p, n) || preferenceOf(p, n) == 0 {
				t.Fatalf("%+v before %+v", first[i-1], n)
			}
		}
	}
}

func TestPenaltyGrowsIsBoundedAndDecays(t *testing.T) {
	var p penalty
	if p.Until() != 0 || p.RestUntil() != 0 {
		t.Fatal("nothing has failed")
	}
	now, last, lastRest := time.Hour, time.Duration(0), time.Duration(0)
	for i := range 20 {
		now = max(now, p.Until())
		p.Add(now)
		long, rest := p.Until()-now, p.RestUntil()-now
		if i < 6 && (long != penaltyFirst<<i || rest != min(restFirst<<i, restMax)) || long < last || rest < lastRest || long > penaltyMax || rest > restMax {
			t.Fatalf("%d: %v, %v", i, long, rest)
		}
		last, lastRest = long, rest
	}
	if last != penaltyMax || lastRest != restMax {
		t.Fatalf("%v, %v", last, lastRest)
	}
	for i := range maxFailures + 1 {
		if got := p.Count(p.Until() + time.Duration(i)*penaltyDecay); got != maxFailures-i {
			t.Fatalf("%d hours later: %d", i, got)
		}
	}
	now = p.Until() + 5*penaltyDecay
	p.Add(now)
	if p.Until() != now+4*penaltyFirst {
		t.Errorf("%v after five were forgotten", p.Until()-now)
	}
}
