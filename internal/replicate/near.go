package replicate

import (
	"cmp"
	"math/bits"
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// Distance is how far another store is.
type Distance struct {
	OtherZone bool
	RoundTrip time.Duration // 0: not known
}

// rankDistance ranks distances: what is in the same zone is nearer, then what answers sooner.
// Round trips of less than a millisecond, and those that differ by less than a factor of
// two, mostly count as equal: what differs there is chance, and to follow it would have one
// store serve all. What was not measured counts as the farthest of its zone.
func (d Distance) rankDistance() int {
	rank := 63
	if d.RoundTrip > 0 {
		rank = bits.Len64(uint64(d.RoundTrip / time.Millisecond))
	}
	if d.OtherZone {
		rank += 64
	}
	return rank
}

// NearestFirst returns the plan with the nearest homes first, those that are equally near
// in the order of the plan, and the stand-ins behind them as they were. It is for reads
// that one reply is enough for.
func (p Plan) NearestFirst(distance func(view.NodeID) Distance) Plan {
	type home struct {
		id   view.NodeID
		rank int
	}
	homes := make([]home, p.Homes)
	for i, id := range p.homeIDs() {
		homes[i].id = id
		if id != p.Self && p.Live(id) {
			homes[i].rank = distance(id).rankDistance()
		}
	}
	compare := func(a, b home) int { return cmp.Compare(a.rank, b.rank) }
	if slices.IsSortedFunc(homes, compare) {
		return p
	}
	slices.SortStableFunc(homes, compare)
	p.Order = slices.Clone(p.Order)
	for i := range homes {
		p.Order[i] = homes[i].id
	}
	return p
}

// AskOneFirst has the read ask the first store of its plan, and others only when that has
// said that it does not know the key, or has failed: as a rule one answer comes, and nothing
// from farther away. It is called before Start.
func (op *ReadOp) AskOneFirst() { op.oneFirst = true }
