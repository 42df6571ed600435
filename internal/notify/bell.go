package notify

// Bell wakes the one goroutine that receives from it. Rings while nobody listens are one
// ring to whoever listens next.
type Bell chan struct{}

// NewBell returns a bell that has not rung.
func NewBell() Bell { return make(Bell, 1) }

// Ring wakes the listener. It never blocks.
func (b Bell) Ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}
