package elect

import (
	"container/heap"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/split"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

const (
	component = iota
	majority
	elections
)

// world is a mesh of Elections on one simulated clock, with clocks of their own
// that drift, a network that loses, delays, reorders and doubles, crashes between
// any two effects, restarts, and machines that stand still while their clocks go
// on. It checks L1 to L5 at every event.
type world struct {
	t      testing.TB
	seed   uint64
	rng    *rand.Rand
	par    Params
	now    time.Duration
	queue  events
	serial uint64

	nodes []*node
	cut   [][]bool // messages from i to j do not arrive
	loss  float64
	quick bool // nothing takes long on its way
	swim  bool // whom others hear is suspected only, never failed, as with indirect probes

	stirred bool // an Election has taken a step, or a node goes on

	grants [elections]map[view.NodeID]held // by voter, as the world saw them leave
	reigns [elections][]past
	lapses [elections]lapse
	count  map[string]int
	trace  []string
}

// held is the last grant that a voter gave, until when by the world's clock.
type held struct {
	token token.Token
	until time.Duration
}

// lapse is a lease that a node lets run out, of which others must not lead before its end.
type lapse struct {
	of    *node
	life  int
	until time.Duration // by the world's clock
}

// past is a leadership that has begun, and the grants that it began with.
type past struct {
	token  token.Token
	voters map[view.NodeID]bool
}

type node struct {
	id       view.NodeID
	life     int // grows with each crash
	up       bool
	frozen   bool
	stopped  bool // its clock stands still, too
	since    time.Duration
	waiting  []func() // what arrived while it was frozen
	offset   time.Duration
	drift    float64
	disk     [elections]Durable
	writes   [elections]*Durable // under way to it
	sync     time.Duration       // what a write takes
	full     bool                // writes fail
	refs     map[uint64]func(Answer)
	e        [elections]*Election
	working  [elections]bool
	thawed   time.Duration // when it last ran again
	stands   bool
	storing  bool
	score    Score
	prefer   [elections]uint32
	notices  map[view.NodeID]notice
	mine     notice
	heard    map[view.NodeID]time.Duration // by the world's clock
	readyAt  time.Duration
	tickAt   [elections]time.Duration
	crashing int // effects after which it crashes; -1: it does not
}

// notice is what a node tells the others of itself.
type notice struct {
	life, seq int
	score     Score
	prefer    [elections]uint32
	stands    bool
	leads     [elections]token.Token
	unreached []view.NodeID
}

type event struct {
	at     time.Duration
	serial uint64
	fn     func()
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].serial < q[j].serial
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// beats returns the time between a node's looks at the others; who is not heard
// for four is suspected, for twelve failed.
func (w *world) beats() time.Duration { return min(w.par.Lease/4, 2*time.Second) }

func newWorld(t testing.TB, seed uint64, n int, par Params) *world {
	w := &world{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 4)), par: par, now: time.Hour, count: map[string]int{}}
	for e := range w.grants {
		w.grants[e] = map[view.NodeID]held{}
	}
	for i := range n {
		nd := &node{id: view.NodeID(i + 1), storing: n < 3 || i%4 != 3, drift: (w.rng.Float64() - 0.5) / 101, stands: true,
			offset: time.Duration(w.rng.Int64N(int64(1000 * time.Hour))), score: Score(1000 + w.rng.IntN(300))}
		w.nodes = append(w.nodes, nd)
		w.cut = append(w.cut, make([]bool, n))
	}
	for _, nd := range w.nodes {
		w.start(nd)
	}
	return w
}

func (w *world) logf(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%9.3f ", (w.now-time.Hour).Seconds())+fmt.Sprintf(format, args...))
}

func (w *world) fault(format string, args ...any) {
	w.t.Helper()
	for _, line := range w.trace[max(0, len(w.trace)-60):] {
		w.t.Log(line)
	}
	w.t.Fatalf("seed %d at %v: %s", w.seed, w.now-time.Hour, fmt.Sprintf(format, args...))
}

