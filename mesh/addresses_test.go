package mesh

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/mesh/view"
)

// answering is a DNS that takes its time.
func answering(after time.Duration, addrs ...netip.Addr) func(context.Context, string) ([]netip.Addr, error) {
	return func(ctx context.Context, _ string) ([]netip.Addr, error) {
		if !clock.Sleep(ctx, after) {
			return nil, ctx.Err()
		}
		return slices.Clone(addrs), nil
	}
}

// Everybody has another's address after a power cut, and nobody has a seed.
func TestAddressesDealtAnew(t *testing.T) {
	t.Parallel()
	bubble(t, 5, func(t *testing.T, w *world) {
		w.form(20 * time.Second)
		first := w.boxes[0].addr
		for _, b := range w.boxes {
			b.kill()
		}
		time.Sleep(time.Minute)
		for i, b := range w.boxes {
			to := first
			if i+1 < len(w.boxes) {
				to = w.boxes[i+1].addr
			}
			b.move(to)
			b.cfg.Seeds = nil
		}
		w.startAll()
		t.Logf("whole after %v", w.eventually(time.Minute, "nodes find each other where others were", func() bool {
			return w.whole() && w.agreed()
		}))
		time.Sleep(time.Minute)
		if !w.whole() {
			t.Error("the mesh fell apart")
		}
		w.intact(5)
	})
}

// All addresses are dealt anew while a node is down, its own too, and it has no valid
// seed: it finds the others where they were once, as it has that on disk.
func TestAddressesDealtAnewWhileANodeIsDown(t *testing.T) {
	t.Parallel()
	bubble(t, 4, func(t *testing.T, w *world) {
		w.form(20 * time.Second)
		down, others := w.boxes[3], w.boxes[:3]
		deal := func(net byte) {
			for i, b := range others {
				b.kill()
				b.move(netip.AddrFrom4([4]byte{10, net, 0, byte(i + 1)}))
				b.cfg.Seeds = []string{netip.AddrPortFrom(down.addr, testPort).String()}
				b.start()
			}
		}
		deal(1)
		w.eventually(time.Minute, "they are met at other addresses", func() bool { return w.whole() && w.agreed() })
		deal(2)
		w.eventually(time.Minute, "and at others again", func() bool { return w.whole() && w.agreed() })
		down.kill()
		time.Sleep(time.Minute)
		deal(1)
		down.move(netip.MustParseAddr("10.9.9.9"))
		down.cfg.Seeds = nil
		down.start()
		t.Logf("whole after %v", w.eventually(time.Minute, "it finds the others where they were before", w.whole))
	})
}

// What is known of others is on disk a minute later, whether the roster says it or not.
func TestPlacesAreOnDiskSoon(t *testing.T) {
	t.Parallel()
	bubble(t, 2, func(t *testing.T, w *world) {
		w.form(20 * time.Second)
		a, other := w.boxes[0], w.boxes[1].node.ID()
		time.Sleep(2 * placesPause)
		boot, at := a.node.dir.id.Boot, netip.MustParseAddrPort("10.7.7.7:7800")
		a.node.places.noteSuggested(other, at)
		time.Sleep(placesPause + time.Second)
		a.kill()
		if n := a.start(); !slices.Contains(n.places.otherAddrs(other), at) || n.dir.id.Boot != boot+1 {
			t.Errorf("after a restart it may be at %v, not %v", n.places.otherAddrs(other), at)
		}
	})
}

// A member that is out of contact is dialled as soon as the roster has another address
// of it.
func TestMemberThatMovedIsDialledAtOnce(t *testing.T) {
	t.Parallel()
	bubble(t, 3, func(t *testing.T, w *world) {
		w.form(20 * time.Second)
		a, lost := w.boxes[0].node, w.boxes[2].node.ID()
		w.boxes[2].kill()
		time.Sleep(5 * time.Minute)
		for i := range 10 {
			at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 8, 8, byte(i + 1)}), testPort)
			l, err := w.net.Host(at.Addr()).Listen(t.Context(), "tcp", at.String())
			if err != nil {
				t.Fatal(err)
			}
			dialled := make(chan struct{})
			go func() {
				defer close(dialled)
				if c, err := l.Accept(); err == nil {
					c.Close()
				}
			}()
			said, _ := a.book.snapshot().Get(lost)
			said.Addr, said.HLC = at, said.HLC+1
			r, _, err := roster.Roster{}.With(said)
			if err == nil {
				err = a.book.mergeAll(t.Context(), r)
			}
			if err != nil {
				t.Fatal(err)
			}
			select {
			case <-dialled:
			case <-time.After(100 * time.Millisecond):
				t.Errorf("address %d: not dialled", i)
			}
			l.Close()
			<-dialled
			time.Sleep(10 * time.Second)
		}
	})
}

