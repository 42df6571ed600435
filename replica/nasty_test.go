package replica

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// F2_01: one home is down; a value is written, a stand-in keeps it for that home
// and sends it when the home is back, but the request hangs somewhere on its way.
// The value is deleted, the delete purged; then the request arrives.
func TestF2_01_DoomstoneOfAHint_Replica(t *testing.T) {
	bubble(t, 4, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		homes := buckets[0].Homes("k")
		home, standIn := net.nodes[homes[2]], net.nodes[1]
		for _, n := range nodes {
			if !slices.Contains(homes, n.id) {
				standIn = n
			}
		}
		first := buckets[homes[0]-1]
		home.kill()
		time.Sleep(time.Second)
		mustPut(t, first, "k", "v1")
		synctest.Wait() // acknowledged before the last of its stores has it
		if rec, err := standIn.store.records.Load(ctx, standIn.store.homes.LocateKey(first.b.ID, "k")); err != nil || !rec.Hinted(home.id) {
			t.Fatalf("the stand-in keeps %+v, %v", rec.Record, err)
		}
		var hung sync.Mutex
		var requests [][]byte
		net.lose(func(from, to view.NodeID, method string, req []byte) bool {
			if from != standIn.id || to != home.id || method != wire.MethodMerge {
				return false
			}
			m, err := wire.DecodeMergeRequest(req)
			if err != nil || !slices.ContainsFunc(m.Offers, func(o wire.Offer) bool { return o.Key == "k" }) {
				return false
			}
			hung.Lock()
			defer hung.Unlock()
			requests = append(requests, slices.Clone(req))
			return true
		})
		back := home.restart()
		buckets[home.id-1] = openBucket(t, back, "b", BucketConfig{})
		time.Sleep(30 * time.Second)
		mustDelete(t, first, "k")
		time.Sleep(2 * time.Hour)
		wantRecords(t, nodes, first, 0)
		hung.Lock()
		late := requests
		hung.Unlock()
		net.lose(nil)
		if len(late) == 0 {
			t.Fatal("the stand-in has delivered nothing")
		}
		for _, req := range late {
			if _, err := standIn.callRaw(home, wire.MethodMerge, req); err != nil {
				t.Fatal(err)
			}
		}
		wantRecords(t, nodes, first, 0)
		time.Sleep(time.Hour)
		for _, b := range buckets {
			wantNotFound(t, b, "k")
		}
		wantRecords(t, nodes, first, 0)
	})
}

// callRaw delivers a request that was sent before.
func (n *fakeNode) callRaw(to *fakeNode, method string, req []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return n.Call(ctx, to.id, method, req)
}

// F2_01: a read has the answer of one home, which has the value; that of another
// one comes after the value was deleted and the delete purged: it knows of
// nothing. The reader repairs that home.
func TestF2_01_DoomstoneOfAReadRepair_Replica(t *testing.T) {
	bubble(t, 4, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx := context.Background()
		homes := buckets[0].Homes("k")
		reader := buckets[0]
		for i, n := range nodes {
			if !slices.Contains(homes, n.id) {
				reader = buckets[i]
			}
		}
		mustPut(t, buckets[homes[0]-1], "k", "v1")
		time.Sleep(time.Second)
		// The answer of the first home is under way, the questions to the others are.
		purged, asked := make(chan struct{}), make(chan struct{}, len(homes))
		for i, id := range homes {

			read := net.nodes[id].handler(wire.MethodRead)
			_ = net.nodes[id].Handle(wire.MethodRead, func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
				if m, err := wire.DecodeReadRequest(req); from != reader.s.id || err != nil || len(m.Keys) == 0 {
					return read(ctx, from, req) // of another node, or for the clock
				}
				if i == 0 {
					answer, err := read(ctx, from, req)
					asked <- struct{}{}
					<-purged
					return answer, err
				}
				asked <- struct{}{}
				<-purged
				return read(ctx, from, req)
			})
		}
		done := make(chan error, 1)
		go func() {
			it, err := reader.Get(ctx, "k", &GetOptions{Level: Quorum})
			if v, ok := it.Value(); ok && string(v) != "v1" {
				err = errors.Join(err, fmt.Errorf("read %q", v))
			}
			done <- err
		}()
		<-asked
		<-asked
		if _, err := buckets[homes[0]-1].Delete(ctx, "k", &DeleteOptions{Level: Quorum}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, id := range homes {
			if err := net.nodes[id].store.purging.PurgeShards(ctx); err != nil {
				t.Fatal(err)
			}
		}
		wantRecords(t, nodes, reader, 0)
		repaired := reader.s.repairs.Repaired()
		close(purged)
		if err := <-done; err != nil && !errors.Is(err, ErrDegraded) {
			t.Fatal(err)
		}
		synctest.Wait()
		if reader.s.repairs.Repaired() == repaired {
			t.Error("the reader repairs nothing")
		}
		wantRecords(t, nodes, reader, 0)
		time.Sleep(time.Hour)
		for _, b := range buckets {
			wantNotFound(t, b, "k")
		}
		wantRecords(t, nodes, reader, 0)
	})
}

