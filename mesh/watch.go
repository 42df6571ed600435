package mesh

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/detect"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/mesh/view"
)

// inbox holds events for the watcher without ever blocking who brings them.
type inbox struct {
	mu    sync.Mutex
	items []event
	ready notify.Bell // there may be items
}

// event is what the detector is told, with what it does not need to know.
type event struct {
	detect.Event
	rtt         time.Duration // of a probe that was answered; 0 when not known
	viewChanged bool          // the view has something else to show
	tagsChanged bool          // the view has other tags to show, and may take its time
	meshMet     bool          // the mesh was met, or is out of reach: the view must show it before Ready returns
}

func newInbox() *inbox { return &inbox{ready: notify.NewBell()} }

func (in *inbox) putEvent(e event) {
	in.mu.Lock()
	in.items = append(in.items, e)
	in.mu.Unlock()
	in.ready.Ring()
}

// tellWatcher tells the watcher of a node.
func (in *inbox) tellWatcher(kind detect.Kind, id view.NodeID) {
	in.putEvent(event{Event: detect.Event{Kind: kind, ID: id}})
}

func (in *inbox) takeEvents() []event {
	in.mu.Lock()
	defer in.mu.Unlock()
	items := in.items
	in.items = nil
	return items
}

// watcher is the one goroutine that knows who lives. It feeds the detector,
// starts what the detector asks for and publishes views.
type watcher struct {
	*ground
	mesh      view.MeshID
	inbox     *inbox
	questions chan question
	own       *ownEntry
	said      *traits
	topics    *topics
	places    *places
	troubles  *troubles
	efforts   efforts
	leaving   func() bool

	detector    *detect.Detector
	roster      *snapshot
	listed      map[view.NodeID]bool // true when told gone
	contacts    map[view.NodeID]contact
	traits      shownTraits
	version     uint64
	changed     bool          // since the last view
	retagged    bool          // tags have, since the last view
	publishedAt time.Duration // when that was; long ago at first
	fresh       bool          // nothing has been attempted yet
	full        bool          // the roster was, at the last view
	silenced    bool          // this node was, at the last view: see ProblemTagsUnheard
}

// efforts are what the detector asks for. Each returns when it has succeeded or failed.
type efforts struct {
	probe, redial func(context.Context, view.NodeID)
	seek          func(context.Context)
	returned      func() // a member came or came back
}

// viewPause is the least time between two views, so that many changes at
// once make few of them. Each costs every part of the node a look at all members:
// where those are thousands, as many changes as members must not make as many
// views.
func viewPause(members int) time.Duration {
	return max(10*time.Millisecond, time.Duration(members)*20*time.Microsecond)
}

// tagsPause is the least time between a view and one in which tags alone are others: where
// many nodes set theirs, nobody places copies anew for that many times a second.
const tagsPause = time.Second

// viewDue returns when there is to be another view, if there is.
func (w *watcher) viewDue() (due time.Duration, some bool) {
	pause := viewPause(w.roster.Len())
	if !w.changed {
		pause = max(pause, tagsPause)
	}
	return w.publishedAt + pause, w.changed || w.retagged
}

// contact is what is known of a member besides its state.
type contact struct {
	since time.Time
	rtt   time.Duration
}

// publishFirst publishes the first view, in which nobody but this node has been met.
func (w *watcher) publishFirst() {
	w.detector = detect.New(w.id, w.pace.detect, rand.New(rand.NewPCG(random64(), random64())))
	w.listed, w.traits = map[view.NodeID]bool{}, shownTraits{}
	w.contacts = map[view.NodeID]contact{w.id: {since: w.clock.Wall()}}
	w.fresh, w.publishedAt = true, -viewPause(roster.Limit)
	w.takeRoster(w.book.snapshot())
	w.publishView()
}

func (w *watcher) watchMembers(ctx context.Context) {
	rosters := w.book.watch.Watch(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case s, ok := <-rosters:
			if !ok {
				return
			}
			w.takeRoster(s)
		case <-w.inbox.ready:
			for _, e := range w.inbox.takeEvents() {
				w.handleEvent(e)
			}
		case q := <-w.questions:
			q.answer <- w.answerQuestion(q.ids)
		case <-timer.C:
			w.stepDetector(detect.Event{Kind: detect.Tick})
		}
		next := w.detector.Next()
		if due, some := w.viewDue(); some && w.uptime() < due {
			next = min(next, due)
		} else {
			w.publishView()
		}
		timer.Reset(max(next-w.uptime(), time.Millisecond))
	}
}

func (w *watcher) handleEvent(e event) {
	if c, ok := w.contacts[e.ID]; ok && e.rtt > 0 {
		c.rtt = e.rtt
		w.contacts[e.ID] = c
	}
	if e.meshMet {
		w.takeRoster(w.book.snapshot())
	}
	w.changed, w.retagged = w.changed || e.viewChanged, w.retagged || e.tagsChanged
	if e.Kind == detect.ProbeOK {
		w.book.noteMet()
	}
	w.stepDetector(e.Event)
	if e.meshMet {
		w.publishView()
		w.markReady()
	}
}

