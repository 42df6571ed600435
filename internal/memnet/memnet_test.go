package memnet

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"
)

var (
	addrA = netip.MustParseAddr("10.0.0.1")
	addrB = netip.MustParseAddr("10.0.0.2")
	addrC = netip.MustParseAddr("fd00::3")
)

// pair connects a stream from machine a to machine b.
func pair(t testing.TB, n *Net, a, b netip.Addr) (near, far net.Conn) {
	t.Helper()
	l, err := n.Host(b).Listen(t.Context(), "tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = n.Host(a).Dial(t.Context(), "tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, far
}

func packetSocket(t testing.TB, n *Net, a netip.Addr) net.PacketConn {
	t.Helper()
	p, err := n.Host(a).ListenPacket(t.Context(), "udp", ":7946")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// drain reads packets until none comes for a while, in virtual time.
func drain(t testing.TB, p net.PacketConn) (packets []string) {
	t.Helper()
	b := make([]byte, maxPacket)
	for {
		p.SetReadDeadline(time.Now().Add(time.Minute))
		n, _, err := p.ReadFrom(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return packets
		}
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, string(b[:n]))
	}
}

func send(t testing.TB, p net.PacketConn, to net.Addr, payload string) {
	t.Helper()
	if _, err := p.WriteTo([]byte(payload), to); err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

func expect(t testing.TB, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Fatalf("read %q, %v; want %q", b, err, want)
	}
}

func TestConformance(t *testing.T) {
	for name, path := range map[string]Path{"perfect": {}, "slow": {Delay: time.Millisecond, Jitter: time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && path.Delay == 0 {
				t.Skip("the slow path covers more")
			}
			t.Parallel()
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				n := New(1)
				n.SetPaths(path)
				c1, c2 = pair(t, n, addrA, addrB)
				return c1, c2, func() { n.Close() }, nil
			})
		})
	}
}

func TestStreamDelayKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(2)
		defer n.Close()
		n.SetPaths(Path{Delay: 40 * time.Millisecond, Jitter: 30 * time.Millisecond})
		start := time.Now()
		near, far := pair(t, n, addrA, addrB)
		if took := time.Since(start); took < 80*time.Millisecond || took > 140*time.Millisecond {
			t.Errorf("connecting took %v; want one round trip", took)
		}
		start = time.Now()
		for range 50 {
			write(t, near, "abcdefghij")
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("writes within the window took %v", took)
		}
		for range 50 {
			expect(t, far, "abcdefghij")
		}
		if took := time.Since(start); took < 40*time.Millisecond || took > 70*time.Millisecond {
			t.Errorf("data took %v; want 40 to 70 ms", took)
		}
	})
}

func TestStreamWindowBlocksWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(3)
		defer n.Close()
		near, far := pair(t, n, addrA, addrB)
		near.SetWriteDeadline(time.Now().Add(time.Second))
		wrote, err := near.Write(make([]byte, 2*window))
		if wrote != window || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("wrote %d, %v; want a full window and a timeout", wrote, err)
		}
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%v is no net.Error timeout", err)
		}
		near.SetWriteDeadline(time.Time{})
		if _, err := io.CopyN(io.Discard, far, 10); err != nil {
			t.Fatal(err)
		}
		write(t, near, "0123456789")
	})
}

func TestCloseDeliversThenEOF(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(4)
		defer n.Close()
		n.SetPaths(Path{Delay: time.Millisecond})
		near, far := pair(t, n, addrA, addrB)
		write(t, near, "last words")
		near.Close()
		if _, err := near.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write after Close: %v", err)
		}
		expect(t, far, "last words")
		if _, err := far.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read after the peer closed: %v; want EOF", err)
		}
		write(t, far, "to nobody") // arrives, and is answered by a reset
		time.Sleep(10 * time.Millisecond)
		if _, err := far.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write to a closed peer: %v; want ECONNRESET", err)
		}
	})
}

func TestCutStallsStreamUntilHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(5)
		defer n.Close()
		near, far := pair(t, n, addrA, addrB)
		n.Cut(addrA, addrB)
		write(t, near, "held")
		far.SetReadDeadline(time.Now().Add(time.Hour))
		if _, err := far.Read(make([]byte, 4)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read over a cut: %v", err)
		}
		far.SetReadDeadline(time.Time{})
		write(t, far, "the other way is open")
		expect(t, near, "the other way is open")
		time.AfterFunc(time.Minute, func() { n.Heal(addrA, addrB) })
		start := time.Now()
		expect(t, far, "held")
		if took := time.Since(start); took != time.Minute {
			t.Errorf("arrived %v after the write; want the moment of the heal", took)
		}
	})
}

// With Backoff on, what a cut has stopped goes on when TCP tries again, and is
// not overtaken by what is written after the heal.
func TestStreamBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(5)
		defer n.Close()
		n.Backoff(true)
		near, far := pair(t, n, addrA, addrB)
		for _, c := range []struct{ healed, resumed time.Duration }{
			{100 * time.Millisecond, 200 * time.Millisecond},
			{7 * time.Second, 12600 * time.Millisecond},
			{13 * time.Second, 25400 * time.Millisecond},
			{10 * time.Minute, 11*time.Minute + 24600*time.Millisecond},
		} {
			start := time.Now()
			n.Cut(addrA, addrB)
			write(t, near, "held, ")
			time.Sleep(c.healed)
			n.Heal(addrA, addrB)
			write(t, near, "and more")
			expect(t, far, "held, and more")
			if took := time.Since(start); took != c.resumed {
				t.Errorf("healed after %v: arrived after %v, want %v", c.healed, took, c.resumed)
			}
			start = time.Now()
			write(t, near, "at once")
			expect(t, far, "at once")
			if took := time.Since(start); took > time.Millisecond {
				t.Errorf("after it resumed: arrived after %v", took)
			}
		}
	})
}

// Data gets through one way, but its acknowledgements do not: the writer
// stalls when the window is full.
func TestCutBackwardsFillsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(6)
		defer n.Close()
		near, far := pair(t, n, addrA, addrB)
		n.Cut(addrB, addrA)
		go io.Copy(io.Discard, far)
		near.SetWriteDeadline(time.Now().Add(time.Minute))
		wrote, err := near.Write(make([]byte, 2*window))
		if wrote != window || err == nil {
			t.Fatalf("wrote %d, %v", wrote, err)
		}
		near.SetWriteDeadline(time.Time{})
		n.Heal(addrB, addrA)
		if _, err := near.Write(make([]byte, 2*window)); err != nil {
			t.Fatal(err)
		}
		near.Close()
		far.Close()
	})
}

func TestDialIntoCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(7)
		defer n.Close()
		l, err := n.Host(addrB).Listen(t.Context(), "tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		n.Cut(addrB, addrA) // the answer cannot come back
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		if _, err := n.Host(addrA).Dial(ctx, "tcp", l.Addr().String()); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("dial into a cut: %v", err)
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("took %v", took)
		}
		time.AfterFunc(time.Minute, n.HealAll)
		c, err := n.Host(addrA).Dial(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 67*time.Second {
			t.Errorf("connected %v after the heal", took-65*time.Second)
		}
		c.Close()
	})
}

func TestDialErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(8)
		defer n.Close()
		a := n.Host(addrA)
		n.Host(addrB)
		_, err := a.Dial(t.Context(), "tcp", "10.0.0.2:80")
		var op *net.OpError
		if !errors.Is(err, syscall.ECONNREFUSED) || !errors.As(err, &op) || op.Op != "dial" {
			t.Errorf("closed port: %v", err)
		}
		if _, err = a.Dial(t.Context(), "tcp", "10.9.9.9:80"); !errors.Is(err, syscall.EHOSTUNREACH) {
			t.Errorf("no such machine: %v", err)
		}
		if _, err = a.Listen(t.Context(), "tcp", "10.0.0.2:80"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("listening on another's address: %v", err)
		}
		if _, err = a.Listen(t.Context(), "tcp", ":80"); err != nil {
			t.Errorf("listen: %v", err)
		}
		if _, err = a.Listen(t.Context(), "tcp", "0.0.0.0:80"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("port taken: %v", err)
		}
		if _, err = a.ListenPacket(t.Context(), "udp", ":80"); err != nil {
			t.Errorf("packets have ports of their own: %v", err)
		}
		if _, err = a.Dial(t.Context(), "unix", "/x"); err == nil {
			t.Error("unix sockets do not exist here")
		}
	})
}

func TestKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(9)
		defer n.Close()
		n.SetPaths(Path{Delay: 5 * time.Millisecond})
		near, far := pair(t, n, addrA, addrB)
		old := n.Host(addrB)
		l, _ := old.Listen(t.Context(), "tcp", ":80")
		n.Kill(addrB)
		start := time.Now()
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read from a killed peer: %v", err)
		}
		if took := time.Since(start); took != 5*time.Millisecond {
			t.Errorf("the reset took %v", took)
		}
		if _, err := near.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write to a killed peer: %v", err)
		}
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the killed process still reads: %v", err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the killed process still accepts: %v", err)
		}
		if _, err := old.Dial(t.Context(), "tcp", "10.0.0.1:1"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the killed process still dials: %v", err)
		}
		if _, err := n.Host(addrA).Dial(t.Context(), "tcp", "10.0.0.2:80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial to a killed process: %v", err)
		}
		if _, err := n.Host(addrB).Listen(t.Context(), "tcp", ":80"); err != nil {
			t.Errorf("the next process on the machine: %v", err)
		}
	})
}

func TestKillEndsDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(10)
		defer n.Close()
		n.Host(addrB)
		n.Silence(addrB)
		time.AfterFunc(time.Second/2, func() { n.Kill(addrA) })
		start := time.Now()
		_, err := n.Host(addrA).Dial(t.Context(), "tcp", "10.0.0.2:80")
		if !errors.Is(err, net.ErrClosed) || time.Since(start) != time.Second/2 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(11)
		defer n.Close()
		near, _ := pair(t, n, addrA, addrB)
		a, b := packetSocket(t, n, addrA), packetSocket(t, n, addrB)
		n.Silence(addrB)
		write(t, near, "into the dark")
		send(t, a, b.LocalAddr(), "in")
		send(t, b, a.LocalAddr(), "out")
		near.SetReadDeadline(time.Now().Add(time.Hour))
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a silent machine must not reset: %v", err)
		}
		if in, out := drain(t, b), drain(t, a); len(in)+len(out) != 0 {
			t.Errorf("got %q and %q", in, out)
		}
		near.SetReadDeadline(time.Time{})
		n.Kill(addrB) // the power went: nothing is left of the process
		n.Restore(addrB)
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after the machine came back: %v", err)
		}
	})
}

func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(12)
		defer n.Close()
		near, far := pair(t, n, addrA, addrB)
		a, b := packetSocket(t, n, addrA), packetSocket(t, n, addrB)
		n.Stall(addrB, 10*time.Second)
		start := time.Now()
		write(t, near, "to")
		write(t, far, "from")
		send(t, a, b.LocalAddr(), "to")
		send(t, b, a.LocalAddr(), "from")
		expect(t, near, "from")
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("left the stalled process after %v", took)
		}
		expect(t, far, "to")
		if in, out := drain(t, b), drain(t, a); len(in) != 1 || len(out) != 1 {
			t.Errorf("packets after the stall: %q, %q", in, out)
		}
		n.Stall(addrB, 10*time.Second)
		start = time.Now()
		write(t, near, "2")
		expect(t, far, "2")
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("the stalled process read after %v", took)
		}
	})
}

func TestPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(13)
		defer n.Close()
		a, b, c := packetSocket(t, n, addrA), packetSocket(t, n, addrB), packetSocket(t, n, addrC)
		count := func(p Path) int {
			n.SetPaths(p)
			for range 1000 {
				send(t, a, b.LocalAddr(), "x")
			}
			return len(drain(t, b))
		}
		if got := count(Path{Delay: time.Second}); got != 1000 {
			t.Errorf("perfect: %d of 1000", got)
		}
		if got := count(Path{Loss: 0.3}); got < 650 || got > 750 {
			t.Errorf("30 %% loss: %d of 1000", got)
		}
		if got := count(Path{MTU: 1, Loss: 1}); got != 0 {
			t.Errorf("all lost: %d of 1000", got)
		}
		n.SetPaths(Path{Duplicate: 1, MTU: 4})
		send(t, a, b.LocalAddr(), "four")
		send(t, a, b.LocalAddr(), "five5")
		if got := drain(t, b); len(got) != 2 || got[0] != "four" || got[1] != "four" {
			t.Errorf("duplicate: %q", got)
		}
		n.SetPaths(Path{})
		for range 2 * queueLimit {
			send(t, a, b.LocalAddr(), "x")
		}
		if got := len(drain(t, b)); got != queueLimit {
			t.Errorf("a full queue kept %d", got)
		}
		n.SetPath(addrA, addrC, Path{Reorder: 0.5})
		for i := range 64 {
			send(t, a, c.LocalAddr(), string(rune('0'+i)))
			time.Sleep(time.Millisecond)
		}
		got, late := drain(t, c), 0
		for i := 1; i < len(got); i++ {
			if got[i] < got[i-1] {
				late++
			}
		}
		if len(got) != 64 || late == 0 {
			t.Errorf("reordering: %d packets, %d out of order", len(got), late)
		}
		if _, err := a.WriteTo(make([]byte, maxPacket+1), b.LocalAddr()); !errors.Is(err, syscall.EMSGSIZE) {
			t.Errorf("oversized: %v", err)
		}
	})
}

func TestPacketsInFlightMeetTheCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(14)
		defer n.Close()
		n.SetPaths(Path{Delay: time.Second})
		a, b := packetSocket(t, n, addrA), packetSocket(t, n, addrB)
		send(t, a, b.LocalAddr(), "too late")
		n.Cut(addrA, addrB)
		send(t, b, a.LocalAddr(), "one way is open")
		if got := drain(t, b); len(got) != 0 {
			t.Errorf("over the cut: %q", got)
		}
		if got := drain(t, a); len(got) != 1 {
			t.Errorf("the open way: %q", got)
		}
	})
}

func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(15)
		defer n.Close()
		var all []net.PacketConn
		for _, addr := range []netip.Addr{addrA, addrB, addrC} {
			all = append(all, packetSocket(t, n, addr))
		}
		reached := func() (total int) {
			for _, from := range all {
				for _, to := range all {
					if from != to {
						send(t, from, to.LocalAddr(), "x")
					}
				}
			}
			for _, p := range all {
				total += len(drain(t, p))
			}
			return total
		}
		n.Partition([]netip.Addr{addrA}, []netip.Addr{addrB, addrC})
		if got := reached(); got != 2 {
			t.Errorf("partitioned 1|2: %d packets got through; want 2", got)
		}
		n.HealAll()
		if got := reached(); got != 6 {
			t.Errorf("healed: %d packets got through; want 6", got)
		}
	})
}

// Three hundred machines, each with a stream to ten others: the size meshes
// are tested at.
func TestManyMachines(t *testing.T) {
	before := runtime.NumGoroutine()
	synctest.Test(t, func(t *testing.T) {
		n := New(16)
		n.SetPaths(Path{Delay: time.Millisecond, Loss: 0.01})
		const machines, streams = 300, 10
		addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }
		for i := range machines {
			l, err := n.Host(addr(i)).Listen(t.Context(), "tcp", ":1")
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go io.Copy(c, c)
				}
			}()
		}
		echoed := make(chan error)
		for i := range machines {
			for j := range streams {
				go func() {
					c, err := n.Host(addr(i)).Dial(t.Context(), "tcp", netip.AddrPortFrom(addr((i+j+1)%machines), 1).String())
					if err != nil {
						echoed <- err
						return
					}
					defer c.Close()
					for range 20 {
						if _, err = c.Write(make([]byte, 100)); err == nil {
							_, err = io.ReadFull(c, make([]byte, 100))
						}
					}
					echoed <- err
				}()
			}
		}
		for range machines * streams {
			if err := <-echoed; err != nil {
				t.Fatal(err)
			}
		}
		n.Close()
	})
	// The last one may still be on its way out.
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
}
