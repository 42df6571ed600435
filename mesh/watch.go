package mesh

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/detect"
	"github.com/skeinmesh/skein/internal/link"
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
	n           *Node
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

// newWatcher returns a watcher that has published the first view, in which
// nobody but this node has been met.
func newWatcher(n *Node) *watcher {
	w := &watcher{
		n:           n,
		detector:    detect.New(n.id, n.pace.detect, rand.New(rand.NewPCG(random64(), random64()))),
		listed:      map[view.NodeID]bool{},
		contacts:    map[view.NodeID]contact{n.id: {since: n.clock.Wall()}},
		traits:      shownTraits{},
		fresh:       true,
		publishedAt: -viewPause(roster.Limit),
	}
	w.takeRoster(n.book.snapshot())
	w.publishView()
	return w
}

func (w *watcher) watchMembers(ctx context.Context) {
	n := w.n
	rosters := n.book.watch.Watch(ctx)
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
		case <-n.inbox.ready:
			for _, e := range n.inbox.takeEvents() {
				w.handleEvent(e)
			}
		case q := <-n.questions:
			q.answer <- w.answerQuestion(q.ids)
		case <-timer.C:
			w.stepDetector(detect.Event{Kind: detect.Tick})
		}
		next := w.detector.Next()
		if due, some := w.viewDue(); some && n.uptime() < due {
			next = min(next, due)
		} else {
			w.publishView()
		}
		timer.Reset(max(next-n.uptime(), time.Millisecond))
	}
}

func (w *watcher) handleEvent(e event) {
	if c, ok := w.contacts[e.ID]; ok && e.rtt > 0 {
		c.rtt = e.rtt
		w.contacts[e.ID] = c
	}
	if e.meshMet {
		w.takeRoster(w.n.book.snapshot())
	}
	w.changed, w.retagged = w.changed || e.viewChanged, w.retagged || e.tagsChanged
	if e.Kind == detect.ProbeOK {
		w.n.book.noteMet()
	}
	w.stepDetector(e.Event)
	if e.meshMet {
		w.publishView()
		w.n.markReady()
	}
}

