package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
)

func TestTTL(t *testing.T) {
	bubble(t, 3, BucketConfig{TTL: time.Hour}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		mustPut(t, buckets[0], "bucket's", "v")
		for key, ttl := range map[string]time.Duration{"short": time.Minute, "never": -1} {
			if _, err := buckets[0].Put(ctx, key, []byte("v"), &PutOptions{TTL: ttl}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(30 * time.Second)
		wantValue(t, buckets[1], "short", "v")
		time.Sleep(31 * time.Second)
		wantNotFound(t, buckets[1], "short")
		wantValue(t, buckets[1], "bucket's", "v")
		time.Sleep(time.Hour)
		wantNotFound(t, buckets[2], "bucket's")
		wantValue(t, buckets[2], "never", "v")
		wantEqualHomes(t, stores(nodes)...)
	})
}

func TestTooLarge(t *testing.T) {
	bubble(t, 2, BucketConfig{MaxValue: 100, MaxKey: 10}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		if _, err := buckets[0].Put(ctx, "k", make([]byte, 101), nil); !errors.Is(err, ErrTooLarge) {
			t.Errorf("value: %v", err)
		}
		if _, err := buckets[0].Put(ctx, strings.Repeat("k", 11), nil, nil); !errors.Is(err, ErrTooLarge) {
			t.Errorf("key: %v", err)
		}
		if _, err := buckets[0].Get(ctx, strings.Repeat("k", 11), nil); !errors.Is(err, ErrTooLarge) {
			t.Errorf("key read: %v", err)
		}
		if _, err := buckets[0].Put(ctx, strings.Repeat("k", 10), make([]byte, 100), nil); err != nil {
			t.Errorf("at the limit: %v", err)
		}
		big := openBucket(t, nodes[0].store, "big", BucketConfig{})
		if _, err := big.Put(ctx, "k", bytes.Repeat([]byte("x"), 1<<20), nil); err != nil {
			t.Errorf("1 MiB: %v", err)
		}
		if _, err := big.Put(ctx, "k", make([]byte, 1<<20+1), nil); !errors.Is(err, ErrTooLarge) {
			t.Errorf("more than 1 MiB: %v", err)
		}
	})
}

func TestSiblingLimitAndContexts(t *testing.T) {
	bubble(t, 3, BucketConfig{Policy: Siblings}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		absent, err := buckets[0].Get(ctx, "k", nil)
		if !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		opts := &PutOptions{Context: absent.Context}
		for i := range reconcile.MaxSiblings {
			if _, err := buckets[i%3].Put(ctx, "k", []byte{byte(i)}, opts); err != nil {
				t.Fatalf("sibling %d: %v", i, err)
			}
		}
		if _, err := buckets[1].Put(ctx, "k", []byte("one more"), opts); !errors.Is(err, ErrSiblingLimit) {
			t.Errorf("beyond the limit: %v", err)
		}
		it, err := buckets[2].Get(ctx, "k", &GetOptions{Level: Quorum})
		if err != nil || len(it.Siblings()) != reconcile.MaxSiblings {
			t.Fatalf("%d siblings, %v", len(it.Siblings()), err)
		}
		text, err := it.Context.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back Context
		if err := back.UnmarshalText(text); err != nil {
			t.Fatal(err)
		}
		if _, err := buckets[0].Put(ctx, "other", nil, &PutOptions{Context: back}); !errors.Is(err, ErrBadContext) {
			t.Errorf("context of another key: %v", err)
		}
		if _, err := buckets[0].Put(ctx, "other", nil, &PutOptions{Context: it.Context}); !errors.Is(err, ErrBadContext) {
			t.Errorf("context of another key, not encoded: %v", err)
		}
		text[5] ^= 1
		var bad Context
		if err := bad.UnmarshalText(text); err == nil {
			if _, err := buckets[0].Put(ctx, "k", nil, &PutOptions{Context: bad}); !errors.Is(err, ErrBadContext) {
				t.Errorf("damaged context: %v", err)
			}
		}
		if r, err := buckets[0].Put(ctx, "k", []byte("all"), &PutOptions{Context: back}); err != nil || len(r.Covered) != reconcile.MaxSiblings {
			t.Fatalf("%+v %v", r, err)
		}
		it, err = buckets[1].Get(ctx, "k", nil)
		if err != nil || len(it.Siblings()) != 1 {
			t.Fatalf("%q %v", it.Siblings(), err)
		}
	})
}

