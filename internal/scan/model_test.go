package scan

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

const (
	modelShards   = 4
	modelPatience = 20 * time.Millisecond
)

// model is a mesh as the stores have it, and a scanner that hears of changes later.
type model struct {
	t      *testing.T
	rng    *rand.Rand
	log    []string
	copies int

	nodes  []*modelNode
	purges []purgeUnderWay

	scan   *Scan
	now    time.Duration
	asked  []modelAsk
	seen   []Found
	gaps   map[int]int   // shards, and how many keys had come when they became gaps
	calm   bool          // no more than one store at a time is out of reach
	damage bool          // some records do not read
	back   time.Duration // when the last one came back
	sum    *tally

	lived map[string]uint64 // keys that live since before the scan, and their versions then
	dead  map[string]bool   // deleted before it
}

type modelNode struct {
	id       view.NodeID
	member   bool // by the roster
	up, cut  bool // cut: from the scanner, who may not know
	data     [modelShards]map[string]modelItem
	ready    [modelShards]bool
	seasoned [modelShards]bool
	home     [modelShards]bool // when it last looked
	heard    bool              // the scanner counts it as a member in reach
	kept     *keptRead         // between two pages
}

// keptRead is what a store has read ahead, and goes on with if what comes next fits.
type keptRead struct {
	data    [modelShards]map[string]modelItem
	vouched Shards
	shards  Shards
	next    Bounds
}

type modelItem struct {
	version uint64
	tomb    bool
}

type purgeUnderWay struct {
	node  *modelNode
	shard int
	key   string
	tomb  modelItem
}

type modelAsk struct {
	Ask
	page *Page // nil: not read yet
}

func (m *model) say(format string, args ...any) { m.log = append(m.log, fmt.Sprintf(format, args...)) }

func modelShard(key string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	return int(h.Sum32()>>8) % modelShards
}

// homes ranks members by a hash.
func (m *model) homes(shard int, member func(*modelNode) bool) []*modelNode {
	rank := func(n *modelNode) uint64 {
		return rand.NewPCG(uint64(n.id), uint64(shard)).Uint64()
	}
	var all []*modelNode
	for _, n := range m.nodes {
		if member(n) {
			all = append(all, n)
		}
	}
	slices.SortFunc(all, func(a, b *modelNode) int { return cmp.Compare(rank(a), rank(b)) })
	return all[:min(len(all), m.copies)]
}

func isMember(n *modelNode) bool { return n.member }

func (m *model) addNode() *modelNode {
	n := &modelNode{id: view.NodeID(len(m.nodes) + 1), member: true, up: true}
	for i := range n.data {
		n.data[i] = make(map[string]modelItem)
	}
	m.nodes = append(m.nodes, n)
	return n
}

// follow has each store look which shards are its own.
func (m *model) follow() {
	for shard := range modelShards {
		homes := m.homes(shard, isMember)
		for _, n := range m.nodes {
			is := slices.Contains(homes, n)
			if is != n.home[shard] {
				n.home[shard], n.ready[shard], n.seasoned[shard] = is, false, false
			}
		}
	}
}

func (n *modelNode) merge(shard int, key string, it modelItem) {
	if n.data[shard][key].version < it.version {
		n.data[shard][key] = it
	}
}

// write is on so many homes, if they are up, as make it acknowledged.
func (m *model) write(key string, it modelItem) bool {
	shard := modelShard(key)
	var up []*modelNode
	for _, n := range m.homes(shard, isMember) {
		if n.up {
			up = append(up, n)
		}
	}
	need := min(2, m.copies)
	if len(up) < need {
		return false
	}
	m.rng.Shuffle(len(up), func(i, j int) { up[i], up[j] = up[j], up[i] })
	for _, n := range up[:need+m.rng.IntN(len(up)-need+1)] {
		n.merge(shard, key, it)
	}
	return true
}

// sync brings a home what all others in reach have, and lets go of strays.
func (m *model) sync(n *modelNode, shard int) {
	if !n.up || !n.member {
		return
	}
	homes, met, all := m.homes(shard, isMember), 0, true
	for _, other := range m.nodes {
		if !other.member || other == n {
			continue
		}
		if all = all && other.up; !other.up {
			continue
		}
		if slices.Contains(homes, other) && other.seasoned[shard] {
			met++
		}
		for key, it := range other.data[shard] {
			n.merge(shard, key, it)
		}
	}
	if !n.home[shard] {
		m.letGo(n, shard, homes)
		return
	}
	need := len(homes) / 2
	if !n.seasoned[shard] {
		need = max(1, min(len(homes)/2+1, len(homes)-1))
	}
	if met >= need || all {
		n.ready[shard], n.seasoned[shard] = true, true
	}
}

