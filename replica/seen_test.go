package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/memnet"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// What a client has written at one store it reads at any other at once, at every level,
// although copies are late, one by one and in batches.
func TestReadYourWrites(t *testing.T) {
	bubble(t, 5, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		guest, b := withGuest(t, net)
		defer guest.views.Close()
		defer func() { _ = guest.store.Close() }()
		askers := append([]*Bucket{b}, buckets...)
		mustPutMany(t, b, manyKeys(40, "before"))
		time.Sleep(time.Second)
		net.lose(func(_, _ view.NodeID, method string, _ []byte) bool { return method == wire.MethodMerge })
		puts := manyKeys(40, "now")
		done, _ := b.PutMany(ctx, puts, &PutOptions{Level: One, MinDurable: 1})
		old := 0
		for i := range puts {
			if done[i].Durable != 1 {
				t.Fatalf("entry %d: %+v", i, done[i])
			}
			from := askers[i%len(askers)]
			if it, _ := from.Get(ctx, puts[i].Key, &GetOptions{Level: One}); string(it.last) == "before" {
				old++
			}
			for _, level := range []Level{One, 0, Quorum} {
				it, err := from.Get(ctx, puts[i].Key, &GetOptions{Level: level, Seen: done[i].Context})
				if v, _ := it.Value(); string(v) != "now" || err != nil {
					t.Errorf("%s at %v, level %d: %q, %v", puts[i].Key, from.s.id, level, v, err)
				}
			}
		}
		if old == 0 {
			t.Error("no copy was late")
		}
		gets := make([]BatchGet, len(puts))
		for i := range gets {
			gets[i] = BatchGet{Key: puts[i].Key, Seen: done[i].Context}
		}
		for _, from := range askers {
			items, err := from.GetMany(ctx, gets, &GetOptions{Level: One})
			if err != nil {
				t.Error(err)
			}
			for i := range items {
				if v, _ := items[i].Value(); string(v) != "now" {
					t.Errorf("%s at %v: %q", puts[i].Key, from.s.id, v)
				}
			}
		}
		net.lose(nil)
	})
}

// What only stores beyond a cut know is named, beside what is known here, when the time is
// over: three times AckTimeout, or when ctx says so. Is the cut healed before, it is read.
func TestReadBehindACut(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		mustPut(t, buckets[0], "k", "before")
		time.Sleep(time.Second)
		net.split(true, nodes[0].id)
		time.Sleep(time.Second)
		r, err := buckets[0].Put(ctx, "k", []byte("beyond"), nil)
		if !errors.Is(err, ErrDegraded) {
			t.Fatal(err)
		}
		token, err := r.Context.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var seen Context
		if err := seen.UnmarshalText(token); err != nil {
			t.Fatal(err)
		}
		for limit, within := range map[time.Duration]time.Duration{0: answerBound, 300 * time.Millisecond: 310 * time.Millisecond, 4 * time.Second: 4100 * time.Millisecond} {
			ctx, cancel := ctx, func() {}
			if limit != 0 {
				ctx, cancel = context.WithTimeout(ctx, limit)
			}
			begun := time.Now()
			it, err := buckets[1].Get(ctx, "k", &GetOptions{Seen: seen})
			took := time.Since(begun)
			cancel()
			if v, _ := it.Value(); string(v) != "before" || !errors.Is(err, ErrBehind) || !errors.Is(err, ErrDegraded) {
				t.Errorf("%q, %v", v, err)
			}
			if err == nil || !strings.Contains(err.Error(), "missing write "+r.Dot.String()) {
				t.Errorf("%v does not name %v", err, r.Dot)
			}
			if took > within || took < within*9/10-100*time.Millisecond {
				t.Errorf("%v, not %v", took, within)
			}
		}
		go func() { time.Sleep(700 * time.Millisecond); net.heal() }()
		long, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		begun := time.Now()
		it, err := buckets[1].Get(long, "k", &GetOptions{Seen: seen})
		if v, _ := it.Value(); string(v) != "beyond" || err != nil || time.Since(begun) > 3*time.Second {
			t.Errorf("after the heal: %q, %v, after %v", v, err, time.Since(begun))
		}
		if _, err := buckets[1].Get(ctx, "other", &GetOptions{Seen: seen}); !errors.Is(err, ErrBadContext) {
			t.Error(err)
		}
	})
}

