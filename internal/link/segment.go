package link

import (
	"net"
	"net/netip"
	"syscall"
)

// maxSegment bounds what TCP puts into one packet, in bytes, as datagrams are
// bounded. Where something on the way takes no more, a tunnel or a mobile
// network, and does not tell, larger segments would vanish for ever: the first
// message of TLS is one.
const maxSegment = 1200

// boundSegments is a Control of package net. Where the system does not know such
// a bound there is none. On the loopback there is no way that could be narrow.
func boundSegments(_, address string, c syscall.RawConn) error {
	host, _, _ := net.SplitHostPort(address)
	if a, err := netip.ParseAddr(host); err == nil && a.Unmap().IsLoopback() {
		return nil
	}
	return c.Control(setMaxSegment)
}
