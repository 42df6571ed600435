package mesh

import (
	"context"
	"errors"
	"net/netip"
	"sync"

	"github.com/skeinmesh/skein/internal/detect"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/mesh/view"
)

// meetings bring this node together with others: a connection, equal rosters, and then
// gossip.
type meetings struct {
	*ground
	inbox    *inbox
	rosters  *rosters
	refusals *refusals
	places   *places
	troubles *troubles
	gossip   *gossip // nil until the node is open
}

// attempts are goroutines that somebody waits for.
type attempts struct {
	work *lifecycle.Group
	all  sync.WaitGroup
}

func (a *attempts) runAttempt(fn func(ctx context.Context)) {
	a.all.Add(1)
	if !a.work.Go(func(ctx context.Context) { defer a.all.Done(); fn(ctx) }) {
		a.all.Done()
	}
}

// greetAll tries all addresses at once.
func (m *meetings) greetAll(a *attempts, port uint16, addrs ...netip.Addr) {
	for _, addr := range addrs {
		a.runAttempt(func(ctx context.Context) { m.greetAddr(ctx, netip.AddrPortFrom(addr, port)) })
	}
}

// meetNode joins the mesh of a node that is connected: rosters are exchanged,
// then gossip begins.
func (m *meetings) meetNode(ctx context.Context, id view.NodeID) error {
	if err := m.rosters.exchanger.With(ctx, id); err != nil {
		return err
	}
	m.wasAdmitted.Store(true)
	if err := m.gossip.joinNode(ctx, id); err != nil {
		return err
	}
	m.inbox.putEvent(event{Event: detect.Event{Kind: detect.ProbeOK, ID: id}, meshMet: true})
	return nil
}

// redialMember attempts to meet a member that is out of contact.
func (m *meetings) redialMember(ctx context.Context, id view.NodeID) {
	ctx, cancel := context.WithTimeout(ctx, m.pace.dial)
	defer cancel()
	err := m.refusals.attemptTwice(id, func() error { return m.meetNode(ctx, id) })
	if addr, ok := m.places.resolveAddr(m.book, id); ok && errors.Is(err, link.ErrOther) {
		m.greetAddr(ctx, addr) // a new disk runs there, or the addresses were dealt anew
	}
	if err != nil {
		m.log.Debug("redial failed", "peer", id, "error", err)
		m.searchElsewhere(id)
	}
}

// searchElsewhere looks for a member at other addresses than the one where it does not
// answer.
func (m *meetings) searchElsewhere(id view.NodeID) {
	a := &attempts{work: m.work}
	for _, addr := range m.places.otherAddrs(id) {
		a.runAttempt(func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, m.pace.dial)
			defer cancel()
			err := m.refusals.attemptTwice(id, func() error {
				err := m.link.Find(ctx, id, addr)
				if err == nil {
					err = m.meetNode(ctx, id)
				}
				return err
			})
			if err != nil {
				m.log.Debug("member is not at an address that it had", "peer", id, "addr", addr, "error", err)
			}
		})
	}
	a.all.Wait()
}

// onFound is told by the link of a member that answered where another one was
// dialled: addresses were dealt anew. Both have told each other where they are.
func (m *meetings) onFound(peer link.Peer) {
	m.work.Go(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, m.pace.dial)
		defer cancel()
		if err := m.refusals.attemptTwice(peer.ID, func() error { return m.meetNode(ctx, peer.ID) }); err != nil {
			m.log.Debug("node found elsewhere was not met", "peer", peer.ID, "addr", peer.Remote, "error", err)
		}
	})
}

// greetAddr meets whoever is at an address that the user gave, unless that is a
// member in contact, or this node itself.
func (m *meetings) greetAddr(ctx context.Context, addr netip.AddrPort) {
	for _, o := range m.views.Get().Members {
		if o.Addr == addr && (o.State == view.Alive || o.ID == m.id) {
			return
		}
	}
	err := m.meetAt(ctx, addr)
	switch {
	case err == nil:
		m.troubles.endTrouble("stranger " + addr.Addr().String())
	case errors.Is(err, link.ErrUntrusted):
		m.troubles.strangerAt(addr.Addr(), view.ProblemStrangeSeed)
	}
	if err != nil && !errors.Is(err, link.ErrSelf) {
		m.log.Debug("seed not met", "addr", addr, "error", err)
	}
}

// meetAt meets whoever is at an address.
func (m *meetings) meetAt(ctx context.Context, addr netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, m.pace.dial)
	defer cancel()
	var peer link.Peer
	try := func() (err error) {
		if peer, err = m.link.Greet(ctx, addr); err == nil {
			err = m.meetNode(ctx, peer.ID)
		}
		return err
	}
	err := try()
	if m.refusals.heedRefusal(peer.ID, err) {
		err = try()
	}
	return err
}
