package forward

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/skeinmesh/skein/failover/route"
	"github.com/skeinmesh/skein/internal/notify"
)

const inTime = 10 * time.Second // on a machine that is busy

// book is Routes that tests set.
type book struct{ route *notify.Value[route.Route] }

func (b book) WatchRoute(ctx context.Context, name string) (<-chan route.Route, error) {
	if name != "press" {
		return nil, errors.New("who is that")
	}
	return b.route.Watch(ctx), nil
}

// host is a server that answers each line with its name, and a connection's end with "bye".
type host struct {
	net.Listener
	name string
	work sync.WaitGroup
}

func startHost(t *testing.T, name string) *host {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{Listener: l, name: name}
	h.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			h.work.Go(func() { h.answerLines(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		h.work.Wait()
	})
	return h
}

func (h *host) answerLines(c net.Conn) {
	defer func() { _ = c.Close() }()
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		if lines.Text() == "die" {
			_ = c.(*net.TCPConn).SetLinger(0)
			return
		}
		_, _ = fmt.Fprintf(c, "%s: %s\n", h.name, lines.Text())
	}
	if lines.Err() == nil {
		_, _ = fmt.Fprintln(c, "bye")
	}
}

func (h *host) address() string { return h.Addr().String() }

// client is a connection to a forwarder.
type client struct {
	t *testing.T
	*net.TCPConn
	lines *bufio.Reader
}

func connectTo(t *testing.T, f *Forwarder) client {
	t.Helper()
	c, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(inTime))
	return client{t, c.(*net.TCPConn), bufio.NewReader(c)}
}

// wantAnswer fails unless a line is answered so.
func (c client) wantAnswer(say, want string) {
	c.t.Helper()
	_, _ = fmt.Fprintln(c, say)
	if got, err := c.lines.ReadString('\n'); got != want+"\n" {
		c.t.Errorf("%q is answered by %q, %v, want %q", say, got, err, want)
	}
}

// wantReset fails unless the connection is reset now.
func (c client) wantReset() {
	c.t.Helper()
	if got, err := c.lines.ReadString('\n'); got != "" || !errors.Is(err, syscall.ECONNRESET) {
		c.t.Errorf("%q, %v, want a reset", got, err)
	}
}

func openForwarder(t *testing.T, change ...func(*Config)) (*Forwarder, book) {
	t.Helper()
	b := book{notify.New(route.Route{})}
	cfg := Config{Routes: b, Service: "press", Listen: "127.0.0.1:0", Wait: inTime}
	for _, c := range change {
		c(&cfg)
	}
	f, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f, b
}

func TestClientsFollowTheService(t *testing.T) {
	a, b := startHost(t, "a"), startHost(t, "b")
	f, routes := openForwarder(t)
	routes.route.Set(routeTo(1, a.address()))
	first, second := connectTo(t, f), connectTo(t, f)
	first.wantAnswer("one", "a: one")
	second.wantAnswer("two", "a: two")

	later := routeTo(1, a.address())
	later.Token.Term = 9
	routes.route.Set(later)
	first.wantAnswer("later", "a: later")

	begin := time.Now()
	routes.route.Set(routeTo(2, b.address()))
	first.wantReset()
	second.wantReset()
	third := connectTo(t, f)
	third.wantAnswer("three", "b: three")
	t.Logf("elsewhere after %v", time.Since(begin))

	routes.route.Set(route.Route{}) // a host has died, and the service starts elsewhere
	third.wantReset()
	waits := connectTo(t, f)
	_, _ = fmt.Fprintln(waits, "four")
	routes.route.Set(routeTo(1, a.address()))
	waits.wantAnswer("five", "a: four")
	waits.wantAnswer("six", "a: five")
}

// TestHalvesAreClosed closes one half of a connection, and hears what comes by the other.
func TestHalvesAreClosed(t *testing.T) {
	f, routes := openForwarder(t)
	routes.route.Set(routeTo(1, startHost(t, "a").address()))
	c := connectTo(t, f)
	long := strings.Repeat("x", 60_000)
	go func() {
		for range 40 {
			_, _ = fmt.Fprintln(c, long)
		}
		_ = c.CloseWrite()
	}()
	all, err := io.ReadAll(c.lines)
	if err != nil || len(all) != 40*(len(long)+4)+len("bye\n") || !strings.HasSuffix(string(all), "x\nbye\n") {
		t.Errorf("%d bytes, %v", len(all), err)
	}
}

