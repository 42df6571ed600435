package replica

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// term is the token of a leader; the higher the term, the later it leads.
func term(n uint64) token.Token { return token.Token{Term: n, Node: view.NodeID(100 - n)} }

func mustLead(t *testing.T, b *Bucket, key, value string, lead token.Token) Result {
	t.Helper()
	r, err := b.Put(context.Background(), key, []byte(value), &PutOptions{Token: lead})
	if err != nil {
		t.Fatalf("put %s with %v at %v: %v", key, lead, b.s.id, err)
	}
	return r
}

// wantFenced fails unless an error says that a token was seen, and no more.
func wantFenced(t *testing.T, err error, seen token.Token) {
	t.Helper()
	if !errors.Is(err, ErrFenced) || errors.Is(err, ErrDegraded) || errors.Is(err, ErrUnavailable) || FencedBy(err) != seen {
		t.Errorf("%v, which names %v, want %v", err, FencedBy(err), seen)
	}
}

// Through any node, one by one and in batches, what shows a lower token than was seen is
// refused, or none, and told of the one that was seen. A delete keeps it.
func TestF1_25_FormerLeaderIsRefused(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		guest, b := withGuest(t, net)
		defer guest.views.Close()
		defer func() { _ = guest.store.Close() }()
		for i, at := range append([]*Bucket{b}, buckets...) {
			key := fmt.Sprint("k", i)
			mustPut(t, at, key, "nobody")
			mustLead(t, at, key, "former", term(5))
			mustLead(t, at, key, "later", term(6))
			for _, late := range []token.Token{term(5), {}} {
				before, _ := net.counted(wire.MethodPut)
				_, err := at.Put(ctx, key, []byte("late"), &PutOptions{Token: late})
				wantFenced(t, err, term(6))
				if after, _ := net.counted(wire.MethodPut); after > before+1 {
					t.Errorf("%d stores were asked to coordinate it", after-before)
				}
				_, err = at.Delete(ctx, key, &DeleteOptions{Token: late, Level: One})
				wantFenced(t, err, term(6))
				done, err := at.PutMany(ctx, []BatchPut{{Key: key, Value: []byte("late")}, {Key: fmt.Sprint("other ", late)}}, &PutOptions{Token: late})
				if wantFenced(t, done[0].Err, term(6)); !errors.Is(err, ErrFenced) || done[1].Err != nil {
					t.Errorf("%v, %v", err, done[1].Err)
				}
				gone, _ := at.DeleteMany(ctx, []BatchDelete{{Key: key}, {Key: key}}, &DeleteOptions{Token: late})
				wantFenced(t, gone[0].Err, term(6))
				wantFenced(t, gone[1].Err, term(6))
			}
			wantValue(t, at, key, "later")
			r := mustLead(t, at, key, "again", term(6))
			if got := r.Context.Token(); got != term(6) {
				t.Errorf("the context of a write has seen %v", got)
			}
			if _, err := at.Delete(ctx, key, &DeleteOptions{Token: term(6)}); err != nil {
				t.Error(err)
			}
			_, err := at.Put(ctx, key, []byte("late"), &PutOptions{Token: term(5)})
			wantFenced(t, err, term(6))
			wantNotFound(t, at, key)
			mustLead(t, at, key, "next", term(7))
			if _, err := at.Put(ctx, key, nil, &PutOptions{Token: token.Token{Term: 9}}); !errors.Is(err, token.ErrToken) {
				t.Errorf("half a token: %v", err)
			}
			if _, err := at.PutMany(ctx, nil, &PutOptions{Token: token.Token{Node: 9}}); !errors.Is(err, token.ErrToken) || !errors.Is(err, ErrBadBatch) {
				t.Errorf("half a token: %v", err)
			}
		}
	})
}

// A store that coordinates knows nothing of the later leader. Another home does, and the
// former leader hears of it in place of an acknowledgement; what is kept of its write is not
// shown, however late its date is.
func TestHomesTellOfALaterLeader(t *testing.T) {
	bubbleUncompared(t, 3, BucketConfig{}, func(t *testing.T, _ *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		late := func(key string, i int) error {
			if i%2 == 0 {
				_, err := buckets[i%3].Put(t.Context(), key, []byte("late"), &PutOptions{Token: term(5), Level: Quorum})
				return err
			}
			done, _ := buckets[i%3].PutMany(t.Context(), []BatchPut{{Key: key, Value: []byte("late")}}, &PutOptions{Token: term(5), Level: Quorum})
			return done[0].Err
		}
		kept := 0
		for i := range 24 {
			key := fmt.Sprint("k", i)
			mustLead(t, buckets[0], key, "later", term(6))
			time.Sleep(time.Second) // all three have it
			loseHere(t, nodes[i%3].store, buckets[0].b.ID, key)
			wantFenced(t, late(key, i), term(6))
			time.Sleep(time.Second)
			it, err := buckets[0].Get(t.Context(), key, &GetOptions{Level: Quorum})
			if v, _ := it.Value(); err != nil || string(v) != "later" {
				t.Errorf("%s is %q, %v", key, v, err)
			}
			kept += len(it.Siblings()) - 1
		}
		if kept == 0 {
			t.Error("no write of the former leader was committed anywhere: the homes had nothing to tell")
		}
	})
}

