package link

const (
	windowBlocks = 17 // the one being filled and 16 full ones
	windowSize   = (windowBlocks - 1) * 64
)

// replayWindow remembers which counters of one sender were seen, the last 1024
// below the highest; older ones count as seen. It is the sliding window of
// RFC 4303 3.4.3 in whole blocks as RFC 6479 does it. The zero window has
// seen nothing but 0.
type replayWindow struct {
	top  uint64
	bits [windowBlocks]uint64
}

func (w *replayWindow) hasSeen(n uint64) bool {
	if n > w.top {
		return false
	}
	if n == 0 || w.top-n >= windowSize {
		return true
	}
	return w.bits[n/64%windowBlocks]&(1<<(n%64)) != 0
}

func (w *replayWindow) markSeen(n uint64) {
	if n > w.top {
		from, to := w.top/64, n/64
		for i := from + 1; i <= to && i <= from+windowBlocks; i++ {
			w.bits[i%windowBlocks] = 0
		}
		w.top = n
	}
	w.bits[n/64%windowBlocks] |= 1 << (n % 64)
}
