package takeover

import (
	"slices"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/mesh/view"
)

// Preference orders the nodes that stand, the highest first; 0 does not stand. Before
// all else counts who runs the service, so that nothing but its leader's own decision moves
// it. Then counts who is not penalised, then the plan's order, then the least use.
type Preference uint32

// Peer is another node in contact, and the preference that it has told; none if it does not
// stand, or has not told yet.
type Peer struct {
	ID         view.NodeID
	Name       string
	Preference Preference
}

// useSteps is in how many steps use is told apart: not every change is worth telling.
const useSteps = 20

// preferFit returns the preference of a node, whatever it lacks.
func preferFit(p service.Plan, n service.Node) Preference {
	var runs, sound, free int
	if n.Runs {
		runs = 1
	}
	if !n.Penalised {
		sound = 1
	}
	rank := rankOf(p, n.Name)
	if rank == 0 {
		free = (service.WholeUse - n.MostUsed()) * useSteps / service.WholeUse
	}
	pref := runs
	pref = pref*2 + sound
	pref = pref*ranks + rank
	pref = pref*(useSteps+1) + free
	return Preference(pref + 1)
}

const ranks = service.MaxBackups + 2

// isSound tells whether a node that stands is not penalised.
func (p Preference) isSound() bool { return p > 0 && (p-1)/(ranks*(useSteps+1))%2 == 1 }

// runs tells whether a node says that it runs the service.
func (p Preference) runs() bool { return p > 0 && (p-1)/(ranks*(useSteps+1)*2) == 1 }

// rankOf returns a node's place in the plan's order, the primary's being the highest; 0 is
// that of all whom the plan does not name.
func rankOf(p service.Plan, name string) int {
	if name != "" && name == p.Primary {
		return service.MaxBackups + 1
	}
	if i := slices.Index(p.Backups, name); i >= 0 && i < service.MaxBackups {
		return service.MaxBackups - i
	}
	return 0
}

// findBetter returns the one that the plan places highest of those that stand and are not
// penalised, if it places it before the node of that name. Use alone makes none better: what
// runs well is not moved for it.
func findBetter(p service.Plan, than string, peers []Peer) (best view.NodeID) {
	high := rankOf(p, than)
	for _, o := range peers {
		if rank := rankOf(p, o.Name); rank > high && o.Preference.isSound() {
			best, high = o.ID, rank
		}
	}
	return best
}

// penalty counts how often a node has failed to run a service lately. The zero value has
// never failed.
type penalty struct {
	count int
	at    time.Duration // the last failure
}

const (
	penaltyFirst = 30 * time.Second // doubled with each failure
	penaltyMax   = 30 * time.Minute
	penaltyDecay = time.Hour // behind the penalty's end: one failure is forgotten, and another one
	restFirst    = time.Second
	restMax      = 30 * time.Second
	maxFailures  = 7 // more make no difference
)

// Add notes a failure.
func (p *penalty) Add(now time.Duration) {
	p.count, p.at = min(p.Count(now)+1, maxFailures), now
}

// Count returns how many failures are not forgotten.
func (p *penalty) Count(now time.Duration) int {
	if now < p.Until() {
		return p.count
	}
	return max(p.count-int((now-p.Until())/penaltyDecay), 0)
}

// Until is how long the node stands behind all others.
func (p *penalty) Until() time.Duration { return p.findEnd(penaltyFirst, penaltyMax) }

// RestUntil is how long the node, should nobody else lead, waits before it tries again.
func (p *penalty) RestUntil() time.Duration { return p.findEnd(restFirst, restMax) }

// findEnd returns when a time that doubles with each failure is over.
func (p *penalty) findEnd(first, longest time.Duration) time.Duration {
	if p.count == 0 {
		return 0
	}
	return p.at + min(first<<(p.count-1), longest)
}
