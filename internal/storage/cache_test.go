package storage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestCacheTakesNoOldValue: a reader that was slow must not put back what a
// write has replaced or deleted in the meantime.
func TestCacheTakesNoOldValue(t *testing.T) {
	c := newRecordCache(1 << 20)
	key := []byte("k")
	_, gen, _ := c.getValue(key)
	c.keepWritten("k", []byte("new"))
	c.keepRead(key, []byte("old"), gen)
	if v, _, ok := c.getValue(key); !ok || string(v) != "new" {
		t.Errorf("after a write the cache has %q, %t", v, ok)
	}
	c = newRecordCache(1 << 20)
	_, gen, _ = c.getValue(key)
	c.forgetDeleted("k")
	c.keepRead(key, []byte("old"), gen)
	if v, _, ok := c.getValue(key); ok {
		t.Errorf("after a delete the cache has %q", v)
	}
	_, gen, _ = c.getValue(key)
	c.keepRead(key, []byte("read"), gen)
	if v, _, ok := c.getValue(key); !ok || string(v) != "read" {
		t.Errorf("what was read is not kept: %q, %t", v, ok)
	}
}

// TestCacheIsBounded: whatever is put in, the cache stays within its bytes,
// keeps what is used, and takes nothing that would push out the rest.
func TestCacheIsBounded(t *testing.T) {
	const limit = 1 << 20
	c := newRecordCache(limit)
	hot := []byte("hot")
	c.keepWritten("hot", []byte("value"))
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 20_000 {
		c.keepWritten(fmt.Sprintf("key%d", r.IntN(5000)), make([]byte, r.IntN(4000)))
		if _, _, ok := c.getValue(hot); !ok {
			t.Fatalf("the key in use went after %d others", i)
		}
	}
	if n, _, _ := c.totalUsage(); n > limit || n < limit/2 {
		t.Errorf("%d bytes of %d in use", n, limit)
	}
	c.keepWritten("huge", make([]byte, limit/4))
	if _, _, ok := c.getValue([]byte("huge")); ok {
		t.Error("took a value larger than its share")
	}
	c.keepWritten("hot", make([]byte, limit/4))
	if v, _, ok := c.getValue(hot); ok {
		t.Errorf("a value that cannot be kept left the one before, %q", v)
	}
}

func TestCacheManyAtOnce(t *testing.T) {
	c := newRecordCache(1 << 20)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 3))
			for range 5000 {
				key := fmt.Sprintf("key%d", r.IntN(300))
				switch v, gen, ok := c.getValue([]byte(key)); {
				case ok && string(v) != key:
					t.Errorf("%s holds %q", key, v)
				case !ok:
					c.keepRead([]byte(key), []byte(key), gen)
				case r.IntN(3) == 0:
					c.forgetDeleted(key)
				default:
					c.keepWritten(key, []byte(key))
				}
			}
		})
	}
	wg.Wait()
}

// Who is told of a write by OnSync, and reads, gets what was written, also of a key that
// the cache had.
func TestOnSyncComesWhenAWriteCanBeRead(t *testing.T) {
	var s *Store
	var told []string
	s = openMem(t, vfs.NewMem(), func(o *Options) {
		o.OnSync = func(time.Duration) {
			if s == nil {
				return // what Open itself writes
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second) // it must not wait
			defer cancel()
			v, err := s.Get(ctx, []byte("k"))
			told = append(told, fmt.Sprint(string(v), err))
		}
	})
	for _, value := range []string{"old", "new"} {
		if err := s.Update(t.Context(), func(tx *Tx) error { return tx.Set([]byte("k"), []byte(value)) }); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"old<nil>", "new<nil>"}; !slices.Equal(told, want) {
		t.Errorf("told of two writes a reader got %q, want %q", told, want)
	}
}
