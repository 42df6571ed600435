package split

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// Kind is what a node makes of who is lost.
type Kind uint8

const (
	Whole              Kind = iota // nobody is lost
	MembersDown                    // some are, and nothing speaks for a cut
	PartitionSuspected             // so many at once, or such ones, that the network is likely to be cut
)

// String returns the kind in words.
func (k Kind) String() string {
	switch k {
	case Whole:
		return "whole"
	case MembersDown:
		return "members down"
	case PartitionSuspected:
		return "partition suspected"
	}
	return fmt.Sprintf("situation(%d)", uint8(k))
}

// Situation is what a node makes of the mesh. The zero Situation is a whole one.
type Situation struct {
	Kind Kind
	// Lost are the members, not gone, that were in the component since this node
	// started and are not now; sorted.
	Lost []view.NodeID
	// Unmet are those that never were; sorted. It says nothing that a change of
	// it alone is reported for.
	Unmet []view.NodeID
	// Since is when Kind became what it is.
	Since time.Duration
	// Evidence says in words what was seen: what speaks for Kind, and bridges,
	// the nodes without which others would not reach each other.
	Evidence []string
}

func (s Situation) isSameAs(t Situation) bool {
	return s.Kind == t.Kind && slices.Equal(s.Lost, t.Lost) && slices.Equal(s.Evidence, t.Evidence)
}

// judgeLosses fills in what follows from who is lost. A suspicion is kept, with the
// evidence it was raised on, while the lost only become fewer: a cut heals piece
// by piece.
func (w *Watcher) judgeLosses(s *Situation, v view.View) {
	was := w.situation
	grew := slices.ContainsFunc(s.Lost, func(id view.NodeID) bool {
		_, known := slices.BinarySearch(was.Lost, id)
		return !known
	})
	switch {
	case len(s.Lost) == 0:
		s.Kind, w.reasons = Whole, nil
	case was.Kind == PartitionSuspected && !grew:
		s.Kind = PartitionSuspected
	default:
		s.Kind, w.reasons = PartitionSuspected, w.suspicion(s, v)
		if len(w.reasons) == 0 {
			s.Kind = MembersDown
			w.reasons = []string{fmt.Sprintf("%s lost", lostPhrase(len(s.Lost), countMembers(v)))}
		}
	}
	s.Evidence = slices.Clone(w.reasons)
	if s.Since = was.Since; s.Kind != was.Kind {
		s.Since = w.now
	}
}

// suspicion returns what speaks for a cut, in words; none if nothing does.
func (w *Watcher) suspicion(s *Situation, v view.View) (reasons []string) {
	all := countMembers(v)
	if n, span := w.atOnce(s.Lost); n >= max(2, (all+4)/5) {
		span = max(span+time.Second-1, time.Second).Truncate(time.Second)
		reasons = append(reasons, fmt.Sprintf("%d of %d members were lost within %v", n, all, span))
	}
	return append(reasons, lostZones(s, v)...)
}

// atOnce returns how many losses at most were found within the window, and how
// far apart the first and the last of them.
func (w *Watcher) atOnce(ids []view.NodeID) (most int, span time.Duration) {
	times := make([]time.Duration, len(ids))
	for i, id := range ids {
		times[i] = w.metMembers[id].since
	}
	slices.Sort(times)
	first := 0
	for last, at := range times {
		for at-times[first] > w.params.Window {
			first++
		}
		if n := last - first + 1; n > most {
			most, span = n, at-times[first]
		}
	}
	return most, span
}

// lostZones returns a line for each zone that is lost as a whole.
func lostZones(s *Situation, v view.View) (reasons []string) {
	type tally struct{ lost, unmet, all int }
	by := map[string]*tally{}
	for i := range v.Members {
		m := &v.Members[i]
		if m.Status.Gone() || m.Zone == "" {
			continue
		}
		t := by[m.Zone]
		if t == nil {
			t = &tally{}
			by[m.Zone] = t
		}
		t.all++
		if _, is := slices.BinarySearch(s.Lost, m.ID); is {
			t.lost++
		} else if _, is := slices.BinarySearch(s.Unmet, m.ID); is {
			t.unmet++
		}
	}
	elsewhere := len(s.Lost)
	for _, zone := range slices.Sorted(maps.Keys(by)) {
		t := by[zone]
		if t.lost < 2 || t.lost+t.unmet < t.all {
			continue
		}
		elsewhere -= t.lost
		met := ""
		if t.unmet > 0 {
			met = " that were met"
		}
		reasons = append(reasons, fmt.Sprintf("all %d members of zone %s%s are lost", t.lost, zone, met))
	}
	if len(reasons) > 0 && elsewhere == 0 {
		reasons[len(reasons)-1] += ", nobody else is"
	}
	return reasons
}

// countMembers returns how many members are not gone.
func countMembers(v view.View) (n int) {
	for i := range v.Members {
		if !v.Members[i].Status.Gone() {
			n++
		}
	}
	return n
}

func lostPhrase(n, all int) string {
	if n == 1 {
		return fmt.Sprintf("1 of %d members is", all)
	}
	return fmt.Sprintf("%d of %d members are", n, all)
}

// maxNames and maxBridges keep evidence short.
const maxNames, maxBridges = 3, 5

// bridges returns a line for each node of the component without which it would
// fall apart. Only nodes that others were found through can be that, and the
// node that the walk began with.
func (g *graph) bridges(v view.View, found, relays []int) (lines []string) {
	isolated, doubt := 0, false
	for _, i := range found {
		r := g.rows[i]
		doubt = doubt || !g.direct[i] || len(r.Unreachable) > 0
		if r.Isolated {
			isolated++
		}
	}
	if isolated > 0 {
		// What they reach is not known, so nor is what hangs on a single node.
		return []string{fmt.Sprintf("%d of %d nodes in contact do not reach more than %d others each", isolated, len(found), MaxExceptions)}
	}
	if !doubt {
		return nil
	}
	relays = append([]int{g.self}, relays...)
	slices.Sort(relays)
	for _, relay := range relays {
		groups := g.groupsWithout(found, relay)
		if len(groups) < 2 {
			continue
		}
		if len(lines) == maxBridges {
			return append(lines, "there are more nodes that others reach each other through only")
		}
		parts := make([]string, len(groups))
		for i, ids := range groups {
			parts[i] = nameList(v, ids)
		}
		last := len(parts) - 1
		lines = append(lines, fmt.Sprintf("%s and %s reach each other through %s only",
			strings.Join(parts[:last], ", "), parts[last], nameList(v, []view.NodeID{g.ids[relay]})))
	}
	return lines
}

// groupsWithout returns the groups into which the nodes of a component fall without one
// of them, sorted by their first.
func (g *graph) groupsWithout(nodes []int, without int) (groups [][]view.NodeID) {
	seen := make([]bool, len(g.ids))
	seen[without] = true
	for _, from := range slices.Sorted(slices.Values(nodes)) {
		if seen[from] {
			continue
		}
		group, _ := g.walkFrom(from, without)
		for _, i := range group {
			seen[i] = true
		}
		groups = append(groups, g.idsOfNodes(group))
	}
	return groups
}

// nameList names nodes as people know them; more than one in brackets.
func nameList(v view.View, ids []view.NodeID) string {
	var names []string
	for _, id := range ids[:min(len(ids), maxNames)] {
		name := id.String()
		if m, ok := v.Member(id); ok && m.Name != "" {
			name = m.Name
		}
		names = append(names, name)
	}
	if more := len(ids) - maxNames; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	if len(ids) == 1 {
		return names[0]
	}
	return "(" + strings.Join(names, " ") + ")"
}
