package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/former"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/storage/file"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// returns starts a node on the data directory of one that is down and gone for
// good, as mesh does: with a new NodeID, and what the old one has left set aside.
func (f *fakeNet) returns(old *fakeNode, end wire.End, change ...func(*Config)) *fakeNode {
	f.t.Helper()
	n := f.add(true)
	n.setAside(old.fs.(*vfs.MemFS), old.dir, old.id, end)
	n.open(change...)
	f.publish()
	return n
}

// setAside gives a node the directory of another identity.
func (n *fakeNode) setAside(fsys *vfs.MemFS, dir string, was view.NodeID, end wire.End) {
	n.net.t.Helper()
	n.fs, n.dir = fsys, dir
	aside := n.aside(was)
	must := func(err error) {
		n.net.t.Helper()
		if err != nil {
			n.net.t.Fatal(err)
		}
	}
	must(fsys.MkdirAll(aside, 0o700))
	must(fsys.Rename(dir+"/store", aside+"/store"))
	id := wire.Identity{Node: was, Mesh: view.MeshID{1}, Storing: true, Boot: 1, End: end}
	must(file.Write(fsys, aside+"/identity", wire.AppendIdentity(nil, id)))
	n.makeDir()
	must(file.SyncDir(fsys, aside))
	must(file.SyncDir(fsys, dir))
}

func (n *fakeNode) aside(was view.NodeID) string {
	return n.dir + "/" + wire.RetiredPrefix + was.String()
}

func (n *fakeNode) health(t *testing.T) Health {
	t.Helper()
	h, err := n.store.Health(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// wantTakenIn fails unless all that an identity had left is in the mesh, and the
// directory is gone.
func wantTakenIn(t *testing.T, n *fakeNode, was view.NodeID) {
	t.Helper()
	if h := n.health(t); h.Importing != 0 || h.ImportRefused != 0 {
		t.Errorf("%d to be taken in, %d refused: %q", h.Importing, h.ImportRefused, h.Problems)
	}
	if _, err := n.fs.Stat(n.aside(was)); err == nil {
		t.Errorf("%s is still there", n.aside(was))
	}
}

func closing(t *testing.T, n *fakeNode) {
	t.Helper()
	if err := n.store.Close(); err != nil {
		t.Error(err)
	}
	n.views.Close()
}

// apart writes to keys at a node that nobody else can reach.
func apart(t *testing.T, net *fakeNet, n *fakeNode, fn func()) {
	t.Helper()
	net.split(true, n.id)
	time.Sleep(time.Second)
	fn()
	n.kill()
	net.heal()
}

func putAlone(t *testing.T, b *Bucket, key, value string) {
	t.Helper()
	r, err := b.Put(context.Background(), key, []byte(value), nil)
	if r.Durable < 1 {
		t.Fatalf("put %s: %+v, %v", key, r, err)
	}
}

// A store that is evicted while it is cut off comes back under a new identity
// with writes that nobody else has: they are in the mesh then, and what it kept
// for others too.
func TestEvictedStoreBringsItsWrites(t *testing.T) {
	bubble(t, 5, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		const keys = 60
		had := make(map[int]bool) // keys of which the store in question is a home
		for i := range keys {
			mustPut(t, buckets[i%5], fmt.Sprint("k", i), "before")
			had[i] = slices.Contains(buckets[0].Homes(fmt.Sprint("k", i)), nodes[4].id)
		}
		time.Sleep(time.Second)
		apart(t, net, nodes[4], func() {
			for i := range keys {
				if i%2 == 0 {
					putAlone(t, buckets[4], fmt.Sprint("k", i), "alone")
				}
				putAlone(t, buckets[4], fmt.Sprint("new", i), "alone")
			}
		})
		net.status(nodes[4].id, view.Evicted)
		for i := range keys {
			if i%4 == 1 {
				mustPut(t, buckets[i%4], fmt.Sprint("k", i), "after")
			}
		}
		time.Sleep(time.Minute)
		n := net.returns(nodes[4], wire.EndEvicted)
		defer closing(t, n)
		time.Sleep(3 * time.Minute)
		wantTakenIn(t, n, nodes[4].id)
		for i := range keys {
			b := buckets[i%4]
			wantValue(t, b, fmt.Sprint("new", i), "alone")
			switch {
			case i%2 == 0 && had[i]:
				wantSiblings(t, b, fmt.Sprint("k", i), "alone") // which had seen what it replaced
			case i%2 == 0:
				wantValue(t, b, fmt.Sprint("k", i), "alone")
			case i%4 == 1:
				wantValue(t, b, fmt.Sprint("k", i), "after")
			default:
				wantValue(t, b, fmt.Sprint("k", i), "before")
			}
		}
		wantEqualHomes(t, append(stores(nodes), n.store)...)
	})
}

// Deletes that were forgotten while the store was out of the mesh stay deletes,
// keys that were created anew keep the new value, and a write that the delete had
// not seen outlives it.
func TestF2_11_EvictedStoreBringsNothingBack(t *testing.T) {
	bubble(t, 4, BucketConfig{Policy: Siblings}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		const keys = 30
		for i := range keys {
			mustPut(t, buckets[i%4], fmt.Sprint("k", i), "v1")
		}
		time.Sleep(time.Second)
		apart(t, net, nodes[3], func() { putAlone(t, buckets[3], "k7", "alone") })
		net.status(nodes[3].id, view.Evicted)
		time.Sleep(time.Second)
		for i := range keys {
			mustDelete(t, buckets[i%3], fmt.Sprint("k", i))
		}
		time.Sleep(time.Hour)
		wantRecords(t, nodes[:3], buckets[0], 0)
		for i := range keys {
			if i%3 == 0 {
				mustPut(t, buckets[i%3], fmt.Sprint("k", i), "again")
			}
		}
		n := net.returns(nodes[3], wire.EndEvicted)
		defer closing(t, n)
		time.Sleep(time.Hour)
		wantTakenIn(t, n, nodes[3].id)
		for i := range keys {
			key := fmt.Sprint("k", i)
			switch {
			case i == 7:
				wantSiblings(t, buckets[0], key, "alone")
			case i%3 == 0:
				wantSiblings(t, buckets[1], key, "again")
			default:
				wantNotFound(t, buckets[2], key)
			}
		}
		wantEqualHomes(t, append(stores(nodes), n.store)...)
	})
}

