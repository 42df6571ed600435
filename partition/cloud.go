package partition

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Probe tells whether the cloud, or whatever else a site works with beyond its
// mesh, can be reached right now.
type Probe interface {
	// Check returns nil if it can. It must return soon after ctx has ended, and
	// leave nothing behind. Calls do not overlap.
	Check(ctx context.Context) error
}

// ProbeFunc makes a Probe of a function: of a ping of the user's own protocol,
// or of an HTTP client that goes through a proxy.
type ProbeFunc func(ctx context.Context) error

// Check calls f.
func (f ProbeFunc) Check(ctx context.Context) error { return f(ctx) }

// ErrWrongAnswer: somebody answered an HTTPProbe in HTTP, but not as the server
// that was asked for would: a captive portal, a proxy, or a server in trouble.
var ErrWrongAnswer = errors.New("partition: wrong answer from the cloud")

// maxAnswer bounds what is read of an answer, in bytes; an endless one is no
// answer.
const maxAnswer = 256 << 10

// TCPProbe succeeds when addr, "host:port", accepts a connection. Firewalls and
// captive portals accept connections for others: where there may be some,
// TLSProbe or HTTPProbe tell more.
func TCPProbe(addr string) Probe { return tcpProbe{addr} }

type tcpProbe struct{ addr string }

func (p tcpProbe) Check(ctx context.Context) error {
	err := withConn(ctx, p.addr, func(net.Conn) error { return nil })
	return describeError("tcp", p.addr, err)
}

// TLSProbe succeeds when the server at addr, "host:port", proves by its
// certificate that it is the one; nothing is sent to it. With a nil config that
// is for the host of addr and by the roots of the system. The config is cloned.
//
// A node whose clock is wrong takes good certificates for expired; config.Time
// is the way to give it a better one.
func TLSProbe(addr string, config *tls.Config) Probe {
	return tlsProbe{addr, configFor(addr, config)}
}

type tlsProbe struct {
	addr   string
	config *tls.Config
}

func (p tlsProbe) Check(ctx context.Context) error {
	err := withConn(ctx, p.addr, func(conn net.Conn) error { return tls.Client(conn, p.config).HandshakeContext(ctx) })
	return describeError("tls", p.addr, err)
}

// HTTPOptions says what an HTTPProbe takes for an answer of the right server.
type HTTPOptions struct {
	// Status is the one status that will do. Zero means any but 407 and from
	// 500 up: a server that refuses us is reached all the same.
	Status int
	// Prefix is how the body must begin. Empty means that any will do.
	Prefix string
	// TLS is used with https. Nil means the roots of the system. It is cloned.
	TLS *tls.Config
}

// HTTPProbe succeeds when a GET of target, an http or https URL, is answered as
// options say. Each check makes one connection of its own, and no proxy is
// used. A redirect is not followed; one that leads to another host is the mark
// of a captive portal and never will do.
//
// Over plain http anybody on the way can answer, so set Status to something
// rare (204), or a Prefix, or both. Otherwise a portal that answers with a page
// of its own passes for the cloud.
func HTTPProbe(target string, options HTTPOptions) Probe {
	p := httpProbe{options: options}
	var err error
	p.url, err = url.Parse(target)
	switch {
	case err != nil:
		p.url, p.fault = &url.URL{}, fmt.Errorf("not a URL: %w", errors.Unwrap(err)) // err repeats target, password and all
	case p.url.Scheme != "http" && p.url.Scheme != "https":
		p.fault = errors.New("the URL is neither http nor https")
	case p.url.Hostname() == "":
		p.fault = errors.New("the URL has no host")
	default:
		p.prepareAddr()
	}
	return p
}

type httpProbe struct {
	options HTTPOptions
	url     *url.URL
	addr    string
	config  *tls.Config // nil for http
	fault   error       // why target is no URL to probe
}

