package replica

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/version"
)

// A scan of a million keys, at the store that holds them and from a node that stores
// nothing, takes little memory, however many there are.
func TestLongScanOfAMillionKeys(t *testing.T) {
	keys := 20_000
	if *long {
		keys = 1_000_000
	}
	net := newFakeNet(t)
	n, client := net.add(true), net.add(false)
	n.fs, n.dir = vfs.Default, t.TempDir()
	if err := os.MkdirAll(n.dir+"/store", 0o700); err != nil {
		t.Fatal(err)
	}
	b := openBucket(t, n.open(func(c *Config) { c.block = 0 }), "b", BucketConfig{})
	far := openBucket(t, client.open(), "b", BucketConfig{})
	for _, n := range []*fakeNode{n, client} {
		defer n.views.Close()
		defer n.store.Close()
	}
	fillStore(t, n.store, b, keys)
	runtime.GC()
	for what, b := range map[string]*Bucket{"there": b, "through another node": far} {
		before := heapInUse()
		most, count, begin := uint64(0), 0, time.Now()
		for e, err := range b.Scan(context.Background(), ScanOptions{}) {
			if err != nil || e.Key != fmt.Sprintf("key-%07d", count) {
				t.Fatalf("%q in the place of %d, %v", e.Key, count, err)
			}
			if count++; count%5000 == 0 {
				runtime.GC()
				most = max(most, heapInUse())
			}
		}
		took := time.Since(begin)
		t.Logf("%s: %d keys in %v, %d KiB more memory", what, count, took, (max(most, before)-before)>>10)
		if most > before+32<<20 || count != keys {
			t.Errorf("%s: %d bytes before, %d at most, %d keys", what, before, most, count)
		}
	}
}

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// fillStore puts records on a disk without what else a write does.
func fillStore(t *testing.T, s *Store, b *Bucket, keys int) {
	t.Helper()
	a := version.Actor{Store: uint64(s.id), Session: 1, Seq: 1}
	value := make([]byte, 100)
	for first := 0; first < keys; first += 5000 {
		err := s.disk.Update(context.Background(), func(tx *storage.Tx) error {
			for i := first; i < min(first+5000, keys); i++ {
				it := version.Item{Ctx: version.Context{{A: a, N: 1}}, HLC: 1, Sibs: []version.Sibling{{Dot: version.Dot{A: a, N: 1}, HLC: 1, Value: value}}}
				at := s.homes.LocateKey(b.b.ID, fmt.Sprintf("key-%07d", i))
				if err := tx.Set(at.Record, wire.AppendRecord(nil, wire.Record{Item: wire.AppendItem(nil, &it), Home: true})); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
