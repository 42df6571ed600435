package backup

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"filippo.io/age"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/retain"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// desk is one node that backs up sources, and no buckets.
type desk struct {
	t    *testing.T
	id   *age.X25519Identity
	tier *memory
	run  backupRun
	zero time.Time
}

func newDesk(t *testing.T, tier *memory, node view.NodeID, sources ...Source) *desk {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, id: id, tier: tier, zero: time.Now().Add(-time.Hour)}
	d.run = backupRun{
		mesh: view.MeshID{1}, node: node, policy: &Policy{Name: "p", Sources: sources}, tier: tier, key: ed25519.NewKeyFromSeed(make([]byte, 32)),
		store: &shelf{}, tell: func(Done) {}, enter: func(context.Context, string, [32]byte) {},
	}
	if d.run.chain, err = openChain(vfs.NewMem(), "dir", 1); err != nil {
		t.Fatal(err)
	}
	return d
}

// backUp makes a backup at a time, in seconds.
func (d *desk) backUp(at int) Done {
	d.t.Helper()
	r := d.run
	r.begun = d.timeOf(at)
	var err error
	if r.sealer, err = newSealer([]string{d.id.Recipient().String()}); err != nil {
		d.t.Fatal(err)
	}
	done, err := r.makeBackup(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	for name := range d.tier.objects {
		d.tier.times[name] = time.Time{} // a tier without dates
	}
	return done
}

// baseName returns that of the first segment of the first source.
func (d *desk) baseName() (name [16]byte) {
	c := d.run.chain
	if len(c.inventory.Slices) > 0 {
		name = c.state.Segments[c.inventory.Slices[0].Segments[0]].Name
	}
	return name
}

func (d *desk) timeOf(at int) time.Time { return d.zero.Add(time.Duration(at) * time.Second) }

func (d *desk) restoreConfig(source string) SourceConfig {
	return SourceConfig{Source: source, Tiers: []NamedTier{{"t", d.tier}}, Identities: []string{d.id.String()}}
}

// restore returns the files of a source as they were at a time; zero: now.
func (d *desk) restore(source string, by time.Time) map[string]string {
	d.t.Helper()
	out := map[string]string{}
	cfg := d.restoreConfig(source)
	cfg.By, cfg.Each = by, func(name string, data []byte) error {
		out[name] = string(data)
		return nil
	}
	got, err := RestoreSource(d.t.Context(), cfg)
	if err != nil || len(got.Lost)+len(got.Faults) > 0 || len(got.Files) != len(out) {
		d.t.Fatalf("%+v, %v", got, err)
	}
	return out
}

// given is a source of what files holds; nil bytes cannot be read.
func given(name string, files map[string][]byte) Source {
	return Source{Name: name, Read: func(_ context.Context, each func(string, io.Reader) error) (err error) {
		for _, name := range []string{"a", "b", "c/d", "c/e"} {
			data, ok := files[name]
			switch {
			case ok && data == nil:
				err = errors.Join(each(name, nil), ErrSkipped)
			case ok:
				err = errors.Join(err, each(name, bytes.NewReader(data)))
			}
		}
		return err
	}}
}

// Whatever becomes of files, what was backed up at any time comes back as it was; a file that could not be
// read is as it was before, and what has not changed is not written again.
func TestSourcesComeBackAsTheyWere(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		files, model := map[string][]byte{}, map[string]string{}
		d := newDesk(t, newMemory(), 7, given("s", files))
		var states []map[string]string
		for step := range 12 {
			for range r.IntN(3) {
				name := []string{"a", "b", "c/d", "c/e"}[r.IntN(4)]
				switch r.IntN(4) {
				case 0:
					delete(files, name)
				case 1:
					files[name] = nil
				case 2:
					files[name] = append([]byte{byte(step)}, bytes.Clone(files[name])...)
				default:
					files[name] = bytes.Repeat([]byte{byte(r.Uint32())}, r.IntN(2)*(r.IntN(3*pieceBytes)))
				}
			}
			wantFailed := false
			for _, name := range []string{"a", "b", "c/d", "c/e"} {
				data, ok := files[name]
				switch {
				case !ok:
					delete(model, name)
				case data != nil:
					model[name] = string(data)
				default:
					wantFailed = true
				}
			}
			before := d.baseName()
			done := d.backUp(step)
			if errors.Is(done.Failed, ErrSkipped) != wantFailed {
				t.Fatalf("seed %d, step %d: %v", seed, step, done.Failed)
			}
			if again := d.backUp(step); again.Changed+again.Records > 0 && len(d.run.chain.inventory.Slices[0].Deltas) > 0 {
				t.Errorf("seed %d, step %d: nothing has changed, and %+v is backed up", seed, step, again)
			}
			if d.baseName() != before { // a new base has not what cannot be read: the one before has
				for name, data := range files {
					if data == nil {
						delete(model, name)
					}
				}
			}
			states = append(states, maps.Clone(model))
		}
		for step, want := range states {
			if got := d.restore("s", d.timeOf(step).Add(500*time.Millisecond)); !maps.Equal(got, want) {
				t.Fatalf("seed %d, step %d: there are %d files, there were %d", seed, step, len(got), len(want))
			}
		}
	}
}

