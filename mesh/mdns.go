package mesh

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/mdns"

	"github.com/skeinmesh/skein/mesh/view"
)

const (
	// mdnsWait is how long answers are waited for.
	mdnsWait = time.Second
	// maxMDNSIfaces is on how many interfaces a node lets itself be found.
	maxMDNSIfaces = 8
	// maxFound is how many addresses are taken from one question.
	maxFound = 64
)

// discovery lets nodes of the mesh on the local network find each other.
type discovery interface {
	// find returns where nodes of this mesh say they are.
	findNodes(ctx context.Context) []netip.AddrPort
	shutDown() error
}

// offer is what discovery tells the local network of a node.
type offer struct {
	mesh  view.MeshID
	id    view.NodeID
	at    netip.AddrPort
	fixed bool       // the user said where
	bound netip.Addr // where the node listens; unspecified: everywhere
}

// beacon holds the discovery in use: it is opened when there is a network, and
// anew when the host's addresses have changed, for what was opened before stays
// with interfaces that may be gone.
type beacon struct {
	wanted bool
	log    *slog.Logger
	addrs  func() (hostAddrs, error) // of the host
	now    func() offer
	open   func(offer) (discovery, error)

	mu       sync.Mutex
	opened   discovery // nil: not wanted, or not there yet
	openedOn []netip.Addr
	failed   bool // and that was logged
	closed   bool
}

// discoveryInUse returns the discovery in use, or nil.
func (b *beacon) discoveryInUse() discovery {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opened
}

// renewDiscovery opens discovery, if the user wants it and it is not open where the host
// is now. One goroutine at a time may call it.
func (b *beacon) renewDiscovery() {
	if !b.wanted {
		return
	}
	h, err := b.addrs()
	o := b.now()
	on := append(h.all, o.at.Addr())
	slices.SortFunc(on, netip.Addr.Compare)
	if old := b.discoveryInUse(); old != nil && (err != nil || slices.Equal(on, b.openedOn)) {
		return
	}
	next, err := b.open(o)
	if err != nil {
		// A network without multicast is no reason to stay down, and it may come.
		if !b.failed {
			b.log.Warn("mDNS is not available yet", "error", err)
		}
		b.failed = true
		return
	}
	b.failed, b.openedOn = false, on
	b.mu.Lock()
	old := b.opened
	if b.opened = next; b.closed {
		b.opened, old = nil, next
	}
	b.mu.Unlock()
	if old == nil {
		return
	}
	if err := old.shutDown(); err != nil {
		b.log.Warn("mDNS did not stop cleanly", "error", err)
	}
}

// endDiscovery ends discovery for good.
func (b *beacon) endDiscovery() error {
	b.mu.Lock()
	old := b.opened
	b.opened, b.closed = nil, true
	b.mu.Unlock()
	if old == nil {
		return nil
	}
	return old.shutDown()
}

// multicast is discovery by mDNS, on each interface by itself: a bare switch has
// no route that would choose one.
type multicast struct {
	service string
	self    netip.AddrPort
	servers []*mdns.Server
	ifaces  []net.Interface
}

// openMDNS publishes the node under a service name that tells meshes apart
// without naming them: it is made of the first bytes of the MeshID.
func openMDNS(o offer) (discovery, error) {
	m := &multicast{service: fmt.Sprintf("_skein-%x._tcp", o.mesh[:4]), self: o.at}
	ifaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("mesh: publish by mDNS: %w", err)
	}
	for _, i := range ifaces {
		addrs := mdnsAddrs(i)
		if i.Flags&net.FlagMulticast == 0 || len(addrs) == 0 || len(m.servers) == maxMDNSIfaces {
			continue
		}
		if !o.bound.IsUnspecified() && !slices.Contains(addrs, o.bound.Unmap().WithZone("")) {
			continue // this node does not listen there
		}
		if o.fixed {
			addrs = []netip.Addr{m.self.Addr()}
		}
		var server *mdns.Server
		if server, err = m.publishOn(o.id.String(), i, addrs[0]); err == nil {
			m.servers, m.ifaces = append(m.servers, server), append(m.ifaces, i)
		}
	}
	if len(m.servers) == 0 {
		if err == nil {
			err = fmt.Errorf("no interface that takes part in multicast")
		}
		return nil, fmt.Errorf("mesh: publish by mDNS: %w", err)
	}
	return m, nil
}

// mdnsAddrs returns the addresses of an interface that nodes beside it can dial,
// the best first.
func mdnsAddrs(i net.Interface) []netip.Addr {
	if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagRunning == 0 || i.Flags&net.FlagLoopback != 0 {
		return nil
	}
	var h hostAddrs
	addrs, err := i.Addrs()
	if err != nil {
		return nil // it has just gone
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			h.all = append(h.all, p.Addr().Unmap())
		}
	}
	best, err := h.pickAddr()
	if err != nil {
		return nil
	}
	return append([]netip.Addr{best}, h.all...)
}

// publishOn answers questions on one interface. Each has a name of its own, or the
// address of one would hide that of another.
func (m *multicast) publishOn(id string, i net.Interface, addr netip.Addr) (*mdns.Server, error) {
	name := fmt.Sprintf("%s-%d", id, i.Index)
	zone, err := mdns.NewMDNSService(name, m.service, "", name+".local.", int(m.self.Port()), []net.IP{addr.AsSlice()}, nil)
	if err != nil {
		return nil, err
	}
	return mdns.NewServer(&mdns.Config{Zone: zone, Iface: &i, Logger: log.New(io.Discard, "", 0)})
}

func (m *multicast) findNodes(ctx context.Context) []netip.AddrPort {
	ctx, cancel := context.WithTimeout(ctx, mdnsWait)
	defer cancel()
	answers := make([][]netip.AddrPort, len(m.ifaces))
	var all sync.WaitGroup
	for i := range m.ifaces {
		all.Go(func() { answers[i] = askByMulticast(ctx, m.ifaces[i], m.service+".local.") })
	}
	all.Wait()
	var found []netip.AddrPort
	for _, addr := range slices.Concat(answers...) {
		if addr != m.self && !slices.Contains(found, addr) && len(found) < maxFound {
			found = append(found, addr)
		}
	}
	return found
}

func (m *multicast) shutDown() error {
	var err error
	for _, s := range m.servers {
		if e := s.Shutdown(); e != nil {
			err = e
		}
	}
	return err
}
