package mesh

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/detect"
	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// admitPatience is how long a node waits for a sign of life of the one whose
// place another claims.
const admitPatience = time.Second

// Two processes may claim one NodeID: a restarted node beside its old life, a
// copied disk beside the original. Each side of a hello compares the claim
// (Boot, Instance) with the highest that the roster holds, and asks the
// address known so far whether that life still runs.
//
//   - It does, and the newcomer was never admitted anywhere: the newcomer is
//     a copy, and is refused. The running one is not disturbed.
//   - It does, and the newcomer was admitted on another side of a cut: the
//     higher claim wins on both sides alike. The other hears of it through
//     the roster and stops.
//   - It does not: a higher claim is a restart. A lower one, or another
//     Instance of the same Boot, is a disk rolled back or copied.

// makeHello is what this node tells another before they use a connection.
func (n *Node) makeHello() []byte {
	if !n.isOpen() {
		return nil
	}
	e, _ := n.book.snapshot().Get(n.id)
	return wire.AppendHello(nil, &wire.Hello{
		Self: wire.Member(e), Met: n.wasAdmitted.Load(), Up: uint64(n.uptime().Milliseconds()),
	})
}

// isOpen waits until all parts of the node are there and tells whether they
// are. The link is at work earlier than that.
func (n *Node) isOpen() bool {
	select {
	case <-n.opened:
		return true
	case <-n.done:
		return false
	}
}

// resolveAddr is the only source of addresses that are sent to.
func (n *Node) resolveAddr(id view.NodeID) (netip.AddrPort, bool) {
	e, ok := n.book.snapshot().Get(id)
	return n.places.addrOf(id, e.Addr), ok && e.Status != view.Evicted
}

// latestBoot is the latest boot of a node that this one has admitted or heard of.
func (n *Node) latestBoot(id view.NodeID) uint64 {
	e, _ := n.book.snapshot().Get(id)
	return e.Boot
}

// belongs tells whether a node may be said to live: it is not gone. Gossip asks for
// nodes of the roster only, a hello may come from any.
func (n *Node) belongs(id view.NodeID) bool {
	e, ok := n.book.snapshot().Get(id)
	return !ok || !e.Status.Gone()
}

// isInRoster tells whether the roster holds a node, gone or not.
func (n *Node) isInRoster(id view.NodeID) bool {
	_, ok := n.book.snapshot().Get(id)
	return ok
}

// onHello decides about a node that presents itself.
func (n *Node) onHello(peer link.Peer, payload []byte) error {
	if !n.isOpen() {
		return refuseHello(errBadHello, "not open yet")
	}
	h, err := wire.DecodeHello(payload)
	if err != nil {
		return refuseHello(errBadHello, err.Error())
	}
	if h.Client {
		if !peer.Guest {
			return refuseHello(errBadHello, "a client is not dialled")
		}
		return n.admitClient(peer)
	}
	e := roster.Entry(h.Self)
	if e.ID != peer.ID || e.Boot != peer.Boot || e.Instance != peer.Instance {
		return refuseHello(errBadHello, "speaks of another node than it is")
	}
	if e.ID == n.id {
		return n.meetSelf(e, h)
	}
	if e.Name == n.cfg.Name && !n.isKnownLife(e) && n.belongs(e.ID) {
		return n.meetNamesake(e, h)
	}
	if n.isKnownLife(e) {
		n.noteLocation(peer, e)
		// Nothing to judge; and whoever is being judged under this id at the
		// moment may be waiting for exactly this sign of life.
		n.tellWatcher(detect.ProbeOK, e.ID)
		return nil
	}
	ctx, cancel := context.WithTimeout(n.work.Context(), n.pace.dial)
	defer cancel()
	if err := n.admits.runExclusive(ctx, e.ID, func() error { return n.admitNode(ctx, e, h.Met) }); err != nil {
		n.log.Warn("node refused", "peer", peer.ID, "name", e.Name, "remote", peer.Remote, "error", err)
		return err
	}
	n.noteLocation(peer, e)
	n.tellWatcher(detect.ProbeOK, e.ID)
	return nil
}

// noteLocation notes where a member is that greets us: where it answered a dial, or
// else perhaps where it dials from, at the port that it makes known.
func (n *Node) noteLocation(peer link.Peer, e roster.Entry) {
	n.places.noteListed(e.ID, e.Addr)
	if peer.Dialed {
		n.places.noteProved(e.ID, peer.Remote)
	} else if at := netip.AddrPortFrom(peer.Remote.Addr(), e.Addr.Port()); at != e.Addr {
		n.places.noteSuggested(e.ID, at)
	}
}

