package mesh

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/mesh/view"
)

// methodEvict is the admin method behind Client.Evict: the node id, 8 bytes,
// big-endian.
const methodEvict = adminPrefix + "evict"

// Evict gives a member up for good: one that will not come back, whose disk is
// lost or whose box was taken away. Its part of the data is made anew from the
// other copies, and nothing waits for it any more. It is final: should it come
// back it is refused, and has to start as a new node. ErrInContact: it is there;
// stop it first, or have it Leave. ErrNoMember: there is none of that id.
//
// Nobody is evicted by time alone. A member that was evicted in a part of a cut
// mesh is evicted everywhere when the parts meet: if it runs in another part, once
// two members that store say so there. A node that stores nothing cannot give up
// one that others reach.
func (n *Node) Evict(ctx context.Context, id view.NodeID) error {
	m, ok := n.View().Member(id)
	switch {
	case !ok:
		return fmt.Errorf("%w: %v", ErrNoMember, id)
	case id == n.id || m.State == view.Alive || m.State == view.Suspect:
		return fmt.Errorf("%w: %v", ErrInContact, id)
	}
	if !n.cfg.Storing {
		// Others do not take its word against that of a node that runs.
		if w, err := n.Confirm(ctx, id); err == nil && w.Reached > 0 {
			return fmt.Errorf("%w: others reach %v; evict it at a node that stores", ErrInContact, id)
		}
	}
	err := n.book.updateRoster(ctx, func(r roster.Roster) (roster.Roster, error) { return r.Move(id, view.Evicted) })
	if err != nil {
		if errors.Is(err, ErrClosed) {
			return n.stopError()
		}
		return fmt.Errorf("mesh: evict: %w", err)
	}
	n.log.Warn("member was given up for good", "member", id, "name", m.Name)
	n.evictions.giveUpAll(ctx, id)
	n.spreading.tellAll(ctx)
	n.evictions.awaitGone(ctx, id)
	return nil
}

// answerEvict answers an operator's program.
func (n *Node) answerEvict(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	if len(req) != 8 {
		return nil, fmt.Errorf("mesh: evict: node id of %d bytes", len(req))
	}
	return nil, tellFault(n.Evict(ctx, view.NodeID(binary.BigEndian.Uint64(req))))
}

// Evict asks the node to give a member up for good; see Node.Evict.
func (c *Client) Evict(ctx context.Context, id view.NodeID) error {
	_, err := c.Call(ctx, methodEvict, binary.BigEndian.AppendUint64(nil, uint64(id)))
	return hearFault(err)
}

// methodGiveUp tells a member that an operator gave another up at the node that
// asks: the node id, 8 bytes, big-endian.
const methodGiveUp = "mesh/give-up"

// evictions tell those in contact whom an operator gave up, and hear it of them.
type evictions struct {
	*ground
	call callPeer
}

// awaitGone waits until the view shows that a member is gone, for the caller is to find
// it so. ctx, or the node's end, ends the wait alone.
func (v *evictions) awaitGone(ctx context.Context, id view.NodeID) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for now := range v.views.Watch(ctx) {
		if m, ok := now.Member(id); !ok || m.Status.Gone() {
			return
		}
	}
}

// giveUpAll tells all who are in contact that an operator gave a member up. They
// need not find it down themselves.
func (v *evictions) giveUpAll(ctx context.Context, id view.NodeID) {
	ctx, cancel := context.WithTimeout(ctx, v.pace.dial)
	defer cancel()
	var all sync.WaitGroup
	for _, m := range v.views.Get().Members {
		if m.ID != v.id && m.ID != id && m.State == view.Alive {
			all.Go(func() {
				_, err := v.call(ctx, m.ID, methodGiveUp, binary.BigEndian.AppendUint64(nil, uint64(id)))
				if err != nil {
					v.log.Debug("eviction not told", "peer", m.ID, "error", err)
				}
			})
		}
	}
	all.Wait()
}

// answerGiveUp takes the word of a member that stores.
func (v *evictions) answerGiveUp(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	e, ok := v.book.snapshot().Get(from)
	if len(req) != 8 || !ok || !e.Storing || e.Status.Gone() {
		return nil, failCall(ErrNoHandler, methodGiveUp)
	}
	id := view.NodeID(binary.BigEndian.Uint64(req))
	v.log.Warn("member was given up for good by an operator at another node", "member", id, "at", from)
	return nil, v.book.updateRoster(ctx, func(r roster.Roster) (roster.Roster, error) { return r.Move(id, view.Evicted) })
}
