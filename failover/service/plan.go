// Package service holds the words about how services are run: what a plan says, what a node
// must have for it, and what a node lacks. Package failover acts by them.
//
// Plans are made for people to write, as Go values or JSON: steps, modes and durations are
// words in it ("start", "exclusive", "10s"). A name or value that is not known is an error.
// A value of a plan may be shared freely as long as nobody changes it.
package service

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/netresearch/go-cron"

	"github.com/skeinmesh/skein/partition/token"
)

// Mode says how many nodes run a service. A service has one mode for ever.
type Mode uint8

const (
	Exclusive    Mode = iota // one in the whole mesh, where more than half of the voters are
	PerComponent             // one in each part of a cut mesh
)

// Scope returns the scope of the election.
func (m Mode) Scope() token.Scope {
	if m == PerComponent {
		return token.ScopeComponent
	}
	return token.ScopeMajority
}

// FailBack says when a node that the plan prefers takes over from one that runs the
// service well. A move that is asked for is always made.
type FailBack uint8

const (
	FailBackNever  FailBack = iota
	FailBackAfter           // once it has been the better one all the time for Plan.After
	FailBackByHand          // when a person asks for it; that it could is recorded
)

// Step is one of the five steps of a start, in their order.
type Step uint8

const (
	Prepare Step = iota
	Sync
	Start
	Route
	Verify
	StepCount
)

// Limits are those of one step. Its undoing, and the stop in the case of Start, have the same
// time.
type Limits struct {
	Timeout time.Duration // of one attempt; 0 is 10 s
	Retries int           // attempts after the first one
}

// Check limits the health checks.
type Check struct {
	Interval time.Duration // from one check's beginning to the next one's; 0 is 1 s
	Timeout  time.Duration // a check without an answer by then is bad; 0 is 1 s
}

// Drill says when it is tried whether another node can run a service. The zero Drill is never.
type Drill struct {
	// Schedule is "daily", "weekly" or "monthly", at midnight, on Sundays, and on the first,
	// or five fields of cron: minute, hour, day of the month, month, day of the week. All by
	// UTC.
	Schedule string `json:",omitempty"`
	// Shadow has the service's Rehearse try it there, and the service stay where it is. Without
	// it the service is moved, is verified there, and is moved back.
	Shadow bool `json:",omitempty"`
}

// Next returns the first time of a drill after t, by UTC; zero for never.
func (d Drill) Next(t time.Time) time.Time {
	s, err := d.readSchedule()
	if s == nil || err != nil {
		return time.Time{}
	}
	return s.Next(t.UTC())
}

func (d Drill) readSchedule() (cron.Schedule, error) {
	switch d.Schedule {
	case "":
		return nil, nil
	case "daily", "weekly", "monthly":
		return cron.ParseStandard("@" + d.Schedule)
	}
	if len(d.Schedule) > maxWord || strings.Contains(d.Schedule, "=") { // a time zone is another file to trust
		return nil, ErrSchedule
	}
	parser, err := cron.TryNewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
	if err != nil {
		return nil, err
	}
	s, err := parser.Parse(d.Schedule)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSchedule, err)
	}
	if s.Next(time.Unix(0, 0).UTC()).IsZero() {
		return nil, fmt.Errorf("%w: there is no such day", ErrSchedule)
	}
	return s, nil
}

// Needs are what a node must have to run a service.
type Needs struct {
	Capabilities []string // all of these
	Zones        []string // one of these; none: anywhere
	Data         []string // all of these, held at the node
	Headroom     int      // free of each resource in per mille; 0 is 100
}

// Plan says how a service is run. Nodes are meant by name, for a plan outlives their ids.
type Plan struct {
	Service string // 1 to 56 bytes
	Mode    Mode
	Runs    string // names what is run, a digest say: another word has it run anew
	Primary string // preferred before all others; empty: nobody is
	Backups []string
	Needs   Needs
	// Conditions are those in which a node does not run the service, if another one fits. See
	// ConditionOverload.
	Conditions []string
	// Requires are other services: a node begins this one only while each of them is led
	// somewhere in reach. What runs already is not ended for it.
	Requires []string `json:",omitempty"`
	// Procedures are run at a start, in their order. Some words stand for steps, in the order
	// of these: see ProcedureSync. The others are functions of the Service, and run with the
	// step whose word stands before them, behind its hook; with prepare if there is none.
	Procedures []string `json:",omitempty"`
	// Drill has it be seen now and then that another node can run the service.
	Drill    Drill `json:",omitzero"`
	FailBack FailBack
	After    time.Duration // with FailBackAfter
	Steps    [StepCount]Limits
	Check    Check
	Restarts int // of a failed service where it is, before another node's turn comes
}