// TestAResetIsPassedOn has a service reset a connection: that is no end for the client.
func TestAResetIsPassedOn(t *testing.T) {
	f, routes := openForwarder(t)
	routes.route.Set(routeTo(1, startHost(t, "a").address()))
	c := connectTo(t, f)
	c.wantAnswer("one", "a: one")
	_, _ = fmt.Fprintln(c, "die")
	c.wantReset()
}

func TestNoMoreThanSoManyClients(t *testing.T) {
	f, routes := openForwarder(t, func(c *Config) { c.Conns = 2 })
	routes.route.Set(routeTo(1, startHost(t, "a").address()))
	first, second := connectTo(t, f), connectTo(t, f)
	first.wantAnswer("one", "a: one")
	second.wantAnswer("two", "a: two")
	if c, err := net.Dial("tcp", f.Addr().String()); err == nil { // else it was reset before
		_ = c.SetDeadline(time.Now().Add(inTime))
		client{t, c.(*net.TCPConn), bufio.NewReader(c)}.wantReset()
		_ = c.Close()
	}
	_ = second.CloseWrite()
	if rest, err := io.ReadAll(second.lines); string(rest) != "bye\n" || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	for end := time.Now().Add(inTime); len(f.slots) > 1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a client that has gone holds its place")
		}
	}
	connectTo(t, f).wantAnswer("three", "a: three")
}

// TestItDoesNotConnectToItself has the service be where the forwarder is.
func TestItDoesNotConnectToItself(t *testing.T) {
	f, routes := openForwarder(t, func(c *Config) { c.Wait = 250 * time.Millisecond })
	port := f.Addr().Port()
	for _, host := range []string{"127.0.0.1", "localhost", "0.0.0.0"} {
		routes.route.Set(routeTo(1, fmt.Sprintf("%s:%d", host, port)))
		for end := time.Now().Add(inTime); len(f.slots) > 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
			// the client before was reset a moment before its slot is free
		}
		c := connectTo(t, f)
		for most, end := 0, time.Now().Add(100*time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if most = max(most, len(f.slots)); most > 1 {
				t.Fatalf("%s: one client has become %d", host, most)
			}
		}
		c.wantReset()
	}
}

func TestCloseEndsConnections(t *testing.T) {
	f, routes := openForwarder(t)
	routes.route.Set(routeTo(1, startHost(t, "a").address()))
	c := connectTo(t, f)
	c.wantAnswer("one", "a: one")
	routes.route.Set(route.Route{})
	c.wantReset()
	waits := connectTo(t, f)
	for end := time.Now().Add(inTime); len(f.slots) == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	begin := time.Now()
	if err := f.Close(); err != nil || time.Since(begin) > inTime/2 {
		t.Errorf("closed after %v: %v", time.Since(begin), err)
	}
	waits.wantReset()
	if _, err := net.Dial("tcp", f.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}

func TestAllFaultsAreNamed(t *testing.T) {
	_, err := Open(t.Context(), Config{Listen: "localhost:80", Conns: -1, Wait: -1, DialTimeout: time.Hour})
	for _, want := range []string{"Routes", "Service", "listen", "connections", "wait", "dial timeout"} {
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named: %v", want, err)
		}
	}
	b := book{notify.New(route.Route{})}
	if _, err := Open(t.Context(), Config{Routes: b, Service: "other", Listen: "127.0.0.1:0"}); err == nil || errors.Is(err, ErrConfig) {
		t.Errorf("no route can be watched: %v", err)
	}
}

// A program connects to one address for ever, and comes to where the service is.
func Example() {
	routes := book{notify.New(route.Route{})} // a *failover.Failover
	f, err := Open(context.Background(), Config{Routes: routes, Service: "press", Listen: "127.0.0.1:0"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = f.Close() }()
	ask := func() error {
		c, err := net.Dial("tcp", f.Addr().String())
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		answer, err := io.ReadAll(c)
		if err == nil {
			fmt.Printf("%s\n", answer)
		}
		return err
	}
	for _, place := range []string{"line 1", "line 2"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fmt.Println(err)
			return
		}
		defer func() { _ = l.Close() }()
		go func() {
			if c, err := l.Accept(); err == nil {
				_, _ = io.WriteString(c, "here is "+place)
				_ = c.Close()
			}
		}()
		routes.route.Set(route.Route{Service: "press", Node: 1, Address: l.Addr().String()})
		for ask() != nil { // a reset: the service has moved meanwhile
			time.Sleep(time.Millisecond)
		}
	}
	// Output:
	// here is line 1
	// here is line 2
}
