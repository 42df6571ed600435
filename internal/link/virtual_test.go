package link

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/memnet"
	"github.com/skeinmesh/skein/mesh/view"
)

// virtual is a world in virtual time: real links, real TLS, a network in
// memory.
type virtual struct {
	*world
	net *memnet.Net
}

func inVirtualTime(t *testing.T, fn func(t *testing.T, v *virtual)) {
	w := newWorld(t)
	certs := map[view.NodeID]Config{}
	for id := view.NodeID(1); id <= 5; id++ {
		certs[id] = w.config(id)
	}
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		n.SetPaths(memnet.Path{Delay: 5 * time.Millisecond})
		fn(t, &virtual{world: &world{t: t, auth: w.auth, book: w.book}, net: n})
		n.Close()
	})
}

func hostAddr(id view.NodeID) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(id)}) }

func (v *virtual) up(id view.NodeID, change ...func(*Config)) *Link {
	return v.start(id, append(change, func(c *Config) {
		c.Network = v.net.Host(hostAddr(id))
		c.Listen = hostAddr(id).String() + ":7000"
	})...)
}

type breakage struct {
	at  time.Time
	err error
}

func onBroken(ch chan breakage) func(*Config) {
	return func(c *Config) {
		c.OnBroken = func(_ view.NodeID, err error) {
			select {
			case ch <- breakage{time.Now(), err}:
			default:
			}
		}
	}
}

func TestVirtualKilledPeerIsReportedAtOnce(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, v *virtual) {
		broken := make(chan breakage, 1)
		a, b := v.up(1, onBroken(broken)), v.up(2)
		mustCall(t, a, 2, []byte("x"))
		begin := time.Now()
		v.net.Kill(hostAddr(2))
		if got := <-broken; got.at.Sub(begin) > 50*time.Millisecond {
			t.Errorf("reported after %v", got.at.Sub(begin))
		}
		_, err := a.Probe(ctxIn(300*time.Millisecond), 2)
		if d := time.Since(begin); !errors.Is(err, ErrUnreachable) || d > 200*time.Millisecond {
			t.Errorf("probe failed after %v: %v", d, err)
		}
		a.Close()
		b.Close()
	})
}

func TestVirtualSilentPeer(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, v *virtual) {
		broken := make(chan breakage, 1)
		a, b := v.up(1, onBroken(broken)), v.up(2)
		mustCall(t, a, 2, []byte("x"))
		time.Sleep(time.Hour) // alive, though nobody asks
		if n := len(a.peers.allConns()); n != 1 {
			t.Fatalf("%d connections after an hour", n)
		}
		if s := a.Stats(); s.DataBytesOut+s.DataBytesIn > 3600*10 {
			t.Errorf("an idle hour cost %d bytes out, %d in", s.DataBytesOut, s.DataBytesIn)
		}
		begin := time.Now()
		v.net.Silence(hostAddr(2))
		if _, err := a.Probe(ctxIn(time.Second), 2); !errors.Is(err, ErrUnreachable) || time.Since(begin) != time.Second {
			t.Errorf("probe: %v after %v", err, time.Since(begin))
		}
		if _, err := a.Call(ctxIn(2*time.Second), 2, "x", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("call: %v", err)
		}
		var got breakage
		select {
		case got = <-broken:
		case <-time.After(time.Minute):
			t.Fatal("never given up")
		}
		if d := got.at.Sub(begin); d < 20*time.Second || d > 35*time.Second || !errors.Is(got.err, errSilent) {
			t.Errorf("given up after %v: %v", d, got.err)
		}
		a.Close()
		b.Close()
	})
}

// TestVirtualCutAndHeal: calls into a cut end with their deadlines and hold
// no memory without bound; after the heal they work again.
func TestVirtualCutAndHeal(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, v *virtual) {
		a, b := v.up(1), v.up(2)
		mustCall(t, a, 2, []byte("x"))
		v.net.Partition([]netip.Addr{hostAddr(1)}, []netip.Addr{hostAddr(2)})
		var failed, done atomic.Int32
		for range 50 {
			go func() {
				if _, err := a.Call(ctxIn(5*time.Second), 2, "x", make([]byte, 1<<20)); err != nil {
					failed.Add(1)
				}
				done.Add(1)
			}()
		}
		time.Sleep(6 * time.Second)
		if failed.Load() != 50 || done.Load() != 50 {
			t.Errorf("%d of %d calls failed", failed.Load(), done.Load())
		}
		for _, c := range a.peers.allConns() {
			c.mu.Lock()
			if len(c.out) > outFull+(4<<20) || c.callBytes > 8<<20 {
				t.Errorf("%d bytes queued, %d in flight", len(c.out), c.callBytes)
			}
			c.mu.Unlock()
		}
		time.Sleep(2 * time.Minute)
		if n := len(a.peers.allConns()); n != 0 {
			t.Errorf("%d connections over a cut network", n)
		}
		v.net.HealAll()
		mustCall(t, a, 2, []byte("again"))
		mustCall(t, b, 1, []byte("again"))
		a.Close()
		b.Close()
	})
}

// TestVirtualRenew: a connection from before a cut stands still until TCP tries
// again, here 12.6 s after the cut began. One that is dialled anew takes its place at both
// ends, whoever had dialled the old one and whoever is told that the other is back.
// What was asked on the old one is answered in the end.
func TestVirtualRenew(t *testing.T) {
	for _, first := range []view.NodeID{1, 2} {
		for _, told := range [][]view.NodeID{{1}, {2}, {1, 2}} {
			inVirtualTime(t, func(t *testing.T, v *virtual) { renew(t, v, first, told) })
		}
	}
}

