package replica

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
)

func followClient(t *testing.T, name string, c *Client, bucket string, opts WatchOptions) *follower {
	return follow(t, name, func(ctx context.Context) iter.Seq2[Change, error] { return c.Watch(ctx, bucket, opts) })
}

func TestClientWatchesLikeANode(t *testing.T) {
	clients(t, BucketConfig{Policy: Siblings}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, clients []*Client) {
		b := openBucket(t, nodes[0].store, "b", BucketConfig{Policy: Siblings})
		want := make(map[string]string)
		for i := range 300 {
			key := fmt.Sprintf("k%03d", i)
			want[key] = fmt.Sprint(i, strings.Repeat("v", 1000)) // several answers
			mustPut(t, b, key, want[key])
		}
		time.Sleep(time.Second)
		var all []*follower
		for i, c := range clients {
			all = append(all, followClient(t, fmt.Sprint("client ", i), c, "b", WatchOptions{Present: true, Prefix: "k"}))
		}
		for _, f := range all {
			f.want(10*time.Second, want)
		}
		mustPut(t, b, "k-new", "new")
		mustPut(t, b, "other", "other")
		if _, err := b.Delete(t.Context(), "k007", nil); err != nil {
			t.Fatal(err)
		}
		want["k-new"] = "new"
		delete(want, "k007")
		for _, f := range all {
			f.want(5*time.Second, want)
			if f.stop(); f.gaps > 0 {
				t.Errorf("%s: %d gaps", f.name, f.gaps)
			}
		}
		time.Sleep(2 * time.Second)
		for i, n := range nodes {
			if n.store.sessions.mu.Lock(); len(n.store.sessions.all) > 0 {
				t.Errorf("node %d keeps %d watches that have ended", i, len(n.store.sessions.all))
			}
			n.store.sessions.mu.Unlock()
		}
		// Through another node a watch goes on where one has ended.
		mustPut(t, b, "k-later", "later")
		f := followClient(t, "later", clients[1], "b", WatchOptions{From: all[0].cursor, Prefix: "k"})
		f.want(10*time.Second, map[string]string{"k-later": "later"})
		f.stop()
	})
}

// A node that has lost a watch of a program, because nobody asked for long, is asked to
// begin it anew, from where it was.
func TestClientWatchThatWasLostGoesOn(t *testing.T) {
	clients(t, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, clients []*Client) {
		b := openBucket(t, nodes[0].store, "b", BucketConfig{})
		keys := 0
		for c, err := range clients[0].Watch(t.Context(), "b", WatchOptions{Prefix: "k"}) {
			switch {
			case err != nil:
				t.Fatal(err)
			case c.Kind == ChangePut:
				keys++
				time.Sleep(2 * watchSessionIdle)
			case keys == 0 && c.Open == 0:
				mustPut(t, b, "k1", "1")
			}
			if keys == 1 && c.Kind == ChangePut {
				mustPut(t, b, "k2", "2")
			}
			if keys == 2 {
				if c.Key != "k2" {
					t.Errorf("%q comes second", c.Key)
				}
				break
			}
		}
	})
}

func TestClientIsToldWhatIsWrongWithAWatch(t *testing.T) {
	clients(t, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, clients []*Client) {
		openBucket(t, nodes[0].store, "b", BucketConfig{})
		end := func(c *Client, bucket string, opts WatchOptions) (err error) {
			for _, err = range c.Watch(t.Context(), bucket, opts) {
				if err == nil {
					return nil
				}
			}
			return err
		}
		if err := end(clients[0], "none", WatchOptions{}); !errors.Is(err, ErrNoBucket) {
			t.Errorf("no such bucket: %v", err)
		}
		if err := end(clients[0], "b", WatchOptions{From: "?"}); !errors.Is(err, ErrBadWatch) {
			t.Errorf("bad options: %v", err)
		}
		for name, ask := range map[string]wire.AdminWatch{"bad cursor": {Bucket: "b", From: "?"}} {
			m, err := callAndDecode(t.Context(), asker{nodes[2], 1}, wire.MethodAdminWatch, wire.AppendAdminWatch(nil, &ask), wire.DecodeAdminChanges)
			if err != nil || !errors.Is(faults.FromOutcome(m.AdminOutcome), ErrBadWatch) {
				t.Errorf("%s: %+v, %v", name, m, err)
			}
		}
		// A node keeps so many watches, and forgets those that nobody asks for.
		begin := wire.AppendAdminWatch(nil, &wire.AdminWatch{Bucket: "b"})
		for i := range mostWatchSessions + 1 {
			m, err := callAndDecode(t.Context(), asker{nodes[0], 1}, wire.MethodAdminWatch, begin, wire.DecodeAdminChanges)
			if err != nil {
				t.Fatal(err)
			}
			if err := faults.FromOutcome(m.AdminOutcome); (i == mostWatchSessions) != errors.Is(err, ErrOverloaded) {
				t.Fatalf("watch %d: %v", i, err)
			}
			if i < mostWatchSessions && m.Session == 0 {
				t.Fatal("a watch without a session")
			}
		}
		time.Sleep(2 * watchSessionIdle)
		if err := end(clients[0], "b", WatchOptions{}); err != nil {
			t.Errorf("idle watches are kept: %v", err)
		}
	})
}
