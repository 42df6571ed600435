package ledger

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

var update = flag.Bool("update", false, "write golden files that do not exist yet")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	want, err := os.ReadFile(path)
	if os.IsNotExist(err) && *update {
		want, err = got, os.WriteFile(path, got, 0o644)
	}
	if err != nil || !bytes.Equal(want, got) {
		t.Errorf("%s is now\n%q\nand was\n%q, %v", name, got, want, err)
	}
}

// testLog is a log in memory.
type testLog struct {
	*Signer
	tree    Tree
	tiles   map[string][]byte
	entries [][]byte
	old     []Checkpoint // by size
}

func newTestLog(name string, seed byte) *testLog {
	l := &testLog{Signer: NewSigner(name, [32]byte{seed}), tiles: map[string][]byte{}}
	l.old = []Checkpoint{l.now()}
	return l
}

func (l *testLog) now() Checkpoint { return Checkpoint{l.name, l.tree.Size(), l.tree.Root()} }

func (l *testLog) add(entry []byte) {
	path := EntriesPath(l.tree.Size() / Width)
	l.tiles[path] = AppendEntry(l.tiles[path], entry)
	for _, tile := range append(l.tree.Add(entry), l.tree.Edges()...) {
		l.tiles[tile.Path] = tile.Data
	}
	l.entries, l.old = append(l.entries, entry), append(l.old, l.now())
}

func (l *testLog) read(path string) ([]byte, error) {
	if b, ok := l.tiles[path]; ok {
		return b, nil
	}
	return nil, os.ErrNotExist
}

func randomLeaf(r *rand.Rand) (Leaf, Opening) {
	o := Opening{Bucket: fmt.Sprint("bucket", r.IntN(3)), Key: fmt.Sprint("key", r.IntN(50)), Sum: sha256.Sum256([]byte{byte(r.Int())})}
	for i := range o.Salt {
		o.Salt[i] = byte(r.Int())
	}
	l := Leaf{Kind: Kind(1 + r.IntN(3)), At: time.UnixMilli(r.Int64N(1 << 42)).UTC(), Subject: o.CommitSubject(), Value: o.CommitValue()}
	l.Dot = version.Dot{A: version.Actor{Store: r.Uint64(), Session: r.Uint64(), Seq: r.Uint32()}, N: r.Uint64()}
	return l, o
}

// The tree is that of the library, which keeps hashes in another way.
func TestTreeIsThatOfTheLibrary(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	l, stored := newTestLog("n", 1), []tlog.Hash{}
	reader := tlog.HashReaderFunc(func(at []int64) (out []tlog.Hash, err error) {
		for _, i := range at {
			out = append(out, stored[i])
		}
		return out, nil
	})
	for i := range int64(Width*Width + 700) {
		entry := binaryOf(r.Uint64())
		hashes, err := tlog.StoredHashes(i, entry, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
		if i < 600 || i > Width*Width-2 {
			l.add(entry)
			want, err := tlog.TreeHash(i+1, reader)
			if err != nil || l.now().Root != want {
				t.Fatalf("the root of %d leaves differs: %v", i+1, err)
			}
			continue
		}
		for _, tile := range l.tree.Add(entry) {
			l.tiles[tile.Path] = tile.Data
		}
	}
	for _, tile := range tlog.NewTiles(height, 0, l.tree.Size()) {
		want, err := tlog.ReadTileData(tile, reader)
		if got := l.tiles[Path(tile.L, tile.N)]; err != nil || !bytes.Equal(got, want) {
			t.Fatalf("tile %s has %d bytes, want %d: %v", tile.Path(), len(got), len(want), err)
		}
	}
	if loaded, err := LoadTree(l.now(), l.read); err != nil || loaded.Root() != l.now().Root {
		t.Error(err)
	}
}

func binaryOf(n uint64) []byte { return fmt.Append(nil, n) }

func TestPathsOfTiles(t *testing.T) {
	for want, got := range map[string]string{
		"tile/0/000": Path(0, 0), "tile/1/x001/x234/067": Path(1, 1234067), "tile/entries/x001/000": EntriesPath(1000), "tile/8/255": Path(8, 255),
	} {
		if got != want {
			t.Errorf("%s instead of %s", got, want)
		}
	}
}

// A random log is grown, and at random moments loaded again from what is kept, proven, and
// verified as a whole.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 2))
		l := newTestLog("skein/1", byte(seed))
		for range 900 {
			leaf, _ := randomLeaf(r)
			l.add(AppendLeaf(nil, leaf))
			if r.IntN(60) > 0 {
				continue
			}
			c := l.old[1+r.IntN(len(l.old)-1)] // any that was ever given out, with tiles of today
			if err := VerifyAll(c, l.read); err != nil {
				t.Fatal(err)
			}
			tree, err := LoadTree(c, l.read)
			if err != nil || tree.Size() != c.Size || tree.Root() != c.Root {
				t.Fatalf("loaded of %d: %v", c.Size, err)
			}
			old, index := l.old[r.Int64N(c.Size+1)], r.Int64N(c.Size)
			growth, err := ProveGrowth(c, old.Size, l.read)
			if err != nil || !GrowsFrom(old, c, growth) {
				t.Fatalf("from %d to %d: %v", old.Size, c.Size, err)
			}
			if root, err := RootAt(c, old.Size, l.read); err != nil || root != old.Root {
				t.Fatalf("root at %d: %v", old.Size, err)
			}
			hashes, err := ProveLeaf(c, index, l.read)
			if err != nil || tlog.CheckRecord(hashes, c.Size, c.Root, index, tlog.RecordHash(l.entries[index])) != nil {
				t.Fatalf("leaf %d of %d: %v", index, c.Size, err)
			}
		}
	}
}

