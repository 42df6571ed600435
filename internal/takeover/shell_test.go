package takeover

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/partition/token"
)

var errHook = errors.New("the hook has failed")

// testShell carries out what a Run asks for, and checks each action by what it knows itself.
type testShell struct {
	t    *testing.T
	run  *Run
	plan service.Plan
	now  time.Duration

	lead     bool
	leaseEnd time.Duration
	token    token.Token

	stack   []service.Step // begun and not undone
	stopped bool           // what is left of service.Start in the stack has been stopped
	alive   bool           // something of a run may be there
	open    map[uint64]Action
	lapsing bool
	log     []testEvent
	did     []Action
}

type testEvent struct {
	at      time.Duration
	event   string
	actions []Action
}

func newTestShell(t *testing.T, plan service.Plan) *testShell {
	plan = plan.Complete()
	s := &testShell{t: t, run: NewRun(plan), plan: plan, open: make(map[uint64]Action)}
	s.takeFacts("facts", threeNodes[0], threeNodes[1:])
	return s
}

func (s *testShell) fail(format string, args ...any) {
	s.t.Helper()
	var text strings.Builder
	for _, e := range s.log[max(0, len(s.log)-60):] {
		fmt.Fprintf(&text, "%v %s\n", e.at, e.event)
		for _, a := range e.actions {
			fmt.Fprintf(&text, "    %T%+v\n", a, a)
		}
	}
	s.t.Fatalf("%s%v: %s", &text, s.now, fmt.Sprintf(format, args...))
}

func (s *testShell) penalised() bool { return s.run.now < s.run.penalty.Until() }

func (s *testShell) takeFacts(event string, own service.Node, others []service.Node) {
	s.t.Helper()
	s.take(event, s.run.FactsChanged(s.now, own, peersOf(s.plan, others)))
}

// peersOf returns what nodes tell of themselves by a plan.
func peersOf(p service.Plan, nodes []service.Node) (peers []Peer) {
	for _, n := range nodes {
		peers = append(peers, Peer{n.ID, n.Name, preferenceOf(p, n)})
	}
	return peers
}

// take carries out the actions that answer an event.
func (s *testShell) take(event string, actions []Action) {
	s.t.Helper()
	s.log = append(s.log, testEvent{s.now, event, actions})
	for _, a := range actions {
		s.did = append(s.did, a)
		s.takeOne(a)
	}
	if !s.lead && s.alive && !s.asked(func(a Action) bool { _, ok := a.(Stop); return ok }) {
		s.fail("the lead is lost, and nothing stops the run")
	}
	if due := s.run.NextDue(); due <= s.now {
		s.fail("due at %v, and not done", due)
	} else if due == Never && (s.lead || len(s.stack) > 0) {
		s.fail("a dead end")
	}
}

func (s *testShell) asked(is func(Action) bool) bool {
	for _, a := range s.open {
		if is(a) {
			return true
		}
	}
	return false
}

func (s *testShell) takeOne(a Action) {
	s.t.Helper()
	var shown token.Token
	switch a := a.(type) {
	case Begin:
		shown = a.Token
		s.settleStack(a.Step)
		if !s.lead || s.now >= s.leaseEnd {
			s.fail("begun without a lead")
		}
		if int(a.Step) != len(s.stack) {
			s.fail("%v after %v", a.Step, s.stack)
		}
		if a.Step == service.Start && s.alive {
			s.fail("two runs at once")
		}
		if limit := s.plan.Steps[a.Step].Retries; a.Try < 1 || a.Try > limit+1 {
			s.fail("try %d, and %d retries", a.Try, limit)
		}
		s.stack = append(s.stack, a.Step)
		s.alive = s.alive || a.Step == service.Start
		s.open[a.Attempt] = a
		s.checkDeadline(a.Deadline)
	case Undo:
		shown = a.Token
		s.settleStack(a.Step)
		if len(s.stack) == 0 || s.stack[len(s.stack)-1] != a.Step {
			s.fail("%v undone, and begun are %v", a.Step, s.stack)
		}
		s.open[a.Attempt] = a
		s.checkDeadline(a.Deadline)
	case Stop:
		shown = a.Token
		s.open[a.Attempt] = a
		s.checkDeadline(a.Deadline)
	case BeginCheck:
		shown = a.Token
		if !s.lead || len(s.stack) != int(service.StepCount) {
			s.fail("checked with %v", s.stack)
		}
		s.open[a.Attempt] = a
		s.checkDeadline(a.Deadline)
	case GiveBack:
		shown = a.Token
		s.settleStack(service.Prepare)
		if !s.lead || !a.Lapse && (s.alive || len(s.stack) > 0) {
			s.fail("given back with %v", s.stack)
		}
		s.lead, s.lapsing = false, a.Lapse
	case Alarm:
		shown = a.Token
	case Record:
		shown = a.Token
		s.takeRecord(a)
	}
	if shown != s.token {
		s.fail("%v is shown, the newest is %v", shown, s.token)
	}
}

