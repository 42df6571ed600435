package service

import (
	"slices"

	"github.com/skeinmesh/skein/mesh/view"
)

// Node is what is known of one node that could run a service.
type Node struct {
	ID           view.NodeID
	Name, Zone   string
	Capabilities []string
	Data         []string // that it holds
	Used         []int    // of each resource, in per mille
	Conditions   []string // that hold there
	Unserved     []string // services that the plan requires, and nobody in reach leads
	Procedures   []string // that it has
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
	LackCondition  // a condition holds that the plan names
	LackPermission // its mode does not allow the service
	LackStop       // a former run has not ended
	LackPlan       // it was withdrawn, or a plan of the other mode counts
	LackService    // another one that is required is not served
	LackProcedure
)

// Lack is one reason why a node does not stand.
type Lack struct {
	Kind LackKind
	What string // which capability, data, service or procedure it lacks, or condition holds; the zone in which it is
	Used int    // LackHeadroom: the most that is used of a resource, in per mille
}

// Lacks returns all that keeps a node from running the service.
func (p Plan) Lacks(n Node) []Lack {
	lacks := p.lackingNeeds(n)
	if used := n.MostUsed(); used > WholeUse-orDefault(p.Needs.Headroom, headroom) && !n.Runs {
		lacks = append(lacks, Lack{Kind: LackHeadroom, Used: used})
	}
	if !n.Runs {
		for _, name := range n.Unserved {
			lacks = append(lacks, Lack{Kind: LackService, What: name})
		}
	}
	for k := range StepCount {
		for _, name := range p.ProceduresOf(k) {
			if !slices.Contains(n.Procedures, name) {
				lacks = append(lacks, Lack{Kind: LackProcedure, What: name})
			}
		}
	}
	for _, c := range p.Conditions {
		if slices.Contains(n.Conditions, c) {
			lacks = append(lacks, Lack{Kind: LackCondition, What: c})
		}
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

// MostUsed returns how much is used of the resource of which the most is, in per mille.
func (n Node) MostUsed() (used int) {
	for _, u := range n.Used {
		used = max(used, min(u, WholeUse))
	}
	return used
}
