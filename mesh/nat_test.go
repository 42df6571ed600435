package mesh

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// natted is the network of a host beside a router: those inside reach each other
// by addresses that mean nothing outside, and nobody outside can dial them. What
// they send comes from the address of their box, and answers to it get through.
type natted struct {
	Network
	inside bool
}

// through returns what an address means to the host.
func (n natted) through(addr netip.AddrPort, dial bool) (netip.AddrPort, error) {
	b := addr.Addr().As4()
	switch private := b[0] == 192 && b[1] == 168; {
	case private && n.inside:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, b[3]}), addr.Port()), nil
	case private:
		return addr, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}
	case dial && !n.inside && b[3] > 2:
		return addr, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	return addr, nil
}

func (n natted) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	addr, err := n.through(netip.MustParseAddrPort(address), true)
	if err != nil {
		return nil, err
	}
	return n.Network.Dial(ctx, network, addr.String())
}

func (n natted) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	pc, err := n.Network.ListenPacket(ctx, network, address)
	return nattedPackets{pc, n}, err
}

type nattedPackets struct {
	net.PacketConn
	nat natted
}

func (p nattedPackets) WriteTo(b []byte, to net.Addr) (int, error) {
	addr, err := p.nat.through(to.(*net.UDPAddr).AddrPort(), false)
	if err != nil {
		return 0, err
	}
	return p.PacketConn.WriteTo(b, net.UDPAddrFromAddrPort(addr))
}

// logText keeps what is logged from a level on.
type logText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logText) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSpace(l.b.String()), "\n")
}

// with returns the lines that hold a text.
func (l *logText) with(text string) (out []string) {
	for _, line := range l.lines() {
		if strings.Contains(line, text) {
			out = append(out, line)
		}
	}
	return out
}

// Twelve nodes behind a router and two that are public, of which each is a seed.
func TestBehindNAT(t *testing.T) {
	t.Parallel()
	bubble(t, 14, func(t *testing.T, w *world) {
		var outside, inside logText
		for i, b := range w.boxes {
			b.cfg.Logger = slog.New(slog.NewTextHandler(&inside, nil))
			if i < 2 {
				b.cfg.Logger = slog.New(slog.NewTextHandler(&outside, nil))
			}
			b.cfg.Seeds = []string{"10.0.0.1:7800", "10.0.0.2:7800"}
			b.wrap = func(nw Network) Network { return natted{nw, i >= 2} }
			if i >= 2 {
				b.cfg.Advertise = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 168, 0, byte(i + 1)}), testPort).String()
			}
		}
		w.form(time.Minute)
		time.Sleep(30 * time.Second)
		changes := map[view.NodeID]view.State{}
		flaps := 0
		for range 14 * 60 {
			time.Sleep(time.Second)
			for _, n := range w.running() {
				for _, m := range n.View().Members {
					key := n.ID() ^ m.ID<<1
					if was, ok := changes[key]; ok && was != m.State {
						flaps++
					}
					changes[key] = m.State
				}
			}
		}
		if flaps > 0 || !w.whole() {
			t.Errorf("members changed their state %d times in 14 minutes in which nothing happened", flaps)
		}
		if lines := append(outside.with("level=WARN"), inside.with("level=WARN")...); len(lines) > 0 {
			t.Errorf("%d warnings, the first: %s", len(lines), lines[0])
		}
		if lines := outside.with("as behind NAT"); len(lines) != 2*12 {
			t.Errorf("two public nodes said of twelve members %d times that they are behind NAT", len(lines))
		}
		echo := func(_ context.Context, _ view.NodeID, req []byte) ([]byte, error) { return req, nil }
		for _, b := range w.boxes {
			if err := b.node.Handle("echo", echo); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		for _, b := range w.boxes[2:] {
			if res, err := w.boxes[0].node.link.Probe(ctx, b.node.ID()); err != nil || res.Stream {
				t.Errorf("packets do not get inside: %+v, %v", res, err)
			}
			if _, err := w.boxes[0].node.Call(ctx, b.node.ID(), "echo", nil); err != nil {
				t.Errorf("a node inside cannot be called from outside: %v", err)
			}
		}
	})
}

