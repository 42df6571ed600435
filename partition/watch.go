package partition

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/elect"
	"github.com/skeinmesh/skein/internal/situation"
	"github.com/skeinmesh/skein/internal/split"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

const (
	lookSlow    = 5 * time.Second // between two looks though nothing is heard
	maxVerdicts = 64
	maxMerges   = 16
)

// scene is what elections see of the mesh. It is never changed after it was made.
type scene struct {
	self      view.NodeID
	view      view.View
	component []view.NodeID
	within    map[view.NodeID]bool
	alive     map[view.NodeID]bool
	notices   map[view.NodeID]heardNotice
	rows      split.Rows
	rtt       time.Duration
}

// seen is what one look has shown: the scene, and what is made of it. It is never
// changed after it was made.
type seen struct {
	*scene
	status Status
}

// field composes what one election may know.
func (s *scene) field(name Election) elect.Field {
	f := elect.Field{Component: s.within, Contact: s.alive, RTT: s.rtt}
	for _, m := range s.view.Members {
		n, ok := s.notices[m.ID]
		if !ok || !s.within[m.ID] || n.Boot < m.Boot {
			continue // what it said before it was restarted counts no more
		}
		if m.State == view.Alive && slices.Contains(n.Standing, name.wire()) {
			f.Standing = append(f.Standing, elect.Peer{ID: m.ID, Score: elect.Score(n.Score)})
		}
		if t := claimOf(n.Notice, name); !t.IsZero() && m.ID != s.self {
			f.Claims = append(f.Claims, t)
		}
	}
	return f
}

func claimOf(n wire.Notice, name Election) token.Token {
	for _, c := range n.Leads {
		if c.Election == name.wire() {
			return token.Token{Term: c.Term, Node: n.Node}
		}
	}
	return token.Token{}
}

// watcher is the one goroutine's that puts together what is known.
type watcher struct {
	p       *Partition
	split   *split.Watcher
	modes   *situation.Modes
	cloud   *situation.Verdict
	view    view.View
	verdict []Verdict
	sit     split.Situation
	since   time.Time // of sit
	mode    Mode
	modeAt  time.Time
	row     split.Row
	rowAt   time.Duration // when that was last changed
	rowDue  time.Duration // when it will be; Never
	freshAt time.Duration // since when there are doubts that it does not tell of; 0: there are none
	alive   map[view.NodeID]bool
	states  map[view.NodeID]view.State
	doubted map[view.NodeID]time.Duration // when gossip said last that one lives who was not reached
}

func (p *Partition) watch(ctx context.Context) {
	now := p.cfg.clock.Wall()
	w := &watcher{
		p: p, split: split.New(p.cfg.splits()), modes: situation.NewModes(p.cfg.situations()), cloud: situation.NewVerdict(p.cfg.situations()),
		view: p.mesh.View(), since: now, modeAt: now, rowAt: -rowPause, doubted: map[view.NodeID]time.Duration{}, states: map[view.NodeID]view.State{},
	}
	views := p.mesh.Watch(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case v, ok := <-views:
			if !ok {
				return
			}
			w.view = v
		case <-p.notices.heard:
		case <-p.leads:
		case <-p.kick:
		case <-timer.C:
		}
		next := w.look()
		timer.Reset(min(max(next-p.since(), 10*time.Millisecond), lookSlow))
	}
}

// look takes in all that is known and shows what that means. It returns when to
// look again at the latest.
func (w *watcher) look() time.Duration {
	p, now := w.p, w.p.since()
	p.notices.forget(func(id view.NodeID) bool {
		m, ok := w.view.Member(id)
		return ok && m.Status.Gone()
	})
	w.greet(now)
	told := p.notices.all()
	rows, lives := w.hear(told)
	component := split.Component(w.view, rows)
	for _, c := range w.split.Step(now, w.view, rows, lives) {
		w.take(c)
	}
	p.learnVoters(w.view, told)
	cloud, _ := w.cloud.Step(now, component, p.cloudReports(told))
	w.enter(now, component, cloud)

	s := &scene{
		self: p.id, view: w.view, component: component, within: map[view.NodeID]bool{}, alive: w.alive, notices: told, rows: rows, rtt: medianRTT(w.view),
	}
	for _, id := range component {
		s.within[id] = true
	}
	p.tell(s, w)
	if p.ready.Load() {
		p.scene.Store(s)
		p.wake()
	}
	status := w.status(s, cloud)
	p.seen.Store(&seen{s, status})
	p.status.Set(status)
	return min(w.split.Next(), w.modes.Next(), w.cloud.Next(), w.rowDue)
}

