package mesh

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// sentences are what View.Problems may say, by words of each, with the tests that set
// the scene in which it is said and the one next to it, in which it is not.
var sentences = map[string][2]string{
	"no other node was ever met: the seed %s is not found": {"TestSeedsThatDoNotAnswerAreTold", "TestSeedsThatDoNotAnswerAreTold"},
	"no other node was ever met: no node of this mesh":     {"TestSeedsThatDoNotAnswerAreTold", "TestSeedsThatDoNotAnswerAreTold"},
	"%s %v does not belong to this mesh":                   {"TestMeshesThatDoNotFitAreTold", "TestTroubleIsShownOnceItLasts"},
	"large packets to %s do not arrive":                    {"TestRealNodesAreToldOfALostMTU", "TestRealNodesMeetOverANarrowPath"},
	"this node is not let in, for the mesh is full":        {"TestFullMeshSaysSo", "TestFullMeshSaysSo"},
	"members say of tens of thousands of nodes":            {"TestMadeUpRelicsFillNoRoster", "TestManyGoneAreNoTrouble"},
	"the mesh is full, with %d members":                    {"TestFullMeshSaysSo", "TestFullMeshSaysSo"},
	"the mesh has had %d nodes that are gone for good":     {"TestMeshThatRemembersNoMore", "TestMeshThatRemembersNoMore"},
}

// TestEverySentenceOfViews fails for a sentence that no test is named for.
func TestEverySentenceOfViews(t *testing.T) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	tests, said := map[string]bool{}, map[string]bool{}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if strings.HasSuffix(f.Name(), "_test.go") {
				tests[fn.Name.Name] = true
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok && (calls(call, "trouble") || fn.Name.Name == "crowded" && calls(call, "Sprintf")) {
					said[firstText(call, calls(call, "trouble"))] = true
				}
				return true
			})
		}
	}
	for words, by := range sentences {
		found := 0
		for text := range said {
			if strings.HasPrefix(text, words) {
				found++
				delete(said, text)
			}
		}
		if found != 1 {
			t.Errorf("%d sentences begin with %q", found, words)
		}
		for _, name := range by {
			if !tests[name] {
				t.Errorf("%q is tested by %s, which is not there", words, name)
			}
		}
	}
	for text := range said {
		t.Errorf("no test is named for %q", text)
	}
}

func calls(call *ast.CallExpr, name string) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	return ok && sel.Sel.Name == name
}

// firstText returns the text of a call, or of one in its second argument.
func firstText(call *ast.CallExpr, second bool) (text string) {
	from := call.Args[0]
	if second {
		from = call.Args[1]
	}
	ast.Inspect(from, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && text == "" {
			text, _ = strconv.Unquote(lit.Value)
		}
		return true
	})
	return text
}

// As many nodes that are gone as a mesh may have had are no trouble.
func TestManyGoneAreNoTrouble(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		a, b := w.boxes[0].node, w.boxes[1].node
		time.Sleep(2 * time.Minute)
		for i := range 4 {
			relics := wire.RelicSwap{}
			for id := range view.NodeID(5_000) {
				relics.Have = append(relics.Have, wire.Relic{ID: view.NodeID(100_000+5_000*i) + id})
			}
			if _, err := b.link.Call(t.Context(), a.ID(), methodRelics, wire.AppendRelicSwap(nil, relics)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(strangerComesBack)
		}
		if got := len(a.book.get().Relics()); got != 20_000 {
			t.Errorf("%d are remembered", got)
		}
		if p := a.View().Problems; len(p) > 0 {
			t.Errorf("problems %q", p)
		}
	})
}

// A roster that can remember no more of those that are gone says so, one with room
// for one more does not.
func TestMeshThatRemembersNoMore(t *testing.T) {
	for room := range 2 {
		relics := make([]wire.Relic, roster.Limit+roster.MaxGone-room)
		for i := range relics {
			relics[i].ID = view.NodeID(i + 1)
		}
		r, err := roster.FromRelics(relics)
		if err != nil {
			t.Fatal(err)
		}
		if said := crowded(r); strings.Contains(said, "can remember no more") != (room == 0) {
			t.Errorf("with room for %d: %q", room, said)
		}
	}
}
