package split

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

const (
	maxNodes   = 7
	notice     = 6  // ticks in which a node notices at most what its attempts and gossip show
	listAfter  = 3  // ticks more until a member that is not reached is in the row at most
	delay      = 3  // ticks that a message takes at most
	every      = 6  // ticks between two messages of a node, if nothing changes
	restart    = 5  // ticks between the end of a process and the next at least
	settled    = 70 // ticks after which all must be known
	uncertain  = 25 // ticks before a loss in which its cause may lie
	lossChance = 0.2
)

// world is a mesh of simulated truth: processes, and links one way each. A tick
// is a second. The nodes know of it only what they notice, late, and what they
// tell each other, late, out of order and with losses.
type world struct {
	rng   *rand.Rand
	seed  uint64
	now   int
	nodes []*simNode
	up    [maxNodes][maxNodes]bool // from, to
	path  [maxNodes][maxNodes]bool // what gossip goes along: direction counts
	quick bool                     // rows drop at once whom gossip gives up, against the advice
	fails bool                     // members never met become Failed, not Unknown
	post  [][]message              // by the tick it comes, modulo its length
	err   error

	verdicts, suspicions, relayed int // what the run has seen
}

type simNode struct {
	running   bool
	boot      uint64
	processes []process // by boot, from 1
	revive    int       // when the operating system starts it again; 0: it does not
	zone      string

	// What the process knows; lost with it.
	peers   [maxNodes]peer
	row     Row
	said    int // when it sent its last message
	rows    Rows
	lives   map[view.NodeID]Life
	made    [maxNodes]int
	watcher *Watcher
	changed bool
}

// process is when a process began and ended; 0: it runs.
type process struct{ began, ended int }

func (n *simNode) began() int { return n.processes[n.boot-1].began }

// peer is what one node believes of another.
type peer struct {
	direct, gossip     bool // what was noticed
	directAt, gossipAt int  // when the truth will be noticed; 0: it is
	listAt, unlistAt   int
	listed             bool
	state              view.State
	boot               uint64
}

type message struct {
	from, to int
	made     int
	boot     uint64
	row      Row
	uptime   int
}

func newWorld(seed uint64) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 27)), seed: seed, post: make([][]message, delay+1)}
	n := 2 + w.rng.IntN(maxNodes-1)
	w.quick, w.fails = w.rng.IntN(2) == 0, w.rng.IntN(2) == 0
	for i := range n {
		w.nodes = append(w.nodes, &simNode{zone: []string{"", "a", "b"}[w.rng.IntN(3)]})
		w.start(i)
	}
	w.heal()
	return w
}

func id(i int) view.NodeID { return view.NodeID(i + 1) }

func at(tick int) time.Duration { return time.Duration(tick) * time.Second }

func (w *world) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("seed %d, tick %d: %s", w.seed, w.now, fmt.Sprintf(format, args...))
	}
}

// start starts the process of a node; it knows nobody.
func (w *world) start(i int) {
	old := w.nodes[i]
	w.nodes[i] = &simNode{
		running: true, boot: old.boot + 1, processes: append(old.processes, process{began: w.now}), zone: old.zone, said: w.now - w.rng.IntN(every),
		rows: Rows{}, lives: map[view.NodeID]Life{}, changed: true,
		watcher: New(Params{Window: at(2 * notice), VerdictWait: at(60)}),
	}
}

func (w *world) kill(i int) {
	n := w.nodes[i]
	n.running, n.processes[n.boot-1].ended = false, w.now
}

func (w *world) heal() {
	for a := range w.nodes {
		for b := range w.nodes {
			w.up[a][b] = true
		}
	}
}

// cut parts the nodes into sides; bridge reaches all of them, if it is one.
func (w *world) cut(side []int, bridge int) {
	for a := range w.nodes {
		for b := range w.nodes {
			w.up[a][b] = a == bridge || b == bridge || side[a] == side[b]
		}
	}
}

// mischief does one random thing to the mesh.
func (w *world) mischief() {
	n := len(w.nodes)
	a, b := w.rng.IntN(n), w.rng.IntN(n)
	switch w.rng.IntN(8) {
	case 0, 1:
		if w.nodes[a].running {
			w.kill(a)
		}
	case 2:
		if n := w.nodes[a]; n.running {
			w.kill(a)
			n.revive = w.now + restart + w.rng.IntN(2*restart)
		} else if n.revive == 0 && w.now-n.processes[n.boot-1].ended >= restart {
			w.start(a)
		}
	case 3, 4:
		side := make([]int, n)
		for i := range side {
			side[i] = w.rng.IntN(3)
		}
		w.cut(side, w.rng.IntN(2*n)) // half of the times without a bridge
	case 5:
		w.up[a][b] = a == b || !w.up[a][b]
	case 6:
		w.up[a][b], w.up[b][a] = a == b, a == b
	case 7:
		w.heal()
	}
}

// direct tells whether requests and answers pass between two running nodes.
func (w *world) direct(a, b int) bool {
	return w.nodes[a].running && w.nodes[b].running && w.up[a][b] && w.up[b][a]
}

// reachable returns the true component of a node.
func (w *world) reachable(from int) (ids []view.NodeID) {
	seen := make([]bool, len(w.nodes))
	seen[from] = true
	for todo := []int{from}; len(todo) > 0; todo = todo[1:] {
		ids = append(ids, id(todo[0]))
		for b := range w.nodes {
			if !seen[b] && w.direct(todo[0], b) {
				seen[b] = true
				todo = append(todo, b)
			}
		}
	}
	slices.Sort(ids)
	return ids
}

