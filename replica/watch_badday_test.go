package replica

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// A watcher lives through a restart of every node but its own, one after the other, while
// keys are written and deleted. So does one at a node that stores nothing.
func TestWatchAcrossARestartOfEveryNodeInTurn(t *testing.T) {
	bubble(t, 4, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		client, far := openClient(t, net, BucketConfig{})
		defer client.views.Close()
		defer client.store.Close()
		want := make(map[string]string)
		write := func(key, value string) {
			if value == "" {
				if _, err := far.Delete(ctx, key, nil); err != nil && !errors.Is(err, ErrDegraded) {
					t.Errorf("delete: %v", err)
				}
				delete(want, key)
				return
			}
			if _, err := far.Put(ctx, key, []byte(value), nil); err != nil && !errors.Is(err, ErrDegraded) {
				t.Errorf("put: %v", err)
			}
			want[key] = value
		}
		for i := range 60 {
			write(fmt.Sprint(i), "before")
		}
		time.Sleep(time.Second)
		here := followBucket(t, "here", buckets[0], WatchOptions{Present: true})
		away := followBucket(t, "away", far, WatchOptions{Present: true})
		var together []*follower
		for i := range 4 {
			together = append(together, followBucket(t, fmt.Sprint("away, one more ", i), far, WatchOptions{Present: true}))
		}
		here.want(5*time.Second, want)
		away.want(5*time.Second, want)
		for i, n := range nodes[1:] {
			n.kill()
			for k := range 30 {
				write(fmt.Sprint(k+10*i), fmt.Sprint("while ", i, " is down"))
			}
			write(fmt.Sprint(40+i), "")
			time.Sleep(4 * time.Second)
			n.restart()
			write(fmt.Sprint("new ", i), "after")
			time.Sleep(4 * time.Second)
		}
		here.want(20*time.Second, want)
		t.Logf("gaps: %d here, %d away", here.gaps, away.gaps)
		for _, f := range append(together, away) {
			f.want(20*time.Second, want)
			if f.stop(); f.gaps == 0 {
				t.Errorf("%s: a restart of what it follows is no gap", f.name)
			}
		}
		here.stop()
	})
}

// A source that is silent is noticed in three beats, and what happens on the other side of
// a cut comes when it has healed.
func TestWatchAcrossACut(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		client, far := openClient(t, net, BucketConfig{})
		defer client.views.Close()
		defer client.store.Close()
		f := followBucket(t, "far", far, WatchOptions{})
		time.Sleep(3 * time.Second)
		f.want(0, map[string]string{})
		begun := time.Now()
		net.split(false, nodes[0].id) // and nobody tells
		for gaps := 0; gaps == 0; time.Sleep(10 * time.Millisecond) {
			f.mu.Lock()
			gaps = f.gaps
			f.mu.Unlock()
			if time.Since(begun) > 5*time.Second {
				t.Fatal("a silent source is not noticed")
			}
		}
		t.Log("noticed after", time.Since(begun))
		want := map[string]string{"here": "1", "beyond": "1"}
		for key, b := range map[string]*Bucket{"here": buckets[1], "beyond": buckets[0]} {
			if _, err := b.Put(ctx, key, []byte("1"), &PutOptions{Level: One}); err != nil && !errors.Is(err, ErrDegraded) {
				t.Fatal(err)
			}
		}
		f.want(30*time.Second, map[string]string{"here": "1"})
		net.heal()
		f.want(30*time.Second, want)
		f.stop()
	})
}

