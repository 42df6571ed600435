package elect

import (
	"math/bits"
	"time"
)

// Score says how fit a node is to lead, for comparison only: higher is fitter.
// Zero is that of a node which must not lead, or of which nothing is known. See Prefer.
type Score uint64

// Share is a part of a whole in thousandths; more than 1000 counts as all of it.
type Share uint16

// ShareOf returns part / whole, rounded down; 0 if there is no whole.
func ShareOf(part, whole uint64) Share {
	if whole == 0 {
		return 0
	}
	if part >= whole {
		return 1000
	}
	hi, lo := bits.Mul64(part, 1000)
	share, _ := bits.Div64(hi, lo, whole)
	return Share(share)
}

// Worth is what a node's score is made of. The zero Worth knows nothing: it
// scores the least of its priority, which is not zero.
type Worth struct {
	// Unfit: the node must not lead (it is closing, say). Its score is zero.
	Unfit bool
	// Priority is the operator's word, from -8 to 8 and taken as these beyond.
	// The better priority beats whatever else there is.
	Priority int
	// Mains tells whether the machine is powered from outside.
	Mains bool
	// Uptime is how long the machine has been up. Who has stayed long stays on:
	// Maymounkov and Mazières, Kademlia (2002), figure 1.
	Uptime time.Duration
	// CPU is processing power in thousandths of a core, Memory and Storage are
	// in bytes; what is free of them is a share. Zero is unknown.
	CPU, Memory, Storage             uint64
	FreeCPU, FreeMemory, FreeStorage Share
	// Reach is which part of the roster the node reaches directly.
	Reach Share
	// RTT is the median round-trip time to the others; 0 or less is unknown,
	// which counts like a very long one.
	RTT time.Duration
}

// Weights tell how much each part of a Worth counts against the others; only
// their proportions matter. All nodes of an election must use the same. The
// zero value stands for the defaults:
//
//	Mains 4    a leader whose battery ends, ends; with Reach the most, so that
//	Reach 4    each alone is more than the margin between nodes equal otherwise
//	CPU 4      leading costs messages and the work of the services
//	Memory 3   small boxes run out of it first
//	Uptime 2   and
//	RTT 2      decide between boxes of one kind
//	Storage 1  a leader stores little
type Weights struct {
	Mains, Uptime, CPU, Memory, Storage, Reach, RTT uint8
}

var scoreWeights = Weights{Mains: 4, Uptime: 2, CPU: 4, Memory: 3, Storage: 1, Reach: 4, RTT: 2}

const (
	scoreBest = 48   // of each part
	scoreBase = 2000 // points of a node that has nothing to show
	scoreSpan = 4800 // points above these of one that has all
	// A step of priority must lift the points by more than the span and the
	// margin together: 4 > 1.15 (2000 + 4800) / 2000.
	scoreLift     = 2 // in bits
	scorePriority = 8 // the best; the worst is -8
)

// Score returns the score of a worth:
//
//	4^(Priority+8) (2000 + 4800 Σ weight part / (48 Σ weight))
//
// rounded down, in integers throughout, so that all machines compute the same.
// Each part is from 0 to 48, in steps:
//
//	Mains     48, or 0
//	Uptime    8 each for having reached 1 min, 10 min, 1 h, 1 d, 7 d, 30 d
//	CPU       1 for each 1/24 that is free; and of the size 2 for 1/8 core,
//	          and 2 more for each doubling, up to 24 at 256 cores
//	Memory    the same, with 32 MiB to 64 GiB
//	Storage   the same, with 512 MiB to 1 TiB
//	Reach     1 for each 1/48
//	RTT       48 up to 0.5 ms, and 4 less for each doubling begun
//
// With the default weights, one step of all that fluctuates (what is free,
// Reach and RTT) at the same time changes a score by 5 % at most, which
// [Published] leaves unpublished.
func (w Worth) Score(weights Weights) Score {
	if w.Unfit {
		return 0
	}
	if weights == (Weights{}) {
		weights = scoreWeights
	}
	mains := 0
	if w.Mains {
		mains = scoreBest
	}
	sum, all := 0, 0
	for _, p := range [...]struct {
		weight uint8
		part   int
	}{
		{weights.Mains, mains},
		{weights.Uptime, scoreUptime(w.Uptime)},
		{weights.CPU, scoreSteps(w.FreeCPU, 24) + 2*scoreDoublings(w.CPU/125)},
		{weights.Memory, scoreSteps(w.FreeMemory, 24) + 2*scoreDoublings(w.Memory>>25)},
		{weights.Storage, scoreSteps(w.FreeStorage, 24) + 2*scoreDoublings(w.Storage>>29)},
		{weights.Reach, scoreSteps(w.Reach, 48)},
		{weights.RTT, scoreRTT(w.RTT)},
	} {
		sum += int(p.weight) * p.part
		all += int(p.weight)
	}
	points := scoreBase + scoreSpan*sum/(scoreBest*all)
	priority := min(max(w.Priority, -scorePriority), scorePriority)
	return Score(points) << (scoreLift * (priority + scorePriority))
}

func scoreSteps(s Share, steps int) int { return min(int(s), 1000) * steps / 1000 }

// scoreDoublings returns 1 for one unit, 1 more for each doubling, up to 12.
func scoreDoublings(units uint64) int { return min(bits.Len64(units), 12) }

func scoreUptime(up time.Duration) (part int) {
	const day = 24 * time.Hour
	for _, reached := range [...]time.Duration{time.Minute, 10 * time.Minute, time.Hour, day, 7 * day, 30 * day} {
		if up >= reached {
			part += scoreBest / 6
		}
	}
	return part
}

func scoreRTT(rtt time.Duration) int {
	if rtt <= 0 {
		return 0
	}
	doublings := bits.Len64(uint64(rtt-1) / uint64(500*time.Microsecond))
	return max(scoreBest-4*doublings, 0)
}

// scorePercent returns percent of s, rounded down, for any s.
func scorePercent(s Score, percent Score) Score { return s/100*percent + s%100*percent/100 }

// Published keeps the score that a node tells the others, and holds it still:
// each change is gossip for all, and a reason for a leader to move. The zero
// value has published nothing. It is not safe for concurrent use.
type Published struct {
	score Score
	ever  bool          // a score has been published
	now   time.Duration // of the last step
	off   int           // whether fresh scores are above (1) or below (-1) the published one
	since time.Duration // since when they are
}

// scoreHold is how long a score must be off before another is published.
const scoreHold = 10 * time.Second

// Step takes the score as it is now and returns the one to publish, and
// whether that has changed. It changes when each step for 10 s has seen a
// score more than 5 % above the published one, or each one below; hence at
// most once in 10 s. The first is published at once, and so is zero. Time must
// not go back; a step with an earlier time counts as being at the latest one.
func (p *Published) Step(now time.Duration, fresh Score) (publish Score, changed bool) {
	p.now = max(p.now, now)
	off := p.compareWith(fresh)
	if off != p.off {
		p.off, p.since = off, p.now
	}
	atOnce := !p.ever || fresh == 0 && p.score != 0
	if !atOnce && (off == 0 || p.now-p.since < scoreHold) {
		return p.score, false
	}
	changed = fresh != p.score || !p.ever
	p.score, p.ever, p.off = fresh, true, 0
	return p.score, changed
}

func (p *Published) compareWith(fresh Score) int {
	slack := scorePercent(p.score, 5)
	switch {
	case fresh > p.score && fresh-p.score > slack:
		return 1
	case fresh < p.score && p.score-fresh > slack:
		return -1
	}
	return 0
}
