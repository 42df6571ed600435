package replica

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
)

// flipTable changes one bit of the largest table of a node, so far into it as a fraction
// says. A node that runs sees it with what it reads from there next.
func flipTable(t *testing.T, n *fakeNode, fraction float64) {
	t.Helper()
	dir := path.Join(n.dir, "store")
	names, err := n.fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	var best string
	var size int64
	for _, name := range names {
		info, err := n.fs.Stat(path.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".sst") && info.Size() > size {
			best, size = path.Join(dir, name), info.Size()
		}
	}
	if size == 0 {
		t.Fatal("no table")
	}
	f, err := n.fs.OpenReadWrite(best, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	one, at := make([]byte, 1), int64(float64(size)*fraction)
	_, err = f.ReadAt(one, at)
	one[0] ^= 4
	_, err2 := f.WriteAt(one, at)
	if err := errors.Join(err, err2, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// damage has a node's records in a table, one bit of which is flipped.
func damage(t *testing.T, n *fakeNode, fraction float64) {
	t.Helper()
	n.kill()
	n.restart(never) // what was in the log goes into a table
	n.kill()
	flipTable(t, n, fraction)
}

func fillRandom(t *testing.T, b *Bucket, records int) map[string]string {
	t.Helper()
	r := rand.New(rand.NewPCG(4, 8))
	want := make(map[string]string)
	for i := range records {
		key, value := fmt.Sprintf("k%03d", i), make([]byte, 500)
		for j := range value {
			value[j] = byte(r.Uint32())
		}
		mustPut(t, b, key, string(value))
		want[key] = string(value)
	}
	return want
}

// A bit flips in a table of one home. Whatever was acknowledged is read all the
// time, nothing deleted is back, and soon the home holds all of it again.
func TestFlippedBitInTable(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		want := fillRandom(t, buckets[0], 600)
		for i := 0; i < 600; i += 9 {
			key := fmt.Sprintf("k%03d", i)
			if _, err := buckets[0].Delete(context.Background(), key, nil); err != nil {
				t.Fatal(err)
			}
			delete(want, key)
		}
		n := nodes[1]
		damage(t, n, 0.5)
		n.restart(never)
		buckets[1] = openBucket(t, n.store, "b", BucketConfig{})
		for range 3 {
			for key, value := range want {
				for _, b := range buckets {
					wantValue(t, b, key, value)
				}
			}
			time.Sleep(20 * time.Second)
		}
		if st := n.store.disk.Stats(); st.GivenUp == 0 || st.Damaged != 0 {
			t.Fatalf("nothing given up: %+v", st)
		}
		for i := range 600 {
			key := fmt.Sprintf("k%03d", i)
			rec, err := n.store.records.Load(context.Background(), n.store.homes.LocateKey(buckets[1].b.ID, key))
			if err != nil || rec.Unknown() {
				t.Errorf("%s is not back: %v", key, err)
			}
			if _, ok := want[key]; !ok {
				wantNotFound(t, buckets[1], key)
			}
		}
		for i, b := range buckets {
			mine, err := b.Digests(context.Background())
			theirs, err2 := buckets[0].Digests(context.Background())
			if err := errors.Join(err, err2); err != nil || fmt.Sprint(mine) != fmt.Sprint(theirs) {
				t.Errorf("node %d differs: %v", i, err)
			}
		}
		h, err := n.store.Health(context.Background())
		if err != nil || !slices.ContainsFunc(wordsOf(h.Problems), func(p string) bool { return strings.Contains(p, "did not read and were given up") }) {
			t.Errorf("health: %q, %v", h.Problems, err)
		}
		if h.Syncing != 0 {
			t.Errorf("%d shards are still catching up", h.Syncing)
		}
		time.Sleep(8 * 24 * time.Hour)
		if n.store.records.Scrubs() == 0 {
			t.Error("no scrub has come to its end")
		}
	})
}

// A table rots under a store that has caught up with all. What it gives up is brought by the
// others at once, though it compares with nobody by chance.
func TestRotUnderARunningStore(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		const records = 6000 // more than the memory holds
		want := fillRandom(t, buckets[0], records)
		n := nodes[1]
		n.kill()
		n.restart(never, func(c *Config) { c.memory = func() uint64 { return 0 } }) // what was in the log goes into a table
		b := openBucket(t, n.store, "b", BucketConfig{})
		time.Sleep(time.Minute)
		if h, err := n.store.Health(context.Background()); err != nil || h.Syncing != 0 {
			t.Fatalf("not settled: %d, %v", h.Syncing, err)
		}
		flipTable(t, n, 0.5)
		for key := range want {
			_, _ = b.Get(context.Background(), key, &GetOptions{Level: One})
		}
		time.Sleep(20 * time.Second)
		if st := n.store.disk.Stats(); st.GivenUp == 0 {
			t.Fatalf("nothing given up: %+v", st)
		}
		h, err := n.store.Health(context.Background())
		if err != nil || h.Syncing != 0 {
			t.Errorf("%d shards are still catching up, %v", h.Syncing, err)
		}
		for key := range want {
			rec, err := n.store.records.Load(context.Background(), n.store.homes.LocateKey(b.b.ID, key))
			if err != nil || rec.Unknown() {
				t.Errorf("%s is not back: %v", key, err)
			}
		}
	})
}

