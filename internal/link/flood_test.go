package link

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// heapNow is what is live after a full collection.
func heapNow() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// peak samples memory without collecting first, while fn runs.
func peak(fn func()) uint64 {
	var top atomic.Uint64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			top.Store(max(top.Load(), m.HeapAlloc+m.StackInuse))
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	fn()
	close(stop)
	<-done
	return top.Load()
}

// TestThousandHostileConnections: strangers from many addresses keep opening
// connections, sending nothing, garbage, or the start of a handshake.
func TestThousandHostileConnections(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector has its own use of memory and time")
	}
	w := newWorld(t)
	a := w.start(1, func(c *Config) { c.Listen = "0.0.0.0:0" })
	port := a.Addr().Port()
	w.book.set(1, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port))
	friend := w.start(2)
	base := heapNow()
	hello := clientHello(t, w.auth.knock(forData)...)
	const conns = 1000
	var open sync.WaitGroup
	var all [conns]net.Conn
	top := peak(func() {
		for i := range conns {
			open.Go(func() {
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%20))}, Timeout: 5 * time.Second}
				c, err := d.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
				if err != nil {
					return
				}
				all[i] = c
				switch i % 4 {
				case 1: // a record of 16 KiB that never ends
					_, _ = c.Write(append([]byte{22, 3, 1, 0x40, 0}, make([]byte, 16<<10)...))
				case 2: // overheard
					_, _ = c.Write(hello) // and no answer to what comes
				case 3:
					garbage := make([]byte, 4096)
					_, _ = rand.Read(garbage)
					_, _ = c.Write(garbage)
				}
			})
		}
		open.Wait()
	})
	t.Logf("peak %d KiB over the base of %d KiB", (top-base)>>10, base>>10)
	if held := top - base; held > 64<<20 {
		t.Errorf("%d MiB held", held>>20)
	}
	begin := time.Now()
	eventually(t, "a friend gets through", func() bool {
		_, err := friend.Call(ctxFor(t, time.Second), 1, "x", nil)
		return err == nil
	})
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("a friend waited %v", d)
	}
	eventually(t, "strangers are thrown out", func() bool {
		a.strangers.mu.Lock()
		defer a.strangers.mu.Unlock()
		return a.strangers.n == 0
	})
	for _, c := range all {
		if c == nil {
			continue
		}
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("a stranger's connection stays open")
		}
		c.Close()
	}
}

// clientHello is a valid first flight.
func clientHello(t testing.TB, offered ...string) []byte {
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		_ = tls.Client(theirs, &tls.Config{InsecureSkipVerify: true, NextProtos: offered}).Handshake()
		theirs.Close()
	}()
	b := make([]byte, 8<<10)
	n, err := ours.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// enter makes a data connection that nobody but its caller reads or writes; nil
// if it was turned away. All of them come from one address: only so many at a
// time.
func (w *world) enter(id view.NodeID, to *Link, entrance chan struct{}) net.Conn {
	entrance <- struct{}{}
	c, err := w.insider(id, forData, to)
	<-entrance
	if err != nil {
		return nil
	}
	if err := w.greet(c, id); err != nil {
		c.Close()
		return nil
	}
	return c
}

// TestHundredThirsts: peers that hold the key ask for large replies and read
// none. What is measured is what the link holds of them: the handler gives out
// the same bytes all the time, as a cache does.
func TestHundredThirsts(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector has its own use of memory and time")
	}
	w := newWorld(t)
	large := make([]byte, 1<<20)
	a := w.start(1, func(c *Config) {
		c.Handle = func(_ context.Context, _ view.NodeID, method string, _ []byte) ([]byte, error) {
			if method == "small" {
				return large[:100], nil
			}
			return large, nil
		}
	})
	friend := w.start(2)
	mustGreet(t, friend, a)
	base := heapNow()
	entrance := make(chan struct{}, 8)
	var thirsty sync.WaitGroup
	var greeted atomic.Int32
	done := make(chan struct{})
	top := peak(func() {
		for i := range 100 {
			thirsty.Go(func() {
				id := view.NodeID(1000 + i)
				c := w.enter(id, a, entrance)
				if c == nil {
					return
				}
				defer c.Close()
				greeted.Add(1)
				for n := range uint64(100) {
					if _, err := c.Write(wire.AppendFrame(nil, wire.FrameRequest, n+1, 0, "m", nil)); err != nil {
						return
					}
				}
				<-done
			})
		}
		eventually(t, "replies are refused", func() bool { return a.Stats().Overloaded >= 1000 })
		for range 100 { // who reads is served all the while
			if _, err := friend.Call(ctxFor(t, 5*time.Second), 1, "small", nil); err != nil {
				t.Errorf("a friend's small request: %v", err)
				break
			}
		}
		close(done)
		thirsty.Wait()
	})
	t.Logf("peak %d KiB over the base of %d KiB, %d peers, %+v", (top-base)>>10, base>>10, greeted.Load(), a.Stats())
	if held := top - base; held > 128<<20 {
		t.Errorf("%d MiB held", held>>20)
	}
	eventually(t, "nothing is held when they are gone", func() bool { return a.outbound.used.Load() == 0 })
	if got, err := friend.Call(ctxFor(t, 5*time.Second), 1, "m", nil); err != nil || len(got) != len(large) {
		t.Errorf("a friend gets %d bytes, %v", len(got), err)
	}
}

