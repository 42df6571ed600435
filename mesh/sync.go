package mesh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

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

// rosters shows the roster to internal/exchange. Its entries merge part by part, are on
// disk before they count, and give way to relics: so it is a Set of its own.
type rosters struct {
	*ground
	exchanger exchange.Exchanger[view.NodeID, uint64, wire.Member]
	call      callPeer
	examine   func(from view.NodeID, said roster.Entry) // looks into what a peer says of one that runs
}

func newRosters(g *ground, call callPeer) *rosters {
	s := &rosters{ground: g, call: call}
	s.exchanger = exchange.Exchanger[view.NodeID, uint64, wire.Member]{
		Set: s,
		Words: exchange.Words[view.NodeID, uint64, wire.Member]{
			AppendQuery: wire.AppendRosterQuery, DecodeQuery: wire.DecodeRosterQuery,
			AppendSums: wire.AppendRosterSums, DecodeSums: wire.DecodeRosterSums,
			AppendSwap: wire.AppendRosterSwap,
			DecodeSwap: func(b []byte, _ func(wire.EntrySum) bool) (wire.RosterSwap, error) { return wire.DecodeRosterSwap(b) },
		},
		SumsMethod: methodSums, SwapMethod: methodSwap, Call: call,
	}
	return s
}

func (s *rosters) Digest() uint64                         { return s.book.snapshot().sum }
func (s *rosters) Sums() []wire.EntrySum                  { return s.book.snapshot().entrySums() }
func (s *rosters) Sieve() (keep func(wire.EntrySum) bool) { return nil }

func (s *rosters) Missing(ctx context.Context, peer view.NodeID, theirs []wire.EntrySum) (wire.RosterSwap, error) {
	swap, relics := difference(s.book.snapshot(), theirs)
	if relics {
		if err := s.exchangeRelics(ctx, peer); err != nil {
			return wire.RosterSwap{}, err
		}
		swap, _ = difference(s.book.snapshot(), theirs)
	}
	return swap, nil
}

func (s *rosters) Take(ctx context.Context, peer view.NodeID, said []wire.Member) error {
	_, err := s.learnMembers(ctx, peer, said)
	return err
}

func (s *rosters) Answer(ctx context.Context, peer view.NodeID, asked wire.RosterSwap) (have []wire.Member, err error) {
	said, err := s.learnMembers(ctx, peer, asked.Have)
	if err != nil {
		return nil, err
	}
	mine := s.book.snapshot()
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

func (s *rosters) learnMembers(ctx context.Context, from view.NodeID, in []wire.Member) (said roster.Roster, err error) {
	if said, err = roster.FromMembers(in); err != nil {
		return said, fmt.Errorf("from node %v: %w", from, err)
	}
	return said, s.learnRoster(ctx, from, said)
}

// exchangeRelics makes the relics of this node and of peer equal.
func (s *rosters) exchangeRelics(ctx context.Context, peer view.NodeID) error {
	query := wire.RelicSwap{Digest: s.book.snapshot().RelicSum()}
	b, err := s.call(ctx, peer, methodRelics, wire.AppendRelicSwap(nil, query))
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
	if err := s.learnRoster(ctx, peer, theirs); err != nil {
		return err
	}
	query.Have = s.book.snapshot().RelicsBeyond(theirs)
	if len(query.Have) == 0 {
		return nil
	}
	query.Digest = s.book.snapshot().RelicSum()
	_, err = s.call(ctx, peer, methodRelics, wire.AppendRelicSwap(nil, query))
	return err
}

func (s *rosters) answerRelics(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	q, err := wire.DecodeRelicSwap(req)
	if err != nil {
		return nil, err
	}
	in, err := roster.FromRelics(q.Have)
	if err != nil {
		return nil, fmt.Errorf("from node %v: %w", from, err)
	}
	if err := s.learnRoster(ctx, from, in); err != nil {
		return nil, err
	}
	mine := s.book.snapshot()
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
func (s *rosters) learnRoster(ctx context.Context, from view.NodeID, in roster.Roster) error {
	take, doubts := s.book.snapshot().Hear(from, in, func(id view.NodeID) bool { return id == s.id || s.isAlive(id) })
	for _, e := range doubts {
		s.examine(from, e)
	}
	return s.book.mergeRationed(ctx, take)
}
