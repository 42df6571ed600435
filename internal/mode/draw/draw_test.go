package draw

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/skeinmesh/skein/internal/mode"
	"github.com/skeinmesh/skein/mesh/view"
)

var update = flag.Bool("update-draw", false, "write the golden files anew")

func samples() map[string]Picture {
	return map[string]Picture{"factory": factory(), "torn": torn(), "district": district(), "city": city(), "hostile": hostile(), "nothing": {}}
}

func TestGolden(t *testing.T) {
	for name, p := range samples() {
		for kind, got := range map[string][]byte{"txt": []byte(Text(p)), "svg": SVG(p)} {
			path := filepath.Join("testdata", name+"."+kind)
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s: drawn otherwise than before; look at it and use -update-draw if it is meant:\n%s", path, firstDifference(got, want))
			}
		}
	}
}

func firstDifference(got, want []byte) string {
	a, b := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d:\n got %s\nwant %s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(a), len(b))
}

// The order in which a picture lists things shows nowhere, and drawing changes
// nothing in it.
func TestOrderOfInputDoesNotShow(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	for name, p := range samples() {
		if name == "hostile" {
			continue // a node in two components is drawn in the first
		}
		text, image := Text(p), SVG(p)
		for range 5 {
			shuffle(r, p.Nodes)
			shuffle(r, p.Doubtful)
			shuffle(r, p.Components)
			shuffle(r, p.Leaderless)
			for _, c := range p.Components {
				shuffle(r, c)
			}
			for _, n := range p.Nodes {
				shuffle(r, n.Leads)
			}
			before := fmt.Sprintf("%#v", p)
			if Text(p) != text || !bytes.Equal(SVG(p), image) {
				t.Fatalf("%s is drawn otherwise in another order", name)
			}
			if fmt.Sprintf("%#v", p) != before {
				t.Fatalf("%s was changed", name)
			}
		}
	}
}

func shuffle[T any](r *rand.Rand, s []T) {
	r.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
}

// checkText tells what makes a text unfit for a terminal.
func checkText(text string) error {
	if !utf8.ValidString(text) {
		return errors.New("not UTF-8")
	}
	for i, line := range strings.Split(text, "\n") {
		if n := textCells(line); n > columns {
			return fmt.Errorf("line %d takes %d columns: %s", i+1, n, line)
		}
		if j := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }); j >= 0 {
			return fmt.Errorf("line %d holds %q", i+1, line[j:])
		}
	}
	return nil
}

// known are the elements and attributes that a drawing is made of.
var (
	knownElements   = strings.Fields("svg title desc style rect g circle path text")
	knownAttributes = strings.Fields("xmlns class viewBox width height role x y rx cx cy r d transform stroke-width text-anchor")
)

// checkSVG tells what makes an image unfit to be shown.
func checkSVG(image []byte) error {
	in := xml.NewDecoder(bytes.NewReader(image))
	styles := 0
	for {
		token, err := in.Token()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		switch token := token.(type) {
		case xml.StartElement:
			if !slices.Contains(knownElements, token.Name.Local) {
				return fmt.Errorf("element %s", token.Name.Local)
			}
			if token.Name.Local == "style" {
				styles++
			}
			for _, a := range token.Attr {
				if !slices.Contains(knownAttributes, a.Name.Local) {
					return fmt.Errorf("attribute %s of %s", a.Name.Local, token.Name.Local)
				}
				if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
					return fmt.Errorf("%s is %q", a.Name.Local, a.Value)
				}
			}
		case xml.Comment, xml.Directive, xml.ProcInst:
			return fmt.Errorf("markup %v", token)
		}
	}
	if styles != 1 {
		return fmt.Errorf("%d styles", styles)
	}
	return nil
}

