package replica

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// wantMetrics looks for lines among what a store writes, without the label of its node.
func wantMetrics(t *testing.T, s *Store, lines ...string) {
	t.Helper()
	var text bytes.Buffer
	if err := s.WriteMetrics(&text); err != nil {
		t.Fatal(err)
	}
	all := strings.ReplaceAll(text.String(), `{node_id="`+s.id.String()+`"}`, "")
	all = "\n" + strings.ReplaceAll(all, `{node_id="`+s.id.String()+`",`, "{")
	for _, line := range lines {
		if !strings.Contains(all, "\nskein_replica_"+line+"\n") {
			t.Errorf("no line %q in %s", line, all)
		}
	}
}

// wantNoMetric looks for names that must not be there.
func wantNoMetric(t *testing.T, s *Store, names ...string) {
	t.Helper()
	var text bytes.Buffer
	if err := s.WriteMetrics(&text); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.Contains(text.String(), "\nskein_replica_"+name+"{") {
			t.Errorf("%s is told in %s", name, text.String())
		}
	}
}

func TestMetricsTellHowOperationsEnd(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		b, s := buckets[0], nodes[0].store
		mustPut(t, b, "k", "v")
		if _, err := b.Delete(t.Context(), "gone", nil); err != nil {
			t.Fatal(err)
		}
		wantValue(t, b, "k", "v")
		if _, err := b.Get(t.Context(), "none", nil); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		if _, err := b.Put(t.Context(), strings.Repeat("k", 1<<11), nil, nil); err == nil {
			t.Fatal("a key that is too long is taken")
		}
		wantMetrics(t, s,
			`put_duration_seconds_count{outcome="ok"} 2`, `put_duration_seconds_count{outcome="failed"} 1`,
			`put_duration_seconds_count{outcome="degraded"} 0`, `put_duration_seconds_count{outcome="queued"} 0`,
			`get_duration_seconds_count{outcome="ok"} 1`, `get_duration_seconds_count{outcome="missing"} 1`,
			"copies_missing 0", "hints 0", "disk_failed 0", "disk_full 0", "problems 0")
		wantMetrics(t, s, fmt.Sprint("sync_duration_seconds_count ", s.disk.Stats().Groups), "up 1")
		net.split(true, nodes[0].id)
		time.Sleep(time.Minute)
		if _, err := b.Put(t.Context(), "k", []byte("w"), nil); !errors.Is(err, ErrDegraded) {
			t.Fatal(err)
		}
		if _, err := b.Get(t.Context(), "none", nil); !errors.Is(err, ErrDegraded) {
			t.Fatal(err)
		}
		wantMetrics(t, s,
			`put_duration_seconds_count{outcome="degraded"} 1`, `get_duration_seconds_count{outcome="degraded"} 1`,
			`get_duration_seconds_count{outcome="missing"} 1`, "hints 2")
	})
}

func TestMetricsOfAnOutbox(t *testing.T) {
	withCamera(t, BucketConfig{}, func(c *camera) {
		c.net.split(true, c.node.id)
		time.Sleep(time.Minute)
		if r, err := c.b.Put(c.t.Context(), "k", []byte("v"), nil); !r.Queued {
			c.t.Fatal(r, err)
		}
		wantMetrics(c.t, c.node.store, `put_duration_seconds_count{outcome="queued"} 1`, "outbox_operations 1", "outbox_dropped_total 0", "disk_failed 0", "up 1")
	})
}

func TestMetricsOfAClosedStore(t *testing.T) {
	bubble(t, 1, BucketConfig{}, func(t *testing.T, _ *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		s := nodes[0].store
		full := errors.New("full")
		if err := s.WriteMetrics(failingWriter{full}); !errors.Is(err, full) {
			t.Errorf("error %v", err)
		}
		mustPut(t, buckets[0], "k", "v")
		if err := s.Err(); err != nil {
			t.Errorf("an open store: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Err(); !errors.Is(err, ErrClosed) {
			t.Errorf("error %v", err)
		}
		wantMetrics(t, s, "up 0", `put_duration_seconds_count{outcome="ok"} 1`) // the last of them are not lost
		wantNoMetric(t, s, "copies_missing", "hints")
	})
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