// TestHundredFloods: peers that hold the key send as much as they can on
// data connections and gossip streams and read nothing.
func TestHundredFloods(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector has its own use of memory and time")
	}
	w := newWorld(t)
	stop := make(chan struct{})
	a := w.start(1, func(c *Config) {
		c.Limits.MaxPayload = 36 << 20 // as in a mesh
		c.Handle = holding(stop)
	})
	friend := w.start(2)
	mustGreet(t, friend, a)
	// The bytes that all floods send are alive all the time and would let as
	// much garbage stand: half of that is asked for, as without them.
	zeros := make([]byte, 30<<20)
	defer debug.SetGCPercent(debug.SetGCPercent(50))
	base := heapNow()
	const floods = 100
	entrance := make(chan struct{}, 8)
	var streams, wg sync.WaitGroup
	streams.Go(func() { readStreams(a, stop) })
	var greeted atomic.Int32
	end := time.Now().Add(4 * time.Second)
	top := peak(func() {
		for i := range floods {
			wg.Go(func() {
				id := view.NodeID(1000 + i)
				if i%4 == 3 {
					w.floodGossip(id, a)
					return
				}
				c := w.enter(id, a, entrance)
				if c == nil {
					return
				}
				defer c.Close()
				greeted.Add(1)
				_ = c.SetDeadline(end)
				for n := range uint64(1000) {
					if a.Stats().Overloaded == 0 { // what is not there yet does not count: a busy machine needs longer
						_ = c.SetDeadline(time.Now().Add(4 * time.Second))
					}
					// The payload is shared: what is measured is the other end.
					size := []int{1 << 10, 64 << 10, 2 << 20, 0, 30 << 20}[i%5]
					head := wire.AppendFrame(nil, wire.FrameRequest, n+1, 0, "m", nil)
					binary.BigEndian.PutUint32(head, uint32(len(head)-wire.FramePrefix+size))
					if _, err := c.Write(head); err != nil {
						return
					}
					if _, err := c.Write(zeros[:size]); err != nil {
						return
					}
				}
				_, _ = io.ReadAtLeast(c, make([]byte, 1), 1)
			})
		}
		wg.Wait()
	})
	close(stop)
	streams.Wait()
	// Both ends are in this process: what the floods themselves allocate is
	// in the figure, too.
	t.Logf("peak %d KiB over the base of %d KiB, %d floods, %+v", (top-base)>>10, base>>10, greeted.Load(), a.Stats())
	if held := top - base; held > 128<<20 {
		t.Errorf("%d MiB held", held>>20)
	}
	if greeted.Load() < 50 || a.Stats().Overloaded == 0 {
		t.Errorf("the flood was none: %d greeted, %d refused", greeted.Load(), a.Stats().Overloaded)
	}
	mustCall(t, friend, 1, []byte("still here"))
}

// readStreams takes gossip streams as memberlist does.
func readStreams(l *Link, stop chan struct{}) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case c := <-l.Gossip().StreamCh():
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(2 * time.Second))
				_, _ = io.Copy(io.Discard, c)
			})
		case <-stop:
			return
		}
	}
}

func (w *world) floodGossip(id view.NodeID, a *Link) {
	for range 3 {
		c, err := w.insider(id, forGossip, a)
		if err != nil {
			return
		}
		_ = c.SetDeadline(time.Now().Add(time.Second))
		header := []byte{gossipFrameVersion, 0, 0x40, 0, 0} // 4 MiB
		_, _ = c.Write(header)
		chunk := make([]byte, 16<<10)
		for range 255 {
			if _, err := c.Write(chunk); err != nil {
				break
			}
		}
		c.Close()
	}
}
