package mesh

import (
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/storage/file"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

var dirMesh = view.MeshID{7}

func openTestDir(fsys vfs.FS, storing bool) (*directory, error) {
	return openDir(fsys, "/data", dirMesh, storing, slog.New(slog.DiscardHandler))
}

// opened opens and closes the directory and returns the identity.
func opened(t *testing.T, fsys vfs.FS) wire.Identity {
	t.Helper()
	d, err := openTestDir(fsys, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.unlockDir(); err != nil {
		t.Fatal(err)
	}
	return d.id
}

func someEntry(id view.NodeID, status view.Status) roster.Entry {
	at := netip.MustParseAddrPort("10.0.0.9:7800")
	return roster.Entry{ID: id, Name: id.String(), Addr: at, Weight: 1, Storing: true, Status: status, HLC: 5, Boot: 1}
}

// said is the roster of one entry.
func said(t *testing.T, e roster.Entry) roster.Roster {
	t.Helper()
	r, _, err := roster.Roster{}.With(e)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// withRoster writes a roster as the last run would have left it.
func withRoster(t *testing.T, fsys vfs.FS, entries ...roster.Entry) {
	t.Helper()
	var r roster.Roster
	for _, e := range entries {
		r, _, _ = r.With(e)
	}
	d, err := openTestDir(fsys, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.writeRoster(r, nil), d.unlockDir()); err != nil {
		t.Fatal(err)
	}
}

func initialised(t *testing.T, fsys vfs.FS, id view.NodeID) {
	t.Helper()
	if err := file.Write(fsys, "/data/store/OWNER", wire.AppendOwner(nil, wire.Owner{Node: id, Initialised: true})); err != nil {
		t.Fatal(err)
	}
	put(t, fsys, "/data/store/MANIFEST-000001", "x")
}

func put(t *testing.T, fsys vfs.FS, path, content string) {
	t.Helper()
	f, err := fsys.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write([]byte(content))
	must(t, errors.Join(err, f.Sync(), f.Close(), file.SyncDir(fsys, fsys.PathDir(path))))
}

func TestDirectoryCountsBoots(t *testing.T) {
	fsys := vfs.NewMem()
	first := opened(t, fsys)
	if first.Boot != 1 || first.Node == 0 || first.Seed == [32]byte{} || first.Mesh != dirMesh {
		t.Fatalf("a new directory has identity %+v", first)
	}
	initialised(t, fsys, first.Node)
	for want := uint64(2); want < 5; want++ {
		next := opened(t, fsys)
		if next.Boot != want || next.Node != first.Node || next.Seed != first.Seed {
			t.Fatalf("start %d has identity %+v, the first had %+v", want, next, first)
		}
	}
}

func TestDirectoryIsLocked(t *testing.T) {
	for what, fsys := range map[string]vfs.FS{"memory": vfs.NewMem(), "disk": vfs.Default} {
		dir := "/data"
		if what == "disk" {
			dir = t.TempDir()
		}
		open := func() (*directory, error) { return openDir(fsys, dir, dirMesh, true, slog.New(slog.DiscardHandler)) }
		d, err := open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := open(); !errors.Is(err, ErrLocked) {
			t.Errorf("%s: open twice: %v, want ErrLocked", what, err)
		}
		if err := d.unlockDir(); err != nil {
			t.Fatal(err)
		}
		again, err := open()
		if err != nil || again.id.Node != d.id.Node || again.id.Boot != 2 {
			t.Errorf("%s: after that: %+v, %v", what, again, err)
		}
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	fsys := vfs.NewMem()
	want := opened(t, fsys)
	denied := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return &fs.PathError{Op: "write", Path: op.Path, Err: fs.ErrPermission}
		}
		return nil
	})
	if _, err := openTestDir(errorfs.Wrap(fsys, denied), true); !errors.Is(err, fs.ErrPermission) || errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "/data") {
		t.Errorf("read-only directory: %v", err)
	}
	if got := opened(t, fsys); got.Node != want.Node || got.Boot != 2 {
		t.Errorf("after that it is %+v", got)
	}
}