func TestOverload(t *testing.T) {
	few := func(i int, _ *fakeNode, c *Config) {
		if i == 0 {
			c.MaxPending = 4
		}
	}
	bubbleOn(t, 3, BucketConfig{}, few, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		net.split(false, nodes[1].id, nodes[2].id)
		results := make(chan error, 20)
		for i := range 20 {
			go func() {
				_, err := buckets[0].Put(context.Background(), fmt.Sprintf("k%d", i), nil, nil)
				results <- err
			}()
		}
		refused := 0
		for range 20 {
			err := <-results
			if errors.Is(err, ErrOverloaded) {
				refused++
				if RetryAfter(err) <= 0 {
					t.Error("no hint when to try again")
				}
			}
		}
		if refused != 16 {
			t.Errorf("%d of 20 writes refused with room for 4", refused)
		}
		net.heal()
	})
}

func TestClosed(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		mustPut(t, buckets[0], "k", "v")
		if err := nodes[0].store.Close(); err != nil {
			t.Fatal(err)
		}
		close(nodes[1].done)
		synctest.Wait()
		for i := range 2 {
			if _, err := buckets[i].Put(ctx, "k", nil, nil); !errors.Is(err, ErrClosed) {
				t.Errorf("put at %d: %v", i, err)
			}
			if _, err := buckets[i].Get(ctx, "k", nil); !errors.Is(err, ErrClosed) {
				t.Errorf("get at %d: %v", i, err)
			}
			if _, err := nodes[i].store.Bucket(ctx, "c", BucketConfig{}); !errors.Is(err, ErrClosed) {
				t.Errorf("bucket at %d: %v", i, err)
			}
		}
	})
}

func TestStartStopLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a bubble fails when a goroutine is left
		net := newFakeNet(t)
		n := net.add(true)
		for range 100 {
			s := n.open()
			b := openBucket(t, s, "b", BucketConfig{})
			if _, err := b.Put(context.Background(), "k", []byte("v"), nil); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		n.views.Close()
	})
}

func TestConfigReportsAllFaults(t *testing.T) {
	err := Config{CacheBytes: -1, AckTimeout: -1, MaxSkew: -1, MaxPending: -1}.Validate()
	if err == nil || strings.Count(err.Error(), "\n") != 4 {
		t.Errorf("want five faults, got %v", err)
	}
	err = BucketConfig{Copies: -1, Policy: 9, MinDurable: -1, TTL: -1, MaxKey: -1, MaxValue: 1 << 30}.Validate()
	if err == nil || strings.Count(err.Error(), "\n") != 5 || !errors.Is(err, ErrBadBucket) {
		t.Errorf("want six faults, got %v", err)
	}
}

// More disks than copies can never be had: each write would be degraded for ever.
func TestMinDurableIsNoMoreThanCopies(t *testing.T) {
	for cfg, ok := range map[*BucketConfig]bool{
		{MinDurable: 3}: true, {MinDurable: 4}: false, {Copies: 1, MinDurable: 1}: true, {Copies: 1, MinDurable: 2}: false, {Copies: 5, MinDurable: 5}: true,
	} {
		err := cfg.Validate()
		if ok != (err == nil) || !ok && (!errors.Is(err, ErrBadBucket) || !strings.Contains(err.Error(), "as Copies is")) {
			t.Errorf("MinDurable %d of %d copies: %v", cfg.MinDurable, cfg.Copies, err)
		}
	}
}

// A mesh in which nobody stores says so at the first read.
func TestNobodyStores(t *testing.T) {
	bubble(t, 0, BucketConfig{}, func(t *testing.T, net *fakeNet, _ []*fakeNode, _ []*Bucket) {
		n := net.add(false)
		n.open()
		b := openBucket(t, n.store, "b", BucketConfig{})
		_, err := b.Get(t.Context(), "k", nil)
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "set Storing") {
			t.Errorf("get: %v", err)
		}
		if r, err := b.Put(t.Context(), "k", []byte("v"), nil); !r.Queued {
			t.Errorf("put: %+v, %v", r, err)
		}
		if st, err := n.store.Status(t.Context()); err != nil || !strings.Contains(st.OutboxError, "no storing node") {
			t.Errorf("status: %+v, %v", st, err)
		}
		if err := n.store.Close(); err != nil {
			t.Error(err)
		}
		n.views.Close()
	})
}

func TestPutOnMoreDisksThanCopiesIsRefused(t *testing.T) {
	bubble(t, 4, BucketConfig{Copies: 2}, func(t *testing.T, _ *fakeNet, _ []*fakeNode, buckets []*Bucket) {
		_, put := buckets[0].Put(t.Context(), "k", []byte("v"), &PutOptions{MinDurable: 3})
		_, del := buckets[0].Delete(t.Context(), "k", &DeleteOptions{MinDurable: 3})
		for _, err := range []error{put, del} {
			if !errors.Is(err, ErrBadBucket) || !strings.Contains(err.Error(), "MinDurable is 3") {
				t.Errorf("error %v", err)
			}
		}
		wantNotFound(t, buckets[1], "k")
	})
}