func (w *world) after(d time.Duration, fn func()) {
	w.serial++
	heap.Push(&w.queue, event{w.now + d, w.serial, fn})
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	end := w.now + d
	for len(w.queue) > 0 && w.queue[0].at <= end {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.fn()
		if w.stirred { // leases end by themselves, they do not begin so
			w.stirred = false
			w.check()
		}
	}
	w.now = end
}

// clock is what a node reads.
func (w *world) clock(nd *node) time.Duration {
	if nd.stopped {
		return nd.offset + time.Duration(float64(nd.since)*(1+nd.drift))
	}
	return nd.offset + time.Duration(float64(w.now)*(1+nd.drift))
}

// on has a node do something now, or when it runs again; never if it has crashed.
func (w *world) on(nd *node, life int, fn func()) {
	switch {
	case !nd.up || nd.life != life:
	case nd.frozen:
		nd.waiting = append(nd.waiting, func() { w.on(nd, life, fn) })
	default:
		fn()
	}
}

func (w *world) start(nd *node) {
	nd.up, nd.frozen, nd.waiting, nd.crashing = true, false, nil, -1
	nd.life++
	nd.refs = map[uint64]func(Answer){}
	nd.notices, nd.heard = map[view.NodeID]notice{}, map[view.NodeID]time.Duration{}
	nd.mine = notice{life: nd.life}
	for e := range elections {
		nd.working[e] = false
		nd.e[e] = New(nd.id, w.par, nd.disk[e], w.clock(nd), rand.New(rand.NewPCG(w.rng.Uint64(), uint64(nd.id))))
	}
	nd.readyAt = w.now + 6*w.beats()
	w.logf("%d starts", nd.id)
	w.beat(nd, nd.life)
}

func (w *world) crash(nd *node) {
	w.logf("%d crashes", nd.id)
	nd.up = false
	nd.life++
	for e := range elections {
		w.torn(nd, e)
	}
	nd.working = [elections]bool{}
}

// beat is a node's regular look at the others.
func (w *world) beat(nd *node, life int) {
	w.on(nd, life, func() {
		w.look(nd)
		w.after(w.beats()+time.Duration(w.rng.Int64N(int64(w.beats()/4))), func() { w.beat(nd, life) })
	})
}

func (w *world) look(nd *node) {
	v, unreached := w.view(nd)
	nd.mine.score, nd.mine.prefer, nd.mine.stands, nd.mine.unreached = nd.score, nd.prefer, nd.stands, unreached
	for e := range elections {
		nd.mine.leads[e] = token.Token{}
		if t, _, ok := nd.e[e].Leading(w.clock(nd)); ok {
			nd.mine.leads[e] = t
		}
	}
	nd.mine.seq++
	nd.notices[nd.id] = nd.mine
	for e := range elections {
		if w.now < nd.readyAt {
			break
		}
		f := w.field(nd, v, e)
		w.perform(nd, e, nd.e[e].Stand(w.clock(nd), nd.stands))
		w.perform(nd, e, nd.e[e].Look(w.clock(nd), f))
	}
	w.gossip(nd)
}

// gossip tells all in reach what the node knows.
func (w *world) gossip(nd *node) {
	told := maps.Clone(nd.notices)
	for _, other := range w.nodes {
		if other == nd {
			continue
		}
		w.send(nd, other, func() {
			other.heard[nd.id] = w.now
			for id, n := range told {
				if have := other.notices[id]; n.life > have.life || n.life == have.life && n.seq > have.seq {
					other.notices[id] = n
				}
			}
		})
	}
}

// send brings something from one node to another, if the network lets it, late
// and twice if it likes.
func (w *world) send(from, to *node, fn func()) {
	i, j := from.id-1, to.id-1
	var late time.Duration // TCP sends it again, or gives the connection up
	for again := 200 * time.Millisecond; w.rng.Float64() < w.loss; again *= 2 {
		if w.rng.IntN(10) == 0 {
			return
		}
		late += again
	}
	if w.cut[i][j] {
		return
	}
	times := 1
	if w.rng.IntN(50) == 0 {
		times = 2
	}
	for range times {
		delay := late + time.Duration(1+w.rng.IntN(20))*time.Millisecond
		if !w.quick && w.rng.IntN(40) == 0 {
			delay = time.Duration(w.rng.IntN(4000)) * time.Millisecond
		}
		life := to.life
		w.after(delay, func() { w.on(to, life, fn) })
	}
}