// Whatever one byte of what is kept is changed, or cut off, the whole log does not verify, and
// proofs are refused or those of the log.
func TestAnyChangeIsFound(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	l := newTestLog("skein/1", 1)
	for range 2*Width + 77 {
		leaf, _ := randomLeaf(r)
		l.add(AppendLeaf(nil, leaf))
	}
	c := l.now()
	for path, data := range l.tiles {
		for range 20 {
			changed := bytes.Clone(data)
			if at := r.IntN(len(data)); r.IntN(4) == 0 {
				changed = changed[:at]
			} else {
				changed[at] ^= 1 << r.IntN(8)
			}
			l.tiles[path] = changed
			if err := VerifyAll(c, l.read); !errors.Is(err, ErrUnproven) {
				t.Fatalf("a change of %s is not found: %v", path, err)
			}
			index := r.Int64N(c.Size)
			if hashes, err := ProveLeaf(c, index, l.read); err == nil && tlog.CheckRecord(hashes, c.Size, c.Root, index, tlog.RecordHash(l.entries[index])) != nil {
				t.Fatalf("a wrong proof with a change of %s", path)
			}
		}
		l.tiles[path] = data
	}
	delete(l.tiles, Path(0, 1))
	if err := VerifyAll(c, l.read); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := LoadTree(Checkpoint{c.Origin, c.Size, tlog.Hash{}}, l.read); !errors.Is(err, ErrUnproven) {
		t.Error(err)
	}
}

