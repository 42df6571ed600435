package replica

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

var churnSeed = flag.Uint64("churnseed", 0, "run this seed of the tests with churn only, and print what happens")

// TestLongChurn_Replica has clients write and delete while nodes are killed,
// restarted, cut off, let in, taken out and given up, disks are lost and old ones
// put back, and purges go on all the time. In the end nothing that was
// acknowledged is lost while a copy of it was left, nothing that was replaced is
// back, all homes are equal, and all deletes are forgotten.
func TestLongChurn_Replica(t *testing.T) {
	first, seeds := uint64(1), uint64(6)
	if *long {
		seeds = 100
	}
	if *churnSeed != 0 {
		first, seeds = *churnSeed, 1
	}
	var next atomic.Uint64
	var total churnTally
	next.Store(first)
	t.Run("seeds", func(t *testing.T) {
		for range 2 {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for !t.Failed() {
					seed := next.Add(1) - 1
					if seed >= first+seeds {
						return
					}
					synctest.Test(t, func(t *testing.T) { churnRun(t, seed, &total) })
				}
			})
		}
	})
	t.Logf("%d writes acknowledged, %d of unknown outcome, %d destroyed, %d perhaps replaced; %d tombs purged", total.acked.Load(), total.unknown.Load(), total.destroyed.Load(), total.excused.Load(), total.purged.Load())
	if !t.Failed() && *churnSeed == 0 && (total.acked.Load() < 50*int64(seeds) || total.purged.Load() == 0) {
		t.Error("hardly anything has happened")
	}
}

type churnTally struct{ acked, unknown, destroyed, excused, purged atomic.Int64 }

// churn is one run. The oracle knows of each write which values it has replaced:
// from the client's result, or from what its coordinator answered.
type churn struct {
	t    *testing.T
	seed uint64
	rng  *rand.Rand
	net  *fakeNet
	cfg  BucketConfig
	busy sync.WaitGroup

	saying sync.Mutex
	log    []string

	ring  int          // Config.ring
	often bool         // purge
	nodes []*churnNode // all there ever were

	mu     sync.Mutex
	moment int
	next   int
	ops    map[string][]*churnOp
	// excused are values that are not there in the end, and may have been replaced
	// by a write of which nobody was told.
	excused int
	wrote   map[version.Dot]*churnWrite
}

type churnNode struct {
	*fakeNode
	bucket *Bucket
	boot   int
	gone   bool // for good
	busy   bool // it is on its way out
	leaves bool // by itself

	life   atomic.Int64 // how often it was killed
	least  holdings     // what its disk certainly holds while it is down
	images []churnImage
}

type churnImage struct {
	fs    vfs.FS
	least holdings
}

// churnOp is what a client has asked for.
type churnOp struct {
	begin, end int // moments; end 0: it never ended
	dot        version.Dot
	acked      bool // and a value, that is to be there in the end
	unknown    bool
}

// churnWrite is a write that a store has committed.
type churnWrite struct {
	key       string
	covered   []version.Dot
	seen      version.Context // by the client: what it replaces wherever that is
	by        string
	at        time.Time
	destroyed bool // nobody was left who knew of it
}

// holdings are the contexts that a store has of each key: of records, and of what
// it remembers to be purged.
type holdings map[string]version.Context

func churnRun(t *testing.T, seed uint64, total *churnTally) {
	c := newChurn(t, seed)
	defer c.close()
	c.begin(4+c.rng.IntN(2), 2+c.rng.IntN(2))
	for range 250 {
		c.step()
	}
	c.quiesce()
	c.verify()
	c.tally(total)
}

func newChurn(t *testing.T, seed uint64) *churn {
	c := &churn{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 77)), net: newFakeNet(t),
		ops: make(map[string][]*churnOp), wrote: make(map[version.Dot]*churnWrite),
	}
	c.net.answered = c.coordinated
	return c
}

// begin starts so many nodes, with a bucket of so many copies.
func (c *churn) begin(nodes, copies int) {
	c.cfg.Copies = copies
	for range nodes {
		c.nodes = append(c.nodes, &churnNode{fakeNode: c.net.add(true)})
	}
	for _, n := range c.nodes {
		c.open(n)
	}
	time.Sleep(5 * time.Second)
}

func (c *churn) close() {
	for _, n := range c.nodes {
		_ = n.store.Close()
		n.views.Close()
	}
	if c.t.Failed() {
		c.t.Logf("seed %d; to try it again: go test ./replica -run %s -churnseed %d\n%s", c.seed, strings.SplitN(c.t.Name(), "/", 2)[0], c.seed, strings.Join(c.log, "\n"))
	}
}

func (c *churn) say(format string, args ...any) {
	c.saying.Lock()
	defer c.saying.Unlock()
	c.log = append(c.log, fmt.Sprintf("%v ", time.Now().Format("15:04:05.000"))+fmt.Sprintf(format, args...))
}

