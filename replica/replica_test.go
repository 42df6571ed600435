package replica

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
)

// bubble runs a test in virtual time with n storing nodes and a bucket on each.
func bubble(t *testing.T, n int, cfg BucketConfig, fn func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket)) {
	t.Helper()
	bubbleOn(t, n, cfg, func(int, *fakeNode, *Config) {}, fn)
}

// bubbleOn is bubble with a say in how each store is opened.
func bubbleOn(t *testing.T, n int, cfg BucketConfig, change func(i int, n *fakeNode, c *Config), fn func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		net := newFakeNet(t)
		nodes := make([]*fakeNode, n)
		for i := range nodes {
			nodes[i] = net.add(true)
		}
		buckets := make([]*Bucket, n)
		for i := range nodes {
			nodes[i].open(func(c *Config) { change(i, nodes[i], c) })
		}
		for i := range nodes {
			buckets[i] = openBucket(t, nodes[i].store, "b", cfg)
		}
		defer func() { // also after a Fatal, or all that is said is that goroutines are left
			for _, n := range nodes {
				if err := n.store.Close(); err != nil {
					t.Error(err)
				}
				n.views.Close()
			}
		}()
		time.Sleep(5 * time.Second)
		fn(t, net, nodes, buckets)
	})
}

func openBucket(t *testing.T, s *Store, name string, cfg BucketConfig) *Bucket {
	t.Helper()
	b, err := s.Bucket(context.Background(), name, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustPut(t *testing.T, b *Bucket, key, value string) Result {
	t.Helper()
	r, err := b.Put(context.Background(), key, []byte(value), nil)
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	return r
}

func wantValue(t *testing.T, b *Bucket, key, value string) {
	t.Helper()
	it, err := b.Get(context.Background(), key, nil)
	if err != nil {
		t.Fatalf("get %s at %v: %v", key, b.s.id, err)
	}
	if v, ok := it.Value(); !ok || string(v) != value {
		t.Fatalf("get %s at %v: %q %v, want %q", key, b.s.id, v, ok, value)
	}
}

func wantNotFound(t *testing.T, b *Bucket, key string) {
	t.Helper()
	it, err := b.Get(context.Background(), key, nil)
	if !errors.Is(err, ErrNotFound) || errors.Is(err, ErrDegraded) {
		t.Fatalf("get %s at %v: %v, %v, want not found", key, b.s.id, it.Siblings(), err)
	}
}

func TestPutGetDelete(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for i := range 50 {
			key := fmt.Sprintf("key-%d", i)
			r := mustPut(t, buckets[i%3], key, "one")
			if r.Durable < 2 || r.Homes < 2 {
				t.Fatalf("put: %+v", r)
			}
			wantValue(t, buckets[(i+1)%3], key, "one")
			if r := mustPut(t, buckets[(i+1)%3], key, "two"); len(r.Covered) != 1 {
				t.Fatalf("blind overwrite covered %d values", len(r.Covered))
			}
			wantValue(t, buckets[(i+2)%3], key, "two")
		}
		if _, err := buckets[0].Delete(context.Background(), "key-7", nil); err != nil {
			t.Fatal(err)
		}
		for _, b := range buckets {
			wantNotFound(t, b, "key-7")
			wantNotFound(t, b, "never")
		}
	})
}

// What a put hands back covers what its client had seen and the write itself,
// not all that the store knows: else the next put would overwrite a value
// that the client was never shown.
func TestPutHandsBackOnlyWhatWasSeen(t *testing.T) {
	bubble(t, 3, BucketConfig{Policy: Siblings}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for i, b := range buckets {
			key := fmt.Sprintf("key-%d", i)
			put := func(value string, seen Context) Context {
				t.Helper()
				r, err := b.Put(context.Background(), key, []byte(value), &PutOptions{Context: seen})
				if err != nil {
					t.Fatal(err)
				}
				return r.Context
			}
			first := put("first", Context{})
			put("unseen", first)
			mine := put("mine", first)
			put("mine again", mine)
			it, err := b.Get(context.Background(), key, nil)
			if err != nil {
				t.Fatal(err)
			}
			shown := fmt.Sprintf("%q", it.Siblings())
			if !strings.Contains(shown, `"unseen"`) || !strings.Contains(shown, `"mine again"`) {
				t.Fatalf("values %s: want the unseen one kept beside the last write", shown)
			}
		}
	})
}

