package failover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/skeinmesh/skein/failover/route"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// Mesh is what a Failover needs of the mesh node. *mesh.Node has it.
type Mesh interface {
	// ID returns the NodeID.
	ID() view.NodeID
	// View returns who belongs to the mesh and who is alive.
	View() view.View
	// Call sends req to a node's handler of that method and returns its answer.
	Call(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error)
	// Handle serves a method. The handler owns req.
	Handle(method string, h func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error)) error
	// OnLeave has h run before the node leaves the mesh for good.
	OnLeave(h func(ctx context.Context) error)
	// Done is closed when the node is.
	Done() <-chan struct{}
}

// Elections is what a Failover needs of elections. *partition.Partition has it.
type Elections interface {
	// Lead stands for an election until ctx ends, and runs work each time that this node
	// is chosen. The context of work ends before others may lead.
	Lead(ctx context.Context, election token.Election, work func(ctx context.Context, t token.Token)) error
	// Prefer says how much this node is preferred for an election, before its score.
	Prefer(election token.Election, preference uint32) error
	// Lease returns the token with which this node leads now, and for how long if nothing
	// renews it.
	Lease(election token.Election) (t token.Token, left time.Duration, err error)
	// HandedOver tells whether this node leads because the leader before has handed over to it.
	HandedOver(election token.Election) bool
	// HandOver ends this node's lead; to takes over if it can, and 0 is whoever is
	// preferred.
	HandOver(election token.Election, to view.NodeID) error
	// LetLapse has the lead end with its lease, and nobody lead before.
	LetLapse(election token.Election) error
	// Standing returns who leads an election and who stands for it, as far as is known.
	Standing(election token.Election) (leader token.Token, candidates []token.Candidate)
	// WatchStanding rings after each change of what Standing returns, until ctx ends.
	WatchStanding(ctx context.Context) <-chan struct{}
	// AllowsService tells whether a service may run in the present mode.
	AllowsService(name string) bool
}

// Config sets up a Failover. Mesh and Elections are required.
type Config struct {
	// Mesh is the running node.
	Mesh Mesh
	// Elections are those of the node.
	Elections Elections

	// Used returns how much is used of each resource of this node, in per mille. It is asked
	// every few seconds, counts as before while it does not answer, and nothing is begun here
	// until it first has. Nil: use is not looked at.
	Used func() []int
	// Data are the names of what this node holds, which plans may need.
	Data []string
	// Conditions tell whether something holds at this node that a plan names as a reason not
	// to run a service here: service.ConditionHardware, or names of the user's own. One under
	// service.ConditionOverload takes the place of what Used tells. Each
	// is asked every few seconds, and counts as it was while it does not answer, and as holding
	// before it first has. One that panics has not answered.
	Conditions map[string]func(ctx context.Context) bool

	// Recover tries to bring a node back that has failed, as by WakeOnLAN or RecoverCommand. It
	// is called at one of the nodes that have one, in each part of a cut mesh: a minute after
	// one of these has seen the failure, and then behind pauses that double up to an hour, one
	// node at a time. Each attempt has a minute, and is an Event without a Service. On the other
	// side of a cut the node may be well: what harms it then, as a cut of its power, is to ask
	// whether a majority is in reach. Nil: this node tries nothing.
	Recover func(ctx context.Context, m view.Member) error

	// Records keep the plans of SetPlan, the history and routes for all nodes; the same ones at
	// each. Nil: plans are those of Serve and UsePlan, and there is nothing of the rest.
	Records Records
	// Keep is for how long the Records keep what this node adds to the history. Zero: 30 days.
	Keep time.Duration

	// Record is told of each thing that happens to a service, one call at a time. It may take
	// its time: the latest 1 024 wait for it, older ones are dropped and counted in Dropped.
	// Close gives it two seconds for what waits. Nil: nothing is told.
	Record func(ctx context.Context, e Event)

	// Webhooks are where alarms are sent, 8 at most.
	Webhooks []Webhook

	// Logger gets what there is to tell, with the node's id under "node". Nil is silent.
	Logger *slog.Logger
}

// Errors of this package.
var (
	// ErrConfig: the Config, or a Service, has faults; the error lists all of them.
	ErrConfig = errors.New("failover: bad configuration")
	// ErrClosed: the Failover, or what is below it, was closed.
	ErrClosed = errors.New("failover: closed")
	// ErrServed: this node serves that service already.
	ErrServed = errors.New("failover: the service is served already")
	// ErrUnknownService: this node does not serve that service.
	ErrUnknownService = errors.New("failover: unknown service")
	// ErrUnknownNode: no member has that name.
	ErrUnknownNode = errors.New("failover: unknown node")
	// ErrNotHere: the service does not run at this node.
	ErrNotHere = errors.New("failover: the service does not run here")
	// ErrPlan: a plan has faults; the error lists all of them.
	ErrPlan = errors.New("failover: bad plan")
	// ErrNoRecords: the Config has no Records.
	ErrNoRecords = errors.New("failover: no records")
	// ErrNotServed: no node is known to run the service, verified, at an address.
	ErrNotServed = route.ErrNotServed
	// ErrStopHangs: what was started could not be stopped.
	ErrStopHangs = errors.New("failover: a service does not stop")
	// ErrPanic: a hook has panicked.
	ErrPanic = errors.New("failover: panic")
)

// Validate reports every fault of the Config at once; errors.Is finds ErrConfig.
func (c Config) Validate() error {
	var faults []error
	if c.Mesh == nil {
		faults = append(faults, errors.New("no Mesh"))
	}
	if c.Elections == nil {
		faults = append(faults, errors.New("no Elections"))
	}
	if c.Keep < 0 {
		faults = append(faults, fmt.Errorf("negative Keep: %v", c.Keep))
	}
	for name, condition := range c.Conditions {
		if name == "" || condition == nil {
			faults = append(faults, fmt.Errorf("condition %.60q has no name or no function", name))
		}
	}
	if len(c.Webhooks) > mostWebhooks {
		faults = append(faults, fmt.Errorf("%d Webhooks, %d are the most", len(c.Webhooks), mostWebhooks))
	}
	for _, w := range c.Webhooks {
		if err := w.validate(); err != nil {
			faults = append(faults, err)
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrConfig, errors.Join(faults...))
}

func (c Config) withDefaults() Config {
	if c.Keep == 0 {
		c.Keep = keepDefault
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return c
}
