package failover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/internal/takeover"
)

const (
	maxDrill   = 4 << 10     // bytes of one in the records
	maxDrills  = 1024        // that are looked at
	maxFailure = 500         // bytes of why one has failed
	drillGrace = time.Minute // beyond what a stop and a start take
)

// Reasons of an Alarm.
const (
	drillFailed    = "a drill has failed"
	drillUnwritten = "the end of a drill could not be written down, and the service stays where it is"
)

var errNoRehearse = errors.New("failover: the service cannot rehearse at the node that was to try it")

// ErrDrilling: a drill of the service has not ended.
var ErrDrilling = errors.New("failover: a drill is under way")

func drillKey(name string, mode service.Mode) string {
	return drillPrefix + mode.String() + "/" + name
}

// drillBook is the last drill of each service, as the records hold it.
type drillBook struct {
	mu    sync.Mutex
	known map[string]knownDrill // by key
}

type knownDrill struct {
	takeover.Drill
	since time.Time // it is known here
}

func newDrillBook() *drillBook { return &drillBook{known: map[string]knownDrill{}} }

// noteValue takes in what a key has now. What cannot be read is none.
func (b *drillBook) noteValue(key string, value []byte) {
	var d takeover.Drill
	b.mu.Lock()
	defer b.mu.Unlock()
	old, isKnown := b.known[key]
	switch {
	case len(value) > maxDrill || json.Unmarshal(value, &d) != nil:
		delete(b.known, key)
	case isKnown && old.Drill == d:
	case isKnown || len(b.known) < maxDrills:
		b.known[key] = knownDrill{d, time.Now()}
	}
}

func (b *drillBook) allKeys() (keys []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key := range b.known {
		keys = append(keys, key)
	}
	return keys
}

func (b *drillBook) drillOf(key string) knownDrill {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.known[key]
}

// putBack has a drill be known as it was: a later one was not written.
func (b *drillBook) putBack(key string, before knownDrill) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if before.Slot.IsZero() {
		delete(b.known, key)
		return
	}
	b.known[key] = before
}

// noteDrill has a service look at its drill.
func (f *Failover) noteDrill(key string, value []byte) {
	f.drills.noteValue(key, value)
	f.ringAll()
}

// drilling is a runner's part in drills. The runner's goroutine alone uses it.
type drilling struct {
	records Records // nil: there are no drills
	book    *drillBook
	slots   takeover.Slots
	busy    bool      // something of a drill is written or tried
	tried   time.Time // the slot of the drill that was tried in its shadow
}

// Drill has a service that runs here be tried at the next best node now: by moving it there and
// back, or by its shadow if its plan says so. It does not wait for that: the history says how
// it has ended, and one that fails is an Alarm. The errors are ErrUnknownService, ErrNotHere,
// ErrDrilling, ErrNoRecords and ErrClosed.
func (f *Failover) Drill(name string) error {
	if _, err := f.openRecords("drill", name); err != nil {
		return err
	}
	r, err := f.findRunner(name)
	if err != nil {
		return err
	}
	result := make(chan error, 1)
	posted := r.post(func() {
		switch {
		case r.core.Health() != service.Healthy || r.lead == nil:
			result <- fmt.Errorf("%w, and well: drill %s", ErrNotHere, name)
		case r.drilling.busy || r.isDrilled(r.drilling.book.drillOf(r.drillKey())):
			result <- fmt.Errorf("%w: %s", ErrDrilling, name)
		default:
			result <- nil
			r.beginDrill(time.Now().UTC().Round(0))
		}
	})
	if !posted {
		return ErrClosed
	}
	return <-result
}

func (r *runner) drillKey() string {
	return drillKey(r.service.Plan.Service, r.service.Plan.Mode)
}

// drillBound is within what time a drill shows that another node can run the service.
func (r *runner) drillBound() time.Duration {
	p := r.core.Plan()
	return p.UndoBound() + p.StartBound() + drillGrace
}

// isDrilled tells whether a drill has not ended, and may yet.
func (r *runner) isDrilled(d knownDrill) bool {
	return d.IsOpen(time.Now()) && time.Since(d.since) < r.drillBound()
}