// churnLog hears what the stores say.
type churnLog struct{ c *churn }

func (l churnLog) Write(b []byte) (int, error) {
	l.c.say("%s", strings.TrimSpace(string(b)))
	return len(b), nil
}

func (c *churn) open(n *churnNode) {
	n.fakeNode.open(c.config(n))
	n.bucket = openBucket(c.t, n.store, "b", c.cfg)
}

func (c *churn) config(n *churnNode) func(*Config) {
	return func(cfg *Config) {
		cfg.boot, cfg.ring = fmt.Sprint("boot", n.boot), c.ring
		if cfg.PurgeEvery, cfg.HealAfter = 20*time.Second, time.Minute; c.often {
			cfg.PurgeEvery = time.Second
		}
		if *churnSeed != 0 {
			cfg.Logger = slog.New(slog.NewTextHandler(churnLog{c}, &slog.HandlerOptions{Level: slog.LevelDebug}))
		}
	}
}

// some picks a node; nil if there is none of that kind.
func (c *churn) some(kind func(n *churnNode) bool) *churnNode {
	var all []*churnNode
	for _, n := range c.nodes {
		if !n.gone && kind(n) {
			all = append(all, n)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[c.rng.IntN(len(all))]
}

func (c *churn) count(kind func(n *churnNode) bool) (n int) {
	for _, one := range c.nodes {
		if !one.gone && kind(one) {
			n++
		}
	}
	return n
}

func isUp(n *churnNode) bool   { return !n.isDown() }
func isDown(n *churnNode) bool { return n.isDown() }

// idle nodes are not on their way out.
func isIdle(n *churnNode) bool { return !n.isDown() && !n.busy }

func (c *churn) step() {
	switch p := c.rng.IntN(100); {
	case p < 66:
		c.write()
	case p < 70:
		time.Sleep(time.Duration(c.rng.Int64N(int64(3 * time.Minute))))
	case p < 77:
		if n := c.some(isIdle); n != nil && c.count(isDown) < 2 && c.count(isUp) > 2 {
			c.kill(n)
		}
	case p < 85:
		if n := c.some(isDown); n != nil {
			c.restart(n)
		}
	case p < 88:
		c.cut()
	case p < 92:
		c.heal()
	case p < 94:
		if c.count(func(*churnNode) bool { return true }) < 7 {
			c.join()
		}
	case p < 96:
		if n := c.some(isIdle); n != nil && c.count(isIdle) > 4 {
			c.leave(n)
		}
	case p < 98:
		if c.count(func(*churnNode) bool { return true }) > 4 {
			c.evict()
		}
	default:
		if n := c.some(func(n *churnNode) bool { return n.isDown() && len(n.images) > 1 }); n != nil {
			c.rollBack(n)
		}
	}
	c.reap()
	time.Sleep(time.Duration(c.rng.Int64N(int64([]time.Duration{time.Millisecond, 100 * time.Millisecond, 5 * time.Second}[c.rng.IntN(3)]))))
}

// write has a client begin a write, or a delete, and does not wait for it.
func (c *churn) write() {
	n := c.some(isUp)
	if n == nil {
		return
	}
	key, tomb, informed := fmt.Sprint("k", c.rng.IntN(12)), c.rng.IntN(3) == 0, c.rng.IntN(3) == 0
	level := []Level{0, One, Quorum}[c.rng.IntN(3)]
	b, life := n.bucket, n.life.Load()
	c.mu.Lock()
	c.moment++
	c.next++
	value, op := fmt.Sprint(c.next), &churnOp{begin: c.moment}
	c.ops[key] = append(c.ops[key], op)
	c.mu.Unlock()
	c.busy.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		var seen Context
		if informed {
			it, _ := b.Get(ctx, key, nil)
			seen = it.Context
		}
		var r Result
		var err error
		if tomb {
			r, err = b.Delete(ctx, key, &DeleteOptions{Context: seen, Level: level})
		} else {
			r, err = b.Put(ctx, key, []byte(value), &PutOptions{Context: seen, Level: level})
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.moment++
		op.end = c.moment
		switch {
		case err != nil && !errors.Is(err, ErrDegraded), n.life.Load() != life:
			op.unknown = true
		case r.Dot != (version.Dot{}):
			op.acked, op.dot = !tomb, r.Dot
			c.note(key, fmt.Sprint("client at ", n.id), r.Dot, r.Covered, seen.seen)
		}
	})
}

// coordinated hears what a store answers to a write, whether that arrives or not.
func (c *churn) coordinated(by *fakeNode, method string, req, answer []byte) {
	if method != wire.MethodPut {
		return
	}
	q, err := wire.DecodePutRequest(req)
	if err != nil {
		return
	}
	p, err := wire.DecodePutReply(answer)
	if err != nil || p.Dot == (version.Dot{}) || by.isDown() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note(q.Key, fmt.Sprint("coordinator ", by.id), p.Dot, p.Covered, &reconcile.Seen{Ctx: q.Ctx})
}

// note is called with the lock held.
func (c *churn) note(key, by string, d version.Dot, covered []version.Dot, seen *reconcile.Seen) {
	w := c.wrote[d]
	if w == nil {
		w = &churnWrite{key: key, by: by, at: time.Now()}
		c.wrote[d] = w
	} else if w.key != key {
		c.t.Errorf("dot %v given out for %s and for %s", d, w.key, key)
	}
	if seen != nil {
		w.seen = w.seen.Join(seen.Ctx)
	}
	for _, o := range covered {
		if !slices.Contains(w.covered, o) {
			w.covered = append(w.covered, o)
		}
	}
}

func (c *churn) kill(n *churnNode) {
	c.say("kill %v", n.id)
	c.end(n)
	n.images = append(n.images, churnImage{n.fs, n.least})
}

// end is kill, and returns what the disk held at most.
func (c *churn) end(n *churnNode) holdings {
	n.least = c.holds(n)
	n.life.Add(1)
	n.mu.Lock()
	n.down = true
	n.mu.Unlock()
	crash := n.fs.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.rng.IntN(101), RNG: rand.New(rand.NewPCG(c.rng.Uint64(), 0))})
	most := c.holds(n)
	c.net.publish()
	_ = n.store.Close()
	n.fs = crash
	return most
}

