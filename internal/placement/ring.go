package placement

import (
	"strconv"

	"github.com/buraksezer/consistent"
	"github.com/cespare/xxhash/v2"
)

const (
	maxWeight = 8

	// ringLoad caps the shards of a ring member at so many times the mean,
	// and ringPoints is how many places each takes on the ring. Of loads 1.25
	// to 1.5 and 20, 50 or 100 points, these move the least, 0.9 to 1.1 of the
	// ideal, at the best balance; 20 points move up to 1.3.
	ringLoad   = 1.25
	ringPoints = 100

	// maxRing is how many members one ring may have. Building one costs the
	// square of that; a larger zone goes by rendezvous alone, which only
	// lacks the cap. Growing past it moves most of the zone's data once.
	maxRing = 256
	// maxSlots bounds shards times rings, and so memory, in the same way.
	maxSlots = 1 << 20
)

// ringsPerZone is how many salted rings each zone has when there are so many
// zones: three copies find a ring each. Beyond, the walk goes by rendezvous.
func ringsPerZone(zones int) int { return (3 + zones - 1) / zones }

// ringCache holds the rings from one Map to the next.
type ringCache struct {
	zones map[string][]*ring // by zone, then by salt
}

func newRingCache() *ringCache { return &ringCache{zones: map[string][]*ring{}} }

// updateRings brings the rings to the nodes of m and reads the owners off them.
func (k *ringCache) updateRings(m *Map) {
	old := k.zones
	k.zones = make(map[string][]*ring, len(m.zones))
	if len(m.zones) == 0 {
		return
	}
	rings := ringsPerZone(len(m.zones))
	if rings*len(m.zones)*m.shards > maxSlots {
		return
	}
	for i := range m.zones {
		z := &m.zones[i]
		members := map[member]int32{}
		for _, n := range z.nodes {
			for j := range m.nodes[n].weight {
				members[member(m.nodes[n].key+"#"+strconv.Itoa(j))] = int32(n)
			}
		}
		if len(z.nodes) == 1 || len(members) > maxRing {
			continue
		}
		have := old[z.name]
		for salt := range rings {
			if salt == len(have) {
				have = append(have, newRing(m.shards, salt))
			}
			if have[salt].setMembers(members) {
				z.rings = append(z.rings, have[salt].shardOwners(members))
			}
		}
		k.zones[z.name] = have[:rings]
	}
}

// member is one of a node's places in a ring: name#i for i below its weight.
type member string

func (m member) String() string { return string(m) }

// hasher is xxhash, permuted by a salt that is 0 for the first ring.
type hasher struct{ salt uint64 }

func (h hasher) Sum64(b []byte) uint64 {
	sum := xxhash.Sum64(b)
	if h.salt != 0 {
		sum = mix(sum ^ h.salt)
	}
	return sum
}

// ring is a ring of consistent that can be brought to any set of members.
type ring struct {
	shards  int
	hasher  hasher
	members map[member]int32 // only the keys matter
	ring    *consistent.Consistent

	// points counts the members at each point. Two at one point would make
	// the ring depend on its history, and make consistent panic when one of
	// them is removed; names that collide can be found on purpose.
	points map[uint64]int
	shared int // points with more than one member
}

func newRing(shards, salt int) *ring {
	return &ring{shards: shards, hasher: hasher{uint64(salt) * 0x9e3779b97f4a7c15}, points: map[uint64]int{}}
}

// setMembers brings the ring to the given members and tells whether they fit.
// consistent hands out all slots afresh at every change, from the points of
// the present members alone, so only the set matters and not the way to it.
func (r *ring) setMembers(members map[member]int32) bool {
	var gone, come []member
	for m := range r.members {
		if _, ok := members[m]; !ok {
			gone = append(gone, m)
		}
	}
	for m := range members {
		if _, ok := r.members[m]; !ok {
			come = append(come, m)
		}
	}
	r.members = members
	for _, m := range gone {
		r.countPoints(m, -1)
	}
	for _, m := range come {
		r.countPoints(m, +1)
	}
	switch {
	case r.shared > 0:
		r.ring = nil
		return false
	case r.ring == nil || len(gone)+len(come) > len(members)/8+4:
		r.buildTable()
	default:
		for _, m := range gone {
			r.ring.Remove(string(m))
		}
		for _, m := range come {
			r.ring.Add(m)
		}
	}
	return true
}

func (r *ring) buildTable() {
	all := make([]consistent.Member, 0, len(r.members))
	for m := range r.members {
		all = append(all, m)
	}
	r.ring = consistent.New(all, consistent.Config{
		Hasher: r.hasher, PartitionCount: r.shards, ReplicationFactor: ringPoints, Load: ringLoad,
	})
}

// countPoints counts the points of m, named as consistent names them.
func (r *ring) countPoints(m member, by int) {
	key := make([]byte, 0, 96)
	for i := range ringPoints {
		key = append(append(strconv.AppendInt(key[:0], int64(i), 10), ':'), m...)
		point := r.hasher.Sum64(key)
		was := r.points[point]
		now := was + by
		if now == 0 {
			delete(r.points, point)
		} else {
			r.points[point] = now
		}
		if max(was, now) == 2 {
			r.shared += by
		}
	}
}

// shardOwners returns the node that owns each shard.
func (r *ring) shardOwners(node map[member]int32) []int32 {
	out := make([]int32, r.shards)
	for s := range out {
		out[s] = node[r.ring.GetPartitionOwner(s).(member)]
	}
	return out
}