// wantSiblings checks all that is alive of a key.
func wantSiblings(t *testing.T, b *Bucket, key string, want ...string) {
	t.Helper()
	it, err := b.Get(context.Background(), key, &GetOptions{Level: Quorum})
	var got []string
	for _, v := range it.Siblings() {
		got = append(got, string(v))
	}
	slices.Sort(got)
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%s is %q, %v, want %q", key, got, err, want)
	}
}

// trimmed makes the stores forget what they know of purges.
func trimmed(t *testing.T, s *Store) {
	t.Helper()
	err := s.records.Update(context.Background(), "forget", func(tx keep.Tx) error {
		for shard := range s.shards {
			next := tx.Standing(shard)
			if next.From = next.Stamp.Acked; next.From == (purge.Round{}) {
				continue
			}
			if err := tx.Move(shard, next); err != nil {
				return err
			}
		}
		return nil
	})
	lower, upper := []byte{'p'}, []byte{'q'}
	var keys [][]byte
	err = errors.Join(err, s.disk.Scan(context.Background(), lower, upper, func(k, _ []byte) error {
		keys = append(keys, slices.Clone(k))
		return nil
	}))
	err = errors.Join(err, s.records.Update(context.Background(), "forget", func(tx keep.Tx) error {
		for _, k := range keys {
			if err := tx.Delete(k); err != nil {
				return err
			}
		}
		return nil
	}))
	if err != nil || len(keys) == 0 {
		t.Fatalf("%d entries forgotten, %v", len(keys), err)
	}
}

