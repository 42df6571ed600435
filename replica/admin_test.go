package replica

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// asker calls one node from another that may well be no store.
type asker struct {
	from *fakeNode
	to   view.NodeID
}

func (a asker) Call(ctx context.Context, method string, req []byte) ([]byte, error) {
	return a.from.Call(ctx, a.to, method, req)
}

// clients runs a test with two storing nodes, one that stores nothing, and a
// client of each.
func clients(t *testing.T, cfg BucketConfig, fn func(t *testing.T, net *fakeNet, nodes []*fakeNode, clients []*Client)) {
	clientsOn(t, cfg, func(*Config) {}, fn)
}

func clientsOn(t *testing.T, cfg BucketConfig, change func(*Config), fn func(t *testing.T, net *fakeNet, nodes []*fakeNode, clients []*Client)) {
	synctest.Test(t, func(t *testing.T) {
		net := newFakeNet(t)
		nodes := []*fakeNode{net.add(true), net.add(true), net.add(false)}
		var cs []*Client
		for _, n := range nodes {
			n.open(change)
			cs = append(cs, NewClient(asker{n, n.id}))
		}
		defer func() {
			for _, n := range nodes {
				if err := n.store.Close(); err != nil {
					t.Error(err)
				}
				n.views.Close()
			}
		}()
		openBucket(t, nodes[0].store, "b", cfg)
		time.Sleep(5 * time.Second)
		fn(t, net, nodes, cs)
	})
}

