package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"

	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/mesh/view"
)

// maxSeedAddrs is how many addresses one attempt takes from one seed.
const maxSeedAddrs = 8

// lookupHost asks the host's resolver.
func lookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// resolveSeed returns the addresses of a seed, looked up afresh.
func resolveSeed(ctx context.Context, seed string, lookup func(context.Context, string) ([]netip.Addr, error)) ([]netip.AddrPort, error) {
	host, port, err := splitSeed(seed)
	if err != nil {
		return nil, err
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	addrs := []netip.Addr{}
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, a)
	} else if addrs, err = lookup(ctx, host); err != nil {
		return nil, err
	}
	out := make([]netip.AddrPort, 0, len(addrs))
	for _, a := range addrs[:min(len(addrs), maxSeedAddrs)] {
		out = append(out, netip.AddrPortFrom(a.Unmap(), uint16(p)))
	}
	return out, nil
}

// seek tries the seeds, and what mDNS finds, that do not belong to the mesh
// as far as this node sees it. The detector says when.
func (n *Node) seek(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, n.pace.dial)
	defer cancel()
	var all sync.WaitGroup
	try := func(fn func()) {
		all.Add(1)
		if !n.work.Go(func(context.Context) { defer all.Done(); fn() }) {
			all.Done()
		}
	}
	for _, seed := range n.cfg.Seeds {
		try(func() {
			addrs, err := resolveSeed(ctx, seed, n.seams.lookup)
			if err != nil {
				n.log.Debug("seed not found", "seed", seed, "error", err)
			}
			for _, a := range addrs {
				try(func() { n.greet(ctx, a) })
			}
		})
	}
	if n.mdns != nil {
		try(func() {
			for _, a := range n.mdns.find(ctx) {
				try(func() { n.greet(ctx, a) })
			}
		})
	}
	all.Wait()
}

// greet meets whoever is at an address that the user gave, unless that is a
// member in contact, or this node itself.
func (n *Node) greet(ctx context.Context, addr netip.AddrPort) {
	for _, m := range n.View().Members {
		if m.Addr == addr && (m.State == view.Alive || m.ID == n.id) {
			return
		}
	}
	var peer link.Peer
	try := func() (err error) {
		if peer, err = n.link.Greet(ctx, addr); err == nil {
			err = n.meet(ctx, peer.ID)
		}
		return err
	}
	err := try()
	if n.heed(peer.ID, err) {
		err = try()
	}
	if err != nil && !errors.Is(err, link.ErrSelf) {
		n.log.Debug("seed not met", "addr", addr, "error", err)
	}
}

// address returns where others reach this node.
func (n *Node) address() (netip.AddrPort, error) {
	at := n.link.Addr()
	if n.cfg.Advertise != "" {
		return parseAdvertise(n.cfg.Advertise, at.Port())
	}
	if !at.Addr().IsUnspecified() {
		return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port()), nil
	}
	a, err := hostAddress()
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("no address to make known; set Advertise: %w", err)
	}
	return netip.AddrPortFrom(a, at.Port()), nil
}

// hostAddress picks the address that the host sends from, or else its first
// one that others may reach, or else the loopback address.
func hostAddress() (netip.Addr, error) {
	// Connecting a UDP socket sends nothing; it only picks the route. The
	// addresses are reserved for documentation.
	for _, remote := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} {
		if c, err := net.Dial("udp", remote); err == nil {
			a := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
			_ = c.Close() // nothing was sent
			if a.IsGlobalUnicast() {
				return a.WithZone(""), nil
			}
		}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, err
	}
	var best netip.Addr
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		switch ip := p.Addr().Unmap(); {
		case ip.IsGlobalUnicast() && (!best.IsValid() || best.IsLoopback() || best.Is6() && ip.Is4()),
			ip.IsLoopback() && !best.IsValid():
			best = ip
		}
	}
	if !best.IsValid() {
		return best, errors.New("the host has no address")
	}
	return best, nil
}

// keepAddress makes it known when the host's address changes.
func (n *Node) keepAddress(ctx context.Context) {
	if n.cfg.Advertise != "" || !n.link.Addr().Addr().IsUnspecified() {
		return
	}
	for sleep(ctx, n.pace.seek) {
		addr, err := n.address()
		if err != nil || addr == *n.at.Load() {
			continue
		}
		n.log.Info("the host has another address", "addr", addr)
		n.at.Store(&addr)
		n.warn("could not write the new address", n.updateSelf(ctx, 0))
	}
}