// greet has this node say what it says once more when it meets somebody: the
// other has not heard it, or has lost it, and wants to know since when we run.
func (w *watcher) greet(now time.Duration) {
	alive := map[view.NodeID]bool{}
	met := false
	for _, m := range w.view.Members {
		if m.State == view.Alive {
			alive[m.ID] = true
			met = met || !w.alive[m.ID] && m.ID != w.p.id
		}
	}
	w.alive = alive
	if met {
		w.p.notices.say(now, now)
	}
}

// hear reads rows and reports out of notices; the own row is what is seen here.
func (w *watcher) hear(told map[view.NodeID]heardNotice) (split.Rows, map[view.NodeID]split.Life) {
	rows, lives := split.Rows{}, map[view.NodeID]split.Life{}
	for id, n := range told {
		if id == w.p.id {
			continue
		}
		m, _ := w.view.Member(id)
		if n.Boot >= m.Boot && (n.Isolated || len(n.Unreachable) > 0) {
			rows[id] = split.Row{Unreachable: n.Unreachable, Isolated: n.Isolated}
		}
		lives[id] = split.Life{Boot: n.Boot, Uptime: n.Up, At: n.at}
	}
	row := split.NewRow(w.unreached(w.p.since()))
	w.rowDue = w.due(row)
	if now := w.p.since(); now >= w.rowDue {
		w.row, w.rowAt, w.rowDue, w.freshAt = row, now, elect.Never, 0
	}
	rows[w.p.id] = row
	return rows, lives
}

// unreached lists whom this node does not reach although gossip says they live, or
// said so not long ago: others may hear of their end much later, and would take them
// as reached from here.
func (w *watcher) unreached(now time.Duration) (out []view.NodeID) {
	for _, m := range w.view.Members {
		was := w.states[m.ID]
		w.states[m.ID] = m.State
		switch {
		case m.Unreachable || m.State == view.Failed && (was == view.Alive || was == view.Suspect):
			w.doubted[m.ID] = now
		case m.State == view.Alive || m.Status.Gone():
			delete(w.doubted, m.ID)
		}
		if at, ok := w.doubted[m.ID]; ok && now-at < 2*w.p.cfg.Pace.Window {
			out = append(out, m.ID)
		}
	}
	return out
}

// due is when a row may replace the last one. Doubts may wait; but whoever is
// listed takes itself as cut off, and may come to lead alone, until it is taken back.
func (w *watcher) due(row split.Row) time.Duration {
	if row.Isolated == w.row.Isolated && slices.Equal(row.Unreachable, w.row.Unreachable) {
		return elect.Never
	}
	fresh := slices.ContainsFunc(row.Unreachable, func(id view.NodeID) bool { return !slices.Contains(w.row.Unreachable, id) })
	if row.Isolated || fresh {
		if w.freshAt == 0 {
			w.freshAt = w.p.since()
		}
		pause := rowPause
		if row.Isolated || len(row.Unreachable) >= 2*len(w.row.Unreachable) {
			pause = growPause
		}
		return max(w.rowAt+pause, w.freshAt+gatherPause)
	}
	w.freshAt = 0
	return w.rowAt + takeBackPause
}

func (w *watcher) take(c split.Change) {
	p := w.p
	switch c.Kind {
	case split.SituationChanged:
		if c.Situation.Kind != w.sit.Kind {
			w.since = p.cfg.clock.Wall()
			p.log.Info("situation has changed", "situation", c.Situation.Kind.String(), "lost", c.Situation.Lost, "evidence", c.Situation.Evidence)
		}
		w.back(w.sit.Lost, c.Situation.Lost)
		w.sit = c.Situation
	case split.VerdictReached:
		v := Verdict{Node: c.Verdict.Node, Cause: Cause(c.Verdict.Kind), At: p.cfg.clock.Wall(), Outage: c.Verdict.Outage}
		w.verdict = append(w.verdict, v)
		if n := len(w.verdict) - maxVerdicts; n > 0 {
			w.verdict = slices.Delete(w.verdict, 0, n)
		}
		p.log.Info("a lost member is back", "node", v.Node, "cause", v.Cause.String(), "outage", v.Outage)
	}
}

// back has those reported that are not lost any more.
func (w *watcher) back(was, now []view.NodeID) {
	var met []view.NodeID
	for _, id := range was {
		if !slices.Contains(now, id) && w.alive[id] {
			met = append(met, id)
		}
	}
	if len(met) == 0 {
		return
	}
	select {
	case earlier := <-w.p.met:
		met = append(earlier, met...)
	default:
	}
	slices.Sort(met)
	w.p.met <- slices.Compact(met) // nobody else puts any in
}

