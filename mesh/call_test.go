package mesh

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

func echo(_ context.Context, _ view.NodeID, req []byte) ([]byte, error) { return req, nil }

func TestCall(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		a, b := w.boxes[0].node, w.boxes[1].node
		handle := func(method string, fn handler) {
			if err := b.Handle(method, fn); err != nil {
				t.Fatal(err)
			}
		}
		handle("echo", echo)
		handle("who", func(_ context.Context, from view.NodeID, _ []byte) ([]byte, error) { return []byte(from.String()), nil })
		handle("fails", func(context.Context, view.NodeID, []byte) ([]byte, error) { return nil, errors.New("no such luck") })
		handle("coded", func(context.Context, view.NodeID, []byte) ([]byte, error) {
			return nil, &RemoteError{Code: "too-hot", Text: "90 degrees"}
		})
		handle("sleeps", func(ctx context.Context, _ view.NodeID, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		for _, to := range []*Node{a, b} { // from another node, and from itself
			from := a
			if to == a {
				from, to = b, b
			}
			got, err := from.Call(t.Context(), to.ID(), "echo", []byte("hello"))
			if err != nil || string(got) != "hello" {
				t.Errorf("echo: %q, %v", got, err)
			}
			got, err = from.Call(t.Context(), to.ID(), "who", nil)
			if err != nil || string(got) != from.ID().String() {
				t.Errorf("who: %q, %v, want %v", got, err, from.ID())
			}
			if _, err = from.Call(t.Context(), to.ID(), "nothing", nil); !errors.Is(err, ErrNoHandler) {
				t.Errorf("unknown method: %v, want ErrNoHandler", err)
			}
			var remote *RemoteError
			if _, err = from.Call(t.Context(), to.ID(), "coded", nil); !errors.As(err, &remote) || remote.Code != "too-hot" {
				t.Errorf("coded error arrives as %v", err)
			}
			if _, err = from.Call(t.Context(), to.ID(), "mesh/roster-sums", nil); from == to && !errors.Is(err, ErrNoHandler) {
				t.Errorf("reserved method: %v", err)
			}
		}
		var remote *RemoteError
		if _, err := a.Call(t.Context(), b.ID(), "fails", nil); !errors.As(err, &remote) || !strings.Contains(remote.Text, "no such luck") {
			t.Errorf("a handler's error arrives as %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.Call(ctx, b.ID(), "sleeps", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("late answer: %v, want DeadlineExceeded", err)
		}
		if _, err := a.Call(t.Context(), 12345, "echo", nil); !errors.Is(err, ErrUnreachable) {
			t.Errorf("stranger: %v, want ErrUnreachable", err)
		}
		if _, err := a.Call(t.Context(), b.ID(), "echo", make([]byte, 64<<20)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("too much: %v, want ErrTooLarge", err)
		}
		if _, err := a.Call(t.Context(), b.ID(), "admin/echo", nil); !errors.Is(err, ErrAdminOff) {
			t.Errorf("admin method: %v, want ErrAdminOff", err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Call(t.Context(), b.ID(), "echo", nil); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v, want ErrClosed", err)
		}
		if _, err := b.Call(t.Context(), a.ID(), "echo", nil); !errors.Is(err, ErrUnreachable) {
			t.Errorf("a closed node: %v, want ErrUnreachable", err)
		}
	})
}

// A prompt handler answers at once or later, calls of its own node too, and its faults
// travel as those of others.
func TestHandlePrompt(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		a, b := w.boxes[0].node, w.boxes[1].node
		for _, method := range []string{"prompt", "admin/prompt"} {
			err := b.HandlePrompt(method, func(_ context.Context, _ view.NodeID, req []byte, answer func([]byte, error)) {
				switch string(req) {
				case "now":
					answer([]byte("at once"), nil)
				case "fail":
					answer(nil, &RemoteError{Code: "odd", Text: "no"})
				default:
					go answer([]byte("later"), nil)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if !b.calls.isPrompt("prompt") || b.calls.isPrompt(methodView) {
			t.Error("taken for what it is not")
		}
		for _, from := range []*Node{a, b} {
			for req, want := range map[string]string{"now": "at once", "then": "later"} {
				if got, err := from.Call(t.Context(), b.ID(), "prompt", []byte(req)); err != nil || string(got) != want {
					t.Errorf("from %v: %q, %v", from.ID(), got, err)
				}
			}
			var remote *RemoteError
			if _, err := from.Call(t.Context(), b.ID(), "prompt", []byte("fail")); !errors.As(err, &remote) || remote.Code != "odd" || remote.Text != "no" {
				t.Errorf("from %v: %v", from.ID(), err)
			}
			if _, err := from.Call(t.Context(), b.ID(), "admin/prompt", []byte("now")); !errors.Is(err, ErrAdminOff) {
				t.Errorf("an admin method, from %v: %v", from.ID(), err)
			}
		}
	})
}

// Idempotent calls reach the handlers that are made for them by packet, also when
// the stream is held up, and all others over the stream.
func TestCallIdempotent(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		w.net.Backoff(true)
		w.form(10 * time.Second)
		a, b := w.boxes[0].node, w.boxes[1].node
		if err := errors.Join(b.HandleIdempotent("many", echo), b.Handle("once", echo)); err != nil {
			t.Fatal(err)
		}
		call := func(from *Node, method string) (time.Duration, error) {
			begin := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			got, err := from.CallIdempotent(ctx, b.ID(), method, []byte("x"))
			if err == nil && string(got) != "x" {
				t.Errorf("%s: %q", method, got)
			}
			return time.Since(begin), err
		}
		for _, from := range []*Node{a, b} {
			for _, method := range []string{"many", "once"} {
				if took, err := call(from, method); err != nil || took > 200*time.Millisecond {
					t.Errorf("%s from %v: %v after %v", method, from.ID(), err, took)
				}
			}
		}
		w.net.Partition([]netip.Addr{w.boxes[0].addr}, []netip.Addr{w.boxes[1].addr})
		if _, err := call(a, "many"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("through a cut: %v", err)
		}
		w.net.HealAll() // before anybody was failed
		if took, err := call(a, "many"); err != nil || took > 50*time.Millisecond {
			t.Errorf("after a blip: %v after %v", err, took)
		}
	})
}

func TestHandleRefuses(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		n := w.boxes[0].start()
		if err := n.Handle("twice", echo); err != nil {
			t.Fatal(err)
		}
		for what, err := range map[string]error{
			"taken":    n.Handle("twice", echo),
			"prompt":   n.HandlePrompt("twice", func(context.Context, view.NodeID, []byte, func([]byte, error)) {}),
			"many":     n.HandleIdempotent("twice", echo),
			"empty":    n.Handle("", echo),
			"reserved": n.Handle("mesh/x", echo),
			"long":     n.Handle(strings.Repeat("m", 65), echo),
			"nil":      n.Handle("nil", nil),
			"none":     n.HandlePrompt("nil", nil),
			"own":      n.Handle(methodView, echo),
		} {
			if !errors.Is(err, ErrMethod) {
				t.Errorf("%s: %v, want ErrMethod", what, err)
			}
		}
		_ = n.Close()
		if err := n.Handle("late", echo); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v, want ErrClosed", err)
		}
	})
}

