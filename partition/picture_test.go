package partition

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/skeinmesh/skein/internal/split"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// plant is what node 1 of five sees after a cut: 1, 2 and 3 hang together, 4 and 5
// are lost, and of the links that are left two are in doubt.
func plant() *lookResult {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	v := view.View{Mesh: view.MeshID{7}, Self: 1}
	for i, name := range []string{"press", "weld", "paint", "store", "gate"} {
		m := view.Member{ID: view.NodeID(i + 1), Name: name, Zone: fmt.Sprint("line-", i/3), Storing: i < 4, Status: view.Active, State: view.Alive}
		if i >= 3 {
			m.State = view.Failed
		}
		v.Members = append(v.Members, m)
	}
	v.Members = append(v.Members, view.Member{ID: 6, Name: "scrapped", Status: view.Evicted, State: view.Departed})
	s := &scene{
		self: 1, view: v, component: []view.NodeID{1, 2, 3},
		notices: map[view.NodeID]heardNotice{1: {}, 2: {}, 3: {}},
		rows:    split.Rows{2: {Unreachable: []view.NodeID{3}}},
	}
	mesh, plc := Election{Name: "mesh"}, Election{Name: "plc-writer", Scope: ScopeMajority}
	led := Leadership{Election: mesh, Token: token.Token{Term: 12, Node: 2}}
	return &lookResult{s, Status{
		Node: 1, Component: s.component, Members: 5, Storing: 4, Reached: 3,
		Situation: PartitionSuspected, Since: at, Lost: []view.NodeID{4, 5}, Evidence: []string{"zone line-1 was lost at once", "2 of 5 members lost"},
		Leader: led, Elections: []Leadership{led, {Election: plc}, {Election: Election{Name: "backup", Scope: ScopeMajority}, Token: token.Token{Term: 3, Node: 1}}},
		Cloud: CloudUnreachable, Mode: Local, ModeSince: at,
	}}
}

// shownBy installs what was seen in a Partition that does nothing else.
func shownBy(s *lookResult) *Partition {
	p := &Partition{}
	p.outlook.lastLook.Store(s)
	return p
}

func checkWords(t *testing.T, text string, words ...string) {
	t.Helper()
	squeezed := strings.Join(strings.Fields(text), " ")
	for _, w := range words {
		if !strings.Contains(squeezed, w) {
			t.Errorf("no %q in\n%s", w, text)
		}
	}
}

func TestTextOfACut(t *testing.T) {
	text := shownBy(plant()).Text()
	checkWords(t, text,
		"mode local: cut off from the cloud", "cloud unreachable",
		"situation partition suspected since 2026-03-04T05:06:07Z: zone line-1 was lost at once; 2 of 5 members lost",
		"leaderless plc-writer (majority)",
		"component 1 (this node's), 3 nodes: 3 alive; 3 store",
		"* press line-0 alive stores leads backup (majority, term 3)",
		"weld line-0 alive stores leads mesh (term 12)",
		"out of contact, 2 nodes: 2 failed; 1 stores",
		"doubtful links: 1 weld does not reach paint, which reaches it",
	)
	for _, never := range []string{"scrapped", "component 2"} {
		if strings.Contains(text, never) {
			t.Errorf("%q in\n%s", never, text)
		}
	}
}

