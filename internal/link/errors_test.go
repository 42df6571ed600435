package link

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// What another node says goes into logs and onto terminals: it is text of one line,
// and bounded.
func TestRemoteTextIsReadable(t *testing.T) {
	w := newWorld(t)
	evil := "a\x1b[31m\x00\xff\nb\u202e" + strings.Repeat("é", maxText)
	a := w.start(1)
	w.start(2, func(c *Config) {
		c.Handle = func(context.Context, view.NodeID, string, []byte) ([]byte, error) {
			return nil, &RemoteError{Code: "co\x07de", Text: evil}
		}
	})
	w.start(3, func(c *Config) {
		c.OnHello = func(Peer, []byte) error { return &RefusedError{Code: "no\x07", Text: evil} }
	})
	var remote *RemoteError
	if _, err := a.Call(ctxFor(t, 5*time.Second), 2, "x", nil); !errors.As(err, &remote) {
		t.Fatal(err)
	}
	var refused *RefusedError
	if _, err := a.Call(ctxFor(t, 5*time.Second), 3, "x", nil); !errors.As(err, &refused) {
		t.Fatal(err)
	}
	for _, text := range []string{remote.Text, refused.Text} {
		if !strings.HasPrefix(text, "a.[31m.. b.é") || len(text) > maxText {
			t.Errorf("%d bytes: %.40q", len(text), text)
		}
	}
	if remote.Code != "co.de" || refused.Code != "no." {
		t.Errorf("codes %q, %q", remote.Code, refused.Code)
	}
}
