package split

import (
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// Params are the times of a Watcher. A field that is not above zero takes its
// default.
type Params struct {
	// Window is how far apart losses may be found that had one cause: twice the
	// time in which gossip gives up a silent member. 30 s by default.
	Window time.Duration
	// VerdictWait is for how long the report of a member that is back is waited
	// for before the verdict is Unsure. 2 min by default.
	VerdictWait time.Duration
}

func (p Params) withDefaults() Params {
	if p.Window <= 0 {
		p.Window = 30 * time.Second
	}
	if p.VerdictWait <= 0 {
		p.VerdictWait = 2 * time.Minute
	}
	return p
}

// ChangeKind says what a Change reports.
type ChangeKind uint8

const (
	// SituationChanged: kind, lost or evidence of the situation are new.
	SituationChanged ChangeKind = iota
	// VerdictReached: of a member that is back it is known what it went through.
	VerdictReached
)

// Change is one output of a Watcher.
type Change struct {
	Kind      ChangeKind
	Situation Situation // SituationChanged only
	Verdict   Verdict   // VerdictReached only
}

// Never is what Next returns when nothing is due.
const Never = time.Duration(1<<63 - 1)

// Watcher watches over who is lost and who came back, for one run of one node.
// It is a step machine: time is the run time of the process (monotonic, from any
// origin). It is not safe for concurrent use.
type Watcher struct {
	params     Params
	now        time.Duration
	started    bool
	metMembers map[view.NodeID]*member
	situation  Situation
	reasons    []string // the evidence of situation, without that of bridges
}

// New returns a watcher that has met nobody.
func New(par Params) *Watcher {
	return &Watcher{params: par.withDefaults(), metMembers: map[view.NodeID]*member{}}
}

// Step takes in what is known at time now and returns what that changes: the
// situation first, then verdicts by node. lives holds the last report of each
// node, as far as there is one. It keeps no reference to what it is given, and
// no slice it returns is changed later. Time must not go back; a step with an
// earlier time counts as being at the latest one.
func (w *Watcher) Step(now time.Duration, v view.View, rows Rows, lives map[view.NodeID]Life) []Change {
	if !w.started {
		w.started, w.now, w.situation.Since = true, now, now
	}
	w.now = max(now, w.now)
	g := newGraph(v, rows)
	found, relays := g.walkFrom(g.self, noNode)
	in := make(map[view.NodeID]bool, len(found))
	for _, i := range found {
		in[g.ids[i]] = true
	}

	var verdicts []Change
	s := Situation{}
	for i := range v.Members {
		m := &v.Members[i]
		switch {
		case m.ID == v.Self:
		case m.Status.Gone():
			delete(w.metMembers, m.ID)
		case in[m.ID]:
			if verdict, reached := w.notePresent(m, lives[m.ID]); reached {
				verdicts = append(verdicts, Change{Kind: VerdictReached, Verdict: verdict})
			}
		case w.noteAbsent(m, lives[m.ID]):
			s.Lost = append(s.Lost, m.ID)
		default:
			s.Unmet = append(s.Unmet, m.ID)
		}
	}
	w.judgeLosses(&s, v)
	s.Evidence = append(s.Evidence, g.bridges(v, found, relays)...)
	changed := !s.isSameAs(w.situation)
	w.situation = s
	if changed {
		return append([]Change{{Kind: SituationChanged, Situation: s}}, verdicts...)
	}
	return verdicts
}

// Situation returns what the last step made of things.
func (w *Watcher) Situation() Situation { return w.situation }

// Next returns the time by which Step must be called again if nothing changes
// before.
func (w *Watcher) Next() time.Duration {
	next := Never
	for _, m := range w.metMembers {
		if m.phase == phaseBack {
			next = min(next, m.backAt+w.params.VerdictWait)
		}
	}
	return next
}
