package replica

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

var wholeSeed = flag.Uint64("wholeseed", 0, "run this seed of the test of what Health says alone")

// sayWhole tells whether every store that runs says that all is well.
func sayWhole(t *testing.T, nodes []*fakeNode) bool {
	t.Helper()
	for _, n := range nodes {
		if n.isDown() || n.isStopped() {
			continue
		}
		h, err := n.store.Health(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if st, err := n.store.Status(context.Background()); err != nil || (st.Syncing > 0) != (h.Syncing > 0) {
			t.Errorf("%v: status says that %d shards are syncing, health %d, %v", n.id, st.Syncing, h.Syncing, err)
		}
		if len(h.Problems) > 0 || h.Syncing > 0 {
			return false
		}
	}
	return true
}

// unequalHomes counts the shards of a bucket of which not all homes hold the same.
func unequalHomes(t *testing.T, nodes []*fakeNode, id uint64) (n int) {
	t.Helper()
	first := make(map[int][16]byte)
	unequal := make(map[int]bool)
	for _, node := range nodes {
		if node.isDown() || node.isStopped() {
			continue
		}
		digests, err := (&Bucket{s: node.store, b: node.store.buckets.FindByID(id)}).Digests(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for shard, d := range digests {
			if f, ok := first[shard]; ok && f != d {
				unequal[shard] = true
			}
			first[shard] = d
		}
	}
	return len(unequal)
}

// wholeRun is a mesh in which clients write and things go wrong.
type wholeRun struct {
	t     *testing.T
	rng   *rand.Rand
	net   *fakeNet
	nodes []*fakeNode
	id    uint64

	mu      sync.Mutex
	buckets map[*fakeNode]*Bucket // what clients write through
	paused  bool                  // no write may begin
	writing int                   // writes under way
}

// neverAlone is how the stores of the run are opened: they compare when something
// has made them, never by chance.
func neverAlone(c *Config) { c.SyncEvery, c.PurgeEvery, c.ScrubEvery = -1, -1, -1 }

func (w *wholeRun) use(n *fakeNode) {
	b := openBucket(w.t, n.store, "b", BucketConfig{})
	w.mu.Lock()
	w.buckets[n], w.id = b, b.b.ID
	w.mu.Unlock()
}

func (w *wholeRun) unuse(n *fakeNode) {
	w.mu.Lock()
	delete(w.buckets, n)
	w.mu.Unlock()
}

// write is one client.
func (w *wholeRun) write(rng *rand.Rand, stop <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(rng.IntN(20)) * time.Millisecond):
		}
		w.mu.Lock()
		var b *Bucket
		for _, other := range w.buckets {
			if b == nil || rng.IntN(len(w.buckets)) == 0 {
				b = other
			}
		}
		if w.paused {
			w.mu.Unlock()
			continue
		}
		w.writing++
		w.mu.Unlock()
		_, _ = b.Put(context.Background(), fmt.Sprintf("k%d", rng.IntN(2000)), []byte(fmt.Sprint(rng.Uint64(), i)), nil)
		w.mu.Lock()
		w.writing--
		w.mu.Unlock()
	}
}

// stopWrites has no write begin until it is told otherwise, and waits for those
// under way.
func (w *wholeRun) stopWrites(on bool) {
	for n := 1; n > 0; time.Sleep(time.Millisecond) {
		w.mu.Lock()
		w.paused = on
		if n = w.writing; !on {
			n = 0
		}
		w.mu.Unlock()
	}
}

// check looks at what is there if all say that they are whole, once no write is
// under way any more: a client is answered before the last copy is.
func (w *wholeRun) check(after string) (whole bool) {
	w.t.Helper()
	if !sayWhole(w.t, w.nodes) {
		return false
	}
	w.stopWrites(true)
	defer w.stopWrites(false)
	time.Sleep(600 * time.Millisecond) // longer than AckTimeout
	synctest.Wait()
	unequal := unequalHomes(w.t, w.nodes, w.id)
	if unequal > 0 && sayWhole(w.t, w.nodes) {
		w.t.Errorf("after %s: all say that all is well, and %d shards differ", after, unequal)
	}
	return true
}

