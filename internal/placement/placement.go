// Package placement maps shards to the nodes that should hold them (protocol
// B.4 in internal/README.md). The result is a pure function of the set of nodes: not of their
// order, not of who is alive, not of how the set came about, and the same on
// every architecture (integers only).
//
// Each zone has a consistent-hashing ring with bounded loads
// (github.com/buraksezer/consistent) of its nodes. A shard ranks the zones by
// capacity-weighted rendezvous and takes the owner of its slot in the ring of
// each zone in turn, so copies lie in different zones, and a join or leave
// changes at most one home of a shard while there are at least as many zones
// as copies. Where copies outnumber zones the walk goes round again over
// further, salted rings of each zone, skipping nodes already taken, and at
// last over the rest by rendezvous.
package placement

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/skeinmesh/skein/mesh/view"
)

// MaxShards is the largest number of shards a mesh may have.
const MaxShards = 1 << 16

// ErrShards: the number of shards is not in 1..MaxShards.
var ErrShards = errors.New("placement: bad number of shards")

// Node is what placement knows of a storing node. A weight outside 1..8 counts
// as the nearest in it. Nodes with the ID 0 are left out; of several with one
// ID the least counts. Names should differ: of equal ones the lowest ID keeps
// its place and the others get one of their own.
type Node struct {
	ID         view.NodeID
	Name, Zone string
	Weight     int
}

// Map is the placement for one set of nodes. Its methods may be called
// concurrently, except With (see there). Use a Table on hot paths.
type Map struct {
	shards    int
	nodes     []node // sorted by ID
	zones     []zone // sorted by name
	ringCache *ringCache
}

type node struct {
	id     view.NodeID
	key    string // the name, made unique
	hash   uint64 // of key
	weight int
}

type zone struct {
	name string
	hash uint64 // of name

	capacity int       // sum of the nodes' weights
	octave   int       // capacity relative to the other zones', see octave
	nodes    []int     // indices into Map.nodes, ascending
	rings    [][]int32 // per salt: shard -> index of the owner; none: by rendezvous
}

// New returns the placement of shards on nodes. The only error is ErrShards;
// any set of nodes will do, none included.
func New(nodes []Node, shards int) (*Map, error) {
	if shards < 1 || shards > MaxShards {
		return nil, fmt.Errorf("%w: %d is not in 1..%d", ErrShards, shards, MaxShards)
	}
	return buildMap(nodes, shards, newRingCache()), nil
}

// With returns the placement for another set of nodes: what New returns for
// it, for the price of the difference, since the rings are kept. The receiver
// stays valid. Calls of With on a Map and on the maps made from it must not
// overlap.
func (m *Map) With(nodes []Node) *Map { return buildMap(nodes, m.shards, m.ringCache) }

func buildMap(in []Node, shards int, k *ringCache) *Map {
	m := &Map{shards: shards, ringCache: k}
	zones := map[string][]int{}
	for _, n := range canonicalNodes(in) {
		zones[n.Zone] = append(zones[n.Zone], len(m.nodes))
		m.nodes = append(m.nodes, node{id: n.ID, key: n.Name, weight: n.Weight})
	}
	uniqueKeys(m.nodes)
	var capacities []int
	for name, members := range zones {
		z := zone{name: name, hash: xxhash.Sum64String(name), nodes: members}
		for _, n := range members {
			z.capacity += m.nodes[n].weight
		}
		m.zones = append(m.zones, z)
		capacities = append(capacities, z.capacity)
	}
	slices.Sort(capacities)
	for i := range m.zones {
		z := &m.zones[i]
		z.octave = octaveOf(z.capacity, capacities[(len(capacities)-1)/2])
	}
	slices.SortFunc(m.zones, func(a, b zone) int { return cmp.Compare(a.name, b.name) })
	k.updateRings(m)
	return m
}

// octaveOf tells by how many powers of two a zone is larger or smaller than the
// middle one: 0 within a half and the double, so that the nodes of a zone half
// as large as the middle one may hold up to twice their share.
//
// A weight that grew with every node would pull shards into the whole zone
// each time one joins it, on top of those the newcomer takes over there: 1.6
// times the ideal for the 11th node of one of five zones. Zones that grow
// side by side keep their octaves, and pay nothing.
func octaveOf(capacity, middle int) int {
	k := 0
	for ; capacity > 2*middle && k < maxOctave; k++ {
		middle *= 2
	}
	for ; 2*capacity < middle && k > -maxOctave; k-- {
		capacity *= 2
	}
	return k
}