func TestDrawingsAreFitToBeShown(t *testing.T) {
	for name, p := range samples() {
		if err := checkText(Text(p)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := checkSVG(SVG(p)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, n := range hostile().Nodes {
		f.Add(n.Name, n.Zone, n.Name, uint8(n.State))
	}
	f.Fuzz(func(t *testing.T, name, zone, words string, state uint8) {
		for _, many := range []int{5, 45} {
			p := Picture{Mesh: words, Self: 1, Situation: words + " " + name, Leaderless: []string{name, words},
				Cloud: mode.Cloud(state), Mode: mode.Mode(state)}
			var all []view.NodeID
			for i := range many {
				n := Node{ID: view.NodeID(i + 1), Name: name, Zone: fmt.Sprint(zone, i%3), State: view.State(state), Leads: []string{words, name}}
				p.Nodes = append(p.Nodes, n)
				p.Doubtful = append(p.Doubtful, Link{n.ID, 1, i%2 == 0})
				all = append(all, n.ID)
			}
			p.Components = [][]view.NodeID{all}
			if err := checkText(Text(p)); err != nil {
				t.Error(err)
			}
			if err := checkSVG(SVG(p)); err != nil {
				t.Error(err)
			}
		}
	})
}

// Every node is drawn once, in its group, where no other is, and within the
// image.
func TestEveryNodeHasItsPlace(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 0))
		n := 1 + r.IntN(30)
		if seed%3 == 0 {
			n = 1 + r.IntN(400)
		}
		p, parts := Picture{Self: 1}, make([][]view.NodeID, 1+r.IntN(4))
		for i := range n {
			id := view.NodeID(i + 1)
			p.Nodes = append(p.Nodes, Node{ID: id, Zone: fmt.Sprint(r.IntN(4)), State: view.State(r.IntN(4))})
			if k := r.IntN(len(parts) + 1); k < len(parts) {
				parts[k] = append(parts[k], id)
			}
		}
		p.Components = parts
		s := arrange(p)
		l := placeGroups(&s, headHeight)
		var seen []view.NodeID
		var places []point
		for _, d := range l.discs {
			for i, m := range d.nodes {
				at := point{d.x*10 + d.places[i].x, d.y*10 + d.places[i].y}
				if math.Hypot(float64(d.places[i].x), float64(d.places[i].y)) > float64(d.r-l.node)*10 {
					t.Fatalf("seed %d: %v stands outside its disc", seed, m.ID)
				}
				for j, other := range places {
					if gap := math.Hypot(float64(at.x-other.x), float64(at.y-other.y)) / 10; gap < 2.4*float64(l.node) {
						t.Fatalf("seed %d: %v and %v of %d are %.1f apart, with radius %d", seed, m.ID, seen[j], n, gap, l.node)
					}
				}
				seen, places = append(seen, m.ID), append(places, at)
			}
			if d.x-d.r < 0 || d.x+d.r > l.width || d.y-d.r < headHeight || d.y+d.r > l.height {
				t.Fatalf("seed %d: a disc at %d, %d with radius %d leaves the %d x %d image", seed, d.x, d.y, d.r, l.width, l.height)
			}
		}
		slices.Sort(seen)
		if want := len(slices.Compact(slices.Clone(seen))); want != n || len(seen) != n {
			t.Fatalf("seed %d: %d of %d nodes drawn, %d of them once", seed, len(seen), n, want)
		}
	}
}

