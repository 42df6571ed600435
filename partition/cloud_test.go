package partition

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"
)

// soon is longer than anything on a loopback takes.
const soon = 10 * time.Second

func check(t *testing.T, p Probe) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	err := p.Check(ctx)
	if ctx.Err() != nil {
		t.Fatalf("no outcome within %v: %v", soon, err)
	}
	return err
}

// listener accepts connections and gives each to serve; they are closed at the
// end of the test.
func listener(t *testing.T, serve func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var conns []net.Conn
		for {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			conns = append(conns, conn)
			serve(conn)
		}
		for _, conn := range conns {
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

// refused is an address where nobody listens.
func refused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func silent(net.Conn) {}

func trusting(s *httptest.Server) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &tls.Config{RootCAs: roots}
}

func TestTCPProbe(t *testing.T) {
	if err := check(t, TCPProbe(listener(t, silent))); err != nil {
		t.Error(err)
	}
	addr := refused(t)
	if err := check(t, TCPProbe(addr)); err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("nobody listens: %v", err)
	}
	if err := check(t, TCPProbe("no port")); err == nil {
		t.Error("an address without a port was reached")
	}
}

func TestTLSProbeWantsTheRightServer(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	addr := s.Listener.Addr().String()
	config := trusting(s)
	if err := check(t, TLSProbe(addr, config)); err != nil {
		t.Error(err)
	}
	if config.ServerName != "" {
		t.Error("the config of the user was changed")
	}
	var unknown *tls.CertificateVerificationError
	if err := check(t, TLSProbe(addr, nil)); !errors.As(err, &unknown) {
		t.Errorf("a certificate of nobody known: %v", err)
	}
	other := trusting(s)
	other.ServerName = "cloud.invalid"
	if err := check(t, TLSProbe(addr, other)); !errors.As(err, &unknown) {
		t.Errorf("a certificate for another name: %v", err)
	}
	plain := listener(t, func(conn net.Conn) { io.WriteString(conn, "HTTP/1.0 200 OK\r\n\r\nwelcome") })
	if err := check(t, TLSProbe(plain, config)); err == nil {
		t.Error("a server that speaks no TLS passed")
	}
	if err := check(t, TLSProbe(refused(t), config)); err == nil {
		t.Error("nobody listens, and that passed")
	}
}

// answers has one path per answer that a server, or somebody in its place, may
// give.
func answers(w http.ResponseWriter, r *http.Request) {
	to := func(status int, location string) {
		w.Header().Set("Location", location)
		w.WriteHeader(status)
	}
	switch r.URL.Path {
	case "/ok":
		io.WriteString(w, "skein cloud, v3")
	case "/none":
		w.WriteHeader(http.StatusNoContent)
	case "/denied":
		w.WriteHeader(http.StatusForbidden)
	case "/proxy":
		w.WriteHeader(http.StatusProxyAuthRequired)
	case "/portal":
		w.WriteHeader(http.StatusNetworkAuthenticationRequired)
	case "/broken":
		w.WriteHeader(http.StatusBadGateway)
	case "/elsewhere":
		to(http.StatusFound, "http://portal.invalid/login?from="+r.Host)
	case "/here":
		to(http.StatusFound, "/login")
	case "/nowhere":
		to(http.StatusFound, "http://%zz/")
	case "/unmoved":
		w.WriteHeader(http.StatusNotModified)
	case "/hints":
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusNoContent)
	case "/long":
		for range 100 {
			w.Write(make([]byte, 64<<10))
		}
	}
}

func TestHTTPProbeTellsTheServerFromOthers(t *testing.T) {
	plain, secure := httptest.NewServer(http.HandlerFunc(answers)), httptest.NewTLSServer(http.HandlerFunc(answers))
	defer plain.Close()
	defer secure.Close()
	for _, c := range []struct {
		path    string
		options HTTPOptions
		good    bool
	}{
		{"/ok", HTTPOptions{}, true},
		{"/ok", HTTPOptions{Status: 200}, true},
		{"/ok", HTTPOptions{Prefix: "skein cloud"}, true},
		{"/ok", HTTPOptions{Prefix: "skein cloud, v3"}, true},
		{"/ok", HTTPOptions{Prefix: "skein cloud, v3 and more"}, false},
		{"/ok", HTTPOptions{Prefix: "cloud"}, false},
		{"/ok", HTTPOptions{Status: 204}, false},
		{"/ok", HTTPOptions{Status: 204, Prefix: "skein"}, false},
		{"/none", HTTPOptions{Status: 204}, true},
		{"/none", HTTPOptions{Status: 204, Prefix: "skein"}, false},
		{"/denied", HTTPOptions{}, true},
		{"/denied", HTTPOptions{Status: 403}, true},
		{"/proxy", HTTPOptions{}, false},
		{"/portal", HTTPOptions{}, false},
		{"/broken", HTTPOptions{}, false},
		{"/broken", HTTPOptions{Status: 502}, true},
		{"/elsewhere", HTTPOptions{}, false},
		{"/elsewhere", HTTPOptions{Status: 302}, false},
		{"/here", HTTPOptions{}, true},
		{"/here", HTTPOptions{Status: 302}, true},
		{"/here", HTTPOptions{Status: 200}, false},
		{"/nowhere", HTTPOptions{}, false},
		{"/unmoved", HTTPOptions{}, true},
		{"/hints", HTTPOptions{Status: 204}, true},
		{"/long", HTTPOptions{}, true},
		{"/long", HTTPOptions{Prefix: strings.Repeat("\x00", 1<<20)}, false},
	} {
		for _, base := range []string{plain.URL, secure.URL} {
			c.options.TLS = trusting(secure)
			err := check(t, HTTPProbe(base+c.path, c.options))
			if (err == nil) != c.good {
				t.Errorf("%s with status %d and %.20q: %v", base+c.path, c.options.Status, c.options.Prefix, err)
			}
			if err != nil && !errors.Is(err, ErrWrongAnswer) {
				t.Errorf("%s: %v is no wrong answer", base+c.path, err)
			}
		}
	}
	if err := check(t, HTTPProbe(secure.URL+"/ok", HTTPOptions{})); err == nil || errors.Is(err, ErrWrongAnswer) {
		t.Errorf("a certificate of nobody known: %v", err)
	}
	if err := check(t, HTTPProbe("http://"+refused(t)+"/ok", HTTPOptions{})); err == nil {
		t.Error("nobody listens, and that passed")
	}
}