// meetSelf decides between this node and another process that claims to be it:
// one that others have admitted goes before one that nobody knows, then the higher
// claim among those admitted, the longer run among the unknown.
func (n *Node) meetSelf(e roster.Entry, h wire.Hello) error {
	met := n.wasAdmitted.Load()
	boot := n.dir.id.Boot
	yield := h.Met
	switch {
	case met && h.Met:
		yield = e.Boot > boot || e.Boot == boot && e.Instance > n.instance
	case !met && !h.Met:
		yield = n.yieldsByRun(h, n.instance > e.Instance)
	}
	switch {
	case !n.rivals.decideRival(e.ID, e.Instance, !yield):
		return refuseHello(errBusy, "gives way to another")
	case !yield:
		return refuseHello(roster.ErrClone, "another node runs under this node id")
	}
	n.stopWithError(fmt.Errorf("%w: boot %d meets boot %d", ErrIdentityConflict, boot, e.Boot), wire.EndRolled)
	return refuseHello(errBusy, "stops in your favour")
}

// isKnownLife tells whether e says nothing new: it is the life that is known.
func (n *Node) isKnownLife(e roster.Entry) bool {
	known, ok := n.book.snapshot().Get(e.ID)
	return ok && known.Boot == e.Boot && known.Instance == e.Instance && known.HLC >= e.HLC && !known.Status.Gone()
}

// admitNode takes in a node, or says why not by a RefusedError.
func (n *Node) admitNode(ctx context.Context, e roster.Entry, met bool) error {
	if n.isKnownLife(e) {
		return nil
	}
	known, ok := n.book.snapshot().Get(e.ID)
	if ok && !known.Status.Gone() {
		if err := n.admitLife(ctx, e, known, met); err != nil {
			return err
		}
	}
	dead, err := n.admitName(ctx, e)
	if err != nil {
		return err
	}
	err = n.book.updateRoster(ctx, func(r roster.Roster) (roster.Roster, error) {
		down := func(id view.NodeID) bool { return slices.Contains(dead, id) }
		alive := func(id view.NodeID) bool { return id != e.ID && !down(id) && n.isAlive(id) }
		if err := r.Admit(e, alive); err != nil {
			return r, err
		}
		r, _, err := r.With(e)
		if err == nil {
			r, _ = r.Settle(alive)
			r, _ = r.Oust(e.ID, down)
		}
		return r, err
	})
	return refusalOf(err)
}

// admitLife compares the life that e claims with the one known.
func (n *Node) admitLife(ctx context.Context, e, known roster.Entry, met bool) error {
	rolledBack := refuseHello(roster.ErrOldBoot, fmt.Sprintf("boot %d was seen, this is %d", known.Boot, e.Boot))
	inUse := refuseHello(roster.ErrClone, "another node runs under this node id")
	switch {
	case known.Boot == 0 || e.Boot == known.Boot && e.Instance == known.Instance:
		return nil
	case e.Boot < known.Boot:
		return rolledBack
	case met && (e.Boot > known.Boot || e.Instance > known.Instance):
		return nil // whether the other has stopped already or not: both were admitted, and this one goes on
	case met:
		return rolledBack
	case !n.isAnswering(ctx, e.ID, e.Instance):
		if e.Boot > known.Boot {
			return nil
		}
		return rolledBack
	}
	return inUse
}

// isAnswering tells whether a node with the given id lives, other than the given
// instance.
func (n *Node) isAnswering(ctx context.Context, id view.NodeID, but uint64) bool {
	ctx, cancel := context.WithTimeout(ctx, admitPatience)
	defer cancel()
	res, err := n.link.Probe(ctx, id)
	return err == nil && res.Instance != but
}

// admitName looks for other nodes under the name of e. It returns those of which
// e replaces one, once none of them has given a sign of life. Also one that was
// admitted elsewhere is not let in beside one that runs: who of the two goes on is
// settled by themselves, when they have heard of each other by the roster.
func (n *Node) admitName(ctx context.Context, e roster.Entry) (dead []view.NodeID, err error) {
	named := false
	for _, o := range n.book.snapshot().Bearers(e) {
		if o.Predecessor == e.ID {
			continue
		}
		if n.isAnswering(ctx, o.ID, 0) {
			return nil, refuseHello(errNameInUse, fmt.Sprintf("node %v runs under the name %q", o.ID, e.Name))
		}
		if n.isAlive(o.ID) {
			// One silent second is no death: the detector decides.
			return nil, refuseHello(errBusy, "the node of that name has not been given up yet")
		}
		dead = append(dead, o.ID)
		named = named || e.Predecessor == o.ID
	}
	if len(dead) > 0 && !named {
		return nil, refuseHello(errReplaces, dead[0].String())
	}
	return dead, nil
}

// nameReplaced makes our entry name the node whose place we take. That node gave
// no sign of life to the one that told us.
func (n *Node) nameReplaced(old view.NodeID) bool {
	ctx, cancel := context.WithTimeout(n.work.Context(), n.pace.dial)
	defer cancel()
	err := n.updateSelf(ctx, old)
	n.warnOnError("could not name the node that this one replaces", err)
	return err == nil
}

// updateSelf makes the roster say of this node what it is now and, unless
// old is zero, that it replaces that node.
func (n *Node) updateSelf(ctx context.Context, old view.NodeID) error {
	return n.book.updateRoster(ctx, func(r roster.Roster) (roster.Roster, error) {
		e, _ := r.Get(n.id)
		e = n.ownEntry(e, *n.ownAddr.Load())
		if old != 0 {
			e.Predecessor = old
		}
		return r.Write(e, n.wallDate())
	})
}

