package replicate

import "time"

// Intake says how many bytes of writes may be under way at once towards what
// carries them out, disks and peers, so that none waits for others longer than a
// target time. How fast that is it learns from how long writes take, and how long
// one takes that waits for nobody from the shortest of them: it lets more in as
// long as they keep within the target, and less when one does not. Whoever
// is let in beyond what can be carried out would only make all wait until they
// count as silent, and then everything is written more than once.
type Intake struct {
	target      time.Duration
	least, most int64
	window      int64 // bytes that may be under way
	underWay    int64 // bytes that are
	begun       bool  // the window has not been cut yet: it grows fast
	cut         time.Duration
	soloTime    time.Duration // what a write takes that waits for nobody
}

// NewIntake returns an intake whose bound is learned and is never below least or
// above most bytes. One write may always be under way, whatever its size.
func NewIntake(target time.Duration, least, most int64) *Intake {
	least = min(least, most)
	return &Intake{target: target, least: least, most: most, window: least, begun: true, cut: -1}
}

// Begin lets a write of n bytes in, or tells that there is no room. Each write
// that was let in needs an End or a Void.
func (in *Intake) Begin(n int64) bool {
	if in.underWay > 0 && in.underWay+n > in.window {
		return false
	}
	in.underWay += n
	return true
}

// BeginAll lets in as many writes of a batch as there is room for, in order, and returns
// how many. Where nothing else is under way it lets in all as long as nothing was learned,
// and one at least afterwards. Each that was let in is a write of its own from then on.
func (in *Intake) BeginAll(sizes []int64) (n int) {
	whole := in.begun && in.underWay == 0
	for _, size := range sizes {
		if whole {
			in.underWay += size
		} else if !in.Begin(size) {
			break
		}
		n++
	}
	return n
}

// Leave gives back the room of a write whose client is answered; copies may yet be
// on their way. busy tells whether much of the room was taken.
func (in *Intake) Leave(n int64) (busy bool) {
	busy = in.underWay > in.window/2
	in.underWay -= n
	return busy
}

// Learn takes note of a write of which all copies are answered for. It was let in
// at begun. late tells that a part of it was refused or was not done in time, busy
// is what Leave said.
func (in *Intake) Learn(n int64, begun, now time.Duration, late, busy bool) {
	took := now - begun
	if took < in.soloTime || in.soloTime == 0 {
		in.soloTime = took
	} else {
		in.soloTime += (min(took, 2*in.target) - in.soloTime) / 1024 // what was may have changed
	}
	switch target := in.target + min(in.soloTime, 2*in.target); {
	case late || took > target:
		// Those that were let in before the last cut say nothing new.
		if begun <= in.cut {
			return
		}
		next := in.window / 2
		if !late {
			next = max(next, int64(float64(in.window)*float64(target)/float64(took)))
		}
		in.window, in.cut, in.begun = max(next, in.least), now, false
	case !busy: // what nobody asks for is not to be learned
	case in.begun:
		in.window = min(in.window+n, in.most)
	default: // by a step for each window that has been carried out
		in.window = min(in.window+max(n*in.least/in.window, 1), in.most)
	}
}
