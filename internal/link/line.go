package link

import "slices"

// waitQueue is a queue of goroutines that wait for room, first come first served.
// Only its front is woken; the front steps out when it has what it needs, or
// gives up, and then wakes the next if there is room left. A front that finds
// too little keeps its place, so that small ones do not starve a large one.
// It is guarded by the mutex of what it stands for.
type waitQueue struct {
	waiting []chan struct{} // each of capacity 1
}

func (l *waitQueue) isEmpty() bool { return len(l.waiting) == 0 }

func (l *waitQueue) joinQueue() chan struct{} {
	turn := make(chan struct{}, 1)
	l.waiting = append(l.waiting, turn)
	return turn
}

func (l *waitQueue) leaveQueue(turn chan struct{}) {
	if i := slices.Index(l.waiting, turn); i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
}

// wakeFront makes the front look whether there is room.
func (l *waitQueue) wakeFront() {
	if len(l.waiting) > 0 {
		select {
		case l.waiting[0] <- struct{}{}:
		default: // it has been told already
		}
	}
}
