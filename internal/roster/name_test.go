package roster

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/skeinmesh/skein/mesh/view"
)

func TestOneOfTwoPrevails(t *testing.T) {
	if Prevails(1, 2) == Prevails(2, 1) {
		t.Error("both go on, or both stop")
	}
}

func TestOust(t *testing.T) {
	gone := plain(4, "a")
	gone.Status = view.Evicted
	r := with(t, Roster{}, plain(1, "a"), plain(2, "a"), plain(3, "b"), gone, plain(5, "a"), plain(9, "a"))
	next, evicted := r.Oust(9, func(id view.NodeID) bool { return id != 2 })
	if !slices.Equal(evicted, []view.NodeID{1, 5}) || !slices.Equal(next.Namesakes(9), []view.NodeID{2}) {
		t.Errorf("evicted %v, namesakes left %v", evicted, next.Namesakes(9))
	}
	if e, _ := next.Get(3); e.Status.Gone() {
		t.Error("a node of another name was evicted")
	}
	if again, evicted := r.Oust(4, func(view.NodeID) bool { return true }); len(evicted) > 0 || !same(again, r) {
		t.Errorf("one that is gone evicted %v", evicted)
	}
}

// Disks are lost, again and again and several at once, and their successors know
// what they were told, in any order. Whatever was merged with what, once all that
// run have heard of all, each name has one member, which is the one that runs. Of
// two that ran under one name one has stopped.
func TestOneMemberPerName(t *testing.T) {
	for seed := range uint64(1000) {
		w := newNames(t, seed)
		for range 40 + w.rng.IntN(60) {
			w.step()
		}
		for range 4 {
			for i := 0; i < len(w.nodes); i++ {
				for j := range w.nodes {
					w.exchange(i, j)
				}
				w.settle(i)
			}
		}
		w.check(seed)
	}
}

// names is the nodes that run, each with what it knows. All that is not among
// them is down.
type names struct {
	t     *testing.T
	rng   *rand.Rand
	nodes []namedNode
}

type namedNode struct {
	id   view.NodeID
	name string
	r    Roster
}

func newNames(t *testing.T, seed uint64) *names {
	w := &names{t: t, rng: rng(seed)}
	for _, name := range []string{"a", "b", "c", "d", "e", "a"}[:5+w.rng.IntN(2)] {
		w.nodes = append(w.nodes, namedNode{name: name})
		w.replace(len(w.nodes) - 1)
	}
	return w
}

// replace gives a box an empty disk.
func (w *names) replace(box int) {
	id := view.NodeID(w.rng.Uint64() | 1)
	w.nodes[box].id, w.nodes[box].r = id, with(w.t, Roster{}, plain(id, w.nodes[box].name))
}

func (w *names) runs(id view.NodeID) bool {
	return slices.ContainsFunc(w.nodes, func(n namedNode) bool { return n.id == id })
}

func (w *names) step() {
	i := w.rng.IntN(len(w.nodes))
	switch w.rng.IntN(12) {
	case 0:
		w.replace(i)
	case 1, 2, 3:
		w.settle(i)
	case 4: // stale verdicts: some of those that are down are taken for running
		w.nodes[i].r, _ = w.nodes[i].r.Settle(func(id view.NodeID) bool { return w.runs(id) || w.rng.IntN(2) == 0 })
	default:
		w.exchange(i, w.rng.IntN(len(w.nodes)))
	}
}

func (w *names) exchange(i, j int) {
	m := merge(w.nodes[i].r, w.nodes[j].r)
	w.nodes[i].r, w.nodes[j].r = m, m
}

// settle does what a node does about its namesakes: it takes the place of those
// that are down, and stops where one that runs prevails.
func (w *names) settle(box int) {
	n := &w.nodes[box]
	n.r, _ = n.r.Oust(n.id, func(id view.NodeID) bool { return !w.runs(id) })
	if slices.ContainsFunc(n.r.Namesakes(n.id), func(o view.NodeID) bool { return Prevails(o, n.id) }) {
		w.nodes = slices.Delete(w.nodes, box, box+1)
	}
}

func (w *names) check(seed uint64) {
	w.t.Helper()
	if len(w.nodes) != 5 {
		w.t.Fatalf("seed %d: %d nodes run under five names", seed, len(w.nodes))
	}
	for _, n := range w.nodes {
		e, _ := n.r.Get(n.id)
		switch left := n.r.Namesakes(n.id); {
		case !same(n.r, w.nodes[0].r):
			w.t.Fatalf("seed %d: rosters differ", seed)
		case e.Status.Gone():
			w.t.Fatalf("seed %d: %v runs and is %v", seed, n.id, e.Status)
		case len(left) > 0:
			w.t.Fatalf("seed %d: %v and %v have one name", seed, n.id, left)
		}
	}
}