func TestNotesAreSignedAndCosigned(t *testing.T) {
	l, w, x := newTestLog("skein/1", 1), NewSigner("skein/2", [32]byte{2}), NewSigner("skein/3", [32]byte{3})
	l.add([]byte("entry"))
	log, own, err := ParseKeys(l.Keys, "skein/1")
	_, witness, err2 := ParseKeys(w.Keys, "skein/2")
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	at := time.Unix(1679315147, 0).UTC()
	msg := append(l.Sign(l.tree.Size(), l.tree.Root()), w.Cosign(l.now(), at)+x.Cosign(l.now(), at)...)
	golden(t, "checkpoint.txt", msg)
	golden(t, "keys.txt", []byte(l.Keys.Log+"\n"+w.Keys.Cosign+"\n"))
	c, by, err := OpenNote(msg, log, witness)
	if err != nil || c != l.now() || len(by) != 1 || by[0] != (Cosigned{"skein/2", at}) {
		t.Errorf("%v, %v, %v", c, by, err)
	}
	if v, err := note.NewVerifier(l.Keys.Log); err != nil || v.KeyHash() != log.KeyHash() {
		t.Errorf("the library reads the key as %v, %v", v, err)
	}
	// What one key signs the other does not; nor does another log's.
	fromWitness := []byte(l.now().Text() + "\n" + w.Cosign(l.now(), at))
	for name, bad := range map[string]func() error{
		"not signed by the log": func() error { _, _, err := OpenNote(fromWitness, log, witness); return err },
		"another log":           func() error { _, _, err := OpenNote(newTestLog("skein/1", 9).Sign(0, tlog.Hash{}), log); return err },
		"another name":          func() error { _, _, err := OpenNote(msg, Key{"skein/2", log.hash, 1, log.public}); return err },
		"a cosigner as the log": func() error { _, _, err := OpenNote(fromWitness, witness); return err },
		"a changed text": func() error {
			_, _, err := OpenNote(bytes.Replace(msg, []byte("\n1\n"), []byte("\n2\n"), 1), log)
			return err
		},
		"too long":        func() error { _, _, err := OpenNote(append(msg, make([]byte, MaxNote)...), log); return err },
		"swapped keys":    func() error { _, _, err := ParseKeys(Keys{l.Keys.Cosign, l.Keys.Log}, "skein/1"); return err },
		"keys of another": func() error { _, _, err := ParseKeys(l.Keys, "skein/2"); return err },
	} {
		if err := bad(); !errors.Is(err, ErrUnproven) && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range msg { // a flipped bit loses a signature at least
		bad := bytes.Clone(msg)
		bad[i] ^= 1
		if c, by, err := OpenNote(bad, log, witness, own); err == nil && len(by) == 1 && (c != l.now() || by[0].At != at) {
			t.Fatalf("bit of byte %d: %v", i, c)
		}
	}
}

func TestCheckpointsHaveOneForm(t *testing.T) {
	root := tlog.Hash{1}.String()
	for _, bad := range []string{"", "a\n", "a\n1\n" + root, "\n1\n" + root + "\n", "a\n01\n" + root + "\n", "a\n-1\n" + root + "\n", "a\n+1\n" + root + "\n",
		"a\n1\n" + root + "\nmore\n", "a\n1\n" + root[1:] + "\n", "a\n999999999999999999\n" + root + "\n", "a\n1\n" + strings.TrimSuffix(root, "=") + "\n"} {
		if c, err := ParseCheckpoint(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q is read as %v, %v", bad, c, err)
		}
	}
}

// Witnesses are shown random histories: honest growth, forks and rollbacks, with requests that
// come late and proofs of something else.
func TestJudgeAgainstTheTruth(t *testing.T) {
	count := map[Verdict]int{}
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 3))
		honest, forked := newTestLog("n", 1), newTestLog("n", 1)
		at := 1 + r.IntN(200)
		for i := range 300 {
			entry := binaryOf(uint64(i))
			honest.add(entry)
			if i >= at {
				entry = append(entry, 'x')
			}
			forked.add(entry)
		}
		common := func(size int64) bool { return size <= int64(at) }
		for range 300 {
			known, log := honest.old[r.IntN(301)], honest
			if r.IntN(2) == 0 {
				log = forked
			}
			c := log.old[r.IntN(301)]
			old := known.Size
			if r.IntN(4) == 0 {
				old = int64(r.IntN(301))
			}
			proof, _ := ProveGrowth(c, old, log.read)
			extends := log == honest || common(known.Size) || common(c.Size)
			want := Agreed
			switch {
			case c.Size == known.Size && !extends:
				want = Forked
			case old != known.Size:
				want = SeenOther
			case c.Size < known.Size:
				want = RolledBack
			case !extends:
				want = Forked
			}
			if got := Judge(known, old, c, proof); got != want {
				t.Fatalf("seed %d: known %d, old %d, size %d, fork at %d: %d, want %d", seed, known.Size, old, c.Size, at, got, want)
			}
			count[want]++
			if len(proof) > 0 && want == Agreed { // no other proof will do
				proof[r.IntN(len(proof))][3] ^= 4
				if GrowsFrom(known, c, proof) {
					t.Fatal("agreed to a wrong proof")
				}
			}
			older, newer, has := known, c, int64(r.IntN(301))
			if older.Size > newer.Size {
				older, newer = c, known
			}
			from := honest // who proves knows the history of the newer one
			if newer == forked.old[newer.Size] {
				from = forked
			}
			growth, _ := ProveGrowth(newer, older.Size, from.read)
			wantHeads := Agreed
			if has < newer.Size && older.Size != newer.Size {
				wantHeads = RolledBack
			} else if !extends {
				wantHeads = Forked
			}
			if got := JudgeHeads(older, newer, has, growth); got != wantHeads {
				t.Fatalf("heads of %d and %d: %d, want %d", older.Size, newer.Size, got, wantHeads)
			}
			root, err := RootAt(c, min(known.Size, c.Size), log.read)
			wantOwn := Agreed
			if known.Size > c.Size {
				wantOwn = RolledBack
			} else if !extends {
				wantOwn = Forked
			}
			if got := JudgeOwn(c, known, root); err != nil || got != wantOwn {
				t.Fatalf("own: %d, want %d, %v", got, wantOwn, err)
			}
		}
	}
	if len(count) != 4 || Judge(Checkpoint{}, 0, newTestLog("n", 1).now(), nil) != Agreed {
		t.Errorf("verdicts %v", count)
	}
}

