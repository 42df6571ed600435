package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/mesh/view"
)

// addressPause is the time between two looks at the host's addresses. A network
// that comes late, goes and comes back, or gives another address is daily bread.
const addressPause = 3 * time.Second

// namePauses is after how many of those a name that was found is looked up anew.
const namePauses = 10

// hostAddrs are the addresses of a host.
type hostAddrs struct {
	routed []netip.Addr // that it sends from, to the world
	all    []netip.Addr // of interfaces that work
}

// readHostAddrs asks the host.
func readHostAddrs() (hostAddrs, error) {
	var h hostAddrs
	// Connecting a UDP socket sends nothing; it only picks the route. The
	// addresses are reserved for documentation.
	for _, remote := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} {
		if c, err := net.Dial("udp", remote); err == nil {
			h.routed = append(h.routed, c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap())
			_ = c.Close() // nothing was sent
		}
	}
	ifaces, err := net.Interfaces()
	if err != nil {
		return h, err
	}
	for _, i := range ifaces {
		// An interface without a carrier, as of a container host without
		// containers, leads nowhere.
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagRunning == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has just gone
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				h.all = append(h.all, p.Addr().Unmap())
			}
		}
	}
	return h, nil
}

// pickAddr picks the address that others are told: the one that the host sends from,
// or else its first one that others may reach. On a bare switch those are the
// link-local ones of IPv4; those of IPv6 mean nothing without the name of an
// interface. The loopback address is for hosts that have no other.
func (h hostAddrs) pickAddr() (netip.Addr, error) {
	kinds := []func(netip.Addr) bool{
		func(a netip.Addr) bool { return a.IsGlobalUnicast() && a.Is4() },
		func(a netip.Addr) bool { return a.IsGlobalUnicast() },
		func(a netip.Addr) bool { return a.IsLinkLocalUnicast() && a.Is4() },
		netip.Addr.IsLoopback,
	}
	if i := slices.IndexFunc(h.routed, kinds[1]); i >= 0 {
		return h.routed[i].WithZone(""), nil
	}
	for _, kind := range kinds {
		if i := slices.IndexFunc(h.all, kind); i >= 0 {
			return h.all[i].WithZone(""), nil
		}
	}
	return netip.Addr{}, errors.New("the host has no address")
}

// whereabouts finds where this node is reached, and makes it known: to all by the
// roster, to the local network by mDNS.
type whereabouts struct {
	*ground
	own       *ownEntry
	advertise string // as the user wrote it; may be empty
	names     *names
	beacon    beacon
	addrs     func() (hostAddrs, error)
}

func newWhereabouts(own *ownEntry, cfg Config, mesh view.MeshID, names *names, s seams) *whereabouts {
	w := &whereabouts{ground: own.ground, own: own, advertise: cfg.Advertise, names: names, addrs: s.addrs}
	w.beacon = beacon{wanted: cfg.MDNS, log: w.log, addrs: s.addrs, open: s.mdns}
	w.beacon.now = func() offer {
		return offer{mesh: mesh, id: w.id, at: *own.addr.Load(), fixed: cfg.Advertise != "", bound: w.link.Addr().Addr()}
	}
	return w
}

// writeFirst finds where this node is and writes its entry, before the book runs.
func (w *whereabouts) writeFirst(ctx context.Context) error {
	e, _ := w.book.snapshot().Get(w.id)
	ctx, cancel := context.WithTimeout(ctx, w.pace.dial)
	at, err := w.findOwnAddr(ctx, e.Addr)
	cancel()
	if err != nil && e.Addr.IsValid() {
		at, err = e.Addr, nil // a name that is not found yet has its last address
	}
	if err != nil {
		return err
	}
	return w.own.writeFirst(at)
}