// F2_07: all gateways are off for a month and are started one a minute, in any
// order. Each serves from its first second; as long as no more than half are
// there no copies are made in the place of others, nothing is let go of, and
// nothing is purged before the last is there.
func TestF2_07_MonthInTheDark_Replica(t *testing.T) {
	const boxes, keys = 20, 60
	nasty := func(_ int, _ *fakeNode, c *Config) {
		c.HealAfter, c.PurgeEvery = 2*time.Minute, 30*time.Second
	}
	for seed := range uint64(2) {
		bubbleOn(t, boxes, BucketConfig{}, nasty, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
			rng := rand.New(rand.NewPCG(seed, 7))
			ctx := context.Background()
			want := make(map[string]string)
			for i := range keys {
				key := fmt.Sprint("k", i)
				mustPut(t, buckets[i%boxes], key, "old")
				if want[key] = "old"; i%3 == 0 {
					mustDelete(t, buckets[i%boxes], key)
					want[key] = ""
				}
			}
			homes := make(map[string][]view.NodeID)
			for key := range want {
				homes[key] = buckets[0].Homes(key)
			}
			purged := func() (n uint64) {
				for _, node := range nodes {
					n += node.store.purging.Purged()
				}
				return n
			}
			time.Sleep(time.Second) // until the third copies are written, too
			before := purged()
			for _, n := range nodes {
				n.kill()
			}
			time.Sleep(30 * 24 * time.Hour)
			for up, i := range rng.Perm(boxes) {
				n := nodes[i]
				buckets[i] = openBucket(t, n.restart(func(c *Config) { nasty(i, n, c) }), "b", BucketConfig{})
				dawn := fmt.Sprint("dawn", i)
				if r, err := buckets[i].Put(ctx, dawn, []byte("here"), nil); err != nil && !errors.Is(err, ErrDegraded) || r.Durable < 1 {
					t.Fatalf("seed %d: store %d, the %d. to start, takes no writes: %+v, %v", seed, i, up+1, r, err)
				}
				want[dawn] = "here"
				for key, value := range want {
					it, err := buckets[i].Get(ctx, key, &GetOptions{Level: One})
					if v, _ := it.Value(); slices.Contains(homes[key], n.id) && string(v) != value || err != nil && !errors.Is(err, ErrDegraded) && !errors.Is(err, ErrNotFound) {
						t.Errorf("seed %d: store %d, the %d. to start, reads %s as %q, %v", seed, i, up+1, key, v, err)
					}
				}
				time.Sleep(time.Minute)
				if up+1 < boxes && purged() != before {
					t.Fatalf("seed %d: purged with %d of %d stores", seed, up+1, boxes)
				}
				for _, node := range nodes {
					if node.isDown() || 2*(up+1) > boxes {
						continue
					}
					h, err := node.store.Health(ctx)
					if err != nil || len(h.Lost) > 0 || node.store.carrier.Dropped() > 0 {
						t.Errorf("seed %d: %v, with %d of %d stores, gives up %v and has let go of %d records, %v", seed, node.id, up+1, boxes, h.Lost, node.store.carrier.Dropped(), err)
					}
				}
			}
			time.Sleep(2 * time.Hour)
			wantEqualHomes(t, stores(nodes)...)
			alive := 0
			for key, value := range want {
				for _, b := range buckets[:3] {
					if value == "" {
						wantNotFound(t, b, key)
					} else {
						wantValue(t, b, key, value)
					}
				}
				if value != "" {
					alive++
				}
			}
			wantRecords(t, nodes, buckets[0], 3*alive)
		})
	}
}

// F2_08: half of a mesh lets a store in and moves data to it; the other half
// gives up a store of the first, and makes new copies. Then they meet, while
// purges are tried all the time: three generations of homes hold the same keys.
func TestF2_08_SplitDuringAJoin_Replica(t *testing.T) {
	first, seeds := uint64(1), uint64(8)
	if *long {
		seeds = 200
	}
	if *churnSeed != 0 {
		first, seeds = *churnSeed, 1
	}
	var total churnTally
	moved := uint64(0)
	for seed := first; seed < first+seeds && !t.Failed(); seed++ {
		synctest.Test(t, func(t *testing.T) {
			c := newChurn(t, seed)
			defer c.close()
			c.often = true
			c.begin(6, 3)
			writes := func(n int, pause time.Duration) {
				for range n {
					c.write()
					time.Sleep(time.Duration(c.rng.Int64N(int64(pause))))
				}
			}
			writes(40, 100*time.Millisecond)
			perm := c.rng.Perm(6)
			x, y := c.nodes[perm[0]], c.nodes[perm[3]]
			c.net.split(c.rng.IntN(2) == 0, x.id, c.nodes[perm[1]].id, c.nodes[perm[2]].id)
			writes(10, time.Second)
			joined := &churnNode{fakeNode: c.net.addBeside(true, x.fakeNode)}
			c.nodes = append(c.nodes, joined)
			c.open(joined)
			writes(10, time.Second)
			c.say("%v gives up %v", y.id, x.id)
			c.net.statusAt(y.fakeNode, x.id, view.Evicted)
			writes(60, 10*time.Second)
			time.Sleep(5 * time.Minute)
			for _, n := range c.nodes {
				if n.store.purging.Purged() > 0 && c.net.apart(x.id, y.id) {
					c.say("%v has purged %d", n.id, n.store.purging.Purged())
				}
			}
			c.heal()
			writes(30, 200*time.Millisecond)
			c.quiesce()
			c.verify()
			c.tally(&total)
			for _, n := range c.nodes {
				moved += n.store.carrier.Dropped()
			}
			if !x.gone || len(dump(t, joined.store)) == 0 {
				t.Errorf("given up: %v; the store that joined holds %d", x.gone, len(dump(t, joined.store)))
			}
		})
	}
	if !t.Failed() && (moved == 0 || total.purged.Load() == 0) {
		t.Errorf("%d records handed over, %d purged", moved, total.purged.Load())
	}
	t.Logf("%d writes acknowledged, %d destroyed, %d perhaps replaced; %d tombs purged, %d records handed over", total.acked.Load(), total.destroyed.Load(), total.excused.Load(), total.purged.Load(), moved)
}
