package retain

import "time"

// FaultKind is what is wrong with a chain.
type FaultKind int

// The faults. What is named beside them is usable.
const (
	Unreadable FaultKind = iota + 1 // the manifest cannot be read, or does not verify
	Missing                         // points before this one are not there, and too young to have been deleted
	Unlinked                        // the point names another one before it than is there
	Forked                          // there are two different ones of this number
	RolledBack                      // this point was known, and nothing as new is there
)

// ChainFault is one fault, at one point.
type ChainFault struct {
	Kind  FaultKind
	Point PointID
	First uint64 // the first of those that are Missing
}

// CheckChains finds rollbacks, truncations and forks: in points listed at any tiers, and against the
// newest ones that are known of nodes and policies. now and keep tell what may have been deleted
// rightly.
func CheckChains(points, known []Point, keep map[string]Keep, now time.Time) (faults []ChainFault) {
	all := datePoints(points, now)
	for i, p := range all {
		var before dated // of the same chain
		var seq uint64
		if i > 0 && p.isSameChain(all[i-1].PointID) {
			before, seq = all[i-1], all[i-1].Seq
		}
		add := func(kind FaultKind, first uint64) { faults = append(faults, ChainFault{kind, p.PointID, first}) }
		isLinked := p.Seq == 1 && p.Previous == [32]byte{} || before.Point != nil && (before.Fault != nil || p.Previous == before.Hash)
		life := keep[p.Policy].For
		switch {
		case p.Fault != nil:
			add(Unreadable, 0)
		case before.Point != nil && p.Seq == seq && before.Fault == nil && p.Hash != before.Hash:
			add(Forked, 0)
		case p.Seq <= seq:
		case p.Seq == seq+1 && !isLinked:
			add(Unlinked, 0)
		case p.Seq > seq+1 && (life <= 0 || now.Sub(p.to) < life):
			add(Missing, seq+1)
		}
	}
	for _, k := range known {
		isThere := false
		for _, p := range all {
			isSame := p.PointID == k.PointID
			if isSame && p.Fault == nil && p.Hash != k.Hash {
				faults = append(faults, ChainFault{Forked, k.PointID, 0})
			}
			isLater := p.isSameChain(k.PointID) && p.Seq >= k.Seq || p.Policy == k.Policy && p.Node == k.Node && p.from.After(k.Time)
			isThere = isThere || isLater
		}
		if !isThere {
			faults = append(faults, ChainFault{RolledBack, k.PointID, 0})
		}
	}
	return faults
}
