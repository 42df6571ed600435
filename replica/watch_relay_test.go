package replica

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
)

// followMany has so many follow at one node, the first ten all keys and each other one those of
// a prefix.
func followMany(t *testing.T, b *Bucket, n int) (all []*follower) {
	for i := range n {
		prefix := fmt.Sprintf("%03d/", i)
		if i < 10 {
			prefix = ""
		}
		all = append(all, followBucket(t, fmt.Sprintf("%d, %q", i, prefix), b, WatchOptions{Prefix: prefix}))
	}
	return all
}

// wantOwn fails unless each of followMany comes to know what is its own.
func wantOwn(all []*follower, limit time.Duration, want map[string]string) {
	for i, f := range all {
		own := maps.Clone(want)
		if i >= 10 {
			maps.DeleteFunc(own, func(key, _ string) bool { return !strings.HasPrefix(key, fmt.Sprintf("%03d/", i)) })
		}
		f.want(limit, own)
	}
}

// However many watch at a node, it asks each other node once, and each is told as soon as if
// it watched alone.
func TestWatchersOfANodeAskOnceTogether(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		client, far := openClient(t, net, BucketConfig{})
		defer client.views.Close()
		defer client.store.Close()
		all := followMany(t, far, 300)
		time.Sleep(10 * time.Second)
		beat := client.store.patience.Answer()
		net.watchCalls(nil)
		time.Sleep(10 * beat)
		if calls, _ := net.counted(wire.MethodWatch); calls < 10 || calls > 12*3 {
			t.Errorf("three stores were asked %d times in ten beats", calls)
		}
		want := make(map[string]string)
		for i := range 300 {
			key := fmt.Sprintf("%03d/k", i)
			mustPut(t, buckets[i%3], key, "1")
			want[key] = "1"
		}
		if _, err := buckets[0].Delete(context.Background(), "000/k", nil); err != nil {
			t.Fatal(err)
		}
		delete(want, "000/k")
		wantOwn(all, beat/2, want)
		if calls, _ := net.counted(wire.MethodWatch); calls > 1000 {
			t.Errorf("they were asked %d times for 301 changes", calls)
		}
		for _, f := range all {
			if f.stop(); f.gaps != 0 {
				t.Errorf("%s: %d gaps", f.name, f.gaps)
			}
		}
	})
}

// A store that dies while it is asked for many is noticed by each of them as if it had asked
// itself.
func TestWatchersThatAskTogetherNoticeASilentSource(t *testing.T) {
	for _, told := range []bool{false, true} {
		bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
			client, far := openClient(t, net, BucketConfig{})
			defer client.views.Close()
			defer client.store.Close()
			all := followMany(t, far, 40)
			time.Sleep(10 * time.Second)
			want := make(map[string]string)
			put := func(b *Bucket, name string) {
				for i := range 40 {
					key := fmt.Sprintf("%03d/%s", i, name)
					_, _ = b.Put(context.Background(), key, []byte("1"), &PutOptions{Level: One})
					want[key] = "1"
				}
			}
			begun := time.Now()
			net.split(told, nodes[0].id)
			for _, f := range all {
				for gaps := 0; gaps == 0; time.Sleep(10 * time.Millisecond) {
					f.mu.Lock()
					gaps = f.gaps
					f.mu.Unlock()
					if time.Since(begun) > 5*time.Second {
						t.Fatalf("%s does not notice a silent source", f.name)
					}
				}
			}
			t.Log("noticed after", time.Since(begun))
			put(buckets[1], "here")
			wantOwn(all, 30*time.Second, want)
			put(buckets[0], "beyond")
			net.heal()
			wantOwn(all, 30*time.Second, want)
			for _, n := range nodes { // one after the other
				n.kill()
				time.Sleep(4 * time.Second)
				n.restart()
				time.Sleep(4 * time.Second)
			}
			put(far, "after")
			wantOwn(all, 30*time.Second, want)
			for _, f := range all {
				f.stop()
			}
		})
	}
}