func TestStaleAddressesOfASeed(t *testing.T) {
	t.Parallel()
	bubble(t, 2, func(t *testing.T, w *world) {
		var addrs []netip.Addr
		for i := range 30 {
			addrs = append(addrs, netip.AddrFrom4([4]byte{10, 9, 9, byte(i + 1)}))
		}
		w.boxes[0].start()
		b := w.boxes[1]
		b.cfg.Seeds = []string{"gateways.example"}
		b.lookup = answering(0, append(addrs, w.boxes[0].addr)...)
		b.start()
		t.Logf("met after %v", w.eventually(time.Minute, "all addresses of a seed have their turn", w.whole))
	})
}

// A name server that is dead costs each question 5 to 20 s.
func TestSlowNamesAreUsedWhenTheyCome(t *testing.T) {
	t.Parallel()
	bubble(t, 2, func(t *testing.T, w *world) {
		w.boxes[0].start()
		b := w.boxes[1]
		b.cfg.Seeds = []string{"gateways.example"}
		b.lookup = answering(20*time.Second, w.boxes[0].addr)
		n, begin := b.start(), time.Now()
		if err := n.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("ready waited %v for DNS", took)
		}
		w.eventually(time.Minute, "nodes meet once DNS answers", w.whole)
	})
}

func TestIslandsMeetThoughANameServerIsDead(t *testing.T) {
	t.Parallel()
	bubble(t, 6, func(t *testing.T, w *world) {
		for i, b := range w.boxes {
			b.cfg.Seeds = []string{netip.AddrPortFrom(w.boxes[i/3*3].addr, testPort).String(), "gateways.example"}
			b.lookup = answering(10*time.Second, w.boxes[0].addr, w.boxes[3].addr)
		}
		left := []netip.Addr{w.boxes[0].addr, w.boxes[1].addr, w.boxes[2].addr}
		right := []netip.Addr{w.boxes[3].addr, w.boxes[4].addr, w.boxes[5].addr}
		w.net.Partition(left, right)
		w.startAll()
		time.Sleep(time.Minute)
		w.net.HealAll()
		t.Logf("whole after %v", w.eventually(3*time.Minute, "islands that never met are one mesh", w.whole))
	})
}