// Whatever cannot be one node's directory becomes a new node's; nothing is
// thrown away, and nothing of the old node is used on.
func TestDirectoryThatMustNotBeUsedOn(t *testing.T) {
	cases := map[string]struct {
		spoil  func(t *testing.T, fsys *vfs.MemFS, id wire.Identity)
		aside  []string // what is set aside, among others
		roster bool     // the roster survives
	}{
		"identity is missing": {func(t *testing.T, fsys *vfs.MemFS, _ wire.Identity) {
			must(t, fsys.Remove("/data/identity"))
		}, []string{"store"}, true},
		"identity is damaged": {func(t *testing.T, fsys *vfs.MemFS, _ wire.Identity) {
			put(t, fsys, "/data/identity", "SKEINFIL nothing")
		}, []string{"store", "identity"}, true},
		"identity is full of zeros": {func(t *testing.T, fsys *vfs.MemFS, _ wire.Identity) {
			put(t, fsys, "/data/identity", string(make([]byte, 128)))
		}, []string{"store", "identity"}, true},
		"store is missing": {func(t *testing.T, fsys *vfs.MemFS, _ wire.Identity) {
			must(t, fsys.RemoveAll("/data/store"))
		}, []string{"identity"}, true},
		"owner is missing": {func(t *testing.T, fsys *vfs.MemFS, _ wire.Identity) {
			must(t, fsys.Remove("/data/store/OWNER"))
		}, []string{"store", "identity"}, true},
		"owner is damaged": {func(t *testing.T, fsys *vfs.MemFS, _ wire.Identity) {
			put(t, fsys, "/data/store/OWNER", "?")
		}, []string{"store", "identity"}, true},
		"store of another node": {func(t *testing.T, fsys *vfs.MemFS, id wire.Identity) {
			initialised(t, fsys, id.Node+1)
		}, []string{"store", "identity"}, true},
		"store was wiped": {func(t *testing.T, fsys *vfs.MemFS, _ wire.Identity) {
			must(t, fsys.Remove("/data/store/MANIFEST-000001"))
		}, []string{"store", "identity"}, true},
		"node left": {func(t *testing.T, fsys *vfs.MemFS, _ wire.Identity) {
			d, err := openTestDir(fsys, true)
			must(t, err)
			must(t, d.endIdentity(wire.EndLeft))
			must(t, d.unlockDir())
		}, []string{"store", "identity"}, true},
		"roster says it was evicted": {func(t *testing.T, fsys *vfs.MemFS, id wire.Identity) {
			withRoster(t, fsys, someEntry(id.Node, view.Evicted), someEntry(99, view.Active))
		}, []string{"store", "identity"}, true},
	}
	for what, c := range cases {
		t.Run(strings.ReplaceAll(what, " ", "-"), func(t *testing.T) {
			fsys := vfs.NewMem()
			withRoster(t, fsys, someEntry(99, view.Active))
			old := opened(t, fsys)
			initialised(t, fsys, old.Node)
			put(t, fsys, "/data/store/000001.sst", "data")
			c.spoil(t, fsys, old)
			d, err := openTestDir(fsys, true)
			if err != nil {
				t.Fatal(err)
			}
			if d.id.Node == old.Node || d.id.Seed == old.Seed || d.id.Boot != 1 || d.id.End != wire.Running {
				t.Errorf("opened as %+v, was %+v", d.id, old)
			}
			if _, err := fsys.Stat("/data/store/000001.sst"); !errors.Is(err, fs.ErrNotExist) {
				t.Error("data of the old node is used on")
			}
			if _, known := d.roster.Get(99); known != c.roster {
				t.Errorf("the roster survived: %v, want %v", known, c.roster)
			}
			wantAside(t, fsys, c.aside)
			must(t, d.unlockDir())
			if next := opened(t, fsys); next.Node != d.id.Node || next.Boot != 2 {
				t.Errorf("the next start has %+v, want boot 2 of %v", next, d.id.Node)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantAside checks that some retired directory holds the names.
func wantAside(t *testing.T, fsys vfs.FS, names []string) {
	t.Helper()
	dirs, err := fsys.List("/data")
	must(t, err)
	for _, d := range dirs {
		if !strings.HasPrefix(d, "retired-") {
			continue
		}
		for _, n := range names {
			if _, err := fsys.Stat(fsys.PathJoin("/data", d, n)); err != nil {
				t.Errorf("%s is not in %s: %v", n, d, err)
			}
		}
		return
	}
	t.Errorf("nothing was set aside: %v", dirs)
}

func TestCorruptRosterIsSetAside(t *testing.T) {
	fsys := vfs.NewMem()
	withRoster(t, fsys, someEntry(99, view.Active))
	old := opened(t, fsys)
	put(t, fsys, "/data/roster", "SKEINFIL?")
	d, err := openTestDir(fsys, true)
	must(t, err)
	if d.id.Node != old.Node || d.id.Boot != old.Boot+1 || d.roster.Len() != 0 {
		t.Errorf("opened as %+v with %d entries", d.id, d.roster.Len())
	}
	wantAside(t, fsys, []string{"roster"})
}

func TestDirectoryOfAnotherKind(t *testing.T) {
	fsys := vfs.NewMem()
	old := opened(t, fsys)
	if _, err := openTestDir(fsys, false); !errors.Is(err, ErrOtherDir) {
		t.Errorf("a storing node's directory, opened by one that does not store: %v", err)
	}
	if _, err := openDir(fsys, "/data", view.MeshID{8}, true, slog.New(slog.DiscardHandler)); !errors.Is(err, ErrOtherMesh) {
		t.Errorf("the directory of another mesh: %v", err)
	}
	if next := opened(t, fsys); next.Node != old.Node || next.Boot != 2 {
		t.Errorf("after that it is %+v", next)
	}
	if _, err := openTestDir(fsys, false); err == nil || !strings.Contains(err.Error(), "Leave") {
		t.Errorf("the error does not tell what to do: %v", err)
	}
	plain := vfs.NewMem()
	d, err := openTestDir(plain, false)
	must(t, err)
	must(t, d.unlockDir())
	again, err := openTestDir(plain, false)
	if err != nil || again.id.Node != d.id.Node || again.id.Boot != 2 {
		t.Errorf("a node that does not store opens as %+v, %v", again, err)
	}
}

// A node that stored nothing may store: under a new id, with its roster, and what the
// old identity was stays to be looked at.
func TestNodeThatBeginsToStore(t *testing.T) {
	fsys := vfs.NewMem()
	plain, err := openTestDir(fsys, false)
	must(t, err)
	must(t, plain.writeRoster(roster.Roster{}, nil))
	must(t, plain.unlockDir())
	d, err := openTestDir(fsys, true)
	must(t, err)
	must(t, d.unlockDir())
	if d.id.Node == plain.id.Node || !d.id.Storing || d.id.Boot != 1 {
		t.Errorf("%+v after %+v", d.id, plain.id)
	}
	wantAside(t, fsys, []string{"identity"})
	if next := opened(t, fsys); next.Node != d.id.Node || next.Boot != 2 {
		t.Errorf("after that it is %+v", next)
	}
}

func TestNewerFormatIsLeftAlone(t *testing.T) {
	writes := map[string]func(t *testing.T, fsys vfs.FS){
		"identity": func(t *testing.T, fsys vfs.FS) {
			b := wire.AppendIdentity(nil, wire.Identity{Node: 1})
			b[0]++
			must(t, file.Write(fsys, "/data/identity", b))
		},
		"owner": func(t *testing.T, fsys vfs.FS) {
			b := wire.AppendOwner(nil, wire.Owner{Node: 1})
			b[0]++
			must(t, file.Write(fsys, "/data/store/OWNER", b))
		},
		"roster": func(t *testing.T, fsys vfs.FS) {
			b := wire.AppendRosterFile(nil, wire.RosterFile{Mesh: dirMesh, Places: []wire.Places{{ID: 2, Addrs: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:1")}}}})
			b[0]++
			must(t, file.Write(fsys, "/data/roster", b))
		},
	}
	for what, write := range writes {
		fsys := vfs.NewMem()
		opened(t, fsys)
		write(t, fsys)
		before := tree(t, fsys)
		if _, err := openTestDir(fsys, true); !errors.Is(err, ErrNewerFormat) {
			t.Errorf("%s of a newer format: %v, want ErrNewerFormat", what, err)
		}
		if after := tree(t, fsys); after != before {
			t.Errorf("%s of a newer format: the directory was changed from\n%s to\n%s", what, before, after)
		}
	}
}

// tree prints all files below /data with their content.
func tree(t *testing.T, fsys vfs.FS) string {
	t.Helper()
	var b strings.Builder
	var walk func(path string)
	walk = func(path string) {
		info, err := fsys.Stat(path)
		must(t, err)
		if !info.IsDir() {
			f, err := fsys.Open(path)
			must(t, err)
			content := make([]byte, info.Size())
			_, err = f.ReadAt(content, 0)
			must(t, errors.Join(err, f.Close()))
			b.WriteString(path + " " + string(content) + "\n")
			return
		}
		names, err := fsys.List(path)
		must(t, err)
		slices.Sort(names)
		for _, n := range names {
			if n != lockName {
				walk(fsys.PathJoin(path, n))
			}
		}
	}
	walk("/data")
	return b.String()
}

// Power is cut, or the disk fails, at every step of the first start, of a
// plain one and of one that sets data aside. The next start must give a
// usable node that never mixes two identities.
func TestDirectoryHalfWritten(t *testing.T) {
	prepare := map[string]func(t *testing.T, fsys *vfs.MemFS){
		"new": func(*testing.T, *vfs.MemFS) {},
		"old": func(t *testing.T, fsys *vfs.MemFS) { initialised(t, fsys, opened(t, fsys).Node) },
		"left": func(t *testing.T, fsys *vfs.MemFS) {
			d, err := openTestDir(fsys, true)
			must(t, err)
			initialised(t, fsys, d.id.Node)
			must(t, errors.Join(d.endIdentity(wire.EndLeft), d.unlockDir()))
		},
	}
	for what, before := range prepare {
		t.Run(what, func(t *testing.T) {
			for step := 0; ; step++ {
				fsys := vfs.NewCrashableMem()
				before(t, fsys)
				var last wire.Identity
				if what != "new" {
					last = identityOf(t, fsys)
				}
				writes := 0
				failing := errorfs.InjectorFunc(func(op errorfs.Op) error {
					if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
						return nil
					}
					if writes++; writes == step+1 {
						return errorfs.ErrInjected
					}
					return nil
				})
				d, err := openTestDir(errorfs.Wrap(fsys, failing), true)
				if err == nil {
					_ = d.unlockDir()
					if writes <= step {
						if step < 5 {
							t.Fatalf("only %d writes failed one by one", step)
						}
						return
					}
				}
				for _, unsynced := range []int{0, 50, 100} {
					disk := fsys.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: rand.New(rand.NewPCG(uint64(step), 1))})
					checkAfterCrash(t, disk, what, last, d, err)
				}
			}
		})
	}
}

func identityOf(t *testing.T, fsys vfs.FS) wire.Identity {
	t.Helper()
	b, err := file.Read(fsys, "/data/identity")
	must(t, err)
	id, err := wire.DecodeIdentity(b)
	must(t, err)
	return id
}

func checkAfterCrash(t *testing.T, disk *vfs.MemFS, what string, last wire.Identity, d *directory, openErr error) {
	t.Helper()
	got := opened(t, disk)
	if _, err := disk.Stat("/data/store/OWNER"); err != nil {
		t.Fatalf("store has no owner: %v", err)
	}
	switch {
	case openErr == nil && (got.Node != d.id.Node || got.Boot <= d.id.Boot):
		t.Fatalf("opened as %+v, and after a crash as %+v", d.id, got)
	case what == "old" && (got.Node != last.Node || got.Boot <= last.Boot):
		t.Fatalf("was %+v, is %+v", last, got)
	case what == "left" && got.Node == last.Node:
		t.Fatal("a node that left came back")
	}
	if what != "old" {
		if _, err := disk.Stat("/data/store/MANIFEST-000001"); err == nil {
			t.Fatal("a new identity got the data of the old one")
		}
	}
}

// A directory on a real file system that may not be written.
func TestReadOnlyDirectoryOnDisk(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write anywhere")
	}
	dir := filepath.Join(t.TempDir(), "ro")
	must(t, os.Mkdir(dir, 0o500))
	if _, err := openDir(vfs.Default, dir, dirMesh, true, slog.New(slog.DiscardHandler)); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("read-only directory: %v", err)
	}
}
