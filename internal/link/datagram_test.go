package link

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/memnet"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// asked are two links, the second of which answers methods that begin with "many"
// as often as they are asked.
type asked struct {
	*virtual
	a, b *Link
	runs atomic.Int64 // of b's handler
}

func withAsked(t *testing.T, handle func(ctx context.Context, method string, req []byte) ([]byte, error), fn func(t *testing.T, v *asked)) {
	inVirtualTime(t, func(t *testing.T, w *virtual) {
		v := &asked{virtual: w}
		v.a = w.up(1)
		v.b = w.up(2, func(c *Config) {
			c.Idempotent = func(method string) bool { return strings.HasPrefix(method, "many") }
			c.Handle = func(ctx context.Context, _ view.NodeID, method string, req []byte) ([]byte, error) {
				v.runs.Add(1)
				return handle(ctx, method, req)
			}
		})
		fn(t, v)
		v.a.Close()
		v.b.Close()
	})
}

func answered(_ context.Context, _ string, req []byte) ([]byte, error) {
	return append([]byte("re: "), req...), nil
}

func (v *asked) ask(method, req string, limit time.Duration) (string, error) {
	b, err := v.a.CallIdempotent(ctxIn(limit), 2, method, []byte(req))
	return string(b), err
}

// meet connects the two.
func (v *asked) meet() {
	v.t.Helper()
	if _, err := v.a.peers.get(ctxIn(time.Second), 2); err != nil {
		v.t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // until the other end is ready, too
}

// A request goes by packet once there is a connection, and is not held up by what
// stands still on that.
func TestDatagramPassesTheStream(t *testing.T) {
	withAsked(t, answered, func(t *testing.T, v *asked) {
		v.net.Backoff(true)
		if got, err := v.ask("many", "x", time.Second); err != nil || got != "re: x" || v.a.Stats().PacketsOut != 0 {
			t.Errorf("without a connection: %q, %v, %d packets", got, err, v.a.Stats().PacketsOut)
		}
		data := v.a.Stats().DataBytesOut
		if got, err := v.ask("many", "y", time.Second); err != nil || got != "re: y" || v.a.Stats().PacketsOut != 1 || v.a.Stats().DataBytesOut != data {
			t.Errorf("with one: %q, %v, %d packets", got, err, v.a.Stats().PacketsOut)
		}
		v.net.Partition([]netip.Addr{hostAddr(1)}, []netip.Addr{hostAddr(2)})
		if _, err := v.ask("many", "z", 10*time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("through a cut: %v", err)
		}
		v.net.HealAll()
		if _, err := v.a.Call(ctxIn(time.Second), 2, "x", nil); err == nil {
			t.Error("the stream goes on at once: nothing is shown")
		}
		begin := time.Now()
		if got, err := v.ask("many", "z", time.Second); err != nil || got != "re: z" || time.Since(begin) > 20*time.Millisecond {
			t.Errorf("after the cut: %q, %v, after %v", got, err, time.Since(begin))
		}
	})
}

// Of packets of which a fifth is lost enough come through, without the stream.
func TestDatagramsUnderLoss(t *testing.T) {
	withAsked(t, answered, func(t *testing.T, v *asked) {
		v.meet()
		v.net.SetPaths(memnet.Path{Delay: time.Millisecond, Loss: 0.2})
		late := 0
		for range 500 {
			begin := time.Now()
			if _, err := v.ask("many", "x", 2*time.Second); err != nil {
				t.Fatal(err)
			}
			if time.Since(begin) > 900*time.Millisecond {
				late++
			}
		}
		if late > 15 { // each of four packets, or its answer, is lost: 0.36^4
			t.Errorf("%d of 500 took longer than 900 ms", late)
		}
	})
}

// What cannot go by packet goes over the connection: when UDP is blocked, when the
// method or its answer is not for packets, when the peer does not know the sender.
func TestDatagramFallsBack(t *testing.T) {
	long := strings.Repeat("l", wire.MaxPacket)
	withAsked(t, func(_ context.Context, method string, req []byte) ([]byte, error) {
		if method == "many long" {
			return []byte(long), nil
		}
		return req, nil
	}, func(t *testing.T, v *asked) {
		v.meet()
		for _, c := range []struct {
			method, req, want string
			packets           uint64 // sent by a
			runs              int64
		}{
			{"once", "x", "x", 2, 1},
			{"many", long, long, 0, 1},
			{"many long", "x", long, 2, 3}, // by packet, by packet again, over the connection
		} {
			packets, runs, begin := v.a.Stats().PacketsOut, v.runs.Load(), time.Now()
			got, err := v.ask(c.method, c.req, 1600*time.Millisecond)
			time.Sleep(time.Second)
			if err != nil || got != c.want || v.a.Stats().PacketsOut-packets != c.packets || v.runs.Load()-runs != c.runs || time.Since(begin) > 1200*time.Millisecond {
				t.Errorf("%s: %v, %d packets, %d runs, %v", c.method, err, v.a.Stats().PacketsOut-packets, v.runs.Load()-runs, time.Since(begin))
			}
		}
		v.net.SetPaths(memnet.Path{Delay: 5 * time.Millisecond, MTU: 1})
		begin := time.Now()
		if got, err := v.ask("many", "x", 1600*time.Millisecond); err != nil || got != "x" || time.Since(begin) > 120*time.Millisecond {
			t.Errorf("without UDP: %q, %v after %v", got, err, time.Since(begin))
		}
	})
}

// A packet of a process with which there is no connection is not served: its hello
// was not accepted.
func TestDatagramOfAStranger(t *testing.T) {
	withAsked(t, answered, func(t *testing.T, v *asked) {
		send := func(l *Link) {
			addr, _ := v.book.resolve(2)
			if err := l.sendFrame(2, addr, wire.FrameRequest, 1, 1000, "many", nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if send(v.a); v.runs.Load() != 0 || v.b.Stats().PacketsRefused != 1 {
			t.Errorf("served a stranger: %d runs, %d refused", v.runs.Load(), v.b.Stats().PacketsRefused)
		}
		v.meet()
		if send(v.a); v.runs.Load() != 1 || v.b.Stats().PacketsRefused != 1 {
			t.Errorf("did not serve one that it knows: %d runs, %d refused", v.runs.Load(), v.b.Stats().PacketsRefused)
		}
		other := v.start(1, func(c *Config) {
			c.Instance, c.Network, c.Listen = 99, v.net.Host(hostAddr(1)), hostAddr(1).String()+":7001"
		})
		if send(other); v.runs.Load() != 1 || v.b.Stats().PacketsRefused != 2 {
			t.Errorf("served another process of it: %d runs, %d refused", v.runs.Load(), v.b.Stats().PacketsRefused)
		}
		other.Close()
	})
}

// Errors come by packet, too; the handler has the caller's deadline; answers that
// nobody waits for, and frames that are no requests, do nothing.
func TestDatagramErrors(t *testing.T) {
	withAsked(t, func(ctx context.Context, method string, _ []byte) ([]byte, error) {
		if method == "many wait" {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return nil, &RemoteError{Code: "odd", Text: "no"}
	}, func(t *testing.T, v *asked) {
		v.meet()
		begin := time.Now()
		var remote *RemoteError
		if _, err := v.ask("many", "", time.Second); !errors.As(err, &remote) || remote.Code != "odd" || remote.Text != "no" || time.Since(begin) > 20*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		if _, err := v.ask("many wait", "", time.Second); err == nil || time.Since(begin) > 1100*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := v.b.datagrams.served.n; n != 0 {
			t.Errorf("%d are still being handled", n)
		}
		id, d := v.b.datagrams.begin(3) // whose answer is another's to give
		to, _ := v.book.resolve(2)
		refused := v.b.Stats().PacketsRefused
		if err := v.a.sendFrame(2, to, wire.FrameReply, id, 0, "", nil); err != nil {
			t.Fatal(err)
		}
		for _, kind := range []wire.FrameKind{wire.FrameReply, wire.FrameFailure, wire.FramePing, wire.FrameDrain} {
			if err := v.a.sendFrame(2, to, kind, 7, 0, "", nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := v.a.sendPacket(wire.PacketFrame, 2, to, []byte{1, 2}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := v.b.Stats().PacketsRefused - refused; n != 3 || len(d.answer) != 0 || len(v.b.datagrams.waiting) != 1 || len(v.a.datagrams.waiting) != 0 {
			t.Errorf("%d refused, %d and %d wait", n, len(v.b.datagrams.waiting), len(v.a.datagrams.waiting))
		}
		if _, err := v.a.Call(ctxIn(time.Second), 2, "x", nil); !errors.As(err, &remote) {
			t.Errorf("over the connection: %v", err)
		}
	})
}

// A peer keeps no more requests by packet busy than its share.
func TestDatagramsAreBounded(t *testing.T) {
	withAsked(t, func(ctx context.Context, method string, _ []byte) ([]byte, error) {
		if method == "many" {
			<-ctx.Done()
		}
		return nil, nil
	}, func(t *testing.T, v *asked) {
		v.meet()
		to, _ := v.book.resolve(2)
		for i := range uint64(3 * datagramsEach) {
			if err := v.a.sendFrame(2, to, wire.FrameRequest, i+1, 5000, "many", nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if n := v.runs.Load(); n != datagramsEach || v.b.Stats().Overloaded < datagramsEach {
			t.Errorf("%d are handled, %d refused", n, v.b.Stats().Overloaded)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := v.b.datagrams.served.n; n != 0 {
			t.Errorf("%d are handled after their deadlines", n)
		}
	})
}

// Close does not wait for an answer.
func TestDatagramsEndWithTheLink(t *testing.T) {
	withAsked(t, answered, func(t *testing.T, v *asked) {
		v.meet()
		v.net.Partition([]netip.Addr{hostAddr(1)}, []netip.Addr{hostAddr(2)})
		failed := make(chan error, 1)
		go func() {
			_, err := v.ask("many", "x", time.Hour)
			failed <- err
		}()
		time.Sleep(time.Second)
		begin := time.Now()
		v.a.Close()
		if err := <-failed; !errors.Is(err, ErrClosed) || time.Since(begin) > 0 {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}
