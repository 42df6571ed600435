package view

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
	"time"
)

// kinds lists the constants by their values.
func kinds(t *testing.T) map[ProblemKind]string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), "sentences.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[ProblemKind]string{}
	for _, d := range parsed.Decls {
		gen, ok := d.(*ast.GenDecl)
		if !ok || gen.Tok != token.CONST {
			continue
		}
		for _, spec := range gen.Specs {
			v := spec.(*ast.ValueSpec)
			value, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			if was := out[ProblemKind(value)]; was != "" {
				t.Errorf("%s and %s are both %q", was, v.Names[0].Name, value)
			}
			out[ProblemKind(value)] = v.Names[0].Name
		}
	}
	return out
}

// Each kind has one sentence, which holds all that it is about, and no kind has two.
func TestEachKindHasASentence(t *testing.T) {
	all := kinds(t)
	if len(all) < 30 || len(all) != len(meshSentences)+len(storeSentences)+1 {
		t.Errorf("%d kinds, %d and %d sentences", len(all), len(meshSentences), len(storeSentences))
	}
	bare := map[string]ProblemKind{}
	for kind, name := range all {
		if kind == ProblemInWords {
			continue
		}
		if (meshSentences[kind] == nil) == (storeSentences[kind] == nil) {
			t.Errorf("%s has no sentence, or two", name)
			continue
		}
		words := Problem{Kind: kind}.String()
		if strings.Contains(words, "%!") || strings.Contains(words, "no words") || words == "" {
			t.Errorf("%s says %q", name, words)
		}
		if was := bare[words]; was != "" {
			t.Errorf("%s and %s say the same: %q", was, kind, words)
		}
		bare[words] = kind
	}
}

func TestProblemsInWords(t *testing.T) {
	press := Named{0x1f, "press-1"}
	for want, p := range map[string]Problem{
		"press-1 (000000000000001f), 0000000000000002 was down for so long that other nodes make the copies it held: bring it back, or evict it if it will not return":                                                           {Kind: ProblemLost, Nodes: []Named{press, {ID: 2}}},
		"the clock is 1h0m0s behind those of the other nodes, which count here as long as that is so: set it right":                                                                                                              {Kind: ProblemClockOff, For: -time.Hour},
		"the clock is 5m0s ahead of that of the other node, and no third one tells which of them is wrong: set the wrong one right":                                                                                              {Kind: ProblemClocksApart, For: 5 * time.Minute},
		"2 writes of 30 bytes wait in the outbox of this node, on no other disk, the oldest for 1m1s: they are being delivered":                                                                                                  {Kind: ProblemOutboxWaits, Count: 2, Bytes: 30, For: 61*time.Second + 3},
		"2 writes of 30 bytes wait in the outbox of this node, on no other disk, the oldest for 1m0s: no store is in reach":                                                                                                      {Kind: ProblemOutboxWaits, Count: 2, Bytes: 30, For: time.Minute, Text: "no store is in reach"},
		"deletes cannot be forgotten for 170h0m0s and take 9 bytes: bring press-1 (000000000000001f) back, or evict what will not return":                                                                                        {Kind: ProblemPurgeBlocked, For: 170*time.Hour + time.Minute, Bytes: 9, Nodes: []Named{press}},
		"3 shards have fewer copies in contact than they should, press-1 (000000000000001f) is down: bring it back, 0000000000000002 does not answer; after 1h0m0s copies are made elsewhere":                                    {Kind: ProblemFewCopies, Shards: 3, Nodes: []Named{press}, Silent: []Named{{ID: 2}}, For: time.Hour},
		"large packets to 10.0.0.1 (press-1) do not arrive, and small ones do: the MTU of the path is smaller than 1100 bytes and nothing on the way says so; let ICMP through, or lower the MTU of the interfaces at both ends": {Kind: ProblemNarrowPath, Where: []string{"10.0.0.1"}, Nodes: []Named{press}, Bytes: 1100},
		"what an early release said": {Kind: ProblemInWords, Text: "what an early release said"},
		`"of-later-years", for which this release has no words; nodes press-1 (000000000000001f); at here; count 2; of 3; for 1m0s; text why`: {Kind: "of-later-years", Nodes: []Named{press}, Where: []string{"here"}, Count: 2, Of: 3, For: time.Minute, Text: "why"},
		`"", for which this release has no words`: {},
	} {
		if got := p.String(); got != want {
			t.Errorf("%q\nwant %q", got, want)
		}
	}
}

// A program reads the fields; what a kind has no use for is not there.
func TestProblemAsJSON(t *testing.T) {
	b, err := json.Marshal(Problem{Kind: ProblemLost, Nodes: []Named{{0x1f, "press-1"}}, Count: 1})
	if want := `{"kind":"lost","nodes":[{"id":"000000000000001f","name":"press-1"}],"count":1}`; err != nil || string(b) != want {
		t.Errorf("%s, %v, want %s", b, err, want)
	}
}
