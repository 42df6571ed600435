package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/skeinmesh/skein/failover/route"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	dialAgain = 100 * time.Millisecond // after an attempt that has failed
	goneFor   = 800 * time.Millisecond // without a route, and the service is taken for gone
)

// errItself: the address leads to the listener.
var errItself = errors.New("failover/forward: the address of the service is that of the forwarder")

// place is where the service is.
type place struct {
	node    view.NodeID
	address string          // empty: nowhere
	ctx     context.Context // ends when the service is not there any more
	leave   context.CancelFunc
	faulty  sync.Once // the first fault of it is logged
}

func (f *Forwarder) newPlace(r route.Route) *place {
	p := &place{node: r.Node}
	p.ctx, p.leave = context.WithCancel(f.works.Context())
	e, err := r.Endpoint()
	switch {
	case r == route.Route{}:
	case err != nil || e.Port == 0:
		f.log.Warn("the address of the service is not host:port", "address", r.Address)
	default:
		p.address = e.String()
	}
	return p
}

// followRoute keeps the place where the service is, and ends what leads to an older one. What
// runs on at its node under a later token has not moved. Its route under that token comes a moment
// after the word that there is one: until then there is none.
func (f *Forwarder) followRoute(routes <-chan route.Route) {
	move := func(r route.Route) {
		last, next := f.now.Get(), f.newPlace(r)
		if next.node == last.node && next.address == last.address {
			next.leave()
			return
		}
		f.log.Info("the service is elsewhere", "address", next.address, "at", next.node.String())
		f.now.Set(next)
		last.leave()
	}
	var gone <-chan time.Time
	for {
		select {
		case r, ok := <-routes:
			switch {
			case !ok:
				move(route.Route{})
				return
			case r == route.Route{} && gone == nil:
				gone = time.After(goneFor)
			case r != route.Route{}:
				gone = nil
				move(r)
			}
		case <-gone:
			gone = nil
			move(route.Route{})
		}
	}
}

// reachService connects to where the service is, as soon as it is anywhere and answers. It
// returns nil when Wait is over, or ctx has ended.
func (f *Forwarder) reachService(ctx context.Context) (*place, *net.TCPConn) {
	ctx, cancel := context.WithTimeout(ctx, f.cfg.Wait)
	defer cancel()
	places := f.now.Watch(ctx)
	var p *place
	var again <-chan time.Time
	for {
		select {
		case p = <-places:
		case <-again:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return nil, nil
		}
		if again = nil; p == nil || p.address == "" {
			continue
		}
		server, err := f.dialPlace(ctx, p)
		if err == nil && p.ctx.Err() == nil {
			return p, server
		}
		if err == nil { // the service has moved meanwhile
			resetConn(server)
			continue
		}
		if p.ctx.Err() == nil {
			p.faulty.Do(func() { f.log.Warn("the service is not reached", "address", p.address, "error", err) })
		}
		again = time.After(dialAgain)
	}
}

// dialPlace connects to a place while the service is there.
func (f *Forwarder) dialPlace(ctx context.Context, p *place) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, f.cfg.DialTimeout)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	return f.dial(ctx, p.address)
}

// dialOther connects to an address, unless that leads to the listener. It looks once a name has
// become an IP, and before anything is sent: a connection to itself would be a client, for which
// it would connect to itself.
func (f *Forwarder) dialOther(ctx context.Context, address string) (*net.TCPConn, error) {
	dialer := net.Dialer{Control: func(_, to string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(to)
		if err == nil && leadsTo(at, f.Addr(), net.InterfaceAddrs) {
			err = fmt.Errorf("%w: %s", errItself, to)
		}
		return err
	}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// leadsTo tells whether who connects to an address of this machine, or of another, comes to a
// listener here. If the machine does not tell its addresses any that could be one is.
func leadsTo(to, listener netip.AddrPort, own func() ([]net.Addr, error)) bool {
	if to.Port() != listener.Port() {
		return false
	}
	ip, at := to.Addr().Unmap(), listener.Addr().Unmap()
	if ip.IsUnspecified() { // that is this machine
		return at.IsUnspecified() || at.IsLoopback()
	}
	if !at.IsUnspecified() {
		return ip == at
	}
	all, err := own()
	if err != nil || ip.IsLoopback() {
		return true
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			if local, ok := netip.AddrFromSlice(n.IP); ok && local.Unmap() == ip.WithZone("") {
				return true
			}
		}
	}
	return false
}
