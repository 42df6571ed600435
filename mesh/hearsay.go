package mesh

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/mesh/view"
)

// hearsay keeps who has said of a member that runs that it does not, or not in the
// life that answers.
type hearsay struct {
	*ground
	rosters *rosters

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
func (h *hearsay) examineClaim(by view.NodeID, e roster.Entry) {
	if !h.noteClaim(by, e, h.pace.sync) {
		return
	}
	if !h.work.Go(func(ctx context.Context) { h.endInquiry(e.ID, h.settleClaim(ctx, by, e)) }) {
		h.endInquiry(e.ID, false)
	}
}

// settleClaim asks the one spoken of, and then other members. It reports whether the
// matter is settled.
func (h *hearsay) settleClaim(ctx context.Context, by view.NodeID, e roster.Entry) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*h.pace.dial)
	defer cancel()
	believe := e.ID != h.id && !h.rosters.exchangesRosters(ctx, e.ID)
	if !h.book.snapshot().Ahead(e) {
		return true // it says so itself
	}
	if ctx.Err() != nil && h.hasStopped() {
		return false
	}
	backers := h.claimBackers(e.ID)
	if !believe && !h.book.snapshot().Believe(e.ID, backers, 1) {
		asked := slices.DeleteFunc(h.rosters.otherStoring(by), func(id view.NodeID) bool { return id == e.ID })
		accept, refuse := h.rosters.pollMembers(ctx, asked)
		backers = h.claimBackers(e.ID)
		if e.ID == h.id {
			backers = append(backers, refuse...)
		}
		against := slices.DeleteFunc(accept, func(id view.NodeID) bool { return slices.Contains(backers, id) })
		believe = h.book.snapshot().Believe(e.ID, backers, len(against))
	} else {
		believe = true
	}
	if !believe {
		h.log.Warn("a member says of a node that runs what others do not", "by", by, "member", e.ID, "status", e.Status.String(), "boot", e.Boot)
		return false
	}
	err := h.book.updateRoster(ctx, func(r roster.Roster) (roster.Roster, error) {
		r, _, err := r.With(e)
		return r, err
	})
	h.warnOnError("could not take in what members say of a node", err)
	return err == nil
}
