package mesh

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/mesh/view"
)

// methodGiveUp tells a member that an operator gave another up at the node that
// asks: the node id, 8 bytes, big-endian.
const methodGiveUp = "mesh/give-up"

// hearsay keeps who has said of a member that runs that it does not, or not in the
// life that answers.
type hearsay struct {
	mu       sync.Mutex
	byMember map[view.NodeID]*claim
}

type claim struct {
	entry        roster.Entry // what was said last
	claimants    map[view.NodeID]bool
	underInquiry bool // it is being looked into
	next         time.Time
}

// noteClaim takes down what a member says, and tells whether it is to be looked into now.
func (h *hearsay) noteClaim(by view.NodeID, e roster.Entry, pause time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byMember == nil {
		h.byMember = map[view.NodeID]*claim{}
	}
	c := h.byMember[e.ID]
	if c == nil {
		c = &claim{claimants: map[view.NodeID]bool{}}
		h.byMember[e.ID] = c
	}
	fresh := !c.claimants[by]
	c.entry, c.claimants[by] = e, true
	if c.underInquiry || !fresh && time.Now().Before(c.next) {
		return false
	}
	c.underInquiry, c.next = true, time.Now().Add(pause)
	return true
}

// claimBackers returns who has said so.
func (h *hearsay) claimBackers(id view.NodeID) []view.NodeID {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.byMember[id].claimants))
}

// endInquiry notes that what was said has been looked into.
func (h *hearsay) endInquiry(id view.NodeID, settled bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byMember[id].underInquiry = false; settled {
		delete(h.byMember, id)
	}
}

// examineClaim looks into what a member says of another that runs, or of this node.
func (n *Node) examineClaim(by view.NodeID, e roster.Entry) {
	if !n.hearsay.noteClaim(by, e, n.pace.sync) {
		return
	}
	if !n.work.Go(func(ctx context.Context) { n.hearsay.endInquiry(e.ID, n.settleClaim(ctx, by, e)) }) {
		n.hearsay.endInquiry(e.ID, false)
	}
}

// settleClaim asks the one spoken of, and then other members. It reports whether the
// matter is settled.
func (n *Node) settleClaim(ctx context.Context, by view.NodeID, e roster.Entry) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*n.pace.dial)
	defer cancel()
	believe := e.ID != n.id && !n.exchangesRosters(ctx, e.ID)
	if !n.book.snapshot().Ahead(e) {
		return true // it says so itself
	}
	if ctx.Err() != nil && n.hasStopped() {
		return false
	}
	backers := n.hearsay.claimBackers(e.ID)
	if !believe && !n.book.snapshot().Believe(e.ID, backers, 1) {
		asked := slices.DeleteFunc(n.otherStoring(by), func(id view.NodeID) bool { return id == e.ID })
		accept, refuse := n.pollMembers(ctx, asked)
		backers = n.hearsay.claimBackers(e.ID)
		if e.ID == n.id {
			backers = append(backers, refuse...)
		}
		against := slices.DeleteFunc(accept, func(id view.NodeID) bool { return slices.Contains(backers, id) })
		believe = n.book.snapshot().Believe(e.ID, backers, len(against))
	} else {
		believe = true
	}
	if !believe {
		n.log.Warn("a member says of a node that runs what others do not", "by", by, "member", e.ID, "status", e.Status.String(), "boot", e.Boot)
		return false
	}
	err := n.book.updateRoster(ctx, func(r roster.Roster) (roster.Roster, error) {
		r, _, err := r.With(e)
		return r, err
	})
	n.warnOnError("could not take in what members say of a node", err)
	return err == nil
}

// exchangesRosters exchanges rosters with a member and tells whether it was there.
func (n *Node) exchangesRosters(ctx context.Context, id view.NodeID) bool {
	ctx, cancel := context.WithTimeout(ctx, n.pace.dial)
	defer cancel()
	err := n.exchanger.With(ctx, id)
	var refused *link.RefusedError
	return err == nil || errors.As(err, &refused) || errors.Is(err, link.ErrNotAccepted)
}

// giveUpAll tells all who are in contact that an operator gave a member up. They
// need not find it down themselves.
func (n *Node) giveUpAll(ctx context.Context, id view.NodeID) {
	ctx, cancel := context.WithTimeout(ctx, n.pace.dial)
	defer cancel()
	var all sync.WaitGroup
	for _, m := range n.View().Members {
		if m.ID != n.id && m.ID != id && m.State == view.Alive {
			all.Go(func() {
				_, err := n.link.Call(ctx, m.ID, methodGiveUp, binary.BigEndian.AppendUint64(nil, uint64(id)))
				if err != nil {
					n.log.Debug("eviction not told", "peer", m.ID, "error", err)
				}
			})
		}
	}
	all.Wait()
}

// answerGiveUp takes the word of a member that stores.
func (n *Node) answerGiveUp(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	e, ok := n.book.snapshot().Get(from)
	if len(req) != 8 || !ok || !e.Storing || e.Status.Gone() {
		return nil, failCall(ErrNoHandler, methodGiveUp)
	}
	id := view.NodeID(binary.BigEndian.Uint64(req))
	n.log.Warn("member was given up for good by an operator at another node", "member", id, "at", from)
	return nil, n.book.updateRoster(ctx, func(r roster.Roster) (roster.Roster, error) { return r.Move(id, view.Evicted) })
}