func testProof(r *rand.Rand) (*testLog, Proof) {
	l := newTestLog("skein/1", 1)
	index, p := r.Int64N(300), Proof{}
	for i := range int64(300) {
		leaf, o := randomLeaf(r)
		if l.add(AppendLeaf(nil, leaf)); i == index {
			p = Proof{Index: i, Leaf: l.entries[i], Opening: o}
		}
	}
	p.Hashes, _ = ProveLeaf(l.now(), index, l.read)
	p.Note = append(l.Sign(l.tree.Size(), l.tree.Root()), NewSigner("skein/2", [32]byte{2}).Cosign(l.now(), time.Unix(1700000000, 0))...)
	return l, p
}

func TestProofShowsItsLeafOnly(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	l, p := testProof(r)
	log, _ := ParseKey(l.Keys.Log)
	witness, _ := ParseKey(NewSigner("skein/2", [32]byte{2}).Keys.Cosign)
	data := AppendProof(nil, p)
	golden(t, "proof.tlog-proof", data)
	read, err := ParseProof(data)
	if err != nil {
		t.Fatal(err)
	}
	leaf, c, by, err := read.Verify(log, witness)
	if err != nil || c != l.now() || len(by) != 1 || !read.Opening.Opens(leaf) || read.Opening != p.Opening {
		t.Fatalf("%v, %v, %v", c, by, err)
	}
	for name, change := range map[string]func(p *Proof){
		"key": func(p *Proof) { p.Opening.Key += "x" },
		"bucket": func(p *Proof) {
			p.Opening.Bucket, p.Opening.Key = p.Opening.Bucket+p.Opening.Key[:1], p.Opening.Key[1:]
		},
		"value":  func(p *Proof) { p.Opening.Sum[0]++ },
		"salt":   func(p *Proof) { p.Opening.Salt[0]++ },
		"index":  func(p *Proof) { p.Index++ },
		"leaf":   func(p *Proof) { p.Leaf = bytes.Clone(p.Leaf); p.Leaf[5]++ },
		"hash":   func(p *Proof) { p.Hashes = append([]tlog.Hash{}, p.Hashes...); p.Hashes[2][0]++ },
		"no log": func(p *Proof) { p.Note = newTestLog("skein/1", 3).Sign(l.tree.Size(), l.tree.Root()) },
	} {
		bad := read
		change(&bad)
		if _, _, _, err := bad.Verify(log, witness); !errors.Is(err, ErrUnproven) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The leaf of a value holds nothing that can be compared with that of another leaf or log.
func TestLeavesRevealNothing(t *testing.T) {
	commit := func(secret byte, log string, index int64) Opening {
		return Opening{Salt: DeriveSalt([32]byte{secret}, log, index), Bucket: "b", Key: "k", Sum: sha256.Sum256([]byte("v"))}
	}
	seen := map[[32]byte]bool{}
	for _, o := range []Opening{commit(1, "a", 1), commit(1, "a", 2), commit(1, "b", 1), commit(2, "a", 1)} {
		for _, sum := range [][32]byte{o.CommitSubject(), o.CommitValue(), o.Salt} {
			if seen[sum] {
				t.Error("two leaves can be compared")
			}
			seen[sum] = true
		}
	}
}

func FuzzParseLeaf(f *testing.F) {
	leaf, _ := randomLeaf(rand.New(rand.NewPCG(1, 1)))
	f.Add(AppendLeaf(nil, leaf))
	f.Fuzz(func(t *testing.T, data []byte) {
		if l, err := ParseLeaf(data); err == nil && !bytes.Equal(AppendLeaf(nil, l), data) {
			t.Errorf("%x has another form", data)
		}
	})
}

func FuzzParseCheckpoint(f *testing.F) {
	f.Add(newTestLog("n", 1).now().Text())
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := ParseCheckpoint(text); err == nil && c.Text() != text {
			t.Errorf("%q has another form", text)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	k := NewSigner("n", [32]byte{}).Keys
	f.Add(k.Log)
	f.Add(k.Cosign)
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseKey(text)
		if _, _, err2 := ParseKeys(Keys{text, text}, k.name); err2 == nil {
			t.Errorf("%q is both keys", text)
		}
		if v, err2 := note.NewVerifier(text); err == nil && k.alg == 1 && (err2 != nil || v.Name() != k.name || v.KeyHash() != k.hash) {
			t.Errorf("%q is no key to the library: %v", text, err2)
		}
	})
}

func FuzzParseEntries(f *testing.F) {
	f.Add(AppendEntry(AppendEntry(nil, []byte("a")), nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := ParseEntries(data)
		var again []byte
		for _, e := range entries {
			again = AppendEntry(again, e)
		}
		if err == nil && (!bytes.Equal(again, data) || len(entries) > Width) {
			t.Errorf("%x has another form", data)
		}
	})
}

func FuzzParseProof(f *testing.F) {
	l, p := testProof(rand.New(rand.NewPCG(1, 1)))
	log, _ := ParseKey(l.Keys.Log)
	f.Add(AppendProof(nil, p))
	f.Fuzz(func(t *testing.T, data []byte) {
		q, err := ParseProof(data)
		if err == nil && !bytes.Equal(AppendProof(nil, q), data) {
			t.Errorf("%q has another form", data)
		}
		if leaf, _, _, err2 := q.Verify(log); err == nil && err2 == nil && !bytes.Equal(AppendLeaf(nil, leaf), l.entries[q.Index]) {
			t.Error("proven what is not in the log")
		}
	})
}

// Another log with tiles of its own is not that of the checkpoint.
func TestWholeRewriteIsFound(t *testing.T) {
	a, b := newTestLog("n", 1), newTestLog("n", 1)
	for i := range uint64(300) {
		a.add(binaryOf(i))
		b.add(binaryOf(i * i))
	}
	if err := VerifyAll(a.now(), b.read); !errors.Is(err, ErrUnproven) {
		t.Error(err)
	}
	if _, err := LoadTree(a.now(), b.read); !errors.Is(err, ErrUnproven) {
		t.Error(err)
	}
	if _, err := ProveLeaf(a.now(), 7, b.read); err == nil {
		t.Error("proven by tiles of another log")
	}
}

// A log signs for no other.
func TestOriginIsTheSigner(t *testing.T) {
	s := NewSigner("skein/1", [32]byte{1})
	log, _ := ParseKey(s.Keys.Log)
	text := Checkpoint{"skein/2", 5, tlog.Hash{}}.Text()
	msg := []byte(text + "\n" + s.formatSignature(1, s.log, ed25519.Sign(s.log, []byte(text))))
	if _, _, err := OpenNote(msg, log); !errors.Is(err, ErrUnproven) {
		t.Error(err)
	}
}

func TestChoiceOfWitnesses(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	var all []view.NodeID
	for range 50 {
		all = append(all, view.NodeID(r.Uint64()))
	}
	for _, node := range all {
		chosen := Choose(node, all, 8)
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		if len(chosen) != 8 || !slices.Equal(Choose(node, all, 8), chosen) {
			t.Fatal("the choice is not one of the set")
		}
		without := slices.DeleteFunc(slices.Clone(all), func(m view.NodeID) bool { return m == chosen[3] })
		if now := Choose(node, without, 8); !slices.Equal(now[:7], slices.Delete(slices.Clone(chosen), 3, 4)) {
			t.Fatal("who goes changes another")
		}
	}
	if got := Choose(1, all[:3], 8); len(got) != 3 {
		t.Error(got)
	}
}

// What PathsSince names is all that has changed, and enough to go on from a copy.
func TestCopyByPaths(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	l, copied := newTestLog("skein/00000000000000aa", 1), map[string][]byte{}
	for range 5 {
		from := l.tree.Size()
		for i := range uint64(r.IntN(700)) {
			l.add(binaryOf(i))
		}
		for _, path := range PathsSince(from, l.tree.Size()) {
			copied[path] = bytes.Clone(l.tiles[path])
		}
		read := func(path string) ([]byte, error) { return copied[path], nil }
		if err := VerifyAll(l.now(), read); err != nil {
			t.Fatal(err)
		}
	}
	if k, _ := ParseKey(l.Keys.Log); k.Path() != fmt.Sprintf("00000000000000aa-%08x/", k.hash) {
		t.Error(k.Path())
	}
}

// The last letter of a signature has two bits that mean nothing. They are zero.
func TestSignatureHasOneForm(t *testing.T) {
	s := NewSigner("skein/1", [32]byte{1})
	key, err := ParseKey(s.Keys.Log)
	if err != nil {
		t.Fatal(err)
	}
	note := s.Sign(0, (&Tree{}).Root())
	if _, _, err := OpenNote(note, key); err != nil {
		t.Fatal(err)
	}
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	last := bytes.LastIndexByte(note, '=') - 1
	note[last] = letters[strings.IndexByte(letters, note[last])+1]
	if _, _, err := OpenNote(note, key); !errors.Is(err, ErrMalformed) {
		t.Errorf("in another form: %v", err)
	}
}
