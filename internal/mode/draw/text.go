package draw

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/skeinmesh/skein/mesh/view"
)

const (
	columns   = 100
	named     = 40 // above so many nodes there are counts, not names
	longest   = 20 // lines of a list
	leadLines = 4  // lines of what one node leads
	nameCells = 24
	zoneCells = 16
	leadCells = columns - 4 - nameCells - zoneCells - 4*2 - 9 - 6
)

// Text draws a picture for a terminal, at most 100 columns wide: each node with
// its name, or counts by zone where there are many.
func Text(p Picture) string {
	t := text{scene: arrange(p)}
	t.head()
	for _, g := range t.groups {
		t.group(g)
	}
	t.links()
	return t.String()
}

type text struct {
	scene
	strings.Builder
}

// line writes one line, clipped and without blanks at its end.
func (t *text) line(indent int, format string, args ...any) {
	s := strings.TrimRight(clip(fmt.Sprintf(format, args...), columns-indent), " ")
	t.WriteString(strings.Repeat(" ", indent) + s + "\n")
}

// lines writes text after a word, broken where it must be and lined up.
func (t *text) lines(word, content string) {
	for _, s := range wrap(content, columns-11) {
		t.line(0, "%-11s%s", word, s)
		word = ""
	}
}

func (t *text) head() {
	self := t.Self.String()
	if m, ok := t.byID[t.Self]; ok && m.label != self {
		self = m.label + " (" + self + ")"
	}
	mesh := clip(clean(t.Mesh), 40)
	if mesh != "" {
		mesh += " "
	}
	t.line(0, "%-11s%s(%s)", "mesh", mesh, t.MeshID)
	t.line(0, "%-11s%s", "seen from", self)
	t.line(0, "%-11s%s", "mode", modeWords(t.Mode))
	t.line(0, "%-11s%s", "cloud", t.Cloud)
	t.lines("situation", t.Situation)
	t.line(0, "%-11s%s", "members", count(t.inOrder))
	if len(t.Leaderless) > 0 {
		t.lines("leaderless", listed(t.Leaderless))
	}
}

func (t *text) group(g group) {
	t.WriteString("\n")
	t.line(0, "%s, %s", g.title, count(g.nodes))
	if len(t.inOrder) <= named {
		for _, m := range g.nodes {
			t.node(m)
		}
		return
	}
	t.zones(g.nodes)
	var leads []string
	for _, m := range g.nodes {
		if words := m.leads(); words != "" {
			leads = append(leads, clip(m.label, nameCells)+" "+words)
		}
	}
	t.list(leads)
}

func (t *text) node(m member) {
	mark, role := " ", ""
	if m.ID == t.Self {
		mark = "*"
	}
	if m.Storing {
		role = "stores"
	}
	var first string
	leads := short(wrap(m.leads(), leadCells), leadLines, leadCells)
	if len(leads) > 0 {
		first, leads = leads[0], leads[1:]
	}
	t.line(2, "%s %s  %s  %-9s  %-6s  %s", mark, pad(m.label, nameCells), pad(m.zone, zoneCells), stateWord(m.State), role, first)
	for _, more := range leads {
		t.line(columns-leadCells, "%s", more)
	}
}

// zones writes a line of counts for each zone; the smallest of many share one.
func (t *text) zones(nodes []member) {
	var zones [][]member
	for i, m := range nodes {
		if i == 0 || m.zone != nodes[i-1].zone {
			zones = append(zones, nil)
		}
		zones[len(zones)-1] = append(zones[len(zones)-1], m)
	}
	rest := []member{}
	if len(zones) > longest {
		slices.SortStableFunc(zones, func(a, b []member) int { return cmp.Compare(len(b), len(a)) })
		for _, z := range zones[longest-1:] {
			rest = append(rest, z...)
		}
		zones = zones[:longest-1]
	}
	t.line(2, "  %s  %6s  %6s  %7s  %6s  %9s  %6s", pad("zone", nameCells), "nodes", "alive", "suspect", "failed", "never met", "store")
	row := func(zone string, nodes []member) {
		c := tally(nodes)
		t.line(2, "  %s  %6d  %6s  %7s  %6s  %9s  %6s", pad(zone, nameCells), len(nodes), some(c.states[view.Alive]),
			some(c.states[view.Suspect]), some(c.states[view.Failed]), some(c.states[view.Unknown]), some(c.storing))
	}
	for _, z := range zones {
		row(cmp.Or(z[0].zone, "(no zone)"), z)
	}
	if len(rest) > 0 {
		row("(smaller zones)", rest)
	}
}

// some shows a dash for zero: what is there should strike the eye.
func some(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func (t *text) links() {
	links := t.doubtful()
	if len(links) == 0 {
		return
	}
	t.WriteString("\n")
	t.line(0, "doubtful links: %d", len(links))
	var said []string
	for _, l := range links {
		said = append(said, t.said(l))
	}
	t.list(said)
}

// list writes lines, and of many the first and how many more there are.
func (t *text) list(lines []string) {
	for i, s := range lines {
		if i == longest-1 && len(lines) > longest {
			t.line(4, "and %d more", len(lines)-i)
			return
		}
		t.line(4, "%s", s)
	}
}