func (m *model) letGo(n *modelNode, shard int, homes []*modelNode) {
	for key, it := range n.data[shard] {
		everywhere := true
		for _, h := range homes {
			everywhere = everywhere && h.up && h.data[shard][key].version >= it.version
		}
		if everywhere {
			delete(n.data[shard], key)
		}
	}
}

// purge has all stores acknowledge a tomb; they drop it one after the other.
func (m *model) purge(key string) {
	shard, top := modelShard(key), modelItem{}
	for _, n := range m.nodes {
		if n.member && !n.up {
			return
		}
		if it := n.data[shard][key]; n.member && it.version > top.version {
			top = it
		}
	}
	if !top.tomb {
		return
	}
	for _, n := range m.nodes {
		if n.member {
			n.merge(shard, key, top)
			m.purges = append(m.purges, purgeUnderWay{n, shard, key, top})
		}
	}
	m.rng.Shuffle(len(m.purges), func(i, j int) { m.purges[i], m.purges[j] = m.purges[j], m.purges[i] })
}

func (m *model) dropPurged() {
	if n := len(m.purges); n > 0 {
		p := m.purges[n-1]
		if m.purges = m.purges[:n-1]; p.node.data[p.shard][p.key] == p.tomb {
			delete(p.node.data[p.shard], p.key)
		}
	}
}

// plan is what the scanner knows.
func (m *model) plan() (out Plan) {
	out.Shards = make([]Shard, modelShards)
	for _, n := range m.nodes {
		if n.heard && n.member {
			out.Stores = append(out.Stores, n.id)
		}
	}
	for shard := range out.Shards {
		homes := m.homes(shard, isMember)
		sh := &out.Shards[shard]
		sh.Need = min(2, m.copies)
		for _, n := range m.nodes {
			if n.heard && slices.Contains(homes, n) {
				sh.Homes = append(sh.Homes, n.id)
			}
		}
	}
	return out
}

func (m *model) replan() {
	for _, n := range m.nodes {
		n.heard = n.member && n.up && !n.cut
	}
	m.say("replan")
	m.scan.Replan(m.plan(), m.now)
}

// node picks one that a condition holds for; nil if there is none.
func (m *model) node(is func(*modelNode) bool) *modelNode {
	var all []*modelNode
	for _, n := range m.nodes {
		if is(n) {
			all = append(all, n)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[m.rng.IntN(len(all))]
}

func (m *model) count(is func(*modelNode) bool) (n int) {
	for _, one := range m.nodes {
		if is(one) {
			n++
		}
	}
	return n
}

// disturb makes something happen.
func (m *model) disturb() {
	out := func(n *modelNode) bool { return n.member && (!n.up || n.cut) }
	in := func(n *modelNode) bool { return n.member && n.up && !n.cut }
	may := !m.calm || m.count(out) == 0 && m.now > m.back+2*modelPatience
	switch p := m.rng.IntN(12); {
	case p < 2 && may:
		if n := m.node(in); n != nil {
			m.say("%v killed", n.id)
			n.up, n.ready = false, [modelShards]bool{}
		}
	case p < 4 && may:
		if n := m.node(in); n != nil {
			m.say("%v cut off", n.id)
			n.cut = true
		}
	case p < 7:
		if n := m.node(out); n != nil {
			m.say("%v back", n.id)
			n.up, n.cut, m.back = true, false, m.now
			for shard := range modelShards {
				m.sync(n, shard)
			}
			if m.calm {
				m.replan()
			}
		}
	case p == 7 && !m.calm && len(m.nodes) < 9:
		m.say("%v joins", m.addNode().id)
		m.follow()
	case p == 8 && !m.calm:
		if n := m.node(in); n != nil && m.count(isMember) > 3 {
			m.say("%v leaves", n.id)
			n.member = false
			m.follow()
			for shard := range modelShards {
				for key, it := range n.data[shard] {
					for _, h := range m.homes(shard, isMember) {
						h.merge(shard, key, it)
					}
				}
				clear(n.data[shard])
			}
		}
	case p == 9:
		m.replan()
	default:
		if n := m.node(isMember); n != nil {
			m.sync(n, m.rng.IntN(modelShards))
		}
	}
}

func modelKey(i int) string { return fmt.Sprintf("%c%d\xff", 'a'+i%7, i) }

// change writes, deletes or purges a key.
func (m *model) change(keys int) {
	key := modelKey(m.rng.IntN(keys))
	switch m.rng.IntN(4) {
	case 0:
		if m.rng.IntN(2) == 0 {
			if delete(m.lived, key); m.write(key, modelItem{uint64(m.now), true}) {
				m.say("%q deleted", key)
			}
		}
	case 1, 2:
		if delete(m.dead, key); m.write(key, modelItem{uint64(m.now), false}) {
			m.say("%q written", key)
		}
	case 3:
		m.purge(key)
	}
}
