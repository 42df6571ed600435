package vip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

const (
	holdAgain = 50 * time.Millisecond // while Hold waits
	leaseWait = time.Second           // for a lease that is long enough
)

// Lease is what a lead is. failover.Run has it.
type Lease interface {
	// Left returns for how long this node leads if nothing renews its lease; 0 if it does not.
	Left() time.Duration
}

// Mesh is what an Address may know of the mesh. *mesh.Node has it.
type Mesh interface {
	// Watch carries the view, and later ones, until ctx ends.
	Watch(ctx context.Context) <-chan view.View
}

// Config sets up an Address. Election, Interface and Address are required.
type Config struct {
	// Election is that of the service: failover.Service.Election. Its scope is the majority:
	// with one leader per component the address would be in two places.
	Election token.Election
	// Interface is the one that has the address, "eth0" say.
	Interface string
	// Address is the address and the length of its prefix: 32 or 128, if the interface has
	// another one of that network.
	Address netip.Prefix
	// Mesh tells when a member is in reach again, for then the network is told where the
	// address is. Nil: it is told every 10 s alone.
	Mesh Mesh
	// Logger is told when the address comes and goes, and what is wrong. Nil is silent.
	Logger *slog.Logger
}

// Errors of this package.
var (
	// ErrConfig: the Config has faults; the error lists all of them.
	ErrConfig = errors.New("failover/vip: bad configuration")
	// ErrNotSupported: not on this system.
	ErrNotSupported = errors.New("failover/vip: floating addresses need Linux")
	// ErrTaken: the address is there already, and not by this package.
	ErrTaken = errors.New("failover/vip: the address is there already")
	// ErrLease: the lease is too short, or there is none.
	ErrLease = errors.New("failover/vip: too little is left of the lease")
	// ErrNotHeld: the address is not held.
	ErrNotHeld = errors.New("failover/vip: the address is not held")
	// ErrClosed: the Address was closed.
	ErrClosed = errors.New("failover/vip: closed")
)

// Validate reports every fault of the Config at once; errors.Is finds ErrConfig.
func (c Config) Validate() error {
	var faults []error
	if c.Election.Name == "" || c.Election.Scope != token.ScopeMajority {
		faults = append(faults, fmt.Errorf("election %q is not that of an Exclusive service", c.Election))
	}
	if c.Interface == "" {
		faults = append(faults, errors.New("no Interface"))
	}
	if ip := c.Address.Addr(); !c.Address.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || ip.Is4In6() || ip.Zone() != "" {
		faults = append(faults, fmt.Errorf("address %s is not that of a host", c.Address))
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrConfig, errors.Join(faults...))
}

// Address is a floating address at this node, held or not. All methods may be used concurrently.
type Address struct {
	cfg      Config
	log      *slog.Logger
	system   system
	requests chan request
	works    *lifecycle.Group

	closeOnce sync.Once
	closed    error // of the system's Close
}

// system is what has addresses and sends frames.
type system interface {
	// findAddress returns where the address is now.
	findAddress() ([]presence, error)
	// setAddress sets the address with a lifetime, of whole seconds; isNew: it must not be there.
	setAddress(lifetime time.Duration, isNew bool) error
	// removeAddress removes the address, if it is there.
	removeAddress() error
	// tellNeighbours tells all in the network that the address is here.
	tellNeighbours() error
	Close() error
}

// request is one that the goroutine of the Address answers.
type request struct {
	do   func(k *keeper) error
	done chan error // with room for one
}

// New returns an Address that is not held. It takes the sockets that it needs at once. The
// errors are ErrConfig, ErrNotSupported, and that the system gives no sockets.
func New(cfg Config) (*Address, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s, err := openSystem(cfg.Interface, cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("failover/vip: %s at %s: %w", cfg.Address, cfg.Interface, err)
	}
	return newAddress(cfg, s), nil
}

func newAddress(cfg Config, s system) *Address {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	a := &Address{
		cfg: cfg, log: cfg.Logger.With("address", cfg.Address.String(), "interface", cfg.Interface), system: s,
		requests: make(chan request), works: lifecycle.NewGroup(context.Background()),
	}
	a.works.Go(a.keepAddress)
	return a
}

// Hold sets the address, tells the network, and sets it anew until Release, or the end of the
// lease. It returns when the address is there. It may be called again, with the lease of another
// lead. The errors are ErrTaken, ErrLease, ErrClosed, what the system says, and that of ctx.
func (a *Address) Hold(ctx context.Context, lease Lease) error {
	begin := time.Now()
	for {
		err := a.postOrder(ctx, func(k *keeper) error { return k.holdUnder(lease) })
		switch {
		case errors.Is(err, ErrLease) && lease.Left() > 0 && time.Since(begin) < leaseWait:
		case errors.Is(err, errLeftover):
		default:
			return err
		}
		if !clock.Sleep(ctx, holdAgain) {
			return fmt.Errorf("%w: %w", err, ctx.Err())
		}
	}
}

// Release removes the address, if it is held, and tries that again where it fails: it returns nil
// when the address is gone, by the end of its lifetime at the latest. The errors are ErrClosed, and
// that of ctx beside what the system says; the address is not set anew whatever it says.
func (a *Address) Release(ctx context.Context) error {
	var failed error
	for {
		err := a.postOrder(ctx, (*keeper).dropAddress)
		if err == nil {
			return nil
		}
		if !errors.Is(err, errStillHere) {
			return errors.Join(err, failed)
		}
		failed = err
		clock.Sleep(ctx, holdAgain)
	}
}

// Check returns nil while the address is here: a service can call it where it checks itself.
// The errors are ErrNotHeld, ErrClosed and that of ctx.
func (a *Address) Check(ctx context.Context) error {
	return a.postOrder(ctx, (*keeper).checkHeld)
}

// postOrder has the goroutine of the Address do something, and returns the result.
func (a *Address) postOrder(ctx context.Context, do func(k *keeper) error) error {
	r := request{do: do, done: make(chan error, 1)}
	select {
	case a.requests <- r:
		return <-r.done
	case <-a.works.Context().Done():
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close removes the address, if it is held, and waits until nothing is left.
func (a *Address) Close() error {
	a.works.Close()
	a.closeOnce.Do(func() { a.closed = a.system.Close() })
	return a.closed
}
