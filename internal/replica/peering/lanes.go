package peering

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	laneWidth = 2       // calls under way to one peer at a time
	laneBatch = 512     // requests in one call
	laneBytes = 1 << 20 // bytes in one call, one request at least
)

// ErrUnavailable: no store that could do it is in reach.
var ErrUnavailable = errors.New("replica: no store in reach")

// ErrRefused: the peer answered, and said no.
var ErrRefused = errors.New("refused")

// ErrLaneFull: a request was not taken, for others wait.
var ErrLaneFull = errors.New("too much waits for this peer")

// Lanes send requests of one kind to peers. While calls to a peer are under
// way, what comes in for it collects, and goes out together in the next call:
// one frame, one batch and one sync at the other end. Nothing waits for
// company: a request to an idle peer leaves at once.
type Lanes[Q, R any] struct {
	LaneOptions[Q, R]

	mu    sync.Mutex
	peers map[view.NodeID]*lane[Q, R]
}

// LaneOptions describe lanes. All fields must be set.
type LaneOptions[Q, R any] struct {
	Group   *lifecycle.Group
	Silence *Silence
	Limit   time.Duration // how long a peer may keep silent
	Room    int           // bytes waiting for one peer; more are refused
	Size    func(Q) int
	// Call sends requests to a peer. It answers the first ones, at least one,
	// or fails. It does not keep the slice.
	Call func(ctx context.Context, to view.NodeID, batch []Q) ([]R, error)
}

// NewLanes returns lanes to peers of which nothing is known yet.
func NewLanes[Q, R any](opts LaneOptions[Q, R]) *Lanes[Q, R] {
	return &Lanes[Q, R]{LaneOptions: opts, peers: make(map[view.NodeID]*lane[Q, R])}
}

type lane[Q, R any] struct {
	waiting []waitingRequest[Q, R]
	spare   []waitingRequest[Q, R] // empty; to be the next waiting
	bytes   int
	running int
}

// waitingRequest is one request; done is called exactly once, on a goroutine that must
// not be held up. No lock may be held that it takes: when the store is closing
// it is called within Send.
type waitingRequest[Q, R any] struct {
	req   Q
	since time.Time
	done  func(R, error)
}

// Send queues a request; its peer has limit to answer from now. It reports
// false, and never calls done, when too much waits for the peer.
func (l *Lanes[Q, R]) Send(to view.NodeID, req Q, done func(R, error)) bool {
	n := l.Size(req)
	l.mu.Lock()
	p := l.laneTo(to)
	if p.bytes > 0 && p.bytes+n > l.Room {
		l.mu.Unlock()
		return false
	}
	p.addWaiting(waitingRequest[Q, R]{req, time.Now(), done}, n)
	l.unlockAndCarry(to, p)
	return true
}

// laneTo returns the lane of a peer. It needs mu.
func (l *Lanes[Q, R]) laneTo(to view.NodeID) *lane[Q, R] {
	p := l.peers[to]
	if p == nil {
		p = &lane[Q, R]{}
		l.peers[to] = p
	}
	return p
}

// addWaiting needs mu.
func (p *lane[Q, R]) addWaiting(r waitingRequest[Q, R], bytes int) {
	if p.waiting == nil {
		p.waiting, p.spare = p.spare, nil
	}
	p.waiting = append(p.waiting, r)
	p.bytes += bytes
}

// unlockAndCarry gives mu back, and sees to it that what waits is carried.
func (l *Lanes[Q, R]) unlockAndCarry(to view.NodeID, p *lane[Q, R]) {
	start := p.running < laneWidth
	if start {
		p.running++
	}
	l.mu.Unlock()
	if start && !l.Group.Go(func(ctx context.Context) { l.carryWaiting(ctx, to, p) }) {
		l.dropWaiting(p, context.Canceled)
	}
}

// Waiting is how many bytes wait for a peer.
func (l *Lanes[Q, R]) Waiting(peer view.NodeID) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.peers[peer]; p != nil {
		return p.bytes
	}
	return 0
}

// carryWaiting carries what waits for a peer until nothing does.
func (l *Lanes[Q, R]) carryWaiting(ctx context.Context, to view.NodeID, p *lane[Q, R]) {
	var reqs []Q
	for {
		batch := l.takeBatch(p)
		if len(batch) == 0 {
			return
		}
		clear(reqs)
		reqs = reqs[:0]
		for i := range batch {
			reqs = append(reqs, batch[i].req)
		}
		waited := time.Since(batch[0].since)
		if waited >= l.Limit {
			endAll(batch, context.DeadlineExceeded) // our queue, not the peer, was too slow
			continue
		}
		call, cancel := context.WithDeadline(ctx, batch[0].since.Add(l.Limit))
		answers, err := l.Call(call, to, reqs)
		cancel()
		if err == nil && (len(answers) == 0 || len(answers) > len(batch)) {
			err = errors.New("answers do not match the requests")
		}
		if answered := err == nil || errors.Is(err, ErrRefused); ctx.Err() == nil && (answered || waited < l.Limit/2) {
			l.Silence.Note(to, answered)
		}
		if err != nil {
			// What waits behind has a deadline of its own.
			endAll(batch, err)
			continue
		}
		for i := range answers {
			batch[i].done(answers[i], nil)
		}
		l.putBack(p, batch, len(answers))
	}
}

// takeBatch removes the next batch from the queue, or ends the runner.
func (l *Lanes[Q, R]) takeBatch(p *lane[Q, R]) []waitingRequest[Q, R] {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, bytes := 0, 0
	for n < len(p.waiting) && n < laneBatch {
		b := l.Size(p.waiting[n].req)
		if n > 0 && bytes+b > laneBytes {
			break
		}
		bytes += b
		n++
	}
	batch := p.waiting
	if n < len(batch) {
		batch, p.waiting = batch[:n:n], batch[n:]
	} else {
		p.waiting = nil
	}
	p.bytes -= bytes
	if n == 0 {
		p.running--
	}
	return batch
}

// putBack puts the requests of a batch that were not answered first again.
func (l *Lanes[Q, R]) putBack(p *lane[Q, R], batch []waitingRequest[Q, R], answered int) {
	clear(batch[:answered])
	l.mu.Lock()
	defer l.mu.Unlock()
	if answered == len(batch) {
		if p.spare == nil && cap(batch) <= laneBatch {
			p.spare = batch[:0]
		}
		return
	}
	rest := batch[answered:]
	for i := range rest {
		p.bytes += l.Size(rest[i].req)
	}
	p.waiting = append(rest, p.waiting...)
}

// endAll ends requests with an error.
func endAll[Q, R any](batch []waitingRequest[Q, R], err error) {
	var none R
	for i := range batch {
		batch[i].done(none, err)
	}
}

// dropWaiting ends what waits when no runner can be started any more.
func (l *Lanes[Q, R]) dropWaiting(p *lane[Q, R], err error) {
	l.mu.Lock()
	p.running--
	waiting := p.waiting
	p.waiting, p.bytes = nil, 0
	l.mu.Unlock()
	endAll(waiting, err)
}
