package replica

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/mesh/view"
)

// yieldRate is how many bytes a second copies in the background take at most
// while clients' writes are under way here.
const yieldRate = 4 << 20

const (
	leastPiece = 8 << 10     // bytes: the cost of a call stays small against what it carries
	slowPiece  = time.Second // for a call to take
)

// pace holds back what is copied in the background: to the rate that the
// operator allows, and to a modest one while clients are being served.
type pace struct {
	limit *rate.Limiter // nil: none
	busy  func() bool
	bytes atomic.Int64 // that one call carries at the moment
}

func newPace(bytesPerSecond int64, busy func() bool) *pace {
	p := &pace{busy: busy}
	p.bytes.Store(transferBytes)
	if bytesPerSecond > 0 {
		p.limit = rate.NewLimiter(rate.Limit(bytesPerSecond), int(min(bytesPerSecond, transferBytes)))
	}
	return p
}

// pieceBytes is how many bytes one call may carry: what clients wait for is behind
// that on the same link.
func (p *pace) pieceBytes() int {
	n := int(p.bytes.Load())
	if p.limit != nil {
		n = min(n, p.limit.Burst())
	}
	return max(n, leastPiece)
}

// adaptPiece learns from how long a call has taken: on a slow link pieces become
// smaller, until one takes no longer than clients can wait.
func (p *pace) adaptPiece(d time.Duration) {
	switch n := p.bytes.Load(); {
	case d > slowPiece:
		p.bytes.Store(max(n/2, leastPiece))
	case d < slowPiece/2:
		p.bytes.Store(min(2*n, transferBytes))
	}
}

// waitForBytes returns when n more bytes may be copied.
func (p *pace) waitForBytes(ctx context.Context, n int) error {
	for left := n; p.limit != nil && left > 0; {
		part := min(left, p.limit.Burst())
		if err := p.limit.WaitN(ctx, part); err != nil {
			return err
		}
		left -= part
	}
	if n == 0 || !p.busy() {
		return ctx.Err()
	}
	rest := time.NewTimer(time.Duration(n) * time.Second / yieldRate)
	defer rest.Stop()
	select {
	case <-rest.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lastSynced is when this store was last made equal with each peer, by bucket.
type lastSynced struct {
	mu sync.Mutex
	at map[syncedWith]time.Duration
}

type syncedWith struct {
	bucket uint64
	peer   view.NodeID
}

func (l *lastSynced) noteSync(bucket uint64, peer view.NodeID, now time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at == nil {
		l.at = make(map[syncedWith]time.Duration)
	}
	l.at[syncedWith{bucket, peer}] = now
}

func (l *lastSynced) sinceSync(bucket uint64, peer view.NodeID, now time.Duration) (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, ok := l.at[syncedWith{bucket, peer}]
	return now - at, ok
}

// progress tells how far a hand-over is.
type progress struct {
	turn chan struct{} // capacity 1: held by the hand-over under way

	mu          sync.Mutex
	total, done int
	brought     map[layout.Slice]handoverState // what could not be let go of after it was brought to the homes in contact
}

// isUnchanged tells whether a slice is as it was when it was brought to the homes.
func (p *progress) isUnchanged(at layout.Slice, now handoverState) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	before, ok := p.brought[at]
	return ok && before == now && !now.unknown
}

func (p *progress) noteBrought(at layout.Slice, now handoverState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.brought == nil {
		p.brought = make(map[layout.Slice]handoverState)
	}
	p.brought[at] = now
}

func (p *progress) beginHandover(total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total, p.done = total, 0
}

func (p *progress) countHanded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
}

func (p *progress) endHandover() { p.beginHandover(0) }

// slicesLeft is how many slices are still to be handed over.
func (p *progress) slicesLeft() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total - p.done
}