// Two that reach each other only through a third: said once, and nobody is failed.
func TestReachedThroughAThird(t *testing.T) {
	t.Parallel()
	bubble(t, 3, func(t *testing.T, w *world) {
		var log logText
		for _, b := range w.boxes {
			b.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		}
		a, b := w.boxes[1], w.boxes[2]
		w.net.Partition([]netip.Addr{a.addr}, []netip.Addr{b.addr})
		w.startAll()
		time.Sleep(time.Minute)
		for range 600 {
			time.Sleep(time.Second)
			m, _ := a.node.View().Member(b.node.ID())
			if m.State == view.Failed || !m.Unreachable {
				t.Fatalf("a member that a third one reaches is %v, unreachable %v", m.State, m.Unreachable)
			}
		}
		if lines := log.with("level=WARN"); len(lines) > 0 {
			t.Errorf("%d warnings, the first: %s", len(lines), lines[0])
		}
		if lines := log.with("reached by others"); len(lines) != 2 {
			t.Errorf("two nodes said of each other %d times that others reach it", len(lines))
		}
	})
}

func TestMeshesThatDoNotFitAreTold(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*Config){
		"secret": func(c *Config) { c.Secret = bytes.Repeat([]byte{7}, 32) },
		"shards": func(c *Config) { c.Shards = 31 },
		"name":   func(c *Config) { c.MeshName = "other" },
	} {
		bubble(t, 2, func(t *testing.T, w *world) {
			var logs [2]logText
			for i, b := range w.boxes {
				b.cfg.Logger = slog.New(slog.NewTextHandler(&logs[i], &slog.HandlerOptions{Level: slog.LevelWarn}))
			}
			change(&w.boxes[1].cfg)
			w.boxes[0].cfg.Seeds = nil
			w.startAll()
			time.Sleep(5 * time.Minute)
			for i, b := range w.boxes {
				told := strings.Join(wordsOf(b.node.View().Problems), "\n")
				if !strings.Contains(told, "does not belong to this mesh") || !strings.Contains(told, w.boxes[1-i].addr.String()) {
					t.Errorf("other %s: box %d says %q", what, i, told)
				}
				warned := 0
				for _, line := range logs[i].lines() {
					if strings.Contains(line, "does not belong") {
						warned++
					}
				}
				if warned != 1 {
					t.Errorf("other %s: box %d warned %d times", what, i, warned)
				}
			}
			w.boxes[1].kill()
			time.Sleep(troubleLasts + 2*reachPause)
			if told := wordsOf(w.boxes[0].node.View().Problems); len(told) > 0 {
				t.Errorf("other %s: long after the stranger has gone: %q", what, told)
			}
		})
	}
}

func TestSeedsThatDoNotAnswerAreTold(t *testing.T) {
	t.Parallel()
	bubble(t, 2, func(t *testing.T, w *world) {
		var log logText
		b := w.boxes[1]
		b.cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		b.start()
		time.Sleep(5 * time.Minute)
		if told := wordsOf(b.node.View().Problems); len(told) != 1 || !strings.Contains(told[0], "10.0.0.1:7800") {
			t.Errorf("dead seeds: %q", told)
		}
		if lines := log.lines(); len(lines) != 1 || !strings.Contains(lines[0], "10.0.0.1:7800") {
			t.Errorf("warned %q", lines)
		}
		// Others look for the first node of a mesh.
		w.boxes[0].start()
		w.eventually(time.Minute, "they meet", w.whole)
		for _, b := range w.boxes {
			w.eventually(time.Minute, "nothing is wrong", func() bool { return len(b.node.View().Problems) == 0 })
		}
		c := w.add(netip.Addr{})
		c.cfg.Seeds = []string{"gateways.example"}
		c.lookup = func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no such host") }
		c.start()
		time.Sleep(time.Minute)
		if told := wordsOf(c.node.View().Problems); len(told) != 1 || !strings.Contains(told[0], "gateways.example is not found") {
			t.Errorf("a name that is not known: %q", told)
		}
	})
}