func TestClientThroughAnyNode(t *testing.T) {
	clients(t, BucketConfig{}, func(t *testing.T, _ *fakeNet, nodes []*fakeNode, clients []*Client) {
		ctx := t.Context()
		for i, c := range clients {
			key, other := fmt.Sprintf("key-%d", i), clients[(i+1)%3]
			none, err := c.Get(ctx, "b", key, nil)
			if !errors.Is(err, ErrNotFound) || errors.Is(err, ErrDegraded) || none.Context.IsZero() {
				t.Fatalf("client %d reads what is not there: %+v, %v", i, none, err)
			}
			r, err := c.Put(ctx, "b", key, []byte("one"), &PutOptions{Context: none.Context, Level: Quorum})
			if err != nil || r.Durable < 2 || r.Dot.N == 0 || r.Context.IsZero() {
				t.Fatalf("client %d writes: %+v, %v", i, r, err)
			}
			it, err := other.Get(ctx, "b", key, &GetOptions{Level: Quorum})
			if v, ok := it.Value(); err != nil || !ok || string(v) != "one" || it.Key != key || it.Replies == 0 {
				t.Fatalf("client %d's write reads as %+v, %v", i, it, err)
			}
			r, err = other.Delete(ctx, "b", key, &DeleteOptions{Context: it.Context})
			if err != nil || len(r.Covered) != 1 {
				t.Fatalf("delete: %+v, %v", r, err)
			}
			if it, err = c.Get(ctx, "b", key, nil); !errors.Is(err, ErrNotFound) {
				t.Fatalf("after its delete the key reads as %+v, %v", it, err)
			}
		}
		if _, err := clients[0].Put(ctx, "b", "short", []byte("v"), &PutOptions{TTL: time.Minute}); err != nil {
			t.Fatal(err)
		}
		if _, err := clients[1].Get(ctx, "b", "short", nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if _, err := clients[1].Get(ctx, "b", "short", nil); !errors.Is(err, ErrNotFound) {
			t.Fatalf("value outlived its TTL: %v", err)
		}
		if st, err := clients[1].Status(ctx); err != nil || st.Compared == 0 || st.Syncing != 0 {
			t.Fatalf("status: %+v, %v", st, err)
		}
		if err := nodes[1].store.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := clients[1].Status(ctx); !errors.Is(err, ErrClosed) {
			t.Fatalf("status of a closed store: %v", err)
		}
		if _, err := clients[1].Get(ctx, "b", "k", nil); !errors.Is(err, ErrClosed) {
			t.Fatalf("read through a closed store: %v", err)
		}
	})
}

func TestClientSeesSiblings(t *testing.T) {
	clients(t, BucketConfig{Policy: Siblings}, func(t *testing.T, _ *fakeNet, _ []*fakeNode, clients []*Client) {
		ctx := t.Context()
		none, _ := clients[0].Get(ctx, "b", "k", nil)
		for i, v := range []string{"one", ""} {
			if _, err := clients[i].Put(ctx, "b", "k", []byte(v), &PutOptions{Context: none.Context}); err != nil {
				t.Fatal(err)
			}
		}
		it, err := clients[2].Get(ctx, "b", "k", nil)
		if v, ok := it.Value(); err != nil || len(it.Siblings()) != 2 || !ok || len(v) != 0 {
			t.Fatalf("%q, last %q %v, %v", it.Siblings(), v, ok, err)
		}
		text, err := it.Context.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var seen Context
		if err := seen.UnmarshalText(text); err != nil {
			t.Fatal(err)
		}
		if _, err := clients[1].Put(ctx, "b", "k", []byte("both"), &PutOptions{Context: seen}); err != nil {
			t.Fatal(err)
		}
		if it, err = clients[0].Get(ctx, "b", "k", nil); err != nil || len(it.Siblings()) != 1 {
			t.Fatalf("%q, %v", it.Siblings(), err)
		}
		// A delete of what was seen leaves what came later.
		was := it.Context
		if _, err := clients[2].Put(ctx, "b", "k", []byte("later"), &PutOptions{Context: none.Context}); err != nil {
			t.Fatal(err)
		}
		if _, err := clients[1].Delete(ctx, "b", "k", &DeleteOptions{Context: was}); err != nil {
			t.Fatal(err)
		}
		if it, err = clients[0].Get(ctx, "b", "k", nil); err != nil || len(it.Siblings()) != 1 || string(it.Siblings()[0]) != "later" {
			t.Fatalf("after the delete of what was seen: %q, %v", it.Siblings(), err)
		}
		if _, err := clients[1].Put(ctx, "b", "other", []byte("v"), &PutOptions{Context: seen}); !errors.Is(err, ErrBadContext) {
			t.Fatalf("the context of another key was taken: %v", err)
		}
	})
}

func TestClientDefinesNoBuckets(t *testing.T) {
	clients(t, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, clients []*Client) {
		ctx := t.Context()
		for i, c := range clients {
			for _, name := range []string{"never", "", string(make([]byte, 300))} {
				if _, err := c.Put(ctx, name, "k", []byte("v"), nil); !errors.Is(err, ErrNoBucket) || errors.Is(err, ErrDegraded) {
					t.Errorf("put through node %d into %.10q: %v", i, name, err)
				}
				if _, err := c.Get(ctx, name, "b", nil); !errors.Is(err, ErrNoBucket) || errors.Is(err, ErrNotFound) {
					t.Errorf("get through node %d from %.10q: %v", i, name, err)
				}
			}
		}
		if _, err := clients[0].Put(ctx, "b", "k", make([]byte, wire.MaxValue+1), nil); !errors.Is(err, ErrTooLarge) {
			t.Errorf("value too large: %v", err)
		}
		if _, err := clients[0].Get(ctx, "b", string(make([]byte, wire.MaxKey+1)), nil); !errors.Is(err, ErrTooLarge) {
			t.Errorf("key too large: %v", err)
		}
		if _, err := clients[0].Get(ctx, "b", "k", &GetOptions{Level: Level(99)}); err == nil {
			t.Error("no such level, and no error")
		}
		net.split(true, nodes[2].id)
		if _, err := clients[2].Get(ctx, "elsewhere", "k", nil); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a node that stores nothing and is cut off says: %v", err)
		}
		net.split(true, nodes[0].id)
		if _, err := clients[0].Get(ctx, "elsewhere", "k", nil); !errors.Is(err, ErrNoBucket) || !errors.Is(err, ErrDegraded) {
			t.Errorf("a store that is cut off is sure that there is no bucket: %v", err)
		}
	})
}

func TestClientHearsOfBucketConflict(t *testing.T) {
	clients(t, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, clients []*Client) {
		ctx := t.Context()
		net.split(true, nodes[0].id)
		openBucket(t, nodes[0].store, "apart", BucketConfig{Copies: 1})
		openBucket(t, nodes[1].store, "apart", BucketConfig{Copies: 2})
		if _, err := clients[0].Put(ctx, "apart", "k", []byte("v"), nil); err != nil && !errors.Is(err, ErrDegraded) {
			t.Fatalf("alone, before anybody knows: %v", err)
		}
		net.heal()
		time.Sleep(time.Minute)
		for i, c := range clients {
			key := fmt.Sprint("k", i)
			r, err := c.Put(ctx, "apart", key, []byte("v"), nil)
			if !errors.Is(err, ErrBucketConflict) || r.Durable == 0 || r.Context.IsZero() {
				t.Fatalf("put through node %d: %+v, %v", i, r, err)
			}
			it, err := clients[(i+1)%3].Get(ctx, "apart", key, nil)
			if v, ok := it.Value(); !errors.Is(err, ErrBucketConflict) || !ok || string(v) != "v" {
				t.Fatalf("all nodes mean the same definition, but %s reads as %+v, %v", key, it, err)
			}
		}
	})
}

// A client gets the health of a store as it is there; one of an early release gets its
// sentences, and what a node of an early release says is read as such.
func TestHealthReachesTheClient(t *testing.T) {
	clients(t, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, clients []*Client) {
		ctx := t.Context()
		net.split(true, nodes[0].id)
		time.Sleep(time.Minute)
		h, err := nodes[1].store.Health(ctx)
		if err != nil || len(h.Problems) == 0 || len(h.Shards) == 0 {
			t.Fatalf("%+v, %v", h, err)
		}
		problems, shards, err := clients[1].Health(ctx)
		if err != nil || !reflect.DeepEqual(problems, h.Problems) || len(shards) != len(h.Shards) {
			t.Errorf("%+v, %d shards, %v, want %+v, %d shards", problems, len(shards), err, h.Problems, len(h.Shards))
		}
		for i := range shards {
			if !reflect.DeepEqual(shards[i], h.Shards[i]) {
				t.Errorf("%+v, want %+v", shards[i], h.Shards[i])
			}
		}
		early, err := asker{nodes[1], nodes[1].id}.Call(ctx, wire.MethodAdminHealth, nil)
		if err != nil {
			t.Fatal(err)
		}
		m, err := wire.DecodeAdminHealth(early)
		if err != nil || !m.InWords || !slices.Equal(wordsOf(m.Problems), wordsOf(h.Problems)) || len(m.Lines) != len(h.Shards) || m.Lines[0] != h.Shards[0].String() {
			t.Errorf("an early client gets %+v, %v", m, err)
		}
		told, shards, err := NewClient(answering(early)).Health(ctx)
		if err != nil || len(shards) != 0 || !slices.Equal(wordsOf(told), wordsOf(h.Problems)) || told[0].Kind != view.ProblemInWords {
			t.Errorf("of an early node is read: %+v, %v", told, err)
		}
	})
}

// answering gives one answer to all.
type answering []byte

func (a answering) Call(context.Context, string, []byte) ([]byte, error) { return a, nil }

// What a client writes is for the program of its node to read, which has said what it
// wants. Of a node whose program has not opened the bucket nothing is known.
func TestClientWritesAsTheProgramHasOpenedTheBucket(t *testing.T) {
	clients(t, BucketConfig{MaxKey: 9, MaxValue: 5, TTL: time.Hour, MinDurable: 1}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, clients []*Client) {
		for i, limited := range []bool{true, false} {
			c, key := clients[i], fmt.Sprint("key-", i)
			if _, err := c.Put(t.Context(), "b", key, []byte("123456"), nil); errors.Is(err, ErrTooLarge) != limited {
				t.Errorf("client %d: a large value: %v", i, err)
			}
			if _, err := c.Put(t.Context(), "b", "0123456789", nil, nil); errors.Is(err, ErrTooLarge) != limited {
				t.Errorf("client %d: a long key: %v", i, err)
			}
			if _, err := c.Put(t.Context(), "b", key, []byte("12345"), nil); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		}
		time.Sleep(2 * time.Hour)
		for i, c := range clients[:2] {
			if _, err := c.Get(t.Context(), "b", fmt.Sprint("key-", i), nil); errors.Is(err, ErrNotFound) != (i == 0) {
				t.Errorf("client %d: after the TTL: %v", i, err)
			}
		}
	})
}