// Where nobody remembers far enough back, what may have been deleted stays
// where it is, listed and counted; what the mesh has anyway is no matter.
func TestShortLogRefusesOldData(t *testing.T) {
	bubble(t, 4, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		const keys = 40
		for i := range keys {
			mustPut(t, buckets[i%4], fmt.Sprint("k", i), "v1")
		}
		time.Sleep(time.Second)
		nodes[3].kill()
		net.status(nodes[3].id, view.Evicted)
		for i := range keys / 2 {
			mustDelete(t, buckets[i%3], fmt.Sprint("k", i))
		}
		time.Sleep(time.Hour)
		wantRecords(t, nodes[:3], buckets[0], 3*keys/2)
		for _, n := range nodes[:3] {
			trimmed(t, n.store)
		}
		n := net.returns(nodes[3], wire.EndEvicted)
		defer func() { closing(t, n) }()
		time.Sleep(time.Hour)
		h := n.health(t)
		if h.Importing != 0 || h.ImportRefused == 0 || !strings.Contains(strings.Join(wordsOf(h.Problems), "\n"), n.aside(nodes[3].id)) {
			t.Errorf("%d to be taken in, %d refused: %q", h.Importing, h.ImportRefused, h.Problems)
		}
		list := readText(t, n.fs, n.aside(nodes[3].id)+"/"+former.RefusedName)
		if got := strings.Count(list, "\tk") + strings.Count(list, "\t\"k"); got != h.ImportRefused {
			t.Errorf("%d refused, %d listed:\n%s", h.ImportRefused, got, list)
		}
		for i := range keys {
			if key := fmt.Sprint("k", i); i < keys/2 {
				wantNotFound(t, buckets[i%3], key)
			} else {
				wantValue(t, buckets[i%3], key, "v1")
				if strings.Contains(list, fmt.Sprintf("%q\n", key)) {
					t.Errorf("%s is listed, and in the mesh", key)
				}
			}
		}
		if _, err := inspect(context.Background(), n.fs, n.aside(nodes[3].id), func(Record) error { return nil }); err != nil {
			t.Errorf("what was refused cannot be looked at: %v", err)
		}
		refused := h.ImportRefused
		n.kill()
		n.restart()
		time.Sleep(time.Minute)
		if h := n.health(t); h.Importing != 0 || h.ImportRefused != refused {
			t.Errorf("after a restart %d to be taken in, %d refused, it was %d", h.Importing, h.ImportRefused, refused)
		}
		wantEqualHomes(t, append(stores(nodes), n.store)...)
	})
}

func readText(t *testing.T, fsys vfs.FS, path string) string {
	t.Helper()
	f, err := fsys.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	n, _ := f.Read(buf)
	return string(buf[:n])
}

// image is what the disk of a node holds now.
func (n *fakeNode) image() *vfs.MemFS {
	return n.fs.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{})
}

