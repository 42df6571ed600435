package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// openServer returns a server of a book of routes at a port of the loopback.
func openServer(t *testing.T, b *book, parallel int) *Server {
	t.Helper()
	s, err := Open(t.Context(), Config{Routes: b, Zone: "Plant.Example", Listen: "127.0.0.1:0", Parallel: parallel})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// resolverOf returns what the programs of a machine use whose resolver is a server.
func resolverOf(s *Server, network string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.Addr().String())
	}}
}

func TestProgramsFindAService(t *testing.T) {
	b := newBook()
	s := openServer(t, b, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, network := range []string{"udp", "tcp"} {
		b.setAddress("press", "10.0.0.7:80")
		r := resolverOf(s, network)
		for _, want := range []string{"10.0.0.7", "10.0.0.8"} {
			b.setAddress("press", want+":80")
			if ips, err := r.LookupNetIP(ctx, "ip", "press.plant.example."); err != nil || len(ips) != 1 || ips[0].Unmap().String() != want {
				t.Errorf("%s: %v, %v, want %s", network, ips, err, want)
			}
		}
		if _, srv, err := r.LookupSRV(ctx, "", "", "press.plant.example."); err != nil || len(srv) != 1 || *srv[0] != (net.SRV{Target: "press.plant.example.", Port: 80}) {
			t.Errorf("%s: %v, %v", network, srv, err)
		}
		var fault *net.DNSError
		if _, err := r.LookupHost(ctx, "other.plant.example."); !errors.As(err, &fault) || !fault.IsNotFound {
			t.Errorf("%s: what is not served: %v", network, err)
		}
	}
}

// TestOneConnectionAtATime has a client hold the only connection that there may be.
func TestOneConnectionAtATime(t *testing.T) {
	t.Parallel()
	s := openServer(t, newBook(), 1)
	dial := func() *dns.Conn {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return &dns.Conn{Conn: c}
	}
	ask := func(c *dns.Conn, limit time.Duration) error {
		_ = c.SetDeadline(time.Now().Add(limit))
		_, err := c.ReadMsg()
		return err
	}
	q := new(dns.Msg).SetQuestion("press.plant.example.", dns.TypeA)
	first, second := dial(), dial()
	for range 2 {
		if err := errors.Join(first.WriteMsg(q), ask(first, 10*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(second.WriteMsg(q), ask(second, 300*time.Millisecond)); err == nil {
		t.Error("two connections are served at a time")
	}
	begin := time.Now()
	if err := ask(second, 10*time.Second); err != nil {
		t.Errorf("the second one is not served, though the first says nothing: %v", err)
	}
	t.Logf("served after %v", time.Since(begin))
}

// TestLongRequestsAreNotRead sends more than a request may have, by UDP and by TCP.
func TestLongRequestsAreNotRead(t *testing.T) {
	b := newBook()
	b.entered, b.leave = make(chan struct{}, 10), make(chan struct{})
	close(b.leave)
	s := openServer(t, b, 0)
	q := new(dns.Msg).SetQuestion("press.plant.example.", dns.TypeA)
	q.SetEdns0(1232, false)
	q.IsEdns0().Option = append(q.IsEdns0().Option, &dns.EDNS0_PADDING{Padding: make([]byte, maxRequest)})
	for _, network := range []string{"udp", "tcp"} {
		c := dns.Client{Net: network, Timeout: 300 * time.Millisecond}
		if a, _, err := c.Exchange(q, s.Addr().String()); err == nil {
			t.Errorf("%s: %v", network, a)
		}
	}
	if len(b.entered) > 0 {
		t.Error("it was read")
	}
}

// TestCloseWaitsForRequests closes a server under a request, and beside an idle connection.
func TestCloseWaitsForRequests(t *testing.T) {
	b := newBook()
	b.entered, b.leave = make(chan struct{}, 1), make(chan struct{})
	s := openServer(t, b, 0)
	idle, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = idle.Close() }()
	asks, err := net.Dial("udp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = asks.Close() }()
	request, _ := new(dns.Msg).SetQuestion("press.plant.example.", dns.TypeA).Pack()
	if _, err := asks.Write(request); err != nil {
		t.Fatal(err)
	}
	<-b.entered
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case <-closed:
		t.Error("closed, and a request is under way")
	case <-time.After(50 * time.Millisecond):
	}
	close(b.leave)
	begin := time.Now()
	select {
	case err := <-closed:
		if took := time.Since(begin); err != nil || took > tcpPatience/2 {
			t.Errorf("closed after %v: %v", took, err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Close hangs")
	}
	_ = idle.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := idle.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the idle connection is open: %v", err)
	}
}

func TestAllFaultsAreNamed(t *testing.T) {
	_, err := Open(t.Context(), Config{Zone: "..", Listen: "localhost:53", TTL: 1500 * time.Millisecond, Parallel: -1})
	for _, want := range []string{"Routes", "zone", "listen", "TTL", "parallel"} {
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named: %v", want, err)
		}
	}
	for _, zone := range []string{"", ".", "a..b", strings.Repeat("a.", 100), `a\.b`} {
		if err := (Config{Routes: newBook(), Zone: zone, Listen: "127.0.0.1:0"}).Validate(); !errors.Is(err, ErrConfig) {
			t.Errorf("zone %q: %v", zone, err)
		}
	}
}

// A program that is no node finds a service by the resolver of its machine, which asks a node.
func Example() {
	routes := newBook() // a *failover.Failover
	server, err := Open(context.Background(), Config{Routes: routes, Zone: "skein.example", Listen: "127.0.0.1:0"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = server.Close() }()
	ask := func() []netip.Addr {
		ips, err := resolverOf(server, "udp").LookupNetIP(context.Background(), "ip4", "press.skein.example.")
		if err != nil {
			fmt.Println(err)
		}
		return ips
	}
	fmt.Println(ask())
	routes.setAddress("press", "10.0.0.8:80") // its node has died
	fmt.Println(ask())
	// Output:
	// [10.0.0.7]
	// [10.0.0.8]
}
