package mesh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Methods of roster exchange: ask how the rosters differ, then swap what
// does.
const (
	methodSums = "mesh/roster-sums"
	methodSwap = "mesh/roster-swap"
	// methodRelics compares what is kept of those that are gone for long. Releases
	// that do not know it keep entries of all; see roster.Rebut.
	methodRelics = "mesh/roster-relics"
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
	swap, relics := difference(mine, sums.Sums)
	if relics {
		if err := n.exchangeRelics(ctx, peer); err != nil {
			return err
		}
		swap, _ = difference(n.book.get(), sums.Sums)
	}
	if b, err = n.link.Call(ctx, peer, methodSwap, wire.AppendRosterSwap(nil, swap)); err != nil {
		return err
	}
	reply, err := wire.DecodeRosterSwap(b)
	if err != nil {
		return err
	}
	said, err := roster.FromMembers(reply.Have)
	if err != nil {
		return fmt.Errorf("from node %v: %w", peer, err)
	}
	return n.learn(ctx, peer, said)
}

// exchangeRelics makes the relics of this node and of peer equal.
func (n *Node) exchangeRelics(ctx context.Context, peer view.NodeID) error {
	query := wire.RelicSwap{Digest: n.book.get().RelicSum()}
	b, err := n.link.Call(ctx, peer, methodRelics, wire.AppendRelicSwap(nil, query))
	if errors.Is(callError(err), ErrNoHandler) {
		return nil
	}
	if err != nil {
		return err
	}
	reply, err := wire.DecodeRelicSwap(b)
	if err != nil || reply.Digest == query.Digest {
		return err
	}
	theirs, err := roster.FromRelics(reply.Have)
	if err != nil {
		return fmt.Errorf("from node %v: %w", peer, err)
	}
	if err := n.learn(ctx, peer, theirs); err != nil {
		return err
	}
	query.Have = n.book.get().RelicsBeyond(theirs)
	if len(query.Have) == 0 {
		return nil
	}
	query.Digest = n.book.get().RelicSum()
	_, err = n.link.Call(ctx, peer, methodRelics, wire.AppendRelicSwap(nil, query))
	return err
}

func (n *Node) answerRelics(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	q, err := wire.DecodeRelicSwap(req)
	if err != nil {
		return nil, err
	}
	in, err := roster.FromRelics(q.Have)
	if err != nil {
		return nil, fmt.Errorf("from node %v: %w", from, err)
	}
	if err := n.learn(ctx, from, in); err != nil {
		return nil, err
	}
	mine := n.book.get()
	reply := wire.RelicSwap{Digest: mine.RelicSum()}
	if reply.Digest != q.Digest {
		reply.Have = mine.Relics()
	}
	return wire.AppendRelicSwap(nil, reply), nil
}

// difference returns what a peer with the given sums lacks, and what to ask it for;
// and whether the relics are to be compared, too, as the two differ by them or by
// one that is gone. Other news come more often, and need not wait for that.
func difference(mine *snapshot, theirs []wire.EntrySum) (swap wire.RosterSwap, relics bool) {
	sums := make(map[view.NodeID]uint64, len(theirs))
	for _, s := range theirs {
		sums[s.ID] = s.Sum
		if _, ok := mine.Get(s.ID); !ok {
			swap.Want = append(swap.Want, s.ID)
		}
		relics = relics || mine.Reduced(s.ID)
	}
	for _, s := range mine.sums() {
		sum, known := sums[s.ID]
		if known && sum == s.Sum {
			continue
		}
		e, _ := mine.Get(s.ID)
		swap.Have = append(swap.Have, wire.Member(e))
		relics = relics || e.Status.Gone()
		if known {
			swap.Want = append(swap.Want, s.ID)
		}
	}
	return swap, relics || len(swap.Have)+len(swap.Want) == 0
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
	said, err := roster.FromMembers(swap.Have)
	if err != nil {
		return nil, fmt.Errorf("from node %v: %w", from, err)
	}
	if err := n.learn(ctx, from, said); err != nil {
		return nil, err
	}
	mine := n.book.get()
	var reply wire.RosterSwap
	for _, e := range mine.Rebut(said) {
		reply.Have = append(reply.Have, wire.Member(e))
	}
	for _, id := range swap.Want {
		if e, ok := mine.Get(id); ok && !mine.Reduced(id) {
			reply.Have = append(reply.Have, wire.Member(e))
		}
	}
	slices.SortFunc(reply.Have, func(a, b wire.Member) int { return cmp.Compare(a.ID, b.ID) })
	reply.Have = slices.CompactFunc(reply.Have, func(a, b wire.Member) bool { return a.ID == b.ID })
	return wire.AppendRosterSwap(nil, reply), nil
}

// learn takes in what a peer says, once it is on disk. What it says of one that
// runs, against its own word, is looked into first.
func (n *Node) learn(ctx context.Context, from view.NodeID, in roster.Roster) error {
	take, doubts := n.book.get().Hear(from, in, func(id view.NodeID) bool { return id == n.id || n.alive(id) })
	for _, e := range doubts {
		n.wonder(from, e)
	}
	return n.book.hear(ctx, take)
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
			if !clock.Sleep(ctx, rumorPause/2+rand.N(rumorPause)) {
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
		if !clock.Sleep(ctx, strangePause/2+rand.N(strangePause)) {
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
	for clock.Sleep(ctx, reachPause) {
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