// takeRoster tells the detector who belongs to the mesh.
func (w *watcher) takeRoster(s *snapshot) {
	w.roster = s
	w.changed = true
	w.said.forgetGone(s.Roster)
	w.topics.forgetGone(s.Roster)
	for id, gone := range w.listed {
		if !gone && s.Reduced(id) {
			// It was a member by the roster before, and all that is kept of it now is
			// that it is gone.
			w.places.forgetMember(id)
			w.dismissMember(id)
			w.link.Drop(id)
		}
	}
	for e := range s.All() {
		gone := e.Status.Gone()
		if gone {
			w.places.forgetMember(e.ID)
		} else if w.places.noteListed(e.ID, e.Addr) {
			w.stepDetector(detect.Event{Kind: detect.Moved, ID: e.ID})
		}
		if told, ok := w.listed[e.ID]; ok && told == gone {
			continue
		}
		if gone {
			w.dismissMember(e.ID)
			if e.Status == view.Evicted {
				w.link.Drop(e.ID)
			}
		} else {
			w.listed[e.ID] = false
			w.link.Meet(e.ID)
			w.stepDetector(detect.Event{Kind: detect.Joined, ID: e.ID})
		}
	}
}

// dismissMember tells the detector that a member is gone.
func (w *watcher) dismissMember(id view.NodeID) {
	w.listed[id] = true
	w.stepDetector(detect.Event{Kind: detect.Gone, ID: id})
}

func (w *watcher) stepDetector(e detect.Event) {
	effects := w.detector.Step(w.uptime(), e)
	seeks := func(e detect.Effect) bool { return e.Action == detect.Seek }
	first := w.fresh && slices.ContainsFunc(effects, seeks)
	attempts := &sync.WaitGroup{}
	for _, eff := range effects {
		w.performEffect(eff, attempts)
	}
	if first {
		// Whoever has not been met once all these have ended is out of reach.
		w.fresh = false
		w.work.Go(func(context.Context) {
			attempts.Wait()
			w.inbox.putEvent(event{meshMet: true}) // behind what they have put there
		})
	}
}

func (w *watcher) performEffect(e detect.Effect, attempts *sync.WaitGroup) {
	attempt := func(fn func(context.Context)) {
		attempts.Add(1)
		if !w.work.Go(func(ctx context.Context) { defer attempts.Done(); fn(ctx) }) {
			attempts.Done()
		}
	}
	switch e.Action {
	case detect.Changed:
		w.changed = true
		c := w.contacts[e.ID]
		c.since = w.clock.Wall()
		w.contacts[e.ID] = c
		if e.To == view.Alive && e.From != view.Suspect {
			w.efforts.returned()
		}
		if e.To == view.Alive && e.From == view.Failed {
			w.link.Renew(e.ID)
		}
		w.log.Info("member is "+e.To.String(), "member", e.ID, "name", w.roster.nameOf(e.ID), "was", e.From.String(), "why", e.Reason.String())
	case detect.Relisted:
		w.changed = true
	case detect.Probe:
		attempt(func(ctx context.Context) { w.efforts.probe(ctx, e.ID) })
	case detect.Redial:
		attempt(func(ctx context.Context) { w.efforts.redial(ctx, e.ID) })
	case detect.Seek:
		attempt(w.efforts.seek)
	}
}

func (w *watcher) publishView() {
	if !w.changed && !w.retagged || w.roster == nil {
		return
	}
	w.changed, w.retagged, w.publishedAt = false, false, w.uptime()
	w.version++
	v := view.View{Mesh: w.mesh, Self: w.id, Version: w.version, Roster: w.roster.digest, Storing: w.roster.storing}
	v.Members = make([]view.Member, 0, w.roster.Len())
	cut := w.detector.Unreachable()
	w.traits.readHeld(w.said.All())
	for e := range w.roster.All() {
		c := w.contacts[e.ID]
		_, unreachable := slices.BinarySearch(cut, e.ID)
		traits := w.traits[e.ID]
		v.Members = append(v.Members, view.Member{
			ID: e.ID, Name: e.Name, Zone: e.Zone, Addr: e.Addr, Weight: e.Weight, Storing: e.Storing,
			Status: e.Status, State: w.detector.State(e.ID), Boot: e.Boot, Since: c.since, RTT: c.rtt, Unreachable: unreachable,
			Tags: traits.tags, Capabilities: traits.capabilities,
		})
	}
	if v.Count(view.Alive) > 1 {
		w.troubles.clearTrouble(troubleSeeds)
		w.troubles.clearTrouble(troubleFull)
	}
	v.Problems = w.troubles.shownTexts()
	if p, full := crowdedText(w.roster.Roster); full {
		v.Problems = append(v.Problems, p)
		if !w.full {
			w.log.Error(p.String())
		}
		w.full = true
	} else {
		w.full = false
	}
	if silenced := !roster.MayCount(w.said.Get(w.id).Entry.Seq); silenced {
		p := view.Problem{Kind: view.ProblemTagsUnheard}
		v.Problems = append(v.Problems, p)
		if !w.silenced {
			w.log.Error(p.String())
		}
		w.silenced = true
	}
	w.views.Set(v)
	w.own.inspectRoster(w.roster, w.leaving())
}

// View returns what this node knows of the mesh now.
func (n *Node) View() view.View { return n.views.Get() }

// Watch returns a channel that carries the view: the present one at once,
// later ones as they come; one not yet read is replaced by a newer one. The
// channel is closed when ctx ends or the node stops.
func (n *Node) Watch(ctx context.Context) <-chan view.View { return n.views.Watch(ctx) }
