package backup

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"filippo.io/age"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/slice"
)

// shelf is a Store of slices of one bucket, of so many records each.
type shelf struct {
	def    []byte
	slices int
	each   int
	bytes  int
}

func (s *shelf) Export(_ context.Context, begin func(slice.Slice) (func(*slice.Record) error, error)) error {
	value, random := make([]byte, s.bytes), rand.NewChaCha8([32]byte{1}) // does not compress
	for shard := range s.slices {
		each, err := begin(slice.Slice{Bucket: "b", Shard: shard, Def: s.def, Origin: wire.AppendOrigin(nil, wire.Origin{Shard: shard})})
		if err != nil {
			return err
		}
		for i := range s.each {
			_, _ = random.Read(value)
			if err := each(&slice.Record{Key: fmt.Sprintf("%d-%d", shard, i), Version: 1, Item: value}); err != nil {
				return err
			}
		}
		if err := each(nil); err != nil {
			return err
		}
	}
	return nil
}

// nowhere takes objects and forgets them.
type nowhere struct{ Tier }

func (nowhere) Put(context.Context, string, []byte) error { return nil }

// What a backup allocates does not grow with what it reads: of 32 MiB it keeps a segment at a time,
// in room that is used again.
func TestRoomIsUsedAgain(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	measure := func(slices int) uint64 {
		sealer, err := newSealer([]string{id.Recipient().String()})
		if err != nil {
			t.Fatal(err)
		}
		c, err := openChain(vfs.NewMem(), "dir", 1)
		if err != nil {
			t.Fatal(err)
		}
		r := backupRun{
			policy: &Policy{Name: "all"}, tier: nowhere{}, sealer: sealer, key: ed25519.NewKeyFromSeed(make([]byte, 32)), chain: c, tell: func(Done) {},
			enter: func(context.Context, string, [32]byte) {},
			store: &shelf{def: wire.AppendBucketDef(nil, &wire.BucketDef{Name: "b", Copies: 1}), slices: slices, each: 100, bytes: 10 << 10},
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		done, err := r.makeBackup(t.Context())
		runtime.ReadMemStats(&after)
		if err != nil || done.Records != 100*slices || done.Segments < slices/2 {
			t.Fatalf("%+v, %v", done, err)
		}
		return after.TotalAlloc - before.TotalAlloc
	}
	measure(1)
	if small, large := measure(4), measure(32); large > small+8<<20 {
		t.Errorf("4 MiB take %d bytes, and 32 MiB %d", small, large)
	}
}
