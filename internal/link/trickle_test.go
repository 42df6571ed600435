package link

import (
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// insider is a holder of the key, in virtual time, who talks TLS by hand.
func (v *virtual) insider(id view.NodeID, purpose string, to *Link) *tls.Conn {
	v.t.Helper()
	raw, err := v.net.Host(hostAddr(id)).Dial(ctxIn(5*time.Second), "tcp", to.Addr().String())
	if err != nil {
		v.t.Fatal(err)
	}
	c := tls.Client(raw, &tls.Config{
		Certificates:       []tls.Certificate{v.auth.issue(v.t, id)},
		InsecureSkipVerify: true, NextProtos: v.auth.knock(purpose),
	})
	if err := c.HandshakeContext(ctxIn(5 * time.Second)); err != nil {
		v.t.Fatal(err)
	}
	return c
}

func (v *virtual) mustWrite(c *tls.Conn, b []byte) {
	v.t.Helper()
	if _, err := c.Write(b); err != nil {
		v.t.Fatal(err)
	}
}

// trickle sends a byte every now and then until the connection ends.
func trickle(c *tls.Conn, every time.Duration, bytes []byte) {
	for len(bytes) > 0 {
		time.Sleep(every)
		if _, err := c.Write(bytes[:1]); err != nil {
			return
		}
		bytes = bytes[1:]
	}
}

// Whoever announces much and sends little does not have others refused: not their
// small requests, and not for long their large ones.
func TestVirtualTrickler(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, v *virtual) {
		a := v.up(1, func(c *Config) { c.Limits = Limits{InboundBytes: 4 << 20, MaxPayload: 4<<20 - 4096} })
		b := v.up(2)
		mustCall(t, b, 1, []byte("x"))
		c := v.insider(3, forData, a)
		if err := v.greet(c, 3); err != nil {
			t.Fatal(err)
		}
		all := frame(wire.FrameRequest, 1, 4<<20-4096)
		v.mustWrite(c, all[:3<<20])
		var trickles sync.WaitGroup
		trickles.Go(func() { trickle(c, 10*time.Second, all[3<<20:]) })
		for range 100 {
			time.Sleep(time.Second / 10)
			mustCall(t, b, 1, make([]byte, 1000))
		}
		var took time.Duration
		for begin := time.Now(); ; took = time.Since(begin) {
			_, err := b.Call(ctxIn(5*time.Second), 1, "x", make([]byte, 3<<20))
			if err == nil {
				break
			}
			if !errors.Is(err, ErrOverloaded) || took > time.Minute {
				t.Fatalf("after %v: %v", took, err)
			}
			time.Sleep(time.Second / 2)
		}
		if took > 20*time.Second {
			t.Errorf("large requests were refused for %v", took)
		}
		for i := range 10 { // the next one is let in no better
			mustCall(t, b, 1, make([]byte, 100_000*i))
		}
		c.NetConn().Close()
		b.Close()
		a.Close()
		trickles.Wait()
		if n := a.inbound.used.Load(); n != 0 {
			t.Errorf("%d bytes are not given back", n)
		}
	})
}

// What is announced and has not come has no other request refused.
func TestVirtualAnnouncedIsNotHeld(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, v *virtual) {
		a := v.up(1, func(c *Config) { c.Limits = Limits{InboundBytes: 4 << 20, MaxPayload: 4<<20 - 4096} })
		b := v.up(2)
		c := v.insider(3, forData, a)
		defer c.NetConn().Close()
		if err := v.greet(c, 3); err != nil {
			t.Fatal(err)
		}
		v.mustWrite(c, frame(wire.FrameRequest, 1, 4<<20-4096)[:100_000])
		time.Sleep(time.Second)
		mustCall(t, b, 1, make([]byte, 2<<20))
		b.Close()
		a.Close()
	})
}