// A home that has given up records and meets nobody does not say that they do not
// exist, nor after a restart.
func TestLossIsNoAbsence(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		want := fillRandom(t, buckets[0], 600)
		time.Sleep(20 * time.Second)
		n := nodes[1]
		damage(t, n, 0.5)
		net.split(true, n.id)
		n.restart(never)
		for round := range 2 {
			b := openBucket(t, n.store, "b", BucketConfig{})
			for range 2 { // the first comes across it
				for key := range want {
					_, _ = b.Get(context.Background(), key, &GetOptions{Level: One})
				}
				_ = n.store.disk.Scan(context.Background(), nil, nil, func(_, _ []byte) error { return nil })
				time.Sleep(20 * time.Second)
			}
			if round == 0 && n.store.disk.Stats().GivenUp == 0 {
				t.Fatal("nothing given up")
			}
			missing := 0
			for key := range want {
				it, err := b.Get(context.Background(), key, &GetOptions{Level: One})
				if err == nil {
					if v, ok := it.Value(); !ok || string(v) != want[key] {
						t.Errorf("%s reads as %.10q", key, v)
					}
					continue
				}
				if missing++; !errors.Is(err, ErrDegraded) {
					t.Errorf("round %d: %s: %v", round, key, err)
				}
			}
			if missing == 0 {
				t.Fatal("nothing is missing")
			}
			n.kill()
			n.restart(never)
		}
		net.heal()
		b := openBucket(t, n.store, "b", BucketConfig{})
		time.Sleep(time.Minute)
		for key, value := range want {
			wantValue(t, b, key, value)
		}
	})
}

// Where all of a store is in one block, it opens or says what to do.
func TestFlippedBitInSmallStore(t *testing.T) {
	for _, fraction := range []float64{0.02, 0.3, 0.6, 0.9, 0.99} {
		t.Run(fmt.Sprint(fraction), func(t *testing.T) {
			bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
				value := strings.Repeat("v", 500)
				for i := range 200 {
					mustPut(t, buckets[0], fmt.Sprintf("k%03d", i), value)
				}
				n := nodes[1]
				damage(t, n, fraction)
				s, err := Open(context.Background(), Config{Mesh: n, fs: n.fs, clock: n.clock, boot: "boot", ReserveBytes: -1, CacheBytes: 1 << 20})
				if err != nil {
					n.mu.Lock()
					n.reset()
					n.mu.Unlock()
					if !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), "start the node with an empty directory under the same name") {
						t.Errorf("refused without a word of what to do: %v", err)
					}
					for i := range 200 {
						wantValue(t, buckets[0], fmt.Sprintf("k%03d", i), value)
					}
					return
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				n.restart(never)
				time.Sleep(time.Minute)
				b := openBucket(t, n.store, "b", BucketConfig{})
				for i := range 200 {
					wantValue(t, b, fmt.Sprintf("k%03d", i), value)
					rec, err := n.store.records.Load(context.Background(), n.store.homes.LocateKey(b.b.ID, fmt.Sprintf("k%03d", i)))
					if err != nil || rec.Unknown() {
						t.Errorf("k%03d is not back: %v", i, err)
					}
				}
			})
		})
	}
}

