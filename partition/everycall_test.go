package partition

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/everycall"
	"github.com/skeinmesh/skein/partition/token"
)

// No public method ends the process or hangs: in contact, cut off, with a node that is
// closed, and closed.
func TestEveryCallInEveryState(t *testing.T) {
	inWorld(t, 3, lan, nil, func(w *world) {
		b := w.boxes[2]
		given := []any{
			"name", Election{Name: "line", Scope: ScopeMajority}, token.Token{Term: 3, Node: b.node.ID()}, w.boxes[0].node.ID(), io.Writer(new(bytes.Buffer)),
		}
		calls := everycall.Try(t, "in contact", b.part, given, "Close")
		w.net.Silence(w.boxes[0].addr)
		w.net.Silence(w.boxes[1].addr)
		calls += everycall.Try(t, "just cut off", b.part, given, "Close")
		time.Sleep(time.Minute)
		calls += everycall.Try(t, "cut off", b.part, given, "Close")
		if err := b.node.Close(); err != nil {
			t.Error(err)
		}
		calls += everycall.Try(t, "of a closed node", b.part, given, "Close")
		if err := b.part.Close(); err != nil {
			t.Error(err)
		}
		calls += everycall.Try(t, "closed", b.part, given)
		if calls < 5*3*12 {
			t.Errorf("only %d calls were made", calls)
		}
	})
}
