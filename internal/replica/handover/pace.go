package handover

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// yieldRate is how many bytes a second copies in the background take at most
// while clients' writes are under way here.
const yieldRate = 4 << 20

const (
	leastPiece = 8 << 10     // bytes: the cost of a call stays small against what it carries
	slowPiece  = time.Second // for a call to take
)

// Pace holds back what is copied in the background: to the rate that the
// operator allows, and to a modest one while clients are being served. All methods may be
// used concurrently.
type Pace struct {
	limit *rate.Limiter // nil: none
	busy  func() bool
	bytes atomic.Int64 // that one call carries at the moment
}

// NewPace returns a pace of so many bytes a second; zero: as many as there can be. busy tells
// whether clients are being served.
func NewPace(bytesPerSecond int64, busy func() bool) *Pace {
	p := &Pace{busy: busy}
	p.bytes.Store(transferBytes)
	if bytesPerSecond > 0 {
		p.limit = rate.NewLimiter(rate.Limit(bytesPerSecond), int(min(bytesPerSecond, transferBytes)))
	}
	return p
}

// PieceBytes is how many bytes one call may carry: what clients wait for is behind
// that on the same link.
func (p *Pace) PieceBytes() int {
	n := int(p.bytes.Load())
	if p.limit != nil {
		n = min(n, p.limit.Burst())
	}
	return max(n, leastPiece)
}

// adaptPiece learns from how long a call has taken: on a slow link pieces become
// smaller, until one takes no longer than clients can wait.
func (p *Pace) adaptPiece(d time.Duration) {
	switch n := p.bytes.Load(); {
	case d > slowPiece:
		p.bytes.Store(max(n/2, leastPiece))
	case d < slowPiece/2:
		p.bytes.Store(min(2*n, transferBytes))
	}
}

// WaitForBytes returns when n more bytes may be copied.
func (p *Pace) WaitForBytes(ctx context.Context, n int) error {
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