// spoiled is a directory of which files do not read as they should.
type spoiled struct {
	files fstest.MapFS
	fail  map[string]error
	read  func(name string)
}

func (s spoiled) Open(name string) (fs.File, error) {
	if err := s.fail[name]; err != nil {
		return nil, err
	}
	f, err := s.files.Open(name)
	if s.read != nil && err == nil && strings.HasPrefix(name, "log/") {
		return &spoiledFile{File: f, s: s, name: name}, nil
	}
	return f, err
}

type spoiledFile struct {
	fs.File
	s    spoiled
	name string
	eof  bool
}

func (f *spoiledFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	if n > 0 && !f.eof {
		f.eof = true
		f.s.read(f.name)
	}
	return n, err
}

func (f *spoiledFile) Stat() (fs.FileInfo, error) {
	if f.eof {
		return f.s.files.Stat(f.name)
	}
	return f.File.Stat()
}

type hugeInfo struct{ fs.FileInfo }

func (hugeInfo) Size() int64 { return MaxSource + 1 }

type hugeFile struct{ fs.File }

func (f hugeFile) Stat() (fs.FileInfo, error) {
	info, err := f.File.Stat()
	return hugeInfo{info}, err
}

type hugeDir struct{ spoiled }

func (h hugeDir) Open(name string) (fs.File, error) {
	f, err := h.spoiled.Open(name)
	if name == "core" && err == nil {
		f = hugeFile{f}
	}
	return f, err
}

