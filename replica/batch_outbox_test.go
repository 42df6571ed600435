package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// A batch of a node that is out of reach of all stores waits in its outbox, each key in its
// order, and a batch that comes while some keys wait does not overtake them.
func TestBatchInTheOutbox(t *testing.T) {
	withCamera(t, BucketConfig{}, func(c *camera) {
		ctx := context.Background()
		c.net.split(true, c.node.id)
		time.Sleep(time.Second)
		puts := append(manyKeys(50, "one"), manyKeys(50, "two")...)
		done, err := c.b.PutMany(ctx, puts, nil)
		if !errors.Is(err, ErrDegraded) {
			c.t.Error(err)
		}
		for i := range done {
			if r := &done[i]; !r.Queued || r.Durable != 1 || !errors.Is(r.Err, ErrDegraded) {
				c.t.Fatalf("entry %d: %+v", i, r)
			}
		}
		c.net.refuseCalls(func(from, _ view.NodeID, method string) bool { return from == c.node.id && method == wire.MethodPut }) // what waits is not delivered yet
		c.net.heal()
		time.Sleep(10 * time.Millisecond)
		more := append(manyKeys(80, "three"), manyKeys(80, "four")...)
		done, err = c.b.PutMany(ctx, more, nil)
		if len(done) != len(more) || err != nil && !errors.Is(err, ErrDegraded) {
			c.t.Errorf("%d results, %v", len(done), err)
		}
		for i := range done {
			if waits := i%80 < 50; done[i].Queued != waits {
				c.t.Errorf("entry %d, of %s, was queued: %v", i, more[i].Key, done[i].Queued)
			}
		}
		c.net.refuseCalls(nil)
		time.Sleep(5 * time.Minute)
		if st, err := c.node.store.Status(ctx); err != nil || st.OutboxOps != 0 {
			c.t.Errorf("%d wait, %v", st.OutboxOps, err)
		}
		for _, b := range c.all {
			wantMany(c.t, b, more[80:])
		}
	})
}

// Values stay the caller's: what it does with them afterwards changes nothing.
func TestBatchCopiesValues(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		value := []byte("as it was")
		puts := make([]BatchPut, 30)
		for i := range puts {
			puts[i] = BatchPut{Key: fmt.Sprint("k", i), Value: value, TTL: time.Hour}
		}
		if _, err := buckets[0].PutMany(context.Background(), puts, nil); err != nil {
			t.Fatal(err)
		}
		copy(value, bytes.Repeat([]byte("x"), len(value)))
		for i := range puts {
			wantValue(t, buckets[1], puts[i].Key, "as it was")
		}
		time.Sleep(61 * time.Minute)
		wantNotFound(t, buckets[1], "k3")
	})
}

// A store that refuses to serve, as one whose disk has failed does, has its part done by
// others.
func TestBatchOfARefusingStore(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		mustPutMany(t, buckets[0], manyKeys(60, "before"))
		time.Sleep(time.Second) // blind writes of one millisecond at two stores are in no order
		var asked atomic.Int64
		refusing := nodes[1]
		refusing.mu.Lock()
		for _, method := range []string{wire.MethodPutMany, wire.MethodMerge} {
			refusing.handlers[method] = func(context.Context, view.NodeID, []byte) ([]byte, error) {
				asked.Add(1)
				if method == wire.MethodMerge {
					return wire.AppendMergeReply(nil, wire.MergeReply{Code: wire.CodeStorage}), nil
				}
				return wire.AppendPutManyReply(nil, &wire.PutManyReply{Code: wire.CodeStorage, Text: storage.ErrStoreFailed.Error()}), nil
			}
		}
		refusing.mu.Unlock()
		puts := manyKeys(60, "during")
		mustPutMany(t, buckets[0], puts)
		if asked.Load() == 0 {
			t.Error("it was never asked")
		}
		wantMany(t, buckets[2], puts)
	})
}