// Each side of a cut has a leader, and the former one writes last. When they meet the later
// one's value is shown, and the former one is refused everywhere. As siblings both stay.
func TestLeadersOnTwoSidesOfACut(t *testing.T) {
	for _, policy := range []Policy{LastWriterWins, Siblings} {
		bubble(t, 3, BucketConfig{Policy: policy}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
			net.split(true, nodes[0].id)
			time.Sleep(time.Second)
			mustLead(t, buckets[1], "k", "later", term(6))
			time.Sleep(time.Second)
			if _, err := buckets[0].Put(t.Context(), "k", []byte("former"), &PutOptions{Token: term(5)}); !errors.Is(err, ErrDegraded) || errors.Is(err, ErrFenced) {
				t.Fatal(err)
			}
			net.heal()
			time.Sleep(20 * time.Second)
			for _, b := range buckets {
				wantValue(t, b, "k", "later")
				it, err := b.Get(t.Context(), "k", nil)
				if err != nil || len(it.Siblings()) != 2 || it.Context.Token() != term(6) {
					t.Errorf("%q, %v, %v", it.Siblings(), it.Context.Token(), err)
				}
				_, err = b.Put(t.Context(), "k", []byte("late"), &PutOptions{Token: term(5), Context: it.Context})
				wantFenced(t, err, term(6))
			}
		})
	}
}

// What a client has seen fences it where nobody knows of it, and through text.
func TestContextTellsOfALaterLeader(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		guest, b := withGuest(t, net)
		defer guest.views.Close()
		defer func() { _ = guest.store.Close() }()
		net.split(true, nodes[0].id, guest.id)
		time.Sleep(time.Second)
		r := mustLead(t, buckets[1], "k", "later", term(6))
		text, err := r.Context.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var carried Context
		if err := carried.UnmarshalText(text); err != nil || carried.Token() != term(6) {
			t.Fatalf("%v, %v", carried.Token(), err)
		}
		for i, seen := range []Context{r.Context, carried, r.Context, carried} {
			at := []*Bucket{buckets[0], b}[i/2]
			_, err := at.Put(t.Context(), "k", []byte("late"), &PutOptions{Token: term(5), Context: seen})
			wantFenced(t, err, term(6))
			done, _ := at.PutMany(t.Context(), []BatchPut{{Key: "k", Context: seen}, {Key: "l"}}, &PutOptions{Token: term(5)})
			if wantFenced(t, done[0].Err, term(6)); !errors.Is(done[1].Err, ErrDegraded) {
				t.Errorf("%v", done[1].Err)
			}
		}
		if got := (Context{}).Token(); !got.IsZero() {
			t.Errorf("the zero context has seen %v", got)
		}
	})
}

// A home was away while the later leader wrote: hints and comparisons tell it.
func TestReturningHomeHearsOfALaterLeader(t *testing.T) {
	bubble(t, 4, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for i := range 8 {
			mustLead(t, buckets[0], fmt.Sprint("k", i), "former", term(5))
		}
		time.Sleep(time.Second)
		heard := 0
		nodes[3].kill()
		time.Sleep(time.Second)
		for i := range 8 {
			mustLead(t, buckets[0], fmt.Sprint("k", i), "later", term(6))
		}
		back := openBucket(t, nodes[3].restart(), "b", BucketConfig{})
		time.Sleep(20 * time.Second)
		net.split(true, nodes[3].id)
		time.Sleep(time.Second)
		for i := range 8 {
			key := fmt.Sprint("k", i)
			rec, err := back.s.records.Load(t.Context(), back.s.homes.LocateKey(back.b.ID, key))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := back.Put(t.Context(), key, []byte("late"), &PutOptions{Token: term(5), Level: One}); !rec.Unknown() {
				wantFenced(t, err, term(6))
				heard++
			}
		}
		if heard == 0 {
			t.Error("it is a home of no key")
		}
		net.heal()
		time.Sleep(20 * time.Second)
		for i := range 8 {
			for _, b := range append(buckets[:3:3], back) {
				wantValue(t, b, fmt.Sprint("k", i), "later")
			}
		}
	})
}

