package handover

import (
	"sync"

	"github.com/skeinmesh/skein/internal/replica/layout"
)

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
