package failover

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
	"unicode/utf8"

	"github.com/skeinmesh/skein/failover/service"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// Hook is one thing that is done for a service. It must return soon after ctx has ended,
// which is when its step has taken too long, or nobody waits for it any more. What it
// returns, and a panic, is the result of the step.
type Hook func(ctx context.Context, run Run) error

// Service is something that this node can run. Start and Stop are required; a step without
// a hook has ended well at once.
//
// A hook may be called again, and an undoing without that anything was done. Hooks of one
// service are called one at a time, but Stop, for which no hook that hangs is waited.
type Service struct {
	// Plan is the one that it begins with. Its Service and Mode are required, and stay; they
	// are the same at all nodes, for ever. With the rest left out whoever is able to runs it,
	// best who uses least.
	Plan service.Plan

	// Address is where the service is found while it runs here, verified: what Resolve returns
	// at all nodes, 256 bytes at most. Empty: nowhere, unless a hook says it by Run.Announce.
	Address string

	// Prepare, Sync, Start, Route and Verify are the five steps of a start: make the node
	// ready, fetch data, run it, have it found, see that it serves.
	Prepare, Sync, Start, Route, Verify Hook
	// UndoPrepare, UndoSync and UndoRoute undo those steps. Stop undoes Start: it returns nil
	// when nothing of the run is left. It is also called when the lead is lost, and once when
	// Serve is, for what a process of this node before this one may have left, with Run.Forced:
	// then there is no time to end in order.
	UndoPrepare, UndoSync, UndoRoute, Stop Hook
	// Procedures are what the Procedures of a plan name, each by its name: steps of a start that
	// a plan puts together, as to restore something from a backup. One that fails fails its
	// step. ExecCheck makes one of a command. A node that lacks one that the plan names does not
	// stand.
	Procedures map[string]Hook
	// Rehearse tries whether this node could run the service, beside where it runs: for drills
	// whose plan says Shadow. It undoes what it has done. Its Run has no lead. Nil: such a drill
	// fails here.
	Rehearse Hook
	// Check looks whether the service is well, now and then while it runs. Nil: it always is.
	Check Hook
}

// Validate reports every fault of the Service at once; errors.Is finds ErrConfig.
func (s Service) Validate() error {
	var faults []error
	if s.Start == nil || s.Stop == nil {
		faults = append(faults, errors.New("no Start, or no Stop"))
	}
	if err := validateAddress(s.Address); err != nil {
		faults = append(faults, err)
	}
	for name, procedure := range s.Procedures {
		if name == "" || procedure == nil {
			faults = append(faults, fmt.Errorf("procedure %.60q has no name or no function", name))
		}
	}
	if _, err := s.Plan.Validate(nil); err != nil {
		faults = append(faults, err)
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: service %.60q: %w", ErrConfig, s.Plan.Service, errors.Join(faults...))
}

// Election returns the election whose leader runs the service.
func (s Service) Election() token.Election { return electionOf(s.Plan.Service, s.Plan.Mode) }

func electionOf(name string, mode service.Mode) token.Election {
	return token.Election{Name: "service/" + name, Scope: mode.Scope()}
}

// stepHooks are the hooks of the steps, and those that undo them.
func (s Service) stepHooks() (do, undo [service.StepCount]Hook) {
	do = [...]Hook{service.Prepare: s.Prepare, service.Sync: s.Sync, service.Start: s.Start, service.Route: s.Route, service.Verify: s.Verify}
	undo = [...]Hook{service.Prepare: s.UndoPrepare, service.Sync: s.UndoSync, service.Start: s.Stop, service.Route: s.UndoRoute, service.Verify: nil}
	return do, undo
}

// Run is what a hook is told about what it is called for.
type Run struct {
	// Service is its name, Node the node that runs it.
	Service string
	Node    view.NodeID
	// Try counts the attempts of a step, from 1. It is 0 for what is no step.
	Try int
	// Forced: the lead is over, or ends within the guard of the elections' pace. Another node
	// may start the service soon, so Stop kills.
	Forced bool

	election  token.Election
	elections Elections
	shown     token.Token
	start     int // which start of the service at this node it is
	announce  func(address string) bool
}

// Token returns the token with which this node leads now; show it to whatever is written to
// or switched, before each act, for it may grow. Without a lead, or with the Forced of Stop,
// it is an error to act for the service: the error is that of Elections.Lease.
func (r Run) Token() (token.Token, error) {
	t, _, err := r.elections.Lease(r.election)
	return t, err
}

// Left returns for how long this node leads if nothing renews its lease; 0 if it does not.
func (r Run) Left() time.Duration {
	_, left, err := r.elections.Lease(r.election)
	if err != nil {
		return 0
	}
	return left
}

// Announce says where the service is found under this lead, in place of Service.Address; once
// it is verified all nodes know it. An empty address is nowhere. The error is ErrConfig for
// one of more than 256 bytes, ErrNotHere when the lead is over.
func (r Run) Announce(address string) error {
	if err := validateAddress(address); err != nil {
		return fmt.Errorf("%w: service %.60q: %w", ErrConfig, r.Service, err)
	}
	if !r.announce(address) {
		return fmt.Errorf("%w: announce %.60q at %.60q", ErrNotHere, r.Service, address)
	}
	return nil
}

// validateAddress refuses what cannot be kept as it is: a route that is read otherwise than it
// was written would be written again and again.
func validateAddress(address string) error {
	if len(address) > maxAddress || !utf8.ValidString(address) {
		return fmt.Errorf("an address of %d bytes, %d of UTF-8 are the most: %.60q", len(address), maxAddress, address)
	}
	return nil
}

// Began returns the token that was the newest when the hook was called.
func (r Run) Began() token.Token { return r.shown }

// callHook calls a hook, and makes an error of its panic.
func callHook(ctx context.Context, hook Hook, run Run) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v\n%s", ErrPanic, p, debug.Stack())
		}
	}()
	return hook(ctx, run)
}
