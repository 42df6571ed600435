package arch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// example is a tiny repository and the faults a rule must find in it, each
// given by a part of its text.
type example struct {
	name    string
	sources map[string]string
	want    []string
}

func check(t *testing.T, rule func(*Repo) []Fault, examples []example) {
	t.Helper()
	for _, e := range examples {
		t.Run(e.name, func(t *testing.T) {
			repo, err := Parse(e.sources)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, rule(repo), e.want)
		})
	}
}

func compare(t *testing.T, got []Fault, want []string) {
	t.Helper()
	for _, w := range want {
		found := slices.IndexFunc(got, func(f Fault) bool { return strings.Contains(f.String(), w) })
		if found < 0 {
			t.Errorf("missed: %s", w)
			continue
		}
		got = slices.Delete(got, found, found+1)
	}
	for _, f := range got {
		t.Errorf("unjust: %s", f)
	}
}

// one is a repository of a single file.
func one(path, text string) map[string]string { return map[string]string{path: text} }

func imports(pkg string, paths ...string) string {
	text := "package " + pkg + "\n"
	for _, p := range paths {
		text += fmt.Sprintf("import _ %q\n", p)
	}
	return text
}

func TestLayersRule(t *testing.T) {
	own := func(dir string) string { return module + "/" + dir }
	check(t, Layers, []example{
		{"down", one("mesh/view/a.go", imports("view", own("internal/wire"))), []string{"a.go:2: mesh/view (words) imports internal/wire (bytes)"}},
		{"up", one("internal/wire/a.go", imports("wire", own("mesh/view"))), nil},
		{"sideways among cores", one("internal/detect/a.go", imports("detect", own("internal/roster"))), []string{"imports internal/roster"}},
		{"core of cores", one("internal/replicate/a.go", imports("replicate", own("internal/reconcile"))), nil},
		{"core of the core of cores", one("internal/reconcile/a.go", imports("reconcile", own("internal/replicate"))), []string{"imports internal/replicate"}},
		{"sideways in public", one("replica/a.go", imports("replica", own("mesh"))), []string{"replica (public) imports mesh (public)"}},
		{"into its own family", one("mesh/a.go", imports("mesh", own("mesh/identity"), own("mesh/view"))), nil},
		{"part of effects", one("internal/storage/a.go", imports("storage", own("internal/storage/file"), own("internal/lifecycle"))), nil},
		{"core uses effects", one("internal/detect/a.go", imports("detect", own("internal/clock"))), []string{"imports internal/clock"}},
		{"product uses test ground", one("mesh/a.go", imports("mesh", own("internal/memnet"))), []string{"imports internal/memnet (test only)"}},
		{"example with help from outside", one("examples/x/a.go", imports("main", "golang.org/x/term")), []string{"imports golang.org/x/term from outside"}},
		{"example uses test ground", one("examples/x/a.go", imports("main", own("internal/memnet"))), []string{"imports internal/memnet"}},
		{"test uses test ground", one("mesh/a_test.go", imports("mesh", own("internal/memnet"))), nil},
		{"test in public looks sideways", one("replica/a_test.go", imports("replica_test", own("mesh"))), nil},
		{"test looks down", one("internal/link/a_test.go", imports("link", own("mesh"))), []string{"imports mesh"}},
		{"nowhere", one("internal/util/a.go", "package util"), []string{"stands on no line"}},
		{"prefix is no parent", one("internal/linkage/a.go", "package linkage"), []string{"stands on no line"}},
		{"words from outside", one("replica/version/a.go", imports("version", "pgregory.net/rapid")), []string{"from outside"}},
		{"core from outside", one("internal/roster/a.go", imports("roster", "github.com/buraksezer/consistent")), []string{"from outside"}},
		{"core with leave", one("internal/placement/a.go", imports("placement", "github.com/buraksezer/consistent")), nil},
		{"dot import", one("mesh/a.go", "package mesh\nimport . \"time\""), []string{"dot import of time"}},
	})
}

func TestRootEntriesRule(t *testing.T) {
	repo := &Repo{Root: []string{".ci", ".gitignore", "mesh", "go.mod", "docs", "Makefile"}}
	compare(t, RootEntries(repo), []string{"docs: ", "Makefile: "})
}