// What was deleted and purged since is not waited for: no store knows of it.
func TestReadOfWhatIsForgotten(t *testing.T) {
	short := func(_ int, _ *fakeNode, c *Config) { c.PurgeEvery = 10 * time.Second }
	bubbleOn(t, 4, BucketConfig{Copies: 2}, short, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		r := mustPut(t, buckets[0], "k", "v")
		if _, err := buckets[0].Delete(ctx, "k", nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if rec := dumpKey(t, nodes, "k"); rec != 0 {
			t.Fatalf("%d records are left", rec)
		}
		begun := time.Now()
		if _, err := buckets[1].Get(ctx, "k", &GetOptions{Seen: r.Context}); !errors.Is(err, ErrNotFound) || errors.Is(err, ErrDegraded) || time.Since(begun) > 100*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		next := mustPut(t, buckets[2], "k", "again")
		_ = next
		it, err := buckets[1].Get(ctx, "k", &GetOptions{Seen: r.Context})
		if v, _ := it.Value(); err != nil || string(v) != "again" {
			t.Errorf("%q, %v", v, err)
		}
		net.split(true, nodes[3].id)
		if _, err := buckets[1].Get(ctx, "k", &GetOptions{Seen: r.Context}); !errors.Is(err, ErrBehind) {
			t.Errorf("a store that was not asked may know it: %v", err)
		}
		net.heal()
	})
}

// dumpKey counts the records of a key.
func dumpKey(t *testing.T, nodes []*fakeNode, key string) (n int) {
	for _, node := range nodes {
		for k := range dump(t, node.store) {
			if strings.HasSuffix(k, key) {
				n++
			}
		}
	}
	return n
}

// A write that waits in the outbox is waited for, and read once it is delivered.
func TestReadOfWhatWaitsInTheOutbox(t *testing.T) {
	withCamera(t, BucketConfig{}, func(c *camera) {
		ctx := context.Background()
		c.net.split(true, c.node.id)
		time.Sleep(time.Second)
		r, _ := c.b.Put(ctx, "k", []byte("v"), nil)
		if !r.Queued {
			c.t.Fatalf("%+v", r)
		}
		if _, err := c.b.Get(ctx, "k", &GetOptions{Seen: r.Context}); !errors.Is(err, ErrBehind) || !errors.Is(err, ErrUnavailable) {
			c.t.Error(err)
		}
		go func() { time.Sleep(time.Second); c.net.heal() }()
		long, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		it, err := c.b.Get(long, "k", &GetOptions{Seen: r.Context})
		if v, _ := it.Value(); err != nil || string(v) != "v" {
			c.t.Errorf("%q, %v", v, err)
		}
	})
}

// What was delivered is read at once, although a later write of the key waits.
func TestReadOfWhatWasDelivered(t *testing.T) {
	withCamera(t, BucketConfig{}, func(c *camera) {
		ctx := context.Background()
		queue := func(value string) Result {
			c.net.split(true, c.node.id)
			time.Sleep(time.Second)
			r, _ := c.b.Put(ctx, "k", []byte(value), nil)
			if !r.Queued {
				c.t.Fatalf("%+v", r)
			}
			return r
		}
		first := queue("first")
		c.net.heal()
		time.Sleep(time.Minute)
		second := queue("second")
		c.net.refuseCalls(func(from, _ view.NodeID, method string) bool { return from == c.node.id && method == wire.MethodPut })
		c.net.heal()
		time.Sleep(10 * time.Millisecond)
		begun := time.Now()
		it, err := c.b.Get(ctx, "k", &GetOptions{Seen: first.Context})
		if v, _ := it.Value(); err != nil || string(v) != "first" || time.Since(begun) > time.Second {
			c.t.Errorf("%q, %v, after %v", v, err, time.Since(begun))
		}
		if _, err := c.b.Get(ctx, "k", &GetOptions{Seen: second.Context}); !errors.Is(err, ErrBehind) {
			c.t.Errorf("the second is read before it is delivered: %v", err)
		}
		c.net.refuseCalls(nil)
	})
}