func TestHTTPProbeRefusesWhatIsNoURL(t *testing.T) {
	for _, target := range []string{"", "cloud.example", "ftp://cloud.example/", "http://", "http://me:secret@cloud.example:x/", "http://me:secret@/"} {
		err := check(t, HTTPProbe(target, HTTPOptions{}))
		if err == nil {
			t.Errorf("%q was probed", target)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("a password is shown: %v", err)
		}
	}
	err := check(t, HTTPProbe("http://me:secret@"+refused(t), HTTPOptions{}))
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a password is shown: %v", err)
	}
}

// An answer without end is cut off, wherever it does not end.
func TestHTTPProbeEndlessAnswer(t *testing.T) {
	for _, start := range []string{"", "HTTP/1.1 ", "HTTP/1.1 200 OK\r\nX: ", "HTTP/1.1 103 Early Hints\r\n\r\n"} {
		read := make(chan int, 1)
		addr := listener(t, func(conn net.Conn) {
			io.WriteString(conn, start)
			sent, filler := len(start), []byte(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 1000))
			if !strings.HasSuffix(start, "\n") {
				filler = []byte(strings.Repeat("x", 32<<10))
			}
			for sent < 64<<20 {
				n, err := conn.Write(filler)
				if sent += n; err != nil {
					break
				}
			}
			read <- sent
		})
		if err := check(t, HTTPProbe("http://"+addr, HTTPOptions{})); err == nil {
			t.Errorf("%q and no end passed", start)
		}
		if n := <-read; n >= 64<<20 {
			t.Errorf("%q: took all of %d bytes", start, n)
		}
	}
}

// A peer that accepts and says nothing, and one that answers but never to the
// end, hold a probe until its time is over, not longer; nothing is left behind.
func TestProbesEndWithTheirContext(t *testing.T) {
	hole := listener(t, silent)
	half := listener(t, func(conn net.Conn) { io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nskein") })
	before := runtime.NumGoroutine()
	for name, p := range map[string]Probe{
		"tls":              TLSProbe(hole, nil),
		"http":             HTTPProbe("http://"+hole, HTTPOptions{}),
		"https":            HTTPProbe("https://"+hole, HTTPOptions{}),
		"http half a body": HTTPProbe("http://"+half, HTTPOptions{Prefix: "skein cloud"}),
	} {
		started := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := p.Check(ctx)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(started); took < 50*time.Millisecond || took > soon {
			t.Errorf("%s took %v", name, took)
		}
		cancel()
		ctx, cancel = context.WithCancel(t.Context())
		stop := time.AfterFunc(20*time.Millisecond, cancel)
		if err := p.Check(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		stop.Stop()
		if err := p.Check(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a context of the past: %v", name, err)
		}
	}
	if err := TCPProbe(hole).Check(canceled()); !errors.Is(err, context.Canceled) {
		t.Errorf("tcp with a context of the past: %v", err)
	}
	deadline := time.Now().Add(soon)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			stacks := make([]byte, 64<<10)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
		runtime.Gosched()
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// The connection is closed when a check is over, not when the server feels
// like it.
func TestProbesCloseTheirConnections(t *testing.T) {
	ends := make(chan error, 10)
	addr := listener(t, func(conn net.Conn) {
		conn.SetDeadline(time.Now().Add(soon))
		go func() {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")
			_, err := io.Copy(io.Discard, conn)
			ends <- err
		}()
	})
	for _, p := range []Probe{TCPProbe(addr), HTTPProbe("http://"+addr, HTTPOptions{Prefix: "ok"})} {
		if err := check(t, p); err != nil {
			t.Error(err)
		}
		var timeout net.Error
		if err := <-ends; errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%T leaves its connection open", p)
		}
	}
}

func ExampleProbeFunc() {
	ping := ProbeFunc(func(ctx context.Context) error { return errors.New("no carrier") })
	fmt.Println(ping.Check(context.Background()))
	// Output: no carrier
}
