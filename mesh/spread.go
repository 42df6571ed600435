package mesh

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/exchange"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/mesh/view"
)

// rumorPause is how long news wait for company before they are passed on.
const rumorPause = 300 * time.Millisecond

// strangePause is about how long lies between two comparisons because of nodes that
// gossip alone has named: where many join at once the rosters' news may be faster.
const strangePause = time.Second

// spreading has what this node knows of all the others, and they of it: whom it tells news
// at once, and with whom it compares what when.
type spreading struct {
	*ground
	rosters  *rosters
	traits   *traits
	topics   *topics
	refusals *refusals
	troubles *troubles
	tells    tells
	strange  chan view.NodeID // who spoke of a node that the roster does not hold
}

// keepSpreading passes news on to a few nodes soon.
func (s *spreading) keepSpreading(ctx context.Context) {
	told := s.book.snapshot().sum
	exchange.HandOn(ctx, s.book.watch.Watch(ctx), rumorPause, func(ctx context.Context) {
		if now := s.book.snapshot().sum; now != told {
			told = now
			s.exchangeWith(ctx, roster.Partners(s.views.Get())...)
		}
	})
}

// keepComparing compares rosters with one of a few nodes every few seconds, so that what
// was missed comes in.
func (s *spreading) keepComparing(ctx context.Context) {
	partners := func() []view.NodeID { return roster.Partners(s.views.Get()) }
	exchange.Compare(ctx, s.pace.sync, partners, func(ctx context.Context, peer view.NodeID) error {
		s.exchangeWith(ctx, peer)
		return nil
	})
}

// noteStrange notes that a node gossips about one that the roster does not hold, or
// is one.
func (s *spreading) noteStrange(from view.NodeID) {
	select {
	case s.strange <- from:
	default:
	}
}

// keepAcquainted compares rosters with who speaks of nodes that this one has not
// heard of: gossip about them waits for that. Whoever makes them up costs one
// small request now and then.
func (s *spreading) keepAcquainted(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case from := <-s.strange:
			if m, _ := s.views.Get().Member(from); m.State == view.Alive {
				s.exchangeWith(ctx, from)
			} else if p := roster.Partners(s.views.Get()); len(p) > 0 {
				s.exchangeWith(ctx, p[rand.IntN(len(p))])
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
func (s *spreading) keepReached(ctx context.Context) {
	told := map[view.NodeID]bool{}
	for clock.Sleep(ctx, reachPause) {
		v, ids := s.views.Get(), s.link.Inbound()
		for _, m := range v.Members {
			text := "member is reached by others, and not by this node"
			if slices.Contains(ids, m.ID) {
				text = "member connects from another host than it advertises, as behind NAT: it is reached over its own connection"
			} else if !m.Unreachable {
				continue
			}
			if !told[m.ID] {
				told[m.ID] = true
				s.log.Info(text, "member", m.ID, "name", m.Name, "addr", m.Addr)
			}
		}
		s.troubles.expireOld()
		if len(ids) > 0 {
			s.exchangeWith(ctx, ids...)
		}
	}
}

// exchangeWith exchanges with all peers at once and waits for them.
func (s *spreading) exchangeWith(ctx context.Context, peers ...view.NodeID) {
	ctx, cancel := context.WithTimeout(ctx, s.pace.dial)
	defer cancel()
	done := make(chan struct{}, len(peers))
	for _, p := range peers {
		if !s.work.Go(func(context.Context) {
			defer func() { done <- struct{}{} }()
			err := s.rosters.exchanger.With(ctx, p)
			if err == nil {
				s.traits.compareSoon(p)
				err = s.topics.compareWith(ctx, p)
			}
			if err != nil {
				s.refusals.heedRefusal(p, err)
				s.log.Debug("roster exchange failed", "peer", p, "error", err)
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

// tellPartners tells a few nodes at once, and waits for none of them. One that hangs is
// not told more: what it misses comes by a comparison.
func (s *spreading) tellPartners(tell func(context.Context, view.NodeID) error) {
	for _, id := range roster.Partners(s.views.Get()) {
		if !s.tells.beginTell(id) {
			continue
		}
		if !s.work.Go(func(ctx context.Context) {
			defer s.tells.endTell(id)
			ctx, cancel := context.WithTimeout(ctx, s.pace.dial)
			defer cancel()
			_ = tell(ctx, id)
		}) {
			s.tells.endTell(id)
		}
	}
}

// keepTraitsCompared compares traits with one peer after the other.
func (s *spreading) keepTraitsCompared(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.traits.some:
		}
		for peer, ok := s.traits.takeDue(); ok; peer, ok = s.traits.takeDue() {
			if err := s.traits.compareWith(ctx, peer); err != nil {
				s.refusals.heedRefusal(peer, err)
				s.log.Debug("exchange of tags failed", "peer", peer, "error", err)
			}
		}
	}
}

// keepTraitsSpreading hands news of traits to a few nodes soon.
func (s *spreading) keepTraitsSpreading(ctx context.Context) {
	exchange.HandOn(ctx, s.traits.News, rumorPause, func(context.Context) {
		if news := s.traits.TakeNews(); len(news) > 0 {
			s.tellPartners(s.traits.exchanger.Teller(news))
		}
	})
}

// keepTellingNews hands messages on to a few nodes soon.
func (s *spreading) keepTellingNews(ctx context.Context) {
	exchange.HandOn(ctx, s.topics.news, messagePause, func(context.Context) {
		if news := s.topics.takeNews(); len(news) > 0 {
			s.tellPartners(s.topics.exchanger.Teller(news))
		}
	})
}

// tellAll exchanges rosters with all who are in contact, at once.
func (s *spreading) tellAll(ctx context.Context) {
	var peers []view.NodeID
	for _, m := range s.views.Get().Members {
		if m.ID != s.id && m.State == view.Alive {
			peers = append(peers, m.ID)
		}
	}
	for group := range slices.Chunk(peers, 16) {
		s.exchangeWith(ctx, group...)
	}
}
