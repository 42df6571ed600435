package former

import (
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/storage/file"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// newImporter is that of a node in a mesh, whose directory holds what others have left.
func newImporter(t *testing.T, fsys vfs.FS) *Importer {
	t.Helper()
	if err := fsys.MkdirAll("node", 0o700); err != nil {
		t.Fatal(err)
	}
	return New(Options{
		Self: 1, FS: fsys, Dir: "node", Log: slog.New(slog.DiscardHandler),
		View: func() view.View { return view.View{Self: 1, Mesh: view.MeshID{1}} },
	})
}

// leave makes the directory of a former identity.
func leave(t *testing.T, fsys vfs.FS, id wire.Identity) {
	t.Helper()
	dir := "node/" + wire.RetiredPrefix + id.Node.String()
	err := fsys.MkdirAll(dir+"/store", 0o700)
	if err == nil {
		err = file.Write(fsys, dir+"/identity", wire.AppendIdentity(nil, id))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A node that stores nothing says what lies there and takes nothing in; what was being
// removed goes.
func TestNodeThatStoresNothingTakesNothingIn(t *testing.T) {
	fsys := vfs.NewMem()
	im := newImporter(t, fsys)
	leave(t, fsys, wire.Identity{Node: 7, Mesh: view.MeshID{1}, Storing: true, Boot: 1})
	if err := fsys.MkdirAll("node/"+importedPrefix+"x/store", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := im.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	im.KeepImporting(t.Context()) // returns
	st := im.Status()
	if len(st.Stores) != 1 || !st.Stores[0].Unusable || st.Stores[0].Problem == "" || st.Outbox != nil {
		t.Errorf("%+v", st)
	}
	if _, err := fsys.Stat("node/" + importedPrefix + "x"); err == nil {
		t.Error("what was being removed is still there")
	}
	if _, err := fsys.Stat(st.Stores[0].Dir); err != nil {
		t.Error(err)
	}
}

// An old outbox is delivered only into the mesh that its node was in.
func TestWhoseOutboxIsDelivered(t *testing.T) {
	for name, c := range map[string]struct {
		id     wire.Identity
		usable bool
	}{
		"of this mesh":     {wire.Identity{Node: 7, Mesh: view.MeshID{1}, Boot: 1}, true},
		"of another mesh":  {wire.Identity{Node: 7, Mesh: view.MeshID{2}, Boot: 1}, false},
		"of one that kept": {wire.Identity{Node: 7, Mesh: view.MeshID{1}, Storing: true, Boot: 1}, false},
	} {
		fsys := vfs.NewMem()
		im := newImporter(t, fsys)
		leave(t, fsys, c.id)
		if box, err := im.findOutbox(); box != nil || err != nil {
			t.Errorf("%s: %+v, %v without an outbox", name, box, err)
		}
		if err := fsys.MkdirAll("node/"+OutboxName, 0o700); err != nil {
			t.Fatal(err)
		}
		box, err := im.findOutbox()
		if err != nil || box == nil || box.unusable == c.usable {
			t.Errorf("%s: %+v, %v", name, box, err)
		}
	}
}
