package comparing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/antientropy"
	"github.com/skeinmesh/skein/internal/replica/clocks"
	"github.com/skeinmesh/skein/internal/replica/handover"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replica/purging"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

const shards = 16

var errAwayOnPurpose = errors.New("not in reach")

// pair is two stores that keep the same, and compare when they are told to. Others are
// members that are to keep nothing, and out of reach.
type pair struct {
	t      *testing.T
	begun  time.Time
	others int
	stores [2]*party
	b      *layout.Bucket // at the first store

	mu           sync.Mutex
	calls, bytes map[string]int      // by method
	before       func(method string) // of each call
}

type party struct {
	*Comparer
	peer    view.NodeID
	disk    *storage.Store
	group   *lifecycle.Group
	purging *purging.Purger
	writing atomic.Bool // as if clients' writes were under way
}

// withPair runs f, in virtual time, with two stores.
func withPair(t *testing.T, f func(t *testing.T, p *pair)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &pair{t: t, begun: time.Now(), calls: make(map[string]int), bytes: make(map[string]int)}
		for i := range p.stores {
			p.open(i)
		}
		for _, s := range p.stores {
			b, err := s.homes.Buckets.AddDefinition(wire.BucketDef{Name: "b", Copies: 2})
			if err != nil {
				t.Fatal(err)
			}
			p.b = b
			s.records.FollowBucket(b)
			s.records.FollowBucket(s.homes.Buckets.System())
		}
		p.b = p.stores[0].homes.Buckets.FindByID(p.b.ID)
		f(t, p)
		for _, s := range p.stores {
			s.group.Close()
			if err := s.disk.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func (p *pair) uptime() time.Duration { return time.Since(p.begun) }

func (p *pair) viewOf(self view.NodeID) view.View {
	v := view.View{Self: self, Roster: uint64(p.others), Storing: [16]byte{byte(p.others)}}
	for id := view.NodeID(1); id <= view.NodeID(2+p.others); id++ {
		m := view.Member{ID: id, Name: id.String(), Zone: id.String(), Weight: 1, Storing: true, State: view.Alive}
		if id > 2 {
			m.Status, m.State = view.Leaving, view.Failed
		}
		v.Members = append(v.Members, m)
	}
	return v
}

// addAway adds a member that leaves and is out of reach.
func (p *pair) addAway() {
	p.t.Helper()
	p.others++
	for i, s := range p.stores {
		if _, err := s.homes.Apply(p.viewOf(view.NodeID(i+1)), p.uptime()); err != nil {
			p.t.Fatal(err)
		}
	}
}

// open makes the store of a place.
func (p *pair) open(i int) {
	p.t.Helper()
	self := view.NodeID(i + 1)
	s := &party{peer: 3 - self, group: lifecycle.NewGroup(context.Background())}
	p.stores[i] = s
	log, patience := slog.New(slog.DiscardHandler), replicate.Patience(time.Second)
	peers := peering.NewPeers(peering.Options{Self: self, Mesh: calls{p, self}, Group: s.group, Patience: patience, Boot: p.uptime})
	homes, err := layout.New(layout.Options{Self: self, Shards: shards, Stores: true, Silence: peers.Silence, HealAfter: -1, Log: log}, p.viewOf(self))
	if err == nil {
		s.disk, err = storage.Open(storage.Options{FS: vfs.NewMem(), Dir: "store", Reserve: -1})
	}
	if err != nil {
		p.t.Fatal(err)
	}
	times := clocks.New(clocks.Options{
		Clock: clock.Simulated(0), MaxSkew: time.Minute, Votes: true, Group: s.group, Silence: peers.Silence, Patience: patience,
		Peers: func() []view.NodeID { return nil }, Ask: func(context.Context, view.NodeID) error { return nil },
	})
	records, err := keep.New(keep.Options{
		Self: self, Mesh: view.MeshID{1}, Shards: shards, Disk: s.disk, Dir: "store", Homes: homes, Group: s.group, Clocks: times, MaxSkew: time.Minute,
		Boot: p.uptime, Uptime: p.uptime, Log: log, Hinted: func() {}, Strayed: func() {}, Damaged: func(layout.Place) {},
	})
	if err == nil {
		err = records.Open(p.t.Context())
	}
	if err != nil {
		p.t.Fatal(err)
	}
	s.purging = purging.New(purging.Options{
		Self: self, Shards: shards, Records: records, Disk: s.disk, Damaged: new(purging.DamagedLog), Homes: homes, Clocks: times,
		Every: time.Hour, Uptime: p.uptime, Log: log, Ask: peers.AskLong,
	})
	carrier := handover.New(handover.Options{
		Self: self, Records: records, Disk: s.disk, Homes: homes, Purging: s.purging, Taking: lifecycle.NewGate(),
		Entropy: antientropy.New(antientropy.Options{Work: nothing{}, Every: -1, Now: p.uptime, Log: log}),
		Pace:    handover.NewPace(0, s.writing.Load), AckTimeout: time.Second, Uptime: p.uptime, Log: log,
		Ask: peers.AskLong, Offer: func(ctx context.Context, to view.NodeID, offers []wire.Offer) ([]int, error) {
			return p.stores[to-1].takeIn(ctx, self, offers)
		},
	})
	s.Comparer = New(Options{
		Self: self, Shards: shards, Records: records, Disk: s.disk, Homes: homes, Purging: s.purging, Carrier: carrier, Peers: peers,
		Group: s.group, Uptime: p.uptime, Writing: s.writing.Load,
	})
}

// nothing is to be compared by itself.
type nothing struct{}

func (nothing) Peers() []view.NodeID                       { return nil }
func (nothing) IsPeer(view.NodeID) bool                    { return false }
func (nothing) Answers(context.Context, view.NodeID) bool  { return false }
func (nothing) Compare(context.Context, view.NodeID) error { return nil }
func (nothing) HandOver(context.Context) error             { return nil }

// takeIn takes in what the other store offers.
func (s *party) takeIn(ctx context.Context, from view.NodeID, offers []wire.Offer) (stale []int, err error) {
	in := make([]keep.Arrival, len(offers))
	for i, o := range offers {
		it, err := wire.DecodeItem(o.Item)
		if err != nil {
			return nil, err
		}
		in[i] = keep.Arrival{At: s.homes.LocateKey(o.Bucket, o.Key), Role: replicate.HomeRole, Item: it, Raw: o.Item, Stamp: keep.StampOf(o.Stamp), From: from}
	}
	got, err := s.records.AcceptAll(ctx, in)
	for i := range got {
		if got[i].Stale {
			stale = append(stale, i)
		}
	}
	return stale, err
}

// serveRead answers as a store does.
func (s *party) serveRead(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeReadRequest(req)
	if err != nil {
		return nil, err
	}
	var reply wire.ReadReply
	for _, q := range m.Keys {
		a, err := s.records.AnswerLookup(ctx, q)
		if err != nil {
			return nil, err
		}
		reply.Items = append(reply.Items, a)
	}
	return wire.AppendReadReply(nil, &reply), nil
}

// calls are those of one store.
type calls struct {
	p    *pair
	from view.NodeID
}

func (c calls) Call(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error) {
	p := c.p
	p.mu.Lock()
	p.calls[method]++
	p.bytes[method] += len(req)
	before := p.before
	p.mu.Unlock()
	if before != nil {
		before(method)
	}
	if int(to) > len(p.stores) {
		return nil, errAwayOnPurpose
	}
	s := p.stores[to-1]
	serve := map[string]func(context.Context, view.NodeID, []byte) ([]byte, error){
		wire.MethodSums: s.ServeSums, wire.MethodDigest: s.ServeDigest, wire.MethodList: s.ServeList, wire.MethodSketch: s.ServeSketch,
		wire.MethodFetch: s.ServeFetch, wire.MethodRead: s.serveRead, wire.MethodHeld: s.carrier.ServeHeld,
		wire.MethodStamps: s.purging.ServeStamps, wire.MethodLog: s.purging.ServeLog,
	}[method]
	answer, err := serve(ctx, c.from, req)
	p.mu.Lock()
	p.bytes[method] += len(answer)
	p.mu.Unlock()
	return answer, err
}

// watchCalls counts calls anew, and has a function called before each; nil: none.
func (p *pair) watchCalls(before func(method string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.calls)
	clear(p.bytes)
	p.before = before
}

func (p *pair) counted(method string) (calls, bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[method], p.bytes[method]
}

// at is where a key's record is, at either store.
func (p *pair) at(key string) layout.Place { return p.stores[0].homes.LocateKey(p.b.ID, key) }

// write writes a value at one store only.
func (p *pair) write(s *party, key, value string) {
	p.t.Helper()
	w, done := reconcile.Write{Value: []byte(value)}, make(chan error, 1)
	_, err := s.records.CommitWrite(s.records.WhenRoom(p.t.Context()), p.at(key), w, []replicate.Role{replicate.HomeRole}, keep.Terms{Nothing: true},
		func(_ keep.Written, err error) { done <- err })
	if err = errors.Join(err, <-done); err != nil {
		p.t.Fatal(err)
	}
}

// lose drops a record of one store, as if it had never come.
func (p *pair) lose(s *party, key string) {
	p.t.Helper()
	err := s.records.Update(p.t.Context(), "lose", func(tx keep.Tx) error {
		old, err := tx.Load(p.at(key))
		if err != nil {
			return err
		}
		return tx.Save(p.at(key), old, replicate.Record{}, nil)
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// compare has the first store compare itself with the second.
func (p *pair) compare() error { return p.stores[0].Compare(p.t.Context(), 2) }

// differing writes so many keys and makes one in every so many differ: the stores lack it,
// in turn, or know another version.
func (p *pair) differing(keys, each int) (differ []string) {
	p.t.Helper()
	for i := range keys {
		p.write(p.stores[0], fmt.Sprintf("k%05d", i), "v")
	}
	for _, s := range p.stores {
		if err := s.Compare(p.t.Context(), s.peer); err != nil {
			p.t.Fatal(err)
		}
	}
	p.wantEqual()
	time.Sleep(2 * keptUnused) // what these comparisons have kept is gone
	for i := each / 2; i < keys; i += each {
		key := fmt.Sprintf("k%05d", i)
		differ = append(differ, key)
		switch len(differ) % 4 {
		case 0:
			p.lose(p.stores[0], key)
		case 1:
			p.lose(p.stores[1], key)
		case 2:
			p.write(p.stores[0], key, "newer here")
		default:
			p.write(p.stores[1], key, "newer there")
		}
	}
	return differ
}

// wantEqual compares what the stores hold, and their digests with that.
func (p *pair) wantEqual() {
	p.t.Helper()
	mine, theirs := p.dump(p.stores[0]), p.dump(p.stores[1])
	for k, it := range mine {
		if !it.Equal(theirs[k]) {
			at, _ := layout.PlaceOf([]byte(k))
			p.t.Errorf("%q differs: %v and %v", at.Key, it, theirs[k])
		}
	}
	if len(mine) != len(theirs) {
		p.t.Errorf("%d and %d records", len(mine), len(theirs))
	}
	for shard := range shards {
		at := []layout.Slice{{Bucket: p.b.ID, Shard: shard}}
		one, err := p.stores[0].records.Digest(p.t.Context(), at)
		two, err2 := p.stores[1].records.Digest(p.t.Context(), at)
		if err = errors.Join(err, err2); err != nil || one != two {
			p.t.Errorf("digests of shard %d: %v and %v, %v", shard, one, two, err)
		}
	}
}

func (p *pair) dump(s *party) map[string]version.Item {
	p.t.Helper()
	out := make(map[string]version.Item)
	lower, upper := wire.RecordRange()
	err := s.disk.Scan(p.t.Context(), lower, upper, func(k, v []byte) error {
		it, err := keep.ItemOf(slices.Clone(v))
		out[string(k)] = it
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// moveTo has a store stand so in the rounds of a shard, and remember those after from.
func (p *pair) moveTo(s *party, shard int, stamp purge.Stamp, from purge.Round) {
	p.t.Helper()
	err := s.records.Update(p.t.Context(), "stand elsewhere", func(tx keep.Tx) error {
		next := tx.Standing(shard)
		next.Stamp, next.From = stamp, from
		return tx.Move(shard, next)
	})
	if err != nil {
		p.t.Fatal(err)
	}
}