func TestMulticastComesWithTheNetwork(t *testing.T) {
	t.Parallel()
	bubble(t, 2, func(t *testing.T, w *world) {
		w.boxes[0].start()
		b := w.boxes[1]
		b.cfg.Seeds, b.cfg.MDNS = nil, true
		b.host = &atomic.Pointer[hostAddrs]{}
		b.host.Store(&hostAddrs{all: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
		var up atomic.Bool
		var opened, closed atomic.Int32
		b.mdns = func(offer) (discovery, error) {
			if !up.Load() {
				return nil, errors.New("no multicast listeners could be started")
			}
			opened.Add(1)
			return countedDiscovery{fixedDiscovery{w.boxes[0].node.Addr()}, &closed}, nil
		}
		b.start()
		time.Sleep(time.Minute)
		up.Store(true)
		w.eventually(20*time.Second, "nodes meet once there is a network", w.whole)
		// Another address: what was joined before may be another interface.
		b.host.Store(&hostAddrs{all: []netip.Addr{netip.MustParseAddr("10.7.7.7")}})
		time.Sleep(10 * time.Second)
		if opened.Load() != 2 || closed.Load() != 1 {
			t.Errorf("opened %d times and closed %d, want 2 and 1", opened.Load(), closed.Load())
		}
	})
}

type countedDiscovery struct {
	fixedDiscovery
	closed *atomic.Int32
}

func (d countedDiscovery) shutDown() error { d.closed.Add(1); return nil }

func TestHostAddressThatIsMadeKnown(t *testing.T) {
	addrs := func(list ...string) (out []netip.Addr) {
		for _, s := range list {
			out = append(out, netip.MustParseAddr(s))
		}
		return out
	}
	for _, c := range []struct {
		routed, all []netip.Addr
		want        string
	}{
		{addrs("10.0.0.7"), addrs("127.0.0.1", "192.168.1.1", "10.0.0.7"), "10.0.0.7"},
		{nil, addrs("127.0.0.1", "192.168.1.1"), "192.168.1.1"},
		{nil, addrs("127.0.0.1", "2001:db8::7", "192.168.1.1"), "192.168.1.1"},
		{nil, addrs("127.0.0.1", "fe80::1%eth0", "2001:db8::7"), "2001:db8::7"},
		{nil, addrs("127.0.0.1", "::1", "169.254.3.4", "fe80::1%eth0"), "169.254.3.4"},
		{addrs("169.254.3.4"), addrs("127.0.0.1", "169.254.3.4"), "169.254.3.4"},
		{addrs("fe80::1%eth0"), addrs("127.0.0.1", "::1", "fe80::1%eth0"), "127.0.0.1"},
		{nil, nil, "invalid IP"},
	} {
		if got, _ := (hostAddrs{c.routed, c.all}).pickAddr(); got.String() != c.want {
			t.Errorf("of %v, sending from %v: %v, want %v", c.all, c.routed, got, c.want)
		}
	}
}

// addrAt is the address of the node on a box that another one knows.
func (b *box) addrAt(other *box) string {
	m, _ := other.node.View().Member(b.node.ID())
	return m.Addr.String()
}

func TestAddressThatIsLostForAWhile(t *testing.T) {
	t.Parallel()
	bubble(t, 2, func(t *testing.T, w *world) {
		b := w.boxes[1]
		b.wild, b.host = true, &atomic.Pointer[hostAddrs]{}
		has := func(s ...string) {
			h := hostAddrs{all: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}
			for _, s := range s {
				h.all = append(h.all, netip.MustParseAddr(s))
			}
			b.host.Store(&h)
		}
		has("10.0.0.2")
		w.form(10 * time.Second)
		has()
		for range 60 {
			time.Sleep(time.Second)
			if got := b.addrAt(w.boxes[0]); got != "10.0.0.2:7800" {
				t.Fatalf("a host whose interface lost its address is known at %v", got)
			}
		}
		begin := time.Now()
		has("10.0.0.3")
		w.eventually(10*time.Second, "the new address is known", func() bool { return b.addrAt(w.boxes[0]) == "10.0.0.3:7800" })
		t.Logf("known after %v", time.Since(begin))
		// A box that is on before its network is known where it was.
		b.kill()
		has()
		b.start()
		w.eventually(10*time.Second, "it is back", w.whole)
		if got := b.addrAt(w.boxes[0]); got != "10.0.0.3:7800" {
			t.Errorf("started before its network it is known at %v", got)
		}
	})
}

func TestAdvertisedNameIsLookedUpAnew(t *testing.T) {
	t.Parallel()
	bubble(t, 2, func(t *testing.T, w *world) {
		b := w.boxes[1]
		b.cfg.Advertise = "gw.example:7800"
		var answer atomic.Pointer[[]netip.Addr]
		b.lookup = func(context.Context, string) ([]netip.Addr, error) {
			if a := answer.Load(); a != nil {
				return *a, nil
			}
			return nil, errors.New("no such host")
		}
		says := func(s ...string) {
			var addrs []netip.Addr
			for _, s := range s {
				addrs = append(addrs, netip.MustParseAddr(s))
			}
			answer.Store(&addrs)
		}
		w.form(10 * time.Second)
		if got := b.addrAt(w.boxes[0]); got != "10.0.0.2:7800" {
			t.Errorf("a name that is not found yet: known at %v, want where it listens", got)
		}
		knows := func(want string) {
			t.Helper()
			w.eventually(time.Minute, "it is known at "+want, func() bool { return b.addrAt(w.boxes[0]) == want })
		}
		says("10.0.0.2", "10.1.1.1")
		time.Sleep(time.Minute)
		knows("10.0.0.2:7800") // which the name still has
		says("10.1.1.1", "10.1.1.2")
		knows("10.1.1.1:7800")
		says("10.1.1.3", "10.1.1.1")
		time.Sleep(time.Minute)
		knows("10.1.1.1:7800")
		answer.Store(nil)
		time.Sleep(time.Minute)
		knows("10.1.1.1:7800") // DNS that is out says nothing
	})
}

// A member may be reached where it does not say that it is, behind a forwarded
// port for one.
func TestMemberIsReachedWhereItAnswered(t *testing.T) {
	t.Parallel()
	bubble(t, 2, func(t *testing.T, w *world) {
		b := w.boxes[0]
		b.cfg.Seeds, b.cfg.Advertise = nil, "192.0.2.9:7800"
		w.form(10 * time.Second)
		time.Sleep(time.Minute)
		a, id := w.boxes[1].node, b.node.ID()
		for range 3 {
			a.link.Drop(id)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := a.Call(ctx, id, "test/unknown", nil)
			cancel()
			if !errors.Is(err, ErrNoHandler) {
				t.Fatalf("call: %v", err)
			}
			time.Sleep(time.Minute)
			if m, _ := a.View().Member(id); m.State != view.Alive {
				t.Fatalf("it is %v", m.State)
			}
		}
	})
}

func TestPlacesOfAMember(t *testing.T) {
	at := func(n byte) netip.AddrPort { return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, n}), 7800) }
	s := newPlaces()
	s.noteListed(1, at(1))
	s.noteListed(1, at(2))
	if got := s.addrOf(1, at(2)); got != at(2) {
		t.Errorf("found at %v", got)
	}
	s.noteSuggested(1, at(3))
	s.noteProved(1, at(1))
	if got := s.addrOf(1, at(2)); got != at(1) {
		t.Errorf("found at %v, it answered at %v", got, at(1))
	}
	if got := s.otherAddrs(1); !slices.Equal(got, []netip.AddrPort{at(2), at(3)}) {
		t.Errorf("elsewhere: %v", got)
	}
	s.noteListed(1, at(4)) // news go before what was seen
	if got := s.addrOf(1, at(4)); got != at(4) {
		t.Errorf("found at %v", got)
	}
	for n := byte(10); n < 30; n++ {
		s.noteSuggested(1, at(n))
	}
	if got := s.otherAddrs(1); len(got) != maxPlaces || got[0] != at(29) {
		t.Errorf("elsewhere: %v", got)
	}
	if s.forgetMember(1); len(s.otherAddrs(1)) != 0 {
		t.Error("one that is gone is remembered")
	}
}