func (s *testShell) checkDeadline(d time.Duration) {
	s.t.Helper()
	if d <= s.now {
		s.fail("a deadline of %v", d)
	}
}

func (s *testShell) takeRecord(a Record) {
	s.t.Helper()
	switch {
	case a.What == UndoEnded && (a.Step != service.Start || a.Err == nil):
		if len(s.stack) == 0 || s.stack[len(s.stack)-1] != a.Step {
			s.fail("%v was undone, and begun are %v", a.Step, s.stack)
		}
		s.stack = s.stack[:len(s.stack)-1]
	case a.What == StopEnded && a.Err == nil:
		s.stopped = slices.Contains(s.stack, service.Start)
	}
}

// settleStack takes service.Start from the stack where a stop was its undoing.
func (s *testShell) settleStack(next service.Step) {
	if n := len(s.stack); s.stopped && n > 0 && s.stack[n-1] == service.Start && next <= service.Start {
		s.stack, s.stopped = s.stack[:n-1], false
	}
}

// end answers an open attempt.
func (s *testShell) end(id uint64, err error) {
	s.t.Helper()
	a := s.open[id]
	delete(s.open, id)
	event := "ended " + strconv.FormatUint(id, 10)
	if err != nil {
		event += ", " + err.Error()
	}
	switch a := a.(type) {
	case Stop:
		s.alive = s.alive && err != nil
		if err != nil {
			s.open[id] = a // it will be demanded again
		}
	case Undo:
		s.alive = s.alive && !(a.Step == service.Start && err == nil)
	case BeginCheck:
		s.take(event, s.run.CheckEnded(s.now, id, err == nil))
		return
	}
	s.take(event, s.run.Ended(s.now, id, err))
}

func (s *testShell) led(lease time.Duration) {
	s.t.Helper()
	s.token = token.Token{Term: s.token.Term + 1, Node: 1}
	s.lead, s.leaseEnd = true, s.now+lease
	s.take("led", s.run.Led(s.now, s.token, s.leaseEnd, false))
}

func (s *testShell) lose() {
	s.t.Helper()
	s.lead = false
	s.take("lead lost", s.run.LeadLost(s.now, s.token))
}

func (s *testShell) tick(now time.Duration) {
	s.t.Helper()
	s.now = max(s.now, now)
	s.lead = s.lead && s.now < s.leaseEnd
	s.take("tick", s.run.Tick(s.now))
}

// openIDs returns the attempts without an answer, in order.
func (s *testShell) openIDs() (ids []uint64) {
	for id := range s.open {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// answer answers, from now on until the time, all that is asked, each after a while; what is
// older has been given up but for a stop.
func (s *testShell) answer(until, takes time.Duration, result func(Action) error) {
	s.t.Helper()
	for s.now < until {
		ids := s.openIDs()
		i := slices.IndexFunc(ids, func(id uint64) bool { return result(s.open[id]) != errHang })
		next := min(s.run.NextDue(), until)
		if i < 0 || s.now+takes > next {
			s.tick(next)
			continue
		}
		s.tick(s.now + takes)
		if a, ok := s.open[ids[i]]; ok {
			s.end(ids[i], result(a))
		}
	}
}

var errHang = errors.New("the hook hangs")

func works(Action) error { return nil }

// begins counts the steps of a kind that were begun.
func (s *testShell) begins(k service.Step) (n int) {
	for _, a := range s.did {
		if b, ok := a.(Begin); ok && b.Step == k {
			n++
		}
	}
	return n
}

// last returns the last action of a type.
func last[T Action](s *testShell) (found T, ok bool) {
	for _, a := range s.did {
		if a, is := a.(T); is {
			found, ok = a, true
		}
	}
	return found, ok
}