// Words for Plan.Conditions. The first three hold at no node that could look: a node that has
// failed, is cut off from the voters or runs the service badly loses it in any case, and a plan
// may say so.
const (
	ConditionNode      = "node_failure"
	ConditionPartition = "network_partition"
	ConditionHealth    = "health"
	// ConditionOverload holds where, for half a minute, hardly anything was free of a resource. A
	// service that overloads whatever node runs it goes round by it.
	ConditionOverload = "overload"
	// ConditionHardware is for the program to tell.
	ConditionHardware = "hardware_failure"
)

// Words for Plan.Procedures that stand for steps.
const (
	ProcedureSync    = "sync_data"
	ProcedureRestart = "restart_service"
	ProcedureRoute   = "update_routing"
)

// What can be wrong with a plan. Each comes in a Fault.
var (
	ErrUnknownNode   = errors.New("no node has this name")
	ErrDuplicate     = errors.New("is there twice")
	ErrPrimaryBackup = errors.New("is the primary, and a backup as well")
	ErrBound         = errors.New("is out of bounds")
	ErrStepOrder     = errors.New("stands for a step that comes before another one that is named before it")
	ErrCycle         = errors.New("needs this service itself, by others or at once")
	ErrSchedule      = errors.New("is no schedule")
	ErrNobodyMeets   = errors.New("no known node meets it") // a warning
)

const (
	// MaxBackups is how many backups a plan names at most.
	MaxBackups = 16
	// WholeUse is the use in per mille of a resource of which nothing is free.
	WholeUse = 1000
)

const (
	maxWords    = 32 // of one kind that are needed
	maxWord     = 64 // bytes
	maxService  = 56 // with "service/" before it, it names an election
	maxRetries  = 10
	maxTimeout  = time.Hour
	minInterval = time.Millisecond
	maxAfter    = 30 * 24 * time.Hour
	headroom    = 100 // if the plan does not say
)

// Fault is one thing that is wrong with a plan.
type Fault struct {
	Field, Value string
	Err          error
}

func (f *Fault) Error() string { return fmt.Sprintf("service: %s %.60q: %v", f.Field, f.Value, f.Err) }

// Unwrap returns Err.
func (f *Fault) Unwrap() error { return f.Err }

// Complete returns the plan with the defaults in the place of zeros.
func (p Plan) Complete() Plan {
	p.Check.Interval, p.Check.Timeout = orDefault(p.Check.Interval, time.Second), orDefault(p.Check.Timeout, time.Second)
	p.Needs.Headroom = orDefault(p.Needs.Headroom, headroom)
	for k := range p.Steps {
		p.Steps[k].Timeout = orDefault(p.Steps[k].Timeout, 10*time.Second)
	}
	return p
}

func orDefault[T comparable](v, def T) (zero T) {
	if v == zero {
		return def
	}
	return v
}

// Validate returns all that is wrong with a plan, as Faults that are joined, and apart from
// that what keeps the service from running as things are: needs that no known node meets.
// Where no node is known nothing is said about nodes.
func (p Plan) Validate(known []Node) (warnings []*Fault, err error) {
	p = p.Complete()
	var faults []error
	check := func(ok bool, field string, value any, err error) {
		if !ok {
			faults = append(faults, &Fault{field, fmt.Sprint(value), err})
		}
	}
	within := func(field string, d, low, high time.Duration) { check(d >= low && d <= high, field, d, ErrBound) }
	isKnown := func(name string) bool {
		return len(known) == 0 || slices.ContainsFunc(known, func(n Node) bool { return n.Name == name })
	}
	words := func(field string, words []string, limit int) []string {
		check(len(words) <= limit, field, strconv.Itoa(len(words))+" words", ErrBound)
		words = words[:min(len(words), limit)]
		for i, w := range words {
			check(w != "" && len(w) <= maxWord, field, w, ErrBound)
			check(!slices.Contains(words[:i], w), field, w, ErrDuplicate)
		}
		return words
	}

	check(p.Service != "" && len(p.Service) <= maxService && utf8.ValidString(p.Service), "service", p.Service, ErrBound)
	check(p.Mode <= PerComponent, "mode", p.Mode, ErrBound)
	check(len(p.Runs) <= maxWord, "runs", p.Runs, ErrBound)
	check(p.Primary == "" || isKnown(p.Primary), "primary", p.Primary, ErrUnknownNode)
	for _, name := range words("backups", p.Backups, MaxBackups) {
		check(isKnown(name), "backups", name, ErrUnknownNode)
		check(name != p.Primary, "backups", name, ErrPrimaryBackup)
	}
	words("capabilities", p.Needs.Capabilities, maxWords)
	words("zones", p.Needs.Zones, maxWords)
	words("data", p.Needs.Data, maxWords)
	words("conditions", p.Conditions, maxWords)
	for _, name := range words("requires", p.Requires, maxWords) {
		check(name != p.Service, "requires", name, ErrCycle)
	}
	at := Prepare
	for _, name := range words("procedures", p.Procedures, maxWords) {
		k, isStep := stepOfWord(name)
		check(!isStep || k > at, "procedures", name, ErrStepOrder)
		if isStep {
			at = k
		}
	}
	check(p.Needs.Headroom > 0 && p.Needs.Headroom <= WholeUse, "headroom", p.Needs.Headroom, ErrBound)
	check(p.FailBack <= FailBackByHand, "fail-back", p.FailBack, ErrBound)
	if p.FailBack == FailBackAfter {
		within("fail-back after", p.After, time.Second, maxAfter)
	}
	for k, s := range p.Steps {
		within("timeout of "+Step(k).String(), s.Timeout, minInterval, maxTimeout)
		check(s.Retries >= 0 && s.Retries <= maxRetries, "retries of "+Step(k).String(), s.Retries, ErrBound)
	}
	within("check interval", p.Check.Interval, minInterval, maxTimeout)
	within("check timeout", p.Check.Timeout, minInterval, maxTimeout)
	_, badSchedule := p.Drill.readSchedule()
	check(badSchedule == nil, "drill", p.Drill.Schedule, badSchedule)
	check(p.Restarts >= 0 && p.Restarts <= maxRetries, "restarts", p.Restarts, ErrBound)
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return p.unmetNeeds(known), nil
}