func TestPurityRule(t *testing.T) {
	core := func(body string) map[string]string { return one("internal/roster/a.go", "package roster\n"+body) }
	check(t, Purity, []example{
		{"clock", core("import \"time\"\nvar a = time.Now\nfunc f(d time.Duration) { <-time.After(d); time.Sleep(d) }"),
			[]string{"time.Now", "time.After", "time.Sleep"}},
		{"clock under another name", core("import clk \"time\"\nvar a = clk.Since"), []string{"time.Since"}},
		{"values of time", core("import \"time\"\nfunc f(t time.Time) time.Duration { return t.Sub(time.Time{}) + time.Second }"), nil},
		{"imports", core("import (\n\"net\"\n\"os\"\n\"sync\"\n\"sync/atomic\"\n\"os/signal\"\n\"net/netip\"\n\"crypto/rand\"\n\"context\")"),
			[]string{"imports net", "imports os", "imports sync", "imports sync/atomic", "imports os/signal", "imports crypto/rand", "imports context"}},
		{"chance", core("import \"math/rand/v2\"\nvar n = rand.IntN(3)"), []string{"math/rand/v2.IntN"}},
		{"chance as argument", core("import \"math/rand/v2\"\nfunc f(r *rand.Rand) int { return r.IntN(3) }\nvar x = rand.New(rand.NewPCG(1, 2))"), nil},
		{"goroutine", core("func f() { go f() }"), []string{"starts a goroutine"}},
		{"tests may", one("internal/roster/a_test.go", "package roster\nimport \"os\"\nfunc f() { go os.Exit(1) }"), nil},
		{"effects may", one("internal/link/a.go", "package link\nimport \"net\"\nfunc f() { go net.Dial(\"\", \"\") }"), nil},
		{"pool in bytes", one("internal/wire/a.go", "package wire\nimport \"sync\"\nvar p = sync.Pool{}"), nil},
		{"lock in bytes", one("internal/wire/a.go", "package wire\nimport \"sync\"\nvar p = sync.Pool{}\nfunc f(mu *sync.Mutex) {}"), []string{"imports sync"}},
		{"words too", one("mesh/view/a.go", "package view\nimport \"time\"\nvar now = time.Now"), []string{"time.Now"}},
	})
}

func TestSizeRule(t *testing.T) {
	function := func(lines int) string {
		return "func f() {\n" + strings.Repeat("_ = 1\n", lines-2) + "}\n"
	}
	check(t, Size, []example{
		{"longest function", one("mesh/a.go", "package mesh\n"+function(90)), nil},
		{"function", one("mesh/a.go", "package mesh\n"+function(91)), []string{"f has more than 90 lines"}},
		{"longest file", one("mesh/a.go", "package mesh\n"+strings.Repeat("\n", 599)), nil},
		{"file of tests", one("mesh/a_test.go", "package mesh\n"+strings.Repeat("\n", 600)), []string{"more than 600 lines"}},
	})
}

func TestMethodsRule(t *testing.T) {
	methods := func(n int) (out string) {
		for i := range n {
			out += fmt.Sprintf("func (*T[K]) method%d() {}\n", i)
		}
		return out
	}
	check(t, Methods, []example{
		{"most", one("mesh/a.go", "package mesh\n"+methods(60)), nil},
		{"too many", one("mesh/a.go", "package mesh\n"+methods(61)), []string{"mesh.T has 61 methods"}},
		{"tests", one("mesh/a_test.go", "package mesh\n"+methods(61)), nil},
	})
}

func TestWordingRule(t *testing.T) {
	check(t, Wording, []example{
		{"names", one("internal/placement/a.go", "package placement\nfunc partitionOf() {}\ntype Partition int"), []string{"a.go:2", "a.go:3"}},
		{"comment and string", one("replica/a.go", "package replica\n// one Partition each\nvar s = \"partitions\""), []string{"a.go:2", "a.go:3"}},
		{"network", one("replica/a.go", "package replica\n// Under a network partition both sides write.\nvar s = 1"), nil},
		{"both", one("replica/a.go", "package replica\n// In a network partition, each partition of keys\nvar s = 1"), []string{"a.go:2"}},
		{"token", one("replica/a.go", imports("replica", module+"/partition/token")), nil},
		{"library", one("internal/placement/a.go", "package placement\nvar a = c.FindPartitionID(nil)\nvar b = cfg{PartitionCount: 3}"), nil},
		{"tests partition their network", one("replica/a_test.go", "package replica\nfunc f() { net.Partition(a, b) }"), nil},
		{"but not their data", one("replica/a_test.go", "package replica\nvar Partition = 1"), []string{"a_test.go:2"}},
		{"elsewhere it means the network", one("internal/memnet/a.go", "package memnet\nfunc Partition() {}"), nil},
	})
}