// takeRoster tells the detector who belongs to the mesh.
func (w *watcher) takeRoster(s *snapshot) {
	w.roster = s
	w.changed = true
	w.n.traits.forgetGone(s.Roster)
	w.n.topics.forgetGone(s.Roster)
	for id, gone := range w.listed {
		if !gone && s.Reduced(id) {
			// It was a member by the roster before, and all that is kept of it now is
			// that it is gone.
			w.n.places.forgetMember(id)
			w.dismissMember(id)
			w.n.link.Drop(id)
		}
	}
	for e := range s.All() {
		gone := e.Status.Gone()
		if gone {
			w.n.places.forgetMember(e.ID)
		} else if w.n.places.noteListed(e.ID, e.Addr) {
			w.stepDetector(detect.Event{Kind: detect.Moved, ID: e.ID})
		}
		if told, ok := w.listed[e.ID]; ok && told == gone {
			continue
		}
		if gone {
			w.dismissMember(e.ID)
			if e.Status == view.Evicted {
				w.n.link.Drop(e.ID)
			}
		} else {
			w.listed[e.ID] = false
			w.n.link.Meet(e.ID)
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
	effects := w.detector.Step(w.n.uptime(), e)
	seeks := func(e detect.Effect) bool { return e.Action == detect.Seek }
	first := w.fresh && slices.ContainsFunc(effects, seeks)
	attempts := &sync.WaitGroup{}
	for _, eff := range effects {
		w.performEffect(eff, attempts)
	}
	if first {
		// Whoever has not been met once all these have ended is out of reach.
		w.fresh = false
		w.n.work.Go(func(context.Context) {
			attempts.Wait()
			w.n.inbox.putEvent(event{meshMet: true}) // behind what they have put there
		})
	}
}

func (w *watcher) performEffect(e detect.Effect, attempts *sync.WaitGroup) {
	attempt := func(fn func(context.Context)) {
		attempts.Add(1)
		if !w.n.work.Go(func(ctx context.Context) { defer attempts.Done(); fn(ctx) }) {
			attempts.Done()
		}
	}
	switch e.Action {
	case detect.Changed:
		w.changed = true
		c := w.contacts[e.ID]
		c.since = w.n.clock.Wall()
		w.contacts[e.ID] = c
		if e.To == view.Alive && e.From != view.Suspect {
			w.n.noteReturn()
		}
		if e.To == view.Alive && e.From == view.Failed {
			w.n.link.Renew(e.ID)
		}
		w.n.log.Info("member is "+e.To.String(), "member", e.ID, "name", w.roster.nameOf(e.ID), "was", e.From.String(), "why", e.Reason.String())
	case detect.Relisted:
		w.changed = true
	case detect.Probe:
		attempt(func(ctx context.Context) { w.n.probeMember(ctx, e.ID) })
	case detect.Redial:
		attempt(func(ctx context.Context) { w.n.redialMember(ctx, e.ID) })
	case detect.Seek:
		attempt(w.n.seekSeeds)
	}
}

func (w *watcher) publishView() {
	if !w.changed && !w.retagged || w.roster == nil {
		return
	}
	w.changed, w.retagged, w.publishedAt = false, false, w.n.uptime()
	w.version++
	v := view.View{Mesh: w.n.mesh, Self: w.n.id, Version: w.version, Roster: w.roster.digest, Storing: w.roster.storing}
	v.Members = make([]view.Member, 0, w.roster.Len())
	cut := w.detector.Unreachable()
	w.traits.readHeld(w.n.traits.All())
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
		w.n.troubles.clearTrouble(troubleSeeds)
		w.n.troubles.clearTrouble(troubleFull)
	}
	v.Problems = w.n.troubles.shownTexts()
	if p, full := crowdedText(w.roster.Roster); full {
		v.Problems = append(v.Problems, p)
		if !w.full {
			w.n.log.Error(p.String())
		}
		w.full = true
	} else {
		w.full = false
	}
	if silenced := !roster.MayCount(w.n.traits.Get(w.n.id).Entry.Seq); silenced {
		p := view.Problem{Kind: view.ProblemTagsUnheard}
		v.Problems = append(v.Problems, p)
		if !w.silenced {
			w.n.log.Error(p.String())
		}
		w.silenced = true
	}
	w.n.views.Set(v)
	w.n.inspectSelf(w.roster)
}

// uptime is the time since the start of the node, by a clock that never goes
// back.
func (n *Node) uptime() time.Duration { return time.Since(n.started) }

// isAlive tells whether this node has, or may have, contact with another.
func (n *Node) isAlive(id view.NodeID) bool {
	m, ok := n.views.Get().Member(id)
	return ok && (id == n.id || m.State == view.Alive || m.State == view.Suspect)
}

// tellWatcher tells the watcher.
func (n *Node) tellWatcher(kind detect.Kind, id view.NodeID) {
	n.inbox.putEvent(event{Event: detect.Event{Kind: kind, ID: id}})
}

// probeMember asks a member for a sign of life.
func (n *Node) probeMember(ctx context.Context, id view.NodeID) {
	if n.probeOnce(ctx, id) != nil {
		n.tellWatcher(detect.ProbeFailed, id)
	}
}

// probeOnce probes a member, whether the detector has asked for that or not: of a
// failure it is not told.
func (n *Node) probeOnce(ctx context.Context, id view.NodeID) error {
	ctx, cancel := context.WithTimeout(ctx, n.pace.detect.ProbeWait(n.link.RoundTrip(id)))
	defer cancel()
	res, err := n.link.Probe(ctx, id)
	if err != nil {
		n.heedRefusal(id, err)
		return err
	}
	n.inbox.putEvent(event{Event: detect.Event{Kind: detect.ProbeOK, ID: id}, rtt: res.RTT})
	return nil
}

// onBroken is told by the link that an established connection broke.
func (n *Node) onBroken(id view.NodeID, err error) {
	if !n.isOpen() {
		return
	}
	var refused *link.RefusedError
	if errors.As(err, &refused) {
		if _, known := n.book.snapshot().Get(id); known || id == n.id {
			n.onRefused(id, refused)
		}
		return
	}
	n.tellWatcher(detect.Broken, id)
}

// View returns what this node knows of the mesh now.
func (n *Node) View() view.View { return n.views.Get() }

// Watch returns a channel that carries the view: the present one at once,
// later ones as they come; one not yet read is replaced by a newer one. The
// channel is closed when ctx ends or the node stops.
func (n *Node) Watch(ctx context.Context) <-chan view.View { return n.views.Watch(ctx) }
