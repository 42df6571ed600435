// Package draw shows a mesh as one node sees it: as text for a terminal and as
// an SVG image. Equal pictures give equal bytes. Names come from other nodes
// and may hold anything; what is drawn of them can do no harm.
package draw

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/skeinmesh/skein/internal/mode"
	"github.com/skeinmesh/skein/mesh/view"
)

// Picture is what there is to draw. Nothing in it is changed.
type Picture struct {
	Mesh   string // name; may be empty
	MeshID view.MeshID
	Self   view.NodeID
	Nodes  []Node // in any order; those that left for good are not drawn
	// Components are the nodes that reach each other, as far as known. A node
	// that is in none is drawn as out of contact, Self as a component of its own.
	Components [][]view.NodeID
	Doubtful   []Link
	Cloud      mode.Cloud
	Mode       mode.Mode
	Situation  string   // in words; may be empty
	Leaderless []string // elections in which no leader is known here
}

// Node is one member.
type Node struct {
	ID      view.NodeID
	Name    string // may be empty: the ID is drawn
	Zone    string
	State   view.State
	Storing bool
	Leads   []string // names of elections
}

// Link is a pair of which A does not reach B directly. OneWay says that B
// reaches A.
type Link struct {
	A, B   view.NodeID
	OneWay bool
}

// group is what is drawn as one: a component, or who is out of contact.
type group struct {
	title string
	own   bool // holds the node that sees all this
	lost  bool // not a component
	nodes []member
}

// member is a node with what is shown as its name and zone.
type member struct {
	Node
	label, zone string
}

// scene is a picture in order.
type scene struct {
	Picture
	groups  []group
	byID    map[view.NodeID]member
	inOrder []member // as they are drawn
}

// arrange sorts a picture: the own component first, then the greater ones, and
// in each by zone and name, so that the order of the input shows nowhere.
func arrange(p Picture) scene {
	s := scene{Picture: p, byID: map[view.NodeID]member{}}
	for _, n := range p.Nodes {
		if _, twice := s.byID[n.ID]; !twice && n.State != view.Departed {
			s.byID[n.ID] = member{Node: n, label: cleanName(n.Name), zone: cleanName(n.Zone)}
		}
	}
	left := map[view.NodeID]bool{}
	for _, n := range p.Nodes {
		left[n.ID] = n.State == view.Departed
	}
	components := p.Components
	if _, known := s.byID[p.Self]; known && !slices.ContainsFunc(components, func(c []view.NodeID) bool { return slices.Contains(c, p.Self) }) {
		components = append(slices.Clone(components), []view.NodeID{p.Self})
	}
	placed := map[view.NodeID]bool{}
	for _, c := range components {
		var g group
		for _, id := range c {
			if placed[id] || left[id] {
				continue
			}
			placed[id] = true
			g.own = g.own || id == p.Self
			if _, known := s.byID[id]; !known {
				s.byID[id] = member{Node: Node{ID: id}}
			}
			g.nodes = append(g.nodes, s.byID[id])
		}
		if len(g.nodes) > 0 {
			s.groups = append(s.groups, g)
		}
	}
	lost := group{lost: true}
	for id, m := range s.byID {
		if !placed[id] {
			lost.nodes = append(lost.nodes, m)
		}
	}
	if len(lost.nodes) > 0 {
		s.groups = append(s.groups, lost)
	}
	s.nameNodes()
	s.sortGroups()
	return s
}

// nameNodes gives every node a label of its own: of two with one name, and of those
// without one, the ID tells which is which.
func (s *scene) nameNodes() {
	often := map[string]int{}
	for _, m := range s.byID {
		often[m.label]++
	}
	label := func(m *member) {
		switch {
		case m.label == "":
			m.label = m.ID.String()
		case often[m.label] > 1:
			m.label += " " + m.ID.String()[:6]
		}
	}
	for id, m := range s.byID {
		label(&m)
		s.byID[id] = m
	}
	for _, g := range s.groups {
		for i := range g.nodes {
			label(&g.nodes[i])
		}
	}
}

