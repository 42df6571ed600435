package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

func TestCallBothWaysOnOneConnection(t *testing.T) {
	w := newWorld(t)
	a, b := w.start(1), w.start(2)
	for _, size := range []int{0, 1, 1000, 16 << 10, 70_000, 1 << 20, 4 << 20} {
		mustCall(t, a, 2, bytes.Repeat([]byte{byte(size)}, size))
		mustCall(t, b, 1, bytes.Repeat([]byte{byte(size)}, size))
	}
	if got := a.Connected(); !slices.Equal(got, []view.NodeID{2}) {
		t.Errorf("a is connected to %v", got)
	}
	if n := a.peers.connCount + b.peers.connCount; n != 2 {
		t.Errorf("%d connection ends, one connection has two", n)
	}
	if s := a.Stats(); s.CallsIn != 7 || s.CallsOut != 7 {
		t.Errorf("a counts %d calls in, %d out", s.CallsIn, s.CallsOut)
	}
}

func TestIPv6(t *testing.T) {
	w := newWorld(t)
	on6 := func(c *Config) { c.Listen = "[::1]:0" }
	a, b := w.start(1, on6), w.start(2, on6)
	mustCall(t, a, 2, []byte("six"))
	if r, err := b.Probe(ctxFor(t, 5*time.Second), 1); err != nil || r.Stream {
		t.Errorf("probe: %+v, %v", r, err)
	}
	if _, err := a.Greet(ctxFor(t, 5*time.Second), b.Addr()); err != nil {
		t.Errorf("greet: %v", err)
	}
}

func TestWildcardSpeaksBothFamilies(t *testing.T) {
	w := newWorld(t)
	everywhere := func(c *Config) { c.Listen = "" }
	a, b := w.start(1, everywhere), w.start(2, everywhere)
	for _, host := range []string{"127.0.0.1", "::1"} {
		w.book.set(2, netip.AddrPortFrom(netip.MustParseAddr(host), b.Addr().Port()))
		if r, err := a.Probe(ctxFor(t, 5*time.Second), 2); err != nil || r.Stream {
			t.Errorf("probe of %s: %+v, %v", host, r, err)
		}
		mustCall(t, a, 2, []byte(host))
		a.Drop(2)
		eventually(t, "dropped", func() bool { return len(a.peers.allConns()) == 0 })
	}
}

func TestBothDialAtOnce(t *testing.T) {
	w := newWorld(t)
	for round := range 20 {
		lo, hi := view.NodeID(2*round+1), view.NodeID(2*round+2)
		a, b := w.start(lo), w.start(hi)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { mustCall(t, a, hi, []byte("a")) })
			wg.Go(func() { mustCall(t, b, lo, []byte("b")) })
		}
		wg.Wait()
		eventually(t, "one connection is left", func() bool {
			return len(a.peers.allConns()) == 1 && len(b.peers.allConns()) == 1
		})
		mustCall(t, a, hi, []byte("still"))
		a.Close()
		b.Close()
	}
}

// Whichever of two connections an end sees first, both ends keep the one that
// the node with the lower id has dialled.
func TestBothEndsKeepTheSame(t *testing.T) {
	for _, lower := range []bool{true, false} { // the end that looks
		byLower := &conn{peer: Peer{Dialed: lower}}
		byHigher := &conn{peer: Peer{Dialed: !lower}}
		if !byLower.winsOver(byHigher, lower) || byHigher.winsOver(byLower, lower) {
			t.Errorf("the end with the lower id: %v: it keeps what the higher one has dialled", lower)
		}
	}
	first, second := &conn{seq: 1}, &conn{seq: 2}
	if !second.winsOver(first, true) || first.winsOver(second, true) {
		t.Error("of two that one end has dialled the older one is kept")
	}
}