// perform does what an Election asks for; the node may crash in the middle.
func (w *world) perform(nd *node, e int, effects []Effect) {
	w.stirred = true
	life := nd.life
	if v := &nd.e[e].voter; v.released && v.durable.Grant.Node == nd.id {
		w.freed(nd, e, nd.id, v.durable.Grant.Term)
	}
	for _, eff := range effects {
		if nd.life != life {
			return
		}
		if nd.crashing == 0 {
			w.crash(nd)
			return
		}
		if nd.crashing > 0 {
			nd.crashing--
		}
		w.act(nd, e, eff)
	}
	w.timer(nd, e)
}

func (w *world) act(nd *node, e int, eff Effect) {
	switch eff.Action {
	case Save:
		w.write(nd, e, eff.Durable)
	case Reply:
		w.reply(nd, e, eff)
	case Send:
		to := w.nodes[eff.To-1]
		w.send(nd, to, func() { w.ask(nd, to, e, eff) })
	case GiveBack:
		to := w.nodes[eff.To-1]
		w.send(nd, to, func() { w.back(to, nd.id, e, eff) })
	case Lead, Renamed:
		w.logf("%d leads %d with %v by %v", nd.id, e, eff.Token, keys(w.supporters(nd, e)))
		if nd.disk[e].Max < eff.Token.Term {
			w.fault("%d leads with %v, on its disk is %+v", nd.id, eff.Token, nd.disk[e])
		}
		w.begun(nd, e, eff.Token)
		nd.working[e] = true
		if eff.Action == Renamed && nd.e[e].lead.renews {
			w.count["raised"]++
		}
	case Stop:
		w.logf("%d stops %d with %v: %v", nd.id, e, eff.Token, eff.Why)
		life := nd.life
		w.count[eff.Why.String()]++
		w.after(time.Duration(w.rng.IntN(150))*time.Millisecond, func() {
			w.on(nd, life, func() {
				nd.working[e] = false
				w.perform(nd, e, nd.e[e].Drained(w.clock(nd)))
			})
		})
	}
}

// ask brings a request to a voter, and its answer back.
func (w *world) ask(from, to *node, e int, eff Effect) {
	back, at := from.life, w.now
	w.serial++
	ref := w.serial
	to.refs[ref] = func(ans Answer) {
		if ans.Reason == Granted {
			w.given(to, from.id, e, eff.Ask, at)
		}
		w.send(to, from, func() {
			if from.life == back {
				w.perform(from, e, from.e[e].Answered(w.clock(from), to.id, eff.Ask, eff.Sent, ans))
			}
		})
	}
	w.perform(to, e, to.e[e].Asked(w.clock(to), from.id, eff.Ask, ref))
}

// reply lets an answer go. A grant must be on disk by then.
func (w *world) reply(nd *node, e int, eff Effect) {
	fn := nd.refs[eff.Ref]
	delete(nd.refs, eff.Ref)
	if g := nd.disk[e].Grant; eff.Answer.Reason == Granted && (g.Node != eff.To || g.Term < eff.Ask.Term) {
		w.fault("%d tells %d that it grants %d of %d, on its disk is %v", nd.id, eff.To, eff.Ask.Term, e, g)
	}
	w.count[eff.Answer.Reason.String()]++
	fn(eff.Answer)
}

// write brings something to disk, in a while.
func (w *world) write(nd *node, e int, d Durable) {
	w.count["save"]++
	if nd.writes[e] != nil {
		w.fault("%d saves while it saves", nd.id)
	}
	nd.writes[e] = &d
	life, slack := nd.life, time.Duration(0)
	if nd.sync > 0 {
		slack = time.Duration(w.rng.Int64N(int64(nd.sync)))
	}
	w.after(nd.sync*3/4+slack/4, func() {
		if nd.life != life {
			return
		}
		ok := !nd.full
		if ok {
			nd.disk[e], nd.writes[e] = d, nil
		} else {
			w.count["failed save"]++
			w.torn(nd, e)
		}
		w.on(nd, life, func() { w.perform(nd, e, nd.e[e].Saved(w.clock(nd), ok)) })
	})
}

