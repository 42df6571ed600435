package mesh

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

func TestMetricsTellOfMembersAndCalls(t *testing.T) {
	bubble(t, 3, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		a, b := w.boxes[0].node, w.boxes[1].node
		if err := b.Handle("fails", func(context.Context, view.NodeID, []byte) ([]byte, error) { return nil, errors.New("no such luck") }); err != nil {
			t.Fatal(err)
		}
		if err := b.Handle("echo", echo); err != nil {
			t.Fatal(err)
		}
		calls := func(outcome string) string {
			var text bytes.Buffer
			if err := a.WriteMetrics(&text); err != nil {
				t.Fatal(err)
			}
			_, rest, _ := strings.Cut(text.String(), `skein_mesh_call_duration_seconds_count{node_id="`+a.ID().String()+`",outcome="`+outcome+`"} `)
			n, _, _ := strings.Cut(rest, "\n")
			return n
		}
		want := func(lines ...string) {
			t.Helper()
			var text bytes.Buffer
			if err := a.WriteMetrics(&text); err != nil {
				t.Fatal(err)
			}
			for _, line := range lines {
				if line = strings.ReplaceAll(line, "N", `node_id="`+a.ID().String()+`"`); !strings.Contains(text.String(), "\n"+line+"\n") {
					t.Errorf("no line %q in %s", line, text.String())
				}
			}
		}
		_, err := a.Call(t.Context(), b.ID(), "fails", nil)
		var remote *RemoteError
		if !errors.As(err, &remote) || calls("refused") != "1" {
			t.Errorf("%v; refused calls: %s", err, calls("refused"))
		}
		ok := calls("ok")
		if _, err := a.Call(t.Context(), b.ID(), "echo", nil); err != nil || calls("ok") == ok {
			t.Errorf("%v; calls: %s before, %s after", err, ok, calls("ok"))
		}
		want(`skein_mesh_members{N,state="alive"} 3`, `skein_mesh_members{N,state="failed"} 0`, `skein_mesh_storing_members{N} 3`,
			`skein_mesh_up{mesh="`+a.Mesh().String()+`",name="`+a.Name()+`",N} 1`)
		gone := w.boxes[2].node.ID()
		w.boxes[2].kill()
		time.Sleep(time.Minute)
		want(`skein_mesh_members{N,state="alive"} 2`, `skein_mesh_members{N,state="failed"} 1`, `skein_mesh_storing_members{N} 3`)
		failed := calls("failed")
		if _, err := a.Call(t.Context(), gone, "echo", nil); err == nil || calls("failed") == failed {
			t.Errorf("%v; failed calls: %s before, %s after", err, failed, calls("failed"))
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		want(`skein_mesh_up{mesh="` + a.Mesh().String() + `",name="` + a.Name() + `",N} 0`)
	})
}
