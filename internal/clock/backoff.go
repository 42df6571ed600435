package clock

import "time"

// Backoff is how long to wait before another attempt: First, then twice as long each
// time, and Last at most. It is not safe for concurrent use.
type Backoff struct {
	First, Last time.Duration
	next        time.Duration
}

// Next returns how long to wait now.
func (b *Backoff) Next() time.Duration {
	wait := max(b.next, b.First)
	b.next = min(2*wait, b.Last)
	return wait
}

// Reset begins anew: an attempt has succeeded, or has better prospects.
func (b *Backoff) Reset() { b.next = 0 }