// torn has a write end by chance.
func (w *world) torn(nd *node, e int) {
	if d := nd.writes[e]; d != nil && w.rng.IntN(2) == 0 {
		nd.disk[e] = *d
	}
	nd.writes[e] = nil
}

func (w *world) back(to *node, from view.NodeID, e int, eff Effect) {
	w.freed(to, e, from, eff.Term)
	w.perform(to, e, to.e[e].Returned(w.clock(to), from, eff.Term, eff.Nominee))
}

func (w *world) timer(nd *node, e int) {
	next := nd.e[e].Next()
	if next == Never || nd.tickAt[e] == next && nd.tickAt[e] > w.clock(nd) {
		return
	}
	nd.tickAt[e] = next
	life := nd.life
	w.after(max(next-w.clock(nd), time.Millisecond)+time.Duration(w.rng.IntN(3))*time.Millisecond, func() {
		w.on(nd, life, func() {
			if w.clock(nd) >= nd.tickAt[e] {
				nd.tickAt[e] = 0
				w.perform(nd, e, nd.e[e].Tick(w.clock(nd)))
			} else {
				nd.tickAt[e] = 0
				w.timer(nd, e)
			}
		})
	})
}

// view is what a node believes: who fell silent is suspected, then failed, late
// and at a different time for each pair.
func (w *world) view(nd *node) (v view.View, unreached []view.NodeID) {
	v = view.View{Self: nd.id}
	for _, other := range w.nodes {
		m := view.Member{ID: other.id, Storing: other.storing, Status: view.Active, State: view.Alive}
		at, met := nd.heard[other.id]
		slack := w.beats() * time.Duration(uint64(nd.id*7+other.id*13)%10) / 5
		switch silent := w.now - at; {
		case other == nd:
		case !met:
			m.State = view.Unknown
		case silent > 12*w.beats()+slack && !(w.swim && w.heardByOthers(nd, other)):
			m.State = view.Failed
		case silent > 4*w.beats()+slack:
			m.State = view.Suspect
			unreached = append(unreached, other.id)
		}
		v.Members = append(v.Members, m)
	}
	return v, unreached
}

// heardByOthers tells whether a node that this one hears has heard another.
func (w *world) heardByOthers(nd, other *node) bool {
	lately := func(at time.Duration) bool { return at != 0 && w.now-at <= 4*w.beats() }
	return slices.ContainsFunc(w.nodes, func(r *node) bool {
		return r != nd && r.up && lately(nd.heard[r.id]) && lately(r.heard[other.id])
	})
}

func (w *world) field(nd *node, v view.View, e int) Field {
	f := Field{Component: map[view.NodeID]bool{}, Contact: map[view.NodeID]bool{}, RTT: 20 * time.Millisecond}
	var in []view.NodeID
	rows := split.Rows{nd.id: split.NewRow(nd.mine.unreached)}
	for id, n := range nd.notices {
		if id != nd.id && len(n.unreached) > 0 {
			rows[id] = split.NewRow(n.unreached)
		}
	}
	for _, id := range split.Component(v, rows) {
		f.Component[id] = true
		in = append(in, id)
	}
	for _, m := range v.Members {
		f.Contact[m.ID] = m.State == view.Alive
		n, ok := nd.notices[m.ID]
		if !ok || !f.Component[m.ID] {
			continue
		}
		if n.stands && m.State == view.Alive {
			f.Standing = append(f.Standing, Peer{m.ID, n.score.Prefer(n.prefer[e])})
		}
		if !n.leads[e].IsZero() && m.ID != nd.id {
			f.Claims = append(f.Claims, n.leads[e])
		}
	}
	f.Electorate, f.Electors = InComponent(v, in), Electors(v)
	if e == majority {
		var all []view.NodeID
		for i := range min(len(w.nodes), MaxVoters) {
			all = append(all, view.NodeID(i+1))
		}
		f.Electorate, f.Electors = OfVoters(1, all), len(all)
	}
	return f
}
