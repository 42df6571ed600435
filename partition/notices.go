package partition

import (
	"context"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/epidemic"
	"github.com/skeinmesh/skein/internal/exchange"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/split"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Methods by which notices travel: see internal/exchange.
const (
	methodSums = "partition/sums"
	methodSwap = "partition/swap"
)

const (
	newsPause   = 50 * time.Millisecond // news wait so long for company
	compareMean = 20 * time.Second
	maxSwaps    = 2 // messages with notices that are read at a time

	// For beginsFor behind Open a node compares with firstPartners of those that it has met, and
	// no more often than every firstPause: where all of a large mesh begin at once somebody is
	// met again and again.
	beginsFor     = 30 * time.Second
	firstPartners = 3
	firstPause    = 2 * time.Second
)

// notices keeps the last notice of each node, its own too.
type notices struct {
	*exchange.Table[view.NodeID, wire.NoticeVersion, wire.Notice]
	*ground
	exchange *exchange.Exchanger[view.NodeID, wire.NoticeVersion, wire.Notice]
	boot     uint64
	met      notify.Bell // somebody was met while this node begins
}

// heardNotice is a notice and when it came, by this node's run time.
type heardNotice struct {
	wire.Notice
	at time.Duration
}

func newNotices(g *ground, boot uint64, now func() time.Duration, look func() view.View) *notices {
	rule := epidemic.RuleOfOwnWords(g.id, wire.Notice.Sum, func(now time.Duration, held, told wire.Notice) wire.Notice {
		held.Node, held.Boot, held.Seq, held.Up = g.id, boot, told.Seq+1, now
		return held
	})
	believe := func() func(wire.NoticeSum) bool {
		v := look()
		return func(s wire.NoticeSum) bool { return split.Believes(v, s) }
	}
	n := &notices{Table: exchange.NewTable(rule, now, believe), ground: g, boot: boot, met: notify.NewBell()}
	n.exchange = n.newExchanger()
	return n
}

// changeOwn replaces what this node says of itself, if that is anything new.
func (n *notices) changeOwn(change func(*wire.Notice)) {
	n.Change(n.id, func(now time.Duration, held wire.Notice) (wire.Notice, bool) {
		next := held
		next.Node, next.Boot = n.id, n.boot
		change(&next)
		fresh := !reflect.DeepEqual(next, held)
		next.Seq, next.Up = held.Seq+1, now
		return next, fresh
	})
}

// repeatOwn sends this node's notice again, with a new uptime: for whoever was just met.
func (n *notices) repeatOwn() {
	n.Change(n.id, func(now time.Duration, held wire.Notice) (wire.Notice, bool) {
		held.Node, held.Boot, held.Seq, held.Up = n.id, n.boot, held.Seq+1, now
		return held, true
	})
}

// ownNotice returns this node's notice.
func (n *notices) ownNotice() heardNotice {
	h := n.Get(n.id)
	return heardNotice{h.Entry, h.At}
}

// allNotices returns the last notice of each node.
func (n *notices) allNotices() map[view.NodeID]heardNotice {
	out := map[view.NodeID]heardNotice{}
	for id, h := range n.All() {
		out[id] = heardNotice{h.Entry, h.At}
	}
	return out
}

// forgetGone drops what is known of nodes that left for good.
func (n *notices) forgetGone(gone func(view.NodeID) bool) {
	n.Forget(func(id view.NodeID) bool { return id != n.id && gone(id) })
}

// newExchanger returns what exchanges the notices with peers.
func (n *notices) newExchanger() *exchange.Exchanger[view.NodeID, wire.NoticeVersion, wire.Notice] {
	return &exchange.Exchanger[view.NodeID, wire.NoticeVersion, wire.Notice]{
		Set: n.Table,
		Words: exchange.Words[view.NodeID, wire.NoticeVersion, wire.Notice]{
			AppendQuery: wire.AppendNoticeSums, DecodeQuery: wire.DecodeNoticeSums,
			AppendSums: wire.AppendNoticeSums, DecodeSums: wire.DecodeNoticeSums,
			AppendSwap: wire.AppendNoticeSwap, DecodeSwap: wire.DecodeNoticeSwap,
		},
		SumsMethod: methodSums, SwapMethod: methodSwap, Call: n.callPeer, Reads: make(chan struct{}, maxSwaps),
	}
}

// spreadNews hands news on to a few nodes, and waits for none of them.
func (n *notices) spreadNews(ctx context.Context) {
	exchange.HandOn(ctx, n.News, newsPause, func(context.Context) {
		if news := n.TakeNews(); len(news) > 0 {
			tell := n.exchange.Teller(news)
			for _, id := range roster.Partners(n.mesh.View()) {
				n.group.Go(func(ctx context.Context) { _ = tell(ctx, id) })
			}
		}
	})
}

// compareNotices compares now and then what this node has with what another has.
func (n *notices) compareNotices(ctx context.Context) {
	exchange.Compare(ctx, compareMean, func() []view.NodeID { return roster.Partners(n.mesh.View()) }, n.exchange.With)
}

// compareAtFirst compares with the partners that are met while this node begins. What they tell
// by themselves may come too soon:
//
//	0.0 s  the node is up, before its store is open: a leader meets it, and tells its notice
//	0.1 s  its Partition is opened, and serves notices from then on
//
// Without this the leader would not be heard of for some 20 s, and asked for its voters' grants.
func (n *notices) compareAtFirst(ctx context.Context) {
	exchange.HandOn(ctx, n.met, newsPause, func(ctx context.Context) {
		ids := slices.Clone(roster.Partners(n.mesh.View()))
		rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		var heard atomic.Bool
		var all sync.WaitGroup
		for _, id := range ids[:min(len(ids), firstPartners)] {
			all.Go(func() {
				if n.exchange.With(ctx, id) == nil {
					heard.Store(true)
				}
			})
		}
		all.Wait()
		if !heard.Load() && n.uptime() < beginsFor {
			n.met.Ring() // they may be about to begin, too
		}
		clock.Sleep(ctx, firstPause)
	})
}

// sendFarewell has this node's last notice say that it takes no part any more: the others
// keep it for as long as the node below runs.
func (n *notices) sendFarewell() {
	n.changeOwn(func(last *wire.Notice) {
		*last = wire.Notice{Node: last.Node, Boot: last.Boot, Seq: last.Seq, Voters: last.Voters}
	})
	tell := n.exchange.Teller([]wire.Notice{n.ownNotice().Notice})
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	var all sync.WaitGroup
	for _, id := range roster.Partners(n.mesh.View()) {
		all.Go(func() { _ = tell(ctx, id) })
	}
	all.Wait()
}