func (c *churn) restart(n *churnNode) {
	c.say("restart %v", n.id)
	n.restart(c.config(n))
	n.bucket = openBucket(c.t, n.store, "b", c.cfg)
}

func (c *churn) cut() {
	var side []view.NodeID
	for _, n := range c.nodes {
		if c.rng.IntN(2) == 0 {
			side = append(side, n.id)
		}
	}
	tell := c.rng.IntN(3) > 0
	c.say("cut off %v, told %v", side, tell)
	c.net.split(tell, side...)
}

func (c *churn) heal() {
	c.say("heal")
	c.net.heal()
	c.reap()
}

// reap takes account of nodes that have heard that others gave them up.
func (c *churn) reap() {
	for _, n := range c.nodes {
		if !n.gone && !n.isDown() && n.isStopped() {
			c.say("%v hears that it was given up", n.id)
			c.destroyed(n, c.end(n))
		}
	}
}

func (c *churn) join() {
	n := &churnNode{fakeNode: c.net.addBeside(true, c.some(isUp).fakeNode)}
	c.say("join of %v", n.id)
	c.nodes = append(c.nodes, n)
	c.open(n)
}

// leave takes a node out in the background; when it is not done in time it is
// tried again in the end.
func (c *churn) leave(n *churnNode) {
	c.say("leave of %v", n.id)
	n.busy, n.leaves = true, true
	c.net.statusAt(n.fakeNode, n.id, view.Leaving)
	c.leavePass(n, 10*time.Second)
}

func (c *churn) leavePass(n *churnNode, patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.leave[0](ctx); err != nil {
		c.say("%v did not get away: %v", n.id, err)
		return
	}
	c.say("%v has left", n.id)
	c.net.statusAt(n.fakeNode, n.id, view.Left)
	n.gone = true
	c.end(n)
}

// evict gives up a node that cannot be reached by the one that says so.
func (c *churn) evict() {
	by := c.some(isUp)
	n := c.some(func(n *churnNode) bool {
		c.net.mu.Lock()
		defer c.net.mu.Unlock()
		return n != by && !n.busy && (n.isDown() || c.net.apart(by.id, n.id))
	})
	if n == nil || c.count(isUp) < 3 {
		return
	}
	c.say("%v gives up %v", by.id, n.id)
	c.net.statusAt(by.fakeNode, n.id, view.Evicted)
	switch {
	case n.isDown():
		c.destroyed(n, nil)
	default:
		n.busy = true // until it hears of it, see reap
	}
}

// rollBack puts an old disk into a node that is down. The machine has booted
// since.
func (c *churn) rollBack(n *churnNode) {
	old := n.images[c.rng.IntN(len(n.images)-1)]
	c.say("%v gets an old disk", n.id)
	most := c.image(n, n.fs)
	n.fs, n.least = old.fs.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{}), old.least
	n.boot++
	c.forget(most)
}

// quiesce brings back all that can be, and waits.
func (c *churn) quiesce() {
	c.heal()
	for _, n := range c.nodes {
		if !n.gone && n.isDown() {
			c.restart(n)
		}
	}
	c.reap()
	for _, n := range c.nodes { // all who knew may have gone themselves
		if n.gone {
			c.net.status(n.id, view.Left)
		}
	}
	c.busy.Wait()
	time.Sleep(time.Minute)
	for _, n := range c.nodes {
		if !n.gone && n.leaves {
			c.leavePass(n, 10*time.Minute)
			if !n.gone {
				c.t.Errorf("%v cannot leave", n.id)
			}
		}
	}
	time.Sleep(time.Hour)
	synctest.Wait()
}
