package partition

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/elect"
	"github.com/skeinmesh/skein/internal/host"
	"github.com/skeinmesh/skein/internal/mode"
	"github.com/skeinmesh/skein/internal/split"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Mesh is what a Partition stands on. A *mesh.Node is one.
type Mesh interface {
	// ID returns the NodeID.
	ID() view.NodeID
	// Dir returns the node's data directory.
	Dir() string
	// View returns who belongs to the mesh and who is alive.
	View() view.View
	// Watch delivers the latest View after each change until ctx ends.
	Watch(ctx context.Context) <-chan view.View
	// Ready waits until the node has met another one or has tried all.
	Ready(ctx context.Context) error
	// CallIdempotent sends req to a node's handler of that name, maybe more than
	// once, and returns its answer.
	CallIdempotent(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error)
	// HandleIdempotent serves such calls. The handler owns req.
	HandleIdempotent(method string, h func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error)) error
	// Handle serves a method whose requests come once.
	Handle(method string, h func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error)) error
	// OnLeave has h run before the node leaves the mesh for good.
	OnLeave(h func(ctx context.Context) error)
	// Done is closed when the node is.
	Done() <-chan struct{}
}

// Pace says how fast leaders are replaced, and what that costs. All nodes of a
// mesh should have the same, that of their mesh.Profile.
type Pace struct {
	// Lease is for how long a leader leads without being heard. A longer one
	// survives longer blips, a shorter one is taken over sooner.
	Lease time.Duration
	// Renew is the time between a leader's requests to each voter: of about 60 bytes, and
	// an answer. All elections that a node leads are renewed at the same times, in one
	// packet for each voter, of some 15 bytes more for each election.
	Renew time.Duration
	// Guard is by how much a leader stops before its lease ends for the others:
	// as long as its work takes to stop.
	Guard time.Duration
	// Pause is what candidates wait for each other: about two round trips.
	Pause time.Duration
	// Hold is for how long another must be better by 15 % before a leader hands
	// over.
	Hold time.Duration
	// Settle is for how long a component must have changed before its leader
	// asks the new one for its word. Until then the old one's counts.
	Settle time.Duration
	// Window is how far apart losses may be that count as one cut: twice the time
	// after which the mesh gives a silent node up.
	Window time.Duration
}

// LAN is the pace for one site with round trips of a few milliseconds: a leader
// that was killed is replaced within 3 s, one that falls silent too; after a cut a
// side without most of its voters has one within 20 s among 5 nodes and 30 s among
// 50, mostly within half of that. A leader cut off for 1.3 s may be lost. It leads on
// while links lose a fifth of their packets.
func LAN() Pace { return paceOf(elect.LAN(), 12*time.Second) }

// WAN is the pace for sites joined by the internet: 8 s, 40 s, 3.4 s.
func WAN() Pace { return paceOf(elect.WAN(), time.Minute) }

// Edge is the pace for starved gateways and poor radio links: 21 s, a minute; a link
// that is gone for 10 s costs no leader.
func Edge() Pace { return paceOf(elect.Edge(), time.Minute) }

func paceOf(p elect.Params, window time.Duration) Pace {
	return Pace{Lease: p.Lease, Renew: p.Renew, Guard: p.Guard, Pause: p.Pause, Hold: p.Hold, Settle: p.Settle, Window: window}
}

// drift is by how much, in parts per thousand, clocks of two nodes may run apart.
const drift = 10

func (p Pace) electParams() elect.Params {
	return elect.Params{Lease: p.Lease, Renew: p.Renew, Guard: p.Guard, Drift: drift, Pause: p.Pause, Hold: p.Hold, Settle: p.Settle}
}

