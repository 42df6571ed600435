package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/outbox"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// camera is a node that stores nothing, in a bubble with three that do.
type camera struct {
	t     *testing.T
	net   *fakeNet
	nodes []*fakeNode
	all   []*Bucket // bucket b on the storing nodes
	node  *fakeNode
	b     *Bucket // the same here

	mu      sync.Mutex
	arrived []string                                // keys of puts from here, in the order in which stores took them
	refuse  func(m *wire.PutRequest) (reply []byte) // nil: none; not nil, and returns something: in place of an answer
}

func withCamera(t *testing.T, cfg BucketConfig, fn func(c *camera), change ...func(*Config)) {
	t.Helper()
	bubble(t, 3, cfg, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		c := &camera{t: t, net: net, nodes: nodes, all: buckets, node: net.add(false)}
		for _, n := range nodes {
			c.listen(n)
		}
		c.node.open(change...)
		c.b = openBucket(t, c.node.store, "b", cfg)
		defer func() {
			if err := c.node.store.Close(); err != nil {
				t.Error(err)
			}
			c.node.views.Close()
		}()
		fn(c)
	})
}

// listen notes which puts of the camera a store takes.
func (c *camera) listen(n *fakeNode) {
	n.mu.Lock()
	defer n.mu.Unlock()
	serve := n.handlers[wire.MethodPut]
	n.handlers[wire.MethodPut] = func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
		m, err := wire.DecodePutRequest(req)
		if err != nil || from != c.node.id || m.Bucket == layout.SystemBucket {
			return serve(ctx, from, req)
		}
		c.mu.Lock()
		refuse := c.refuse
		c.mu.Unlock()
		if refuse != nil {
			if reply := refuse(&m); reply != nil {
				return reply, nil
			}
		}
		b, err := serve(ctx, from, req)
		if reply, derr := wire.DecodePutReply(b); err == nil && derr == nil && (reply.Code == wire.CodeOK || reply.Code == wire.CodeDegraded) {
			c.mu.Lock()
			c.arrived = append(c.arrived, m.Key+"="+string(m.Value))
			c.mu.Unlock()
		}
		return b, err
	}
}

func (c *camera) refusing(fn func(m *wire.PutRequest) []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse = fn
}

func (c *camera) took() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.arrived)
}

// queue writes what has to wait in the outbox.
func (c *camera) queue(b *Bucket, key, value string, opts *PutOptions) Result {
	c.t.Helper()
	r, err := b.Put(context.Background(), key, []byte(value), opts)
	if !errors.Is(err, ErrDegraded) || errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "outbox") {
		c.t.Fatalf("put %s: %v", key, err)
	}
	if !r.Queued || r.Durable != 1 || r.Homes != 0 || r.Context.IsZero() {
		c.t.Fatalf("put %s: %+v", key, r)
	}
	return r
}

func (c *camera) status() Status {
	c.t.Helper()
	st, err := c.node.store.Status(context.Background())
	if err != nil {
		c.t.Fatal(err)
	}
	return st
}

// wantSiblings fails unless every store shows exactly these values of a key.
func (c *camera) wantSiblings(key string, want ...string) {
	c.t.Helper()
	for _, b := range c.all {
		it, err := b.Get(context.Background(), key, &GetOptions{Level: Quorum})
		var got []string
		for _, v := range it.Siblings() {
			got = append(got, string(v))
		}
		slices.Sort(got)
		slices.Sort(want)
		if err != nil && !errors.Is(err, ErrNotFound) || !slices.Equal(got, want) {
			c.t.Fatalf("%s at %v: %q, %v, want %q", key, b.s.id, got, err, want)
		}
	}
}

func TestOutboxDeliversByPriorityWhenStoresReturn(t *testing.T) {
	withCamera(t, BucketConfig{}, func(c *camera) {
		ctx := context.Background()
		c.net.split(true, c.node.id)
		const each = 24
		for i := range each {
			for _, p := range []int{0, -5, 5} {
				b := openBucket(t, c.node.store, fmt.Sprint("priority ", p), BucketConfig{Priority: p})
				c.queue(b, fmt.Sprintf("%d/%02d", p, i), "v", nil)
			}
		}
		r, err := c.b.Put(ctx, "alone", []byte("v"), &PutOptions{Level: One, MinDurable: 1})
		if err != nil || !r.Queued {
			t.Errorf("a write for which one disk is enough: %+v, %v", r, err)
		}
		if _, err := c.b.Delete(ctx, "gone", nil); !errors.Is(err, ErrDegraded) {
			t.Errorf("delete: %v", err)
		}
		if _, err := c.b.Get(ctx, "alone", nil); !errors.Is(err, ErrUnavailable) {
			t.Errorf("read of what waits: %v", err)
		}
		time.Sleep(time.Hour)
		if st := c.status(); st.OutboxOps != 3*each+2 || st.OutboxBytes < 256*(3*each+2) || st.OutboxOldest < time.Hour || st.OutboxDelivered != 0 {
			t.Errorf("status while cut off: %+v", st)
		}
		mustPut(t, c.all[0], "gone", "v")
		c.refusing(func(*wire.PutRequest) []byte {
			time.Sleep(10 * time.Millisecond)
			return nil
		})
		c.net.heal()
		time.Sleep(5 * time.Second)
		if st := c.status(); st.OutboxOps != 0 || st.OutboxBytes != 0 || st.OutboxOldest != 0 || st.OutboxDelivered != 3*each+2 || st.OutboxDropped != 0 || st.OutboxError != "" {
			t.Errorf("status afterwards: %+v", st)
		}
		// Up to eight are under way at a time, and a store that does not know a
		// bucket is asked twice.
		var order []string
		for _, a := range c.took() {
			if p, _, ok := strings.Cut(a, "/"); ok {
				order = append(order, p)
			}
		}
		for i, p := range order {
			first := map[string]int{"5": 0, "0": each, "-5": 2 * each}[p]
			if i < first-2*outbox.Parallel || i >= first+each+2*outbox.Parallel {
				t.Fatalf("priority %s is number %d: %v", p, i, order)
			}
		}
		wantValue(t, c.all[1], "alone", "v")
		c.wantSiblings("gone", "v") // the delete did not know the value
		if r := mustPut(t, c.b, "alone", "direct"); r.Queued || r.Durable < 2 || len(r.Covered) != 1 {
			t.Errorf("put with stores in reach: %+v", r)
		}
	})
}

// The stores are silent, then they answer again; nobody is told. The write that
// waits is not tried again at once, and a later one must not overtake it.
func TestOutboxKeepsTheOrderOfAKey(t *testing.T) {
	withCamera(t, BucketConfig{}, func(c *camera) {
		c.net.split(false, c.node.id)
		c.queue(c.b, "k", "first", nil)
		c.queue(c.b, "other", "v", nil)
		time.Sleep(time.Minute)
		c.node.store.outbox.Holds(c.t.Context(), outbox.Key{Bucket: c.b.b.ID, Key: "k"}) // no delivery is under way
		c.net.heal()
		c.queue(c.b, "k", "second", nil)
		if n := len(c.took()); n != 0 {
			t.Fatalf("%d delivered, the test wants them to pause", n)
		}
		time.Sleep(time.Minute)
		c.wantSiblings("k", "second")
		wantValue(t, c.all[0], "other", "v")
		if st := c.status(); st.OutboxOps != 0 || st.OutboxDelivered != 2 {
			t.Errorf("%+v", st)
		}
		if r := mustPut(t, c.b, "k", "third"); r.Queued {
			t.Errorf("%+v", r)
		}
		c.wantSiblings("k", "third")
	})
}

// What comes while the only one before it is on its way waits for that one's
// end. If it has no time for that it is queued, and has seen it all the same.
func TestOutboxFollowsWhatIsOnItsWay(t *testing.T) {
	withCamera(t, BucketConfig{Policy: Siblings}, func(c *camera) {
		mustPut(t, c.all[0], "k", "unseen")
		mustPut(t, c.all[0], "l", "unseen")
		c.net.split(true, c.node.id)
		c.queue(c.b, "k", "first", nil)
		c.queue(c.b, "l", "first", nil)
		c.refusing(func(m *wire.PutRequest) []byte {
			if string(m.Value) == "first" {
				time.Sleep(200 * time.Millisecond)
			}
			return nil
		})
		c.net.heal()
		time.Sleep(100 * time.Millisecond)
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		r, err := c.b.Put(ctx, "k", []byte("second"), nil)
		if !errors.Is(err, ErrDegraded) || !r.Queued {
			t.Errorf("no time to wait: %+v, %v", r, err)
		}
		if r := mustPut(t, c.b, "l", "second"); r.Queued || r.Durable < 2 {
			t.Errorf("time to wait: %+v", r)
		}
		time.Sleep(time.Second)
		// The dots of "unseen" and "first" may be of one birth; then no context
		// covers the second without the first, and "first" stays as well.
		for _, b := range c.all {
			it, err := b.Get(context.Background(), "k", nil)
			if v, _ := it.Value(); err != nil || string(v) != "second" || len(it.Siblings()) > 3 {
				t.Errorf("k is %q of %q, %v", v, it.Siblings(), err)
			}
		}
		c.wantSiblings("l", "second") // in reach of the stores, a blind write replaces what they have
	})
}