// canonicalNodes returns the nodes sorted by ID, each once, with weights in range.
func canonicalNodes(in []Node) []Node {
	nodes := make([]Node, 0, len(in))
	for _, n := range in {
		if n.ID != 0 {
			n.Weight = min(max(n.Weight, 1), maxWeight)
			nodes = append(nodes, n)
		}
	}
	slices.SortFunc(nodes, func(a, b Node) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Weight, b.Weight))
	})
	return slices.CompactFunc(nodes, func(a, b Node) bool { return a.ID == b.ID })
}

// uniqueKeys gives every node a name of its own in the rings; nodes are
// sorted by ID.
func uniqueKeys(nodes []node) {
	taken := make(map[string]bool, len(nodes))
	for i := range nodes {
		n := &nodes[i]
		for taken[n.key] {
			n.key += "\x00" + n.id.String()
		}
		taken[n.key] = true
		n.hash = xxhash.Sum64String(n.key)
	}
}

// Shards returns the number of shards.
func (m *Map) Shards() int { return m.shards }

// Len returns the number of nodes.
func (m *Map) Len() int { return len(m.nodes) }

// ShardOf returns the shard of a bucket's key.
func (m *Map) ShardOf(bucket uint64, key string) int { return ShardOf(bucket, key, m.shards) }

// ShardOf returns the shard, of so many, of a bucket's key.
func ShardOf(bucket uint64, key string, shards int) int {
	var d xxhash.Digest
	d.Reset()
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], bucket)
	_, _ = d.Write(b[:])
	_, _ = d.WriteString(key)
	return int(d.Sum64() % uint64(shards))
}

// Homes returns the nodes that should hold copies copies of the shard, alive
// or not, in order of rank; fewer if there are fewer nodes. Nodes in the zones
// of prefer come first. It is a prefix of Order. The slice is the caller's.
func (m *Map) Homes(shard, copies int, prefer []string) []view.NodeID {
	return m.newWalk(prefer).firstNodes(shard, min(max(copies, 0), len(m.nodes)))
}

// Order returns all nodes in the order in which they are to stand in for the
// shard: its homes, for any number of copies, then those that act or keep
// hints while homes are away. The slice is the caller's.
func (m *Map) Order(shard int, prefer []string) []view.NodeID {
	return m.newWalk(prefer).firstNodes(shard, len(m.nodes))
}

// Lead returns the node among homes that leads the shard: the one with the
// highest rendezvous hash of (shard, name), 0 if there is none. Nodes that
// the map does not hold never lead.
func (m *Map) Lead(shard int, homes []view.NodeID) view.NodeID {
	draw := drawFor(shard, forLead)
	var lead view.NodeID
	var best uint64
	for _, id := range homes {
		i, ok := slices.BinarySearchFunc(m.nodes, id, func(n node, id view.NodeID) int { return cmp.Compare(n.id, id) })
		if !ok {
			continue
		}
		if s := draw.scoreOf(m.nodes[i].hash, 1); lead == 0 || s > best || s == best && id < lead {
			lead, best = id, s
		}
	}
	return lead
}

// Table is the homes of all shards for one number of copies and one set of
// preferred zones. It is never changed and may be shared freely.
type Table struct {
	homes []view.NodeID // copies per shard
	lead  []view.NodeID
	width int
}

// Table works out the homes and leads of all shards.
func (m *Map) Table(copies int, prefer []string) *Table {
	t := &Table{width: min(max(copies, 0), len(m.nodes))}
	t.homes = make([]view.NodeID, 0, t.width*m.shards)
	t.lead = make([]view.NodeID, m.shards)
	w := m.newWalk(prefer)
	for s := range m.shards {
		t.homes = append(t.homes, w.firstNodes(s, t.width)...)
		t.lead[s] = m.Lead(s, t.Homes(s))
	}
	return t
}

// Homes returns what Map.Homes does. The slice is the table's: do not write
// to it.
func (t *Table) Homes(shard int) []view.NodeID {
	return t.homes[shard*t.width : (shard+1)*t.width : (shard+1)*t.width]
}

// Lead returns the home that leads the shard, 0 if it has none.
func (t *Table) Lead(shard int) view.NodeID { return t.lead[shard] }
