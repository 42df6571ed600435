package mesh

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/detect"
	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

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

// refusals heed what others say against this node: that they do not let it in, or that it
// must not go on.
type refusals struct {
	*ground
	own      *ownEntry
	rosters  *rosters
	troubles *troubles
	inbox    *inbox
	leaving  func() bool
	rivals   rivals
	doubts   doubts
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

// onRefused is told that a node did not accept our hello. It reports whether a
// second attempt may go better. The word of one who is no member
// does not count, except where this node is new itself and knows no members.
func (r *refusals) onRefused(by view.NodeID, refused *link.RefusedError) bool {
	e, known := r.book.snapshot().Get(by)
	member := by == r.id || known && !e.Status.Gone()
	if !member && r.wasAdmitted.Load() {
		r.log.Debug("refused by one that is no member", "peer", by, "error", refused)
		return false
	}
	refusal := faults.FromWord(refused.Code, refused.Text)
	end, why := endingOf(refusal)
	switch {
	case errors.Is(refusal, roster.ErrGone) && r.leaving(): // they have heard that we leave
	case why != nil:
		r.examineDoubt(by, fmt.Errorf("%w: %s", why, refused.Text), end)
	case errors.Is(refusal, errReplaces):
		if old, err := view.ParseNodeID(refused.Text); err == nil {
			return r.own.nameReplaced(old)
		}
	case errors.Is(refusal, roster.ErrFull):
		if !r.wasAdmitted.Load() {
			r.troubles.refusedForRoom()
		}
	default:
		r.log.Warn("refused by another node", "peer", by, "error", refused)
	}
	return false
}

// onBroken is told by the link that an established connection broke.
func (r *refusals) onBroken(id view.NodeID, err error) {
	if !r.isOpen() {
		return
	}
	var refused *link.RefusedError
	if errors.As(err, &refused) {
		if _, known := r.book.snapshot().Get(id); known || id == r.id {
			r.onRefused(id, refused)
		}
		return
	}
	r.inbox.tellWatcher(detect.Broken, id)
}

// attemptTwice tries, and once more if it was refused for want of something that
// could be mended.
func (r *refusals) attemptTwice(id view.NodeID, try func() error) error {
	err := try()
	if r.heedRefusal(id, err) {
		err = try()
	}
	return err
}

// heedRefusal looks at every error of reaching another node: it may say that this
// one was refused. It reports whether a second attempt may go better.
func (r *refusals) heedRefusal(id view.NodeID, err error) bool {
	var refused *link.RefusedError
	return errors.As(err, &refused) && r.onRefused(id, refused)
}

// examineDoubt looks into what one node says: that this one must not go on. By itself
// that is a hint.
func (r *refusals) examineDoubt(by view.NodeID, why error, end wire.End) {
	prevails := func(instance uint64) bool {
		return by == r.id && r.instance > instance || by != r.id && r.own.prevails(by)
	}
	if !r.rivals.giveWay(by, prevails) {
		return
	}
	if by == r.id {
		r.stopWithError(why, end) // there is no other opinion on that
		return
	}
	settled, first := r.doubts.beginDoubt()
	if !first {
		return
	}
	if !r.work.Go(func(ctx context.Context) {
		defer settled()
		r.settleDoubt(ctx, by, why, end)
	}) {
		settled()
	}
}

// settleDoubt asks other members whether they refuse this node, too. It stops if
// one of them does, or none of them has it.
func (r *refusals) settleDoubt(ctx context.Context, by view.NodeID, why error, end wire.End) {
	if end == wire.Running && !clock.Sleep(ctx, r.pace.dial) {
		return // meanwhile another may have let this node in
	}
	ctx, cancel := context.WithTimeout(ctx, r.pace.dial)
	defer cancel()
	accept, refuse := r.rosters.pollMembers(ctx, r.rosters.otherStoring(by))
	switch {
	case ctx.Err() != nil && r.hasStopped():
	case len(accept) > 0 && (len(refuse) == 0 || end == wire.Running):
		r.log.Warn("a member refuses this node, others do not", "by", by, "error", why)
		r.rivals.retractLoss()
	default:
		r.stopWithError(why, end)
	}
}
