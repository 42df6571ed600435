package replica

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestF1_28_ScanWhileTheMeshChanges scans at a storing node, at one that stores nothing, and by
// many short scans with cursors, while other nodes are killed, restarted, cut off, let in
// and taken out, keys are written and deletes purged. A key that lived throughout comes
// once, with its value, and one that was deleted before does not, but for shards of which
// the scan has said before that keys may be missing.
func TestF1_28_ScanWhileTheMeshChanges(t *testing.T) {
	first, seeds := uint64(1), uint64(2)
	if *long {
		seeds = 100
	}
	if *churnSeed != 0 {
		first, seeds = *churnSeed, 1
	}
	var total scanTally
	for seed := first; seed < first+seeds && !t.Failed(); seed++ {
		synctest.Test(t, func(t *testing.T) { scanChurn(t, seed, &total) })
	}
	t.Logf("%d scans, %d whole; %d keys lived throughout, %d excused", total.scans.Load(), total.whole.Load(), total.lived.Load(), total.excused.Load())
	if *churnSeed == 0 && !t.Failed() && (total.whole.Load() == 0 || total.whole.Load() == total.scans.Load() || total.lived.Load() < 10*total.excused.Load()) {
		t.Error("hardly anything has happened")
	}
}

type scanTally struct{ scans, whole, lived, excused atomic.Int64 }

const (
	scanLived = 1200
	scanDead  = 100
)

func scanValue(i int) string { return fmt.Sprint(i, strings.Repeat("v", 1200)) }

func scanChurn(t *testing.T, seed uint64, total *scanTally) {
	c := newChurn(t, seed)
	defer c.close()
	c.begin(5, 3)
	client, far := openClient(t, c.net, c.cfg)
	defer client.views.Close()
	defer client.store.Close()
	ctx := context.Background()
	for i := range scanLived {
		mustPut(t, c.nodes[i%5].bucket, fmt.Sprintf("lives-%04d", i), scanValue(i))
	}
	for i := range scanDead {
		key := fmt.Sprintf("lives-%04d-dead", i*scanLived/scanDead)
		mustPut(t, c.nodes[i%5].bucket, key, "dead")
		if _, err := c.nodes[i%5].bucket.Delete(ctx, key, &DeleteOptions{Level: Quorum}); err != nil {
			t.Fatal(err)
		}
	}
	c.often = true
	for range 2 {
		c.kill(c.nodes[4])
		c.restart(c.nodes[4]) // often counts from now on
	}
	time.Sleep(time.Duration(c.rng.IntN(60)) * time.Second)
	var running atomic.Int64
	scan := func(name string, b *Bucket, opts ScanOptions, all func(*Bucket, ScanOptions) iter.Seq2[Entry, error]) {
		running.Add(1)
		rng := rand.New(rand.NewPCG(seed, uint64(len(name))))
		c.busy.Go(func() {
			defer running.Add(-1)
			c.verifyScan(name, opts.Reverse, all(b, opts), total, func() { time.Sleep(time.Duration(rng.Int64N(int64(80 * time.Millisecond)))) })
		})
	}
	whole := func(b *Bucket, opts ScanOptions) iter.Seq2[Entry, error] { return b.Scan(ctx, opts) }
	scan("here", c.nodes[0].bucket, ScanOptions{}, whole)
	scan("far", far, ScanOptions{}, whole)
	scan("far back", far, ScanOptions{Reverse: true}, whole)
	scan("by cursors", far, ScanOptions{Limit: 50}, scanByCursors)
	for running.Load() > 0 {
		c.disturbScans()
	}
	c.busy.Wait()
	c.quiesce()
}

// scanByCursors goes on where each scan ends.
func scanByCursors(b *Bucket, opts ScanOptions) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for n := 1; n > 0; {
			n = 0
			for e, err := range b.Scan(context.Background(), opts) {
				if !yield(e, err) {
					return
				}
				if err == nil {
					opts.After = e.Cursor()
					n++
				}
			}
		}
	}
}

// disturbScans makes something happen to nodes other than the first.
func (c *churn) disturbScans() {
	other := func(is func(*churnNode) bool) *churnNode {
		return c.some(func(n *churnNode) bool { return n != c.nodes[0] && is(n) })
	}
	switch p := c.rng.IntN(100); {
	case p < 60:
		b := c.nodes[0].bucket
		key := fmt.Sprintf("lives-%04d-new", c.rng.IntN(40))
		if ctx := context.Background(); c.rng.IntN(3) == 0 {
			_, _ = b.Delete(ctx, key, nil)
		} else {
			_, _ = b.Put(ctx, key, []byte("new"), nil)
		}
	case p < 70:
		if n := other(isIdle); n != nil && c.count(isDown) == 0 {
			c.kill(n)
		}
	case p < 80:
		if n := other(isDown); n != nil {
			c.restart(n)
		}
	case p < 84:
		if n := other(isIdle); n != nil && c.count(isDown) == 0 {
			tell := c.rng.IntN(2) == 0
			c.say("cut off %v, told %v", n.id, tell)
			c.net.split(tell, n.id)
		}
	case p < 92:
		c.heal()
	case p < 94:
		if c.count(func(*churnNode) bool { return true }) < 7 {
			c.join()
		}
	case p < 96:
		if n := other(isIdle); n != nil && c.count(isIdle) > 4 {
			c.leave(n)
		}
	}
	time.Sleep(time.Duration(c.rng.Int64N(int64(2 * time.Second))))
}

func (c *churn) verifyScan(name string, reverse bool, all iter.Seq2[Entry, error], total *scanTally, wait func()) {
	last, seen, gaps := "", make(map[string]string), make(map[int]string)
	for e, err := range all {
		var gap *ScanGap
		switch {
		case errors.As(err, &gap):
			c.say("%s: behind %q: %v", name, last, err)
			for _, shard := range gap.Shards {
				if _, told := gaps[shard]; !told {
					gaps[shard] = last
				}
			}
			continue
		case err != nil:
			c.t.Errorf("%s: %v", name, err)
			return
		}
		if last != "" && (e.Key == last || e.Key > last == reverse) {
			c.t.Errorf("%s: %q comes behind %q", name, e.Key, last)
		}
		v, _ := e.Value()
		last, seen[e.Key] = e.Key, string(v)
		wait()
	}
	c.say("%s ends", name)
	// A gap excuses what comes behind the key at which it was told.
	excused := func(key string) bool {
		from, gap := gaps[c.nodes[0].store.homes.ShardOf(c.nodes[0].bucket.b.ID, key)]
		return gap && (from == "" || key > from != reverse)
	}
	for i := range scanLived {
		key := fmt.Sprintf("lives-%04d", i)
		switch v, ok := seen[key]; {
		case ok && v == scanValue(i):
			total.lived.Add(1)
		case !ok && excused(key):
			total.excused.Add(1)
		default:
			c.t.Errorf("%s: %q, which lived throughout, came %v as %.20q", name, key, ok, v)
		}
	}
	for i := range scanDead {
		key := fmt.Sprintf("lives-%04d-dead", i*scanLived/scanDead)
		if v, ok := seen[key]; ok && !excused(key) {
			c.t.Errorf("%s: %q, which was deleted before, came as %q", name, key, v)
		}
	}
	if total.scans.Add(1); len(gaps) == 0 {
		total.whole.Add(1)
	}
}
