package replica

import (
	"context"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/version"
)

// destroyed takes account of a node that is gone for good with its disk.
func (c *churn) destroyed(n *churnNode, most holdings) {
	if most == nil {
		most = c.image(n, n.fs)
	}
	n.gone = true
	c.forget(most)
}

// forget marks the writes that were nowhere else.
func (c *churn) forget(most holdings) {
	var others []holdings
	for _, o := range c.nodes {
		switch {
		case o.gone:
		case o.isDown():
			others = append(others, o.least)
		default:
			others = append(others, c.holds(o))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for d, w := range c.wrote {
		if most[w.key].Covers(d) && !slices.ContainsFunc(others, func(h holdings) bool { return h[w.key].Covers(d) }) {
			w.destroyed = true
			c.say("%v of %s is destroyed", d, w.key)
		}
	}
}

// holds lists what a store that is open holds.
func (c *churn) holds(n *churnNode) holdings {
	out := make(holdings)
	for k, it := range dump(c.t, n.store) {
		at, _ := layout.PlaceOf([]byte(k))
		if at.Bucket == n.bucket.b.ID {
			out[at.Key] = out[at.Key].Join(it.Ctx)
		}
	}
	for shard := range n.store.shards {
		lower, upper := wire.LogRange(shard)
		err := n.store.disk.Scan(context.Background(), lower, upper, func(k, v []byte) error {
			_, bucket, key, _ := wire.ParseLogKey(k)
			b, ok, err := keep.BuriedAt(slices.Clone(v), nil)
			if ok && bucket == n.bucket.b.ID {
				out[key] = out[key].Join(b.All.Ctx)
			}
			return err
		})
		if err != nil {
			c.t.Fatal(err)
		}
	}
	return out
}

// image lists what the disk of a node that is down holds, by starting it where
// nobody hears of it.
func (c *churn) image(n *churnNode, disk vfs.FS) holdings {
	alone := newFakeNet(c.t)
	copied := &churnNode{fakeNode: &fakeNode{net: alone, id: n.id, dir: n.dir, clock: n.clock, fs: disk.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{}), roster: n.roster}}
	copied.reset()
	alone.nodes[n.id] = copied.fakeNode
	for _, m := range n.roster {
		if m.ID != n.id {
			alone.nodes[m.ID] = &fakeNode{net: alone, id: m.ID, down: true}
		}
	}
	alone.show(copied.fakeNode)
	copied.fakeNode.open()
	copied.bucket = openBucket(c.t, copied.store, "b", c.cfg)
	defer copied.views.Close()
	defer copied.store.Close()
	return c.holds(copied)
}

func (c *churn) verify() {
	var up []*fakeNode
	for _, n := range c.nodes {
		if !n.gone {
			up = append(up, n.fakeNode)
			if aside := n.store.purging.Aside(); aside > 0 {
				c.t.Errorf("%v has set %d records aside", n.id, aside)
			}
		}
	}
	wantEqualHomes(c.t, stores(up)...)
	alive := make(map[string]map[version.Dot]bool)
	for _, n := range up {
		for k, it := range dump(c.t, n.store) {
			at, _ := layout.PlaceOf([]byte(k))
			b := n.store.buckets.FindByID(at.Bucket)
			if b == nil || b.System {
				continue
			}
			if alive[at.Key] == nil {
				alive[at.Key] = make(map[version.Dot]bool)
			}
			for i := range it.Sibs {
				if it.Sibs[i].Flags&version.Tomb == 0 {
					alive[at.Key][it.Sibs[i].Dot] = true
				}
			}
			if len(alive[at.Key]) == 0 {
				c.t.Errorf("%v still keeps the tomb of %s: %v", n.id, at.Key, it)
			}
			if !n.store.homes.IsHome(at.Slice) {
				c.t.Errorf("%v, no home, still keeps %s", n.id, at.Key)
			}
		}
	}
	known := make(holdings)
	for _, n := range c.nodes {
		if !n.gone {
			for key, ctx := range c.holds(n) {
				known[key] = known[key].Join(ctx)
			}
		}
	}
	for key, ops := range c.ops {
		c.verifyKey(key, ops, alive[key], c.hidden(key, known[key]))
	}
}

// hidden tells whether there are writes of which nobody was told: the coordinator
// went down, or gave up waiting, between commit and answer.
func (c *churn) hidden(key string, known version.Context) bool {
	for _, e := range known {
		for n := uint64(1); n <= e.N; n++ {
			if c.wrote[version.Dot{A: e.A, N: n}] == nil {
				return true
			}
		}
	}
	return false
}

func (c *churn) verifyKey(key string, ops []*churnOp, alive map[version.Dot]bool, hidden bool) {
	by := make(map[version.Dot][]version.Dot) // what has replaced a value
	for d, w := range c.wrote {
		for o, old := range c.wrote {
			if w.key == key && old.key == key && (slices.Contains(w.covered, o) || w.seen.Covers(o)) {
				by[o] = append(by[o], d)
			}
		}
	}
	for d := range alive {
		for _, o := range by[d] {
			if !c.wrote[o].destroyed {
				c.t.Errorf("%s: %v is back, which %v had replaced", key, d, o)
				c.sayKey(key)
			}
		}
	}
	for _, op := range ops {
		if !op.acked || alive[op.dot] || len(by[op.dot]) > 0 || c.wrote[op.dot].destroyed {
			continue
		}
		if hidden || slices.ContainsFunc(ops, func(o *churnOp) bool { return o.unknown && (o.end == 0 || o.end >= op.begin) }) {
			c.excused++
		} else {
			c.t.Errorf("%s: %v is lost, which was acknowledged", key, op.dot)
			c.sayKey(key)
		}
	}
}

// sayKey says all that is known of a key.
func (c *churn) sayKey(key string) {
	for _, op := range c.ops[key] {
		c.say("%s: %+v", key, *op)
	}
	for d, w := range c.wrote {
		if w.key == key {
			c.say("%s: at %v by %v: %v covers %v, destroyed %v", key, w.at, w.by, d, w.covered, w.destroyed)
		}
	}
	for _, n := range c.nodes {
		if !n.gone {
			at := n.store.homes.LocateKey(n.bucket.b.ID, key)
			rec, err := n.store.records.Load(context.Background(), at)
			b, ok, _ := keep.BuriedAt(n.store.disk.Get(context.Background(), wire.LogKey(at.Record)))
			c.say("%s at %v: home %v, %+v, %v; shard %d at %+v; buried %v %+v", key, n.id, n.store.homes.IsHome(at.Slice), rec.Item, err, at.Shard, n.store.records.SyncedStanding(at.Shard), ok, b)
		}
	}
}

func (c *churn) tally(total *churnTally) {
	for _, ops := range c.ops {
		for _, op := range ops {
			if op.acked {
				total.acked.Add(1)
			}
			if op.unknown {
				total.unknown.Add(1)
			}
		}
	}
	for _, w := range c.wrote {
		if w.destroyed {
			total.destroyed.Add(1)
		}
	}
	total.excused.Add(int64(c.excused))
	for _, n := range c.nodes {
		total.purged.Add(int64(n.store.purging.Purged()))
	}
}
