package reading

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/clocks"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/merging"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

const shards = 8

// desk is the reader of a store, member 1 of three, which all are homes of each key. Nothing
// works off its repairs, and nobody answers it.
type desk struct {
	*Reader
	t *testing.T
	b *layout.Bucket
}

// nobody is the mesh.
type nobody struct{}

func (nobody) Call(context.Context, view.NodeID, string, []byte) ([]byte, error) {
	return nil, errors.New("nobody is there")
}

// withDesk runs f, in virtual time, with a reader.
func withDesk(t *testing.T, f func(t *testing.T, d *desk)) {
	synctest.Test(t, func(t *testing.T) {
		v := view.View{Self: 1, Roster: 1}
		for id := view.NodeID(1); id <= 3; id++ {
			v.Members = append(v.Members, view.Member{ID: id, Name: id.String(), Zone: id.String(), Weight: 1, Storing: true, State: view.Alive})
		}
		log, begun, time1 := slog.New(slog.DiscardHandler), time.Now(), clock.Simulated(0)
		uptime := func() time.Duration { return time.Since(begun) }
		group := lifecycle.NewGroup(context.Background())
		defer group.Close()
		peers := peering.NewPeers(peering.Options{Self: 1, Mesh: nobody{}, Group: group, Patience: replicate.Patience(time.Second), Boot: uptime})
		homes, err := layout.New(layout.Options{Self: 1, Shards: shards, Stores: true, Silence: peers.Silence, HealAfter: -1, Log: log}, v)
		if err != nil {
			t.Fatal(err)
		}
		disk, err := storage.Open(storage.Options{FS: vfs.NewMem(), Dir: "store", Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer disk.Close()
		cs := clocks.New(clocks.Options{
			Clock: time1, MaxSkew: time.Minute, Votes: true, Group: group, Silence: peers.Silence, Patience: replicate.Patience(time.Second),
			Peers: func() []view.NodeID { return nil }, Ask: func(context.Context, view.NodeID) error { return nil },
		})
		repairs := NewRepairs()
		records, err := keep.New(keep.Options{
			Self: 1, Mesh: view.MeshID{1}, Shards: shards, Disk: disk, Dir: "store", Homes: homes, Group: group, Machine: "one", MaxSkew: time.Minute,
			Clocks: cs, Boot: uptime, Uptime: uptime, Log: log, Hinted: func() {}, Strayed: func() {}, Damaged: repairs.EnqueueDamaged,
		})
		if err == nil {
			err = records.Open(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := homes.Buckets.AddDefinition(wire.BucketDef{Name: "b", Copies: 3})
		if err != nil {
			t.Fatal(err)
		}
		f(t, &desk{t: t, b: b, Reader: New(Options{
			Self: 1, Homes: homes, Records: records, Peers: peers, Repairs: repairs, Clock: time1, AckTimeout: time.Second, Uptime: uptime, Log: log,
			Questions: NewQuestions(QuestionOptions{Mesh: nobody{}, Group: group, Peers: peers, Clocks: cs, AckTimeout: time.Second, Room: 1 << 20}),
			Offers:    merging.NewOffers(merging.Options{Mesh: nobody{}, Group: group, Peers: peers, Clocks: cs, Clock: time1, AckTimeout: time.Second, Room: 1 << 20}),
		})})
	})
}

// newRead returns a read of a key that has asked nobody yet.
func (d *desk) newRead(key string) *getOp {
	at, lay := d.opts.Homes.LocateKey(d.b.ID, key), d.opts.Homes.Now()
	plan := d.opts.Homes.MakePlan(lay, lay.RouteOf(d.b, at.Shard))
	core := replicate.NewRead(plan, replicate.Quorum, false, time.Second)
	return &getOp{r: d.Reader, b: d.b, at: at, plan: plan, core: core, done: make(chan struct{})}
}

// A read that has ended is not held by the timer that would have ended it.
func TestNoTimerHoldsAReadThatHasEnded(t *testing.T) {
	withDesk(t, func(t *testing.T, d *desk) {
		op := d.newRead("k")
		op.core.EndBy(d.opts.Uptime() + time.Millisecond)
		op.core.Start(d.opts.Uptime())
		op.setEnd()
		if op.limit == nil {
			t.Fatal("nothing bounds it")
		}
		op.feedCore(func(time.Duration) ([]view.NodeID, bool) { return nil, op.core.Abandon() })
		if op.limit.Stop() {
			t.Error("a timer is left")
		}
	})
}

// A repair goes out with the stamp that the replies came with, not with that
// of the store that has put them together.
func TestRepairKeepsTheStamp(t *testing.T) {
	withDesk(t, func(t *testing.T, d *desk) {
		op := d.newRead("k")
		asked := op.core.Start(0)
		op.awaited = len(asked)
		if len(asked) != 2 || asked[0] != 1 {
			t.Fatalf("%v are asked", asked)
		}
		a := version.Actor{Store: 77, Session: 1, Seq: 1}
		item := version.Item{Ctx: version.Context{{A: a, N: 1}}, HLC: 1, Sibs: []version.Sibling{{Dot: version.Dot{A: a, N: 1}, HLC: 1, Value: []byte("v")}}}
		op.noteReply(replicate.Reply{From: asked[1], Know: replicate.Present, Item: item})
		// Between the replies and the repair this store acknowledges a round.
		err := d.opts.Records.Update(t.Context(), "acknowledge", func(tx keep.Tx) error {
			next := tx.Standing(op.at.Shard)
			next.Stamp.Acked = purge.Round{Counter: 1, Proposer: 1}
			return tx.Move(op.at.Shard, next)
		})
		if err != nil {
			t.Fatal(err)
		}
		op.noteReply(replicate.Reply{From: 1})
		select {
		case one := <-d.opts.Repairs.queue:
			if one.lost || one.from != (purge.Stamp{}) {
				t.Errorf("repaired with stamp %v", one.from)
			}
		default:
			t.Error("this store is behind and not repaired")
		}
	})
}