func TestNamesRule(t *testing.T) {
	check(t, Names, []example{
		{"bare verb", one("mesh/a.go", "package mesh\nfunc run() {}\nfunc (n *node) note() {}"), []string{"a.go:2", "a.go:3"}},
		{"few letters", one("mesh/a.go", "package mesh\nfunc by() {}"), []string{"by is no name"}},
		{"verb and object", one("mesh/a.go", "package mesh\nfunc runLoop() {}\nfunc noted() {}"), nil},
		{"public", one("mesh/a.go", "package mesh\nfunc (n *Node) Call() {}"), nil},
		{"term of the field", one("mesh/a.go", "package mesh\nfunc init() {}\nfunc mix() {}"), nil},
		{"tests", one("mesh/a_test.go", "package mesh\nfunc run() {}"), nil},
	})
}

func TestGuestRule(t *testing.T) {
	bad := "package mesh\nimport (\"os\"; \"os/signal\"; \"log\"; \"log/slog\"; \"fmt\"; \"flag\")\n" +
		"func init() {}\n" +
		"func f() { os.Exit(1); signal.Notify(nil); log.Fatalf(\"\"); slog.Info(\"\"); fmt.Println(); flag.Parse(); os.Getenv(\"\") }\n" +
		"func (t T) init() {}"
	check(t, Guest, []example{
		{"library", one("mesh/a.go", bad), []string{"init function", "os.Exit", "os/signal.Notify", "log.Fatalf",
			"log/slog.Info", "fmt.Println", "flag.Parse", "os.Getenv"}},
		{"example", one("examples/x/a.go", bad), nil},
		{"test", one("mesh/a_test.go", bad), nil},
		{"test only", one("internal/mutants/a.go", bad), nil},
		{"harmless", one("mesh/a.go", "package mesh\nimport (\"os\"; \"fmt\"; \"log\")\nfunc f() { os.Open(\"\"); fmt.Sprint(); log.New(nil, \"\", 0) }"), nil},
		{"testing", one("internal/link/a.go", imports("link", "testing")), []string{"imports testing"}},
		{"testing in an example", one("examples/x/a.go", imports("main", "testing/fstest")), []string{"imports testing/fstest"}},
		{"testing in test ground", one("internal/memnet/a.go", imports("memnet", "testing")), nil},
	})
}

func TestGlobalsRule(t *testing.T) {
	lib := func(body string) map[string]string {
		return one("mesh/a.go", "package mesh\nimport (\"errors\"; \"regexp\"; \"sync\"; \"hash/crc32\")\n"+body)
	}
	check(t, Globals, []example{
		{"constant", lib(`
var ErrA = errors.New("a")
var _ I = (*T)(nil)
var (
	pattern = regexp.MustCompile("a+")
	table = [...]string{"a", "b"}
	byName = map[string]int{"a": 1}
	magic = []byte("SKEIN")
	crc = crc32.MakeTable(crc32.Castagnoli)
	limits = Limits{Frames: 4 << 20}
	scratch = sync.Pool{New: func() any { return new(T) }}
)
func f() int { table := []int{1}; table[0] = 2; byName := byName["a"]; byName++; return byName }`), nil},
		{"no value", lib("var count int"), []string{"count is not plainly constant"}},
		{"lock", lib("var mu = sync.Mutex{}\nvar p sync.Pool"), []string{"mu is not", "p is not"}},
		{"made", lib("var a = make(chan int)\nvar b = new(int)\nvar c = &T{}\nvar d = map[int]int{}\nvar e = setup()"),
			[]string{"a is not", "b is not", "c is not", "d is not", "e is not"}},
		{"written to", lib("var table = []int{1, 2}\nfunc f() { table[0] = 3; table = nil }"), []string{"table is written to", "table is written to"}},
		{"counted", lib("var n = 0\nfunc f() { n++; n += 2 }"), []string{"n is written to", "n is written to"}},
		{"deleted from", lib("var m = map[string]int{\"a\": 1}\nfunc f() { delete(m, \"a\") }"), []string{"m is written to"}},
		{"address", lib("var l = Limits{A: 1}\nfunc f() *int { return &l.A }"), []string{"shared by its address"}},
		{"in another file", map[string]string{"mesh/a.go": "package mesh\nvar n = 0", "mesh/b.go": "package mesh\nfunc f() { n = 1 }"}, []string{"b.go:2"}},
		{"example", one("examples/x/a.go", "package main\nvar n int"), nil},
		{"test", one("mesh/a_test.go", "package mesh\nvar long = flag.Bool(\"long\", false, \"\")"), nil},
	})
}