func TestGetMany(t *testing.T) {
	bubble(t, 5, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		guest, b := withGuest(t, net)
		defer guest.views.Close()
		defer func() { _ = guest.store.Close() }()
		puts := manyKeys(200, "v")
		mustPutMany(t, b, puts)
		time.Sleep(time.Second)
		gets := []BatchGet{{Key: "never"}}
		for i := range puts {
			gets = append(gets, BatchGet{Key: puts[i].Key})
		}
		gets = append(gets, BatchGet{Key: "k7"})
		for _, from := range []*Bucket{b, buckets[0], buckets[3]} {
			net.watchCalls(nil)
			items, err := from.GetMany(ctx, gets, nil)
			if err != nil || len(items) != len(gets) {
				t.Fatalf("%d items, %v", len(items), err)
			}
			if n, _ := net.counted(wire.MethodRead); n > 5 {
				t.Errorf("%d messages to 5 stores", n)
			}
			for i := range items {
				it := &items[i]
				v, ok := it.Value()
				if missing := i == 0; it.Key != gets[i].Key || ok == missing || errors.Is(it.Err, ErrNotFound) != missing || !missing && (string(v) != "v" || it.Err != nil) {
					t.Errorf("entry %d, %s: %q, %v", i, it.Key, v, it.Err)
				}
			}
		}
		_, err := b.GetMany(ctx, []BatchGet{{Key: "fine"}, {Key: strings.Repeat("k", 2000)}}, nil)
		if !errors.Is(err, ErrBadBatch) || !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "entry 1") {
			t.Error(err)
		}
		net.split(false, nodes[0].id, nodes[1].id)
		begun := time.Now()
		items, err := b.GetMany(ctx, gets, &GetOptions{Level: Sloppy(3)})
		if took := time.Since(begun); took > answerBound || !errors.Is(err, ErrDegraded) {
			t.Errorf("%v after %v", err, took)
		}
		for i := range items[1:] {
			if v, _ := items[i+1].Value(); string(v) != "v" {
				t.Errorf("%s: %q, %v", gets[i+1].Key, v, items[i+1].Err)
			}
		}
	})
}

// On real nodes a read at level One goes to a home in the same zone, and of others to the
// one that answers soonest, once that was measured, and to no other.
func TestRealMeshReadsFromTheNearest(t *testing.T) {
	dir := t.TempDir()
	inWorld(t, 5, func(w *world) {
		ctx := context.Background()
		camera := w.addCamera(dir) // in zone-0, as node-0 and node-3
		w.start(camera)
		camera.bucket = openBucket(t, camera.store, "b", BucketConfig{})
		const keys = 60
		for i := range keys {
			mustPut(t, w.boxes[i%5].bucket, fmt.Sprint("k", i), "v")
		}
		far := map[int]time.Duration{0: 20 * time.Millisecond, 1: 5 * time.Millisecond, 2: 40 * time.Millisecond, 3: 20 * time.Millisecond, 4: 40 * time.Millisecond}
		for i, delay := range far {
			w.net.SetPath(camera.addr, w.boxes[i].addr, memnet.Path{Delay: delay})
			w.net.SetPath(w.boxes[i].addr, camera.addr, memnet.Path{Delay: delay})
		}
		get := func(key string) time.Duration {
			begun := time.Now()
			if _, err := camera.bucket.Get(ctx, key, &GetOptions{Level: One}); err != nil {
				t.Errorf("%s: %v", key, err)
			}
			return time.Since(begun)
		}
		for range 3 { // so that it is measured
			for i := range keys {
				get(fmt.Sprint("k", i))
			}
			time.Sleep(30 * time.Second)
		}
		check := func(what string, rank func(box int) time.Duration) {
			t.Helper()
			for i := range keys {
				key := fmt.Sprint("k", i)
				best, want := time.Hour, time.Duration(0)
				for _, id := range camera.bucket.Homes(key) {
					box := slices.IndexFunc(w.boxes, func(b *worldBox) bool { return b.node.ID() == id })
					if r := rank(box); r < best {
						best, want = r, 2*far[box]
					}
				}
				if took := get(key); took < want || took > want+5*time.Millisecond {
					t.Errorf("%s: %s took %v, want %v", what, key, took, want)
				}
			}
		}
		check("all there", func(box int) time.Duration {
			if box == 0 || box == 3 {
				return far[box] - time.Second
			}
			return far[box]
		})
	})
}
