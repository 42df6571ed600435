package watch

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

const (
	modelShards   = 4
	modelKeys     = 24
	modelBeat     = 10 * time.Millisecond
	modelPatience = 25 * time.Millisecond
	modelRing     = 12 // entries
)

// model is a mesh as the stores have it, and watchers that hear of changes later.
type model struct {
	t      *testing.T
	rng    *rand.Rand
	log    []string
	copies int
	now    time.Duration
	nodes  []*modelNode
	lastN  uint64
	wrote  map[string]time.Duration // when a key was changed last
	who    []*modelWatcher
	sum    *tally
}

type modelNode struct {
	id          view.NodeID
	member      bool // by the roster
	up, cut     bool // cut: from the watchers, who may not know
	heard       bool // the watchers count it as a member in contact
	epoch, last uint64
	ring        *Ring
	data        map[string]version.Item
	seasoned    [modelShards]bool // what it lacks as a home is unknown
	ended       map[string]version.Context
	ending      []modelEnd              // ends that were read and are not in the ring yet
	endsSince   uint64                  // where the ring was when they were read
	kept        map[uint64]version.Item // by number in the ring: those that are small
}

type modelEnd struct {
	key string
	it  version.Item
}

// say notes what happens, if somebody is to read it.
func (m *model) say(format string, args ...any) {
	if *seed == 0 {
		return
	}
	m.log = append(m.log, fmt.Sprintf("%v ", m.now)+fmt.Sprintf(format, args...))
}

func modelKey(i int) string { return "k" + string(rune('a'+i)) }

func modelShard(key string) int {
	return int(key[1]*7>>2) % modelShards
}

// homes ranks members by a hash.
func (m *model) homes(shard int) []*modelNode {
	rank := func(n *modelNode) uint64 { return rand.NewPCG(uint64(n.id), uint64(shard)).Uint64() }
	all := slices.DeleteFunc(slices.Clone(m.nodes), func(n *modelNode) bool { return !n.member })
	slices.SortFunc(all, func(a, b *modelNode) int { return int(rank(a)%1000) - int(rank(b)%1000) })
	return all[:min(len(all), m.copies)]
}

func (m *model) isHome(n *modelNode, shard int) bool { return slices.Contains(m.homes(shard), n) }

func (m *model) addNode() *modelNode {
	n := &modelNode{id: view.NodeID(len(m.nodes) + 1), member: true, up: true, data: make(map[string]version.Item)}
	m.nodes = append(m.nodes, n)
	n.startRing()
	return n
}

func (n *modelNode) startRing() {
	n.last++
	n.epoch = uint64(n.id)<<32 | n.last
	n.ring, n.ended, n.ending, n.kept = NewRing(modelRing, 1<<20), make(map[string]version.Context), nil, make(map[uint64]version.Item)
}

// merge is a commit.
func (m *model) merge(n *modelNode, key string, it version.Item) {
	old := n.data[key]
	merged := version.Merge(old, it)
	if !merged.Equal(old) {
		n.data[key] = merged
		n.ring.Append(Entry{Key: key, Shard: modelShard(key)})
		if m.rng.IntN(3) > 0 {
			n.kept[n.ring.Head()] = merged
		}
	}
}

// isLive tells what a reader sees. Values end by their Expire, which is in milliseconds.
func (m *model) isLive(it version.Item) bool {
	return slices.ContainsFunc(it.Sibs, func(s version.Sibling) bool { return !s.Deleted(version.At(m.now.Milliseconds())) })
}

func (m *model) dueOf(it version.Item) (due version.HLC) {
	for i := range it.Sibs {
		switch s := &it.Sibs[i]; {
		case s.Flags&version.Tomb != 0:
		case s.Expire == 0:
			return 0
		default:
			due = max(due, s.Expire)
		}
	}
	return due
}

// write is coordinated by one home, and reaches others at once, later or never.
func (m *model) write(key string, tomb bool) {
	up := slices.DeleteFunc(slices.Clone(m.homes(modelShard(key))), func(n *modelNode) bool { return !n.up })
	if len(up) == 0 {
		return
	}
	m.rng.Shuffle(len(up), func(i, j int) { up[i], up[j] = up[j], up[i] })
	n := up[0]
	m.lastN++
	old := n.data[key]
	a := version.Actor{Store: uint64(n.id), Session: n.last, Seq: uint32(m.lastN)}
	for _, e := range old.Ctx {
		if e.A.Store == uint64(n.id) && e.A.Session == n.last {
			a = e.A // it goes on with the birth that its record has
		}
	}
	dot := version.Dot{A: a, N: old.Ctx.Get(a) + 1}
	s := version.Sibling{Dot: dot, HLC: version.At(m.now.Milliseconds()) + version.HLC(m.lastN%1000)}
	switch {
	case tomb:
		s.Flags = version.Tomb
	case m.rng.IntN(4) == 0:
		s.Expire = version.At((m.now + time.Duration(20+m.rng.IntN(200))*time.Millisecond).Milliseconds())
	}
	it := version.Item{Ctx: old.Ctx.With(a, dot.N), HLC: max(old.HLC, s.HLC), Sibs: []version.Sibling{s}}
	m.say("%v writes %q: tomb %v, %v", n.id, key, tomb, dot)
	m.wrote[key] = m.now
	for _, to := range up[:1+m.rng.IntN(len(up))] {
		m.merge(to, key, it)
	}
}