// prepareAddr finds where to connect to.
func (p *httpProbe) prepareAddr() {
	port := p.url.Port()
	switch {
	case port == "" && p.url.Scheme == "https":
		port = "443"
	case port == "":
		port = "80"
	}
	p.addr = net.JoinHostPort(p.url.Hostname(), port)
	if p.url.Scheme == "https" {
		p.config = configFor(p.addr, p.options.TLS)
		p.config.NextProtos = []string{"http/1.1"}
	}
}

func (p httpProbe) Check(ctx context.Context) error {
	err := p.fault
	if err == nil {
		err = withConn(ctx, p.addr, func(conn net.Conn) error { return p.sendRequest(ctx, conn) })
	}
	return describeError("http", p.url.Redacted(), err)
}

// sendRequest makes the request by hand: a Transport would keep goroutines that nobody
// waits for.
func (p httpProbe) sendRequest(ctx context.Context, conn net.Conn) error {
	if p.config != nil {
		secured := tls.Client(conn, p.config)
		if err := secured.HandshakeContext(ctx); err != nil {
			return err
		}
		conn = secured
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url.String(), nil)
	if err != nil {
		return err
	}
	req.Close = true
	if err := req.Write(conn); err != nil {
		return err
	}
	in := bufio.NewReader(io.LimitReader(conn, maxAnswer))
	resp, err := http.ReadResponse(in, req)
	for err == nil && resp.StatusCode/100 == 1 { // a word before the answer
		resp, err = http.ReadResponse(in, req)
	}
	if err != nil {
		return err
	}
	return p.judgeAnswer(resp)
}

// judgeAnswer tells whether the answer is one of the right server.
func (p httpProbe) judgeAnswer(resp *http.Response) error {
	status := resp.StatusCode
	switch {
	case p.options.Status != 0 && status != p.options.Status:
		return fmt.Errorf("%w: status %d, not %d", ErrWrongAnswer, status, p.options.Status)
	case p.options.Status == 0 && (status == http.StatusProxyAuthRequired || status >= 500):
		return fmt.Errorf("%w: status %d", ErrWrongAnswer, status)
	}
	if status/100 == 3 {
		to, err := resp.Location()
		if err == nil && !strings.EqualFold(to.Hostname(), p.url.Hostname()) {
			return fmt.Errorf("%w: sent on to %q", ErrWrongAnswer, to.Hostname())
		} else if err != nil && !errors.Is(err, http.ErrNoLocation) {
			return fmt.Errorf("%w: sent on: %w", ErrWrongAnswer, err)
		}
	}
	begins := make([]byte, len(p.options.Prefix))
	n, err := io.ReadFull(resp.Body, begins)
	if string(begins[:n]) == p.options.Prefix {
		return nil
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return fmt.Errorf("%w: the body begins with %.60q", ErrWrongAnswer, begins[:n])
}

// withConn connects to addr, lets do use the connection until ctx ends, and closes
// it.
func withConn(ctx context.Context, addr string, do func(net.Conn) error) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return addContextError(ctx, err)
	}
	defer conn.Close()
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		conn.SetDeadline(time.Unix(1, 0)) // whatever waits for the peer returns
	})
	err = do(conn)
	if !stop() {
		<-ended
	}
	return addContextError(ctx, err)
}

// addContextError adds to an error that ctx has ended, which is the likely reason.
func addContextError(ctx context.Context, err error) error {
	if end := ctx.Err(); err != nil && end != nil && !errors.Is(err, end) {
		return fmt.Errorf("%w: %w", end, err)
	}
	return err
}

// configFor returns a clone of config, or of nothing, for the host of addr.
func configFor(addr string, config *tls.Config) *tls.Config {
	if config == nil {
		config = &tls.Config{}
	}
	config = config.Clone()
	if host, _, err := net.SplitHostPort(addr); err == nil && config.ServerName == "" {
		config.ServerName = host
	}
	return config
}

func describeError(kind, what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("partition: %s probe of %q: %w", kind, what, err)
}
