package failover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	methodAdmin = "admin/failover" // programs that are no nodes
	methodPeer  = "failover/ask"   // nodes, of who runs a service
	maxRequest  = 128 << 10
	maxAnswer   = 512 << 10 // of events, about
	peerLimit   = 10 * time.Second
)

// Caller asks a node. *mesh.Client is one.
type Caller interface {
	// Call sends req to the node's handler of that method and returns its answer, which is
	// the caller's.
	Call(ctx context.Context, method string, req []byte) ([]byte, error)
}

// request is what a Client asks, or one node asks another one.
type request struct {
	Do      string
	Service string        `json:",omitempty"`
	Node    string        `json:",omitempty"`
	Plan    *service.Plan `json:",omitempty"`
	Mode    service.Mode
	Since   time.Time `json:",omitzero"`
	Limit   int       `json:",omitempty"`
}

type answer struct {
	Services []Status       `json:",omitempty"`
	Plans    []service.Plan `json:",omitempty"`
	Warnings []string       `json:",omitempty"`
	Events   []Event        `json:",omitempty"`
	Route    Route          `json:",omitzero"`
	Code     string         `json:",omitempty"` // of an error of this package, or ""
	Error    string         `json:",omitempty"` // in words
}

// codes are what errors of this package are called between programs.
var codes = map[string]error{
	"config": ErrConfig, "closed": ErrClosed, "unknown service": ErrUnknownService, "unknown node": ErrUnknownNode, "not here": ErrNotHere,
	"plan": ErrPlan, "no records": ErrNoRecords, "not served": ErrNotServed, "drilling": ErrDrilling,
}

// remoteError is an error that a node has told of.
type remoteError struct {
	words string
	kind  error // nil: none of this package
}

func (e *remoteError) Error() string { return e.words }
func (e *remoteError) Unwrap() error { return e.kind }

func (a *answer) setError(err error) {
	if err == nil {
		return
	}
	a.Error = err.Error()
	for code, kind := range codes {
		if errors.Is(err, kind) {
			a.Code = code
		}
	}
}

func (a *answer) toError() error {
	if a.Error == "" {
		return nil
	}
	return &remoteError{a.Error, codes[a.Code]}
}

// handleRequests has the node answer programs that are no nodes, and other nodes.
func (f *Failover) handleRequests() error {
	if err := f.cfg.Mesh.Handle(methodAdmin, f.serveWith(f.answerAdmin)); err != nil {
		return fmt.Errorf("failover: open: a node has one Failover: %w", err)
	}
	if err := f.cfg.Mesh.Handle(methodPeer, f.serveWith(f.answerPeer)); err != nil {
		return fmt.Errorf("failover: open: a node has one Failover: %w", err)
	}
	return nil
}

// serveWith returns a handler that answers by a function. What is wrong with a request goes into
// the answer, with what could be had beside it.
func (f *Failover) serveWith(do func(ctx context.Context, r request, a *answer) error) func(context.Context, view.NodeID, []byte) ([]byte, error) {
	return func(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
		var r request
		if len(req) > maxRequest {
			return nil, fmt.Errorf("failover: a request of %d bytes, %d are the most", len(req), maxRequest)
		}
		if err := json.Unmarshal(req, &r); err != nil {
			return nil, fmt.Errorf("failover: read a request: %w", err)
		}
		var a answer
		a.setError(do(ctx, r, &a))
		return json.Marshal(a)
	}
}

func (f *Failover) answerAdmin(ctx context.Context, r request, a *answer) (err error) {
	switch r.Do {
	case "services":
		if a.Services = f.Status(); f.isClosed() {
			return ErrClosed
		}
	case "plans":
		a.Plans, err = f.Plans(ctx)
	case "set plan":
		if r.Plan == nil {
			return fmt.Errorf("%w: there is none", ErrPlan)
		}
		var warnings []*service.Fault
		warnings, err = f.SetPlan(ctx, *r.Plan)
		for _, w := range warnings {
			a.Warnings = append(a.Warnings, w.Error())
		}
	case "drop plan":
		err = f.DropPlan(ctx, r.Service, r.Mode)
	case "resolve":
		a.Route, err = f.Resolve(r.Service)
	case "history":
		a.Events, err = f.History(ctx, r.Service, r.Since, r.Limit)
		a.Events = latestEvents(a.Events)
	case "move", "drill":
		return f.askLeader(ctx, r, a)
	default:
		return fmt.Errorf("failover: this release does not know how to %.30q", r.Do)
	}
	return err
}

// latestEvents returns as many of the newest events as go into an answer.
func latestEvents(events []Event) []Event {
	size := 0
	for i := len(events) - 1; i >= 0; i-- {
		if size += 300 + len(events[i].Error) + len(events[i].Why); size > maxAnswer {
			return events[i+1:]
		}
	}
	return events
}

// answerPeer does what only the node that runs a service can.
func (f *Failover) answerPeer(_ context.Context, r request, _ *answer) error {
	switch r.Do {
	case "move":
		return f.Move(r.Service, r.Node)
	case "drill":
		return f.Drill(r.Service)
	}
	return fmt.Errorf("failover: this release does not know how to %.30q", r.Do)
}

// askLeader has the node that leads a service do what is asked.
func (f *Failover) askLeader(ctx context.Context, r request, a *answer) error {
	leader := f.findLeader(r.Service)
	switch leader {
	case 0:
		return fmt.Errorf("%w: %.60q", ErrNotServed, r.Service)
	case f.cfg.Mesh.ID():
		return f.answerPeer(ctx, r, a)
	}
	req, err := json.Marshal(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, peerLimit)
	defer cancel()
	text, err := f.cfg.Mesh.Call(ctx, leader, methodPeer, req)
	if err != nil {
		return fmt.Errorf("failover: %s %.60q at %v, which leads it: %w", r.Do, r.Service, leader, err)
	}
	var theirs answer
	if err := json.Unmarshal(text, &theirs); err != nil {
		return fmt.Errorf("failover: %s %.60q at %v: read the answer: %w", r.Do, r.Service, leader, err)
	}
	return theirs.toError()
}

// findLeader returns who leads a service, in the mode that counts; 0 if nobody is known to.
func (f *Failover) findLeader(name string) view.NodeID {
	for _, mode := range [...]service.Mode{service.Exclusive, service.PerComponent} {
		if leader, _ := f.cfg.Elections.Standing(electionOf(name, mode)); !leader.IsZero() {
			return leader.Node
		}
	}
	return 0
}