func (s *scene) sortGroups() {
	for _, g := range s.groups {
		slices.SortFunc(g.nodes, func(a, b member) int {
			return cmp.Or(cmp.Compare(a.zone, b.zone), cmp.Compare(a.label, b.label), cmp.Compare(a.ID, b.ID))
		})
	}
	last := func(g group) int {
		switch {
		case g.lost:
			return 2
		case g.own:
			return 0
		}
		return 1
	}
	slices.SortFunc(s.groups, func(a, b group) int {
		return cmp.Or(cmp.Compare(last(a), last(b)), cmp.Compare(len(b.nodes), len(a.nodes)), cmp.Compare(a.nodes[0].ID, b.nodes[0].ID))
	})
	for i := range s.groups {
		g := &s.groups[i]
		switch {
		case g.lost:
			g.title = "out of contact"
		case g.own:
			g.title = fmt.Sprintf("component %d (this node's)", i+1)
		default:
			g.title = fmt.Sprintf("component %d", i+1)
		}
		s.inOrder = append(s.inOrder, g.nodes...)
	}
}

// doubtful returns the links between nodes that are drawn, in order.
func (s *scene) doubtful() []Link {
	var links []Link
	for _, l := range s.Doubtful {
		_, a := s.byID[l.A]
		_, b := s.byID[l.B]
		if !l.OneWay && l.A > l.B {
			l.A, l.B = l.B, l.A
		}
		if a && b && l.A != l.B {
			links = append(links, l)
		}
	}
	slices.SortFunc(links, func(a, b Link) int {
		return cmp.Or(cmp.Compare(s.byID[a.A].label, s.byID[b.A].label), cmp.Compare(s.byID[a.B].label, s.byID[b.B].label),
			cmp.Compare(a.A, b.A), cmp.Compare(a.B, b.B), orderBools(a.OneWay, b.OneWay))
	})
	return slices.Compact(links)
}

func orderBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// describeLink puts a doubtful link into words.
func (s *scene) describeLink(l Link) string {
	a, b := clipText(s.byID[l.A].label, 32), clipText(s.byID[l.B].label, 32)
	if l.OneWay {
		return a + " does not reach " + b + ", which reaches it"
	}
	return a + " and " + b + " do not reach each other"
}

// describeCounts says how many there are: "3 nodes: 2 alive, 1 suspect; 2 store".
func describeCounts(nodes []member) string {
	t := tallyNodes(nodes)
	var states []string
	for _, s := range allStates {
		if n := t.states[s]; n > 0 {
			states = append(states, fmt.Sprintf("%d %s", n, stateWord(s)))
		}
	}
	if len(states) == 0 {
		return "0 nodes"
	}
	return fmt.Sprintf("%s: %s; %s", countNoun(len(nodes), "node"), strings.Join(states, ", "), storePhrase(t.storing))
}

func storePhrase(n int) string {
	switch n {
	case 0:
		return "none stores"
	case 1:
		return "1 stores"
	}
	return fmt.Sprintf("%d store", n)
}

func countNoun(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// leadPhrase says of which elections a node is the leader; nothing if of none.
func (m member) leadPhrase() string {
	if len(m.Leads) == 0 {
		return ""
	}
	return "leads " + listed(m.Leads)
}

// listed returns names in order, with commas.
func listed(names []string) string {
	return cleanName(strings.Join(slices.Sorted(slices.Values(names)), ", "))
}

type counts struct {
	states  map[view.State]int
	storing int
}

// allStates are the states of nodes that are drawn.
var allStates = [...]view.State{view.Alive, view.Suspect, view.Failed, view.Unknown}

func tallyNodes(nodes []member) counts {
	t := counts{states: map[view.State]int{}}
	for _, m := range nodes {
		t.states[drawnState(m.State)]++
		if m.Storing {
			t.storing++
		}
	}
	return t
}

// drawnState takes a state that is none for Unknown.
func drawnState(s view.State) view.State {
	if slices.Contains(allStates[:], s) {
		return s
	}
	return view.Unknown
}

// stateWord calls Unknown what it means to people.
func stateWord(s view.State) string {
	if drawnState(s) == view.Unknown {
		return "never met"
	}
	return s.String()
}

// modeWords says in what situation the node is, in a few words.
func modeWords(m mode.Mode) string {
	switch m {
	case mode.Local:
		return "local: cut off from the cloud"
	case mode.Minority:
		return "minority: no majority of the storing nodes"
	case mode.Alone:
		return "alone: no other node in contact"
	}
	return "normal"
}
