package metrics

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// textOf writes a set, and reads it with the parser of those who scrape.
func textOf(t *testing.T, s *Set, read func(f *Figures)) string {
	t.Helper()
	var text bytes.Buffer
	if err := s.WriteText(&text, read); err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	if _, err := parser.TextToMetricFamilies(bytes.NewReader(text.Bytes())); err != nil {
		t.Fatalf("%v in\n%s", err, text.String())
	}
	return text.String()
}

func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+text, "\n"+line+"\n") {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
}

func TestFiguresAreWritten(t *testing.T) {
	s := NewSet("n1")
	text := textOf(t, s, func(f *Figures) {
		f.Gauge("skein_members", "How many there are.", 3, "state", "alive")
		f.Gauge("skein_members", "How many there are.", 1, "state", "fai\"led\nü")
		f.Gauge("skein_members", "How many there are.", 2, "state", "\xff")
		f.Gauge("skein_members", "How many there are.", 4, "state", `\xff`)
		f.Counter("skein_moved_total", "How many moved.", 1<<40)
		f.Flag("skein_full", "Whether it is full.", true)
	})
	wantLines(t, text,
		"# HELP skein_members How many there are.", "# TYPE skein_members gauge",
		`skein_members{node_id="n1",state="alive"} 3`,
		`skein_members{node_id="n1",state="fai\"led\nü"} 1`,
		`skein_members{node_id="n1",state="\\xff"} 2`,
		`skein_members{node_id="n1",state="\\\\xff"} 4`,
		"# TYPE skein_moved_total counter", `skein_moved_total{node_id="n1"} 1.099511627776e+12`,
		`skein_full{node_id="n1"} 1`)
}

func TestDurationsFallIntoTheirBuckets(t *testing.T) {
	s := NewSet("n1")
	d := s.AddDurations("skein_put_duration_seconds", "Puts.", "ok", "failed")
	for _, took := range []time.Duration{0, 100 * time.Microsecond, 101 * time.Microsecond, time.Millisecond} {
		d.Observe(took, 0)
	}
	d.Observe(time.Hour, 1)
	one := s.AddDurations("skein_sync_duration_seconds", "Syncs.")
	one.Observe(time.Second, 0)
	text := textOf(t, s, func(*Figures) {})
	wantLines(t, text,
		`skein_put_duration_seconds_bucket{node_id="n1",outcome="ok",le="0.0001"} 2`,
		`skein_put_duration_seconds_bucket{node_id="n1",outcome="ok",le="0.00030000000000000003"} 3`,
		`skein_put_duration_seconds_bucket{node_id="n1",outcome="failed",le="17.7147"} 0`,
		`skein_put_duration_seconds_bucket{node_id="n1",outcome="failed",le="+Inf"} 1`,
		`skein_put_duration_seconds_count{node_id="n1",outcome="failed"} 1`,
		`skein_sync_duration_seconds_count{node_id="n1"} 1`,
		`skein_sync_duration_seconds_sum{node_id="n1"} 1`)
}

// Two handles of one process know nothing of each other.
func TestSetsAreApart(t *testing.T) {
	a, b := NewSet("a"), NewSet("b")
	a.AddDurations("skein_put_duration_seconds", "Puts.").Observe(time.Second, 0)
	b.AddDurations("skein_put_duration_seconds", "Puts.")
	wantLines(t, textOf(t, b, func(*Figures) {}), `skein_put_duration_seconds_count{node_id="b"} 0`)
}

func TestWriteThatFailsIsTold(t *testing.T) {
	full := errors.New("full")
	err := NewSet("a").WriteText(failing{full}, func(f *Figures) { f.Gauge("skein_x", "X.", 1) })
	if !errors.Is(err, full) {
		t.Errorf("error %v", err)
	}
	err = NewSet("a").WriteText(&bytes.Buffer{}, func(f *Figures) {
		f.Gauge("skein_x", "X.", 1)
		f.Gauge("skein_x", "X.", 2)
	})
	if err == nil {
		t.Error("a figure that is told twice is no error")
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func BenchmarkObserve(b *testing.B) {
	d := NewSet("n").AddDurations("skein_x_seconds", "X.", "ok", "failed")
	for b.Loop() {
		d.Observe(time.Millisecond, 1)
	}
}
