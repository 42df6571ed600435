package link

import (
	"context"
	"encoding/binary"
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
	if _, err := v.a.peers.getConn(ctxIn(time.Second), 2); err != nil {
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
		bad := 0
		for range 500 {
			begin := time.Now()
			if _, err := v.ask("many", "x", 2*time.Second); err != nil || time.Since(begin) > 900*time.Millisecond {
				bad++
			}
		}
		// Each of four packets, or its answer, is lost: 0.36^4 of 500 are eight, if
		// the stream stands still all the time. It does so for seconds, and not often.
		if bad > 10 {
			t.Errorf("%d of 500 failed or took longer than 900 ms", bad)
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
			calls             uint64 // over the connection
			runs              int64  // of the handler
		}{
			{"many", "x", "x", 1, 0, 1},
			{"once", "x", "x", 1, 1, 1},
			{"many", long, long, 0, 1, 1},
			{"many long", "x", long, 1, 1, 2},
		} {
			before, runs := v.a.Stats(), v.runs.Load()
			begin := time.Now()
			got, err := v.ask(c.method, c.req, 1600*time.Millisecond)
			took := time.Since(begin)
			time.Sleep(time.Second)
			after := v.a.Stats()
			packets, calls, runs := after.PacketsOut-before.PacketsOut, after.CallsOut-before.CallsOut, v.runs.Load()-runs
			if err != nil || got != c.want || packets != c.packets || calls != c.calls || runs != c.runs || took > 50*time.Millisecond {
				t.Errorf("%s: %v, %d packets, %d calls, %d runs, %v", c.method, err, packets, calls, runs, took)
			}
		}
		v.net.SetPaths(memnet.Path{Delay: 5 * time.Millisecond, MTU: 1})
		begin := time.Now()
		if got, err := v.ask("many", "x", 1600*time.Millisecond); err != nil || got != "x" || time.Since(begin) > 120*time.Millisecond {
			t.Errorf("without UDP: %q, %v after %v", got, err, time.Since(begin))
		}
	})
}

// That the connection has no room says nothing of packets. Where they do not help
// either the call ends soon, and says why.
func TestDatagramWhenTheStreamFails(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, w *virtual) {
		w.net.SetPaths(memnet.Path{Delay: 5 * time.Millisecond, MTU: 1}) // no UDP
		a, b := w.up(1), w.up(2, func(c *Config) {
			c.Limits.Handlers = 1
			c.Idempotent = func(method string) bool { return method == "many" }
			c.Handle = func(ctx context.Context, _ view.NodeID, method string, _ []byte) ([]byte, error) {
				if method == "wait" {
					<-ctx.Done()
				}
				return nil, nil
			}
		})
		done := make(chan error, 1)
		go func() {
			_, err := a.Call(ctxIn(10*time.Second), 2, "wait", nil)
			done <- err
		}()
		time.Sleep(time.Second)
		begin := time.Now()
		if _, err := a.CallIdempotent(ctxIn(1600*time.Millisecond), 2, "many", nil); !errors.Is(err, ErrOverloaded) || time.Since(begin) > 400*time.Millisecond {
			t.Errorf("neither way: %v after %v", err, time.Since(begin))
		}
		time.AfterFunc(105*time.Millisecond, func() { w.net.SetPaths(memnet.Path{Delay: 5 * time.Millisecond}) })
		begin = time.Now()
		if _, err := a.CallIdempotent(ctxIn(1600*time.Millisecond), 2, "many", nil); err != nil || time.Since(begin) > 200*time.Millisecond {
			t.Errorf("by packet: %v after %v", err, time.Since(begin))
		}
		for name, delay := range map[string]time.Duration{"by stream, then no room": 0, "no room, then by stream": 80 * time.Millisecond} {
			w.net.SetPaths(memnet.Path{Delay: 5 * time.Millisecond, MTU: 1})
			time.AfterFunc(delay, func() { w.net.SetPaths(memnet.Path{Delay: 5 * time.Millisecond}) })
			begin = time.Now()
			if _, err := a.CallIdempotent(ctxIn(1600*time.Millisecond), 2, "once", nil); !errors.Is(err, ErrOverloaded) || time.Since(begin) > 250*time.Millisecond {
				t.Errorf("%s: %v after %v", name, err, time.Since(begin))
			}
		}
		<-done
		a.Close()
		b.Close()
	})
}

