package mesh

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// kept is a log that is kept.
type kept struct {
	mu   sync.Mutex
	text strings.Builder
}

func (k *kept) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text.Write(b)
}

// A request that a handler does not stand ends that request, not the process.
func TestPanicInAHandlerIsARemoteError(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		var log kept
		w.boxes[1].cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		w.form(10 * time.Second)
		a, b := w.boxes[0].node, w.boxes[1].node
		prompt := func(_ context.Context, _ view.NodeID, _ []byte, answer func([]byte, error)) { panic("prompt pain") }
		late := func(_ context.Context, _ view.NodeID, _ []byte, answer func([]byte, error)) {
			answer([]byte("answered"), nil)
			panic("too late")
		}
		if err := errors.Join(
			b.Handle("plain", func(context.Context, view.NodeID, []byte) ([]byte, error) { panic(errors.New("plain pain")) }),
			b.HandleIdempotent("again", func(_ context.Context, _ view.NodeID, req []byte) ([]byte, error) {
				return req[len(req)+1:], nil
			}),
			b.HandlePrompt("prompt", prompt), b.HandlePrompt("late", late), b.Handle("echo", echo),
		); err != nil {
			t.Fatal(err)
		}
		for _, from := range []*Node{a, b} {
			for _, method := range []string{"plain", "again", "prompt"} {
				_, err := from.Call(t.Context(), b.ID(), method, nil)
				var remote *RemoteError
				if !errors.As(err, &remote) || remote.Code != "panic" || strings.Contains(err.Error(), "pain") || !strings.Contains(err.Error(), b.ID().String()) {
					t.Errorf("%s: %v", method, err)
				}
			}
			if got, err := from.Call(t.Context(), b.ID(), "echo", []byte("x")); err != nil || string(got) != "x" {
				t.Errorf("after the panics: %q, %v", got, err)
			}
		}
		if got, err := a.Call(t.Context(), b.ID(), "late", nil); err != nil || string(got) != "answered" {
			t.Errorf("a handler that panicked after its answer: %q, %v", got, err)
		}
		for _, want := range []string{"plain pain", "prompt pain", "too late", "out of range", "panic_test.go", "caller=" + a.ID().String()} {
			if !strings.Contains(log.text.String(), want) {
				t.Errorf("the log does not say %q", want)
			}
		}
	})
}
