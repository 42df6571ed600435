package link

import (
	"context"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// A prompt handler runs where its request is read. When there is no room for
// what it returns it is not the reader who waits.
func TestPromptHandlers(t *testing.T) {
	w := newWorld(t)
	var here atomic.Int64
	a, b := w.start(1), w.start(2, func(c *Config) {
		c.Prompt = func(method string) bool { return method == "prompt" }
		c.Handle = func(_ context.Context, _ view.NodeID, method string, req []byte) ([]byte, error) {
			reads := strings.Contains(string(debug.Stack()), "link.(*conn).read(")
			if reads != (method == "prompt") {
				t.Errorf("%s: run by the reader: %t", method, reads)
			}
			if reads {
				here.Add(1)
			}
			return req, nil
		}
	})
	for _, method := range []string{"prompt", "other"} {
		if got, err := a.Call(ctxFor(t, 10*time.Second), 2, method, []byte(method)); err != nil || string(got) != method {
			t.Errorf("%s: %q, %v", method, got, err)
		}
	}

	c := b.peers.all()[0]
	c.mu.Lock()
	out := c.out
	c.out = make([]byte, outFull)
	c.mu.Unlock()
	const more = 3
	ended := make(chan error, more)
	for range more {
		go func() {
			_, err := a.Call(ctxFor(t, 10*time.Second), 2, "prompt", []byte("x"))
			ended <- err
		}()
	}
	eventually(t, "all are read", func() bool { return here.Load() == 1+more })
	if len(ended) > 0 {
		t.Error("answered without room")
	}
	c.mu.Lock()
	c.out = out
	c.answering.wake()
	c.mu.Unlock()
	for range more {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	eventually(t, "nothing is handled", func() bool { return b.handlers.used.Load() == 0 && b.inbound.used.Load() == 0 })
}