func TestErrorsOfHandlers(t *testing.T) {
	w := newWorld(t)
	a := w.start(1)
	w.start(2, func(c *Config) {
		c.Handle = func(ctx context.Context, from view.NodeID, method string, req []byte) ([]byte, error) {
			switch method {
			case "coded":
				return nil, fmt.Errorf("wrapped: %w", &RemoteError{Code: "no-such-bucket", Text: "b7"})
			case "large":
				return make([]byte, 5<<20), nil
			case "slow":
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("from %v: %s", from, strings.Repeat("x", 2000))
		}
	})
	for method, code := range map[string]string{"coded": "no-such-bucket", "plain": CodeError, "large": CodeTooLarge} {
		_, err := a.Call(ctxFor(t, 5*time.Second), 2, method, nil)
		var remote *RemoteError
		if !errors.As(err, &remote) || remote.Code != code || len(remote.Text) > maxText {
			t.Errorf("%s: %v", method, err)
		}
	}
	if _, err := a.Call(ctxFor(t, 5*time.Second), 2, "x", make([]byte, 4<<20+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, err := a.Call(ctxFor(t, 50*time.Millisecond), 2, "slow", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("slow: %v", err)
	}
	if _, err := a.Call(ctxFor(t, time.Second), 1, "x", nil); !errors.Is(err, ErrSelf) {
		t.Errorf("self: %v", err)
	}
	_, err := a.Call(ctxFor(t, time.Second), 99, "x", nil)
	if !errors.Is(err, ErrUnreachable) || !errors.Is(err, ErrUnknownPeer) {
		t.Errorf("unknown: %v", err)
	}
}

func TestDeadlineAndCancelReachTheHandler(t *testing.T) {
	w := newWorld(t)
	a := w.start(1)
	ended := make(chan error, 1)
	w.start(2, func(c *Config) {
		c.Handle = func(ctx context.Context, _ view.NodeID, method string, _ []byte) ([]byte, error) {
			if method == "derived" {
				var cancel context.CancelFunc
				ctx, cancel = context.WithCancel(ctx)
				defer cancel()
			}
			if method == "hello" {
				return nil, nil
			}
			if _, ok := ctx.Deadline(); ok != (method != "cancel") {
				return nil, errors.New("deadline did not travel")
			}
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, ctx.Err()
		}
	})
	if _, err := a.Call(ctxFor(t, 5*time.Second), 2, "hello", nil); err != nil {
		t.Fatal(err) // connecting may take longer than what follows
	}
	for _, method := range []string{"deadline", "derived"} {
		_, err := a.Call(ctxFor(t, 300*time.Millisecond), 2, method, nil)
		if got := <-ended; !errors.Is(err, context.DeadlineExceeded) || !errors.Is(got, context.DeadlineExceeded) && !errors.Is(got, context.Canceled) {
			t.Errorf("%s: caller %v, handler %v", method, err, got)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(100*time.Millisecond, cancel)
	_, err := a.Call(ctx, 2, "cancel", nil)
	if got := <-ended; !errors.Is(err, context.Canceled) || !errors.Is(got, context.Canceled) {
		t.Errorf("cancel: caller %v, handler %v", err, got)
	}
	eventually(t, "the window is free again", func() bool {
		c := a.peers.allConns()[0]
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.calls) == 0 && c.callBytes == 0
	})
}

func TestClosedPeerIsReportedAtOnce(t *testing.T) {
	w := newWorld(t)
	broken := make(chan view.NodeID, 1)
	a := w.start(1, func(c *Config) { c.OnBroken = func(id view.NodeID, err error) { broken <- id } })
	started := make(chan struct{})
	b := w.start(2, func(c *Config) {
		c.Handle = func(ctx context.Context, _ view.NodeID, m string, r []byte) ([]byte, error) {
			if m == "hang" {
				close(started)
				<-ctx.Done()
			}
			return r, nil
		}
	})
	failed := make(chan error, 1)
	go func() {
		_, err := a.Call(context.Background(), 2, "hang", nil)
		failed <- err
	}()
	<-started
	begin := time.Now()
	b.Close()
	if id := <-broken; id != 2 {
		t.Errorf("%v reported", id)
	}
	if err := <-failed; !errors.Is(err, ErrUnreachable) {
		t.Errorf("call: %v", err)
	}
	if d := time.Since(begin); d > 500*time.Millisecond {
		t.Errorf("took %v", d)
	}
	if _, err := a.Call(ctxFor(t, time.Second), 2, "x", nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("call after: %v", err)
	}
	if _, err := a.Probe(ctxFor(t, 300*time.Millisecond), 2); !errors.Is(err, ErrUnreachable) {
		t.Errorf("probe after: %v", err)
	}
}

func TestRestartedPeerTakesItsPlace(t *testing.T) {
	w := newWorld(t)
	a := w.start(1)
	b := w.start(2)
	mustCall(t, a, 2, nil)
	b.Close()
	w.start(2, func(c *Config) { c.Boot, c.Instance = 2, 77 })
	eventually(t, "the new process answers", func() bool {
		r, err := a.Probe(ctxFor(t, time.Second), 2)
		return err == nil && r.Boot == 2 && r.Instance == 77
	})
	eventually(t, "requests reach it", func() bool { // one may still have gone to the old process
		_, err := a.Call(ctxFor(t, time.Second), 2, "x", nil)
		return err == nil
	})
}

func TestGreet(t *testing.T) {
	w := newWorld(t)
	var heard atomic.Value
	a := w.start(1, func(c *Config) { c.Hello = func() []byte { return []byte("I am one") } })
	b := w.start(2, func(c *Config) {
		c.Boot, c.Instance = 7, 70
		c.Hello = func() []byte { return []byte("I am two") }
		c.OnHello = func(p Peer, payload []byte) error {
			heard.Store(fmt.Sprintf("%v %s %v", p.ID, payload, p.Dialed))
			return nil
		}
	})
	w.book.m = map[view.NodeID]netip.AddrPort{} // nobody knows anybody
	p, err := a.Greet(ctxFor(t, 5*time.Second), b.Addr())
	if err != nil || p.ID != 2 || p.Boot != 7 || p.Instance != 70 || !p.Dialed || p.Remote != b.Addr() {
		t.Fatalf("greet: %+v, %v", p, err)
	}
	if got := heard.Load(); got != "0000000000000001 I am one false" {
		t.Errorf("b heard %q", got)
	}
	mustCall(t, a, 2, []byte("on that connection"))
	eventually(t, "b has it too", func() bool { return slices.Equal(b.Connected(), []view.NodeID{1}) })
	mustCall(t, b, 1, []byte("and back"))

	if _, err := a.Greet(ctxFor(t, time.Second), a.Addr()); !errors.Is(err, ErrSelf) {
		t.Errorf("greeting itself: %v", err)
	}
	for range 5 { // greeting again is no harm
		if _, err := a.Greet(ctxFor(t, time.Second), b.Addr()); err != nil {
			t.Errorf("again: %v", err)
		}
	}
	mustCall(t, a, 2, nil)
	eventually(t, "one connection is left", func() bool { return len(a.peers.allConns()) == 1 && len(b.peers.allConns()) == 1 })
}

func TestRefusedHello(t *testing.T) {
	w := newWorld(t)
	broken := make(chan error, 4)
	a := w.start(1, func(c *Config) {
		c.OnHello = func(p Peer, _ []byte) error {
			if p.ID == 3 {
				return errors.New("not three")
			}
			return nil
		}
	})
	b := w.start(2, func(c *Config) {
		c.OnHello = func(Peer, []byte) error { return &RefusedError{Code: "identity", Text: "somebody else is one"} }
	})
	var refused *RefusedError
	_, err := a.Greet(ctxFor(t, 5*time.Second), b.Addr())
	if !errors.As(err, &refused) || refused.Code != "identity" || refused.Text != "somebody else is one" {
		t.Errorf("greet: %v", err)
	}
	refused = nil
	if _, err := a.Call(ctxFor(t, 5*time.Second), 2, "x", nil); !errors.As(err, &refused) || !errors.Is(err, ErrUnreachable) {
		t.Errorf("call: %v", err)
	}
	// The side that dials refuses: the other one hears of it, too.
	three := w.start(3, func(c *Config) { c.OnBroken = func(_ view.NodeID, err error) { broken <- err } })
	w.book.set(3, three.Addr())
	for what, try := range map[string]func() error{
		"greet": func() error { _, err := a.Greet(ctxFor(t, 5*time.Second), three.Addr()); return err },
		"call":  func() error { _, err := a.Call(ctxFor(t, 5*time.Second), 3, "x", nil); return err },
	} {
		if err := try(); !errors.Is(err, ErrNotAccepted) || errors.As(err, &refused) {
			t.Errorf("%s: the node that refused three got %v", what, err)
		}
	}
	refused = nil
	if err := <-broken; !errors.As(err, &refused) || refused.Text != "not three" {
		t.Errorf("three heard %v", err)
	}
	// A second process with the same id.
	clone := w.start(1, func(c *Config) { c.Instance = 4711 })
	if _, err := clone.Greet(ctxFor(t, 5*time.Second), a.Addr()); !errors.As(err, &refused) || refused.Code != CodeConflict {
		t.Errorf("clone: %v", err)
	}
}

func TestWrongNodeAtAddress(t *testing.T) {
	w := newWorld(t)
	a, b := w.start(1), w.start(2)
	w.book.set(3, b.Addr())
	if _, err := a.Call(ctxFor(t, time.Second), 3, "x", nil); !errors.Is(err, ErrOther) || !errors.Is(err, ErrUnreachable) {
		t.Errorf("call: %v", err)
	}
	if r, err := a.Probe(ctxFor(t, 200*time.Millisecond), 3); err == nil {
		t.Errorf("probe: %+v", r)
	}
	if _, err := a.Gossip().DialAddressTimeout(address(3), time.Second); !errors.Is(err, ErrUntrusted) {
		t.Errorf("gossip: %v", err)
	}
}

// Whoever has come to the address of another is greeted, once.
func TestOtherNodeAtAddressIsGreeted(t *testing.T) {
	w := newWorld(t)
	found := make(chan Peer, 10)
	a, b := w.start(1, func(c *Config) { c.OnFound = func(p Peer) { found <- p } }), w.start(2)
	w.book.set(3, b.Addr())
	for range 3 {
		if _, err := a.Call(ctxFor(t, 5*time.Second), 3, "x", nil); !errors.Is(err, ErrOther) {
			t.Errorf("call: %v", err)
		}
		if err := a.Find(ctxFor(t, 5*time.Second), 3, b.Addr()); !errors.Is(err, ErrOther) {
			t.Errorf("find: %v", err)
		}
	}
	if p := <-found; p.ID != 2 || p.Remote != b.Addr() || len(found) != 0 {
		t.Errorf("found %+v, and %d more", p, len(found))
	}
	if got := a.dialed.Load(); got != 1 {
		t.Errorf("%d connections were made to a node that is in contact", got)
	}
	mustCall(t, a, 2, []byte("x"))
	// A refusal is a word of the other's, not of the one dialled.
	c := w.start(4, func(c *Config) {
		c.OnHello = func(Peer, []byte) error { return &RefusedError{Code: "not-you", Text: "at all"} }
	})
	w.book.set(3, c.Addr())
	_, err := a.Call(ctxFor(t, 5*time.Second), 3, "x", nil)
	if refused := (*RefusedError)(nil); !errors.Is(err, ErrOther) || errors.As(err, &refused) {
		t.Errorf("call where another refuses: %v", err)
	}
}

func TestPortTaken(t *testing.T) {
	w := newWorld(t)
	a := w.start(1)
	cfg := w.config(2)
	cfg.Listen = a.Addr().String()
	if _, err := Open(context.Background(), cfg); !errors.Is(err, ErrPortTaken) {
		t.Errorf("both: %v", err)
	}
	a.listener.Close() // its UDP half stays
	if _, err := Open(context.Background(), cfg); !errors.Is(err, ErrPortTaken) {
		t.Errorf("UDP: %v", err)
	}
	// The TCP half must be free again.
	ln, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		t.Fatalf("TCP port was kept: %v", err)
	}
	ln.Close()
}

func TestConfigReportsAllFaults(t *testing.T) {
	_, err := Open(context.Background(), Config{Listen: "nonsense", Limits: Limits{MaxPayload: -1, Handshakes: -1}})
	if !errors.Is(err, ErrConfig) {
		t.Fatal(err)
	}
	for _, part := range []string{"Self", "Listen", "Certificate", "Verify", "PacketKey", "KnockKey", "Resolve", "MaxPayload", "Handshakes"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s is not named in: %v", part, err)
		}
	}
}

func TestDropAndIdle(t *testing.T) {
	w := newWorld(t)
	var broken atomic.Int32
	count := func(c *Config) { c.OnBroken = func(view.NodeID, error) { broken.Add(1) } }
	a := w.start(1, count)
	b := w.start(2, func(c *Config) {
		count(c)
		c.Limits = Limits{Keepalive: 40 * time.Millisecond, Idle: 100 * time.Millisecond}
	})
	mustCall(t, a, 2, nil)
	eventually(t, "the idle connection is closed", func() bool { return len(a.peers.allConns()) == 0 && len(b.peers.allConns()) == 0 })
	if n := broken.Load(); n != 0 {
		t.Errorf("%d reports of a connection that was drained", n)
	}
	mustCall(t, a, 2, nil)
	a.Drop(2)
	eventually(t, "it is dropped", func() bool { return len(a.peers.allConns()) == 0 })
	eventually(t, "the other side is told", func() bool { return broken.Load() == 1 })
}

// Goroutines are kept for the next request, but not for ever, not more than a
// few, and none for a connection that is gone.
func TestHandlersRest(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	wait := func(c *Config) {
		c.Limits = Limits{Keepalive: 40 * time.Millisecond}
		c.Handle = func(ctx context.Context, _ view.NodeID, _ string, req []byte) ([]byte, error) {
			<-release
			return req, nil
		}
	}
	a, b := w.start(1), w.start(2, wait)
	calls := func(n int) {
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				want := []byte{byte(i)}
				if got, err := a.Call(ctxFor(t, 10*time.Second), 2, "x", want); err != nil || !bytes.Equal(got, want) {
					t.Errorf("call %d: %v, %v", i, got, err)
				}
			})
		}
		eventually(t, "all are being handled", func() bool { return b.handlers.used.Load() == int64(n) })
		for range n {
			release <- struct{}{}
		}
		all.Wait()
	}
	calls(maxResting + 20)
	if n := b.resting.used.Load(); n > maxResting {
		t.Errorf("%d rest, at most %d may", n, maxResting)
	}
	eventually(t, "those that rest are dismissed", func() bool { return b.resting.used.Load() == 0 })
	calls(5)
	a.Drop(2)
	eventually(t, "none is left of the connection", func() bool { return len(b.peers.allConns()) == 0 && b.resting.used.Load() == 0 })
	calls(3)
}

