package replicate

import (
	"maps"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// Doubts are the peers with which a store may not be equal: something has happened
// that may have kept from one of the two what the other has, and nothing has shown
// since that they hold the same. Each is tried at once, and again after First, more
// and more seldom until after Last, however the others do. Times are those that the
// store has run.
type Doubts struct {
	First, Last time.Duration

	events uint64 // counts what has raised doubts
	peers  map[view.NodeID]*doubt
}

type doubt struct {
	event uint64 // the last one
	due   time.Duration
	wait  time.Duration // until the try after the next one
}

// Raise notes that something has happened, and that the peer is to be tried at once.
func (d *Doubts) Raise(id view.NodeID, now time.Duration) {
	d.raiseDoubt(id, now).due = now
	d.peers[id].wait = d.First
}

// Miss notes that the peer has not got one write. That may happen often: a doubt that
// is there already is tried when it would have been.
func (d *Doubts) Miss(id view.NodeID, now time.Duration) { d.raiseDoubt(id, now+d.First) }

func (d *Doubts) raiseDoubt(id view.NodeID, due time.Duration) *doubt {
	if d.peers == nil {
		d.peers = make(map[view.NodeID]*doubt)
	}
	at := d.peers[id]
	if at == nil {
		at = &doubt{due: due, wait: d.First}
		d.peers[id] = at
	}
	d.events++
	at.event = d.events
	return at
}

// Try returns whom to try now, of those in contact, and by which event. The peer is
// due again later unless it is settled.
func (d *Doubts) Try(now time.Duration, live func(view.NodeID) bool) (id view.NodeID, event uint64, ok bool) {
	id, ok = d.earliestLive(live)
	at := d.peers[id]
	if !ok || at.due > now {
		return 0, 0, false
	}
	at.due = now + at.wait
	at.wait = min(2*at.wait, d.Last)
	return id, at.event, true
}

// Due returns when the next one in contact is to be tried.
func (d *Doubts) Due(live func(view.NodeID) bool) (due time.Duration, ok bool) {
	if id, ok := d.earliestLive(live); ok {
		return d.peers[id].due, true
	}
	return 0, false
}

func (d *Doubts) earliestLive(live func(view.NodeID) bool) (first view.NodeID, ok bool) {
	for id, at := range d.peers {
		if live(id) && (!ok || at.due < d.peers[first].due) {
			first, ok = id, true
		}
	}
	return first, ok
}

// Settle ends a doubt, unless something has happened since the event given: what a
// try has shown is of its beginning. It reports whether there is none any more.
func (d *Doubts) Settle(id view.NodeID, event uint64) bool {
	if at := d.peers[id]; at != nil && at.event == event {
		delete(d.peers, id)
	}
	return !d.Has(id)
}

// TryBy has a peer tried no later than at the time given.
func (d *Doubts) TryBy(id view.NodeID, due time.Duration) {
	if at := d.peers[id]; at != nil {
		at.due = min(at.due, due)
	}
}

// Has tells whether there is a doubt about a peer.
func (d *Doubts) Has(id view.NodeID) bool { return d.peers[id] != nil }

// Events returns the peers in doubt, and the last event of each.
func (d *Doubts) Events() map[view.NodeID]uint64 {
	out := make(map[view.NodeID]uint64, len(d.peers))
	for id, at := range d.peers {
		out[id] = at.event
	}
	return out
}

// Forget drops the doubts about peers that do not belong to the mesh any more.
func (d *Doubts) Forget(belongs func(view.NodeID) bool) {
	maps.DeleteFunc(d.peers, func(id view.NodeID, _ *doubt) bool { return !belongs(id) })
}