func TestSurfaceRule(t *testing.T) {
	public := func(body string) map[string]string {
		return one("mesh/a.go", "package mesh\nimport (\"github.com/hashicorp/serf/serf\"; \""+module+"/internal/link\"; \""+module+"/mesh/view\"; \"net\")\n"+body)
	}
	check(t, Surface, []example{
		{"function", public("func F(c *serf.Config) link.Stats { return link.Stats{} }"), []string{"serf.Config", "link.Stats"}},
		{"method", public("func (n *Node) Serf() map[string][]*serf.Serf { return nil }"), []string{"serf.Serf"}},
		{"field", public("type Config struct { Limits link.Limits; own serf.Serf }"), []string{"link.Limits"}},
		{"embedded", public("type Node struct { *serf.Serf }"), []string{"serf.Serf"}},
		{"interface", public("type I interface { M(serf.Member) }"), []string{"serf.Member"}},
		{"alias", public("type A = link.Peer"), []string{"link.Peer"}},
		{"variable", public("var V = link.ErrClosed\nvar W serf.Member"), []string{"link.ErrClosed", "serf.Member"}},
		{"conversion", public("const One = Level(link.One)\nconst Two = link.Level(2)"), []string{"link.Level"}},
		{"type parameter", public("type G[T serf.Member] struct{}"), []string{"serf.Member"}},
		{"inside", public("func F(c net.Conn, v view.View) { link.Open(serf.Config{}) }\nfunc g(serf.Config) {}\ntype h struct { X serf.Serf }\nfunc (h) M(serf.Serf) {}"), nil},
		{"internal packages may", one("internal/link/a.go", "package link\nimport \"github.com/hashicorp/serf/serf\"\nfunc F(serf.Serf) {}"), nil},
	})
}

func TestFitsRule(t *testing.T) {
	sources := map[string]string{
		"mesh/a.go":    "package mesh\ntype Node struct{}",
		"replica/a.go": "package replica\ntype Mesh interface{}",
	}
	check(t, Fits, []example{
		{"one of them is not there yet", one("mesh/a.go", sources["mesh/a.go"]), nil},
		{"no proof", sources, []string{"no test here says"}},
	})
	sources["internal/arch/fits/fits_test.go"] = "package arch_test\nvar _ replica.Mesh = (*mesh.Node)(nil)\n"
	check(t, Fits, []example{{"proof", sources, nil}})
	sources["internal/arch/fits/fits_test.go"] = "package arch_test\n// var _ replica.Mesh = (*mesh.Node)(nil)\n"
	check(t, Fits, []example{{"commented out", sources, []string{"no test here says"}}})
}

func TestNumbersRule(t *testing.T) {
	text := "package x\n"
	for _, n := range properties {
		text += fmt.Sprintf("func TestF1_%02d_Words(t *testing.T) {}\n", n)
	}
	for _, n := range scenarios {
		text += fmt.Sprintf("func TestF2_%02d_Words(t *testing.T) {}\n", n)
	}
	without := func(old, new string) map[string]string {
		return one("internal/sim/a_test.go", strings.Replace(text, old, new, 1))
	}
	check(t, Numbers, []example{
		{"all there", without("", ""), nil},
		{"missing", without("func TestF1_05_Words(t *testing.T) {}", ""), []string{"no TestF1_05_"}},
		{"misnamed", without("TestF2_13_Words", "TestF2_13words"), []string{"not named like", "no TestF2_13_"}},
		{"skipped", without("TestF1_07_Words(t *testing.T) {}", "TestF1_07_Words(t *testing.T) { t.Skip() }"), []string{"always skips", "no TestF1_07_"}},
		{"skipped when short", without("TestF1_07_Words(t *testing.T) {}", "TestF1_07_Words(t *testing.T) { if testing.Short() { t.Skip() } }"), nil},
		{"more than assigned", without("func TestF1_01_Words", "func TestF1_22_More(t *testing.T) {}\nfunc TestF1_01_Words"), nil},
		{"not a test file", one("internal/sim/a.go", text), append(missingAll(properties, 1), missingAll(scenarios, 2)...)},
	})
}

