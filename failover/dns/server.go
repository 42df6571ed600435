package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/skeinmesh/skein/failover/route"
	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/lifecycle"
)

const (
	parallelDefault = 16
	maxParallel     = 1024
	maxRequest      = 1232            // bytes; also of an answer by UDP
	maxPerConn      = 128             // requests of one connection
	tcpPatience     = 2 * time.Second // for a request, and for its answer to be taken
	acceptAgain     = 10 * time.Millisecond
	maxTTL          = 24 * time.Hour
	maxZone         = 180 // bytes
	bindTries       = 10  // for a port that is free for UDP and TCP
)

// Routes is what a Server needs of routes. *failover.Failover has it.
type Routes interface {
	// Resolve returns where a service is found; errors.Is finds route.ErrNotServed in the
	// error if that is nowhere.
	Resolve(name string) (route.Route, error)
}

// Config sets up a Server. Routes, Zone and Listen are required.
type Config struct {
	// Routes are those of the node.
	Routes Routes
	// Zone is the domain below which the services are, "skein.example" say.
	Zone string
	// Listen is the IP and port for UDP and TCP, "10.0.0.7:53" say. Port 0 is any that is free.
	Listen string
	// TTL is for how long an answer may be kept, in whole seconds; a day at most. Zero: 1 s.
	TTL time.Duration
	// Parallel is how many requests are under way at most, of UDP and of TCP each; up to
	// 1 024. Zero: 16.
	Parallel int
}

// ErrConfig: the Config has faults; the error lists all of them.
var ErrConfig = errors.New("failover/dns: bad configuration")

// Validate reports every fault of the Config at once; errors.Is finds ErrConfig.
func (c Config) Validate() error {
	var faults []error
	if c.Routes == nil {
		faults = append(faults, errors.New("no Routes"))
	}
	if _, ok := dns.IsDomainName(c.Zone); !ok || strings.Trim(c.Zone, ".") == "" || len(c.Zone) > maxZone || strings.Contains(c.Zone, `\`) {
		faults = append(faults, fmt.Errorf("zone %.60q is no domain of %d bytes at most", c.Zone, maxZone))
	}
	if _, err := netip.ParseAddrPort(c.Listen); err != nil {
		faults = append(faults, fmt.Errorf("listen at %.60q: %w", c.Listen, err))
	}
	if c.TTL < 0 || c.TTL > maxTTL || c.TTL%time.Second != 0 {
		faults = append(faults, fmt.Errorf("TTL of %v: not of whole seconds up to %v", c.TTL, maxTTL))
	}
	if c.Parallel < 0 || c.Parallel > maxParallel {
		faults = append(faults, fmt.Errorf("%d in parallel: not 1 to %d", c.Parallel, maxParallel))
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrConfig, errors.Join(faults...))
}

// Server answers until it is closed. All methods may be used concurrently.
type Server struct {
	zone  zone
	udp   *net.UDPConn
	tcp   *net.TCPListener
	slots chan struct{} // one for each connection
	works *lifecycle.Group
}

// Open begins to answer. ctx bounds the opening alone.
func Open(ctx context.Context, cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.TTL == 0 {
		cfg.TTL = time.Second
	}
	if cfg.Parallel == 0 {
		cfg.Parallel = parallelDefault
	}
	s := &Server{
		zone:  zone{name: dns.CanonicalName(cfg.Zone), ttl: uint32(cfg.TTL / time.Second), routes: cfg.Routes},
		slots: make(chan struct{}, cfg.Parallel),
		works: lifecycle.NewGroup(context.Background()),
	}
	if err := s.bindPorts(ctx, cfg.Listen); err != nil {
		return nil, fmt.Errorf("failover/dns: listen at %s: %w", cfg.Listen, err)
	}
	for range cfg.Parallel {
		s.works.Go(s.serveUDP)
	}
	s.works.Go(s.acceptTCP)
	return s, nil
}

// bindPorts takes the same port for UDP and TCP. If any will do, one that is free for UDP may be
// taken for TCP: then another is tried.
func (s *Server) bindPorts(ctx context.Context, listen string) error {
	var lc net.ListenConfig
	for try := 1; ; try++ {
		udp, err := lc.ListenPacket(ctx, "udp", listen)
		if err != nil {
			return err
		}
		tcp, err := lc.Listen(ctx, "tcp", udp.LocalAddr().String())
		if err == nil {
			s.udp, s.tcp = udp.(*net.UDPConn), tcp.(*net.TCPListener)
			return nil
		}
		err = errors.Join(err, udp.Close())
		if at, _ := netip.ParseAddrPort(listen); at.Port() != 0 || try == bindTries {
			return err
		}
	}
}

// Addr returns where the server listens, for UDP and TCP.
func (s *Server) Addr() netip.AddrPort { return s.tcp.Addr().(*net.TCPAddr).AddrPort() }

// Close ends the server, and waits until no request is under way.
func (s *Server) Close() error {
	s.works.Cancel()
	err := errors.Join(closeOnce(s.udp), closeOnce(s.tcp))
	s.works.Close()
	return err
}

// closeOnce closes what may have been closed before.
func closeOnce(c io.Closer) error {
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// serveUDP answers one request by UDP after the other.
func (s *Server) serveUDP(ctx context.Context) {
	request := make([]byte, maxRequest+1)
	for ctx.Err() == nil {
		n, from, err := s.udp.ReadFromUDPAddrPort(request)
		if err != nil {
			clock.Sleep(ctx, acceptAgain)
			continue
		}
		if n > maxRequest {
			continue
		}
		if response := s.zone.answerMessage(request[:n], true); response != nil {
			_, _ = s.udp.WriteToUDPAddrPort(response, from) // it asks again
		}
	}
}

// acceptTCP accepts as many connections as there are slots.
func (s *Server) acceptTCP(ctx context.Context) {
	for {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		conn, err := s.tcp.Accept()
		if err != nil {
			<-s.slots
			clock.Sleep(ctx, acceptAgain)
			continue
		}
		served := s.works.Go(func(ctx context.Context) {
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			s.serveConn(conn)
			_ = conn.Close()
			<-s.slots
		})
		if !served {
			_ = conn.Close()
			return
		}
	}
}

// serveConn answers the requests of a connection, each behind its length.
func (s *Server) serveConn(conn net.Conn) {
	buf := make([]byte, maxRequest)
	for range maxPerConn {
		_ = conn.SetDeadline(time.Now().Add(tcpPatience))
		if _, err := io.ReadFull(conn, buf[:2]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(buf))
		if n > maxRequest {
			return
		}
		if _, err := io.ReadFull(conn, buf[:n]); err != nil {
			return
		}
		response := s.zone.answerMessage(buf[:n], false)
		if response == nil {
			return
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(response))), response...)); err != nil {
			return
		}
	}
}
