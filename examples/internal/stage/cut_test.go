package stage

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// pair connects two Network networks on one loopback address by a stream.
func pair(t *testing.T) (*Network, net.Conn, net.Conn) {
	t.Helper()
	lo := netip.MustParseAddr("127.0.0.1")
	n := NewNetwork(lo)
	l, err := n.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := n.Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return n, a, b
}

func TestCutStallsStreamsAndHealResumesThem(t *testing.T) {
	n, a, b := pair(t)
	n.SetBlocked([]netip.Addr{netip.MustParseAddr("127.0.0.1")})

	a.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := a.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("write across a cut: %v, want a passed deadline", err)
	}
	a.SetWriteDeadline(time.Time{})

	got := make(chan error, 1)
	go func() {
		buf := make([]byte, 5)
		_, err := io.ReadFull(b, buf)
		if err == nil && string(buf) != "hello" {
			err = errors.New("read " + string(buf))
		}
		got <- err
	}()
	sent := make(chan error, 1)
	go func() { _, err := a.Write([]byte("hello")); sent <- err }()
	select {
	case err := <-got:
		t.Fatalf("read across a cut returned: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	n.SetBlocked(nil)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Fatal(err)
	}
}

func TestCutHidesTheCloseOfAPeer(t *testing.T) {
	n, a, b := pair(t)
	n.SetBlocked([]netip.Addr{netip.MustParseAddr("127.0.0.1")})
	a.Close()
	b.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read: %v, want a passed deadline: a close must not cross a cut", err)
	}
	n.SetBlocked(nil)
	b.SetReadDeadline(time.Time{})
	if _, err := b.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("read after the heal: %v, want EOF", err)
	}
}

func TestCutDropsPacketsAndHangsDials(t *testing.T) {
	lo := netip.MustParseAddr("127.0.0.1")
	n := NewNetwork(lo)
	p, err := n.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	n.SetBlocked([]netip.Addr{lo})
	if _, err := p.WriteTo([]byte("lost"), p.LocalAddr()); err != nil {
		t.Fatalf("a discarded datagram must look sent: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := n.Dial(ctx, "tcp", "127.0.0.1:1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("dial across a cut: %v, want the context's end (a refusal would tell too much)", err)
	}
	n.SetBlocked(nil)
	if _, err := p.WriteTo([]byte("kept"), p.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	p.SetReadDeadline(time.Now().Add(5 * time.Second))
	got, _, err := p.ReadFrom(buf)
	if err != nil || string(buf[:got]) != "kept" {
		t.Fatalf("read %q, %v; want the datagram sent after the heal", buf[:got], err)
	}
}
