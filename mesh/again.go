package mesh

import (
	"context"
	"errors"
	"time"
)

// startNode starts a node. One whose directory has a past may have been given up while it
// was away. It has to come up as a new member then, and the program, which would find
// its node closed, is spared a second start.
func startNode(ctx context.Context, cfg Config, s seams) (*Node, error) {
	n, err := startOnce(ctx, cfg, s)
	if err != nil || !n.wasGivenUp(ctx) {
		return n, err
	}
	<-n.stopped
	n.log.Warn("this node was given up while it was away: it starts under a new id, and its data is set aside")
	return startOnce(ctx, cfg, s)
}

// wasGivenUp waits until a node that has been here before has met another one, or has
// found that none is in reach, and tells whether the mesh has given it up. Those that
// are silent are not waited for longer than a moment, unless another one has said so.
func (n *Node) wasGivenUp(ctx context.Context) bool {
	if n.boot == 1 || !n.book.knowsOthers(n.id) {
		return false
	}
	wait := time.NewTimer(n.pace.news)
	defer wait.Stop()
	select {
	case <-n.ready:
	case <-n.done:
	case <-wait.C:
	case <-ctx.Done():
	}
	for settled := n.refusals.doubts.underWay(); settled != nil; settled = n.refusals.doubts.underWay() { // one says so, and others are being asked
		select {
		case <-settled:
		case <-n.done:
			return errors.Is(n.err, ErrEvicted)
		case <-ctx.Done():
			return false
		}
	}
	return n.hasStopped() && errors.Is(n.err, ErrEvicted)
}