// Concurrent values that would not fit into one request are refused while
// they are written, not found out when nobody can have them any more.
func TestConcurrentValuesFitIntoOneRequest(t *testing.T) {
	bubble(t, 3, BucketConfig{Policy: Siblings, MaxValue: 8 << 20}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		b := buckets[0]
		first, err := b.Put(context.Background(), "k", []byte("first"), nil)
		if err != nil {
			t.Fatal(err)
		}
		big := make([]byte, 8<<20)
		for n := range 8 {
			_, err = b.Put(context.Background(), "k", big, &PutOptions{Context: first.Context})
			if err != nil {
				if !errors.Is(err, ErrSiblingLimit) || n != 3 {
					t.Fatalf("concurrent value %d of 8 MiB: %v, want ErrSiblingLimit from the fourth on", n+1, err)
				}
				return
			}
		}
		t.Fatal("64 MiB of concurrent values were taken")
	})
}

// A put that waits for stores it cannot reach ends with its store.
func TestCloseEndsAPutThatWaits(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		net.split(false, nodes[0].id)
		put := make(chan error, 1)
		go func() {
			_, err := buckets[0].Put(context.Background(), "k", []byte("v"), &PutOptions{Level: Quorum})
			put <- err
		}()
		time.Sleep(10 * time.Millisecond)
		if err := nodes[0].store.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-put:
			if err == nil {
				t.Error("a quorum was reached alone")
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the put still waits")
		}
	})
}

// bubbleUncompared is bubble with stores that compare only when the test has them
// compare: a comparison by the clock, which comes by chance, would be counted with
// the test's own.
func bubbleUncompared(t *testing.T, n int, cfg BucketConfig, fn func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket)) {
	t.Helper()
	bubbleOn(t, n, cfg, func(_ int, _ *fakeNode, c *Config) { never(c) }, fn)
}

// writeHere writes a value at one store only, without a word to the others.
func writeHere(t *testing.T, s *Store, bucket uint64, key, value string) {
	t.Helper()
	at, done := s.homes.LocateKey(bucket, key), make(chan error, 1)
	w := reconcile.Write{Value: []byte(value)}
	_, err := s.records.CommitWrite(s.records.WhenRoom(context.Background()), at, w, []replicate.Role{replicate.HomeRole}, keep.Terms{Nothing: true},
		func(_ keep.Written, err error) { done <- err })
	if err = errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
}

// loseHere drops a record of one store, as if it had never come.
func loseHere(t *testing.T, s *Store, bucket uint64, key string) {
	t.Helper()
	ctx, at := context.Background(), s.homes.LocateKey(bucket, key)
	err := s.records.Update(ctx, "lose", func(tx keep.Tx) error {
		old, err := tx.Load(at)
		if err != nil {
			return err
		}
		return tx.Save(at, old, replicate.Record{}, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// wantEqual compares what two stores hold.
func wantEqual(t *testing.T, a, b *Store) {
	t.Helper()
	mine, theirs := dump(t, a), dump(t, b)
	for k, it := range mine {
		if !it.Equal(theirs[k]) {
			at, _ := layout.PlaceOf([]byte(k))
			t.Errorf("%q differs: %v and %v", at.Key, it, theirs[k])
		}
	}
	if len(mine) != len(theirs) {
		t.Errorf("%d and %d records", len(mine), len(theirs))
	}
}
