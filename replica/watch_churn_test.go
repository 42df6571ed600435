package replica

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestF1_29_WatchWhileTheMeshChanges has three watch, at a storing node and at one that
// stores nothing, while other nodes are killed, restarted, cut off, let in and taken out,
// keys are written, deleted and purged, and end by a TTL. In the end each of them knows
// what a scan comes to. No state that it is told lies before one that it was told.
func TestF1_29_WatchWhileTheMeshChanges(t *testing.T) {
	first, seeds := uint64(1), uint64(2)
	if *long {
		seeds = 100
	}
	if *churnSeed != 0 {
		first, seeds = *churnSeed, 1
	}
	var total watchTally
	for seed := first; seed < first+seeds && !t.Failed(); seed++ {
		synctest.Test(t, func(t *testing.T) { watchChurn(t, seed, &total) })
	}
	t.Logf("%d changes, %d gaps", total.changes.Load(), total.gaps.Load())
	if *churnSeed == 0 && !t.Failed() && (total.changes.Load() < 300*int64(seeds) || total.gaps.Load() < 5*int64(seeds)) {
		t.Error("hardly anything has happened")
	}
}

type watchTally struct{ changes, gaps atomic.Int64 }

const watchedKeys = 200

func watchedKey(i int) string { return fmt.Sprintf("key-%04d", i) }

func watchChurn(t *testing.T, seed uint64, total *watchTally) {
	c := newChurn(t, seed)
	c.ring = 128
	defer c.close()
	c.begin(5, 3)
	client, far := openClient(t, c.net, c.cfg)
	defer client.views.Close()
	defer client.store.Close()
	c.often = true
	for range 2 {
		c.kill(c.nodes[4])
		c.restart(c.nodes[4]) // often counts from now on
	}
	for i := range watchedKeys / 2 {
		mustPut(t, c.nodes[0].bucket, watchedKey(i), "before")
	}
	time.Sleep(5 * time.Second)
	all := []*follower{
		followBucket(t, "here", c.nodes[0].bucket, WatchOptions{Present: true}),
		followBucket(t, "far", far, WatchOptions{Present: true}),
		followBucket(t, "far, from now on", far, WatchOptions{}),
	}
	for i := range 4 { // so that those of far ask together
		all = append(all, followBucket(t, fmt.Sprint("far, one more ", i), far, WatchOptions{Present: true}))
	}
	time.Sleep(3 * time.Second)
	for n := range 400 {
		c.disturbWatches(n)
	}
	c.heal()
	for _, n := range c.nodes {
		if !n.gone && n.isDown() {
			c.restart(n)
		}
	}
	c.busy.Wait()
	time.Sleep(10 * time.Minute)
	want := make(map[string]string)
	for e, err := range c.nodes[0].bucket.Scan(context.Background(), ScanOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		v, _ := e.Value()
		want[e.Key] = string(v)
	}
	for i, f := range all {
		if i == 2 { // what nobody has written meanwhile it need not know
			f.mu.Lock()
			for key, value := range want {
				if _, known := f.view[key]; !known && value == "before" {
					f.view[key] = value
				}
			}
			f.mu.Unlock()
		}
		f.want(5*time.Minute, want)
		f.stop()
		total.changes.Add(int64(len(f.log)))
		total.gaps.Add(int64(f.gaps))
	}
	c.quiesce()
}

// disturbWatches writes something, or makes something happen to nodes other than the first.
func (c *churn) disturbWatches(n int) {
	ctx := context.Background()
	b := c.nodes[0].bucket
	if other := c.some(isIdle); other != nil && c.rng.IntN(3) == 0 {
		b = other.bucket
	}
	key := watchedKey(c.rng.IntN(watchedKeys))
	switch p := c.rng.IntN(100); {
	case p < 15:
		c.say("delete %q", key)
		_, _ = b.Delete(ctx, key, nil)
	case p < 25:
		c.say("put %q, %d, that ends", key, n)
		_, _ = b.Put(ctx, key, fmt.Append(nil, n), &PutOptions{TTL: time.Duration(1+c.rng.IntN(60)) * time.Second})
	case p < 80:
		c.say("put %q, %d", key, n)
		_, _ = b.Put(ctx, key, fmt.Append(nil, n), nil)
	default:
		c.disturbScans()
		return
	}
	time.Sleep(time.Duration(c.rng.Int64N(int64(400 * time.Millisecond))))
}