// A watcher behind whom deletes were purged while it was cut off is told of them all the
// same: it has taken the keys for live.
func TestWatchIsToldOfDeletesThatWerePurgedInAGap(t *testing.T) {
	bubbleOn(t, 3, BucketConfig{}, func(_ int, _ *fakeNode, c *Config) { c.PurgeEvery = 5 * time.Second }, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		client, far := openClient(t, net, BucketConfig{})
		defer client.views.Close()
		defer client.store.Close()
		for i := range 20 {
			mustPut(t, buckets[0], fmt.Sprint(i), "1")
		}
		f := followBucket(t, "far", far, WatchOptions{Present: true})
		time.Sleep(3 * time.Second)
		net.split(true, client.id)
		time.Sleep(5 * time.Second)
		for i := range 10 {
			if _, err := buckets[1].Delete(context.Background(), fmt.Sprint(i), nil); err != nil {
				t.Fatal(err)
			}
		}
		for n := 1; n > 0; time.Sleep(time.Second) {
			var err error
			if n, _, err = nodes[0].store.records.CountDead(context.Background(), 0); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range nodes { // their rings know nothing any more
			n.kill()
			n.restart()
		}
		time.Sleep(5 * time.Second)
		net.heal()
		want := make(map[string]string)
		for i := 10; i < 20; i++ {
			want[fmt.Sprint(i)] = "1"
		}
		f.want(2*time.Minute, want)
		f.stop()
	})
}

// Whoever does not read is ended with a cursor, holds nobody up, and finds what it has
// missed.
func TestWatchThatIsNotReadIsTooSlow(t *testing.T) {
	bubbleOn(t, 3, BucketConfig{}, func(_ int, _ *fakeNode, c *Config) { c.ring = 64 }, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		want := make(map[string]string)
		var cursor Cursor
		var ended error
		reading := false
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // virtual
		defer cancel()
		for c, err := range buckets[0].Watch(ctx, WatchOptions{}) {
			if cursor = c.Cursor(); err != nil {
				ended = err
			}
			// Until it is current it has no place at some store, which it could be too slow for.
			if reading || c.Kind != ChangeCurrent || c.Open > 0 {
				continue
			}
			reading = true
			for i := range 100 { // while nothing is consumed
				mustPut(t, buckets[0], fmt.Sprint(i), "1")
				want[fmt.Sprint(i)] = "1"
			}
		}
		if !errors.Is(ended, ErrTooSlow) {
			t.Fatalf("it ended in %v", ended)
		}
		f := followBucket(t, "again", buckets[0], WatchOptions{From: cursor})
		f.want(30*time.Second, want)
		if f.stop(); f.gaps == 0 {
			t.Error("no gap is told")
		}
	})
}

// 1 000 watchers, each of a device of its own, of whom each is told of what is its own.
func TestThousandWatchers(t *testing.T) {
	if testing.Short() {
		t.Skip("3 s of CPU")
	}
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		const watchers = 1000
		var all []*follower
		for i := range watchers {
			all = append(all, followBucket(t, fmt.Sprint("watcher ", i), buckets[i%3], WatchOptions{Prefix: fmt.Sprintf("%03d/", i)}))
		}
		time.Sleep(3 * time.Second)
		var writers sync.WaitGroup
		for w := range 4 {
			writers.Go(func() {
				for i := w; i < watchers; i += 4 {
					for k := range 2 {
						mustPut(t, buckets[w%3], fmt.Sprintf("%03d/%d", i, k), fmt.Sprint(i))
					}
				}
			})
		}
		writers.Wait()
		for i, f := range all {
			want := make(map[string]string)
			for k := range 2 {
				want[fmt.Sprintf("%03d/%d", i, k)] = fmt.Sprint(i)
			}
			f.want(10*time.Second, want)
			f.stop()
		}
	})
}