func (w *watcher) enter(now time.Duration, component []view.NodeID, cloud situation.Cloud) {
	f := situation.Facts{Cloud: cloud, Ready: w.p.ready.Load(), Component: len(component)}
	for _, m := range w.view.Members {
		if m.Status.Gone() {
			continue
		}
		f.Roster++
		if m.Storing {
			f.Storing++
			if _, here := slices.BinarySearch(component, m.ID); here {
				f.StoringHere++
			}
		}
	}
	if mode, changed := w.modes.Step(now, f); changed {
		w.p.log.Info("mode has changed", "from", w.mode.String(), "to", mode.String())
		w.mode, w.modeAt = Mode(mode), w.p.cfg.clock.Wall()
		w.p.modes.Set(w.mode)
	}
}

// tell has this node's notice say what it should.
func (p *Partition) tell(s *scene, w *watcher) {
	standing, leads := p.mine()
	p.notices.set(p.since(), p.since(), func(n *wire.Notice) {
		n.Score = p.score.Load()
		n.Cloud = p.cloud.code()
		n.Isolated, n.Unreachable = w.row.Isolated, w.row.Unreachable
		n.Standing, n.Leads = standing, leads
		n.Voters = p.knownVoters()
	})
	s.notices[p.id] = p.notices.own()
}

// own returns this node's notice.
func (n *notices) own() heardNotice {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last[n.mine.Node]
}

// mine returns what this node stands for and leads, sorted.
func (p *Partition) mine() (standing []wire.Election, leads []wire.Claim) {
	for _, e := range p.known() {
		if e.standing() {
			standing = append(standing, e.name.wire())
		}
		if t := e.leading(); !t.IsZero() {
			leads = append(leads, wire.Claim{Election: e.name.wire(), Term: t.Term})
		}
	}
	return standing, leads
}

// known returns the elections that this node knows of, sorted.
func (p *Partition) known() []*election {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.SortedFunc(maps.Values(p.elections), func(a, b *election) int {
		return cmp.Or(cmp.Compare(a.name.Name, b.name.Name), cmp.Compare(a.name.Scope, b.name.Scope))
	})
}

// wake has all elections look at the scene.
func (p *Partition) wake() {
	for _, e := range p.known() {
		signal(e.field)
	}
}

// claimed returns the highest token that a node in the component says it leads
// with.
func (p *Partition) claimed(name Election) (high token.Token) {
	s := p.scene.Load()
	if s == nil {
		return high
	}
	for _, t := range s.field(name).Claims {
		if high.Less(t) {
			high = t
		}
	}
	return high
}

func medianRTT(v view.View) time.Duration {
	var all []time.Duration
	for _, m := range v.Members {
		if m.RTT > 0 && m.State == view.Alive {
			all = append(all, m.RTT)
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func (w *watcher) status(s *scene, cloud situation.Cloud) Status {
	p := w.p
	st := Status{
		Node: p.id, Component: s.component, Situation: Situation(w.sit.Kind), Since: w.since, Lost: w.sit.Lost,
		Unmet: w.split.Situation().Unmet, Evidence: w.sit.Evidence, Verdicts: slices.Clone(w.verdict),
		Cloud: Cloud(cloud), Mode: w.mode, ModeSince: w.modeAt, Merges: p.reports.all(), Voters: p.knownVoters().IDs,
	}
	for _, m := range s.view.Members {
		if m.Status.Gone() {
			continue
		}
		st.Members++
		if m.Storing {
			st.Storing++
			if s.within[m.ID] {
				st.Reached++
			}
		}
	}
	names := map[Election]bool{p.leaderOf(): true}
	for _, n := range s.notices {
		for _, c := range n.Leads {
			names[fromWire(c.Election)] = true
		}
	}
	for _, e := range p.known() {
		names[e.name] = true
	}
	for name := range names {
		st.Elections = append(st.Elections, p.leadership(s, name))
	}
	slices.SortFunc(st.Elections, func(a, b Leadership) int {
		return cmp.Or(cmp.Compare(a.Election.Name, b.Election.Name), cmp.Compare(a.Election.Scope, b.Election.Scope))
	})
	st.Leader = p.leadership(s, p.leaderOf())
	return st
}

// leadership tells who leads an election: this node by its lease, another by its
// word.
func (p *Partition) leadership(s *scene, name Election) Leadership {
	l := Leadership{Election: name}
	if e := p.opened(name); e != nil {
		if l.Token = e.leading(); !l.Token.IsZero() {
			l.Here = true
		}
	}
	for _, t := range s.field(name).Claims {
		if l.Token.Less(t) {
			l.Token, l.Here = t, false
		}
	}
	return l
}
