package link

import (
	"net"
	"syscall"
	"testing"
	"time"
)

func segmentOf(t *testing.T, c net.Conn) int {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	ctlErr := raw.Control(func(fd uintptr) {
		size, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG)
	})
	if err != nil || ctlErr != nil {
		t.Fatal(err, ctlErr)
	}
	return size
}

// One end that bounds its segments is enough: a peer of an earlier release does not.
func TestSegmentsAreBounded(t *testing.T) {
	ctx := ctxFor(t, 5*time.Second)
	ours, err := hostNetwork{}.Listen(ctx, "tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	_, port, _ := net.SplitHostPort(ours.Addr().String())
	c, err := net.Dial("tcp4", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := segmentOf(t, c); got > maxSegment {
		t.Errorf("segments of %d bytes to a listener of ours", got)
	}
	// Dialled: the option is set before the connection is, whatever becomes of it.
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	d := net.Dialer{Control: func(network, address string, rc syscall.RawConn) error {
		if err := boundSegments(network, "192.0.2.1:7800", rc); err != nil {
			return err
		}
		size, err := 0, error(nil)
		if ctlErr := rc.Control(func(fd uintptr) {
			size, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG)
		}); ctlErr != nil {
			return ctlErr
		}
		if size != maxSegment {
			t.Errorf("a socket that dials is bounded by %d", size)
		}
		return err
	}}
	if c, err := d.DialContext(ctx, "tcp4", "127.0.0.1:"+port); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
}
