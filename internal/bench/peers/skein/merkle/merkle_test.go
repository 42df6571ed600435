package merkle

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/skeinmesh/skein/internal/reconcile"
)

// sets returns two sets of n keys or fewer: some keys differ in their version,
// some are in one set only. want is what a comparison key by key finds.
func sets(chance *rand.Rand, n int) (a, b []reconcile.Element, want []uint64) {
	seen := map[uint64]bool{}
	for range n {
		e := reconcile.Element{Key: chance.Uint64(), Version: chance.Uint64()}
		if seen[e.Key] {
			continue
		}
		seen[e.Key] = true
		switch chance.IntN(20) {
		case 0:
			a = append(a, e)
		case 1:
			b = append(b, e)
		case 2:
			a, b = append(a, e), append(b, reconcile.Element{Key: e.Key, Version: e.Version + 1})
		default:
			a, b = append(a, e), append(b, e)
			continue
		}
		want = append(want, e.Key)
	}
	slices.Sort(want)
	chance.Shuffle(len(a), func(i, j int) { a[i], a[j] = a[j], a[i] })
	return a, b, want
}

func TestFindIsWhatBruteForceFinds(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{0, 1, 5, 100, 3000} {
		for depth := range 4 {
			depth++
			a, b, want := sets(chance, n)
			requests := 0
			other := New(b, depth)
			got, err := New(a, depth).Find(func(q []byte) ([]byte, error) {
				requests++
				return other.Answer(q)
			})
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("%d keys, depth %d: %d differ, want %d: %v", n, depth, len(got), len(want), err)
			}
			if requests > depth+1 {
				t.Errorf("%d keys, depth %d: %d requests", n, depth, requests)
			}
		}
	}
}

func TestReplaceIsBuildingAnew(t *testing.T) {
	chance := rand.New(rand.NewPCG(2, 2))
	a, _, _ := sets(chance, 500)
	changed := New(slices.Clone(a), 2)
	for _, i := range chance.Perm(len(a))[:20] {
		a[i].Version++
		if err := changed.Replace(a[i]); err != nil {
			t.Fatal(err)
		}
	}
	anew := New(a, 2)
	for level := range anew.levels {
		if !slices.Equal(changed.levels[level], anew.levels[level]) {
			t.Errorf("level %d differs", level)
		}
	}
	if err := changed.Replace(reconcile.Element{Key: 12345}); err == nil {
		t.Error("an element that is not there was replaced")
	}
}

func TestDepthHasAbout16ALeaf(t *testing.T) {
	for n, want := range map[int]int{10: 1, 500: 1, 4000: 2, 100_000: 3, 1_000_000: 4} {
		if got := Depth(n); got != want {
			t.Errorf("Depth(%d) = %d, want %d", n, got, want)
		}
	}
}

// The default depth is to be the best one, or the comparison would not be fair.
func TestDepthIsTheBest(t *testing.T) {
	const n = 65_536
	chance := rand.New(rand.NewPCG(3, 3))
	list := make([]reconcile.Element, n)
	for i := range list {
		list[i] = reconcile.Element{Key: chance.Uint64(), Version: 1}
	}
	cost := map[int]int{}
	for depth := Depth(n) - 1; depth <= Depth(n)+1; depth++ {
		mine, theirs := New(list, depth), New(list, depth)
		for _, e := range list[:50] {
			if err := theirs.Replace(reconcile.Element{Key: e.Key, Version: 2}); err != nil {
				t.Fatal(err)
			}
		}
		keys, err := mine.Find(func(q []byte) ([]byte, error) {
			reply, err := theirs.Answer(q)
			cost[depth] += len(q) + len(reply)
			return reply, err
		})
		if err != nil || len(keys) != 50 {
			t.Fatalf("depth %d: %d keys, %v", depth, len(keys), err)
		}
	}
	for depth, bytes := range cost {
		if best := cost[Depth(n)]; bytes*11 < best*10 {
			t.Errorf("depth %d takes %d B, depth %d takes %d B", depth, bytes, Depth(n), best)
		}
	}
	t.Logf("bytes by depth: %v", cost)
}

func TestMalformedMessages(t *testing.T) {
	a, b, _ := sets(rand.New(rand.NewPCG(4, 4)), 300)
	tree, other := New(a, 1), New(b, 1)
	for _, q := range [][]byte{{}, {2}, {0, 1}, {1, 16}, {1, 3, 12}, {1, 0x80}} {
		if _, err := tree.Answer(q); !errors.Is(err, errMalformed) {
			t.Errorf("request %v: %v", q, err)
		}
	}
	for level := range 2 {
		for _, cut := range []int{1, 16} {
			_, err := tree.Find(func(q []byte) ([]byte, error) {
				reply, err := other.Answer(q)
				if int(q[0]) == level {
					reply = reply[:len(reply)-cut]
				}
				return reply, err
			})
			if !errors.Is(err, errMalformed) {
				t.Errorf("reply of level %d short by %d bytes: %v", level, cut, err)
			}
		}
	}
	_, err := tree.Find(func(q []byte) ([]byte, error) {
		reply, err := other.Answer(q)
		if q[0] == 1 {
			reply = append(reply, 0)
		}
		return reply, err
	})
	if !errors.Is(err, errMalformed) {
		t.Errorf("a byte too much: %v", err)
	}
}
