package partition

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestMetricsTellOfALeaderAndACut(t *testing.T) {
	inWorld(t, 3, lan, nil, func(w *world) {
		leads := 0
		for _, b := range w.boxes {
			text := metricsText(t, b.part)
			if strings.Contains(text, `skein_partition_leads{election="mesh",N,scope="component"} 1`) {
				leads++
			}
			wantMetrics(t, text,
				`component_members{N} 3`, `lost_members{N} 0`, `situation{N,situation="whole"} 1`, `mode{mode="normal",N} 1`, `mode{mode="alone",N} 0`,
				`has_leader{election="mesh",N,scope="component"} 1`)
		}
		if leads != 1 {
			t.Errorf("%d lead by their metrics", leads)
		}
		w.net.Partition(w.addrs(w.boxes[0]), w.addrs(w.boxes[1:]...))
		time.Sleep(time.Minute)
		wantMetrics(t, metricsText(t, w.boxes[0].part), `component_members{N} 1`, `members{N} 3`, `lost_members{N} 2`,
			`component_storing_members{N} 1`, `mode{mode="alone",N} 1`, `mode{mode="normal",N} 0`)
		full := errors.New("full")
		if err := w.boxes[0].part.WriteMetrics(failingWriter{full}); !errors.Is(err, full) {
			t.Errorf("error %v", err)
		}
	})
}

// metricsText is what a node writes, with N for its label.
func metricsText(t *testing.T, p *Partition) string {
	t.Helper()
	var text bytes.Buffer
	if err := p.WriteMetrics(&text); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(text.String(), `node_id="`+p.id.String()+`"`, "N")
}

func wantMetrics(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, "\nskein_partition_"+line+"\n") {
			t.Errorf("no line %q in %s", line, text)
		}
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