// An answer that is none to the poll, of a store that lies, is as good as none: another
// home is followed.
func TestWatchOfAStoreThatLies(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		client, far := openClient(t, net, BucketConfig{})
		defer client.views.Close()
		defer client.store.Close()
		liar := nodes[1]
		mustPut(t, buckets[0], "k", "v")
		rec, err := nodes[0].store.records.Load(context.Background(), nodes[0].store.homes.LocateKey(buckets[0].b.ID, "k"))
		if err != nil {
			t.Fatal(err)
		}
		item := wire.AppendItem(nil, &rec.Item)
		lie := func(_ context.Context, _ view.NodeID, req []byte) ([]byte, error) {
			q, err := wire.DecodeWatchRequest(req)
			if err != nil {
				return nil, err
			}
			m := wire.WatchReply{Epoch: max(q.Epoch, 1), Seq: q.Seq + 10, Entries: []wire.WatchEntry{{Step: 1, Key: "elsewhere", Item: item}}}
			return wire.AppendWatchReply(nil, &m), nil
		}
		liar.mu.Lock()
		liar.handlers[wire.MethodWatch] = lie
		liar.mu.Unlock()
		f := followBucket(t, "far", far, WatchOptions{Prefix: "k", Present: true})
		want := map[string]string{"k": "v"}
		for i := range 30 {
			key := fmt.Sprint("k", i)
			mustPut(t, buckets[0], key, "v")
			want[key] = "v"
		}
		f.want(30*time.Second, want)
		f.stop()
		if strings.Contains(f.logged(), "elsewhere") {
			t.Error("a key that was not asked for is told")
		}
	})
}

// On a real mesh: a node is killed without a word while keys are written, and starts again.
func TestRealMeshWatchAcrossAKillAndACut(t *testing.T) {
	dir := t.TempDir()
	inWorld(t, 4, func(w *world) {
		ctx := context.Background()
		camera := w.addCamera(dir)
		w.start(camera)
		far := openBucket(t, camera.store, "b", BucketConfig{})
		want := make(map[string]string)
		put := func(key string) {
			if _, err := far.Put(ctx, key, []byte("v"), nil); err != nil && !errors.Is(err, ErrDegraded) {
				t.Errorf("put %q: %v", key, err)
			}
			want[key] = "v"
		}
		here := followBucket(t, "here", w.boxes[0].bucket, WatchOptions{Present: true})
		away := followBucket(t, "away", far, WatchOptions{Present: true})
		for i := range 40 {
			put(fmt.Sprint("before ", i))
		}
		here.want(10*time.Second, want)
		away.want(10*time.Second, want)
		w.kill(w.boxes[1])
		for i := range 40 {
			put(fmt.Sprint("without ", i))
		}
		here.want(20*time.Second, want)
		away.want(20*time.Second, want)
		w.start(w.boxes[1])
		time.Sleep(10 * time.Second)
		w.net.Partition(w.addrs(2), w.addrs(0, 1, 3, 4))
		for i := range 40 {
			put(fmt.Sprint("beside a cut ", i))
		}
		away.want(30*time.Second, want)
		w.net.HealAll()
		for i := range 40 {
			put(fmt.Sprint("after ", i))
		}
		here.want(30*time.Second, want)
		away.want(30*time.Second, want)
		here.stop()
		away.stop()
		t.Logf("gaps: %d here, %d away", here.gaps, away.gaps)
		if away.gaps == 0 {
			t.Error("no gap is told")
		}
	})
}

// A home whose disk is full misses what is written elsewhere: another one is followed, and
// where there is none that is told.
func TestWatchWhileDisksAreFull(t *testing.T) {
	fullDisks(t, func(t *testing.T, disks []*fullFS, nodes []*fakeNode, buckets []*Bucket) {
		f := followBucket(t, "f", buckets[0], WatchOptions{Present: true})
		mustPut(t, buckets[0], "k", "1")
		f.want(5*time.Second, map[string]string{"k": "1"})
		fillUp(disks[0])
		mustPut(t, buckets[1], "k", "2")
		mustPut(t, buckets[1], "other", "2")
		f.want(10*time.Second, map[string]string{"k": "2", "other": "2"})
		fillUp(disks[1], disks[2])
		time.Sleep(10 * time.Second)
		f.mu.Lock()
		open := f.open
		f.mu.Unlock()
		if open == 0 {
			t.Error("a watch that no home can tell of all is current")
		}
		for _, d := range disks {
			d.full.Store(false)
		}
		time.Sleep(time.Second)
		mustPut(t, buckets[2], "k", "3")
		f.want(time.Minute, map[string]string{"k": "3", "other": "2"})
		f.stop()
	})
}
