package replica

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/replica/version"
)

// follower consumes a watch.
type follower struct {
	t      *testing.T
	name   string
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	told   map[string][]version.Context // all states, by key
	view   map[string]string            // what it takes for live
	log    []string                     // of changes: "put k=v", "delete k"
	open   int                          // shards that are not current; -1: not told yet
	gaps   int
	cursor Cursor
	err    error
}

// follow has a goroutine consume a watch until the follower stops.
func follow(t *testing.T, name string, begin func(context.Context) iter.Seq2[Change, error]) *follower {
	f := &follower{t: t, name: name, view: make(map[string]string), told: make(map[string][]version.Context), open: -1}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.done.Go(func() {
		for c, err := range begin(ctx) {
			f.take(&c, err)
		}
	})
	return f
}

func followBucket(t *testing.T, name string, b *Bucket, opts WatchOptions) *follower {
	return follow(t, name, func(ctx context.Context) iter.Seq2[Change, error] { return b.Watch(ctx, opts) })
}

func (f *follower) take(c *Change, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.err = err
		return
	}
	value, live := c.Value()
	f.verifyOrder(c)
	switch c.Kind {
	case ChangePut:
		if !live {
			f.t.Errorf("%s: a put of %q without a value", f.name, c.Key)
		}
		f.view[c.Key] = string(value)
		f.log = append(f.log, fmt.Sprintf("put %s=%s", c.Key, value))
	case ChangeDelete, ChangeExpire:
		if live {
			f.t.Errorf("%s: %v of %q with a value", f.name, c.Kind, c.Key)
		}
		delete(f.view, c.Key)
		f.log = append(f.log, fmt.Sprintf("%v %s", c.Kind, c.Key))
	default:
		if f.open = c.Open; c.Kind == ChangeGap {
			f.gaps++
		}
		if len(c.Shards) == 0 || c.Key != "" {
			f.t.Errorf("%s: mark %+v", f.name, c)
		}
	}
	f.cursor = c.Cursor()
}

// verifyOrder fails if a state lies before one that was told. A key that is gone without
// anybody knowing a delete may come to light again.
func (f *follower) verifyOrder(c *Change) {
	if c.Context.seen == nil {
		return
	}
	now := c.Context.seen.Ctx
	if len(now) == 0 {
		delete(f.told, c.Key)
		return
	}
	for i, before := range f.told[c.Key] {
		last := i == len(f.told[c.Key])-1
		if ends := c.Kind != ChangePut && last && now.Includes(before); before.Includes(now) && !ends {
			f.t.Errorf("%s: %v %q of %v after %v", f.name, c.Kind, c.Key, now, before)
		}
	}
	f.told[c.Key] = append(f.told[c.Key], now)
}

func (f *follower) stop() {
	f.cancel()
	f.done.Wait()
	if f.err != nil && !errors.Is(f.err, context.Canceled) {
		f.t.Errorf("%s: ended by %v", f.name, f.err)
	}
}

// sees returns what the follower takes for live, once it is current and holds the wanted.
func (f *follower) want(limit time.Duration, want map[string]string) {
	f.t.Helper()
	end := time.Now().Add(limit)
	for {
		f.mu.Lock()
		same, open := maps.Equal(f.view, want), f.open
		view := maps.Clone(f.view)
		f.mu.Unlock()
		if same && open == 0 {
			return
		}
		if time.Now().After(end) {
			f.t.Fatalf("%s: after %v it knows %d keys %.300v, want %d %.300v, shards open %d; log %.2000q", f.name, limit, len(view), view, len(want), want, open, f.log)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (f *follower) logged() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.log, ", ")
}

func TestWatchTellsOfPutsDeletesAndEnds(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		client, far := openClient(t, net, BucketConfig{})
		defer client.views.Close()
		defer client.store.Close()
		mustPut(t, buckets[0], "old", "1")
		mustPut(t, buckets[0], "gone", "1")
		if _, err := buckets[1].Delete(ctx, "gone", nil); err != nil {
			t.Fatal(err)
		}
		if _, err := buckets[0].Put(ctx, "short", []byte("1"), &PutOptions{TTL: 30 * time.Second}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		var all []*follower
		for i, b := range append(buckets, far) {
			all = append(all, followBucket(t, fmt.Sprint("new at ", i), b, WatchOptions{}), followBucket(t, fmt.Sprint("present at ", i), b, WatchOptions{Present: true}))
		}
		time.Sleep(time.Second)
		for i, f := range all {
			f.want(0, map[int]map[string]string{0: {}, 1: {"old": "1", "short": "1"}}[i%2])
		}
		large := strings.Repeat("large", 4000)
		begun := time.Now()
		mustPut(t, buckets[0], "a", "1")
		mustPut(t, buckets[1], "b", large)
		mustPut(t, far, "c", "1")
		time.Sleep(50 * time.Millisecond)
		if _, err := far.Delete(ctx, "a", nil); err != nil {
			t.Fatal(err)
		}
		if _, err := buckets[2].Put(ctx, "d", []byte("1"), &PutOptions{TTL: 10 * time.Second}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		for i, f := range all {
			want := map[string]string{"b": large, "c": "1", "d": "1"}
			if i%2 == 1 {
				want["old"], want["short"] = "1", "1"
			}
			f.want(0, want)
		}
		t.Log("told within", time.Since(begun))
		time.Sleep(40 * time.Second)
		for i, f := range all {
			want := map[string]string{"b": large, "c": "1"}
			if i%2 == 1 {
				want["old"] = "1"
			}
			f.want(0, want)
			if log := f.logged(); strings.Count(log, "expire d") != 1 || strings.Count(log, "expire short") != 1 || strings.Count(log, "delete") != 1 || strings.Count(log, "delete a") != 1 || f.gaps != 0 {
				t.Errorf("%s: %.300q, %d gaps", f.name, log, f.gaps)
			}
			f.stop()
		}
	})
}

func TestWatchOfAPrefixOfAnyBytes(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		var all []*follower
		prefixes := []string{"", "k", "k1", "p", "p\xff", "\xff", "\x00", "nothing", "long"}
		for i, prefix := range prefixes {
			all = append(all, followBucket(t, fmt.Sprintf("%q", prefix), buckets[i%3], WatchOptions{Prefix: prefix, Present: i%2 == 0}))
		}
		want := make(map[string]string)
		time.Sleep(time.Second)
		for i, key := range nastyKeys() {
			mustPut(t, buckets[i%3], key, fmt.Sprint(i))
			want[key] = fmt.Sprint(i)
		}
		for i, f := range all {
			some := maps.Clone(want)
			maps.DeleteFunc(some, func(key, _ string) bool { return !strings.HasPrefix(key, prefixes[i]) })
			f.want(5*time.Second, some)
			f.stop()
		}
	})
}

