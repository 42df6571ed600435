package replica

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/replica/former"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/storage/file"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// files reads all that is in a directory.
func files(t *testing.T, fsys vfs.FS, dir string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	names, err := fsys.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := fsys.PathJoin(dir, fsys.PathBase(name))
		if st, err := fsys.Stat(path); err != nil {
			t.Fatal(err)
		} else if !st.IsDir() {
			out[path] = readText(t, fsys, path)
			continue
		}
		for k, v := range files(t, fsys, path) {
			out[k] = v
		}
	}
	return out
}

// wantFiles fails unless a directory holds what files has found in it before.
func wantFiles(t *testing.T, fsys vfs.FS, dir string, before map[string]string) {
	t.Helper()
	after := files(t, fsys, dir)
	for path := range after {
		if _, ok := before[path]; !ok {
			t.Errorf("%s was added", path)
		}
	}
	for path, text := range before {
		if now, ok := after[path]; !ok || now != text {
			t.Errorf("%s was changed", path)
		}
	}
}

// Old data that cannot be read as a whole, is of another mesh or of a newer
// release is left exactly as it is, and the store says so and works.
func TestOldDataThatIsLeftAsItIs(t *testing.T) {
	identity := func(n *fakeNode, was view.NodeID, change func(*wire.Identity)) error {
		id := wire.Identity{Node: was, Mesh: view.MeshID{1}, Storing: true, Boot: 1, End: wire.EndEvicted}
		change(&id)
		return file.Write(n.fs, n.aside(was)+"/identity", wire.AppendIdentity(nil, id))
	}
	const stranger = "nobody in contact can tell to which mesh it belongs"
	for words, spoil := range map[string]func(n *fakeNode, was view.NodeID) error{
		"of another mesh": func(n *fakeNode, was view.NodeID) error {
			return identity(n, was, func(id *wire.Identity) { id.Mesh = view.MeshID{2} })
		},
		"nobody can tell to which mesh it belongs": func(n *fakeNode, was view.NodeID) error {
			return errors.Join(n.fs.Remove(n.aside(was)+"/store/"+keep.OwnerFile), n.fs.Remove(n.aside(was)+"/identity"))
		},
		stranger: func(n *fakeNode, was view.NodeID) error {
			owner := wire.AppendOwner(nil, wire.Owner{Node: 77, Initialised: true})
			if err := file.Write(n.fs, n.aside(was)+"/store/"+keep.OwnerFile, owner); err != nil {
				return err
			}
			return n.fs.Remove(n.aside(was) + "/identity")
		},
		"newer release": func(n *fakeNode, was view.NodeID) error {
			return file.Write(n.fs, n.aside(was)+"/store/FORMAT", []byte("skein store 2"))
		},
		"damaged as a whole": func(n *fakeNode, was view.NodeID) error {
			return n.fs.Remove(n.aside(was) + "/store/FORMAT")
		},
	} {
		t.Run(words, func(t *testing.T) {
			bubble(t, 3, BucketConfig{Copies: 1, MinDurable: 1}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
				mustPut(t, buckets[2], "k", "v")
				nodes[2].kill()
				net.status(nodes[2].id, view.Evicted)
				n := net.add(true)
				n.setAside(nodes[2].fs.(*vfs.MemFS), nodes[2].dir, nodes[2].id, wire.EndEvicted)
				if err := spoil(n, nodes[2].id); err != nil {
					t.Fatal(err)
				}
				before := files(t, n.fs, n.aside(nodes[2].id))
				n.open()
				defer closing(t, n)
				net.publish()
				time.Sleep(time.Hour)
				h := n.health(t)
				if got := strings.Join(wordsOf(h.Problems), "\n"); (h.Importing != 0) != (words == stranger) || !strings.Contains(got, words) || !strings.Contains(got, n.aside(nodes[2].id)) {
					t.Errorf("%d to be taken in: %q", h.Importing, got)
				}
				wantFiles(t, n.fs, n.aside(nodes[2].id), before)
				mustPut(t, openBucket(t, n.store, "b", BucketConfig{Copies: 1, MinDurable: 1}), "other", "v")
			})
		})
	}
}