func TestClient(t *testing.T) {
	bubble(t, 3, func(t *testing.T, w *world) {
		w.boxes[0].cfg.AllowAdmin = true
		w.form(10 * time.Second)
		here := w.add(w.boxes[0].addr) // tools run on the node's machine
		w.boxes = w.boxes[:3]
		n := w.boxes[0].node
		if err := n.Handle("admin/echo", echo); err != nil {
			t.Fatal(err)
		}
		if err := n.Handle("data", echo); err != nil {
			t.Fatal(err)
		}
		cfg := ClientConfig{Addr: n.Addr().String(), Secret: testSecret, MeshName: "test", Network: w.net.Host(here.addr)}
		c, err := Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		v, err := c.View(t.Context())
		if err != nil || len(v.Members) != 3 || v.Self != n.ID() || c.Node() != n.ID() || v.Count(view.Alive) != 3 {
			t.Errorf("view of the client: %+v, %v", v, err)
		}
		if got, err := c.Call(t.Context(), "admin/echo", []byte("x")); err != nil || !bytes.Equal(got, []byte("x")) {
			t.Errorf("admin method: %q, %v", got, err)
		}
		for _, method := range []string{"data", methodSums, methodSwap, methodReach} {
			if _, err := c.Call(t.Context(), method, nil); !errors.Is(err, ErrNoHandler) {
				t.Errorf("a client may call %s: %v", method, err)
			}
		}
		time.Sleep(time.Minute)
		if len(n.View().Members) != 3 || !w.whole() {
			t.Error("the client became a member")
		}
		cfg.Addr = w.boxes[1].node.Addr().String()
		if _, err := Dial(t.Context(), cfg); !errors.Is(err, ErrAdminOff) {
			t.Errorf("a node that allows no admin requests: %v, want ErrAdminOff", err)
		}
		cfg.Addr = "10.9.9.9:1"
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := Dial(ctx, cfg); !errors.Is(err, ErrUnreachable) {
			t.Errorf("nobody there: %v, want ErrUnreachable", err)
		}
		cfg.Secret = nil
		if _, err := Dial(ctx, cfg); !errors.Is(err, ErrNoSecret) {
			t.Errorf("no secret: %v, want ErrNoSecret", err)
		}
	})
}