// bad has one thing go wrong, and right again.
func (w *wholeRun) bad() string {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	for n.isDown() || n.isStopped() {
		n = w.nodes[w.rng.IntN(len(w.nodes))]
	}
	lasts := time.Duration(100+w.rng.IntN(5000)) * time.Millisecond
	switch w.rng.IntN(3) {
	case 0:
		w.unuse(n)
		n.kill()
		time.Sleep(lasts)
		n.restart(neverAlone)
		w.use(n)
		return "a restart"
	case 1:
		w.unuse(n)
		n.kill()
		time.Sleep(lasts)
		fresh := w.net.add(true)
		w.net.status(n.id, view.Evicted)
		fresh.open(neverAlone)
		w.nodes = append(w.nodes, fresh)
		w.use(fresh)
		return "a lost disk"
	}
	to := w.nodes[w.rng.IntN(len(w.nodes))].id
	w.net.mu.Lock()
	w.net.cut[[2]view.NodeID{n.id, to}] = n.id != to // nobody is told
	w.net.mu.Unlock()
	w.check("a link that carries nothing one way") // rarely whole
	time.Sleep(lasts)
	w.net.mu.Lock()
	clear(w.net.cut)
	w.net.mu.Unlock()
	return "a link that carried nothing one way"
}

// TestSilentPeerIsComparedWithSoon: a peer that was in contact and did not answer for
// minutes is compared with when it does.
func TestSilentPeerIsComparedWithSoon(t *testing.T) {
	bubbleUncompared(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		if !sayWhole(t, nodes) {
			t.Error("not whole before anything happens")
		}
		lost := func(from, to view.NodeID, method string, _ []byte) bool {
			return from == nodes[0].id && to == nodes[1].id
		}
		for round := range 3 {
			net.lose(lost)
			for i := range 10 {
				mustPut(t, buckets[0], fmt.Sprint("k", round, i), "v")
				time.Sleep(time.Minute + time.Duration(round)*5*time.Second)
				if n := unequalHomes(t, nodes, buckets[0].b.ID); n > 0 && sayWhole(t, nodes) {
					t.Errorf("whole although %d shards differ", n)
				}
			}
			net.lose(nil)
			if time.Sleep(20 * time.Second); !sayWhole(t, nodes) || unequalHomes(t, nodes, buckets[0].b.ID) > 0 {
				t.Errorf("%d shards differ, or it is not known that none does", unequalHomes(t, nodes, buckets[0].b.ID))
			}
		}
	})
}

// TestWholeIsSaidWhenHomesAreEqual: disks are lost and filled again, nodes killed and
// links cut one way, while clients write. All stores say that all is well only when
// the homes of all shards are equal but for writes under way, and that soon.
func TestWholeIsSaidWhenHomesAreEqual(t *testing.T) {
	first, seeds := uint64(1), uint64(2)
	if *long {
		seeds = 100
	}
	if *wholeSeed != 0 {
		first, seeds = *wholeSeed, 1
	}
	for seed := first; seed < first+seeds && !t.Failed(); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { wholeSchedule(t, seed) })
		})
	}
}

func wholeSchedule(t *testing.T, seed uint64) {
	w := &wholeRun{t: t, rng: rand.New(rand.NewPCG(seed, 3)), net: newFakeNet(t), buckets: make(map[*fakeNode]*Bucket)}
	for range 5 {
		w.nodes = append(w.nodes, w.net.add(true))
	}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	defer func() {
		close(stop)
		clients.Wait()
		for _, n := range w.nodes {
			if err := n.store.Close(); err != nil && !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
			n.views.Close()
		}
	}()
	for _, n := range w.nodes {
		n.open(neverAlone)
	}
	for _, n := range w.nodes {
		w.use(n)
	}
	w.net.watchCalls(func(string) { time.Sleep(time.Millisecond + rand.N(8*time.Millisecond)) }) // a message is under way for a while
	for i := range 5 {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		clients.Go(func() { w.write(rng, stop) })
	}
	time.Sleep(10 * time.Second)
	for range 4 {
		what := w.bad()
		limit := time.Now().Add(45 * time.Second) // a lost answer is waited for for 30 s
		for !w.check(what) {
			if time.Sleep(200 * time.Millisecond); time.Now().After(limit) {
				h, _ := w.nodes[0].store.Health(context.Background())
				t.Fatalf("45s after %s not all are whole: %d syncing, %q", what, h.Syncing, h.Problems)
			}
		}
	}
	w.stopWrites(true)
	time.Sleep(10 * time.Second)
	w.net.watchCalls(nil)
	time.Sleep(time.Hour)
	sums, _ := w.net.counted(wire.MethodSums)
	digests, _ := w.net.counted(wire.MethodDigest)
	if sums+digests > 0 {
		t.Errorf("%d sums and %d digests are asked for although all are equal and nothing happens", sums, digests)
	}
}
