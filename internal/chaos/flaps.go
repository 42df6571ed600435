package chaos

import (
	"math/rand/v2"
	"time"
)

// mark divides cuts: memberlist, with the settings for a LAN, forgets who was dead
// for so long, so that a longer cut heals in another way.
const mark = 30 * time.Second

// Flaps returns for how long a link that flaps is down, up, down and so on, 1
// to 40 s each and total in all. As many phases are below the mark as above.
func Flaps(rng *rand.Rand, total time.Duration) []time.Duration {
	const shortest, longest = time.Second, 40 * time.Second
	var phases []time.Duration
	for total > 0 {
		low, high := shortest, mark
		if rng.IntN(2) == 0 {
			low, high = mark, longest
		}
		d := min(low+time.Duration(rng.Int64N(int64(high-low))), total)
		phases = append(phases, d)
		total -= d
	}
	return phases
}

// TwoFlaps returns for how long a link is down, up and down again: once for less
// than the mark and once for more, whichever comes first, and about 65 s in all.
func TwoFlaps(rng *rand.Rand) []time.Duration {
	apart := func() time.Duration { return time.Second + time.Duration(rng.Int64N(int64(3*time.Second))) }
	phases := []time.Duration{mark - apart(), 1*time.Second + apart(), mark + apart()}
	if rng.IntN(2) == 0 {
		phases[0], phases[2] = phases[2], phases[0]
	}
	return phases
}
