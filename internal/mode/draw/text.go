package draw

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/skeinmesh/skein/mesh/view"
)

const (
	columns      = 100
	maxNamed     = 40 // above so many nodes there are counts, not names
	maxListLines = 20 // lines of a list
	leadLines    = 4  // lines of what one node leads
	nameCells    = 24
	zoneCells    = 16
	leadCells    = columns - 4 - nameCells - zoneCells - 4*2 - 9 - 6
)

// Text draws a picture for a terminal, at most 100 columns wide: each node with
// its name, or counts by zone where there are many.
func Text(p Picture) string {
	t := text{scene: arrange(p)}
	t.writeHead()
	for _, g := range t.groups {
		t.writeGroup(g)
	}
	t.writeLinks()
	return t.String()
}

type text struct {
	scene
	strings.Builder
}

// writeLine writes one line, clipped and without blanks at its end.
func (t *text) writeLine(indent int, format string, args ...any) {
	s := strings.TrimRight(clipText(fmt.Sprintf(format, args...), columns-indent), " ")
	t.WriteString(strings.Repeat(" ", indent) + s + "\n")
}

// writeWrapped writes text after a word, broken where it must be and lined up.
func (t *text) writeWrapped(word, content string) {
	for _, s := range wrapText(content, columns-11) {
		t.writeLine(0, "%-11s%s", word, s)
		word = ""
	}
}

func (t *text) writeHead() {
	self := t.Self.String()
	if m, ok := t.byID[t.Self]; ok && m.label != self {
		self = m.label + " (" + self + ")"
	}
	mesh := clipText(cleanName(t.Mesh), 40)
	if mesh != "" {
		mesh += " "
	}
	t.writeLine(0, "%-11s%s(%s)", "mesh", mesh, t.MeshID)
	t.writeLine(0, "%-11s%s", "seen from", self)
	t.writeLine(0, "%-11s%s", "mode", modeWords(t.Mode))
	t.writeLine(0, "%-11s%s", "cloud", t.Cloud)
	t.writeWrapped("situation", t.Situation)
	t.writeLine(0, "%-11s%s", "members", describeCounts(t.inOrder))
	if len(t.Leaderless) > 0 {
		t.writeWrapped("leaderless", listed(t.Leaderless))
	}
}

func (t *text) writeGroup(g group) {
	t.WriteString("\n")
	t.writeLine(0, "%s, %s", g.title, describeCounts(g.nodes))
	if len(t.inOrder) <= maxNamed {
		for _, m := range g.nodes {
			t.writeNode(m)
		}
		return
	}
	t.writeZones(g.nodes)
	var leads []string
	for _, m := range g.nodes {
		if words := m.leadPhrase(); words != "" {
			leads = append(leads, clipText(m.label, nameCells)+" "+words)
		}
	}
	t.writeList(leads)
}

func (t *text) writeNode(m member) {
	mark, role := " ", ""
	if m.ID == t.Self {
		mark = "*"
	}
	if m.Storing {
		role = "stores"
	}
	var first string
	leads := limitLines(wrapText(m.leadPhrase(), leadCells), leadLines, leadCells)
	if len(leads) > 0 {
		first, leads = leads[0], leads[1:]
	}
	t.writeLine(2, "%s %s  %s  %-9s  %-6s  %s", mark, padText(m.label, nameCells), padText(m.zone, zoneCells), stateWord(m.State), role, first)
	for _, more := range leads {
		t.writeLine(columns-leadCells, "%s", more)
	}
}

// writeZones writes a line of counts for each zone; the smallest of many share one.
func (t *text) writeZones(nodes []member) {
	var zones [][]member
	for i, m := range nodes {
		if i == 0 || m.zone != nodes[i-1].zone {
			zones = append(zones, nil)
		}
		zones[len(zones)-1] = append(zones[len(zones)-1], m)
	}
	rest := []member{}
	if len(zones) > maxListLines {
		slices.SortStableFunc(zones, func(a, b []member) int { return cmp.Compare(len(b), len(a)) })
		for _, z := range zones[maxListLines-1:] {
			rest = append(rest, z...)
		}
		zones = zones[:maxListLines-1]
	}
	t.writeLine(2, "  %s  %6s  %6s  %7s  %6s  %9s  %6s", padText("zone", nameCells), "nodes", "alive", "suspect", "failed", "never met", "store")
	row := func(zone string, nodes []member) {
		c := tallyNodes(nodes)
		t.writeLine(2, "  %s  %6d  %6s  %7s  %6s  %9s  %6s", padText(zone, nameCells), len(nodes), dashIfZero(c.states[view.Alive]),
			dashIfZero(c.states[view.Suspect]), dashIfZero(c.states[view.Failed]), dashIfZero(c.states[view.Unknown]), dashIfZero(c.storing))
	}
	for _, z := range zones {
		row(cmp.Or(z[0].zone, "(no zone)"), z)
	}
	if len(rest) > 0 {
		row("(smaller zones)", rest)
	}
}

// dashIfZero shows a dash for zero: what is there should strike the eye.
func dashIfZero(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func (t *text) writeLinks() {
	links := t.doubtful()
	if len(links) == 0 {
		return
	}
	t.WriteString("\n")
	t.writeLine(0, "doubtful links: %d", len(links))
	var said []string
	for _, l := range links {
		said = append(said, t.describeLink(l))
	}
	t.writeList(said)
}

// writeList writes lines, and of many the first and how many more there are.
func (t *text) writeList(lines []string) {
	for i, s := range lines {
		if i == maxListLines-1 && len(lines) > maxListLines {
			t.writeLine(4, "and %d more", len(lines)-i)
			return
		}
		t.writeLine(4, "%s", s)
	}
}
