package backup

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// What Status tells, and how backups ended, is told in numbers.
func TestMetricsTellHowBackupsDo(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.newMesh(1, 16, "m")[0]
		w.put(b, "k", "v")
		time.Sleep(time.Minute)
		tier, bad := newMemory(), false
		w.open(b, 0, map[string]Tier{"t": tier}, func(c *Config) { c.Store = halfReady{c.Store, &bad} })
		read := func() string {
			var text bytes.Buffer
			if err := b.backup.WriteMetrics(&text); err != nil {
				t.Fatal(err)
			}
			parser := expfmt.NewTextParser(model.UTF8Validation)
			if _, err := parser.TextToMetricFamilies(bytes.NewReader(text.Bytes())); err != nil {
				t.Error(err)
			}
			return text.String()
		}
		if text := read(); strings.Contains(text, "last_good") {
			t.Errorf("before the first:\n%s", text)
		}
		now := func() { _, _ = b.backup.Now(context.Background(), "all", "t") }
		now()
		bad = true
		now()
		tier.mu.Lock()
		tier.fail = func(string, string) error { return errors.New("away") }
		tier.mu.Unlock()
		now()
		text := read()
		for _, want := range []string{
			`skein_backup_up{node_id="` + b.node.ID().String() + `"} 1`, `,policy="all",tier="t"} 1`, "skein_backup_last_good_timestamp_seconds{",
			`outcome="ok"} 1`, `outcome="partial"} 1`, `outcome="failed"} 1`, "skein_backup_failed{",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s is not in\n%s", want, text)
			}
		}
		if err := b.backup.Close(); err != nil {
			t.Fatal(err)
		}
		if text := read(); !strings.Contains(text, `skein_backup_up{node_id="`+b.node.ID().String()+`"} 0`) {
			t.Errorf("closed:\n%s", text)
		}
		if err := b.backup.WriteMetrics(brokenWriter{}); err == nil {
			t.Error("nothing is written, and nobody says so")
		}
	})
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken") }

// A backup puts no more than its rate, after the first segment, and can be ended while it waits.
func TestRateHoldsBackupsBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		d := newDesk(t, newMemory(), 7)
		d.run.policy, d.run.rate, d.run.since = &Policy{Name: "p"}, 1<<20, time.Now()
		d.run.store = &shelf{def: []byte("def"), slices: 9, each: 100, bytes: 10 << 10}
		begun := time.Now()
		done := d.backUp(0)
		took := time.Since(begun)
		if want := time.Duration(done.Bytes-segmentBytes-segmentBytes/8) * time.Second >> 20; took < want || took > want+4*time.Second {
			t.Errorf("%d bytes took %v", done.Bytes, took)
		}
		e := newDesk(t, newMemory(), 7)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		r := e.run
		r.policy, r.store, r.rate, r.since = d.run.policy, d.run.store, 1000, time.Now()
		r.sealer, _ = newSealer([]string{e.id.Recipient().String()})
		if _, err := r.makeBackup(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ended while it waits: %v", err)
		}
	})
	err := (&Config{Policies: []Policy{{Name: "p", Levels: []Level{{Tier: "t", Rate: -1}}}}}).Validate()
	if !strings.Contains(err.Error(), "-1 bytes per second") {
		t.Error(err)
	}
}