// Of a link that only one end complains of the other direction is said to work only
// if the other end would be heard.
func TestDoubtfulLinks(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(s *lookResult)
		want   string
	}{
		{"one end complains, the other is heard", func(s *lookResult) {}, "weld does not reach paint, which reaches it"},
		{"both complain", func(s *lookResult) { s.rows[3] = split.Row{Unreachable: []view.NodeID{2}} }, "weld and paint do not reach each other"},
		{"the other has never told of itself", func(s *lookResult) { delete(s.notices, 3) }, "weld and paint do not reach each other"},
		{"the other complains of this node", func(s *lookResult) { s.rows = split.Rows{3: {Unreachable: []view.NodeID{1}}} }, "paint does not reach press, which reaches it"},
		{"silent", func(s *lookResult) { s.rows, s.view.Members[2].State = nil, view.Suspect }, "press and paint do not reach each other"},
		{"silent here, heard of by others", func(s *lookResult) {
			s.rows, s.view.Members[2].State, s.view.Members[2].Unreachable = nil, view.Suspect, true
		}, "press does not reach paint, which reaches it"},
		{"nobody complains", func(s *lookResult) { s.rows = nil }, ""},
	} {
		s := plant()
		c.change(s)
		_, said, _ := strings.Cut(shownBy(s).Text(), "doubtful links: 1\n")
		if got := strings.TrimSpace(said); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestTextOfAMeshWithoutALeader(t *testing.T) {
	s := plant()
	s.status.Elections = []Leadership{{Election: Election{Name: "mesh"}}}
	s.status.Situation, s.status.Since, s.status.Evidence = Whole, time.Time{}, nil
	text := shownBy(s).Text()
	checkWords(t, text, "situation whole members", "leaderless mesh component 1")
	if strings.Contains(text, "leads") || strings.Contains(text, "since") {
		t.Errorf("somebody leads, or since when it is known:\n%s", text)
	}
}

// However long and many the names, evidence and elections are, and whatever is in
// them, the text fits its width and the image is XML without anything that acts.
func TestDrawingsFit(t *testing.T) {
	long := strings.Repeat("long name ", 40) + "\x1b[2J</text><script>"
	for _, n := range []int{3, 39, 60, 300} {
		s := plant()
		s.view.Members, s.component, s.rows = nil, nil, split.Rows{}
		s.status.Evidence, s.status.Elections = slices.Repeat([]string{long}, 9), nil
		for i := range n {
			id := view.NodeID(i + 1)
			s.view.Members = append(s.view.Members, view.Member{ID: id, Name: fmt.Sprint(long, i), Zone: fmt.Sprint(long, i%5), State: view.State(i%3 + 1)})
			if i%2 == 0 {
				s.component = append(s.component, id)
			}
			s.rows[id] = split.Row{Unreachable: []view.NodeID{id%view.NodeID(n) + 1}}
			s.status.Elections = append(s.status.Elections, Leadership{Election: Election{Name: fmt.Sprint(long, i), Scope: Scope(i % 2)}, Token: token.Token{Term: 1 << 60, Node: 1}, Problem: long}, Leadership{Election: Election{Name: long}})
		}
		for i, line := range strings.Split(shownBy(s).Text(), "\n") {
			if width := utf8.RuneCountInString(line); width > 100 || strings.ContainsRune(line, '\x1b') {
				t.Errorf("%d nodes: line %d of %d columns: %q", n, i+1, width, line)
			}
		}
		if err := harmless(shownBy(s).SVG()); err != nil {
			t.Errorf("%d nodes: %v", n, err)
		}
	}
}

func harmless(svg []byte) error {
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "script" {
			return errors.New("a script")
		}
	}
}

func TestSVGOfACut(t *testing.T) {
	svg := string(shownBy(plant()).SVG())
	if err := harmless([]byte(svg)); err != nil {
		t.Fatal(err)
	}
	checkWords(t, svg, "component 1 (this node&#39;s)", "★ weld leads mesh (term 12)", "partition suspected since", "cloud unreachable",
		"Without a leader: plc-writer (majority).", "1 link in doubt", "out of contact")
}

// A field of Status that the answer to Inspect forgets is a lie to its reader.
func TestInspectLeavesNothingOut(t *testing.T) {
	st := plant().status
	e := Leadership{
		Election: Election{Name: "mesh", Scope: ScopeMajority}, Token: token.Token{Term: 4, Node: 9}, Here: true, Problem: "its disk is full",
		Candidates: []Candidate{{Node: 9, Preference: 1<<32 - 1}, {Node: 1 << 63, Preference: 1}},
	}
	st.Unmet, st.Voters, st.Leader = []view.NodeID{8}, []view.NodeID{1, 2, 3}, e
	st.Verdicts = []Verdict{{Node: 4, Cause: WasRestarted, At: st.Since, Outage: time.Minute}}
	st.Merges = []Merge{{At: st.Since, Met: []view.NodeID{4}, Text: "two items"}}
	st.Scores = map[view.NodeID]uint64{4: 77, 1 << 63: 4096}
	m := messageOf(&st)
	m.Problems, m.Scored, m.Stands = true, true, true
	m, err := wire.DecodeAdminPartition(wire.AppendAdminPartition(nil, &m))
	if err != nil {
		t.Fatal(err)
	}
	allSet(t, st)
	sameStatus(t, statusOf(&m), st)
}
