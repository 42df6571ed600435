package detect

import (
	"math/rand/v2"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Witnesses is how many nodes must have failed to reach a member directly
// before data or services move off it. One node's own verdict takes no more
// than one bad link or one bad card, and gossip is only a hint (protocol E.1).
const Witnesses = 3

// Need returns how many must fail where so many nodes are in contact, the one
// that asks among them: all of those that are fewer than Witnesses.
func Need(alive int) int { return max(min(Witnesses, alive), 1) }

// Enough tells whether a member counts as down: need must fail to reach it, and
// of those asked so many failed and so many reached it. A single one that
// reaches it outweighs all others.
func Enough(need, failed, reached int) bool { return reached == 0 && failed >= need }

// Jury draws whom to ask beside oneself, and says how many must fail to reach
// the accused, oneself included. Nodes that store go first: they are to take its
// place, and reach each other where a sensor may not. Among those, one that
// stands where the accused does goes first, as the likeliest to reach it, and the
// rest are spread over zones.
func Jury(v view.View, accused view.NodeID, rng *rand.Rand) (peers []view.NodeID, need int) {
	var there []view.Member
	used := map[string]int{} // of a zone: twice those picked, less one where the accused stands
	alive := 0
	for i := range v.Members {
		m := &v.Members[i]
		switch {
		case m.ID == accused:
			used[m.Zone]--
		case m.ID == v.Self:
			used[m.Zone] += 2
			alive++
		case m.State == view.Alive && !m.Status.Gone():
			there = append(there, *m)
			alive++
		}
	}
	need = Need(alive)
	rng.Shuffle(len(there), func(i, j int) { there[i], there[j] = there[j], there[i] })
	for len(peers) < need-1 {
		best := 0
		for i := range there {
			a, b := &there[i], &there[best]
			if a.Storing && !b.Storing || a.Storing == b.Storing && used[a.Zone] < used[b.Zone] {
				best = i
			}
		}
		used[there[best].Zone] += 2
		peers = append(peers, there[best].ID)
		there[best] = there[len(there)-1]
		there = there[:len(there)-1]
	}
	return peers, need
}

// Witness says whether this node reaches a member, as far as it knows first
// hand: it was given up here after direct attempts failed, or it is alive and
// was itself heard less than Params.Watch ago. Anything else takes a probe.
func (d *Detector) Witness(now time.Duration, id view.NodeID) wire.Reach {
	if id == d.self {
		return wire.Reached
	}
	m := d.findMember(id)
	switch {
	case m == nil || !m.listed:
	case m.state == view.Failed:
		return wire.NotReached
	case m.state == view.Alive && m.heard && now-m.heardAt < d.params.Watch:
		return wire.Reached
	}
	return wire.ReachUnknown
}