// A peer may hold a quarter of the budget, or one payload.
func TestShareOfABudget(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		size, others int
		taken        bool
	}{
		{mib, 0, true}, {mib, mib, true}, {mib, 2 * mib, false}, {7 * mib, 0, true}, {7 * mib, 1, false},
	} {
		b := budget{limit: 8 * mib}
		if got := b.takeForPayload(c.size, c.size, c.others); got != c.taken {
			t.Errorf("%d bytes beside %d of the same peer: taken %t", c.size, c.others, got)
		}
	}
}

// The connections of guests stand apart from those of nodes, and from each other.
func TestVirtualGuestsStandApart(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, v *virtual) {
		a := v.up(1, func(c *Config) { c.Guest = func([]byte) bool { return true } })
		for range 2 {
			c := v.insider(3, forData, a)
			defer c.NetConn().Close()
			if err := v.greet(c, 3); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		a.peers.mu.Lock()
		guests, nodes := len(a.peers.guests), len(a.peers.slots)
		a.peers.mu.Unlock()
		if guests != 2 || nodes != 0 {
			t.Errorf("%d guests, %d nodes", guests, nodes)
		}
		a.Close()
	})
}

// Nine honest peers behind slow links, each with a large value on its way, do not
// have the small requests of a tenth refused, and get most of their own through.
func TestVirtualSlowHonestPeers(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, v *virtual) {
		var served atomic.Int32
		a := v.up(1, func(c *Config) {
			c.Handle = func(_ context.Context, _ view.NodeID, _ string, req []byte) ([]byte, error) {
				if len(req) == 4<<20 {
					served.Add(1)
				}
				return req[:min(len(req), 1000)], nil
			}
		})
		b := v.up(2)
		mustCall(t, b, 1, []byte("x"))
		for i := range 9 {
			c := v.insider(view.NodeID(3+i), forData, a)
			defer c.NetConn().Close()
			if err := v.greet(c, view.NodeID(3+i)); err != nil {
				t.Fatal(err)
			}
			go func() {
				for all := frame(wire.FrameRequest, 1, 4<<20); len(all) > 0; {
					time.Sleep(time.Second / 8)
					n := min(len(all), 125_000/8) // 1 Mbit/s
					if _, err := c.Write(all[:n]); err != nil {
						return
					}
					all = all[n:]
				}
			}()
		}
		for i := range 400 {
			time.Sleep(time.Second / 10)
			if _, err := b.Call(ctxIn(5*time.Second), 1, "x", make([]byte, 1000)); err != nil {
				t.Fatalf("request %d: %v", i, err)
			}
		}
		if n := served.Load(); n < 7 {
			t.Errorf("%d of 9 large values got through", n)
		}
		b.Close()
		a.Close()
	})
}

// One peer that opens all the gossip streams it may, and says little on them,
// leaves room for the gossip of others.
func TestVirtualTricklingGossip(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, v *virtual) {
		a := v.up(1)
		b := v.up(2)
		go func() {
			for c := range a.gossip.streams {
				go func() {
					_, _ = c.Read(make([]byte, 1))
					c.Close()
				}()
			}
		}()
		var trickles sync.WaitGroup
		for range gossipPerPeer {
			c := v.insider(3, forGossip, a)
			defer c.NetConn().Close()
			_, _ = c.Write(append([]byte{gossipFrameVersion, 0, 0x40, 0, 0}, make([]byte, 300<<10)...)) // one that is too many ends
			trickles.Go(func() { trickle(c, 10*time.Second, make([]byte, 100)) })
		}
		synctest.Wait()
		time.Sleep(time.Second)
		c, err := b.Gossip().DialAddressTimeout(memberlist.Address{Name: view.NodeID(1).String()}, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		before := a.Stats().GossipBytesIn
		if _, err := c.Write(make([]byte, 200<<10)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := a.Stats().GossipBytesIn - before; got < 200<<10 {
			t.Errorf("%d bytes of gossip came in", got)
		}
		c.Close()
		close(a.gossip.streams)
		b.Close()
		a.Close()
		trickles.Wait()
	})
}
