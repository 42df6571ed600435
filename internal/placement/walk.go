package placement

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/skeinmesh/skein/mesh/view"
)

// What a rendezvous hash is drawn for: independent draws for each purpose.
const (
	forZone uint64 = iota + 1
	forNode
	forLead
)

// draw hashes names for one shard and purpose.
type draw uint64

func drawFor(shard int, purpose uint64) draw { return draw(mix(purpose<<32 | uint64(uint32(shard)))) }

// scoreOf returns the score of a name of weight w: the highest of w draws. The
// highest wins, so each name wins in proportion to its weight, and a weight
// that changes moves only what it wins or loses (weighted rendezvous hashing,
// in integers: logarithms differ between architectures).
func (d draw) scoreOf(hash uint64, w int) uint64 {
	var best uint64
	for i := range uint64(w) {
		best = max(best, mix(hash^uint64(d)+i*0x9e3779b97f4a7c15))
	}
	return best
}

// maxOctave bounds how much zones may differ in weight: 64 to 1 either way.
const maxOctave = 6

// arrivalTime returns when a name arrives whose speed is 2^octave: an exponential
// variate of that rate (weighted rendezvous hashing). The first wins. Only
// ratios of speeds matter: the order is the same when all octaves change alike.
func (d draw) arrivalTime(hash uint64, octave int) uint64 {
	return negLog2(mix(hash^uint64(d))) << (maxOctave - octave)
}

// negLog2 returns -log2(u / 2^64) in units of 2^-32, at most 2^38, bit by bit
// from repeated squares: integers only, since logarithms of floats differ
// between architectures.
func negLog2(u uint64) uint64 {
	u |= 1
	zeros := bits.LeadingZeros64(u)
	y := u << zeros // in [1, 2), 63 bits behind the point
	var fraction uint64
	for range 32 {
		hi, lo := bits.Mul64(y, y)
		fraction <<= 1
		if hi>>63 == 1 {
			fraction |= 1
			y = hi
		} else {
			y = hi<<1 | lo>>63
		}
	}
	return uint64(zeros+1)<<32 - fraction
}

// mix is the finalizer of splitmix64, a bijection.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// shortWalk is up to how many nodes it is cheaper to look for each in turn
// than to sort all.
const shortWalk = 8

// walk goes through the nodes of shard after shard in order of rank.
type walk struct {
	m      *Map
	prefer map[string]bool
	zones  []zoneWalk
	taken  []bool // by node
}

type zoneWalk struct {
	*zone
	preferred bool
	arrival   uint64   // in the race of the zones
	ring      int      // next salted ring to ask
	rest      []ranked // what is left, best first, once it was sorted
	sorted    bool
}

type ranked struct {
	node  int
	score uint64
}

func (m *Map) newWalk(prefer []string) *walk {
	w := &walk{m: m, zones: make([]zoneWalk, len(m.zones)), taken: make([]bool, len(m.nodes))}
	if len(prefer) > 0 {
		w.prefer = make(map[string]bool, len(prefer))
		for _, z := range prefer {
			w.prefer[z] = true
		}
	}
	return w
}

// firstNodes returns the first count nodes for the shard.
func (w *walk) firstNodes(shard, count int) []view.NodeID {
	clear(w.taken)
	w.rankZones(shard)
	out := make([]view.NodeID, 0, count)
	for len(out) < count {
		before := len(out)
		for i := 0; i < len(w.zones) && len(out) < count; i++ {
			if n := w.nextNode(&w.zones[i], shard, count); n >= 0 {
				w.taken[n] = true
				out = append(out, w.m.nodes[n].id)
			}
		}
		if len(out) == before {
			break
		}
	}
	return out
}

// rankZones sorts the zones for the shard: preferred ones first, then by
// rendezvous weighted by their octaves.
func (w *walk) rankZones(shard int) {
	d := drawFor(shard, forZone)
	for i := range w.m.zones {
		z := &w.m.zones[i]
		w.zones[i] = zoneWalk{zone: z, preferred: w.prefer[z.name], arrival: d.arrivalTime(z.hash, z.octave)}
	}
	slices.SortFunc(w.zones, func(a, b zoneWalk) int {
		if a.preferred != b.preferred {
			if a.preferred {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.arrival, b.arrival), cmp.Compare(a.name, b.name))
	})
}

// nextNode returns the next node of the zone for the shard, -1 if all are taken.
func (w *walk) nextNode(z *zoneWalk, shard, count int) int {
	for z.ring < len(z.rings) {
		n := int(z.rings[z.ring][shard])
		z.ring++
		if !w.taken[n] {
			return n
		}
	}
	d := drawFor(shard, forNode)
	if count <= shortWalk {
		return w.bestNode(z, d)
	}
	if !z.sorted {
		w.sortRest(z, d)
	}
	if len(z.rest) == 0 {
		return -1
	}
	n := z.rest[0].node
	z.rest = z.rest[1:]
	return n
}

// bestNode finds the best node left; sort, for long walks, all of them.
func (w *walk) bestNode(z *zoneWalk, d draw) int {
	at, score := -1, uint64(0)
	for _, n := range z.nodes {
		if w.taken[n] {
			continue
		}
		if s := d.scoreOf(w.m.nodes[n].hash, w.m.nodes[n].weight); at < 0 || s > score {
			at, score = n, s
		}
	}
	return at
}

func (w *walk) sortRest(z *zoneWalk, d draw) {
	z.sorted = true
	for _, n := range z.nodes {
		if !w.taken[n] {
			z.rest = append(z.rest, ranked{n, d.scoreOf(w.m.nodes[n].hash, w.m.nodes[n].weight)})
		}
	}
	slices.SortFunc(z.rest, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.node, b.node))
	})
}