// ownEntry returns e as this node wants to be known.
func (n *Node) ownEntry(e roster.Entry, at netip.AddrPort) roster.Entry {
	e.ID, e.Name, e.Zone, e.Addr = n.id, n.cfg.Name, n.cfg.Zone, at
	e.Weight, e.Storing, e.Status = n.cfg.Weight, n.cfg.Storing, max(e.Status, view.Active)
	e.Boot, e.Instance = n.dir.id.Boot, n.instance
	return e
}

// inspectSelf looks for news of this node itself in the roster.
func (n *Node) inspectSelf(s *snapshot) {
	e, ok := s.Get(n.id)
	if !ok {
		return
	}
	switch boot := n.dir.id.Boot; {
	case e.Boot > boot || e.Boot == boot && e.Instance > n.instance:
		n.stopWithError(fmt.Errorf("%w: boot %d was seen, this is %d", ErrRolledBack, e.Boot, boot), wire.EndRolled)
		return
	case e.Status.Gone() && !n.leave.hasBegun():
		n.stopWithError(fmt.Errorf("%w: it is %v", ErrEvicted, e.Status), wire.EndEvicted)
		return
	}
	if want := n.ownEntry(e, *n.ownAddr.Load()); want != e && !e.Status.Gone() {
		// A copy of this node, now gone, spoke in its name.
		n.work.Go(func(ctx context.Context) {
			n.warnOnError("could not put right what the roster says of this node", n.updateSelf(ctx, 0))
		})
	}
}

// meetNode joins the mesh of a node that is connected: rosters are exchanged,
// then gossip begins.
func (n *Node) meetNode(ctx context.Context, id view.NodeID) error {
	if err := n.exchanger.With(ctx, id); err != nil {
		return err
	}
	n.wasAdmitted.Store(true)
	if err := n.gossip.joinNode(ctx, id); err != nil {
		return err
	}
	n.inbox.putEvent(event{Event: detect.Event{Kind: detect.ProbeOK, ID: id}, meshMet: true})
	return nil
}

// redialMember attempts to meet a member that is out of contact.
func (n *Node) redialMember(ctx context.Context, id view.NodeID) {
	ctx, cancel := context.WithTimeout(ctx, n.pace.dial)
	defer cancel()
	err := n.attemptTwice(id, func() error { return n.meetNode(ctx, id) })
	if addr, ok := n.resolveAddr(id); ok && errors.Is(err, link.ErrOther) {
		n.greetAddr(ctx, addr) // a new disk runs there, or the addresses were dealt anew
	}
	if err != nil {
		n.log.Debug("redial failed", "peer", id, "error", err)
		n.searchElsewhere(id)
	}
}

// searchElsewhere looks for a member at other addresses than the one where it does not
// answer.
func (n *Node) searchElsewhere(id view.NodeID) {
	a := &attempts{node: n}
	for _, addr := range n.places.otherAddrs(id) {
		a.runAttempt(func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, n.pace.dial)
			defer cancel()
			err := n.attemptTwice(id, func() error {
				err := n.link.Find(ctx, id, addr)
				if err == nil {
					err = n.meetNode(ctx, id)
				}
				return err
			})
			if err != nil {
				n.log.Debug("member is not at an address that it had", "peer", id, "addr", addr, "error", err)
			}
		})
	}
	a.all.Wait()
}

// onFound is told by the link of a member that answered where another one was
// dialled: addresses were dealt anew. Both have told each other where they are.
func (n *Node) onFound(peer link.Peer) {
	n.work.Go(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, n.pace.dial)
		defer cancel()
		if err := n.attemptTwice(peer.ID, func() error { return n.meetNode(ctx, peer.ID) }); err != nil {
			n.log.Debug("node found elsewhere was not met", "peer", peer.ID, "addr", peer.Remote, "error", err)
		}
	})
}

// attemptTwice tries, and once more if it was refused for want of something that
// could be mended.
func (n *Node) attemptTwice(id view.NodeID, try func() error) error {
	err := try()
	if n.heedRefusal(id, err) {
		err = try()
	}
	return err
}

// heedRefusal looks at every error of reaching another node: it may say that this
// one was refused. It reports whether a second attempt may go better.
func (n *Node) heedRefusal(id view.NodeID, err error) bool {
	var refused *link.RefusedError
	return errors.As(err, &refused) && n.onRefused(id, refused)
}

// admissions lets one hello of a node at a time be judged.
type admissions struct {
	mu   sync.Mutex
	busy map[view.NodeID]chan struct{}
}

func (a *admissions) runExclusive(ctx context.Context, id view.NodeID, fn func() error) error {
	for {
		a.mu.Lock()
		wait, taken := a.busy[id]
		if !taken {
			break
		}
		a.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return refuseHello(errBusy, "another hello of this node is being judged")
		}
	}
	if a.busy == nil {
		a.busy = map[view.NodeID]chan struct{}{}
	}
	done := make(chan struct{})
	a.busy[id] = done
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.busy, id)
		a.mu.Unlock()
		close(done)
	}()
	return fn()
}
