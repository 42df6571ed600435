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

// reception judges the hellos of other nodes, and makes that of this one. The rules are
// in internal/roster: see JudgeLife, Rivalry and Admit there.
type reception struct {
	*ground
	own      *ownEntry
	inbox    *inbox
	places   *places
	refusals *refusals
	admits   admissions
	admin    bool // clients are let in
}

// makeHello is what this node tells another before they use a connection.
func (r *reception) makeHello() []byte {
	if !r.isOpen() {
		return nil
	}
	e, _ := r.book.snapshot().Get(r.id)
	return wire.AppendHello(nil, &wire.Hello{
		Self: wire.Member(e), Met: r.wasAdmitted.Load(), Up: uint64(r.uptime().Milliseconds()),
	})
}

// onHello decides about a node that presents itself.
func (r *reception) onHello(peer link.Peer, payload []byte) error {
	if !r.isOpen() {
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
		return r.admitClient(peer)
	}
	e := roster.Entry(h.Self)
	if e.ID != peer.ID || e.Boot != peer.Boot || e.Instance != peer.Instance {
		return refuseHello(errBadHello, "speaks of another node than it is")
	}
	if e.ID == r.id {
		return r.meetSelf(e, h)
	}
	if e.Name == r.own.name && !r.book.isKnownLife(e) && r.book.belongs(e.ID) {
		return r.meetNamesake(e, h)
	}
	if r.book.isKnownLife(e) {
		r.noteLocation(peer, e)
		// Nothing to judge; and whoever is being judged under this id at the
		// moment may be waiting for exactly this sign of life.
		r.inbox.tellWatcher(detect.ProbeOK, e.ID)
		return nil
	}
	ctx, cancel := context.WithTimeout(r.work.Context(), r.pace.dial)
	defer cancel()
	if err := r.admits.runExclusive(ctx, e.ID, func() error { return r.admitNode(ctx, e, h.Met) }); err != nil {
		r.log.Warn("node refused", "peer", peer.ID, "name", e.Name, "remote", peer.Remote, "error", err)
		return err
	}
	r.noteLocation(peer, e)
	r.inbox.tellWatcher(detect.ProbeOK, e.ID)
	return nil
}

// noteLocation notes where a member is that greets us: where it answered a dial, or
// else perhaps where it dials from, at the port that it makes known.
func (r *reception) noteLocation(peer link.Peer, e roster.Entry) {
	r.places.noteListed(e.ID, e.Addr)
	if peer.Dialed {
		r.places.noteProved(e.ID, peer.Remote)
	} else if at := netip.AddrPortFrom(peer.Remote.Addr(), e.Addr.Port()); at != e.Addr {
		r.places.noteSuggested(e.ID, at)
	}
}

// meetSelf decides between this node and another process that claims to be it:
// one that others have admitted goes before one that nobody knows, then the higher
// claim among those admitted, the longer run among the unknown.
func (r *reception) meetSelf(e roster.Entry, h wire.Hello) error {
	prevails := r.instance > e.Instance
	if h.Met {
		prevails = !r.own.isLaterLife(e)
	}
	yield := r.yieldsTo(h, prevails)
	switch {
	case !r.refusals.rivals.decideRival(e.ID, e.Instance, !yield):
		return refuseHello(errBusy, "gives way to another")
	case !yield:
		return refuseHello(roster.ErrClone, "another node runs under this node id")
	}
	r.stopWithError(fmt.Errorf("%w: boot %d meets boot %d", ErrIdentityConflict, r.boot, e.Boot), wire.EndRolled)
	return refuseHello(errBusy, "stops in your favour")
}