// routes works out where gossip goes.
func (w *world) routes() {
	n := len(w.nodes)
	for a := range n {
		for b := range n {
			w.path[a][b] = w.nodes[a].running && w.nodes[b].running && w.up[a][b]
		}
	}
	for via := range n {
		for a := range n {
			for b := range n {
				w.path[a][b] = w.path[a][b] || w.path[a][via] && w.path[via][b]
			}
		}
	}
}

// run lets ticks pass.
func (w *world) run(ticks int) {
	w.routes()
	for range ticks {
		if w.err != nil {
			return
		}
		w.now++
		for i, o := range w.nodes {
			if o.revive == w.now {
				w.start(i)
				w.routes()
			}
		}
		w.deliver()
		for i, o := range w.nodes {
			if o.running {
				w.observe(i, o)
				w.send(i, o)
			}
		}
		for i, o := range w.nodes {
			if o.running && (o.changed || at(w.now) >= o.watcher.Next()) {
				o.changed = false
				w.step(i, o)
			}
		}
	}
}

// observe lets a node notice what is true by now.
func (w *world) observe(i int, o *simNode) {
	for x := range w.nodes {
		if x == i {
			continue
		}
		p, truth, other := &o.peers[x], w.direct(i, x), w.nodes[x]
		if w.due(&p.directAt, p.direct, truth) {
			p.direct = truth
		}
		if p.direct && truth && (p.boot == 0 || w.rng.IntN(8) == 0 && (p.boot != other.boot || o.watcher.Next() != Never)) {
			w.call(o, x)
		}
		if w.due(&p.gossipAt, p.gossip, w.path[x][i]) {
			if p.gossip = w.path[x][i]; p.gossip && p.boot < other.boot {
				p.boot, o.changed = other.boot, true
			}
		}
		w.believe(o, p)
	}
}

// call lets a node hear from another in direct contact; the first one is a hello.
func (w *world) call(o *simNode, x int) {
	other := w.nodes[x]
	o.peers[x].boot = other.boot
	o.lives[id(x)] = Life{Boot: other.boot, Uptime: at(w.now - other.began()), At: at(w.now)}
	o.made[x], o.changed = w.now, true
}

// due tells whether a truth that differs from what was noticed is noticed now.
func (w *world) due(when *int, noticed, truth bool) bool {
	switch {
	case noticed == truth:
		*when = 0
	case *when == 0:
		*when = w.now + 1 + w.rng.IntN(notice)
	case w.now >= *when:
		*when = 0
		return true
	}
	return false
}

// believe draws the conclusions that package detect draws.
func (w *world) believe(o *simNode, p *peer) {
	state := p.state
	switch {
	case p.direct:
		state = view.Alive
	case p.gossip:
		state = view.Suspect
	case state != view.Unknown || w.fails && w.rng.IntN(20) == 0:
		state = view.Failed
	}
	if state != p.state {
		p.state, o.changed = state, true
	}
	switch {
	case state == view.Suspect && !p.listed && p.listAt == 0:
		p.listAt = w.now + w.rng.IntN(listAfter+1)
	case state == view.Failed && p.listed && p.unlistAt == 0:
		if p.unlistAt = w.now; !w.quick {
			p.unlistAt += 2 * notice
		}
	}
	switch {
	case state == view.Suspect:
		p.unlistAt = 0
		if p.listAt > 0 && w.now >= p.listAt {
			p.listed = true
		}
	case state == view.Alive || p.unlistAt > 0 && w.now >= p.unlistAt:
		p.listed, p.listAt, p.unlistAt = false, 0, 0
	}
}

// send sends the row and the report of a node along gossip.
func (w *world) send(i int, o *simNode) {
	var listed []view.NodeID
	for x := range w.nodes {
		if o.peers[x].listed {
			listed = append(listed, id(x))
		}
	}
	if row := NewRow(listed); !slices.Equal(row.Unreachable, o.row.Unreachable) {
		o.row, o.said = row, 0
	}
	if w.now-o.said < every {
		return
	}
	o.said = w.now
	for x := range w.nodes {
		if x == i || !w.path[i][x] || w.rng.Float64() < lossChance {
			continue
		}
		comes := (w.now + 1 + w.rng.IntN(delay)) % len(w.post)
		w.post[comes] = append(w.post[comes], message{
			from: i, to: x, made: w.now, boot: o.boot, row: o.row, uptime: w.now - o.began(),
		})
	}
}

func (w *world) deliver() {
	here := w.now % len(w.post)
	for _, m := range w.post[here] {
		o := w.nodes[m.to]
		if !o.running || o.made[m.from] >= m.made {
			continue
		}
		o.made[m.from] = m.made
		// A report alone matters only while a verdict waits for it.
		known := slices.Equal(o.rows[id(m.from)].Unreachable, m.row.Unreachable) && o.peers[m.from].boot >= m.boot
		o.changed = o.changed || !known || o.watcher.Next() != Never
		o.rows[id(m.from)] = m.row
		o.lives[id(m.from)] = Life{Boot: m.boot, Uptime: at(m.uptime), At: at(w.now)}
		o.peers[m.from].boot = max(o.peers[m.from].boot, m.boot)
	}
	w.post[here] = w.post[here][:0]
}

func (w *world) view(i int) view.View {
	v := view.View{Self: id(i), Members: make([]view.Member, len(w.nodes))}
	for x, n := range w.nodes {
		p := &w.nodes[i].peers[x]
		v.Members[x] = view.Member{ID: id(x), Zone: n.zone, Status: view.Active, State: p.state, Boot: p.boot}
	}
	v.Members[i].State = view.Alive
	return v
}
