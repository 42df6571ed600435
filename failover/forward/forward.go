package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/skeinmesh/skein/failover/route"
	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/notify"
)

const (
	connsDefault = 256
	maxConns     = 1 << 16
	waitDefault  = 2 * time.Second
	dialDefault  = time.Second
	maxWait      = time.Minute
	acceptAgain  = 10 * time.Millisecond
)

// Routes is what a Forwarder needs of routes. *failover.Failover has it.
type Routes interface {
	// WatchRoute returns a channel that carries where a service is found: at once, and after
	// each change, the zero Route where that is nowhere. It is closed when ctx ends.
	WatchRoute(ctx context.Context, name string) (<-chan route.Route, error)
}

// Config sets up a Forwarder. Routes, Service and Listen are required.
type Config struct {
	// Routes are those of the node.
	Routes Routes
	// Service is the name of the service. Its address must have a port.
	Service string
	// Listen is the IP and port at which clients are accepted. Port 0 is any that is free.
	Listen string
	// Conns is how many clients there are at most, up to 65 536. Zero: 256.
	Conns int
	// Wait is for how long a client waits until it is connected, a minute at most. Zero: 2 s.
	Wait time.Duration
	// DialTimeout bounds one attempt to connect it, a minute at most. Zero: 1 s.
	DialTimeout time.Duration
	// Logger is told where the service is, and what keeps clients from it. Nil is silent.
	Logger *slog.Logger
}

// ErrConfig: the Config has faults; the error lists all of them.
var ErrConfig = errors.New("failover/forward: bad configuration")

// Validate reports every fault of the Config at once; errors.Is finds ErrConfig.
func (c Config) Validate() error {
	var faults []error
	if c.Routes == nil {
		faults = append(faults, errors.New("no Routes"))
	}
	if c.Service == "" {
		faults = append(faults, errors.New("no Service"))
	}
	if _, err := netip.ParseAddrPort(c.Listen); err != nil {
		faults = append(faults, fmt.Errorf("listen at %.60q: %w", c.Listen, err))
	}
	if c.Conns < 0 || c.Conns > maxConns {
		faults = append(faults, fmt.Errorf("%d connections: not 1 to %d", c.Conns, maxConns))
	}
	if c.Wait < 0 || c.Wait > maxWait {
		faults = append(faults, fmt.Errorf("wait of %v: not up to %v", c.Wait, maxWait))
	}
	if c.DialTimeout < 0 || c.DialTimeout > maxWait {
		faults = append(faults, fmt.Errorf("dial timeout of %v: not up to %v", c.DialTimeout, maxWait))
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrConfig, errors.Join(faults...))
}

func (c Config) withDefaults() Config {
	if c.Conns == 0 {
		c.Conns = connsDefault
	}
	if c.Wait == 0 {
		c.Wait = waitDefault
	}
	if c.DialTimeout == 0 {
		c.DialTimeout = dialDefault
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return c
}

// Forwarder connects clients until it is closed. All methods may be used concurrently.
type Forwarder struct {
	cfg      Config
	log      *slog.Logger
	listener *net.TCPListener
	dial     func(ctx context.Context, address string) (*net.TCPConn, error)
	now      *notify.Value[*place]
	slots    chan struct{} // one for each client
	works    *lifecycle.Group
}

// Open begins to accept clients. ctx bounds the opening alone. Beside ErrConfig the errors are
// those of listening and of WatchRoute.
func Open(ctx context.Context, cfg Config) (*Forwarder, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	f := newForwarder(cfg.withDefaults())
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("failover/forward: listen at %s for %.60q: %w", cfg.Listen, cfg.Service, err)
	}
	f.listener = listener.(*net.TCPListener)
	f.dial = f.dialOther
	routes, err := cfg.Routes.WatchRoute(f.works.Context(), cfg.Service)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("failover/forward: %w", err), f.Close())
	}
	f.works.Go(func(context.Context) { f.followRoute(routes) })
	f.works.Go(f.acceptClients)
	return f, nil
}

func newForwarder(cfg Config) *Forwarder {
	f := &Forwarder{
		cfg: cfg, log: cfg.Logger.With("service", cfg.Service),
		slots: make(chan struct{}, cfg.Conns), works: lifecycle.NewGroup(context.Background()),
	}
	f.now = notify.New(f.newPlace(route.Route{}))
	return f
}

// Addr returns where clients are accepted.
func (f *Forwarder) Addr() netip.AddrPort { return f.listener.Addr().(*net.TCPAddr).AddrPort() }

// Close closes the listener and all connections, and waits until nothing is left of them.
func (f *Forwarder) Close() error {
	f.works.Cancel()
	err := f.listener.Close()
	f.works.Close()
	f.now.Close()
	if errors.Is(err, net.ErrClosed) { // it was closed before
		return nil
	}
	return err
}

// acceptClients serves as many clients as there are slots.
func (f *Forwarder) acceptClients(ctx context.Context) {
	for ctx.Err() == nil {
		conn, err := f.listener.AcceptTCP()
		if err != nil {
			clock.Sleep(ctx, acceptAgain)
			continue
		}
		select {
		case f.slots <- struct{}{}:
		default:
			f.log.Warn("a client is one too many", "most", f.cfg.Conns)
			resetConn(conn)
			continue
		}
		served := f.works.Go(func(ctx context.Context) {
			f.serveClient(ctx, conn)
			<-f.slots
		})
		if !served {
			resetConn(conn)
		}
	}
}

// serveClient connects a client, and passes on what the two say.
func (f *Forwarder) serveClient(ctx context.Context, client *net.TCPConn) {
	p, server := f.reachService(ctx)
	if server == nil {
		resetConn(client)
		return
	}
	relayBoth(p.ctx, client, server)
}