// A disk is put back to an older image and started out of reach: it gives dots
// out again that name other writes in the mesh. Once that is noticed, what it has
// written there comes in under new dots, nothing that was acknowledged is lost on
// either side, and what the image had from before is not brought back.
func TestF2_13_RolledBackStoreBringsItsWritesAnew(t *testing.T) {
	bubble(t, 4, BucketConfig{Policy: Siblings}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		const keys = 24
		last := nodes[3]
		var led []string // by the store in question: it gives out their dots
		for i := 0; len(led) < keys; i++ {
			if key := fmt.Sprint("k", i); buckets[0].Homes(key)[0] == last.id {
				led = append(led, key)
			}
		}
		key := func(i int) string { return led[i] }
		for i := range keys {
			mustPut(t, buckets[3], key(i), "common")
		}
		time.Sleep(time.Second)
		image := last.image()
		time.Sleep(time.Minute)
		for i := range keys {
			switch i % 4 {
			case 0: // overwritten here: the twin will give out the same dot again
				mustPut(t, buckets[3], key(i), "first")
			case 1:
				mustPut(t, buckets[3], key(i), "first")
				mustDelete(t, buckets[0], key(i))
			case 2:
				mustDelete(t, buckets[3], key(i))
			}
		}
		time.Sleep(2 * time.Hour)
		used := dots(t, stores(nodes)...)
		last.kill()
		time.Sleep(time.Minute)

		last.fs = image
		net.split(true, last.id)
		b := openBucket(t, last.restart(func(c *Config) { c.PurgeEvery = -1 }), "b", BucketConfig{Policy: Siblings})
		again := 0
		for i := range keys {
			if i%8 >= 4 {
				putAlone(t, b, key(i), "twin "+key(i))
			}
			putAlone(t, b, fmt.Sprint("new", i), "twin")
		}
		for d, v := range dots(t, last.store) {
			if was, ok := used[d]; ok && was != v {
				again++
			}
		}
		if again == 0 {
			t.Error("the test has no dot given out twice")
		}
		last.kill()
		net.heal()
		net.status(last.id, view.Evicted)
		n := net.returns(last, wire.EndRolled)
		defer closing(t, n)
		time.Sleep(time.Hour)
		wantTakenIn(t, n, last.id)
		for i := range keys {
			var want []string
			switch i % 4 {
			case 0:
				want = append(want, "first")
			case 3:
				want = append(want, "common")
			}
			if i%8 >= 4 {
				want = append(want, "twin "+key(i))
			}
			if len(want) == 0 {
				wantNotFound(t, buckets[0], key(i))
			} else {
				wantSiblings(t, buckets[i%3], key(i), want...)
			}
			wantSiblings(t, buckets[i%3], fmt.Sprint("new", i), "twin")
		}
		dots(t, append(stores(nodes[:3]), n.store)...)
		wantEqualHomes(t, append(stores(nodes[:3]), n.store)...)
	})
}

// dots lists the values that dots name in some stores, and fails if one names
// two.
func dots(t *testing.T, all ...*Store) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for _, s := range all {
		for k, it := range dump(t, s) {
			for _, sib := range it.Sibs {
				name := fmt.Sprint(k, sib.Dot)
				if v, ok := out[name]; ok && v != string(sib.Value) {
					t.Errorf("dot %v of %q names %q and %q", sib.Dot, k, v, sib.Value)
				}
				out[name] = string(sib.Value)
			}
		}
	}
	return out
}

// However often the node is killed while it takes in old data, all of it comes
// in, and nothing twice.
func TestImportGoesOnAfterAKill(t *testing.T) {
	for _, end := range []wire.End{wire.EndEvicted, wire.EndRolled} {
		t.Run(end.String(), func(t *testing.T) { testImportKilled(t, end) })
	}
}

func testImportKilled(t *testing.T, end wire.End) {
	bubble(t, 4, BucketConfig{Policy: Siblings}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		const keys = 300
		for i := range keys {
			mustPut(t, buckets[i%4], fmt.Sprint("k", i), "v")
		}
		time.Sleep(time.Second)
		apart(t, net, nodes[3], func() {
			for i := range keys {
				putAlone(t, buckets[3], fmt.Sprint("new", i), strings.Repeat("x", 500))
			}
		})
		net.status(nodes[3].id, view.Evicted)
		slow := func(c *Config) { c.TransferRate, c.SyncEvery = 20<<10, -1 }
		n := net.returns(nodes[3], end, slow)
		defer func() { closing(t, n) }()
		kills := 0
		for range 60 {
			time.Sleep(time.Second)
			if n.health(t).Importing == 0 {
				break
			}
			n.kill()
			n.restart(slow)
			kills++
		}
		if kills < 5 {
			t.Errorf("only %d kills", kills)
		}
		time.Sleep(time.Hour)
		wantTakenIn(t, n, nodes[3].id)
		for i := range keys {
			wantSiblings(t, buckets[i%3], fmt.Sprint("k", i), "v")
			wantSiblings(t, buckets[i%3], fmt.Sprint("new", i), strings.Repeat("x", 500))
		}
		wantEqualHomes(t, append(stores(nodes), n.store)...)
	})
}