// A damaged record of old data is named, and keeps the directory; the rest comes
// in. Nothing is written into the old store meanwhile.
func TestDamagedOldRecordIsNamed(t *testing.T) {
	bubble(t, 3, BucketConfig{Copies: 1, MinDurable: 1}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		apart(t, net, nodes[2], func() {
			putAlone(t, buckets[2], "good", "v")
			putAlone(t, buckets[2], "bad", "v")
		})
		net.status(nodes[2].id, view.Evicted)
		at := nodes[0].store.homes.LocateKey(buckets[0].b.ID, "bad")
		n := net.add(true)
		n.setAside(nodes[2].fs.(*vfs.MemFS), nodes[2].dir, nodes[2].id, wire.EndEvicted)
		disk, err := storage.Open(storage.Options{FS: n.fs, Dir: n.aside(nodes[2].id) + "/store", Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		if err := disk.Update(ctx, func(tx *storage.Tx) error { return tx.Set(at.Record, []byte{1}) }); err != nil {
			t.Fatal(err)
		}
		if err := disk.Close(); err != nil {
			t.Fatal(err)
		}
		before := files(t, n.fs, n.aside(nodes[2].id)+"/store")
		n.open()
		defer func() { closing(t, n) }()
		net.publish()
		time.Sleep(time.Minute)
		wantFiles(t, n.fs, n.aside(nodes[2].id)+"/store", before)
		for range 2 {
			wantValue(t, buckets[0], "good", "v")
			h := n.health(t)
			if got := strings.Join(wordsOf(h.Problems), "\n"); h.Importing != 0 || !strings.Contains(got, "1 records in "+n.aside(nodes[2].id)+" do not read") {
				t.Errorf("%d to be taken in: %q", h.Importing, got)
			}
			if list := readText(t, n.fs, n.aside(nodes[2].id)+"/"+former.RefusedName); !strings.Contains(list, `"bad"`) || strings.Contains(list, `"good"`) {
				t.Errorf("listed: %s", list)
			}
			n.kill()
			n.restart()
			time.Sleep(time.Minute)
		}
	})
}

// While the homes are out of reach old data waits, and the store says for whom.
func TestOldDataWaitsForHomes(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		apart(t, net, nodes[2], func() { putAlone(t, buckets[2], "k", "alone") })
		net.status(nodes[2].id, view.Evicted)
		n := net.add(true)
		net.split(true, n.id)
		n.setAside(nodes[2].fs.(*vfs.MemFS), nodes[2].dir, nodes[2].id, wire.EndEvicted)
		n.open()
		defer closing(t, n)
		net.publish()
		time.Sleep(time.Hour)
		h := n.health(t)
		if got := strings.Join(wordsOf(h.Problems), "\n"); h.Importing == 0 || !strings.Contains(got, "has to wait") || !strings.Contains(got, "node-"+nodes[0].id.String()) {
			t.Errorf("%d to be taken in: %q", h.Importing, got)
		}
		if _, err := n.fs.Stat(n.aside(nodes[2].id)); err != nil {
			t.Error(err)
		}
		net.heal()
		time.Sleep(time.Minute)
		wantTakenIn(t, n, nodes[2].id)
		wantValue(t, buckets[1], "k", "alone")
	})
}

// Old data stays until more than half of the homes have synced what it holds; what
// is written anew meanwhile is written once.
func TestOldDataStaysUntilHomesHaveIt(t *testing.T) {
	for _, end := range []wire.End{wire.EndEvicted, wire.EndRolled} {
		t.Run(end.String(), func(t *testing.T) {
			disks := make([]*fullFS, 3)
			bubbleOn(t, 3, BucketConfig{Copies: 1, MinDurable: 1, Policy: Siblings}, func(i int, n *fakeNode, c *Config) {
				disks[i] = &fullFS{FS: n.fs}
				c.fs, c.ReserveBytes = disks[i], 16<<20
			}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
				const keys = 30
				apart(t, net, nodes[2], func() {
					for i := range keys {
						putAlone(t, buckets[2], fmt.Sprint("k", i), "alone")
					}
				})
				net.status(nodes[2].id, view.Evicted)
				fillUp(disks[:2]...)
				n := net.returns(nodes[2], end)
				defer closing(t, n)
				time.Sleep(10 * time.Minute)
				if h := n.health(t); h.Importing == 0 {
					t.Error("all is said to be taken in by homes without room")
				}
				if _, err := n.fs.Stat(n.aside(nodes[2].id)); err != nil {
					t.Error(err)
				}
				disks[0].full.Store(false)
				disks[1].full.Store(false)
				time.Sleep(10 * time.Minute)
				wantTakenIn(t, n, nodes[2].id)
				for i := range keys {
					wantSiblings(t, buckets[i%2], fmt.Sprint("k", i), "alone")
				}
			})
		})
	}
}

// Those in contact do not remember far enough back, but one that is away may:
// nothing is refused before it was asked.
func TestOldDataWaitsForALog(t *testing.T) {
	bubble(t, 4, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		const keys = 20
		for i := range keys {
			mustPut(t, buckets[i%4], fmt.Sprint("k", i), "v1")
		}
		time.Sleep(time.Second)
		nodes[3].kill()
		net.status(nodes[3].id, view.Evicted)
		for i := range keys {
			mustDelete(t, buckets[i%3], fmt.Sprint("k", i))
		}
		time.Sleep(time.Hour)
		wantRecords(t, nodes[:3], buckets[0], 0)
		nodes[2].kill()
		trimmed(t, nodes[0].store)
		trimmed(t, nodes[1].store)
		n := net.returns(nodes[3], wire.EndEvicted)
		defer closing(t, n)
		time.Sleep(time.Hour)
		h := n.health(t)
		if got := strings.Join(wordsOf(h.Problems), "\n"); h.Importing == 0 || h.ImportRefused != 0 || !strings.Contains(got, "node-"+nodes[2].id.String()) {
			t.Errorf("%d to be taken in, %d refused: %q", h.Importing, h.ImportRefused, got)
		}
		nodes[2].restart()
		time.Sleep(time.Hour)
		wantTakenIn(t, n, nodes[3].id)
		for i := range keys {
			wantNotFound(t, buckets[i%2], fmt.Sprint("k", i))
		}
	})
}

