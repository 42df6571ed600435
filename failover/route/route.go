// Package route holds the words about where services are found. Package failover tells routes;
// those that bring them to programs that are no nodes go by them: failover/dns,
// failover/forward.
package route

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// Route is where a service is found. The zero Route is nowhere.
type Route struct {
	Service string
	Node    view.NodeID // that runs it
	Address string      // as the service says
	Token   token.Token // of the node's lead
}

var (
	// ErrNotServed: no node is known to run the service, verified, at an address.
	ErrNotServed = errors.New("failover: the service is not served")
	// ErrAddress: the address of a Route is neither a host nor "host:port".
	ErrAddress = errors.New("failover: not the address of a host")
)

const (
	maxHost  = 253 // bytes
	maxLabel = 63  // bytes of the words between the dots of a host
)

// Endpoint is the address of a Route, taken apart.
type Endpoint struct {
	IP   netip.Addr // the zero Addr if the host has a name
	Name string     // of the host; empty if it has an IP
	Port uint16     // 0: none
}

// String returns what ParseEndpoint reads.
func (e Endpoint) String() string {
	switch ip := e.IP.IsValid(); {
	case ip && e.Port != 0:
		return netip.AddrPortFrom(e.IP, e.Port).String()
	case ip:
		return e.IP.String()
	case e.Port != 0:
		return e.Name + ":" + strconv.Itoa(int(e.Port))
	}
	return e.Name
}

// Endpoint takes the address of the Route apart. The error is ErrAddress where it means no
// place in a network: a service may say whatever its own clients understand.
func (r Route) Endpoint() (Endpoint, error) { return ParseEndpoint(r.Address) }

// ParseEndpoint reads "host:port" or a host: a name, an IP, or in front of a port an IP of
// version 6 in brackets. The error is ErrAddress.
func ParseEndpoint(address string) (e Endpoint, err error) {
	if ip, err := netip.ParseAddr(address); err == nil {
		return endpointAt(ip, 0, address)
	}
	if at, err := netip.ParseAddrPort(address); err == nil && at.Port() != 0 {
		return endpointAt(at.Addr(), at.Port(), address)
	}
	name, port, hasPort := strings.Cut(address, ":")
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return Endpoint{}, fmt.Errorf("%w: port %.20q of %.60q", ErrAddress, port, address)
		}
		e.Port = uint16(n)
	}
	if e.Name = strings.TrimSuffix(name, "."); !isHostName(e.Name) {
		return Endpoint{}, fmt.Errorf("%w: %.60q", ErrAddress, address)
	}
	return e, nil
}

// endpointAt returns an IP as a place. One that means each client's own machine, or one of its
// links, means no place: "[::]:80" is where a program listens, not where it is found.
func endpointAt(ip netip.Addr, port uint16, address string) (Endpoint, error) {
	if ip = ip.Unmap(); ip.IsUnspecified() || ip.Zone() != "" {
		return Endpoint{}, fmt.Errorf("%w: %.60q is another place on each machine", ErrAddress, address)
	}
	return Endpoint{IP: ip, Port: port}, nil
}

// isHostName tells whether a name is made of words of letters, digits, "-" and "_" with dots
// between, and is no number: "1.2.3" is an IP that was spelt badly.
func isHostName(name string) bool {
	if name == "" || len(name) > maxHost || !strings.ContainsFunc(name, isLetter) {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > maxLabel || strings.ContainsFunc(label, func(r rune) bool {
			return !isLetter(r) && (r < '0' || r > '9') && r != '-' && r != '_'
		}) {
			return false
		}
	}
	return true
}

func isLetter(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }
