package replica

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/former"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/witness"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/mesh/view"
)

// told is where a sentence of Health is looked for: a store of five, what Health says
// beside problems, and what its disk and its mesh say.
type told struct {
	t       *testing.T
	net     *fakeNet
	nodes   []*fakeNode
	buckets []*Bucket
	s       *Store // the first node's
	h       Health // begins as all is well
	disk    storage.Stats
	lost    int // copies for others that the disk has lost
	remains former.Status
	others  map[view.NodeID]view.Witnesses // said of stores that are down
}

// words are all that would be said.
func (w *told) words() []string {
	w.t.Helper()
	out := w.s.listProblems(&w.h, w.s.homes.Now())
	add := func(p view.Problem) { out = append(out, p) }
	reportDisk(w.disk, w.lost, add)
	reportFormer(w.remains, &w.h, add)
	witness.Sight{Self: w.s.id, View: w.s.mesh.View()}.ReportUnconfirmed(w.others, add)
	return wordsOf(out)
}

// wordsOf are the sentences of problems.
func wordsOf(problems []view.Problem) []string {
	out := make([]string, len(problems))
	for i, p := range problems {
		out[i] = p.String()
	}
	return out
}

// member changes what the mesh says of another node, here alone.
func (w *told) member(id view.NodeID, change func(*view.Member)) {
	v := w.nodes[0].View()
	v.Members = slices.Clone(v.Members)
	for i := range v.Members {
		if v.Members[i].ID == id {
			change(&v.Members[i])
		}
	}
	w.nodes[0].views.Set(v)
	time.Sleep(10 * time.Millisecond)
}

// lacking makes a shard of which a home is not in contact.
func (w *told) lacking(home view.NodeID) {
	w.h.Shards = []ShardHealth{{Role: "home", Homes: []view.NodeID{1, 2, home}, Copies: 2}}
}

// sentence is one that Health may say, by the words that begin it in the source, with
// the scene in which it is said and the one next to it, in which it must not be.
type sentence struct {
	words        string
	said, unsaid func(w *told)
}

func failed(m *view.Member) { m.State = view.Failed }
func silentFor(d time.Duration) func(*view.Member) {
	return func(m *view.Member) { m.State, m.Unreachable, m.Since = view.Suspect, true, time.Now().Add(-d) }
}

func (w *told) former(change func(f *former.StoreStatus)) {
	f := former.StoreStatus{Dir: "retired-1", Shards: 4, Done: 4, LookedThrough: true}
	change(&f)
	w.remains.Stores = []former.StoreStatus{f}
}

func (w *told) box(box former.OutboxStatus) {
	box.Dir = "retired-1"
	w.remains.Outbox = &box
}

func (w *told) clockOff(by time.Duration, peers ...time.Duration) {
	w.s.clocks.Follow(nil, []view.NodeID{1, 2, 3, 4, 5}) // nobody's is known
	for i, off := range peers {
		w.s.clocks.Learn(view.NodeID(i+2), w.s.cfg.clock.Wall().Add(off-by).UnixMilli())
	}
}

// dated has the store write while its clock is ahead, and nobody tells it.
func (w *told) dated(ahead time.Duration) {
	w.s.clocks.Follow(nil, nil)
	w.nodes[0].clock.SetSkew(ahead)
	err := w.s.records.Update(w.t.Context(), "write", func(tx keep.Tx) error {
		_, err := tx.Writer().Put(reconcile.Local{}, reconcile.Write{}, w.s.currentDate())
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.nodes[0].clock.SetSkew(0)
}

func (w *told) unconfirmed(n view.Witnesses) {
	w.others = map[view.NodeID]view.Witnesses{2: n}
}

var sentences = []sentence{
	{"the clock is %v %s those of the other nodes",
		func(w *told) { w.clockOff(time.Hour, 0, 0, 0) },
		func(w *told) { w.clockOff(time.Minute, 0, 0, 0) }},
	{"the clock is %v %s that of the other node,",
		func(w *told) { w.clockOff(time.Hour, 0) },
		func(w *told) { w.clockOff(time.Hour, 0, 0) }},
	{"what was written here is dated up to %v ahead",
		func(w *told) { w.dated(time.Hour) },
		func(w *told) { w.dated(time.Minute) }},
	{"the disk has failed", nil, nil}, // see TestFailedDiskOfOneHome
	{"this node is leaving for good",
		func(w *told) { w.net.status(w.s.id, view.Leaving) },
		func(w *told) { w.net.status(2, view.Leaving) }},
	{"%s was down for so long",
		func(w *told) { w.h.Lost = []view.NodeID{2} },
		func(w *told) { w.nodes[1].kill() }},
	{"%d shards are catching up here",
		func(w *told) { w.h.Syncing = 1 },
		func(w *told) { w.h.Shards = []ShardHealth{{Role: "stand-in", Syncing: true}} }},
	{"deletes cannot be forgotten",
		func(w *told) { w.h.PurgeBlocked = &PurgeBlocked{For: 200 * time.Hour, Missing: []view.NodeID{2}} },
		func(w *told) { w.nodes[1].kill() }},
	{"%d records whose TTL has ended",
		func(w *told) { w.h.Expired = Expired{Records: 3, Bytes: 9, Waits: 2 * time.Hour} },
		func(w *told) { w.h.Expired = Expired{Records: 3, Bytes: 9, Waits: time.Hour} }},
	{"%d records were set aside",
		func(w *told) { w.h.SetAside = 1 },
		func(w *told) { w.h.ImportRefused = 1 }},
	{"%d writes of %d bytes wait in the outbox of this node",
		func(w *told) { w.h.OutboxOps, w.h.OutboxOldest = 1, longWait },
		func(w *told) { w.h.OutboxOps, w.h.OutboxOldest = 1, longWait-time.Second }},
	{"%d writes that waited here were given up",
		func(w *told) { w.h.OutboxDropped = 1 },
		func(w *told) { w.h.OutboxOps, w.h.OutboxDelivered = 1, 1 }},
	{"the disk is full", func(w *told) { w.disk.Full = true }, func(w *told) { w.disk.DiskBytes = 1 << 40 }},
	{"%d files of the store are damaged", func(w *told) { w.disk.Damaged = 1 }, func(w *told) { w.disk.GivenUp = 1 }},
	{"%d parts of the disk did not read", func(w *told) { w.disk.GivenUp = 1 }, func(w *told) { w.disk.Corrupt = 1 }},
	{"%d copies kept for nodes that were down are among them",
		func(w *told) { w.disk.GivenUp = 1; w.lost = 1 },
		func(w *told) { w.disk.GivenUp = 1 }},
	{"%d shards have fewer copies in contact than they should, %s; after %v copies",
		func(w *told) { w.member(3, failed); w.lacking(3) },
		func(w *told) { w.lacking(3); w.h.Shards[0].Copies = 3 }},
	{"%d shards have fewer copies in contact than they should, %s; HealAfter says never",
		func(w *told) { w.s.cfg.HealAfter = -1; w.member(3, failed); w.lacking(3) },
		func(w *told) { w.member(3, failed); w.lacking(3) }},
	{"%d shards have fewer copies in contact than they should, %s; none are made elsewhere",
		func(w *told) {
			for id := range view.NodeID(3) {
				w.member(id+3, failed)
			}
			w.lacking(3)
		},
		func(w *told) { w.member(3, failed); w.lacking(3) }},
	{"a part of the disk does not read just now",
		func(w *told) { w.h.unread = true },
		func(w *told) { w.disk.GivenUp = 1 }},
	{"what a former identity of this node has left in %s is not taken in",
		func(w *told) {
			w.former(func(f *former.StoreStatus) { f.Unusable, f.Problem = true, "it is of another mesh" })
		},
		func(w *told) { w.former(func(f *former.StoreStatus) {}) }},
	{"of what a former identity of this node has left",
		func(w *told) {
			w.former(func(f *former.StoreStatus) { f.LookedThrough, f.Problem = false, "no home is in contact" })
		},
		func(w *told) { w.former(func(f *former.StoreStatus) { f.LookedThrough = false }) }},
	{"%d records in %s are not taken in",
		func(w *told) { w.former(func(f *former.StoreStatus) { f.Refused = 1 }) },
		func(w *told) { w.former(func(f *former.StoreStatus) { f.Unread = 1 }) }},
	{"%d records in %s do not read",
		func(w *told) { w.former(func(f *former.StoreStatus) { f.Unread = 1 }) },
		func(w *told) { w.former(func(f *former.StoreStatus) { f.Refused = 1 }) }},
	{"what waits in the outbox of a former identity of this node, %s, is not delivered: ",
		func(w *told) { w.box(former.OutboxStatus{Unusable: true, Problem: "it does not open"}) },
		func(w *told) { w.box(former.OutboxStatus{Problem: "no store is in reach"}) }},
	{"what waits in the outbox of a former identity of this node, %s, is not delivered yet",
		func(w *told) { w.box(former.OutboxStatus{Problem: "no store is in reach"}) },
		func(w *told) { w.box(former.OutboxStatus{}) }},
	{"%d operations in %s do not read",
		func(w *told) { w.box(former.OutboxStatus{Finished: true, Bad: 1}) },
		func(w *told) { w.box(former.OutboxStatus{Finished: true}) }},
	{"%s cannot be reached from here, but others say",
		func(w *told) { w.member(2, silentFor(time.Minute)) },
		func(w *told) { w.member(2, failed) }},
	{"%s does not answer since a moment ago",
		func(w *told) { w.member(2, silentFor(time.Second)) },
		func(w *told) { w.member(2, silentFor(time.Minute)) }},
	{"%s does not answer, and nobody else",
		func(w *told) {
			w.member(2, silentFor(time.Minute))
			for id := range view.NodeID(3) {
				w.member(id+3, failed)
			}
		},
		func(w *told) {
			w.member(2, silentFor(time.Minute))
			for id := range view.NodeID(2) {
				w.member(id+3, failed)
			}
		}},
	{"%s is down as seen from here, but %d others reach it",
		func(w *told) { w.unconfirmed(view.Witnesses{By: []view.NodeID{3}, Reached: 1, Need: 3}) },
		func(w *told) { w.unconfirmed(view.Witnesses{By: []view.NodeID{1}, Failed: 1, Need: 3}) }},
	{"%s is down, but only %d of the %d nodes",
		func(w *told) { w.unconfirmed(view.Witnesses{Failed: 1, Need: 3}) },
		func(w *told) { w.unconfirmed(view.Witnesses{Failed: 3, Need: 3, Confirmed: true}) }},
}

// sourceSentences lists what the health of a store may say: the formats in the table of
// sentences, one for each kind.
func sourceSentences(t *testing.T) (out []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "mesh", "view", "sentences.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name != "storeSentences" {
			return true
		}
		for _, row := range spec.Values[0].(*ast.CompositeLit).Elts {
			text := ""
			ast.Inspect(row.(*ast.KeyValueExpr).Value, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && text == "" {
					text, err = strconv.Unquote(lit.Value)
				}
				return true
			})
			if err != nil || text == "" {
				t.Errorf("%v says what is not written there: %v", row.(*ast.KeyValueExpr).Key, err)
			}
			out = append(out, text)
		}
		return false
	})
	return out
}

// Every sentence of Health has an entry, and is said in its scene and not in the one
// next to it.
func TestEverySentenceOfHealth(t *testing.T) {
	source := sourceSentences(t)
	for _, text := range source {
		if n := len(slices.DeleteFunc(slices.Clone(sentences), func(c sentence) bool { return !strings.HasPrefix(text, c.words) })); n != 1 {
			t.Errorf("%d entries for %q", n, text)
		}
	}
	for _, c := range sentences {
		at := slices.IndexFunc(source, func(text string) bool { return strings.HasPrefix(text, c.words) })
		if at < 0 {
			t.Errorf("nothing says %q", c.words)
			continue
		}
		if c.said == nil {
			continue
		}
		t.Run(c.words, func(t *testing.T) {
			for scene, set := range map[bool]func(*told){true: c.said, false: c.unsaid} {
				bubble(t, 5, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
					w := &told{t: t, net: net, nodes: nodes, buckets: buckets, s: nodes[0].store}
					if words := w.words(); len(words) > 0 {
						t.Fatalf("before anything has happened: %q", words)
					}
					set(w)
					time.Sleep(10 * time.Millisecond)
					words := w.words()
					if got := slices.ContainsFunc(words, func(said string) bool { return fits(source[at], said) }); got != scene {
						t.Errorf("said: %v, want %v: %q", got, scene, words)
					}
				})
			}
		})
	}
}

// fits tells whether a text was made by a format.
func fits(format, text string) bool {
	parts := strings.FieldsFunc(strings.NewReplacer("%v", "\x00", "%s", "\x00", "%d", "\x00").Replace(format), func(r rune) bool { return r == 0 })
	for i, part := range parts {
		at := strings.Index(text, part)
		if at < 0 || i == 0 && !strings.HasPrefix(format, "%") && at > 0 {
			return false
		}
		text = text[at+len(part):]
	}
	return true
}

// That others reach a node that is not in contact may be said only where there are
// others, and only once they would know if it were down.
func TestWhoIsMissingIsToldTruly(t *testing.T) {
	for words, scene := range map[string]struct {
		others bool
		since  time.Duration
		cut    bool // it is not known to be down
	}{
		" does not answer":          {others: false, since: time.Hour, cut: true},
		" does not answer;":         {others: true, since: time.Second, cut: true},
		"others reach":              {others: true, since: time.Hour, cut: true},
		" is down: bring it back":   {others: true, since: time.Hour},
		" is down: bring it back; ": {others: false, since: time.Hour},
	} {
		bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
			w := &told{t: t, net: net, nodes: nodes, buckets: buckets, s: nodes[0].store}
			w.member(2, func(m *view.Member) {
				m.State, m.Unreachable, m.Since = view.Failed, scene.cut, time.Now().Add(-scene.since)
			})
			if !scene.others {
				w.member(3, failed)
			}
			w.h.Shards = []ShardHealth{{Role: "home", Homes: []view.NodeID{1, 2}, Copies: 1}}
			var few string
			for _, said := range w.words() {
				if strings.Contains(said, "fewer copies") {
					few = said
				}
			}
			if !strings.Contains(few, words) || strings.Contains(few, "others reach") != (words == "others reach") {
				t.Errorf("%+v: %q, want %q", scene, few, words)
			}
		})
	}
}
