package mesh

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Methods of roster exchange: ask how the rosters differ, then swap what
// does.
const (
	methodSums = "mesh/roster-sums"
	methodSwap = "mesh/roster-swap"
)

// rumorPause is how long news wait for company before they are passed on.
const rumorPause = 300 * time.Millisecond

// strangePause is about how long lies between two comparisons because of nodes that
// gossip alone has named: where many join at once the rosters' news may be faster.
const strangePause = time.Second

// exchange makes the rosters of this node and of peer equal, as far as they
// are not. Equal ones cost one small request.
func (n *Node) exchange(ctx context.Context, peer view.NodeID) error {
	mine := n.book.get()
	b, err := n.link.Call(ctx, peer, methodSums, wire.AppendRosterQuery(nil, wire.RosterQuery{Digest: mine.sum}))
	if err != nil {
		return err
	}
	sums, err := wire.DecodeRosterSums(b)
	if err != nil || sums.Equal {
		return err
	}
	swap := difference(mine, sums.Sums)
	if b, err = n.link.Call(ctx, peer, methodSwap, wire.AppendRosterSwap(nil, swap)); err != nil {
		return err
	}
	reply, err := wire.DecodeRosterSwap(b)
	if err != nil {
		return err
	}
	return n.learn(ctx, peer, reply.Have)
}

// difference returns what a peer with the given sums lacks, and what to ask
// it for.
func difference(mine *snapshot, theirs []wire.EntrySum) wire.RosterSwap {
	var swap wire.RosterSwap
	sums := make(map[view.NodeID]uint64, len(theirs))
	for _, s := range theirs {
		sums[s.ID] = s.Sum
		if _, ok := mine.Get(s.ID); !ok {
			swap.Want = append(swap.Want, s.ID)
		}
	}
	for _, s := range mine.sums() {
		sum, known := sums[s.ID]
		if known && sum == s.Sum {
			continue
		}
		e, _ := mine.Get(s.ID)
		swap.Have = append(swap.Have, wire.Member(e))
		if known {
			swap.Want = append(swap.Want, s.ID)
		}
	}
	return swap
}

func (n *Node) answerSums(req []byte) ([]byte, error) {
	q, err := wire.DecodeRosterQuery(req)
	if err != nil {
		return nil, err
	}
	mine := n.book.get()
	if q.Digest == mine.sum {
		return wire.AppendRosterSums(nil, wire.RosterSums{Equal: true}), nil
	}
	return wire.AppendRosterSums(nil, wire.RosterSums{Sums: mine.sums()}), nil
}

func (n *Node) answerSwap(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	swap, err := wire.DecodeRosterSwap(req)
	if err != nil {
		return nil, err
	}
	if err := n.learn(ctx, from, swap.Have); err != nil {
		return nil, err
	}
	mine := n.book.get()
	var reply wire.RosterSwap
	for _, id := range swap.Want {
		if e, ok := mine.Get(id); ok {
			reply.Have = append(reply.Have, wire.Member(e))
		}
	}
	slices.SortFunc(reply.Have, func(a, b wire.Member) int { return cmp.Compare(a.ID, b.ID) })
	reply.Have = slices.CompactFunc(reply.Have, func(a, b wire.Member) bool { return a.ID == b.ID })
	return wire.AppendRosterSwap(nil, reply), nil
}

// learn takes in entries that a peer sent, once they are on disk. What it says of
// one that runs, against its own word, is looked into first.
func (n *Node) learn(ctx context.Context, from view.NodeID, members []wire.Member) error {
	in, err := roster.FromMembers(members)
	if err != nil {
		return fmt.Errorf("from node %v: %w", from, err)
	}
	take, doubts := n.book.get().Hear(from, in, func(id view.NodeID) bool { return id == n.id || n.alive(id) })
	for _, e := range doubts {
		n.wonder(from, e)
	}
	return n.book.merge(ctx, take)
}

// keepExchanging passes news on to a few nodes soon, and compares rosters
// with one of them every few seconds, so that what was missed comes in.
func (n *Node) keepExchanging(ctx context.Context) {
	news := n.book.watch.Watch(ctx)
	told := n.book.get().sum
	for {
		wait := n.pace.sync/2 + rand.N(n.pace.sync)
		select {
		case <-ctx.Done():
			return
		case _, ok := <-news:
			if !ok {
				return
			}
			if n.book.get().sum == told {
				continue
			}
			if !sleep(ctx, rumorPause/2+rand.N(rumorPause)) {
				return
			}
			told = n.book.get().sum
			n.exchangeWith(ctx, roster.Partners(n.View())...)
		case <-time.After(wait):
			if p := roster.Partners(n.View()); len(p) > 0 {
				n.exchangeWith(ctx, p[rand.IntN(len(p))])
			}
		}
	}
}

// noteStrange notes that a node gossips about one that the roster does not hold, or
// is one.
func (n *Node) noteStrange(from view.NodeID) {
	select {
	case n.strange <- from:
	default:
	}
}

// keepAcquainted compares rosters with who speaks of nodes that this one has not
// heard of: gossip about them waits for that. Whoever makes them up costs one
// small request now and then.
func (n *Node) keepAcquainted(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case from := <-n.strange:
			if m, _ := n.View().Member(from); m.State == view.Alive {
				n.exchangeWith(ctx, from)
			} else if p := roster.Partners(n.View()); len(p) > 0 {
				n.exchangeWith(ctx, p[rand.IntN(len(p))])
			}
		}
		if !sleep(ctx, strangePause/2+rand.N(strangePause)) {
			return
		}
	}
}

// reachPause is the time between two words with members that cannot be dialled.
const reachPause = 2 * time.Minute

// keepReached keeps the connections of members behind NAT in use: they alone can
// make them, and do not know that they must not let go of them. Of each member that
// is reached in such a way, or only by others, it says so once. Troubles that have
// passed without a word end here too.
func (n *Node) keepReached(ctx context.Context) {
	told := map[view.NodeID]bool{}
	for sleep(ctx, reachPause) {
		v, ids := n.View(), n.link.Inbound()
		for _, m := range v.Members {
			text := "member is reached by others, and not by this node"
			if slices.Contains(ids, m.ID) {
				text = "member connects from another host than it advertises, as behind NAT: it is reached over its own connection"
			} else if !m.Unreachable {
				continue
			}
			if !told[m.ID] {
				told[m.ID] = true
				n.log.Info(text, "member", m.ID, "name", m.Name, "addr", m.Addr)
			}
		}
		if n.troubles.expire() {
			n.inbox.put(event{shown: true})
		}
		if len(ids) > 0 {
			n.exchangeWith(ctx, ids...)
		}
	}
}

// exchangeWith exchanges with all peers at once and waits for them.
func (n *Node) exchangeWith(ctx context.Context, peers ...view.NodeID) {
	ctx, cancel := context.WithTimeout(ctx, n.pace.dial)
	defer cancel()
	done := make(chan struct{}, len(peers))
	for _, p := range peers {
		if !n.work.Go(func(context.Context) {
			defer func() { done <- struct{}{} }()
			if err := n.exchange(ctx, p); err != nil {
				n.heed(p, err)
				n.log.Debug("roster exchange failed", "peer", p, "error", err)
			}
		}) {
			done <- struct{}{}
		}
	}
	for range peers {
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
}

// sleep waits and tells whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
