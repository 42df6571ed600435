package split

import (
	"cmp"
	"slices"

	"github.com/skeinmesh/skein/mesh/view"
)

// MaxExceptions is how many members a Row lists at most.
const MaxExceptions = 64

// Row is what one node says of its reach. The zero Row reaches everybody.
type Row struct {
	// Unreachable are the members that gossip says live but that the last
	// direct attempts did not reach; sorted.
	Unreachable []view.NodeID
	// Isolated says that they are more than MaxExceptions; then none is listed.
	Isolated bool
}

// NewRow returns the row of a node with these exceptions, in any order. It
// keeps no reference to them.
func NewRow(unreachable []view.NodeID) Row {
	if len(unreachable) == 0 {
		return Row{}
	}
	ids := slices.Clone(unreachable)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) > MaxExceptions {
		return Row{Isolated: true}
	}
	return Row{Unreachable: ids}
}

func (r Row) listsNode(id view.NodeID) bool {
	_, found := slices.BinarySearch(r.Unreachable, id)
	return found
}

// Rows are rows by the node that says so. A node without a row reaches
// everybody.
type Rows map[view.NodeID]Row

// Component returns, sorted, the nodes that the node of the view reaches, by
// relays if need be; itself included.
func Component(v view.View, rows Rows) []view.NodeID {
	g := newGraph(v, rows)
	found, _ := g.walkFrom(g.self, noNode)
	return g.idsOfNodes(found)
}

// Components returns the members that are not gone in one or two groups: the
// component of the node of the view, then all others if there are any. How
// those hang together among themselves cannot be known from here, for nothing
// of what they say arrives: that they are one group does not mean that they
// reach each other, nor that they run at all. Both are sorted.
func Components(v view.View, rows Rows) [][]view.NodeID {
	own := Component(v, rows)
	var others []view.NodeID
	for i := range v.Members {
		if m := &v.Members[i]; m.ID != v.Self && !m.Status.Gone() {
			if _, in := slices.BinarySearch(own, m.ID); !in {
				others = append(others, m.ID)
			}
		}
	}
	if len(others) == 0 {
		return [][]view.NodeID{own}
	}
	return [][]view.NodeID{own, others}
}

// Link is a link in doubt between two nodes, A below B.
type Link struct {
	A, B         view.NodeID
	FromA, FromB bool // who says that the other is not reached; at least one does
}

// Links returns, sorted, the links of the reach graph that are in doubt. The
// node of the view doubts those to members that are Suspect. What isolated nodes
// do not reach is not known, so it is not among them.
func Links(v view.View, rows Rows) []Link {
	g := newGraph(v, rows)
	var all []Link
	add := func(from, to view.NodeID) {
		if from < to {
			all = append(all, Link{A: from, B: to, FromA: true})
		} else if from > to {
			all = append(all, Link{A: to, B: from, FromB: true})
		}
	}
	for i, id := range g.ids {
		if i == g.self {
			continue
		}
		if !g.direct[i] {
			add(v.Self, id)
		}
		for _, other := range g.rows[i].Unreachable {
			if _, in := slices.BinarySearch(g.ids, other); in {
				add(id, other)
			}
		}
	}
	slices.SortFunc(all, compareLinks)
	var out []Link
	for _, l := range all {
		if last := len(out) - 1; last >= 0 && compareLinks(out[last], l) == 0 {
			out[last].FromA = out[last].FromA || l.FromA
			out[last].FromB = out[last].FromB || l.FromB
			continue
		}
		out = append(out, l)
	}
	return out
}

func compareLinks(x, y Link) int { return cmp.Or(cmp.Compare(x.A, y.A), cmp.Compare(x.B, y.B)) }

// noNode is the index of no node.
const noNode = -1

// graph is the reach graph as one node knows it. Its nodes are numbered in the
// order of their ids.
type graph struct {
	ids    []view.NodeID
	self   int
	direct []bool // this node sees it alive
	rows   []Row  // what it says; not read of self, whose view is newer
}

func newGraph(v view.View, rows Rows) *graph {
	g := &graph{}
	add := func(id view.NodeID, direct bool) {
		g.ids = append(g.ids, id)
		g.direct = append(g.direct, direct)
		g.rows = append(g.rows, rows[id])
	}
	for i := range v.Members {
		m := &v.Members[i]
		switch {
		case m.ID == v.Self:
			g.self = len(g.ids)
			add(m.ID, true)
		case m.Status.Gone():
		case m.State == view.Alive || m.State == view.Suspect:
			add(m.ID, m.State == view.Alive)
		}
	}
	if len(g.ids) == 0 || g.ids[g.self] != v.Self {
		// A view without its own node: it reaches nobody, or so it knows.
		return &graph{ids: []view.NodeID{v.Self}, direct: []bool{true}, rows: []Row{rows[v.Self]}}
	}
	return g
}

// saysUnreached tells whether a says that it does not reach b.
func (g *graph) saysUnreached(a, b int) bool {
	if a == g.self {
		return !g.direct[b]
	}
	return g.rows[a].listsNode(g.ids[b])
}

// areLinked tells whether two nodes reach each other directly.
func (g *graph) areLinked(a, b int) bool {
	if g.saysUnreached(a, b) || g.saysUnreached(b, a) {
		return false
	}
	own := a == g.self || b == g.self
	return own || !g.rows[a].Isolated || !g.rows[b].Isolated
}

// walkFrom returns the nodes that one node reaches without another, itself first,
// nearest first, and those that others were found through.
//
// Nearly all pairs are linked, so it goes through those not found yet instead of
// through links: the first node takes out nearly all, and the time it takes grows
// with the nodes and the exceptions, not with the links.
func (g *graph) walkFrom(from, without int) (found, relays []int) {
	rest := make([]int, 0, len(g.ids))
	for i := range g.ids {
		if i != from && i != without {
			rest = append(rest, i)
		}
	}
	found = append(make([]int, 0, len(g.ids)), from)
	for i := 0; i < len(found) && len(rest) > 0; i++ {
		at, kept := found[i], rest[:0]
		for _, other := range rest {
			if g.areLinked(at, other) {
				found = append(found, other)
			} else {
				kept = append(kept, other)
			}
		}
		if i > 0 && len(kept) < len(rest) {
			relays = append(relays, at)
		}
		rest = kept
	}
	return found, relays
}

// idsOfNodes returns the ids of nodes, sorted.
func (g *graph) idsOfNodes(nodes []int) []view.NodeID {
	ids := make([]view.NodeID, len(nodes))
	for i, n := range nodes {
		ids[i] = g.ids[n]
	}
	slices.Sort(ids)
	return ids
}
