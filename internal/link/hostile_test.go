package link

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

func TestWrongSecret(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	a, b := w.start(1), other.start(2)
	w.book.set(2, b.Addr())
	other.book.set(1, a.Addr())
	for _, l := range []*Link{a, b} {
		to := view.NodeID(3) - l.cfg.Self
		if _, err := l.Greet(ctxFor(t, 5*time.Second), map[*Link]netip.AddrPort{a: b.Addr(), b: a.Addr()}[l]); !errors.Is(err, ErrUntrusted) {
			t.Errorf("greet: %v", err)
		}
		if _, err := l.Call(ctxFor(t, 5*time.Second), to, "x", nil); !errors.Is(err, ErrUntrusted) || !errors.Is(err, ErrUnreachable) {
			t.Errorf("call: %v", err)
		}
		if r, err := l.Probe(ctxFor(t, 300*time.Millisecond), to); err == nil {
			t.Errorf("probe: %+v", r)
		}
	}
	// A node that trusts everybody still is not trusted.
	fool := w.start(4, func(c *Config) {
		c.Certificate = other.auth.issue(t, 4)
		c.Verify = func(der []byte) (view.NodeID, error) { return 1, nil }
	})
	if _, err := fool.Greet(ctxFor(t, 5*time.Second), a.Addr()); !errors.Is(err, ErrUntrusted) {
		t.Errorf("the refusal by alert: %v", err)
	}
	if s := a.Stats(); s.PacketsRefused == 0 || s.ConnsRefused == 0 {
		t.Errorf("nothing was counted: %+v", s)
	}
}

func TestShutOutByAdmit(t *testing.T) {
	w := newWorld(t)
	var out atomic.Bool
	a := w.start(1, func(c *Config) {
		c.Admit = func(id view.NodeID) bool { return id != 2 || !out.Load() }
		c.OnHello = func(p Peer, _ []byte) error {
			if c.Admit(p.ID) {
				return nil
			}
			return &RefusedError{Code: "out", Text: "shut out"}
		}
	})
	b := w.start(2)
	mustCall(t, b, 1, nil)
	out.Store(true)
	a.Drop(2)
	eventually(t, "it is cut off", func() bool { return len(b.peers.allConns()) == 0 })
	var refused *RefusedError
	if _, err := b.Call(ctxFor(t, 5*time.Second), 1, "x", nil); !errors.As(err, &refused) || refused.Code != "out" {
		t.Errorf("call: %v", err)
	}
	if r, err := b.Probe(ctxFor(t, 200*time.Millisecond), 1); err == nil {
		t.Errorf("probe: %+v", r)
	}
	if c, err := b.Gossip().DialAddressTimeout(address(1), time.Second); err == nil {
		_ = c.SetDeadline(time.Now().Add(time.Second))
		if _, err := io.ReadAll(c); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("gossip stream was taken: %v", err)
		}
		c.Close()
	}
}

// insider is a holder of the key who talks TLS by hand.
func (w *world) insider(id view.NodeID, purpose string, to *Link) (*tls.Conn, error) {
	raw, err := net.Dial("tcp", to.Addr().String())
	if err != nil {
		return nil, err
	}
	c := tls.Client(raw, &tls.Config{
		Certificates:       []tls.Certificate{w.auth.issue(w.t, id)},
		InsecureSkipVerify: true, NextProtos: w.auth.knock(purpose),
	})
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c, c.Handshake()
}

// greet brings an insider's data connection to where requests are taken.
func (w *world) greet(c net.Conn, id view.NodeID) error {
	hello := wire.AppendGreeting(nil, wire.Greeting{Node: id, Boot: 1, Instance: uint64(id), Requests: 1000, Bytes: 8 << 20, MaxPayload: 4 << 20})
	if _, err := c.Write(wire.AppendFrame(nil, wire.FrameGreeting, 0, 0, "", hello)); err != nil {
		return err
	}
	var length [4]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(length[:]))); err != nil {
		return err
	}
	_, err := c.Write(wire.AppendFrame(nil, wire.FrameReady, 1, 0, "", nil))
	return err
}

func frame(kind wire.FrameKind, id uint64, n int) []byte {
	return wire.AppendFrame(nil, kind, id, 0, "m", make([]byte, n))
}

// insidersFrames are what nobody may send, before and after the hellos.
func insidersFrames() (before, after map[string][]byte) {
	oversized := frame(wire.FrameRequest, 1, 0)
	binary.BigEndian.PutUint32(oversized, 1<<31)
	window := make([]byte, 0, 3<<20)
	for i := range uint64(1100) {
		window = append(window, wire.AppendFrame(nil, wire.FrameRequest, i+1, 0, "hold", make([]byte, 8<<10))...)
	}
	before = map[string][]byte{
		"garbage before hello": []byte("GET / HTTP/1.1\r\n\r\n0123456789012345678901234567890123456789"),
		"request before hello": frame(wire.FrameRequest, 1, 0),
		"hello of another":     wire.AppendFrame(nil, wire.FrameGreeting, 0, 0, "", wire.AppendGreeting(nil, wire.Greeting{Node: 2, Requests: 1, Bytes: 1, MaxPayload: 1})),
		"hello of 100 KiB":     frame(wire.FrameGreeting, 0, 100<<10),
		"broken hello":         frame(wire.FrameGreeting, 0, 100),
	}
	after = map[string][]byte{
		"oversized frame":      oversized,
		"garbage":              append([]byte{0, 0, 0, 40}, make([]byte, 40)...),
		"header cut short":     {0, 0, 0, 2, 0x95, 1},
		"hello again":          frame(wire.FrameGreeting, 0, 0),
		"same request twice":   append(wire.AppendFrame(nil, wire.FrameRequest, 1, 0, "hold", nil), wire.AppendFrame(nil, wire.FrameRequest, 1, 0, "hold", nil)...),
		"ping with content":    frame(wire.FramePing, 1, 1000),
		"long failure":         frame(wire.FrameFailure, 1, 10_000),
		"more than the window": window,
	}
	return before, after
}