// Config sets up a Partition. Only Mesh is required.
type Config struct {
	// Mesh is the running node. Required.
	Mesh Mesh
	// Pace sets how fast leaders are replaced. The zero Pace means LAN.
	Pace Pace

	// Voters are the names of up to 7 nodes of which more than half must
	// agree on the leader of an election of majority scope. They are fixed, by
	// NodeID, once a node that names them has met them all, and spread from
	// there; name the same ones on every node, or on one. They need not store: two
	// gateways and a cheap witness make three. Where half of them or more do not,
	// name them on every node: one that names none believes others only if most
	// of the voters store. None: there are no such elections, unless others name some.
	Voters []string
	// Scope is that of the election of the leader that Status shows. Zero means
	// ScopeComponent.
	Scope Scope
	// Observe keeps this node from standing for that election. It votes all the
	// same.
	Observe bool
	// Priority is the operator's word on how well this node leads, -8 to 8; a
	// higher one beats whatever else speaks for another. Default 0.
	Priority int

	// Cloud are probes of what a site works with beyond its mesh, of which one is
	// enough. A few nodes of each component that have some use them. None: it is
	// not known whether the cloud can be reached.
	Cloud []Probe
	// ProbeEvery is the mean time between two probes while the cloud can be
	// reached. Default 30 s. Zero means the default.
	ProbeEvery time.Duration
	// ProbeTimeout bounds one probe. Default 5 s. Zero means the default.
	ProbeTimeout time.Duration

	// Levels say what shall rest in a mode; see Partition.Allows.
	Levels map[Mode]Level
	// OnMode is called after a change of the mode, which was left and which entered,
	// one call at a time. It may take its time; modes that come and go meanwhile
	// are passed over. Nil: nothing is called.
	OnMode func(ctx context.Context, from, to Mode)
	// Merged tells in words what came together when this node meets others again;
	// it is called then, and what it returns is kept for Status. Nil: nothing is.
	Merged func(ctx context.Context, met []view.NodeID) string

	// Authorize asks the cloud whether somebody may do something; see
	// Partition.Authorize. AuthorizeLocal answers where the cloud, or most of the
	// mesh, is out of reach, from what the site has. Nil: everything is refused.
	Authorize, AuthorizeLocal func(ctx context.Context, who, what string) error

	// Logger gets what there is to tell, with the node's id under "node". Nil is silent.
	Logger *slog.Logger

	clock *clock.Clock
	fs    vfs.FS
	root  fs.FS // of the kernel's files
	disk  host.Statfs
}

// Level is what rests in a mode, besides what rests in the modes below it.
type Level struct {
	Buckets  []string // that shall not be written to
	Services []string // that shall not run
}

func (l Level) restsBucket(name string) bool { return slices.Contains(l.Buckets, name) }

func (l Level) restsService(name string) bool { return slices.Contains(l.Services, name) }

// Validate reports every fault of the Config at once; errors.Is finds ErrConfig.
func (c Config) Validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	check(c.Mesh != nil, "no Mesh")
	if c.Pace != (Pace{}) {
		if err := c.Pace.electParams().Validate(); err != nil {
			faults = append(faults, fmt.Errorf("pace: %w", err))
		}
		check(c.Pace.Lease%time.Millisecond == 0, "lease of %v: not in whole milliseconds, in which voters are asked", c.Pace.Lease)
		check(c.Pace.Window > 0, "window of %v: not above zero", c.Pace.Window)
	}
	check(len(c.Voters) <= wire.MaxVoters, "%d voters: at most %d", len(c.Voters), wire.MaxVoters)
	seen := map[string]bool{}
	for _, name := range c.Voters {
		check(name != "" && !seen[name], "voter %q: empty or named twice", name)
		seen[name] = true
	}
	check(c.Scope <= ScopeMajority, "scope %d: unknown", c.Scope)
	check(c.Priority >= -8 && c.Priority <= 8, "priority %d: not -8 to 8", c.Priority)
	check(c.ProbeEvery >= 0 && c.ProbeTimeout >= 0, "probes every %v with a timeout of %v: below zero", c.ProbeEvery, c.ProbeTimeout)
	for i, p := range c.Cloud {
		check(p != nil, "cloud probe %d is nil", i)
	}
	for m := range c.Levels {
		check(m <= Alone, "level of mode %d: unknown", m)
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrConfig, errors.Join(faults...))
}

func (c Config) withDefaults() Config {
	if c.Pace == (Pace{}) {
		c.Pace = LAN()
	}
	if c.ProbeEvery == 0 {
		c.ProbeEvery = 30 * time.Second
	}
	if c.ProbeTimeout == 0 {
		c.ProbeTimeout = 5 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.clock == nil {
		c.clock = clock.System()
	}
	if c.fs == nil {
		c.fs = vfs.Default
	}
	if c.root == nil {
		c.root = os.DirFS("/")
	}
	if c.disk == nil {
		c.disk = host.Disk
	}
	return c
}

func (c Config) modeParams() mode.Params {
	p := mode.Defaults()
	p.Interval = c.ProbeEvery
	// No report ages before the next one can have been made, twice.
	slowest := max(c.ProbeEvery+c.ProbeEvery/2, p.Cap) + time.Duration(len(c.Cloud))*c.ProbeTimeout
	p.FreshFor = max(p.FreshFor, 3*slowest)
	return p
}

func (c Config) splitParams() split.Params { return split.Params{Window: c.Pace.Window} }
