package mesh

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
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
	"no other node was ever met: the seed %s is not found":   {"TestSeedsThatDoNotAnswerAreTold", "TestSeedsThatDoNotAnswerAreTold"},
	"no other node was ever met: no node of this mesh":       {"TestSeedsThatDoNotAnswerAreTold", "TestSeedsThatDoNotAnswerAreTold"},
	"a node that dials from %s does not belong to this mesh": {"TestMeshesThatDoNotFitAreTold", "TestTroubleIsShownOnceItLasts"},
	"the node at %s does not belong to this mesh":            {"TestMeshesThatDoNotFitAreTold", "TestTroubleIsShownOnceItLasts"},
	"large packets to %s do not arrive":                      {"TestRealNodesAreToldOfALostMTU", "TestRealNodesMeetOverANarrowPath"},
	"this node is not let in, for the mesh is full":          {"TestFullMeshSaysSo", "TestFullMeshSaysSo"},
	"members say of tens of thousands of nodes":              {"TestMadeUpRelicsFillNoRoster", "TestManyGoneAreNoTrouble"},
	"the mesh is full, with %d members":                      {"TestFullMeshSaysSo", "TestFullMeshSaysSo"},
	"the mesh has had %d nodes that are gone for good":       {"TestMeshThatRemembersNoMore", "TestMeshThatRemembersNoMore"},
	"a member has made up tags of this node":                 {"TestLastNumberOfTags", "TestLiesAboutTags"},
}

// TestEverySentenceOfViews fails for a sentence that no test is named for.
func TestEverySentenceOfViews(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	for _, name := range files {
		for _, d := range parseFile(t, name).Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				tests[fn.Name.Name] = true
			}
		}
	}
	said := sourceSentences(t)
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

// sourceSentences lists what views may say: the formats in the table of sentences, one
// for each kind.
func sourceSentences(t *testing.T) map[string]bool {
	said := map[string]bool{}
	ast.Inspect(parseFile(t, filepath.Join("view", "sentences.go")), func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name != "meshSentences" {
			return true
		}
		for _, row := range spec.Values[0].(*ast.CompositeLit).Elts {
			text := ""
			ast.Inspect(row.(*ast.KeyValueExpr).Value, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && text == "" {
					text, _ = strconv.Unquote(lit.Value)
				}
				return true
			})
			said[text] = true
		}
		return false
	})
	return said
}

func parseFile(t *testing.T, name string) *ast.File {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// wordsOf are the sentences of problems.
func wordsOf(problems []view.Problem) []string {
	out := make([]string, len(problems))
	for i, p := range problems {
		out[i] = p.String()
	}
	return out
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
		if got := len(a.book.snapshot().Relics()); got != 20_000 {
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
		if p, full := crowdedText(r); full != (room == 0) || strings.Contains(p.String(), "can remember no more") != full {
			t.Errorf("with room for %d: %v", room, p)
		}
	}
}
