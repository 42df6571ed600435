package link

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	firstPart = 64 << 10 // of a payload that is given memory at once; payloads of that size have a part of the budget to themselves

	// growBy is how many times as much as has come a payload is given memory
	// for, and a quarter more where that is all of it. What is announced costs
	// nothing, and what is copied on the way is a third of it.
	growBy = 4

	// A payload that comes slower than slowest bytes a second, over slowTime,
	// gives its memory back if others are refused meanwhile.
	slowest  = 16_000
	slowTime = 5 * time.Second
)

// takeForPayload takes n more bytes of the budget for a payload of size bytes, whose peer
// holds so many bytes for other payloads. The last eighth is for small ones. A peer
// may hold a quarter, or one payload: it must not be able to have others refused.
func (b *budget) takeForPayload(n, size, others int) bool {
	small := size <= firstPart
	if limit := b.limit; others == 0 || int64(others+size) <= limit/4 {
		if !small {
			limit = max(limit-limit/8, min(limit, int64(size)))
		}
		if b.used.Add(int64(n)) <= limit {
			return true
		}
		b.used.Add(-int64(n))
	}
	b.refused.Add(1)
	return false
}

// progress is how a large payload comes in.
type progress struct {
	received atomic.Int64

	mu      sync.Mutex
	size    int  // 0: none comes in
	givenUp bool // up

	// of the ticker only
	last    int64 // what had come slowTime ago
	refused uint64
	since   time.Duration
}

func (p *progress) beginPayload(size int) {
	p.received.Store(0)
	p.mu.Lock()
	p.size, p.givenUp = size, false
	p.mu.Unlock()
}

// endPayload tells whether the payload was given up. From then on nobody gives it up.
func (p *progress) endPayload() (given bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	given, p.size, p.givenUp = p.givenUp, 0, false
	return given
}

// giveUpIfSlow is called every step. It gives up a payload that must not go on.
func (p *progress) giveUpIfSlow(b *budget, step time.Duration, giveUp func()) {
	got, refused := p.received.Load(), b.refused.Load()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.size == 0 || got < p.last { // none, or another one
		p.last, p.since, p.refused = 0, 0, refused
		return
	}
	if p.since += step; p.since < slowTime {
		return
	}
	slow := float64(got-p.last) < slowest*p.since.Seconds() && refused != p.refused
	p.last, p.since, p.refused = got, 0, refused
	if slow && !p.givenUp {
		p.givenUp = true
		giveUp()
	}
}

// receivePayload reads a payload of size bytes as it comes. take takes so many bytes of a
// budget; when it does not, rest tells how much is still to come.
func receivePayload(r io.Reader, size int, p *progress, take func(n int) bool) (buf []byte, rest int, err error) {
	got := 0
	for {
		next := max(firstPart, growBy*got)
		if size <= next+next/4 {
			next = size // a value of 1 MiB is a bit longer than growBy times 256 KiB: it is not copied once more for that
		}
		if !take(next - len(buf)) {
			return nil, size - got, nil
		}
		grown := make([]byte, next)
		copy(grown, buf)
		for buf = grown; got < next; {
			n, err := r.Read(buf[got:])
			if got += n; err != nil && got < next {
				if err == io.EOF {
					err = io.ErrUnexpectedEOF
				}
				return nil, size - got, err
			}
			if p != nil {
				p.received.Store(int64(got))
			}
		}
		if got == size {
			return buf, 0, nil
		}
	}
}