// A packet that is not sealed for a connection between the two is not served: of a
// process whose hello was not accepted, of another one that has the mesh's key, of
// an earlier connection; nor is one served again.
func TestDatagramOfAStranger(t *testing.T) {
	withAsked(t, answered, func(t *testing.T, v *asked) {
		addr, _ := v.book.resolve(2)
		frame := wire.AppendFrame(nil, wire.FrameRequest, 1, 1000, "many", nil)[wire.FramePrefix:]
		runs, refused := int64(0), uint64(0)
		send := func(what string, served bool, l *Link, packet []byte) {
			t.Helper()
			if err := l.writePacket(packet, addr); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if served {
				runs++
			} else {
				refused++
			}
			if got, no := v.runs.Load(), v.b.Stats().PacketsRefused; got != runs || no != refused {
				t.Errorf("%s: %d runs, %d refused, want %d, %d", what, got, no, runs, refused)
			}
		}
		guess := append(wire.AppendFramePacketHeader(nil, wire.FramePacketHeader{From: 1, Counter: 1 << 40}), frame...)
		send("without a connection", false, v.a, guess)
		v.meet()
		first := v.a.peers.connInUse(2).pair.sealFrame(1, frame)
		send("of the other end", true, v.a, first)
		send("the same again", false, v.a, first)
		send("of nobody", false, v.a, guess)
		send("for the other direction", false, v.a, v.b.peers.connInUse(1).pair.sealFrame(1, frame))
		third := v.up(3)
		if _, err := third.peers.getConn(ctxIn(time.Second), 2); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		send("in another's name", false, v.a, v.a.peers.connInUse(2).pair.sealFrame(3, frame))
		renamed := v.a.peers.connInUse(2).pair.sealFrame(3, frame)
		binary.BigEndian.PutUint64(renamed[2:], 1)
		send("with another header than was sealed", false, v.a, renamed)
		other := v.start(1, func(c *Config) {
			c.Instance, c.Network, c.Listen = 99, v.net.Host(hostAddr(1)), hostAddr(1).String()+":7001"
		})
		header := wire.AppendFramePacketHeader(nil, wire.FramePacketHeader{From: 1, Counter: 1 << 41})
		send("with the mesh's key", false, other, other.sealer.aead.Seal(header, pairNonce(1<<41), frame, header))
		old := v.a.peers.connInUse(2).pair.sealFrame(1, frame)
		v.a.Drop(2)
		time.Sleep(time.Second)
		v.meet()
		send("for an earlier connection", false, v.a, old)
		send("for the present one", true, v.a, v.a.peers.connInUse(2).pair.sealFrame(1, frame))
		other.Close()
		third.Close()
	})
}

// Who is shut out, or was started anew since, is not served by packet either.
func TestDatagramOfOneThatIsShutOut(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, w *virtual) {
		var out, restarted atomic.Bool
		var runs atomic.Int64
		a, b := w.up(1), w.up(2, func(c *Config) {
			c.Admit = func(view.NodeID) bool { return !out.Load() }
			c.Floor = func(view.NodeID) uint64 {
				if restarted.Load() {
					return 2
				}
				return 1
			}
			c.Idempotent = func(string) bool { return true }
			c.Handle = func(context.Context, view.NodeID, string, []byte) ([]byte, error) {
				runs.Add(1)
				return nil, nil
			}
		})
		mustCall(t, a, 2, nil)
		for i, c := range []struct {
			change func()
			runs   int64
		}{{func() {}, 2}, {func() { out.Store(true) }, 2}, {func() { out.Store(false); restarted.Store(true) }, 2}} {
			c.change()
			if err := a.sendFrame(a.peers.connInUse(2), wire.FrameRequest, 1, 1000, "many", nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if got, refused := runs.Load(), b.Stats().PacketsRefused; got != c.runs || refused != uint64(i) {
				t.Errorf("%d: %d runs, %d refused", i, got, refused)
			}
		}
		a.Close()
		b.Close()
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
		const id = 1 << 40
		answer := v.b.datagrams.waiting.expectAnswer(3, id) // which is another's to give
		c := v.a.peers.connInUse(2)
		refused := v.b.Stats().PacketsRefused
		if err := v.a.sendFrame(c, wire.FrameReply, id, 0, "", nil); err != nil {
			t.Fatal(err)
		}
		for _, kind := range []wire.FrameKind{wire.FrameReply, wire.FrameFailure, wire.FramePing, wire.FrameRequest} {
			if err := v.a.sendFrame(c, kind, 7, 0, "", nil); err != nil {
				t.Fatal(err)
			}
		}
		addr, _ := v.book.resolve(2)
		for _, packet := range [][]byte{{1, 4}, c.pair.sealFrame(1, []byte{1, 2})} {
			if err := v.a.writePacket(packet, addr); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := v.b.Stats().PacketsRefused - refused; n != 4 || len(answer) != 0 || len(v.b.datagrams.waiting.waiting) != 1 || len(v.a.datagrams.waiting.waiting) != 0 {
			t.Errorf("%d refused, %d and %d wait", n, len(v.b.datagrams.waiting.waiting), len(v.a.datagrams.waiting.waiting))
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
		c := v.a.peers.connInUse(2)
		for i := range uint64(3 * datagramsEach) {
			if err := v.a.sendFrame(c, wire.FrameRequest, i+1, 5000, "many", nil); err != nil {
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
