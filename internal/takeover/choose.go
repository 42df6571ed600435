package takeover

import (
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// Node is what is known of one node that could run a service.
type Node struct {
	ID           view.NodeID
	Name, Zone   string
	Capabilities []string
	Data         []string // that it holds
	Used         []int    // of each resource, in per mille
	Trouble      bool     // its hardware is about to fail
	Refuses      bool     // its mode does not allow the service for now
	Penalised    bool     // it has failed to run the service lately
	Runs         bool     // it leads and runs it, or is about to: what it uses is the service's own
}

// LackKind says what keeps a node from standing.
type LackKind uint8

const (
	LackCapability LackKind = iota
	LackZone
	LackData
	LackHeadroom
	LackHealth     // its hardware is in trouble
	LackPermission // its mode does not allow the service
	LackStop       // a former run has not ended
	LackPlan       // it was withdrawn
)

// Lack is one reason why a node does not stand.
type Lack struct {
	Kind LackKind
	What string // which capability or data it lacks; the zone in which it is
	Used int    // LackHeadroom: the most that is used of a resource, in per mille
}

// Lacks returns all that keeps a node from running the service.
func (p Plan) Lacks(n Node) []Lack {
	lacks := p.lackingNeeds(n)
	if used := n.mostUsed(); used > wholeUse-orDefault(p.Needs.Headroom, headroom) && !n.Runs {
		lacks = append(lacks, Lack{Kind: LackHeadroom, Used: used})
	}
	if n.Trouble {
		lacks = append(lacks, Lack{Kind: LackHealth})
	}
	if n.Refuses {
		lacks = append(lacks, Lack{Kind: LackPermission})
	}
	return lacks
}

// lackingNeeds returns what a node lacks that does not change by the minute.
func (p Plan) lackingNeeds(n Node) (lacks []Lack) {
	for _, w := range p.Needs.Capabilities {
		if !slices.Contains(n.Capabilities, w) {
			lacks = append(lacks, Lack{Kind: LackCapability, What: w})
		}
	}
	if len(p.Needs.Zones) > 0 && !slices.Contains(p.Needs.Zones, n.Zone) {
		lacks = append(lacks, Lack{Kind: LackZone, What: n.Zone})
	}
	for _, w := range p.Needs.Data {
		if !slices.Contains(n.Data, w) {
			lacks = append(lacks, Lack{Kind: LackData, What: w})
		}
	}
	return lacks
}

func (n Node) mostUsed() (used int) {
	for _, u := range n.Used {
		used = max(used, min(u, wholeUse))
	}
	return used
}

// Preference orders the nodes that stand, the highest first; 0 does not stand. Before
// all else counts who runs the service, so that nothing but its leader's own decision moves
// it. Then counts who is not penalised, then the plan's order, then the least use.
type Preference uint32

// Peer is another node in contact that could run the service, and the preference that it
// has told.
type Peer struct {
	ID         view.NodeID
	Name       string
	Preference Preference
}

// useSteps is in how many steps use is told apart: not every change is worth telling.
const useSteps = 20

// Prefer returns a node's preference.
func (p Plan) Prefer(n Node) Preference {
	if len(p.Lacks(n)) > 0 {
		return 0
	}
	return p.preferFit(n)
}

// preferFit returns the preference of a node, whatever it lacks.
func (p Plan) preferFit(n Node) Preference {
	var runs, sound, free int
	if n.Runs {
		runs = 1
	}
	if !n.Penalised {
		sound = 1
	}
	rank := p.rankOf(n.Name)
	if rank == 0 {
		free = (wholeUse - n.mostUsed()) * useSteps / wholeUse
	}
	pref := runs
	pref = pref*2 + sound
	pref = pref*ranks + rank
	pref = pref*(useSteps+1) + free
	return Preference(pref + 1)
}

const ranks = maxBackups + 2

// isSound tells whether a node that stands is not penalised.
func (p Preference) isSound() bool { return p > 0 && (p-1)/(ranks*(useSteps+1))%2 == 1 }

// rankOf returns a node's place in the plan's order, the primary's being the highest; 0 is
// that of all whom the plan does not name.
func (p Plan) rankOf(name string) int {
	if name != "" && name == p.Primary {
		return maxBackups + 1
	}
	if i := slices.Index(p.Backups, name); i >= 0 && i < maxBackups {
		return maxBackups - i
	}
	return 0
}

// better returns the one that the plan places highest of those that stand and are not
// penalised, if it places it before the node of that name. Use alone makes none better: what
// runs well is not moved for it.
func (p Plan) better(than string, peers []Peer) (best view.NodeID) {
	high := p.rankOf(than)
	for _, o := range peers {
		if rank := p.rankOf(o.Name); rank > high && o.Preference.isSound() {
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
