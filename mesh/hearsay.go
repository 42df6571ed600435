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
	mu sync.Mutex
	of map[view.NodeID]*claim
}

type claim struct {
	entry roster.Entry // what was said last
	by    map[view.NodeID]bool
	busy  bool // it is being looked into
	next  time.Time
}

// note takes down what a member says, and tells whether it is to be looked into now.
func (h *hearsay) note(by view.NodeID, e roster.Entry, pause time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of == nil {
		h.of = map[view.NodeID]*claim{}
	}
	c := h.of[e.ID]
	if c == nil {
		c = &claim{by: map[view.NodeID]bool{}}
		h.of[e.ID] = c
	}
	fresh := !c.by[by]
	c.entry, c.by[by] = e, true
	if c.busy || !fresh && time.Now().Before(c.next) {
		return false
	}
	c.busy, c.next = true, time.Now().Add(pause)
	return true
}

// backers returns who has said so.
func (h *hearsay) backers(id view.NodeID) []view.NodeID {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.of[id].by))
}

// end notes that what was said has been looked into.
func (h *hearsay) end(id view.NodeID, settled bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of[id].busy = false; settled {
		delete(h.of, id)
	}
}

// wonder looks into what a member says of another that runs, or of this node.
func (n *Node) wonder(by view.NodeID, e roster.Entry) {
	if !n.hearsay.note(by, e, n.pace.sync) {
		return
	}
	if !n.work.Go(func(ctx context.Context) { n.hearsay.end(e.ID, n.inquire(ctx, by, e)) }) {
		n.hearsay.end(e.ID, false)
	}
}

// inquire asks the one spoken of, and then other members. It reports whether the
// matter is settled.
func (n *Node) inquire(ctx context.Context, by view.NodeID, e roster.Entry) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*n.pace.dial)
	defer cancel()
	believe := e.ID != n.id && !n.speaks(ctx, e.ID)
	if !n.book.get().Ahead(e) {
		return true // it says so itself
	}
	if ctx.Err() != nil && n.hasStopped() {
		return false
	}
	backers := n.hearsay.backers(e.ID)
	if !believe && !n.book.get().Believe(e.ID, backers, 1) {
		asked := slices.DeleteFunc(n.others(by), func(id view.NodeID) bool { return id == e.ID })
		accept, refuse := n.poll(ctx, asked)
		backers = n.hearsay.backers(e.ID)
		if e.ID == n.id {
			backers = append(backers, refuse...)
		}
		against := slices.DeleteFunc(accept, func(id view.NodeID) bool { return slices.Contains(backers, id) })
		believe = n.book.get().Believe(e.ID, backers, len(against))
	} else {
		believe = true
	}
	if !believe {
		n.log.Warn("a member says of a node that runs what others do not", "by", by, "member", e.ID, "status", e.Status.String(), "boot", e.Boot)
		return false
	}
	err := n.book.update(ctx, func(r roster.Roster) (roster.Roster, error) {
		r, _, err := r.With(e)
		return r, err
	})
	n.warn("could not take in what members say of a node", err)
	return err == nil
}

// speaks exchanges rosters with a member and tells whether it was there.
func (n *Node) speaks(ctx context.Context, id view.NodeID) bool {
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
	e, ok := n.book.get().Get(from)
	if len(req) != 8 || !ok || !e.Storing || e.Status.Gone() {
		return nil, failCall(ErrNoHandler, methodGiveUp)
	}
	id := view.NodeID(binary.BigEndian.Uint64(req))
	n.log.Warn("member was given up for good by an operator at another node", "member", id, "at", from)
	return nil, n.book.update(ctx, func(r roster.Roster) (roster.Roster, error) { return r.Move(id, view.Evicted) })
}
