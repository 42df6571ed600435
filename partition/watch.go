package partition

import (
	"context"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/elect"
	"github.com/skeinmesh/skein/internal/mode"
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

// lookResult is what one look has shown: the scene, and what is made of it. It is never
// changed after it was made.
type lookResult struct {
	*scene
	status Status
}

// electionField composes what one election may know.
func (s *scene) electionField(name Election) elect.Field {
	f := elect.Field{Component: s.within, Contact: s.alive, RTT: s.rtt}
	for _, m := range s.view.Members {
		n, ok := s.notices[m.ID]
		if !ok || !s.within[m.ID] || n.Boot < m.Boot {
			continue // what it said before it was restarted counts no more
		}
		if preference, stands := standsFor(n.Notice, name); stands && m.State == view.Alive {
			f.Standing = append(f.Standing, elect.Peer{ID: m.ID, Score: elect.Score(n.Score).Prefer(preference)})
		}
		if t := claimOf(n.Notice, name); !t.IsZero() && m.ID != s.self {
			f.Claims = append(f.Claims, t)
		}
	}
	return f
}

// standsFor tells whether a node stands for an election, and how much it is preferred.
func standsFor(n wire.Notice, name Election) (preference uint32, stands bool) {
	for _, s := range n.Standing {
		if s.Election == toWire(name) {
			return s.Preference, true
		}
	}
	return 0, false
}

func claimOf(n wire.Notice, name Election) token.Token {
	for _, c := range n.Leads {
		if c.Election == toWire(name) {
			return token.Token{Term: c.Term, Node: n.Node}
		}
	}
	return token.Token{}
}

// watcher is the one goroutine's that puts together what is known.
type watcher struct {
	*ground
	notices   *notices
	voters    *voters
	elections *elections
	reach     *cloudWatch
	fitness   *fitness
	merges    *merges
	outlook   *outlook

	split          *split.Watcher
	modes          *mode.Watcher
	cloud          *mode.CloudWatcher
	view           view.View
	verdicts       []Verdict
	situation      split.Situation
	situationSince time.Time // of sit
	mode           Mode
	modeSince      time.Time
	doubts         *split.Doubts
	row            split.Row // as the others are told
}

// newWatcher returns what watches over the mesh.
func (p *Partition) newWatcher() *watcher {
	now := p.cfg.clock.Wall()
	return &watcher{
		ground: p.ground, notices: p.notices, voters: p.voters, elections: p.elections, reach: p.cloud, fitness: p.fitness, merges: p.merges, outlook: &p.outlook,
		split: split.New(p.cfg.splitParams()), modes: mode.New(p.cfg.modeParams()), cloud: mode.NewCloudWatcher(p.cfg.modeParams()),
		view: p.mesh.View(), situationSince: now, modeSince: now, doubts: split.NewDoubts(p.cfg.splitParams()),
	}
}

func (w *watcher) watchMesh(ctx context.Context) {
	views := w.mesh.Watch(ctx)
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
			w.takeView(v)
		case <-w.notices.Heard:
		case <-w.leadsBell:
		case <-w.lookBell:
		case <-timer.C:
		}
		next := w.evaluateMesh()
		timer.Reset(min(max(next-w.uptime(), 10*time.Millisecond), lookSlow))
	}
}

// takeView takes in a view. Who is in it no longer is gone: of those that are for long views
// say nothing, and some hear of it late. Who is not in it yet may have been heard.
func (w *watcher) takeView(v view.View) {
	before := w.view
	w.view = v
	w.notices.forgetGone(func(id view.NodeID) bool {
		_, was := before.Member(id)
		_, is := v.Member(id)
		return was && !is
	})
}

// evaluateMesh takes in all that is known and shows what that means. It returns when to
// look again at the latest.
func (w *watcher) evaluateMesh() time.Duration {
	now := w.uptime()
	w.notices.forgetGone(func(id view.NodeID) bool {
		m, ok := w.view.Member(id)
		return ok && m.Status.Gone()
	})
	row, tell, met := w.doubts.Step(now, w.view)
	w.row = tell
	if met {
		// The other has not heard what this node says, or has lost it, and wants to know
		// since when it runs.
		w.notices.repeatOwn()
		if now < beginsFor {
			w.notices.met.Ring()
		}
	}
	told := w.notices.allNotices()
	rows, lives := w.readNotices(now, told)
	rows[w.id] = row
	component := split.Component(w.view, rows)
	for _, c := range w.split.Step(now, w.view, rows, lives) {
		w.applyChange(c)
	}
	w.voters.learnVoters(w.view, told)
	cloud, _ := w.cloud.Step(now, component, cloudReports(told))
	w.updateMode(now, component, cloud)

	s := &scene{
		self: w.id, view: w.view, component: component, within: map[view.NodeID]bool{}, alive: map[view.NodeID]bool{}, notices: told, rows: rows, rtt: medianRTT(w.view),
	}
	for _, id := range component {
		s.within[id] = true
	}
	for _, m := range w.view.Members {
		if m.State == view.Alive {
			s.alive[m.ID] = true
		}
	}
	w.updateOwnNotice(s)
	if w.ready.Load() {
		w.scene.Store(s)
		w.elections.wakeElections()
	}
	status := w.makeStatus(s, cloud)
	w.outlook.lastLook.Store(&lookResult{s, status})
	w.outlook.status.Set(status)
	return min(w.split.Next(), w.modes.Next(), w.cloud.Next(), w.doubts.Next())
}

func (w *watcher) applyChange(c split.Change) {
	switch c.Kind {
	case split.SituationChanged:
		if c.Situation.Kind != w.situation.Kind {
			w.situationSince = w.cfg.clock.Wall()
			w.log.Info("situation has changed", "situation", c.Situation.Kind.String(), "lost", c.Situation.Lost, "evidence", c.Situation.Evidence)
		}
		w.reportReturned(w.situation.Lost, c.Situation.Lost)
		w.situation = c.Situation
	case split.VerdictReached:
		v := Verdict{Node: c.Verdict.Node, Cause: Cause(c.Verdict.Kind), At: w.cfg.clock.Wall(), Outage: c.Verdict.Outage}
		w.verdicts = append(w.verdicts, v)
		if n := len(w.verdicts) - maxVerdicts; n > 0 {
			w.verdicts = slices.Delete(w.verdicts, 0, n)
		}
		w.log.Info("a lost member is back", "member", v.Node, "cause", v.Cause.String(), "outage", v.Outage.String())
	}
}

// reportReturned has those reported that are not lost any more.
func (w *watcher) reportReturned(was, now []view.NodeID) {
	var met []view.NodeID
	for _, id := range was {
		// It is in the component again, perhaps by others only, unless it is gone.
		if m, ok := w.view.Member(id); ok && !slices.Contains(now, id) && !m.Status.Gone() {
			met = append(met, id)
		}
	}
	if len(met) == 0 {
		return
	}
	select {
	case earlier := <-w.merges.returned:
		met = append(earlier, met...)
	default:
	}
	slices.Sort(met)
	w.merges.returned <- slices.Compact(met) // nobody else puts any in
}

func (w *watcher) updateMode(now time.Duration, component []view.NodeID, cloud mode.Cloud) {
	f := mode.Facts{Cloud: cloud, Ready: w.ready.Load(), Component: len(component)}
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
	if next, changed := w.modes.Step(now, f); changed {
		w.log.Info("mode has changed", "from", w.mode.String(), "to", next.String())
		w.mode, w.modeSince = Mode(next), w.cfg.clock.Wall()
		w.outlook.modes.Set(w.mode)
	}
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
