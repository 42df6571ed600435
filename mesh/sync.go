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
	"github.com/skeinmesh/skein/internal/epidemic"
	"github.com/skeinmesh/skein/internal/exchange"
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

// rosters shows the roster to internal/exchange. Its entries merge part by part, are on
// disk before they count, and give way to relics: so it is a Set of its own.
type rosters struct{ n *Node }

// newExchanger returns what exchanges the roster with peers.
func (n *Node) newExchanger() *exchange.Exchanger[view.NodeID, uint64, wire.Member] {
	return &exchange.Exchanger[view.NodeID, uint64, wire.Member]{
		Set: rosters{n},
		Words: exchange.Words[view.NodeID, uint64, wire.Member]{
			AppendQuery: wire.AppendRosterQuery, DecodeQuery: wire.DecodeRosterQuery,
			AppendSums: wire.AppendRosterSums, DecodeSums: wire.DecodeRosterSums,
			AppendSwap: wire.AppendRosterSwap,
			DecodeSwap: func(b []byte, _ func(wire.EntrySum) bool) (wire.RosterSwap, error) { return wire.DecodeRosterSwap(b) },
		},
		SumsMethod: methodSums, SwapMethod: methodSwap,
		Call: func(ctx context.Context, peer view.NodeID, method string, req []byte) ([]byte, error) {
			return n.link.Call(ctx, peer, method, req)
		},
	}
}

func (s rosters) Digest() uint64                         { return s.n.book.snapshot().sum }
func (s rosters) Sums() []wire.EntrySum                  { return s.n.book.snapshot().entrySums() }
func (s rosters) Sieve() (keep func(wire.EntrySum) bool) { return nil }

func (s rosters) Missing(ctx context.Context, peer view.NodeID, theirs []wire.EntrySum) (wire.RosterSwap, error) {
	swap, relics := difference(s.n.book.snapshot(), theirs)
	if relics {
		if err := s.n.exchangeRelics(ctx, peer); err != nil {
			return wire.RosterSwap{}, err
		}
		swap, _ = difference(s.n.book.snapshot(), theirs)
	}
	return swap, nil
}

func (s rosters) Take(ctx context.Context, peer view.NodeID, said []wire.Member) error {
	_, err := s.n.learnMembers(ctx, peer, said)
	return err
}

func (s rosters) Answer(ctx context.Context, peer view.NodeID, asked wire.RosterSwap) (have []wire.Member, err error) {
	said, err := s.n.learnMembers(ctx, peer, asked.Have)
	if err != nil {
		return nil, err
	}
	mine := s.n.book.snapshot()
	for _, e := range mine.Rebut(said) {
		have = append(have, wire.Member(e))
	}
	for _, id := range asked.Want {
		if e, ok := mine.Get(id); ok && !mine.Reduced(id) {
			have = append(have, wire.Member(e))
		}
	}
	slices.SortFunc(have, func(a, b wire.Member) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(have, func(a, b wire.Member) bool { return a.ID == b.ID }), nil
}

func (n *Node) learnMembers(ctx context.Context, from view.NodeID, in []wire.Member) (said roster.Roster, err error) {
	if said, err = roster.FromMembers(in); err != nil {
		return said, fmt.Errorf("from node %v: %w", from, err)
	}
	return said, n.learnRoster(ctx, from, said)
}

// exchangeRelics makes the relics of this node and of peer equal.
func (n *Node) exchangeRelics(ctx context.Context, peer view.NodeID) error {
	query := wire.RelicSwap{Digest: n.book.snapshot().RelicSum()}
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
	if err := n.learnRoster(ctx, peer, theirs); err != nil {
		return err
	}
	query.Have = n.book.snapshot().RelicsBeyond(theirs)
	if len(query.Have) == 0 {
		return nil
	}
	query.Digest = n.book.snapshot().RelicSum()
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
	if err := n.learnRoster(ctx, from, in); err != nil {
		return nil, err
	}
	mine := n.book.snapshot()
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
	have, want := epidemic.Compare(mine.entrySums(), theirs, func(sum, than uint64) bool { return sum != than })
	for _, id := range have {
		e, _ := mine.Get(id)
		swap.Have = append(swap.Have, wire.Member(e))
		relics = relics || e.Status.Gone()
	}
	swap.Want = slices.DeleteFunc(want, mine.Reduced)
	return swap, relics || len(swap.Want) < len(want) || len(have)+len(want) == 0
}

// learnRoster takes in what a peer says, once it is on disk. What it says of one that
// runs, against its own word, is looked into first.
func (n *Node) learnRoster(ctx context.Context, from view.NodeID, in roster.Roster) error {
	take, doubts := n.book.snapshot().Hear(from, in, func(id view.NodeID) bool { return id == n.id || n.isAlive(id) })
	for _, e := range doubts {
		n.examineClaim(from, e)
	}
	return n.book.mergeRationed(ctx, take)
}

// keepSpreading passes news on to a few nodes soon.
func (n *Node) keepSpreading(ctx context.Context) {
	told := n.book.snapshot().sum
	exchange.HandOn(ctx, n.book.watch.Watch(ctx), rumorPause, func(ctx context.Context) {
		if now := n.book.snapshot().sum; now != told {
			told = now
			n.exchangeWith(ctx, roster.Partners(n.View())...)
		}
	})
}

// keepComparing compares rosters with one of a few nodes every few seconds, so that what
// was missed comes in.
func (n *Node) keepComparing(ctx context.Context) {
	partners := func() []view.NodeID { return roster.Partners(n.View()) }
	exchange.Compare(ctx, n.pace.sync, partners, func(ctx context.Context, peer view.NodeID) error {
		n.exchangeWith(ctx, peer)
		return nil
	})
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
		if n.troubles.expireOld() {
			n.inbox.putEvent(event{viewChanged: true})
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
			err := n.exchanger.With(ctx, p)
			if err == nil {
				n.traits.compareSoon(p)
				err = n.topics.compareWith(ctx, p)
			}
			if err != nil {
				n.heedRefusal(p, err)
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