// findOwnAddr returns where others reach this node, if now is not known any better.
// A host that has only its loopback address left has lost its network for a
// while: what others know stays.
func (w *whereabouts) findOwnAddr(ctx context.Context, now netip.AddrPort) (netip.AddrPort, error) {
	at := w.link.Addr()
	if w.advertise != "" {
		addr, err := w.advertisedAddr(ctx, now, at.Port())
		if err == nil || now.IsValid() {
			return addr, err
		}
		// It is looked up again; until then others may find the node by the
		// address of its host.
		w.log.Warn("name to make known was not found yet", "advertise", w.advertise, "error", err)
	}
	if !at.Addr().IsUnspecified() {
		return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port()), nil
	}
	var a netip.Addr
	h, err := w.addrs()
	if err == nil {
		a, err = h.pickAddr()
	}
	if now.IsValid() && (err != nil || a.IsLoopback()) {
		return netip.AddrPortFrom(now.Addr(), at.Port()), nil
	}
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("no address to make known; set Advertise: %w", err)
	}
	return netip.AddrPortFrom(a, at.Port()), nil
}

// advertisedAddr returns the address that the user wants to be made known: the one
// known now if the name has that among others.
func (w *whereabouts) advertisedAddr(ctx context.Context, now netip.AddrPort, port uint16) (netip.AddrPort, error) {
	host, port, err := splitAdvertise(w.advertise, port)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return netip.AddrPortFrom(a.Unmap().WithZone(""), port), nil
	}
	done := w.names.askDNS(w.work, host)
	select {
	case <-done:
	case <-ctx.Done():
		return netip.AddrPort{}, fmt.Errorf("look up %s: %w", host, ctx.Err())
	}
	addrs, err := w.names.lastAnswer(host)
	addrs = slices.DeleteFunc(addrs, func(a netip.Addr) bool { return a.IsUnspecified() || a.IsMulticast() })
	switch {
	case err != nil:
		return netip.AddrPort{}, err
	case len(addrs) == 0:
		return netip.AddrPort{}, fmt.Errorf("look up %s: no address that others can dial", host)
	case slices.Contains(addrs, now.Addr()):
		return netip.AddrPortFrom(now.Addr(), port), nil
	}
	return netip.AddrPortFrom(addrs[0].WithZone(""), port), nil
}

// keepAddress makes it known when the address of this node changes, and lets
// it be found by mDNS where the host is now.
func (w *whereabouts) keepAddress(ctx context.Context) {
	fixed := !w.isNamed() && (w.advertise != "" || !w.link.Addr().Addr().IsUnspecified())
	if fixed && !w.beacon.wanted {
		return
	}
	for tick := 1; clock.Sleep(ctx, addressPause); tick++ {
		if !fixed && (tick%namePauses == 0 || !w.nameIsFound()) {
			w.renewAddress(ctx)
		}
		w.beacon.renewDiscovery()
	}
}

// nameIsFound tells whether the address to make known is a name, of which DNS
// gave an address when it was last asked.
func (w *whereabouts) nameIsFound() bool {
	if !w.isNamed() {
		return false
	}
	host, _, _ := splitAdvertise(w.advertise, DefaultPort)
	addrs, err := w.names.lastAnswer(host)
	return err == nil && len(addrs) > 0
}

// renewAddress looks for the address of this node and makes it known if it is
// another one.
func (w *whereabouts) renewAddress(ctx context.Context) {
	now := *w.own.addr.Load()
	addr, err := w.findOwnAddr(ctx, now)
	if err != nil {
		w.log.Debug("address to make known was not found", "error", err)
		return
	}
	if e, _ := w.book.snapshot().Get(w.id); addr == now && e.Addr == addr {
		return
	}
	w.log.Info("this node has another address", "addr", addr, "was", now)
	w.own.addr.Store(&addr)
	w.warnOnError("could not write the new address", w.own.updateSelf(ctx, 0))
}

// isNamed tells whether the address to make known is a name.
func (w *whereabouts) isNamed() bool {
	host, _, err := splitAdvertise(w.advertise, DefaultPort)
	if err != nil {
		return false
	}
	_, err = netip.ParseAddr(host)
	return err != nil
}
