package chaos

import (
	"math/rand/v2"
	"time"
)

// Flaps returns for how long a link that flaps is down, up, down and so on, 1
// to 40 s each and total in all. memberlist, with the settings for a LAN,
// forgets who was dead for 30 s, so that a longer cut heals in another way: as
// many phases are below that as above.
func Flaps(rng *rand.Rand, total time.Duration) []time.Duration {
	const shortest, mark, longest = time.Second, 30 * time.Second, 40 * time.Second
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