// A handler that has returned may be answered for by anybody, who is never
// held up.
func TestAnswersLater(t *testing.T) { inVirtualTime(t, answersLater) }

func answersLater(t *testing.T, v *virtual) {
	answers := make(chan func([]byte, error), 1)
	a, b := v.up(1), v.up(2, func(c *Config) {
		c.Prompt = func(string) bool { return true }
		c.HandlePrompt = func(_ context.Context, _ view.NodeID, _ string, _ []byte, answer func([]byte, error)) {
			answers <- answer
		}
	})
	type outcome struct {
		reply []byte
		err   error
	}
	call := func() (chan outcome, func([]byte, error)) {
		ended := make(chan outcome, 1)
		go func() {
			reply, err := a.Call(ctxFor(t, 10*time.Second), 2, "x", nil)
			ended <- outcome{reply, err}
		}()
		answer := <-answers
		if len(ended) > 0 || b.handlers.used.Load() != 1 {
			t.Errorf("%d answered, %d handled", len(ended), b.handlers.used.Load())
		}
		return ended, answer
	}
	ended, answer := call()
	answer([]byte("later"), nil)
	if got := <-ended; got.err != nil || string(got.reply) != "later" {
		t.Errorf("answered: %q, %v", got.reply, got.err)
	}
	ended, answer = call()
	answer(nil, &RemoteError{Code: "no", Text: "never"})
	var remote *RemoteError
	if got := <-ended; !errors.As(got.err, &remote) || remote.Code != "no" {
		t.Errorf("refused: %v", got.err)
	}

	// No room for the answer: whoever gives it goes on, it follows.
	ended, answer = call()
	c := b.peers.allConns()[0]
	out := fillUp(c)
	answer([]byte("squeezed in"), nil)
	time.Sleep(time.Second)
	if len(ended) > 0 {
		t.Error("answered without room")
	}
	c.mu.Lock()
	c.out = out
	c.answering.wakeFront()
	c.mu.Unlock()
	if got := <-ended; got.err != nil || string(got.reply) != "squeezed in" {
		t.Errorf("answered when there was room: %q, %v", got.reply, got.err)
	}
	eventually(t, "nothing is handled", func() bool { return b.handlers.used.Load() == 0 && b.inbound.used.Load() == 0 })

	// Nobody waits any more: the answer goes nowhere, and Close waits for it.
	ended, answer = call()
	a.Drop(2)
	if got := <-ended; got.err == nil {
		t.Error("answered on a connection that is gone")
	}
	closed := make(chan struct{})
	go func() {
		b.Close()
		close(closed)
	}()
	select {
	case <-closed:
		t.Error("closed with a request unanswered")
	case <-time.After(20 * time.Millisecond):
	}
	answer(nil, nil)
	<-closed
	a.Close()
}

func TestOpenCloseLeavesNothing(t *testing.T) {
	w := newWorld(t)
	cfgs := []Config{w.config(1), w.config(2)}
	for range 100 {
		a, err := Open(context.Background(), cfgs[0])
		if err != nil {
			t.Fatal(err)
		}
		b, err := Open(context.Background(), cfgs[1])
		if err != nil {
			t.Fatal(err)
		}
		w.book.set(2, b.Addr())
		mustCall(t, a, 2, []byte("x"))
		if _, err := a.Probe(ctxFor(t, time.Second), 2); err != nil {
			t.Fatal(err)
		}
		a.Close()
		b.Close()
		if _, err := a.Call(context.Background(), 2, "x", nil); !errors.Is(err, ErrClosed) {
			t.Fatalf("after Close: %v", err)
		}
	}
}