// loseNow has a store told of a loss, as the storage does it.
func loseNow(t *testing.T, s *Store, lower, upper []byte, gone ...[]byte) {
	t.Helper()
	var then func()
	err := s.disk.Update(context.Background(), func(tx *storage.Tx) (err error) {
		then, err = s.handleLoss(tx, lower, upper)
		for _, key := range gone {
			err = errors.Join(err, tx.Delete(key))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	then()
}

// What was found equal before a loss proves nothing after it.
func TestLossVoidsComparisons(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		mustPut(t, buckets[0], "k", "v")
		time.Sleep(20 * time.Second)
		s, b := nodes[1].store, buckets[1].b
		at := s.homes.LocateKey(b.ID, "k")
		if !b.ProvesAbsence(at.Shard) {
			t.Fatal("not ready to begin with")
		}
		net.split(true, nodes[1].id)
		time.Sleep(10 * time.Second)
		before := s.homes.Losses()
		lower, upper := wire.RecordRange()
		loseNow(t, s, lower, upper, at.Record)
		if b.ProvesAbsence(at.Shard) || b.SeasonedBits(s.shards)[at.Shard/8]>>(at.Shard%8)&1 == 1 {
			t.Error("the shard is still vouched for")
		}
		all := make([]byte, s.shards)
		for i := range all {
			all[i] = 0xff
		}
		for _, peer := range []int{0, 2} {
			s.records.NoteEqual(context.Background(), s.homes.Now(), before, nodes[peer].id, []layout.Slice{at.Slice}, all)
		}
		if b.ProvesAbsence(at.Shard) {
			t.Error("a comparison that began before the loss counts")
		}
		note, err := s.disk.Get(context.Background(), wire.MetaKey(fmt.Sprintf("settled/%016x", b.ID)))
		if err != nil || s.homes.ReadSettled(note)(at.Shard) {
			t.Error("a restart would make it ready")
		}
		net.heal()
		time.Sleep(time.Minute)
		if rec, err := s.records.Load(context.Background(), at); err != nil || rec.Unknown() || !b.ProvesAbsence(at.Shard) {
			t.Errorf("not back: %v", err)
		}
	})
}

// Index entries that are lost are made anew: what is kept for a node that was down
// gets there.
func TestLossOfIndex(t *testing.T) {
	bubble(t, 4, BucketConfig{Copies: 2}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		key := ""
		for i := 0; key == ""; i++ {
			k := fmt.Sprintf("k%d", i)
			if homes := buckets[0].Homes(k); homes[0] == nodes[0].id && homes[1] == nodes[1].id {
				key = k
			}
		}
		nodes[1].kill()
		mustPut(t, buckets[0], key, "v")
		time.Sleep(3 * time.Second)
		lost := 0
		for _, n := range []*fakeNode{nodes[0], nodes[2], nodes[3]} {
			var gone [][]byte
			lower, upper := wire.IndexRange(wire.IndexHint, nodes[1].id)
			if err := n.store.disk.Scan(context.Background(), lower, upper, func(k, _ []byte) error {
				gone = append(gone, slices.Clone(k))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			lost += len(gone)
			lower, upper = wire.IndexBounds()
			loseNow(t, n.store, lower, upper, gone...)
			time.Sleep(time.Second)
			again := 0
			lower, upper = wire.IndexRange(wire.IndexHint, nodes[1].id)
			if err := n.store.disk.Scan(context.Background(), lower, upper, func(_, _ []byte) error { again++; return nil }); err != nil || again != len(gone) {
				t.Errorf("%d entries again of %d, %v", again, len(gone), err)
			}
			if _, err := n.store.disk.Get(context.Background(), wire.MetaKey("reindex")); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("still to be done: %v", err)
			}
		}
		if lost == 0 {
			t.Fatal("no hint was kept")
		}
		nodes[1].restart(never)
	})
}

// A log of purges that has lost entries is whole only after the last round, and
// who was reading a peer's begins again.
func TestLossOfPurgeLog(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		mustPut(t, buckets[0], "k", "v")
		if _, err := buckets[0].Delete(context.Background(), "k", nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Minute)
		s := nodes[0].store
		shard := s.homes.LocateKey(buckets[0].b.ID, "k").Shard
		before := s.records.SyncedStanding(shard)
		if before.Stamp.Acked == before.From {
			t.Fatalf("nothing was purged: %+v", before)
		}
		lower, upper := wire.LogRange(shard)
		loseNow(t, s, lower, upper)
		now := s.records.SyncedStanding(shard)
		if now.From != now.Stamp.Acked || now.Stamp != before.Stamp {
			t.Errorf("the log is whole after %v, the last round is %v", now.From, now.Stamp.Acked)
		}
	})
}