// unmetNeeds returns the needs that no known node meets; if each is met by one, but all by
// none, that.
func (p Plan) unmetNeeds(known []Node) (unmet []*Fault) {
	if len(known) == 0 {
		return nil
	}
	add := func(field, value string, needs Needs) {
		p := Plan{Needs: needs}
		if !slices.ContainsFunc(known, func(n Node) bool { return len(p.lackingNeeds(n)) == 0 }) {
			unmet = append(unmet, &Fault{field, value, ErrNobodyMeets})
		}
	}
	for _, w := range p.Needs.Capabilities {
		add("capabilities", w, Needs{Capabilities: []string{w}})
	}
	for _, w := range p.Needs.Data {
		add("data", w, Needs{Data: []string{w}})
	}
	if len(p.Needs.Zones) > 0 {
		add("zones", fmt.Sprint(p.Needs.Zones), Needs{Zones: p.Needs.Zones})
	}
	if len(unmet) == 0 {
		add("needs", "all together", p.Needs)
	}
	return unmet
}

// ValidateRequires returns a Fault for each service that a plan requires, and that needs the
// plan's own one to run, by the other plans.
func (p Plan) ValidateRequires(others []Plan) error {
	requires := map[string][]string{}
	for _, o := range others {
		requires[o.Service] = append(requires[o.Service], o.Requires...)
	}
	requires[p.Service] = nil // the new plan takes the place of this one
	var faults []error
	for _, first := range p.Requires {
		seen, next := map[string]bool{}, []string{first}
		for len(next) > 0 {
			name := next[0]
			next = next[1:]
			if !seen[name] {
				seen[name] = true
				next = append(next, requires[name]...)
			}
		}
		if seen[p.Service] {
			faults = append(faults, &Fault{"requires", first, ErrCycle})
		}
	}
	return errors.Join(faults...)
}

// stepOfWord returns the step that a word in Plan.Procedures stands for.
func stepOfWord(word string) (k Step, ok bool) {
	switch word {
	case ProcedureSync:
		return Sync, true
	case ProcedureRestart:
		return Start, true
	case ProcedureRoute:
		return Route, true
	}
	return Prepare, false
}

// ProceduresOf returns the procedures that run with a step, behind its hook.
func (p Plan) ProceduresOf(step Step) (names []string) {
	at := Prepare
	for _, name := range p.Procedures {
		if k, isStep := stepOfWord(name); isStep {
			at = k
		} else if at == step {
			names = append(names, name)
		}
	}
	return names
}

// StartBound is within what time a service is verified if each step's last attempt succeeds
// at the latest, and each undoing, or the stop after it, ends in its time.
func (p Plan) StartBound() (sum time.Duration) {
	for k, s := range p.Complete().Steps {
		undo := s.Timeout
		if Step(k) == Start {
			undo *= 2 // and the stop
		}
		sum += s.Timeout + time.Duration(s.Retries)*(s.Timeout+undo)
	}
	return sum
}

// UndoBound is within what time all is undone if a stop ends in its time.
func (p Plan) UndoBound() (sum time.Duration) {
	p = p.Complete()
	for _, s := range p.Steps {
		sum += s.Timeout
	}
	return sum + p.Steps[Start].Timeout
}
