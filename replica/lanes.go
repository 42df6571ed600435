package replica

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

// errRefused: the peer answered, and said no.
var errRefused = errors.New("refused")

var errLaneFull = errors.New("too much waits for this peer")

// lanes send requests of one kind to peers. While calls to a peer are under
// way, what comes in for it collects, and goes out together in the next call:
// one frame, one batch and one sync at the other end. Nothing waits for
// company: a request to an idle peer leaves at once.
type lanes[Q, R any] struct {
	group *lifecycle.Group
	quiet *silence
	limit time.Duration // how long a peer may keep silent
	room  int           // bytes waiting for one peer; more are refused
	size  func(Q) int
	// call sends requests to a peer. It answers the first ones, at least one,
	// or fails. It does not keep the slice.
	call func(ctx context.Context, to view.NodeID, batch []Q) ([]R, error)

	mu    sync.Mutex
	peers map[view.NodeID]*lane[Q, R]
}

type lane[Q, R any] struct {
	waiting []ride[Q, R]
	spare   []ride[Q, R] // empty; to be the next waiting
	bytes   int
	running int
}

// ride is one request; done is called exactly once, on a goroutine that must
// not be held up. No lock may be held that it takes: when the store is closing
// it is called within send.
type ride[Q, R any] struct {
	req   Q
	since time.Time
	done  func(R, error)
}

// send queues a request; its peer has limit to answer from now. It reports
// false, and never calls done, when too much waits for the peer.
func (l *lanes[Q, R]) send(to view.NodeID, req Q, done func(R, error)) bool {
	n := l.size(req)
	l.mu.Lock()
	p := l.peers[to]
	if p == nil {
		p = &lane[Q, R]{}
		l.peers[to] = p
	}
	if p.bytes > 0 && p.bytes+n > l.room {
		l.mu.Unlock()
		return false
	}
	if p.waiting == nil {
		p.waiting, p.spare = p.spare, nil
	}
	p.waiting = append(p.waiting, ride[Q, R]{req, time.Now(), done})
	p.bytes += n
	start := p.running < laneWidth
	if start {
		p.running++
	}
	l.mu.Unlock()
	if start && !l.group.Go(func(ctx context.Context) { l.run(ctx, to, p) }) {
		l.stop(p, context.Canceled)
	}
	return true
}

// run carries what waits for a peer until nothing does.
func (l *lanes[Q, R]) run(ctx context.Context, to view.NodeID, p *lane[Q, R]) {
	var reqs []Q
	for {
		batch := l.take(p)
		if len(batch) == 0 {
			return
		}
		clear(reqs)
		reqs = reqs[:0]
		for i := range batch {
			reqs = append(reqs, batch[i].req)
		}
		waited := time.Since(batch[0].since)
		if waited >= l.limit {
			end(batch, context.DeadlineExceeded) // our queue, not the peer, was too slow
			continue
		}
		call, cancel := context.WithDeadline(ctx, batch[0].since.Add(l.limit))
		answers, err := l.call(call, to, reqs)
		cancel()
		if err == nil && (len(answers) == 0 || len(answers) > len(batch)) {
			err = errors.New("answers do not match the requests")
		}
		if answered := err == nil || errors.Is(err, errRefused); ctx.Err() == nil && (answered || waited < l.limit/2) {
			l.quiet.note(to, answered)
		}
		if err != nil {
			// What waits behind has a deadline of its own.
			end(batch, err)
			continue
		}
		for i := range answers {
			batch[i].done(answers[i], nil)
		}
		l.back(p, batch, len(answers))
	}
}

// take removes the next batch from the queue, or ends the runner.
func (l *lanes[Q, R]) take(p *lane[Q, R]) []ride[Q, R] {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, bytes := 0, 0
	for n < len(p.waiting) && n < laneBatch {
		b := l.size(p.waiting[n].req)
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

// back puts the requests of a batch that were not answered first again.
func (l *lanes[Q, R]) back(p *lane[Q, R], batch []ride[Q, R], answered int) {
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
		p.bytes += l.size(rest[i].req)
	}
	p.waiting = append(rest, p.waiting...)
}

func end[Q, R any](batch []ride[Q, R], err error) {
	var none R
	for i := range batch {
		batch[i].done(none, err)
	}
}

// stop ends what waits when no runner can be started any more.
func (l *lanes[Q, R]) stop(p *lane[Q, R], err error) {
	l.mu.Lock()
	p.running--
	waiting := p.waiting
	p.waiting, p.bytes = nil, 0
	l.mu.Unlock()
	end(waiting, err)
}