// Damage that cannot be mended, here for lack of room, is told and gone around:
// the rest is served and scrubbed, and what fails over it is tried again rarely.
func TestDamageThatStays(t *testing.T) {
	bubbleOn(t, 3, BucketConfig{}, func(_ int, _ *fakeNode, c *Config) { c.SyncEvery = -1 }, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		want := fillRandom(t, buckets[0], 600)
		time.Sleep(20 * time.Second)
		n := nodes[1]
		damage(t, n, 0.5)
		fs := &fullFS{FS: n.fs}
		fs.full.Store(true)
		n.restart(func(c *Config) { c.fs, c.ReserveBytes, c.SyncEvery, c.ScrubEvery = fs, 16<<20, -1, time.Hour })
		time.Sleep(10 * time.Minute)
		net.watchCalls(nil)
		time.Sleep(time.Hour)
		held, _ := net.counted(wire.MethodHeld)
		sums, _ := net.counted(wire.MethodSums)
		if held+sums > 150 {
			t.Errorf("%d and %d comparisons were begun in an hour", held, sums)
		}
		if st := n.store.disk.Stats(); st.GivenUp != 0 || st.Damaged != 1 {
			t.Errorf("stats: %+v", st)
		}
		h, err := n.store.Health(context.Background())
		if err != nil || !slices.ContainsFunc(wordsOf(h.Problems), func(p string) bool { return strings.Contains(p, "start the node with an empty directory") }) {
			t.Errorf("health: %q, %v", h.Problems, err)
		}
		for _, b := range []*Bucket{buckets[0], buckets[2]} {
			for key, value := range want {
				wantValue(t, b, key, value)
			}
		}
		if n.store.records.Scrubs() == 0 {
			t.Error("the scrub has not gone on behind it")
		}
		fs.full.Store(false)
		time.Sleep(15 * time.Minute)
		if st := n.store.disk.Stats(); st.GivenUp == 0 || st.Damaged != 0 {
			t.Errorf("not mended when there is room: %+v", st)
		}
		at := openBucket(t, n.store, "b", BucketConfig{})
		for key := range want {
			if rec, err := n.store.records.Load(context.Background(), n.store.homes.LocateKey(at.b.ID, key)); err != nil || rec.Unknown() {
				t.Errorf("%s is not back: %v", key, err)
			}
		}
	})
}