// What waits in the outbox of a node that stored nothing, was evicted and comes
// back as one that stores is delivered, but for what a later leader has overtaken.
func TestFormerOutboxIsDelivered(t *testing.T) {
	bubble(t, 3, BucketConfig{Policy: Siblings}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		mustPut(t, buckets[0], "gone", "v")
		camera := net.add(false)
		camera.open()
		net.publish()
		b := openBucket(t, camera.store, "b", BucketConfig{Policy: Siblings})
		seen, err := b.Get(context.Background(), "gone", nil)
		if err != nil {
			t.Fatal(err)
		}
		apart(t, net, camera, func() {
			for i := range 20 {
				for _, v := range []string{"one", "two"} { // the second replaces the first
					if r, err := b.Put(context.Background(), fmt.Sprint("k", i), []byte(v), nil); !r.Queued {
						t.Fatal(r, err)
					}
				}
			}
			for key, lead := range map[string]uint64{"overtaken": 5, "led": 6} {
				if r, err := b.Put(context.Background(), key, []byte("v"), &PutOptions{Token: term(lead)}); !r.Queued {
					t.Fatal(r, err)
				}
			}
			mustLead(t, buckets[0], "overtaken", "later", term(6))
			if r, err := b.Delete(context.Background(), "gone", &DeleteOptions{Context: seen.Context}); !r.Queued {
				t.Fatal(r, err)
			}
		})
		held := make(chan struct{}) // or all may be delivered before it is looked at
		net.watchCalls(func(string) { <-held })
		n := net.storesNow(camera, view.MeshID{1})
		defer closing(t, n)
		if n.health(t).Importing == 0 {
			t.Error("nothing is said of what waits")
		}
		close(held)
		net.watchCalls(nil)
		net.publish()
		time.Sleep(time.Minute)
		if h := n.health(t); h.Importing != 0 {
			t.Errorf("%d to be taken in: %q", h.Importing, h.Problems)
		}
		if _, err := n.fs.Stat(n.dir + "/" + former.OutboxName); err == nil {
			t.Error("the outbox is still there")
		}
		for i := range 20 {
			wantSiblings(t, buckets[i%3], fmt.Sprint("k", i), "two")
		}
		wantNotFound(t, buckets[1], "gone")
		wantSiblings(t, buckets[1], "overtaken", "later")
		_, err = buckets[1].Put(context.Background(), "led", nil, nil)
		wantFenced(t, err, term(6))
	})
}

// storesNow starts a node that stores on the directory of one that did not, and
// was evicted.
func (f *fakeNet) storesNow(was *fakeNode, mesh view.MeshID) *fakeNode {
	f.t.Helper()
	f.status(was.id, view.Evicted)
	n := f.add(true)
	n.fs, n.dir = was.fs, was.dir
	id := wire.Identity{Node: was.id, Mesh: mesh, Boot: 1, End: wire.EndEvicted}
	err := n.fs.MkdirAll(n.aside(was.id), 0o700)
	if err == nil {
		err = file.Write(n.fs, n.aside(was.id)+"/identity", wire.AppendIdentity(nil, id))
	}
	if err != nil {
		f.t.Fatal(err)
	}
	n.makeDir()
	n.open()
	return n
}

func TestFormerOutboxOfAnotherMesh(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		camera := net.add(false)
		camera.open()
		net.publish()
		b := openBucket(t, camera.store, "b", BucketConfig{})
		apart(t, net, camera, func() {
			if r, err := b.Put(context.Background(), "k", []byte("v"), nil); !r.Queued {
				t.Fatal(r, err)
			}
		})
		n := net.storesNow(camera, view.MeshID{2})
		defer closing(t, n)
		net.publish()
		time.Sleep(time.Hour)
		if h := n.health(t); !strings.Contains(strings.Join(wordsOf(h.Problems), "\n"), n.dir+"/"+former.OutboxName) {
			t.Errorf("nothing is said of it: %q", h.Problems)
		}
		if _, err := n.fs.Stat(n.dir + "/" + former.OutboxName); err != nil {
			t.Error(err)
		}
		wantNotFound(t, buckets[1], "k")
	})
}
