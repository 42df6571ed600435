package retain

import (
	"maps"
	"time"
)

const (
	// pinLives is for how long a pin holds after it was put: those who restore put another one every
	// 20 minutes, and clocks may differ by a day.
	pinLives = clockError + time.Hour
	// mostHeld is for how long pins hold up what is to go, however many there are.
	mostHeld = 3 * 24 * time.Hour
)

// Pin says that somebody restores from a tier.
type Pin struct {
	Name string
	Put  time.Time // by the clock of the tier; where it has none, of who restores
}

// sortPins tells whether a restore may run, and which pins are what one has left that broke off. A date
// that lies so far ahead that no clock which is believed has told it holds nothing.
func (h *Holdings) sortPins(now time.Time) (held bool, left []string) {
	ahead := 2*clockError + h.longestEvery()
	for _, p := range h.Pins {
		age := now.Sub(p.Put.Round(0))
		held = held || age >= -ahead && age <= pinLives
		if age < -ahead || age > 2*pinLives {
			left = append(left, p.Name)
		}
	}
	return held, left
}

// holdUp has all that is kept be kept longer. So what stood when a restore began stays for mostHeld.
func (h *Holdings) holdUp() {
	h.Keep = maps.Clone(h.Keep)
	for policy, k := range h.Keep {
		if k.For > 0 {
			k.For += mostHeld // beyond all numbers it is below 0: for ever
		}
		if k.Lost > 0 {
			k.Lost += mostHeld
		}
		h.Keep[policy] = k
	}
}

func (h *Holdings) longestEvery() (longest time.Duration) {
	for _, k := range h.Keep {
		longest = max(longest, k.Every)
	}
	return longest
}