func TestTextSaysWhatMatters(t *testing.T) {
	has := func(text string, words ...string) {
		t.Helper()
		for _, w := range words {
			if !strings.Contains(text, w) {
				t.Errorf("no %q in\n%s", w, text)
			}
		}
	}
	text := Text(torn())
	has(text, "minority", "cloud      unreachable", "leaderless production monitoring", "partition suspected", "* quality-control", "component 2, 3 nodes", "out of contact, 1 node")
	for _, n := range torn().Nodes {
		has(text, n.Name)
	}
	if own := strings.Index(text, "(this node's)"); own > strings.Index(text, "component 2") {
		t.Errorf("this node's component is not the first:\n%s", text)
	}
	text = Text(city())
	has(text, "300 nodes", "district-3", "aggregator-07 leads traffic")
	if n := strings.Count(text, "\n"); n > 60 {
		t.Errorf("300 nodes take %d lines", n)
	}
	p := factory()
	p.Nodes[4].State = view.Departed
	if text := Text(p); strings.Contains(text, "warehouse") {
		t.Errorf("a node that left is drawn:\n%s", text)
	}
	p.Components = nil
	has(Text(p), "component 1 (this node's), 1 node:", "out of contact, 3 nodes:")
	p.Nodes[1].Name = p.Nodes[0].Name
	has(Text(p), "quality-control 000000", "line-a-weld")
}

func TestLongListsAreCutShort(t *testing.T) {
	p := Picture{Self: 1}
	for i := range 500 {
		p.Nodes = append(p.Nodes, Node{ID: view.NodeID(i + 1), Zone: fmt.Sprintf("zone %d", i), Leads: []string{"x"}})
		p.Doubtful = append(p.Doubtful, Link{A: view.NodeID(i + 1), B: view.NodeID((i+7)%500 + 1), OneWay: true})
	}
	text, image := Text(p), string(SVG(p))
	if n := strings.Count(text, "\n"); n > 90 {
		t.Errorf("%d lines", n)
	}
	var leads []string
	for i := range 64 {
		leads = append(leads, fmt.Sprintf("election-%d (term %d)", i, i))
	}
	one := Text(Picture{Self: 1, Nodes: []Node{{ID: 1, Leads: leads}}})
	if n := strings.Count(one, "election-"); n < leadLines || !strings.HasSuffix(one, " …\n") || strings.Count(one, "\n") > 7+leadLines {
		t.Errorf("a node that leads 64 elections:\n%s", one)
	}
	for _, words := range []string{"doubtful links: 500", "and 481 more", "(smaller zones)"} {
		if !strings.Contains(text, words) {
			t.Errorf("no %q in\n%s", words, text)
		}
	}
	if n := strings.Count(image, `class="doubt"`); n != maxLinks+1 || !strings.Contains(image, "300 doubtful links not drawn") {
		t.Errorf("%d doubtful links drawn", n)
	}
}

func TestClip(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{
		{"press", 5, "press"}, {"press-1", 5, "pr…-1"}, {"press-17", 6, "pre…17"}, {"press", 1, "…"}, {"", 3, ""},
		{"名前名前", 5, "名…前"}, {"名前名前", 8, "名前名前"}, {"名前名前", 2, "…"},
		{"ae\u0301bcd\u0301e\u0301", 4, "ae\u0301…e\u0301"}, {"ab\u0301", 1, "…"},
	} {
		if got := clipText(c.in, c.n); got != c.want {
			t.Errorf("%q in %d cells: %q, want %q", c.in, c.n, got, c.want)
		}
	}
	r := rand.New(rand.NewPCG(2, 0))
	for range 5000 {
		runes := make([]rune, r.IntN(30))
		for i := range runes {
			runes[i] = []rune("ab-名é\u0301🐦 ")[r.IntN(8)]
		}
		s, n := string(runes), 1+r.IntN(30)
		if got := clipText(s, n); textCells(got) > n || textCells(s) <= n && got != s || textCells(got) < min(n-2, textCells(s)) {
			t.Fatalf("%q in %d cells: %q", s, n, got)
		}
		if got := padText(s, n); textCells(got) != n {
			t.Fatalf("%q padded to %d cells: %q", s, n, got)
		}
	}
}

func TestWrap(t *testing.T) {
	got := wrapText("  one two\nthree  averyveryverylongword four ", 9)
	if want := []string{"one two", "three", "aver…word", "four"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := wrapText(" \n ", 9); got != nil {
		t.Errorf("%q of nothing", got)
	}
}
