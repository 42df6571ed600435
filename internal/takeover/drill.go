package takeover

import (
	"errors"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// Drill is one trial of whether another node can run a service, as the nodes share it. The zero
// Drill is none.
type Drill struct {
	Slot     time.Time   // when it was due, or asked for
	From, To view.NodeID // who runs the service, and who is to show that it can
	Token    token.Token // the newest of From when it began
	Shadow   bool        // the service stays at From
	Ended    bool
	Failure  string // empty: it has passed
}

const (
	// maxJump is how far the wall clock may run away from the run time between two looks.
	maxJump = time.Minute
	// slotAhead is how far ahead the slot of the last drill may lie: it was run by a node
	// whose clock was wrong if it lies further.
	slotAhead = 24 * time.Hour
	// dueFor is for how long a drill that is due waits for the service to be well.
	dueFor = 10 * time.Minute
	// openFor is for how long a drill may be open: one that is older was left, as by a site that
	// lost its power, and moves nothing any more.
	openFor = 24 * time.Hour
	// tellTime is within what time a node hears that another one has ended a drill.
	tellTime = 10 * time.Second
)

// Slots tells when a drill becomes due while somebody looks. What was due when nobody looked, or
// while the clock was set, is left out: a clock that is set begins no drill. The zero value has
// not looked yet.
type Slots struct {
	schedule service.Drill
	due      time.Time // what waits to begin
	next     time.Time
	wall     time.Time
	up       time.Duration
}

// FindDue returns the time of a drill that has become due while somebody looked, a few minutes ago
// at most, and was not left out; zero if there is none.
func (s *Slots) FindDue(d service.Drill, wall time.Time, up time.Duration) (slot time.Time) {
	wall = wall.Round(0)
	jump := wall.Sub(s.wall) - (up - s.up)
	isNew := s.wall.IsZero() || s.schedule != d || jump > maxJump || jump < -maxJump
	switch {
	case isNew:
		*s = Slots{schedule: d, next: d.Next(wall)}
	case !s.next.IsZero() && !wall.Before(s.next):
		s.due, s.next = s.next, d.Next(wall)
	}
	s.wall, s.up = wall, up
	if !s.due.IsZero() && wall.Sub(s.due) > dueFor {
		s.LeaveOut()
	}
	return s.due
}

// LeaveOut has the drill that is due be due no more: it begins, or another node has begun it.
func (s *Slots) LeaveOut() { s.due = time.Time{} }

// IsOpen tells whether a drill has not ended, and may yet.
func (d Drill) IsOpen(wall time.Time) bool {
	return !d.Slot.IsZero() && !d.Ended && wall.Sub(d.Slot) < openFor
}

// IsNewSlot tells whether a drill that is due was not begun yet by anybody: the last one that is
// known is of an earlier slot, or of one so far ahead that a wrong clock must have begun it.
func (d Drill) IsNewSlot(slot time.Time) bool {
	return d.Slot.Before(slot) || d.Slot.Sub(slot) > slotAhead
}

// Reasons why a drill has failed.
var (
	ErrNotMoved   = errors.New("the service has not moved in time")
	ErrElsewhere  = errors.New("the service could not be verified at the node that was to run it")
	ErrNotHeardOf = errors.New("the node that was to try it has not told of it in time")
	ErrNobody     = errors.New("no other node stands for the service")
)

// Look is what a node knows about a drill of one of its services.
type Look struct {
	Self     view.NodeID
	Verified bool          // it runs the service
	Began    token.Token   // with this lead; zero: it does not lead
	Led      time.Duration // for how long it does
	Open     time.Duration // for how long the drill is known here
	Bound    time.Duration // within what time it is to be verified elsewhere
	Wall     time.Time
}

// Judge returns whether a node has a drill end now, and how.
//
//	drill    the node                                       it ends
//	-------  ---------------------------------------------  ---------------------------
//	moves    is To, and runs the service, led since then    passed
//	moves    is another one that runs it, led since then,   ErrElsewhere
//	         and for tellTime: To may have ended the drill
//	moves    is From, leads as before, the bound is over    ErrNotMoved
//	shadow   is To                                          by what Rehearse returns
//	shadow   is From, the bound is over                     ErrNotHeardOf
func (d Drill) Judge(l Look) (ends bool, failure error) {
	since := d.Token.Less(l.Began)
	switch {
	case !d.IsOpen(l.Wall):
		return false, nil
	case d.Shadow:
		return d.From == l.Self && l.Open >= l.Bound, ErrNotHeardOf
	case l.Verified && since && d.To == l.Self:
		return true, nil
	case since:
		return l.Verified && l.Led >= tellTime, ErrElsewhere
	}
	return d.From == l.Self && !l.Began.IsZero() && l.Open >= l.Bound, ErrNotMoved
}

// BestOther returns the node that would take over from this one: of those that stand and have
// not failed lately the one that the plan prefers. Zero: there is none.
func (r *Run) BestOther() (id view.NodeID) {
	var most Preference
	for _, o := range r.peers {
		if o.Preference.isSound() && o.Preference > most {
			id, most = o.ID, o.Preference
		}
	}
	return id
}