// equalise merges all that two nodes have.
func (m *model) equalise(a, b *modelNode) {
	for i := range modelKeys {
		key := modelKey(i)
		if it := version.Merge(a.data[key], b.data[key]); !it.Unknown() {
			m.merge(a, key, it)
			m.merge(b, key, it)
		}
	}
}

// season makes a home that meets all others, or as many as quorums need, sure of what it lacks.
func (m *model) season(n *modelNode) {
	if !n.up || !n.member {
		return
	}
	all := true
	for _, other := range m.nodes {
		if other != n && other.member {
			if all = all && other.up; other.up {
				m.equalise(n, other)
			}
		}
	}
	for shard := range modelShards {
		n.seasoned[shard] = m.isHome(n, shard) && (all || n.seasoned[shard])
	}
}

// purge drops a tomb from all stores, of which none may be away.
func (m *model) purge(key string) {
	top := m.truth(key)
	if top.Unknown() || slices.ContainsFunc(top.Sibs, func(s version.Sibling) bool { return s.Flags&version.Tomb == 0 }) {
		return
	}
	for _, n := range m.nodes {
		if n.member && !n.up {
			return
		}
	}
	m.say("%q purged", key)
	for _, n := range m.nodes {
		if n.member {
			m.merge(n, key, top) // all acknowledge it
		}
	}
	for _, n := range m.nodes {
		delete(n.data, key)
	}
}

// truth is what all that belong to the mesh have together.
func (m *model) truth(key string) (it version.Item) {
	for _, n := range m.nodes {
		if n.member {
			it = version.Merge(it, n.data[key])
		}
	}
	return it
}

// endValues has each home note which of its records have ended: what it has read before.
func (m *model) endValues() {
	for _, n := range m.nodes {
		if !n.up {
			continue
		}
		for _, end := range n.ending {
			head := n.ring.Head()
			told := n.ring.AppendEnds([]Entry{{Key: end.key, Shard: modelShard(end.key), Kind: Ended}}, n.endsSince)
			if !told {
				delete(n.ended, end.key)
			}
			if n.ring.Head() > head && m.rng.IntN(2) == 0 {
				n.kept[n.ring.Head()] = end.it
			}
		}
		n.ending, n.endsSince = nil, n.ring.Head()
		for i := range modelKeys {
			key := modelKey(i)
			it := n.data[key]
			due := m.dueOf(it)
			if due == 0 || m.isLive(it) || !m.isHome(n, modelShard(key)) {
				continue
			}
			if was := n.ended[key]; !was.Includes(it.Ctx) {
				n.ended[key] = it.Ctx
				n.ending = append(n.ending, modelEnd{key, it})
			}
		}
	}
}

func (m *model) node(is func(*modelNode) bool) *modelNode {
	all := slices.DeleteFunc(slices.Clone(m.nodes), func(n *modelNode) bool { return !is(n) })
	if len(all) == 0 {
		return nil
	}
	return all[m.rng.IntN(len(all))]
}

func isUp(n *modelNode) bool { return n.member && n.up && !n.cut }

func isOut(n *modelNode) bool { return n.member && (!n.up || n.cut) }

// disturb makes something happen.
func (m *model) disturb() {
	switch p := m.rng.IntN(14); {
	case p < 2:
		if n := m.node(isUp); n != nil {
			m.say("%v killed", n.id)
			n.up = false
		}
	case p < 4:
		if n := m.node(isUp); n != nil {
			m.say("%v cut off", n.id)
			n.cut = true
		}
	case p < 8:
		if n := m.node(isOut); n != nil {
			m.bringBack(n)
		}
	case p == 8 && len(m.nodes) < 8:
		m.say("%v joins", m.addNode().id)
		m.loseHomes()
	case p == 9:
		if n := m.node(isUp); n != nil && len(m.homes(0)) >= m.copies && m.countMembers() > 3 {
			m.leave(n)
		}
	case p < 12:
		m.replan()
	default:
		if a, b := m.node(isUp), m.node(isUp); a != nil && a != b {
			m.equalise(a, b)
			m.season(a)
		}
	}
}

func (m *model) bringBack(n *modelNode) {
	m.say("%v back, was up %v", n.id, n.up)
	if !n.up {
		n.startRing()
	}
	n.up, n.cut = true, false
	m.season(n)
}

func (m *model) leave(n *modelNode) {
	m.say("%v leaves", n.id)
	for _, other := range m.nodes {
		if other.member && other != n {
			m.equalise(other, n)
		}
	}
	n.member = false
	m.loseHomes()
}

// loseHomes has those that are no homes any more vouch for nothing.
func (m *model) loseHomes() {
	for _, n := range m.nodes {
		for shard := range modelShards {
			n.seasoned[shard] = n.seasoned[shard] && m.isHome(n, shard)
		}
	}
}

func (m *model) countMembers() (n int) {
	for _, one := range m.nodes {
		if one.member {
			n++
		}
	}
	return n
}

// replan has the watchers look who is there.
func (m *model) replan() {
	for _, n := range m.nodes {
		n.heard = n.member && n.up && !n.cut
	}
	m.say("replan")
	for _, w := range m.who {
		w.core.Replan(m.plan(), m.now)
	}
}

// plan is what watchers know.
func (m *model) plan() Plan {
	plan := make(Plan, modelShards)
	for shard := range plan {
		for _, n := range m.homes(shard) {
			if n.heard {
				plan[shard] = append(plan[shard], n.id)
			}
		}
		for _, n := range m.nodes {
			if len(plan[shard]) == 0 && n.heard && n.member {
				plan[shard] = []view.NodeID{n.id}
			}
		}
	}
	return plan
}
