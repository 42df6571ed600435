package failover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"

	"github.com/skeinmesh/skein/internal/process"
)

// ErrCheck: the service answers a check, and not as it should.
var ErrCheck = errors.New("failover: wrong answer to a check")

const (
	mostChecked = 64 << 10 // of an answer is read
)

// HTTPCheck returns a Hook, for Check or Verify, that is well when a GET of an http or https
// URL is answered with that status, or with any from 200 to 299 if it is 0, within the time of
// the check: Plan.Check.Timeout is the limit on the response time. Redirects are not followed,
// and no connection is kept.
func HTTPCheck(url string, status int) Hook {
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, _ Run) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, mostChecked))
		_ = resp.Body.Close()
		if err != nil {
			return err
		}
		if status == 0 && resp.StatusCode/100 == 2 || resp.StatusCode == status {
			return nil
		}
		return fmt.Errorf("%w: %s from %s", ErrCheck, resp.Status, req.URL.Redacted())
	}
}

// TCPCheck returns a Hook that is well when an address, "host:port", accepts a connection.
func TCPCheck(addr string) Hook {
	return func(ctx context.Context, _ Run) error {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// ExecCheck returns a Hook that is well when a command exits with 0 in time; it is killed else,
// and on Unix what it has started with it. The error has the first of what it has printed.
func ExecCheck(name string, args ...string) Hook {
	return func(ctx context.Context, _ Run) error {
		return process.RunToEnd(exec.CommandContext(ctx, name, args...))
	}
}

// RateCheck returns a Hook that is well while of the last n results of another one so many, in
// percent, were bad at most. Until there were n since the service was started here all that are
// missing count as good. It is not to be used for two services.
func RateCheck(check Hook, n, percent int) Hook {
	bad := make([]bool, max(n, 1))
	next, start := 0, 0
	return func(ctx context.Context, run Run) error {
		if run.start != start {
			clear(bad)
			start = run.start
		}
		err := check(ctx, run)
		bad[next], next = err != nil, (next+1)%len(bad)
		count := 0
		for _, b := range bad {
			if b {
				count++
			}
		}
		if 100*count <= percent*len(bad) {
			return nil
		}
		return errors.Join(fmt.Errorf("%w: %d of the last %d were bad", ErrCheck, count, len(bad)), err)
	}
}