// Files of a directory that change, go, grow or do not read meanwhile are told, and cost the others nothing.
func TestFilesOnABadDay(t *testing.T) {
	at := time.Unix(1000, 0)
	all := fstest.MapFS{
		"log/grows": {Data: []byte("one"), ModTime: at}, "log/changes": {Data: []byte("one"), ModTime: at}, "denied": {Data: []byte("v"), ModTime: at},
		"good": {Data: []byte("good"), ModTime: at}, "gone": {Data: []byte("v"), ModTime: at}, "core": {Data: []byte("small"), ModTime: at}, "link": {Mode: fs.ModeSymlink, Data: []byte("good")},
		"other.txt": {Data: []byte("x")},
	}
	dir := hugeDir{spoiled{files: all, fail: map[string]error{}}}
	d := newDesk(t, newMemory(), 7, Files("etc", &dir, "*[a-z]", "log/*"))
	delete(all, "link")
	dir.spoiled.fail["other.txt"] = fs.ErrNotExist
	core := all["core"]
	delete(all, "core")
	if done := d.backUp(0); done.Failed != nil {
		t.Fatal(done.Failed)
	}
	all["link"], all["core"] = &fstest.MapFile{Mode: fs.ModeSymlink, Data: []byte("good")}, core
	dir.fail["denied"], dir.fail["gone"] = fs.ErrPermission, fs.ErrNotExist
	dir.read = func(name string) {
		f := *all[name]
		f.ModTime = at.Add(time.Minute)
		if f.Data = []byte("two"); name == "log/grows" {
			f.Data = []byte("one and more")
		}
		all[name] = &f
	}
	done := d.backUp(1)
	for _, want := range []string{"log/changes was changed", "permission", "core: 2684", "link: L"} {
		if done.Failed == nil || !strings.Contains(done.Failed.Error(), want) {
			t.Errorf("%q is not told: %v", want, done.Failed)
		}
	}
	if strings.Contains(done.Failed.Error(), "grows") || strings.Contains(done.Failed.Error(), "gone") {
		t.Errorf("too much is told: %v", done.Failed)
	}
	want := map[string]string{"good": "good", "log/grows": "one", "log/changes": "one", "denied": "v"}
	if got := d.restore("etc", time.Time{}); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if m, _, err := readManifest(t.Context(), d.tier, objectID{mesh: d.run.mesh, point: retain.PointID{Node: 7, Chain: d.run.chain.state.Chain, Seq: d.run.chain.state.Sequence}}); err != nil || !m.Partial {
		t.Errorf("%+v, %v", m, err)
	}
	// Nor is one that does not read one without files.
	dir.fail["log"] = fs.ErrPermission
	if done := d.backUp(2); !errors.Is(done.Failed, fs.ErrPermission) {
		t.Errorf("%+v", done)
	}
	if got := d.restore("etc", time.Time{}); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	// A directory that is not there, as a disk that is not mounted, is not one without files.
	dir.fail["."] = fs.ErrNotExist
	if done := d.backUp(3); !errors.Is(done.Failed, fs.ErrNotExist) {
		t.Errorf("%+v", done)
	}
	if got := d.restore("etc", time.Time{}); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// A source that breaks off, or gives what cannot be, leaves what was there before, and harms no other.
func TestSourceThatBreaksOff(t *testing.T) {
	broken := errors.New("broken")
	for name, read := range map[string]func(each func(string, io.Reader) error) error{
		"an error": func(func(string, io.Reader) error) error { return broken },
		"within a file": func(each func(string, io.Reader) error) error {
			return each("a", io.MultiReader(strings.NewReader("x"), failing{broken}))
		},
		"and nothing is said": func(each func(string, io.Reader) error) error {
			_ = each("a", failing{io.ErrUnexpectedEOF})
			return nil
		},
		"a bad name": func(each func(string, io.Reader) error) error { return each("../a", strings.NewReader("x")) },
		"a long name": func(each func(string, io.Reader) error) error {
			return each(strings.Repeat("a", 513), strings.NewReader("x"))
		},
		"a zero in the name": func(each func(string, io.Reader) error) error { return each("a\x0000000000", strings.NewReader("x")) },
		"two of one name": func(each func(string, io.Reader) error) error {
			return errors.Join(each("a", strings.NewReader("x")), each("a", strings.NewReader("y")))
		},
		"without end": func(each func(string, io.Reader) error) error {
			return each("a", io.LimitReader(endless{}, MaxSource+1))
		},
		"too many": func(each func(string, io.Reader) error) error {
			var err error
			for i := 0; err == nil; i++ {
				err = each(fmt.Sprint(i), nil)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			good := given("s", map[string][]byte{"a": []byte("good")})
			bad := good
			bad.Read = func(_ context.Context, each func(string, io.Reader) error) error { return read(each) }
			other := given("t", map[string][]byte{"b": []byte("other")})
			d := newDesk(t, newMemory(), 7, good, other)
			d.backUp(0)
			d.run.policy = &Policy{Name: "p", Sources: []Source{bad, other}}
			if done := d.backUp(1); done.Failed == nil || !strings.Contains(done.Failed.Error(), `source "s"`) {
				t.Errorf("%+v", done)
			}
			if got := d.restore("s", time.Time{}); got["a"] != "good" || len(got) != 1 {
				t.Errorf("%v", got)
			}
			if got := d.restore("t", time.Time{}); got["b"] != "other" {
				t.Errorf("%v", got)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// Which node's files are meant is said, names and contents are sealed, and a damaged file is lost alone.
func TestSourcesOfSeveralNodes(t *testing.T) {
	tier := newMemory()
	d := newDesk(t, tier, 7, given("planted-name", map[string][]byte{"a": []byte("planted value"), "b": []byte("x")}))
	e := newDesk(t, tier, 8, given("planted-name", map[string][]byte{"a": []byte("of another")}))
	e.id = d.id
	d.backUp(0)
	e.backUp(0)
	cfg := d.restoreConfig("planted-name")
	if _, err := RestoreSource(t.Context(), cfg); !errors.Is(err, ErrManyNodes) {
		t.Errorf("of two nodes: %v", err)
	}
	cfg.Node = 8
	if got, err := RestoreSource(t.Context(), cfg); err != nil || got.Node != 8 || len(got.Files) != 1 || got.Files[0] != (RestoredFile{"a", 10}) {
		t.Errorf("%+v, %v", got, err)
	}
	cfg.Source = "other"
	if _, err := RestoreSource(t.Context(), cfg); !errors.Is(err, ErrNoBackup) {
		t.Errorf("of another source: %v", err)
	}
	_, err := RestoreSource(t.Context(), SourceConfig{})
	for _, want := range []string{"no identity", "no tier", `source ""`} {
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named: %v", want, err)
		}
	}
	for name, data := range tier.objects {
		if bytes.Contains(data, []byte("planted")) {
			t.Errorf("%s is legible", name)
		}
	}
	if got, err := Verify(t.Context(), VerifyConfig{Tiers: cfg.Tiers, Identities: cfg.Identities}); err != nil || len(got.Faults) > 0 || got.Points != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	if d, err := wire.DecodeBucketDef(sourceDef("s")); err == nil {
		t.Errorf("a source reads as the bucket %+v", d)
	}
	items := map[string]oldItem{"a": {item: wire.AppendSourceFile(nil, &wire.SourceFile{Size: 1, Pieces: 1})}, pieceKey("a", 0): {item: []byte("x")}}
	if _, err := joinPieces("a", items); !errors.Is(err, ErrChanged) {
		t.Errorf("with another hash: %v", err)
	}
	delete(items, pieceKey("a", 0))
	if _, err := joinPieces("a", items); err == nil {
		t.Error("a piece is not there, and nobody says so")
	}
}

// No name leads out of the directory that files are restored to.
func TestRestoreStaysInItsDirectory(t *testing.T) {
	outer := t.TempDir()
	dir := filepath.Join(outer, "in")
	into := IntoDirectory(dir)
	if err := errors.Join(into("a/b", []byte("one")), into("a/b", []byte("two")), into("c", nil)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("..", filepath.Join(dir, "up")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../x", "a/../../x", "/x", "", "up/x", filepath.Join(outer, "x"), "a/b/c"} {
		if err := into(name, []byte("x")); err == nil {
			t.Errorf("%q is written", name)
		}
	}
	var got []string
	_ = filepath.WalkDir(outer, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			got = append(got, path)
		}
		return nil
	})
	if data, err := os.ReadFile(filepath.Join(dir, "a/b")); len(got) != 2 || string(data) != "two" || err != nil {
		t.Errorf("%v, %q, %v", got, data, err)
	}
}

// A policy that names sources is about these, and about the buckets that it names.
func TestPolicyOfSources(t *testing.T) {
	for _, c := range []struct {
		policy Policy
		want   bool
	}{
		{Policy{}, true}, {Policy{Buckets: []string{"c"}}, false}, {Policy{Buckets: []string{"b"}}, true},
		{Policy{Sources: []Source{{}}}, false}, {Policy{Sources: []Source{{}}, Buckets: []string{"b"}}, true},
	} {
		if got := (&backupRun{policy: &c.policy}).selects("b"); got != c.want {
			t.Errorf("%+v: %v", c.policy, got)
		}
	}
	err := (&Config{Policies: []Policy{{Name: "p", Sources: []Source{{Name: "Bad"}, {Name: "x"}, {Name: "x"}}}}}).Validate()
	for _, want := range []string{`source "Bad": the name`, `"Bad": no Read`, `source "x" is named twice`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named: %v", want, err)
		}
	}
}
