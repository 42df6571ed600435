package roster

import (
	"cmp"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/skeinmesh/skein/mesh/view"
)

// crowd returns living members with random ids, sorted.
func crowd(r *rand.Rand, n int) []view.Member {
	var ms []view.Member
	for range n {
		ms = append(ms, view.Member{ID: view.NodeID(r.Uint64() | 1), State: view.Alive})
	}
	slices.SortFunc(ms, func(a, b view.Member) int { return cmp.Compare(a.ID, b.ID) })
	return ms
}

type pair [2]view.NodeID

// links are the connections that all members keep with their partners.
func links(ms []view.Member) map[pair]bool {
	out := map[pair]bool{}
	for _, m := range ms {
		for _, id := range Partners(view.View{Self: m.ID, Members: ms}) {
			out[pair{min(m.ID, id), max(m.ID, id)}] = true
		}
	}
	return out
}

// A member that joins makes a logarithmic number of connections, not one at
// every node, and so does one that leaves.
func TestOneJoinMovesFewPartners(t *testing.T) {
	for _, size := range []int{10, 100, 1000} {
		r := rng(uint64(size))
		ms := crowd(r, size)
		was := links(ms)
		made, ended := 0, 0
		const joins = 5
		for range joins {
			ms = append(ms, view.Member{ID: view.NodeID(r.Uint64()), State: view.Alive})
			slices.SortFunc(ms, func(a, b view.Member) int { return cmp.Compare(a.ID, b.ID) })
			is := links(ms)
			for l := range is {
				if !was[l] {
					made++
				}
			}
			for l := range was {
				if !is[l] {
					ended++
				}
			}
			was = is
		}
		if limit := 4 * bits.Len(uint(size)) * joins; made > limit || ended > limit {
			t.Errorf("%d joins at %d nodes made %d links and ended %d", joins, size, made, ended)
		}
		t.Logf("one join at %d nodes makes %d links and ends %d", size, made/joins, ended/joins)
	}
}

// News reaches everybody along partners, in few steps, and nobody has to serve
// many. Who keeps to the places on the ring, as earlier versions do, has the next
// one on among its partners as well, so that a mixed mesh is connected too.
func TestPartnersConnectAll(t *testing.T) {
	for seed := range uint64(60) {
		r := rng(seed)
		size := 1 + r.IntN(1+int(seed)*10)
		ms := crowd(r, size)
		degree, ways := map[view.NodeID]int{}, map[view.NodeID]int{}
		for l := range links(ms) {
			degree[l[0]]++
			degree[l[1]]++
		}
		steps := map[view.NodeID]int{ms[0].ID: 0}
		for todo := []view.NodeID{ms[0].ID}; len(todo) > 0; todo = todo[1:] {
			ps := Partners(view.View{Self: todo[0], Members: ms})
			if i := slices.IndexFunc(ms, func(m view.Member) bool { return m.ID == todo[0] }); size > 1 && ps[0] != ms[(i+1)%size].ID {
				t.Fatalf("seed %d: the first partner of %v is %v", seed, todo[0], ps[0])
			}
			for _, id := range ps {
				ways[id]++
				if _, met := steps[id]; !met {
					steps[id] = steps[todo[0]] + 1
					todo = append(todo, id)
				}
			}
		}
		log := bits.Len(uint(size))
		for _, m := range ms {
			if s, met := steps[m.ID]; !met || s > log+2 || degree[m.ID] > 4+log*log {
				t.Fatalf("seed %d: %v of %d is reached %v in %d steps and has %d links", seed, m.ID, size, met, s, degree[m.ID])
			}
			if ways[m.ID] < min(3, size-1) {
				t.Fatalf("seed %d: news comes to %v of %d on %d ways", seed, m.ID, size, ways[m.ID])
			}
		}
	}
}

// The dead are no partners, and a node is not its own.
func TestPartnersLive(t *testing.T) {
	ms := crowd(rng(1), 50)
	for i := range ms {
		ms[i].State = view.State(i % 5)
	}
	for _, m := range ms {
		for _, id := range Partners(view.View{Self: m.ID, Members: ms}) {
			if p, _ := (view.View{Members: ms}).Member(id); p.State != view.Alive || id == m.ID {
				t.Fatalf("%v has the partner %v, which is %v", m.ID, id, p.State)
			}
		}
	}
}
