package partition

import (
	"fmt"
	"strings"
	"time"

	"github.com/skeinmesh/skein/internal/mode"
	"github.com/skeinmesh/skein/internal/mode/draw"
	"github.com/skeinmesh/skein/internal/split"
	"github.com/skeinmesh/skein/mesh/view"
)

// Text draws the mesh as this node sees it for a terminal, at most 100 columns
// wide: mode, cloud and situation with its evidence, each member of the component
// and who is out of contact, leaders with their terms, links in doubt. Above 40
// members they are counted by zone. Names in it do nothing to a terminal.
func (p *Partition) Text() string { return draw.Text(p.outlook.lastLook.Load().makePicture()) }

// SVG draws the same as an image that stands alone, without scripts or links. It
// is the caller's.
func (p *Partition) SVG() []byte { return draw.SVG(p.outlook.lastLook.Load().makePicture()) }

// makePicture puts together what there is to draw. How those out of contact hang
// together cannot be known from here, so they are no component.
func (s *lookResult) makePicture() draw.Picture {
	st := &s.status
	pic := draw.Picture{
		MeshID: s.view.Mesh, Self: s.self, Components: [][]view.NodeID{s.component}, Doubtful: s.doubtfulLinks(),
		Cloud: mode.Cloud(st.Cloud), Mode: mode.Mode(st.Mode), Situation: st.inWords(),
	}
	leads := map[view.NodeID][]string{}
	for _, l := range st.Elections {
		if l.Token.IsZero() {
			pic.Leaderless = append(pic.Leaderless, l.inWords())
		} else {
			leads[l.Token.Node] = append(leads[l.Token.Node], l.inWords())
		}
	}
	for i := range s.view.Members {
		if m := &s.view.Members[i]; !m.Status.Gone() {
			pic.Nodes = append(pic.Nodes, draw.Node{ID: m.ID, Name: m.Name, Zone: m.Zone, State: m.State, Storing: m.Storing, Leads: leads[m.ID]})
		}
	}
	return pic
}

// doubtfulLinks returns the links in doubt. That one works the other way is said only
// if the node at its end is heard of and does not deny it.
func (s *lookResult) doubtfulLinks() (out []draw.Link) {
	for _, l := range split.Links(s.view, s.rows) {
		switch {
		case l.FromA && !l.FromB:
			out = append(out, draw.Link{A: l.A, B: l.B, OneWay: s.isHeard(l.B)})
		case l.FromB && !l.FromA:
			out = append(out, draw.Link{A: l.B, B: l.A, OneWay: s.isHeard(l.A)})
		default:
			out = append(out, draw.Link{A: l.A, B: l.B})
		}
	}
	return out
}

// isHeard tells whether a node would be heard if it complained of a link: it lives,
// and has told of itself before.
func (s *lookResult) isHeard(id view.NodeID) bool {
	if id == s.self {
		return true
	}
	m, _ := s.view.Member(id)
	_, told := s.notices[id]
	return told && (m.State == view.Alive || m.Unreachable)
}

// inWords tells the situation, since when, and what speaks for it.
func (s *Status) inWords() string {
	words := s.Situation.String()
	if !s.Since.IsZero() {
		words += " since " + s.Since.UTC().Format(time.RFC3339)
	}
	if len(s.Evidence) > 0 {
		words += ": " + strings.Join(s.Evidence, "; ")
	}
	return words
}

// inWords names the election and, if somebody leads it, the term, and what is wrong.
func (l Leadership) inWords() string {
	var about []string
	if l.Election.Scope != ScopeComponent {
		about = append(about, l.Election.Scope.String())
	}
	if !l.Token.IsZero() {
		about = append(about, fmt.Sprintf("term %d", l.Token.Term))
	}
	words := l.Election.Name
	if len(about) > 0 {
		words += " (" + strings.Join(about, ", ") + ")"
	}
	if l.Problem != "" {
		words += ": " + l.Problem
	}
	return words
}
