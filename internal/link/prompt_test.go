package link

import (
	"context"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// Who reads its replies is served also when those of others have taken most of the
// room, by a handler of either kind.
func TestReaderIsServedWhenRoomIsShort(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, v *virtual) {
		a, b := v.up(1), v.up(2, func(c *Config) {
			c.Prompt = func(method string) bool { return method == "prompt" }
			c.HandlePrompt = func(_ context.Context, _ view.NodeID, _ string, req []byte, answer func([]byte, error)) {
				answer(req, nil)
			}
		})
		others := int(b.outbound.limit / 10 * 9)
		if !b.outbound.tryTake(others) || !b.outbound.isTight() {
			t.Fatal("room is not short")
		}
		for _, method := range []string{"prompt", "plain"} {
			for range 100 {
				if _, err := a.Call(ctxIn(time.Second), 2, method, []byte("x")); err != nil {
					t.Fatalf("%s: %v", method, err)
				}
			}
		}
		b.outbound.giveBack(others)
		a.Close()
		b.Close()
	})
}

// A prompt handler runs where its request is read. When there is no room for
// what it returns it is not the reader who waits.
func TestPromptHandlers(t *testing.T) { inVirtualTime(t, promptHandlers) }

func promptHandlers(t *testing.T, v *virtual) {
	var here atomic.Int64
	a, b := v.up(1), v.up(2, func(c *Config) {
		c.Prompt = func(method string) bool { return method == "prompt" }
		c.Handle = func(_ context.Context, _ view.NodeID, method string, req []byte) ([]byte, error) {
			reads := strings.Contains(string(debug.Stack()), "link.(*conn).readFrames(")
			if reads != (method == "prompt") {
				t.Errorf("%s: run by the reader: %t", method, reads)
			}
			return req, nil
		}
		c.HandlePrompt = func(ctx context.Context, from view.NodeID, method string, req []byte, answer func([]byte, error)) {
			here.Add(1)
			answer(c.Handle(ctx, from, method, req))
		}
	})
	for _, method := range []string{"prompt", "other"} {
		if got, err := a.Call(ctxFor(t, 10*time.Second), 2, method, []byte(method)); err != nil || string(got) != method {
			t.Errorf("%s: %q, %v", method, got, err)
		}
	}

	c := b.peers.allConns()[0]
	out := fillUp(c)
	const more = 3
	ended := make(chan error, more)
	for range more {
		go func() {
			_, err := a.Call(ctxFor(t, 10*time.Second), 2, "prompt", []byte("x"))
			ended <- err
		}()
	}
	time.Sleep(time.Second)
	if n := here.Load(); n != 1+more {
		t.Errorf("%d were read", n)
	}
	if len(ended) > 0 {
		t.Error("answered without room")
	}
	c.mu.Lock()
	c.out = out
	c.answering.wakeFront()
	c.mu.Unlock()
	for range more {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	eventually(t, "nothing is handled", func() bool { return b.handlers.used.Load() == 0 && b.inbound.used.Load() == 0 })
	a.Close()
	b.Close()
}

// fillUp leaves no room in what waits for a connection's writer, which is at
// rest, and returns what waited there. It is for bubbles.
func fillUp(c *conn) (out []byte) {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	out, c.out = c.out, make([]byte, outFull)
	return out
}

// What answers twice, as one that panics after its answer is made to, answers once.
func TestAnsweredOnce(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, v *virtual) {
		a, b := v.up(1), v.up(2, func(c *Config) {
			c.Prompt = func(string) bool { return true }
			c.HandlePrompt = func(_ context.Context, _ view.NodeID, _ string, req []byte, answer func([]byte, error)) {
				answer(req, nil)
				answer([]byte("again"), nil)
			}
		})
		for range 3 {
			if got, err := a.Call(ctxIn(time.Second), 2, "m", []byte("x")); err != nil || string(got) != "x" {
				t.Errorf("%q, %v", got, err)
			}
		}
		synctest.Wait()
		if n := b.handlers.used.Load(); n != 0 {
			t.Errorf("%d requests count as being handled", n)
		}
		a.Close()
		b.Close()
	})
}