func missingAll(numbers []int, part int) (want []string) {
	for _, n := range numbers {
		want = append(want, fmt.Sprintf("no TestF%d_%02d_", part, n))
	}
	return want
}

func TestDecodersRule(t *testing.T) {
	product := `package wire
type Item struct { Dots []Dot }
type Dot struct {}
type Orphan struct {}
func (i *Item) DecodeMsgpack(d *D) error { return nil }
func (x *Dot) DecodeMsgpack(d *D) error { return nil }
func (x *Orphan) DecodeMsgpack(d *D) error { return nil }
func DecodeItem(b []byte) (Item, error) { return decodeBody(b) }
func decodeBody(b []byte) (Item, error) { var i Item; return i, nil }
func ParseKey(b []byte) {}
func decoderCount() {}
`
	with := func(tests string) map[string]string {
		return map[string]string{"internal/wire/a.go": product, "internal/wire/a_test.go": "package wire\n" + tests}
	}
	check(t, Decoders, []example{
		{"no targets", with(""), []string{"reaches Item", "reaches Dot", "reaches Orphan", "reaches DecodeItem", "reaches decodeBody", "reaches ParseKey"}},
		{"through a decoder and its types", with("func FuzzItem(f *testing.F) { DecodeItem(nil) }"), []string{"reaches Orphan", "reaches ParseKey"}},
		{"through a helper", with("func FuzzAll(f *testing.F) { seeds(f) }\nfunc seeds(f *testing.F) { DecodeItem(nil); ParseKey(nil); var o Orphan }"), nil},
		{"a test is no target", with("func TestItem(t *testing.T) { DecodeItem(nil); ParseKey(nil); var o Orphan }"),
			[]string{"reaches Item", "reaches Dot", "reaches Orphan", "reaches DecodeItem", "reaches decodeBody", "reaches ParseKey"}},
		{"other packages", one("internal/roster/a.go", "package roster\nfunc decodeX() {}"), nil},
	})
}

// cite is a file whose comment is the text, beside a small map. In the text ~ stands
// for a dot and _ for nothing: the strings here are held to the rule themselves.
func cite(text string) map[string]string {
	plain := strings.NewReplacer("~", ".", "_", "").Replace
	return map[string]string{
		mapPath:     plain("### A Items\n\n#### A~4 Put\n\n- **A~5~1** A dot.\n- **L_1** A voter.\n\n| F1~5 | text | tests |\n"),
		"mesh/a.go": "package mesh\n// " + plain(text) + "\nvar a = 1",
	}
}

func TestReferencesRule(t *testing.T) {
	inString := cite("")
	inString["mesh/a.go"] = "package mesh\nvar a = \"F1" + ".6\""
	inMutants := cite("")
	inMutants["mesh/testdata/mutants.txt"] = "\nname: a\nrule: a put wins (protocol A" + ".4, B" + ".3)\nfile: a.go\n-// F1" + ".6\n+// (A" + ".4)\n"
	inMap := map[string]string{mapPath: "#### A" + ".4 Put\n\nSee A" + ".4 and B" + ".3, in 1.5 s.\n"}
	check(t, References, []example{
		{"in the map itself", inMap, []string{"README.md: cites B" + ".3"}},
		{"all there", cite("See protocol A~4, A~5~1 and F1~5; protocol A; L_1."), nil},
		{"no such section", cite("See protocol B~3."), []string{"a.go:2: cites B" + ".3"}},
		{"no such rule of a section", cite("See protocol A~5~2."), []string{"cites A" + ".5.2"}},
		{"further down a list", cite("(protocol A~4, C~2, F1~9)"), []string{"cites C" + ".2", "cites F1" + ".9"}},
		{"over the end of a line", cite("See (protocol\n// B~1)."), []string{"a.go:2: cites B" + ".1"}},
		{"law", cite("holds by L_4"), []string{"cites L" + "4"}},
		{"in a string", inString, []string{"a.go:2: cites F1" + ".6"}},
		{"in mutants", inMutants, []string{"testdata/mutants.txt:3: cites B" + ".3", "mutants.txt:5: cites F1" + ".6", "mutants.txt:6: \"(A" + ".4)\" is no reference"}},
		{"without the word", cite("A put (A~4) wins."), []string{"is no reference"}},
		{"other documents", cite("See fau_lts 6."), []string{"is no reference"}},
		{"older forms", cite("It holds (F~1 22)."), []string{"is no reference"}},
		{"figures", cite("Waits (0.25 s), or 0.5 s of 1.5; level L of F."), nil},
	})
}