// lookAtDrill begins the drill that is due, and has the one under way end.
func (r *runner) lookAtDrill() {
	g := &r.drilling
	if g.records == nil || r.closeBy != 0 {
		return
	}
	slot := g.slots.FindDue(r.core.Plan().Drill, time.Now(), r.uptime())
	d := g.book.drillOf(r.drillKey())
	verified := r.core.Health() == service.Healthy || r.core.Health() == service.Degraded
	look := takeover.Look{Self: r.self, Verified: verified, Open: time.Since(d.since), Bound: r.drillBound(), Wall: time.Now()}
	if r.lead != nil {
		look.Began, look.Led = r.lead.began, r.uptime()-r.lead.at
	}
	ends, failure := d.Judge(look)
	switch {
	case g.busy:
	case ends:
		r.endDrill(d, failure)
	case d.Shadow && d.IsOpen(look.Wall) && d.To == r.self && r.lead == nil && !g.tried.Equal(d.Slot):
		g.tried = d.Slot
		r.tryShadow(d)
	case !slot.IsZero() && !d.IsNewSlot(slot):
		g.slots.LeaveOut()
	case !slot.IsZero() && !r.isDrilled(d) && r.lead != nil && r.core.Health() == service.Healthy:
		g.slots.LeaveOut()
		r.beginDrill(slot)
	}
}

// beginDrill writes down that a drill begins before it does: it is not begun twice, also by
// another node, and whoever runs the service then knows what for.
func (r *runner) beginDrill(slot time.Time) {
	lead := r.lead
	d := takeover.Drill{Slot: slot, From: r.self, To: r.core.BestOther(), Token: lead.token, Shadow: r.core.Plan().Drill.Shadow}
	if d.To == 0 {
		d.Ended, d.Failure = true, takeover.ErrNobody.Error()
	}
	r.reportEvent(d.Token, Event{What: DrillBegan, Other: d.To})
	before := r.drilling.book.drillOf(r.drillKey())
	r.writeDrill(d, func(err error) {
		switch {
		case err != nil:
			r.drilling.book.putBack(r.drillKey(), before)
			r.tellOfDrill(d, 0, fmt.Errorf("it could not be written down: %w", err))
		case d.Ended:
			r.tellOfDrill(d, 0, takeover.ErrNobody)
		case !d.Shadow && r.lead == lead:
			r.performAll(r.core.MoveAsked(r.uptime(), d.To))
		}
	})
}

// endDrill writes down how a drill has ended, and moves the service back.
func (r *runner) endDrill(k knownDrill, failure error) {
	d := k.Drill
	if d.Ended = true; failure != nil {
		d.Failure = strings.ToValidUTF8(failure.Error()[:min(len(failure.Error()), maxFailure)], "")
	}
	r.tellOfDrill(d, time.Since(k.since), failure)
	r.writeDrill(d, func(err error) {
		switch {
		case err != nil: // who runs it next would not know that it has ended
			r.reportEvent(d.Token, Event{What: Alarm, Why: drillUnwritten, Other: d.To})
		case !d.Shadow && d.To == r.self && failure == nil:
			r.performAll(r.core.MoveAsked(r.uptime(), d.From))
		}
	})
}

// tellOfDrill tells how a drill has ended.
func (r *runner) tellOfDrill(d takeover.Drill, took time.Duration, failure error) {
	e := Event{What: DrillEnded, Other: d.To, Took: took}
	if failure != nil {
		e.Error = failure.Error()
	}
	r.reportEvent(d.Token, e)
	if failure != nil {
		r.reportEvent(d.Token, Event{What: Alarm, Why: drillFailed, Other: d.To})
	}
}

// tryShadow has the service's Rehearse try it here, beside where it runs. It is one of the hooks:
// a step that begins meanwhile gives it up, and waits for it.
func (r *runner) tryShadow(d knownDrill) {
	rehearse := r.service.Rehearse
	if rehearse == nil {
		r.endDrill(d, errNoRehearse)
		return
	}
	r.drilling.busy = true
	r.hooks.beginHook(rehearse, r.newRun(d.Token, 1), r.core.Plan().StartBound(), func(err error) {
		r.drilling.busy = false
		r.endDrill(d, err)
	})
}

// callWithin calls a function, whose context ends after the limit, or so long after the runner
// was told to end.
func (r *runner) callWithin(limit, grace time.Duration, do func(ctx context.Context)) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	returned := make(chan struct{})
	defer close(returned)
	r.group.Go(func(context.Context) {
		select {
		case <-r.closing:
			timer := time.AfterFunc(grace, cancel)
			<-returned
			timer.Stop()
		case <-returned:
		}
	})
	do(ctx)
}

// writeDrill writes a drill to the records; then the runner's goroutine goes on.
func (r *runner) writeDrill(d takeover.Drill, then func(err error)) {
	text, err := json.Marshal(d)
	if err != nil {
		then(err)
		return
	}
	key := r.drillKey()
	r.drilling.book.noteValue(key, text)
	r.drilling.busy = true
	r.group.Go(func(context.Context) {
		var err error
		r.callWithin(writeLimit, restGrace, func(ctx context.Context) { err = r.drilling.records.Write(ctx, key, text, 0) })
		r.post(func() {
			r.drilling.busy = false
			then(err)
		})
	})
}
