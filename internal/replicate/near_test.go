package replicate

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// The nearest home comes first: this node itself, its zone before others, and of one zone
// who answers in less than half the time before who takes longer. Who is about as near
// keeps its place in the plan, stand-ins keep theirs, and the plan itself is not changed.
func TestNearestHomesFirst(t *testing.T) {
	for seed := range uint64(2000) {
		chance := rand.New(rand.NewPCG(seed, 5))
		stores := 1 + chance.IntN(8)
		plan := Plan{Self: view.NodeID(1 + chance.IntN(stores+1)), Homes: chance.IntN(stores + 1), Live: func(view.NodeID) bool { return true }}
		far := make(map[view.NodeID]Distance)
		for i := range stores {
			id := view.NodeID(i + 1)
			plan.Order = append(plan.Order, id)
			far[id] = Distance{OtherZone: chance.IntN(2) == 0, RoundTrip: time.Duration(chance.IntN(8)) * time.Duration(chance.IntN(40)) * time.Millisecond}
		}
		chance.Shuffle(stores, func(i, j int) { plan.Order[i], plan.Order[j] = plan.Order[j], plan.Order[i] })
		before := slices.Clone(plan.Order)
		got := plan.NearestFirst(func(id view.NodeID) Distance { return far[id] })
		if !slices.Equal(before, plan.Order) || !slices.Equal(before[plan.Homes:], got.Order[plan.Homes:]) {
			t.Fatalf("seed %d: %v became %v, of %d homes", seed, before, got.Order, plan.Homes)
		}
		a, b := slices.Sorted(slices.Values(before[:plan.Homes])), slices.Sorted(slices.Values(got.Order[:plan.Homes]))
		if !slices.Equal(a, b) {
			t.Fatalf("seed %d: homes %v became %v", seed, a, b)
		}
		for i := 1; i < plan.Homes; i++ {
			x, y := got.Order[i-1], got.Order[i]
			dx, dy := far[x], far[y]
			place := func(id view.NodeID) int { return slices.Index(before, id) }
			switch {
			case y == plan.Self:
				t.Fatalf("seed %d: %v is before this node", seed, x)
			case x == plan.Self:
			case dx.OtherZone && !dy.OtherZone:
				t.Fatalf("seed %d: another zone first", seed)
			case dx.OtherZone != dy.OtherZone:
			case dy.RoundTrip > 0 && (dx.RoundTrip == 0 || dx.RoundTrip >= 2*dy.RoundTrip && dx.RoundTrip >= 2*time.Millisecond):
				t.Fatalf("seed %d: %v before %v", seed, dx, dy)
			case dx == dy && place(x) > place(y):
				t.Fatalf("seed %d: equally near ones changed places", seed)
			}
		}
	}
}

// One that is near is asked alone. What it does not know others are asked as if it had not
// been alone, and so they are when it fails.
func TestReadAsksTheNearestFirst(t *testing.T) {
	far := Plan{Self: 9, Order: []view.NodeID{1, 2, 3, 4, 5}, Homes: 3, Live: func(view.NodeID) bool { return true }}
	for name, c := range map[string]struct {
		plan    Plan
		first   string
		reply   Reply
		asks    string
		done    bool
		missing bool // the reply is a failure
	}{
		"it has it":            {far, "[1]", Reply{From: 1, Know: Present, Item: item(1)}, "[]", true, false},
		"it vouches":           {far, "[1]", Reply{From: 1}, "[2]", false, false},
		"it is syncing":        {far, "[1]", Reply{From: 1, Syncing: true}, "[2 3]", false, false},
		"it fails":             {far, "[1]", Reply{From: 1}, "[2 3 4 5]", false, true},
		"this store is a home": {plan5(1), "[1]", Reply{From: 1}, "[2]", false, false},
	} {
		op := NewRead(c.plan, One, false, 0)
		op.AskOneFirst()
		if got := ids(op.Start(0)); got != c.first {
			t.Errorf("%s: asks %s first", name, got)
		}
		var asks []view.NodeID
		var done bool
		if c.missing {
			asks, done = op.Failed(1, 1)
		} else {
			asks, done = op.Replied(c.reply, 1)
		}
		if ids(asks) != c.asks || done != c.done {
			t.Errorf("%s: asks %s, done %v", name, ids(asks), done)
		}
	}
}
