package mesh

import (
	"bytes"
	"io"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/everycall"
)

// No public method ends the process or hangs: of a node alone, with others, cut off, leaving
// and closed, and of a client of a node that answers, is silent and is gone.
func TestEveryCallInEveryState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		defer w.close()
		for _, b := range w.boxes {
			b.cfg.AllowAdmin = true
		}
		w.form(3 * time.Minute)
		n, peer := w.boxes[2].node, w.boxes[1].node.ID()
		given := []any{"topic", []byte("payload"), io.Writer(new(bytes.Buffer)), map[string]string{"line": "1"}, []string{"pump"}, peer}
		c, err := Dial(t.Context(), ClientConfig{
			Addr: w.boxes[2].cfg.Listen, Secret: w.boxes[2].cfg.Secret, MeshName: w.boxes[2].cfg.MeshName,
			Network: w.net.Host(netip.MustParseAddr("10.0.0.50")),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		calls := 0
		try := func(state string) {
			calls += everycall.Try(t, state, n, given, "Close", "Leave", "Evict")
			calls += everycall.Try(t, state, c, given, "Close", "Evict")
		}
		try("with others")
		w.net.Silence(w.boxes[0].addr)
		w.net.Silence(w.boxes[1].addr)
		try("just cut off")
		time.Sleep(time.Minute)
		try("cut off")
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		try("closed")
		everycall.Try(t, "closed", n, given)
		everycall.Try(t, "of a closed node", c, given)
		everycall.Try(t, "closed", c, given)
		if calls < 4*3*20 {
			t.Errorf("only %d calls were made", calls)
		}
	})
}