// TestInsidersFrames: each of these costs its sender the connection, and
// nobody else anything.
func TestInsidersFrames(t *testing.T) {
	w := newWorld(t)
	var hellos atomic.Int32
	hold := make(chan struct{})
	a := w.start(1, func(c *Config) {
		c.Handle = func(ctx context.Context, _ view.NodeID, m string, r []byte) ([]byte, error) {
			if m == "hold" {
				select {
				case <-ctx.Done():
				case <-hold:
				}
			}
			return r, nil
		}
		c.OnHello = func(Peer, []byte) error { hellos.Add(1); return nil }
	})
	b := w.start(2)
	mustCall(t, b, 1, []byte("before"))
	before, after := insidersFrames()
	id := view.NodeID(100)
	try := func(name string, b []byte, greeted bool) {
		id++
		c, err := w.insider(id, forData, a)
		if err == nil && greeted {
			err = w.greet(c, id)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		defer c.Close()
		go func() { _, _ = c.Write(b) }()
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection stays open", name)
		}
	}
	for name, b := range before {
		try(name, b, false)
	}
	if n := hellos.Load(); n != 1 {
		t.Errorf("%d hellos were taken for good, one was", n)
	}
	for name, b := range after {
		try(name, b, true)
	}
	close(hold)
	mustCall(t, b, 1, []byte("after"))
	eventually(t, "all is given back", func() bool {
		return a.inbound.used.Load() == 0 && a.handlers.used.Load() == 0 && len(a.peers.allConns()) == 1
	})
}

// TestUnaskedRepliesAreReadOver: nothing is kept of them.
func TestUnaskedRepliesAreReadOver(t *testing.T) {
	w := newWorld(t)
	a := w.start(1)
	c, err := w.insider(500, forData, a)
	if err == nil {
		err = w.greet(c, 500)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 20 {
		if _, err := c.Write(frame(wire.FrameReply, 9, 1<<20)); err != nil {
			t.Fatalf("unasked replies: %v", err)
		}
	}
	if _, err := c.Write(wire.AppendFrame(nil, wire.FrameRequest, 1, 0, "m", []byte("pong"))); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, 4)
	if _, err := io.ReadFull(c, reply); err != nil {
		t.Errorf("no answer after unasked replies: %v", err)
	}
}

func TestOverload(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	w.start(1, func(c *Config) {
		c.Limits = Limits{Handlers: 4}
		c.Handle = holding(release)
	})
	b := w.start(2)
	var refused, served atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			switch _, err := b.Call(ctxFor(t, 10*time.Second), 1, "x", make([]byte, 100_000)); {
			case errors.Is(err, ErrOverloaded):
				refused.Add(1)
			case err == nil:
				served.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	eventually(t, "the rest is refused", func() bool { return refused.Load() == 16 })
	close(release)
	wg.Wait()
	if served.Load() != 4 {
		t.Errorf("%d served", served.Load())
	}
}

// TestWindowMakesCallersWait: more callers than the peer takes at once all
// get their answer.
func TestWindowMakesCallersWait(t *testing.T) {
	w := newWorld(t)
	var at, most atomic.Int32
	w.start(1, func(c *Config) {
		c.Limits = Limits{WindowRequests: 3, MaxPayload: 1 << 20, WindowBytes: 2 << 20}
		c.Handle = func(_ context.Context, _ view.NodeID, _ string, r []byte) ([]byte, error) {
			n := at.Add(1)
			defer at.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			runtime.Gosched()
			return r, nil
		}
	})
	b := w.start(2)
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			if _, err := b.Call(ctxFor(t, 30*time.Second), 1, "x", make([]byte, i*10_000)); err != nil {
				t.Error(err)
			}
		})
	}
	for range 50 { // some give up while they wait
		wg.Go(func() { _, _ = b.Call(ctxFor(t, time.Millisecond), 1, "x", make([]byte, 500_000)) })
	}
	wg.Wait()
	if most.Load() > 3 {
		t.Errorf("%d at once", most.Load())
	}
}

func mustGreet(t testing.TB, l, to *Link) {
	t.Helper()
	if _, err := l.Greet(ctxFor(t, 5*time.Second), to.Addr()); err != nil {
		t.Fatal(err)
	}
}

// TestBothWaysUnderPressure: requests and large replies wait for room in both
// directions at once; none waits for what only it could free.
func TestBothWaysUnderPressure(t *testing.T) {
	w := newWorld(t)
	tight := func(c *Config) {
		c.Limits = Limits{WindowRequests: 3}
		c.Handle = func(context.Context, view.NodeID, string, []byte) ([]byte, error) { return make([]byte, 1<<20), nil }
	}
	a, b := w.start(1, tight), w.start(2, tight)
	mustGreet(t, a, b)
	var wg sync.WaitGroup
	ctx := ctxFor(t, 30*time.Second)
	for _, way := range []struct {
		from *Link
		to   view.NodeID
	}{{a, 2}, {b, 1}} {
		for range 12 {
			wg.Go(func() {
				for range 3 {
					if _, err := way.from.Call(ctx, way.to, "x", make([]byte, 300_000)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
}
