package placement

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/skeinmesh/skein/mesh/view"
)

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// mesh returns n nodes spread evenly over so many zones.
func mesh(r *rand.Rand, n, zones int) []Node {
	nodes := make([]Node, n)
	for i := range nodes {
		nodes[i] = Node{
			ID: view.NodeID(r.Uint64()), Name: fmt.Sprintf("gw-%04d-%06x", i, r.Uint32N(1<<24)),
			Zone: fmt.Sprintf("line-%d", i%zones), Weight: 1,
		}
	}
	return nodes
}

func mustNew(t testing.TB, nodes []Node, shards int) *Map {
	t.Helper()
	m, err := New(nodes, shards)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// everything is all that a map says, to compare maps by.
func everything(m *Map, prefer []string) string {
	s := ""
	for i := range m.Shards() {
		order := m.Order(i, prefer)
		s += fmt.Sprint(order, m.Lead(i, order[:min(3, len(order))]), "\n")
	}
	return s
}

// Whatever way a set of nodes came about, by joins, leaves and moves in any
// order, through kept rings or afresh, the map is the same.
func TestF1_14_PlacementDependsOnTheSetOnly(t *testing.T) {
	for seed := range uint64(12) {
		r := rng(seed)
		zones := 1 + r.IntN(5)
		pool := mesh(r, 2+r.IntN(14), zones)
		for i := range pool {
			pool[i].Weight = 1 + r.IntN(8)*r.IntN(2)
		}
		target := slices.Clone(pool[:1+r.IntN(len(pool))])
		want := everything(mustNew(t, target, 37), nil)

		r.Shuffle(len(target), func(i, j int) { target[i], target[j] = target[j], target[i] })
		if got := everything(mustNew(t, target, 37), nil); got != want {
			t.Fatalf("seed %d: the order of the nodes matters", seed)
		}
		m := mustNew(t, nil, 37)
		for range 12 {
			now := slices.Clone(pool)
			r.Shuffle(len(now), func(i, j int) { now[i], now[j] = now[j], now[i] })
			now = now[:r.IntN(len(now)+1)]
			for i := range now {
				if r.IntN(8) == 0 {
					now[i].Weight, now[i].Zone = 1+r.IntN(8), fmt.Sprintf("line-%d", r.IntN(zones))
				}
				if r.IntN(20) == 0 {
					now[i].ID++ // a successor under the same name
				}
			}
			m = m.With(now)
		}
		// One by one, so that rings are changed and not built afresh.
		for n := len(pool); n > len(target); n-- {
			m = m.With(pool[:n])
		}
		m = m.With(pool[:len(target)])
		if got := everything(m, nil); got != want {
			t.Fatalf("seed %d: the history of the map matters", seed)
		}
		for n := range len(target) + 1 {
			m = m.With(target[:n])
		}
		if got := everything(m, nil); got != want {
			t.Fatalf("seed %d: the history of the map matters after joins", seed)
		}
	}
}

// movement compares two tables: copies moved, and the shards with several new
// homes.
func movement(a, b *Table, shards int) (moved, several int) {
	for s := range shards {
		fresh := 0
		for _, id := range b.Homes(s) {
			if !slices.Contains(a.Homes(s), id) {
				fresh++
			}
		}
		moved += fresh
		if fresh > 1 {
			several++
		}
	}
	return moved, several
}

func balance(t *Table, shards, nodes int) float64 {
	load := map[view.NodeID]int{}
	most := 0
	for s := range shards {
		for _, id := range t.Homes(s) {
			load[id]++
			most = max(most, load[id])
		}
	}
	return float64(most) * float64(nodes) / float64(shards*t.width)
}

// With at least as many zones as copies, a join or a leave gives no shard two
// new homes, and moves little more than the share of the node.
func TestF1_14_JoinAndLeaveMoveLittle(t *testing.T) {
	const copies, trials = 3, 8
	for _, c := range []struct{ nodes, zones, shards int }{
		{5, 1, 271}, {3, 3, 271}, {5, 3, 271}, {10, 3, 271}, {50, 3, 1021}, {50, 5, 1021}, {60, 6, 1021}, {100, 3, 4093},
	} {
		var join, leave, bal float64
		several := 0
		for trial := range trials {
			r := rng(uint64(c.nodes*1000 + trial))
			nodes := mesh(r, c.nodes+1, c.zones)
			newcomer := r.IntN(len(nodes))
			nodes[newcomer], nodes[c.nodes] = nodes[c.nodes], nodes[newcomer]
			small := mustNew(t, nodes[:c.nodes], c.shards)
			before, after := small.Table(copies, nil), small.With(nodes).Table(copies, nil)
			come, twice := movement(before, after, c.shards)
			gone, thrice := movement(after, before, c.shards)
			several += twice + thrice
			// The ideal of a join is what the newcomer gets by its weight; of a
			// leave, what it had.
			ideal := float64(copies*c.shards) / float64(c.nodes+1)
			join += float64(come) / ideal / trials
			leave += float64(gone) / ideal / trials
			bal += balance(after, c.shards, c.nodes+1) / trials
		}
		share := 100 * float64(several) / float64(2*trials*c.shards)
		t.Logf("%3d nodes %d zones %4d shards: join %.2f leave %.2f of ideal, >= 2 new homes %.1f%%, max/mean %.2f",
			c.nodes, c.zones, c.shards, join, leave, share, bal)
		if c.zones >= copies && several > 0 {
			t.Errorf("%+v: %d shards got two new homes", c, several)
		}
		if join > 1.3 || leave > 1.3 {
			t.Errorf("%+v: moved %.2f and %.2f of the ideal", c, join, leave)
		}
		if bal > 1.6 {
			t.Errorf("%+v: the fullest node has %.2f of the mean", c, bal)
		}
	}
}

// While more zones than copies grow node by node, a shard never gets two new
// homes at once, and joins move little more than the newcomer's share.
func TestF1_14_GrowthMovesLittleOnTheWhole(t *testing.T) {
	const shards, copies = 271, 3
	nodes := mesh(rng(6), 100, 5)
	m := mustNew(t, nodes[:15], shards)
	before := m.Table(copies, nil)
	var costs []float64
	sum := 0.0
	for n := 16; n <= len(nodes); n++ {
		m = m.With(nodes[:n])
		after := m.Table(copies, nil)
		moved, several := movement(before, after, shards)
		if several > 0 {
			t.Errorf("join of node %d gave %d shards two new homes", n, several)
		}
		cost := float64(moved) * float64(n) / (shards * copies)
		costs = append(costs, cost)
		sum += cost
		before = after
	}
	slices.Sort(costs)
	t.Logf("85 joins to 5 zones: moved mean %.2f, median %.2f, worst %.2f of the ideal",
		sum/float64(len(costs)), costs[len(costs)/2], costs[len(costs)-1])
	if mean := sum / float64(len(costs)); mean > 1.3 || costs[len(costs)/2] > 1.3 {
		t.Errorf("moved %.2f on average, %.2f in the middle", mean, costs[len(costs)/2])
	}
}

func TestCopiesSpreadOverZones(t *testing.T) {
	for seed := range uint64(25) {
		r := rng(seed)
		zones, n := 1+r.IntN(7), 1+r.IntN(30)
		nodes := mesh(r, n, zones)
		zones = min(zones, n)
		zoneOf := map[view.NodeID]string{}
		for _, x := range nodes {
			zoneOf[x.ID] = x.Zone
		}
		m := mustNew(t, nodes, 61)
		for copies := range n + 3 {
			for s := range 61 {
				homes := m.Homes(s, copies, nil)
				if len(homes) != min(copies, n) {
					t.Fatalf("seed %d: %d homes of %d copies on %d nodes", seed, len(homes), copies, n)
				}
				seen, in := map[view.NodeID]bool{}, map[string]bool{}
				for _, id := range homes {
					seen[id], in[zoneOf[id]] = true, true
				}
				if len(seen) != len(homes) || len(in) != min(zones, len(homes)) {
					t.Fatalf("seed %d shard %d: homes %v are %d nodes in %d of %d zones", seed, s, homes, len(seen), len(in), zones)
				}
				if order := m.Order(s, nil); !slices.Equal(order[:len(homes)], homes) || len(order) != n {
					t.Fatalf("seed %d: Order %v does not go on from Homes %v", seed, order, homes)
				}
			}
		}
	}
}

func TestPreferredZonesComeFirst(t *testing.T) {
	m := mustNew(t, mesh(rng(1), 20, 5), 271)
	zoneOf := map[view.NodeID]string{}
	for _, n := range mesh(rng(1), 20, 5) {
		zoneOf[n.ID] = n.Zone
	}
	firsts := map[string]int{}
	for s := range 271 {
		homes := m.Homes(s, 3, []string{"line-4", "line-1", "nowhere"})
		first, second := zoneOf[homes[0]], zoneOf[homes[1]]
		firsts[first]++
		if first == second || first != "line-4" && first != "line-1" || second != "line-4" && second != "line-1" {
			t.Fatalf("shard %d: homes in %s and %s", s, first, second)
		}
	}
	if firsts["line-4"] < 90 || firsts["line-1"] < 90 {
		t.Fatalf("the preferred zones do not share the first place: %v", firsts)
	}
}

// With more zones than copies a zone gets data by its capacity, up to a factor
// of three, and a node by its weight within the zone.
func TestWeightAndCapacity(t *testing.T) {
	r := rng(2)
	var nodes []Node
	for i, n := range mesh(r, 12, 4) {
		n.Weight = 1 << (i % 4) // every node of zone i has weight 2^i
		nodes = append(nodes, n)
	}
	const shards = 8191
	table := mustNew(t, nodes, shards).Table(1, nil)
	per := map[view.NodeID]int{}
	for s := range shards {
		per[table.Homes(s)[0]]++
	}
	for _, n := range nodes {
		want := float64(shards) * float64(n.Weight) / 45
		if got := float64(per[n.ID]); got < want*0.6 || got > want*3.3 {
			t.Errorf("weight %d: %v shards, want about %.0f", n.Weight, got, want)
		}
	}
	leads := map[view.NodeID]int{}
	table = mustNew(t, nodes[:6], shards).Table(3, nil)
	for s := range shards {
		leads[table.Lead(s)]++
	}
	if len(leads) != 6 {
		t.Errorf("%d of 6 nodes lead anything", len(leads))
	}
}

func TestLeadIsAHome(t *testing.T) {
	m := mustNew(t, mesh(rng(3), 9, 3), 271)
	table := m.Table(3, nil)
	for s := range 271 {
		homes := m.Homes(s, 3, nil)
		lead := m.Lead(s, homes)
		if !slices.Contains(homes, lead) || table.Lead(s) != lead || !slices.Equal(table.Homes(s), homes) {
			t.Fatalf("shard %d: lead %v of %v; the table says %v of %v", s, lead, homes, table.Lead(s), table.Homes(s))
		}
		rest := slices.DeleteFunc(slices.Clone(homes), func(id view.NodeID) bool { return id == lead })
		slices.Reverse(homes)
		if m.Lead(s, homes) != lead || m.Lead(s, append(rest, 12345)) == lead || m.Lead(s, nil) != 0 || m.Lead(s, []view.NodeID{12345}) != 0 {
			t.Fatalf("shard %d: the lead depends on more than the set of homes", s)
		}
	}
}

func TestOddRosters(t *testing.T) {
	if _, err := New(nil, 0); !errors.Is(err, ErrShards) {
		t.Errorf("0 shards: %v", err)
	}
	if _, err := New(nil, MaxShards+1); !errors.Is(err, ErrShards) {
		t.Errorf("too many shards: %v", err)
	}
	m := mustNew(t, nil, 7)
	if len(m.Homes(0, 3, nil)) != 0 || len(m.Order(6, nil)) != 0 || len(m.Table(3, nil).Homes(3)) != 0 || m.Table(3, nil).Lead(0) != 0 {
		t.Error("an empty mesh has homes")
	}
	m = m.With([]Node{{ID: 5, Name: "a", Weight: -4}, {ID: 0, Name: "none"}, {ID: 5, Name: "b"}})
	if got := m.Homes(3, 3, nil); !slices.Equal(got, []view.NodeID{5}) || m.Homes(3, -1, nil) == nil || m.Len() != 1 {
		t.Errorf("homes %v", got)
	}
	twins := mustNew(t, []Node{{ID: 1, Name: "x"}, {ID: 2, Name: "x"}, {ID: 3, Name: "x\x000000000000000002"}, {ID: 4}}, 271)
	per := map[view.NodeID]int{}
	for s := range 271 {
		per[twins.Homes(s, 1, nil)[0]]++
	}
	if len(per) != 4 {
		t.Errorf("nodes of one name share the shards %v", per)
	}
	one := mustNew(t, []Node{{ID: 1, Name: "x"}, {ID: 4}, {ID: 9, Name: "y"}}, 271)
	two := one.With([]Node{{ID: 1, Name: "x"}, {ID: 4}, {ID: 9, Name: "y"}, {ID: 7, Name: "x"}})
	for s := range 271 {
		if a, b := one.Homes(s, 1, nil)[0], two.Homes(s, 1, nil)[0]; a == 1 && b != 1 && b != 7 && b != 4 && b != 9 {
			t.Errorf("shard %d went from %v to %v", s, a, b)
		}
	}
}

func TestHugeRosters(t *testing.T) {
	for _, c := range []struct{ nodes, zones, weight, shards int }{
		{5000, 1, 8, 271}, {5000, 5000, 1, 271}, {5000, 500, 1, 271}, {6, 3, 8, MaxShards}, {2, 1, 8, MaxShards}, {60, 1, 2, 1},
	} {
		nodes := mesh(rng(4), c.nodes, c.zones)
		for i := range nodes {
			nodes[i].Weight = c.weight
		}
		m := mustNew(t, nodes, c.shards)
		for _, s := range []int{0, c.shards / 2, c.shards - 1} {
			if homes := m.Homes(s, 3, nil); len(homes) != min(3, c.nodes) {
				t.Errorf("%+v: shard %d has homes %v", c, s, homes)
			}
		}
		if order := m.Order(c.shards/2, nil); len(order) != c.nodes {
			t.Errorf("%+v: order of %d", c, len(order))
		}
		m = m.With(nodes[:c.nodes-1])
		if homes := m.Homes(0, 1, nil); len(homes) != 1 {
			t.Errorf("%+v: one node less and shard 0 has homes %v", c, homes)
		}
	}
}

// Two members at one point of a ring would make consistent panic on Remove.
func TestSharedPointsDropTheRing(t *testing.T) {
	r := newRing(31, 0)
	set := func(names ...member) map[member]int32 {
		out := map[member]int32{}
		for i, n := range names {
			out[n] = int32(i)
		}
		return out
	}
	if !r.setMembers(set("a#0", "b#0")) {
		t.Fatal("two plain names do not fit")
	}
	r.countPoints("b#0", +1) // stands for a name that falls on all of b's points
	if r.setMembers(set("a#0", "b#0", "c#0")) {
		t.Fatal("a ring with shared points was used")
	}
	r.countPoints("b#0", -1)
	if !r.setMembers(set("a#0", "c#0")) || len(r.shardOwners(set("a#0", "c#0"))) != 31 {
		t.Fatal("the ring did not come back when the points were free again")
	}
	if r.shared != 0 || len(r.points) != 2*ringPoints {
		t.Fatalf("%d points, %d shared", len(r.points), r.shared)
	}
}

func TestShardOfIsSpreadAndFixed(t *testing.T) {
	per := make([]int, 271)
	for i := range 271 * 100 {
		per[ShardOf(7, fmt.Sprint("sensor/", i), 271)]++
	}
	if least, most := slices.Min(per), slices.Max(per); least < 50 || most > 160 {
		t.Errorf("shards hold %d to %d keys, 100 on average", least, most)
	}
	if a, b := ShardOf(7, "k", 65536), ShardOf(8, "k", 65536); a == b {
		t.Error("the bucket does not matter")
	}
	// Data on disk lies by these.
	if got := [2]int{ShardOf(1, "line-1/temp", 271), ShardOf(0, "", 65536)}; got != [2]int{goldenShardA, goldenShardB} {
		t.Errorf("ShardOf changed: %v", got)
	}
}

// The map of a fixed mesh, kept for ever: all versions and all architectures
// must agree on it.
func TestGoldenMap(t *testing.T) {
	var nodes []Node
	for i := range 9 {
		nodes = append(nodes, Node{ID: view.NodeID(100 + i), Name: fmt.Sprint("n", i), Zone: fmt.Sprint("z", i%4), Weight: 1 + i%3})
	}
	m := mustNew(t, nodes, 13)
	got := ""
	for s := range 13 {
		homes := m.Homes(s, 3, nil)
		got += fmt.Sprintf("%d:%d", s, m.Lead(s, homes)-100)
		for _, id := range m.Order(s, []string{"z3"}) {
			got += fmt.Sprintf(" %d", id-100)
		}
		got += "\n"
	}
	if got != goldenMap {
		t.Errorf("the map of a fixed mesh changed:\n%s", got)
	}
}

func FuzzNewAndHomes(f *testing.F) {
	f.Add([]byte{}, uint16(271), uint8(3))
	f.Add([]byte("\x01a\x01\x01\x02a\x01\x08\x03b\x02\x00\x03b\x02\xff"), uint16(1), uint8(9))
	f.Fuzz(func(t *testing.T, b []byte, shards uint16, copies uint8) {
		shards = min(shards, 61) // what is small is tried often
		var nodes []Node
		for ; len(b) >= 4 && len(nodes) < 12; b = b[4:] {
			nodes = append(nodes, Node{ID: view.NodeID(b[0]), Name: string(b[1:2]), Zone: string(b[2:3]), Weight: int(int8(b[3]))})
		}
		half := nodes[:len(nodes)/2]
		m, err := New(half, int(shards))
		if err != nil {
			if shards != 0 {
				t.Fatal(err)
			}
			return
		}
		m = m.With(nodes)
		again := mustNew(t, nodes, int(shards))
		for _, s := range []int{0, int(shards) / 2, int(shards) - 1} {
			homes := m.Homes(s, int(copies), []string{"\x01"})
			if len(homes) != min(int(copies), m.Len()) || len(m.Order(s, nil)) != m.Len() {
				t.Fatalf("shard %d: homes %v on %d nodes", s, homes, m.Len())
			}
			if !slices.Equal(homes, again.Homes(s, int(copies), []string{"\x01"})) {
				t.Fatalf("shard %d: kept rings give %v, new ones do not", s, homes)
			}
			if len(homes) > 0 && !slices.Contains(homes, m.Lead(s, homes)) {
				t.Fatal("no home leads")
			}
		}
	})
}

func BenchmarkNew(b *testing.B) {
	for _, n := range []int{10, 50, 300} {
		nodes := mesh(rng(5), n, 3)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				mustNew(b, nodes, 271)
			}
		})
	}
}

func BenchmarkJoinAndLeave(b *testing.B) {
	for _, n := range []int{10, 50, 300} {
		nodes := mesh(rng(5), n, 3)
		m := mustNew(b, nodes, 271)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				m = m.With(nodes[1:])
				m = m.With(nodes)
			}
		})
	}
}

func BenchmarkHomes(b *testing.B) {
	for _, n := range []int{5, 50, 300} {
		m := mustNew(b, mesh(rng(5), n, 3), 271)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				m.Homes(i%271, 3, nil)
			}
		})
		b.Run(fmt.Sprint(n, "-order"), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				m.Order(i%271, nil)
			}
		})
		b.Run(fmt.Sprint(n, "-table"), func(b *testing.B) {
			for b.Loop() {
				m.Table(3, nil)
			}
		})
	}
}
