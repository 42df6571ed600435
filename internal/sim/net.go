package sim

import "time"

// Net is the network between hosts. Its faults are directed and take effect
// at once, also on messages that are already on their way.
type Net struct {
	Loss      float64       // share of messages that vanish
	Duplicate float64       // share of messages that arrive twice
	Delay     time.Duration // least time on the way; 0: 200 us
	Jitter    time.Duration // more time on the way, random, which also reorders; 0: 2 ms

	world *World
	cut   [][]bool // from, to
}

func (n *Net) growTo(hosts int) {
	for len(n.cut) < hosts {
		n.cut = append(n.cut, nil)
	}
	for i := range n.cut {
		for len(n.cut[i]) < hosts {
			n.cut[i] = append(n.cut[i], false)
		}
	}
}

// Cut stops messages from one host to another; the way back stays.
func (n *Net) Cut(from, to *Host) { n.cut[from.Index][to.Index] = true }

// Heal undoes all cuts.
func (n *Net) Heal() {
	n.world.Logf("network heals")
	for i := range n.cut {
		clear(n.cut[i])
	}
}

// Split cuts both ways between the hosts for which side differs.
func (n *Net) Split(side func(*Host) bool) {
	for _, a := range n.world.Hosts {
		for _, b := range n.world.Hosts {
			n.cut[a.Index][b.Index] = side(a) != side(b)
		}
	}
}

// Reaches tells whether messages get from one host to another.
func (n *Net) Reaches(from, to *Host) bool {
	return to.Up() && !n.cut[from.Index][to.Index]
}

func (n *Net) sendMessage(from, to *Host, msg any) {
	copies := 1
	if from != to {
		if n.world.Chance(n.Loss) {
			copies = 0
		}
		if n.world.Chance(n.Duplicate) {
			copies++
		}
	}
	delay, jitter := n.Delay, n.Jitter
	if delay == 0 {
		delay = 200 * time.Microsecond
	}
	if jitter == 0 {
		jitter = 2 * time.Millisecond
	}
	for range copies {
		n.world.After(n.world.Between(delay, delay+jitter), func() {
			if n.Reaches(from, to) {
				to.process.Receive(from, msg)
			}
		})
	}
}
