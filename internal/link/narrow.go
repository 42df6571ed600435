package link

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// ErrNarrow: the other end is there and small packets get to it, but large ones do
// not, and nobody on the way says so.
var ErrNarrow = errors.New("link: small packets arrive and large ones do not: the path's MTU is too small")

// NarrowPath is the MTU in bytes that a path must have at least: that of TCP
// segments with their headers, over IPv4. IPv6 demands more of every path.
const NarrowPath = maxSegment + 40

// timeToAsk is how long before the deadline of a handshake reading ends, so that
// the socket is still open and can be asked what became of what was sent.
const timeToAsk = 20 * time.Millisecond

// isNarrow tells of a connection whose handshake failed whether the first segment
// that this end sent, a full one, got lost again and again while the short one behind
// it arrived. What each end says first in TLS takes two. It is false where the system does not tell.
func isNarrow(raw net.Conn) bool {
	socket, ok := raw.(syscall.Conn)
	if !ok {
		return false
	}
	control, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	narrow := false
	err = control.Control(func(fd uintptr) { narrow = losesLarge(fd) })
	return err == nil && narrow
}