// The end of a TTL ends the value, not the fence; a purge forgets it.
func TestPurgeForgetsTheFence(t *testing.T) {
	quick := func(_ int, _ *fakeNode, c *Config) { c.PurgeEvery = -1 }
	bubbleOn(t, 3, BucketConfig{}, quick, func(t *testing.T, _ *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		if _, err := buckets[0].Put(t.Context(), "k", []byte("short"), &PutOptions{Token: term(6), TTL: time.Second}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour + 10*time.Minute)
		wantNotFound(t, buckets[1], "k")
		_, err := buckets[1].Put(t.Context(), "k", nil, &PutOptions{Token: term(5)})
		wantFenced(t, err, term(6))
	})
	quick = func(_ int, _ *fakeNode, c *Config) { c.PurgeEvery = time.Second }
	bubbleOn(t, 3, BucketConfig{}, quick, func(t *testing.T, _ *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		mustLead(t, buckets[0], "k", "v", term(6))
		if _, err := buckets[0].Delete(t.Context(), "k", &DeleteOptions{Token: term(6)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		mustLead(t, buckets[1], "k", "anew", term(5))
	})
}

// The outbox is a fence of its own: what waits in it is not replaced by a former leader, and
// what a later one has written meanwhile is not either: the write is given up, and counted.
func TestOutboxOfLeaders(t *testing.T) {
	withCamera(t, BucketConfig{}, func(c *camera) {
		ctx := context.Background()
		mustLead(t, c.b, "known", "later", term(6))
		mustPut(t, c.all[0], "l", "before")
		time.Sleep(time.Second)
		c.net.split(true, c.node.id)
		time.Sleep(time.Second)
		r := c.queue(c.b, "k", "former", &PutOptions{Token: term(5)})
		if r.Context.Token() != term(5) {
			t.Errorf("has seen %v", r.Context.Token())
		}
		c.queue(c.b, "k", "later", &PutOptions{Token: term(6), Context: r.Context})
		c.queue(c.b, "l", "former", &PutOptions{Token: term(5)})
		for key, seen := range map[string]Context{"k": {}, "known": {}} {
			_, err := c.b.Put(ctx, key, []byte("late"), &PutOptions{Token: term(5), Context: seen})
			wantFenced(t, err, term(6))
			_, err = c.b.Delete(ctx, key, nil)
			wantFenced(t, err, term(6))
		}
		_, err := c.b.Put(ctx, "k", []byte("late"), &PutOptions{Token: term(4), Context: r.Context})
		wantFenced(t, err, term(5))
		if err := c.node.store.Close(); err != nil {
			t.Fatal(err)
		}
		c.node.restart()
		c.b = openBucket(t, c.node.store, "b", BucketConfig{})
		_, err = c.b.Put(ctx, "k", []byte("late"), &PutOptions{Token: term(5)})
		wantFenced(t, err, term(6))
		mustLead(t, c.all[0], "l", "later", term(6))
		c.net.heal()
		time.Sleep(time.Minute)
		for _, b := range c.all {
			wantValue(t, b, "k", "later")
			wantValue(t, b, "l", "later")
			wantValue(t, b, "known", "later")
		}
		if st := c.status(); st.OutboxOps != 0 || st.OutboxDropped != 1 || st.OutboxDelivered != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// A client shows tokens, and reads which one it must show.
func TestClientOfALeader(t *testing.T) {
	clients(t, BucketConfig{}, func(t *testing.T, _ *fakeNet, nodes []*fakeNode, clients []*Client) {
		ctx := t.Context()
		for i, c := range clients {
			key := fmt.Sprint("k", i)
			if _, err := c.Put(ctx, "b", key, []byte("later"), &PutOptions{Token: term(6)}); err != nil {
				t.Fatal(err)
			}
			_, err := c.Put(ctx, "b", key, []byte("late"), &PutOptions{Token: term(5)})
			if !errors.Is(err, ErrFenced) {
				t.Error(err)
			}
			if _, err = c.Delete(ctx, "b", key, nil); !errors.Is(err, ErrFenced) {
				t.Error(err)
			}
			for _, late := range []token.Token{term(5), {}} {
				if done, err := c.PutMany(ctx, "b", []BatchPut{{Key: key}}, &PutOptions{Token: late}); !errors.Is(err, ErrFenced) || !errors.Is(done[0].Err, ErrFenced) {
					t.Error(err)
				}
			}
			it, err := c.Get(ctx, "b", key, nil)
			if err != nil || it.Context.Token() != term(6) {
				t.Fatalf("%v, %v", it.Context.Token(), err)
			}
			if _, err := c.DeleteMany(ctx, "b", []BatchDelete{{Key: key, Context: it.Context}}, &DeleteOptions{Token: it.Context.Token()}); err != nil {
				t.Error(err)
			}
			if _, err := c.Put(ctx, "b", key, nil, &PutOptions{Token: token.Token{Term: 1}}); !errors.Is(err, token.ErrToken) {
				t.Error(err)
			}
		}
	})
}
