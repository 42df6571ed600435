package replica

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// closeBound is how long Close may take, and within which all that runs ends.
const closeBound = 2 * time.Second

type closedScene struct {
	net    *fakeNet
	node   *fakeNode
	bucket *Bucket
}

// patient is something that may take long when others are silent.
type patient struct {
	guest bool // the node stores nothing
	run   func(s closedScene) error
}

var patients = map[string]patient{
	"put at one": {run: func(s closedScene) error { // of a key that is led elsewhere
		_, err := s.bucket.Put(context.Background(), "led elsewhere", []byte("v"), &PutOptions{Level: One, MinDurable: 1})
		return err
	}},
	"put at quorum": {run: func(s closedScene) error {
		_, err := s.bucket.Put(context.Background(), "new", []byte("v"), &PutOptions{Level: Quorum})
		return err
	}},
	"put with a TTL": {run: func(s closedScene) error {
		s.node.store.clocks.Follow(nil, nil) // nobody is known
		key, lead := "", view.NodeID(0)      // of this node, or it would wait for another one
		for i := 0; lead != s.node.id; i++ {
			key = fmt.Sprint("new", i)
			lead = s.node.store.homes.Now().RouteOf(s.bucket.b, s.node.store.homes.LocateKey(s.bucket.b.ID, key).Shard).Lead
		}
		_, err := s.bucket.Put(context.Background(), key, []byte("v"), &PutOptions{TTL: time.Hour, Level: Quorum})
		return err
	}},
	"put of a guest": {guest: true, run: func(s closedScene) error {
		_, err := s.bucket.Put(context.Background(), "new", []byte("v"), nil)
		return err
	}},
	"get at quorum": {run: func(s closedScene) error {
		_, err := s.bucket.Get(context.Background(), "k1", &GetOptions{Level: Quorum})
		return err
	}},
	"get of a guest": {guest: true, run: func(s closedScene) error {
		_, err := s.bucket.Get(context.Background(), "k1", nil)
		return err
	}},
	"delete": {run: func(s closedScene) error {
		_, err := s.bucket.Delete(context.Background(), "k2", &DeleteOptions{Level: Quorum})
		return err
	}},
	"bucket": {guest: true, run: func(s closedScene) error {
		_, err := s.node.store.Bucket(context.Background(), "another", BucketConfig{})
		return err
	}},
	"leave": {run: func(s closedScene) error {
		s.net.status(s.node.id, view.Leaving)
		return s.node.leave[0](context.Background())
	}},
}

// TestCloseIsBounded begins what may take long while nobody else answers, and closes
// the store: that returns within its bound, however patient the store is with its
// peers, and so does what was begun, with ErrClosed.
func TestCloseIsBounded(t *testing.T) {
	for name, c := range patients {
		for _, after := range []time.Duration{0, 100 * time.Millisecond, 3 * time.Second, 12 * time.Second} {
			t.Run(fmt.Sprint(name, " after ", after), func(t *testing.T) { c.closeAfter(t, after) })
		}
	}
}

func (c *patient) closeAfter(t *testing.T, after time.Duration) {
	withPatience := func(_ int, _ *fakeNode, c *Config) { c.AckTimeout = 20 * time.Second }
	bubbleOn(t, 4, BucketConfig{}, withPatience, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		s := closedScene{net, nodes[0], buckets[0]}
		if c.guest {
			s.node = net.add(false)
			s.bucket = openBucket(t, s.node.open(func(c *Config) { withPatience(0, nil, c) }), "b", BucketConfig{})
			defer s.node.views.Close()
		}
		for i := range 40 {
			mustPut(t, buckets[i%4], fmt.Sprintf("k%d", i), "v")
		}
		net.lose(func(from, _ view.NodeID, _ string, _ []byte) bool { return from == s.node.id })
		ended := make(chan error, 1)
		go func() { ended <- c.run(s) }()
		time.Sleep(after)
		begun := time.Now()
		if err := s.node.store.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > closeBound {
			t.Errorf("closing took %v", took)
		}
		err := <-ended
		if took := time.Since(begun); took > closeBound {
			t.Errorf("it ended %v after Close was called", took)
		}
		if !errors.Is(err, ErrClosed) {
			t.Errorf("it ended with %v", err)
		}
	})
}

// Close is bounded, too, while all goes on that goes on by itself: comparisons,
// deliveries, healing, purges, hand-overs, each with peers that fall silent.
func TestCloseIsBoundedWhateverGoesOn(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute} {
		for _, silent := range []time.Duration{0, 50 * time.Millisecond, 10 * time.Second} {
			t.Run(fmt.Sprintf("%v, silent for %v", after, silent), func(t *testing.T) {
				busy := func(_ int, _ *fakeNode, c *Config) {
					c.AckTimeout, c.SyncEvery, c.PurgeEvery = 20*time.Second, 5*time.Second, 10*time.Second
					c.HealAfter, c.TransferRate = 20*time.Second, 64<<10
				}
				bubbleOn(t, 5, BucketConfig{}, busy, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
					nodes[4].kill()
					for i := range 60 {
						if _, err := buckets[i%4].Put(context.Background(), fmt.Sprintf("k%d", i), make([]byte, 10<<10), &PutOptions{Level: One, MinDurable: 1}); err != nil {
							t.Fatal(err)
						}
					}
					net.status(nodes[3].id, view.Leaving) // its shards go elsewhere
					time.Sleep(after)
					net.lose(func(_, _ view.NodeID, _ string, _ []byte) bool { return true })
					time.Sleep(silent)
					begun := time.Now()
					if err := nodes[0].store.Close(); err != nil {
						t.Error(err)
					}
					if took := time.Since(begun); took > closeBound {
						t.Errorf("closing took %v", took)
					}
				})
			})
		}
	}
}
