package peering

import (
	"sync"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// Sender is a way to send requests of one kind to peers; see Lanes.Send.
type Sender[Q, R any] interface {
	Send(to view.NodeID, req Q, done func(R, error)) bool
}

// Shipment holds back requests of a lane until all of them are there, so that those for
// one peer leave in one call. What is sent through it later leaves at once.
type Shipment[Q, R any] struct {
	lanes *Lanes[Q, R]

	mu   sync.Mutex
	left bool
	held map[view.NodeID][]waitingRequest[Q, R]
}

// NewShipment returns a shipment that holds nothing yet.
func (l *Lanes[Q, R]) NewShipment() *Shipment[Q, R] {
	return &Shipment[Q, R]{lanes: l, held: make(map[view.NodeID][]waitingRequest[Q, R])}
}

// Send holds a request back, or sends it when the others have left. Of one that was held
// back done is told ErrLaneFull when too much waits for its peer.
func (s *Shipment[Q, R]) Send(to view.NodeID, req Q, done func(R, error)) bool {
	s.mu.Lock()
	if s.left {
		s.mu.Unlock()
		return s.lanes.Send(to, req, done)
	}
	s.held[to] = append(s.held[to], waitingRequest[Q, R]{req: req, done: done})
	s.mu.Unlock()
	return true
}

// Leave sends all that was held back. It is called once.
func (s *Shipment[Q, R]) Leave() {
	s.mu.Lock()
	held := s.held
	s.left, s.held = true, nil
	s.mu.Unlock()
	for to, reqs := range held {
		s.lanes.sendAll(to, reqs)
	}
}

// sendAll is Send for several requests to one peer, in order.
func (l *Lanes[Q, R]) sendAll(to view.NodeID, reqs []waitingRequest[Q, R]) {
	now, taken := time.Now(), 0
	l.mu.Lock()
	p := l.laneTo(to)
	for i := range reqs {
		n := l.Size(reqs[i].req)
		if p.bytes > 0 && p.bytes+n > l.Room {
			break
		}
		reqs[i].since = now
		p.addWaiting(reqs[i], n)
		taken++
	}
	l.unlockAndCarry(to, p)
	endAll(reqs[taken:], ErrLaneFull)
}
