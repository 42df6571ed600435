package clock

import (
	"math/rand/v2"
	"time"
)

// Jitter spreads a period by half of it either way, so that what was started together
// does not stay together. A negative period is for ever.
func Jitter(every time.Duration) time.Duration {
	if every < 0 {
		return 1 << 62
	}
	return every/2 + rand.N(every+1)
}