// The client has given up before its write could be kept: it hears that, and keeps its process.
func TestOutboxOfACancelledWrite(t *testing.T) {
	withCamera(t, BucketConfig{}, func(c *camera) {
		c.net.split(true, c.node.id)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if r, err := c.b.Put(ctx, "k", []byte("v"), nil); !errors.Is(err, context.Canceled) || errors.Is(err, ErrClosed) || r.Queued {
			t.Errorf("%+v, %v", r, err)
		}
		if st := c.status(); st.OutboxOps != 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestOutboxFollowerReplacesWhatWasOnItsWay(t *testing.T) {
	withCamera(t, BucketConfig{Policy: Siblings}, func(c *camera) {
		c.net.split(true, c.node.id)
		first := c.queue(c.b, "k", "first", nil)
		c.queue(c.b, "l", "first", nil)
		c.refusing(func(m *wire.PutRequest) []byte {
			if string(m.Value) == "first" {
				time.Sleep(200 * time.Millisecond)
			}
			return nil
		})
		c.net.heal()
		time.Sleep(100 * time.Millisecond)
		for key, opts := range map[string]*PutOptions{"k": {Context: first.Context}, "l": nil} {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
			if r, err := c.b.Put(ctx, key, []byte("second"), opts); !errors.Is(err, ErrDegraded) || !r.Queued {
				t.Errorf("%+v, %v", r, err)
			}
			cancel()
		}
		time.Sleep(time.Second)
		c.wantSiblings("k", "second")
		c.wantSiblings("l", "second")
	})
}

func TestOutboxDestroysNothingUnseen(t *testing.T) {
	withCamera(t, BucketConfig{Policy: Siblings}, func(c *camera) {
		mustPut(t, c.all[0], "theirs", "old")
		mustPut(t, c.b, "own", "old")
		mustPut(t, c.b, "both", "old")
		mustPut(t, c.all[1], "deleted", "old")
		c.net.split(true, c.node.id)
		mustPut(t, c.all[0], "theirs", "new")
		mustPut(t, c.all[1], "both", "new")
		time.Sleep(time.Minute)
		for _, key := range []string{"theirs", "own", "both", "fresh"} {
			for i := range 40 { // more than a key may have siblings
				c.queue(c.b, key, fmt.Sprint("mine ", i), nil)
			}
		}
		if _, err := c.b.Delete(context.Background(), "deleted", nil); !errors.Is(err, ErrDegraded) {
			t.Error(err)
		}
		if st := c.status(); st.OutboxOps != 5 || st.OutboxDropped != 0 {
			t.Errorf("one write of each key is left to deliver: %+v", st)
		}
		c.net.heal()
		time.Sleep(5 * time.Second)
		c.wantSiblings("fresh", "mine 39")
		c.wantSiblings("own", "mine 39") // it knew what it had written itself
		c.wantSiblings("theirs", "mine 39", "new")
		c.wantSiblings("both", "mine 39", "new")
		c.wantSiblings("deleted", "old")
		if st := c.status(); st.OutboxOps != 0 || st.OutboxDelivered != 5 {
			t.Errorf("%+v", st)
		}
	})
}

// A key that is only ever written while the node is cut off, and of which others
// have a value of the same birth.
func TestOutboxOfManyCuts(t *testing.T) {
	withCamera(t, BucketConfig{Policy: Siblings}, func(c *camera) {
		mustPut(t, c.all[0], "k", "theirs")
		for i := range 40 {
			c.net.split(true, c.node.id)
			c.queue(c.b, "k", fmt.Sprint(i), nil)
			c.net.heal()
			time.Sleep(time.Minute)
			if i == 0 {
				c.wantSiblings("k", "0", "theirs")
			}
			if st := c.status(); st.OutboxOps != 0 {
				t.Fatalf("cut %d: %+v", i, st)
			}
		}
		c.wantSiblings("k", "39")
		c.net.split(true, c.node.id)
		c.queue(c.b, "k", "40", nil)
		mustPut(t, c.all[1], "k", "theirs again")
		c.net.heal()
		time.Sleep(time.Minute)
		c.wantSiblings("k", "40", "theirs again")
	})
}

// Two clients on one node that have not seen each other's writes are no more one
// writer than two nodes would be.
func TestOutboxKeepsConcurrentWritesOfOneNode(t *testing.T) {
	withCamera(t, BucketConfig{Policy: Siblings}, func(c *camera) {
		seen := mustPut(t, c.b, "k", "base").Context
		absent, err := c.b.Get(context.Background(), "l", nil)
		if !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		c.net.split(true, c.node.id)
		a := c.queue(c.b, "k", "a", &PutOptions{Context: seen})
		b := c.queue(c.b, "k", "b", &PutOptions{Context: seen})
		a = c.queue(c.b, "k", "a2", &PutOptions{Context: a.Context})
		c.queue(c.b, "k", "b2", &PutOptions{Context: b.Context})
		c.queue(c.b, "l", "a", &PutOptions{Context: absent.Context})
		c.queue(c.b, "l", "b", &PutOptions{Context: absent.Context})
		c.net.heal()
		time.Sleep(5 * time.Second)
		c.wantSiblings("k", "a2", "b2")
		c.wantSiblings("l", "a", "b")
		// The context of a queued write holds after its delivery.
		r, err := c.b.Put(context.Background(), "k", []byte("b3"), &PutOptions{Context: a.Context})
		if err != nil || r.Queued {
			t.Fatalf("%+v, %v", r, err)
		}
		it, err := c.all[0].Get(context.Background(), "k", nil)
		if err != nil || len(it.Siblings()) > 3 {
			t.Fatalf("%q, %v", it.Siblings(), err)
		}
		shown := fmt.Sprintf("%q", it.Siblings())
		if !strings.Contains(shown, "b2") || !strings.Contains(shown, "b3") {
			t.Fatalf("%s: a write that had not seen b2 has replaced it", shown)
		}
	})
}

func TestOutboxContextHoldsAfterDelivery(t *testing.T) {
	withCamera(t, BucketConfig{Policy: Siblings}, func(c *camera) {
		c.net.split(true, c.node.id)
		r := c.queue(c.b, "k", "queued", nil)
		c.net.heal()
		time.Sleep(5 * time.Second)
		c.wantSiblings("k", "queued")
		r, err := c.b.Put(context.Background(), "k", []byte("next"), &PutOptions{Context: r.Context})
		if err != nil || len(r.Covered) != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		c.wantSiblings("k", "next")
	})
}

// alone runs a test with a camera that has never heard of another node.
func alone(t *testing.T, fn func(c *camera)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		net := newFakeNet(t)
		c := &camera{t: t, net: net, node: net.add(false)}
		c.node.open()
		defer func() {
			if err := c.node.store.Close(); err != nil {
				t.Error(err)
			}
			c.node.views.Close()
		}()
		c.b = openBucket(t, c.node.store, "b", BucketConfig{})
		fn(c)
	})
}

func TestOutboxWithoutAnyPeer(t *testing.T) {
	alone(t, func(c *camera) {
		c.queue(c.b, "k", "v", nil)
		s := c.net.add(true)
		store := s.open()
		defer func() {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
			s.views.Close()
		}()
		time.Sleep(30 * time.Second)
		wantValue(t, openBucket(t, store, "b", BucketConfig{}), "k", "v")
	})
}

func TestOutboxTTLCountsFromDelivery(t *testing.T) {
	withCamera(t, BucketConfig{TTL: time.Hour}, func(c *camera) {
		c.net.split(true, c.node.id)
		c.queue(c.b, "k", "v", nil)
		time.Sleep(24 * time.Hour)
		c.net.heal()
		time.Sleep(time.Minute)
		wantValue(t, c.all[0], "k", "v")
		time.Sleep(time.Hour)
		wantNotFound(t, c.all[0], "k")
	})
}

func TestOutboxSwitchedOff(t *testing.T) {
	off := func(c *Config) { c.OutboxBytes = -1 }
	withCamera(t, BucketConfig{}, func(c *camera) {
		mustPut(t, c.b, "k", "v")
		c.net.split(true, c.node.id)
		r, err := c.b.Put(context.Background(), "k", nil, nil)
		if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrOutboxFull) || r.Durable != 0 || r.Queued {
			t.Errorf("%+v, %v", r, err)
		}
		if _, err := c.node.fs.Stat(c.node.dir + "/outbox"); err == nil {
			t.Error("there is a directory")
		}
		if err := c.node.store.Err(); err != nil {
			t.Error(err)
		}
		wantMetrics(t, c.node.store, "up 1", "comparisons_total 0")
		if err := c.node.store.Close(); err != nil || !errors.Is(c.node.store.Err(), ErrClosed) {
			t.Errorf("%v, then %v", err, c.node.store.Err())
		}
	}, off)
}

func TestOutboxLimitsAreValidated(t *testing.T) {
	if err := (Config{OutboxAge: -1}).Validate(); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("want two faults, got %v", err)
	}
	for _, p := range []int{-101, 101} {
		if err := (BucketConfig{Priority: p}).Validate(); !errors.Is(err, ErrBadBucket) {
			t.Errorf("priority %d: %v", p, err)
		}
	}
	if err := errors.Join(BucketConfig{Priority: -100}.Validate(), BucketConfig{Priority: 100}.Validate()); err != nil {
		t.Error(err)
	}
	if c := (Config{}).withDefaults(); c.OutboxBytes != 64<<20 || c.OutboxAge != 7*24*time.Hour {
		t.Errorf("defaults are %d bytes and %v", c.OutboxBytes, c.OutboxAge)
	}
}