// admitNode takes in a node, or says why not by a RefusedError.
func (r *reception) admitNode(ctx context.Context, e roster.Entry, met bool) error {
	if r.book.isKnownLife(e) {
		return nil
	}
	known, ok := r.book.snapshot().Get(e.ID)
	if ok && !known.Status.Gone() {
		if err := r.admitLife(ctx, e, known, met); err != nil {
			return err
		}
	}
	dead, err := r.admitName(ctx, e)
	if err != nil {
		return err
	}
	err = r.book.updateRoster(ctx, func(now roster.Roster) (roster.Roster, error) {
		down := func(id view.NodeID) bool { return slices.Contains(dead, id) }
		alive := func(id view.NodeID) bool { return id != e.ID && !down(id) && r.isAlive(id) }
		if err := now.Admit(e, alive); err != nil {
			return now, err
		}
		now, _, err := now.With(e)
		if err == nil {
			now, _ = now.Settle(alive)
			now, _ = now.Oust(e.ID, down)
		}
		return now, err
	})
	return refusalOf(err)
}

// admitLife compares the life that e claims with the one known.
func (r *reception) admitLife(ctx context.Context, e, known roster.Entry, met bool) error {
	ask, err := roster.JudgeLife(e, known, met)
	if ask {
		err = roster.JudgeUnmet(e, known, r.isAnswering(ctx, e.ID, e.Instance))
	}
	switch {
	case errors.Is(err, roster.ErrClone):
		return refuseHello(err, "another node runs under this node id")
	case err != nil:
		return refuseHello(err, fmt.Sprintf("boot %d was seen, this is %d", known.Boot, e.Boot))
	}
	return nil
}

// yieldsTo tells whether this node gives way to another that says hello.
func (r *reception) yieldsTo(h wire.Hello, prevails bool) bool {
	return roster.Rivalry{
		Admitted: r.wasAdmitted.Load(), OtherAdmitted: h.Met, Prevails: prevails,
		Lead: time.Duration(h.Up)*time.Millisecond - r.uptime(), Delay: r.pace.dial,
	}.Yields()
}

// meetNamesake decides between this node and another that says hello under its name
// and is not of the roster. One that others have admitted goes before one that
// nobody knows, the longer run goes on among the unknown, and among those admitted
// the one that prevails. The other is not let in meanwhile. One that is to give way
// looks around first: where others have let it in, the roster decides.
func (r *reception) meetNamesake(e roster.Entry, h wire.Hello) error {
	yield := r.yieldsTo(h, r.own.prevails(e.ID))
	text := fmt.Sprintf("node %v runs under the name %q", r.id, r.own.name)
	if !yield && r.refusals.rivals.decideRival(e.ID, e.Instance, true) {
		return refuseHello(errNameInUse, text)
	}
	if yield {
		r.refusals.examineDoubt(e.ID, fmt.Errorf("%w: node %v runs under the name %q", ErrIdentityConflict, e.ID, e.Name), wire.Running)
	}
	return refuseHello(errBusy, text+", and may give way")
}

// admitClient lets in one who only asks.
func (r *reception) admitClient(peer link.Peer) error {
	if !r.admin {
		return refuseHello(ErrAdminOff, ErrAdminOff.Error())
	}
	if _, node := r.book.snapshot().Get(peer.ID); node {
		return refuseHello(errBadHello, "a node is no client")
	}
	r.log.Info("client connected", "remote", peer.Remote)
	return nil
}

// isAnswering tells whether a node with the given id lives, other than the given
// instance.
func (r *reception) isAnswering(ctx context.Context, id view.NodeID, but uint64) bool {
	ctx, cancel := context.WithTimeout(ctx, admitPatience)
	defer cancel()
	res, err := r.link.Probe(ctx, id)
	return err == nil && res.Instance != but
}

// admitName looks for other nodes under the name of e. It returns those of which
// e replaces one, once none of them has given a sign of life. Also one that was
// admitted elsewhere is not let in beside one that runs: who of the two goes on is
// settled by themselves, when they have heard of each other by the roster.
func (r *reception) admitName(ctx context.Context, e roster.Entry) (dead []view.NodeID, err error) {
	named := false
	for _, o := range r.book.snapshot().Bearers(e) {
		if o.Predecessor == e.ID {
			continue
		}
		if r.isAnswering(ctx, o.ID, 0) {
			return nil, refuseHello(errNameInUse, fmt.Sprintf("node %v runs under the name %q", o.ID, e.Name))
		}
		if r.isAlive(o.ID) {
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
