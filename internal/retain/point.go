package retain

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// clockError is by how much the clocks of nodes and tiers may differ.
const clockError = 24 * time.Hour

// firstDate is before any backup: a clock that says less was never set.
var firstDate = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// PointID names a point and its manifest.
type PointID struct {
	Node       view.NodeID
	Chain, Seq uint64 // the first one of a chain is 1
}

func (id PointID) String() string { return fmt.Sprintf("%v/%016x/%016x", id.Node, id.Chain, id.Seq) }

func (id PointID) compareTo(o PointID) int {
	return cmp.Or(cmp.Compare(id.Node, o.Node), cmp.Compare(id.Chain, o.Chain), cmp.Compare(id.Seq, o.Seq))
}

func (id PointID) isSameChain(o PointID) bool { return id.Node == o.Node && id.Chain == o.Chain }

// SegmentID names a segment. A point names segments of its own chain only.
type SegmentID struct {
	Node  view.NodeID
	Chain uint64
	ID    [16]byte
}

// Slice is the items of one bucket in one shard.
type Slice struct {
	Bucket string
	Shard  uint32
}

// Point is what a manifest tells of itself.
type Point struct {
	PointID
	Fault    error // it cannot be read, or does not verify: beside this PointID, Tier and Put hold
	Tier     int   // where it is; the lowest number is the one to restore from
	Policy   string
	Time     time.Time  // when it began, by its node's clock
	Put      time.Time  // by the clock of the tier, zero if it has none: counts where Time is wrong
	Segments [][16]byte // all that a restore to it needs
	Slices   []Slice    // needed by ChoosePoints alone

	Hash, Previous [32]byte // of this manifest and the one before
}

func (p *Point) segment(i int) SegmentID { return SegmentID{p.Node, p.Chain, p.Segments[i]} }

// dated is a point, and between what times it was made.
type dated struct {
	*Point
	from, to time.Time // equal where a clock was right
}

// isPossible tells whether a clock that says t was set, and may have been right by now.
func isPossible(t, now time.Time) bool {
	return !t.Before(firstDate) && !t.After(now.Add(clockError))
}

// datePoints orders points by chain and number and dates them. A clock was wrong that lies ahead of
// now or behind an earlier point of the chain. Then a point was made before the next one of which a
// clock was right, or may have been made now.
func datePoints(points []Point, now time.Time) []dated {
	all := make([]dated, len(points))
	for i := range points {
		all[i].Point = &points[i]
	}
	slices.SortStableFunc(all, func(a, b dated) int { return a.compareTo(b.PointID) })
	for i := range all {
		p := &all[i]
		if i > 0 && p.isSameChain(all[i-1].PointID) {
			p.from = all[i-1].from
		}
		for _, t := range []time.Time{p.Time, p.Put} {
			if p.to.IsZero() && !t.Before(p.from) && isPossible(t, now) {
				p.from, p.to = t, t
			}
		}
	}
	for i := len(all) - 1; i >= 0; i-- {
		switch p := &all[i]; {
		case !p.to.IsZero():
		case i+1 < len(all) && p.isSameChain(all[i+1].PointID):
			p.to = all[i+1].to
		default:
			p.to = now
		}
	}
	return all
}