func renew(t *testing.T, v *virtual, first view.NodeID, told []view.NodeID) {
	v.net.Backoff(true)
	broken := make(chan breakage, 2)
	ends := map[view.NodeID]*Link{1: v.up(1, onBroken(broken)), 2: v.up(2, onBroken(broken))}
	call := func(from view.NodeID, d time.Duration) error {
		_, err := ends[from].Call(ctxIn(d), 3-from, "x", nil)
		return err
	}
	if err := call(first, time.Second); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	v.net.Partition([]netip.Addr{hostAddr(1)}, []netip.Addr{hostAddr(2)})
	pending := make(chan error, 2)
	for id := range ends {
		go func() { pending <- call(id, time.Minute) }()
		if call(id, time.Second) == nil {
			t.Error("a call through a cut")
		}
	}
	time.Sleep(7 * time.Second)
	v.net.HealAll()
	for id := range ends {
		if err := call(id, time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("on the old connection, from %v: %v", id, err)
		}
	}
	for _, id := range told {
		ends[id].Renew(3 - id)
	}
	time.Sleep(50 * time.Millisecond)
	for range 2 {
		for id := range ends {
			if err := call(id, 50*time.Millisecond); err != nil {
				t.Errorf("on a new connection, %v being told, from %v: %v", told, id, err)
			}
			ends[id].Renew(3 - id) // as others hear of it, too
		}
	}
	if n := ends[1].dialed.Load() + ends[2].dialed.Load(); n != 2 {
		t.Errorf("dialled %d times", n)
	}
	time.Sleep(2 * time.Minute)
	for id, l := range ends {
		if n := len(l.peers.allConns()); n != 1 {
			t.Errorf("%d connections at %v in the end", n, id)
		}
		if err := <-pending; err != nil {
			t.Errorf("asked on the old connection: %v", err)
		}
	}
	if len(broken) > 0 {
		t.Errorf("reported as broken: %v", (<-broken).err)
	}
	for _, l := range ends {
		l.Close()
	}
}

// TestVirtualRenewIsRare: who has no connection, or a new one, is not dialled, nor
// is one again and again that does not take the call.
func TestVirtualRenewIsRare(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, v *virtual) {
		a, b := v.up(1), v.up(2)
		tries := &countedDials{Network: a.cfg.Network}
		a.cfg.Network = tries
		renew := func(d time.Duration) int64 {
			tries.n.Store(0)
			for begin := time.Now(); time.Since(begin) < d; time.Sleep(10 * time.Millisecond) {
				a.Renew(2)
				b.Renew(1)
			}
			return tries.n.Load()
		}
		if n := renew(time.Second); n != 0 {
			t.Errorf("without a connection: dialled %d times", n)
		}
		mustCall(t, b, 1, nil)
		if n := renew(time.Second); n != 0 {
			t.Errorf("with a new one: dialled %d times", n)
		}
		time.Sleep(time.Minute)
		here, _ := v.book.resolve(2)
		v.book.set(2, netip.AddrPortFrom(hostAddr(2), 9999))
		if n := renew(10 * time.Second); n < 3 || n > 6 {
			t.Errorf("at an address where nobody is: dialled %d times in 10 s", n)
		}
		v.book.set(2, here)
		mustCall(t, a, 2, nil)
		a.Close()
		b.Close()
	})
}

type countedDials struct {
	Network
	n atomic.Int64
}

func (c *countedDials) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	c.n.Add(1)
	return c.Network.Dial(ctx, network, address)
}

func TestVirtualProbeWithoutUDP(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, v *virtual) {
		a, b := v.up(1), v.up(2)
		if r, err := a.Probe(ctxIn(3*time.Second), 2); err != nil || r.Stream || r.RTT != 10*time.Millisecond {
			t.Errorf("by packet: %+v, %v", r, err)
		}
		v.net.SetPaths(memnet.Path{Delay: 5 * time.Millisecond, MTU: 1})
		begin := time.Now()
		r, err := a.Probe(ctxIn(3*time.Second), 2)
		if err != nil || !r.Stream || r.Boot != 1 || time.Since(begin) > 1200*time.Millisecond {
			t.Errorf("by stream: %+v, %v after %v", r, err, time.Since(begin))
		}
		a.Close()
		b.Close()
	})
}

// Hellos that stall end when the context does, and as its end.
func TestVirtualHelloThatStalls(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, v *virtual) {
		stalled := make(chan struct{})
		a, b := v.up(1), v.up(2, func(c *Config) {
			c.OnHello = func(Peer, []byte) error {
				<-stalled
				return nil
			}
		})
		begin := time.Now()
		_, err := a.Greet(ctxIn(time.Second), b.Addr())
		if d := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || d != time.Second {
			t.Errorf("given up after %v: %v", d, err)
		}
		close(stalled)
		a.Close()
		b.Close()
	})
}

// TestVirtualStrangerHasTwoSeconds: one who connects and says nothing.
func TestVirtualStrangerHasTwoSeconds(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, v *virtual) {
		a := v.up(1)
		c, err := v.net.Host(hostAddr(9)).Dial(context.Background(), "tcp", a.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		_, err = c.Read(make([]byte, 1))
		if d := time.Since(begin); err == nil || d < time.Second || d > 2100*time.Millisecond {
			t.Errorf("thrown out after %v: %v", d, err)
		}
		c.Close()
		a.Close()
	})
}

// ctxIn needs no cancel: the deadline comes, in virtual time, for nothing.
func ctxIn(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	context.AfterFunc(ctx, cancel)
	return ctx
}