func TestWatchGoesOnFromACursor(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		first := followBucket(t, "first", buckets[0], WatchOptions{Present: true})
		for i := range 20 {
			mustPut(t, buckets[i%3], fmt.Sprint(i), "1")
		}
		time.Sleep(3 * time.Second)
		first.stop()
		for i := 10; i < 30; i++ {
			mustPut(t, buckets[i%3], fmt.Sprint(i), "2")
		}
		second := followBucket(t, "second", buckets[1], WatchOptions{From: first.cursor})
		want := make(map[string]string)
		for i := 10; i < 30; i++ {
			want[fmt.Sprint(i)] = "2"
		}
		second.want(5*time.Second, want)
		second.stop()
		if second.gaps > 0 || strings.Contains(second.logged(), "=1") {
			t.Errorf("%d gaps, %s", second.gaps, second.logged())
		}
		// The home that was followed has been restarted: what is there comes again.
		nodes[0].kill()
		nodes[0].restart()
		third := followBucket(t, "third", openBucket(t, nodes[0].store, "b", BucketConfig{}), WatchOptions{From: first.cursor})
		for i := range 10 {
			want[fmt.Sprint(i)] = "1"
		}
		third.want(20*time.Second, want)
		third.stop()
		if third.gaps == 0 {
			t.Error("a gap is not told")
		}
		for name, opts := range map[string]WatchOptions{"nonsense": {From: "w!"}, "of a scan": {From: "kYQ"}, "prefix": {Prefix: strings.Repeat("p", 1<<20)}} {
			for c, err := range buckets[1].Watch(context.Background(), opts) {
				if !errors.Is(err, ErrBadWatch) || !errors.Is(opts.Validate(), ErrBadWatch) || c.Cursor() != opts.From {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		other := openBucket(t, nodes[1].store, "other", BucketConfig{})
		for _, err := range other.Watch(context.Background(), WatchOptions{From: first.cursor}) {
			if !errors.Is(err, ErrBadWatch) {
				t.Errorf("a cursor of another bucket: %v", err)
			}
		}
	})
}

func TestWatchEndsWithTheStore(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		f := followBucket(t, "f", buckets[0], WatchOptions{Present: true})
		g := followBucket(t, "g", buckets[1], WatchOptions{})
		time.Sleep(3 * time.Second)
		begun := time.Now()
		_ = nodes[0].store.Close()
		f.done.Wait()
		if !errors.Is(f.err, ErrClosed) || time.Since(begun) > 2*time.Second {
			t.Errorf("ended by %v after %v", f.err, time.Since(begun))
		}
		f.cancel()
		g.stop()
		synctest.Wait()
	})
}

// What one watcher does to its bytes neither another one sees nor the store.
func TestBytesOfAChangeBelongToTheCaller(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, _ *fakeNet, _ []*fakeNode, buckets []*Bucket) {
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		var told atomic.Int64
		watch := func() {
			for c := range buckets[1].Watch(ctx, WatchOptions{}) {
				if c.Kind != ChangePut {
					continue
				}
				told.Add(1)
				v, live := c.Value()
				if !live || string(v) != "value" {
					t.Errorf("it is told of %q, %v", v, live)
				}
				clear(v)
				each := c.Siblings()
				if len(each) != 1 {
					t.Fatalf("it is told of %q", each)
				}
				clear(each[0])
			}
		}
		for range 3 {
			all.Go(watch)
		}
		time.Sleep(time.Second)
		for i := range 3 {
			mustPut(t, buckets[i], fmt.Sprint(i), "value")
			time.Sleep(time.Second)
		}
		for i, b := range buckets {
			it, err := b.Get(ctx, fmt.Sprint(i), &GetOptions{Level: One})
			if v, _ := it.Value(); err != nil || string(v) != "value" {
				t.Errorf("there is %q, %v", v, err)
			}
		}
		if n := told.Load(); n != 9 {
			t.Errorf("%d changes are told", n)
		}
		cancel()
		all.Wait()
	})
}
