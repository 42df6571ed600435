package mesh

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/mdns"
)

// mdnsWait is how long answers are waited for.
const mdnsWait = time.Second

// discovery lets nodes of the mesh on the local network find each other.
type discovery interface {
	// find returns where nodes of this mesh say they are.
	find(ctx context.Context) []netip.AddrPort
	close() error
}

// announce begins to be found, if the user wants that.
func (n *Node) announce() {
	if !n.cfg.MDNS {
		return
	}
	var err error
	n.mdns, err = n.seams.mdns(n)
	if err != nil {
		// A network without multicast is no reason to stay down.
		n.log.Warn("mDNS is not available", "error", err)
		n.mdns = nil
	}
}

// multicast is discovery by mDNS.
type multicast struct {
	service string
	self    netip.AddrPort
	server  *mdns.Server
	quiet   *log.Logger
}

// openMDNS publishes the node under a service name that tells meshes apart
// without naming them: it is made of the first bytes of the MeshID.
func openMDNS(n *Node) (discovery, error) {
	m := &multicast{
		service: fmt.Sprintf("_skein-%x._tcp", n.mesh[:4]),
		self:    n.Addr(),
		quiet:   log.New(io.Discard, "", 0),
	}
	zone, err := mdns.NewMDNSService(n.id.String(), m.service, "", n.id.String()+".local.",
		int(m.self.Port()), []net.IP{m.self.Addr().AsSlice()}, nil)
	if err != nil {
		return nil, fmt.Errorf("mesh: publish by mDNS: %w", err)
	}
	if m.server, err = mdns.NewServer(&mdns.Config{Zone: zone, Logger: m.quiet}); err != nil {
		return nil, fmt.Errorf("mesh: publish by mDNS: %w", err)
	}
	return m, nil
}

func (m *multicast) find(ctx context.Context) []netip.AddrPort {
	entries := make(chan *mdns.ServiceEntry, 64)
	params := mdns.DefaultParams(m.service)
	params.Entries, params.Timeout, params.Logger = entries, mdnsWait, m.quiet
	if err := mdns.QueryContext(ctx, params); err != nil {
		return nil
	}
	close(entries)
	var found []netip.AddrPort
	for e := range entries {
		for _, ip := range []net.IP{e.AddrV4, e.AddrV6} {
			addr, ok := netip.AddrFromSlice(ip)
			ap := netip.AddrPortFrom(addr.Unmap(), uint16(e.Port))
			if ok && ap != m.self && e.Port > 0 && len(found) < maxSeedAddrs {
				found = append(found, ap)
			}
		}
	}
	return found
}

func (m *multicast) close() error { return m.server.Shutdown() }
