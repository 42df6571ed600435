package mesh

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// maxAsked is how many other members a node asks that one member has refused for
// good.
const maxAsked = 3

// rivals keeps what this node has decided about other processes that claim its
// NodeID or its name, so that of two that meet never both stop: one that gives way
// refuses nobody any more, and one that has refused another gives way to it only
// if it is the lesser of the two.
type rivals struct {
	mu      sync.Mutex
	gaveWay bool
	won     map[view.NodeID]uint64 // against whom: the instance
}

// decideRival notes that this node goes on beside another, or gives way to it. It
// returns false if this node has given way before.
func (r *rivals) decideRival(id view.NodeID, instance uint64, goOn bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gaveWay {
		return false
	}
	if r.gaveWay = !goOn; goOn {
		if r.won == nil {
			r.won = map[view.NodeID]uint64{}
		}
		r.won[id] = instance
	}
	return true
}

// giveWay is called when another has refused this node. It returns false if both have
// refused each other and the other must give way.
func (r *rivals) giveWay(by view.NodeID, prevails func(instance uint64) bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if instance, both := r.won[by]; both && prevails(instance) {
		return false
	}
	r.gaveWay = true
	return true
}

func (r *rivals) retractLoss() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gaveWay = false
}

// yieldsByRun tells whether this node gives way to another that nobody has admitted
// either. The longer run goes on. Each end sees itself run longer by the time that
// the hello took, so where the two are close both want to go on, and the one that
// does not prevail obeys; never do both give way.
func (n *Node) yieldsByRun(h wire.Hello, prevails bool) bool {
	lead := time.Duration(h.Up)*time.Millisecond - n.uptime()
	if prevails {
		return lead > 2*n.pace.dial
	}
	return lead > -n.pace.dial
}

// onRefused is told that a node did not accept our hello. It reports whether a
// second attempt may go better. The word of one who is no member
// does not count, except where this node is new itself and knows no members.
func (n *Node) onRefused(by view.NodeID, r *link.RefusedError) bool {
	e, known := n.book.snapshot().Get(by)
	member := by == n.id || known && !e.Status.Gone()
	if !member && n.wasAdmitted.Load() {
		n.log.Debug("refused by one that is no member", "peer", by, "error", r)
		return false
	}
	refusal := faults.FromWord(r.Code, r.Text)
	end, why := endingOf(refusal)
	switch {
	case errors.Is(refusal, roster.ErrGone) && n.leave.hasBegun(): // they have heard that we leave
	case why != nil:
		n.examineDoubt(by, fmt.Errorf("%w: %s", why, r.Text), end)
	case errors.Is(refusal, errReplaces):
		if old, err := view.ParseNodeID(r.Text); err == nil {
			return n.nameReplaced(old)
		}
	case errors.Is(refusal, roster.ErrFull):
		if !n.wasAdmitted.Load() {
			n.refusedForRoom()
		}
	default:
		n.log.Warn("refused by another node", "peer", by, "error", r)
	}
	return false
}

// doubts holds whether a doubt is being looked into: one is at a time.
type doubts struct {
	mu      sync.Mutex
	settled chan struct{} // closed when the one under way is; nil: none is
}

// beginDoubt returns what ends the doubt, unless one is under way.
func (d *doubts) beginDoubt() (end func(), ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.settled != nil {
		return nil, false
	}
	settled := make(chan struct{})
	d.settled = settled
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.settled = nil
		close(settled)
	}, true
}

// underWay returns a channel that is closed when the doubt under way is settled, nil if
// there is none.
func (d *doubts) underWay() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.settled
}

// examineDoubt looks into what one node says: that this one must not go on. By itself
// that is a hint.
func (n *Node) examineDoubt(by view.NodeID, why error, end wire.End) {
	prevails := func(instance uint64) bool {
		return by == n.id && n.instance > instance || by != n.id && n.prevails(by)
	}
	if !n.rivals.giveWay(by, prevails) {
		return
	}
	if by == n.id {
		n.stopWithError(why, end) // there is no other opinion on that
		return
	}
	settled, first := n.doubts.beginDoubt()
	if !first {
		return
	}
	if !n.work.Go(func(ctx context.Context) {
		defer settled()
		n.settleDoubt(ctx, by, why, end)
	}) {
		settled()
	}
}

// settleDoubt asks other members whether they refuse this node, too. It stops if
// one of them does, or none of them has it.
func (n *Node) settleDoubt(ctx context.Context, by view.NodeID, why error, end wire.End) {
	if end == wire.Running && !clock.Sleep(ctx, n.pace.dial) {
		return // meanwhile another may have let this node in
	}
	ctx, cancel := context.WithTimeout(ctx, n.pace.dial)
	defer cancel()
	accept, refuse := n.pollMembers(ctx, n.otherStoring(by))
	switch {
	case ctx.Err() != nil && n.hasStopped():
	case len(accept) > 0 && (len(refuse) == 0 || end == wire.Running):
		n.log.Warn("a member refuses this node, others do not", "by", by, "error", why)
		n.rivals.retractLoss()
	default:
		n.stopWithError(why, end)
	}
}

// otherStoring returns some members that store, in contact or not, other than one.
func (n *Node) otherStoring(but view.NodeID) (out []view.NodeID) {
	var rest []view.NodeID
	for _, e := range n.book.snapshot().Storing() {
		switch {
		case e.ID == n.id || e.ID == but:
		case n.isAlive(e.ID):
			out = append(out, e.ID)
		default:
			rest = append(rest, e.ID)
		}
	}
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	rand.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	out = append(out, rest...)
	return out[:min(len(out), maxAsked)]
}

// pollMembers exchanges rosters with members, and tells who takes this node for what it
// says that it is and who refuses it for good.
func (n *Node) pollMembers(ctx context.Context, members []view.NodeID) (accept, refuse []view.NodeID) {
	var all sync.WaitGroup
	errs := make([]error, len(members))
	for i, id := range members {
		all.Go(func() { errs[i] = n.exchanger.With(ctx, id) })
	}
	all.Wait()
	for i, err := range errs {
		var refused *link.RefusedError
		if err == nil {
			accept = append(accept, members[i])
		} else if errors.As(err, &refused) {
			if _, why := endingOf(faults.FromWord(refused.Code, refused.Text)); why != nil {
				refuse = append(refuse, members[i])
			}
		}
	}
	return accept, refuse
}