func TestMapRule(t *testing.T) {
	picture := ""
	for _, l := range lines {
		picture += fmt.Sprintf("<g id=%q><text>%s</text></g>\n", l.name, l.name)
	}
	drawn := strings.Replace(picture, "<text>bytes</text>", `<text class="package" x="1">internal/wire</text>`, 1)
	repo := func(picture, row string) map[string]string {
		return map[string]string{
			picturePath: picture, mapPath: "| F1.5 | text | " + row + " |\n",
			"internal/wire/a_test.go": "package wire\nfunc TestF1_05_Words(t *testing.T) {}",
		}
	}
	named := "`TestF1_05_Words` in internal/wire"
	check(t, Map, []example{
		{"the same", repo(drawn, named), nil},
		{"not drawn", repo(picture, named), []string{`internal/wire is not drawn on the line "bytes"`}},
		{"on another line", repo(strings.Replace(picture, "<text>effects</text>", `<text class="package">internal/wire</text>`, 1), named),
			[]string{`internal/wire is drawn on the line "effects"`, "internal/wire is not drawn"}},
		{"not built", repo(strings.Replace(drawn, "<text>public</text>", `<text class="package">mesh</text>`, 1), named), []string{"mesh is drawn"}},
		{"a line too few", repo(strings.Replace(drawn, `<g id="wiring">`, `<g id="wires">`, 1), named), []string{"the lines are"}},
		{"test without mention", repo(drawn, "no test: not built"), []string{"F1.5 does not name TestF1_05_Words"}},
		{"mention without test", repo(drawn, named+", `TestF1_05_More`"), []string{"F1.5 names TestF1_05_More"}},
		{"another number's test", repo(drawn, named+", `TestF1_06_Words`"), []string{"F1.5 names TestF1_06_Words"}},
		{"neither test nor reason", map[string]string{picturePath: picture, mapPath: "| F2.4 | text | later |\n"}, []string{"F2.4 names no test"}},
		{"file that is gone", map[string]string{picturePath: picture, mapPath: "read `mesh/gone.go`, `put.go` and `internal/wire/a.go`"}, []string{"names mesh/gone.go", "names internal/wire/a.go"}},
		{"test without row", map[string]string{picturePath: drawn, mapPath: "", "internal/wire/a_test.go": repo("", "")["internal/wire/a_test.go"]}, []string{"F1.5 has tests and no row"}},
	})
}

func TestLogsRule(t *testing.T) {
	line := func(call string) map[string]string {
		return one("mesh/a.go", "package mesh\nfunc a() {\n"+call+"\n}")
	}
	check(t, Logs, []example{
		{"error", line(`n.log.Warn("text", "peer", id, "error", err)`), nil},
		{"err", line(`n.log.Warn("text", "peer", id, "err", err)`), []string{`a.go:3: an error is logged under "err"`}},
		{"err of Log", line(`s.opts.Logger.Log(ctx, level, "text", "err", err)`), []string{`under "err"`}},
		{"err as a value", line(`log.Warn("text", "key", "err")`), nil},
		{"node", line(`log.Info("text", "node", id)`), []string{`"node" is whose line`}},
		{"node of a logger", line(`log := logger.With("node", id)`), nil},
		{"twice", line(`log.Info("text", "at", a, "at", b)`), []string{`"at" is logged twice`}},
		{"number", line(`log.Info("text", "why", 1)`), []string{`"why" is a bare number`}},
		{"number made of a kind", line(`log.Info("text", "shard", 1, "why", int(why))`), []string{`"why" is a bare number`}},
		{"words", line(`log.Info("text", "why", why.String(), "shard", int(shard))`), nil},
		{"of no log", line(`t.Error("text", "err", err)`), nil},
		{"in a test", one("mesh/a_test.go", "package mesh\nfunc a() { log.Warn(\"text\", \"err\", err) }"), nil},
	})
}
