package partition

import (
	"context"
	"errors"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// A node tells what its machine has, as far as it is known, and its score is in the status.
func TestResourcesOfANode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeMesh(2)
		f.call = func(ctx context.Context, to view.NodeID, method string) ([]byte, error) {
			if method != methodResources || to != 2 {
				return nil, errors.New("nobody answers")
			}
			return f.handlers[methodResources](ctx, 1, nil)
		}
		p := f.open(t, func(c *Config) {
			c.root = fstest.MapFS{
				"proc/uptime":                          {Data: []byte("3600.00 1.00\n")},
				"sys/class/power_supply/BAT0/type":     {Data: []byte("Battery\n")},
				"sys/class/power_supply/BAT0/capacity": {Data: []byte("64\n")},
				"sys/class/power_supply/BAT0/status":   {Data: []byte("Discharging\n")},
			}
		})
		defer p.Close()
		time.Sleep(time.Minute)
		r, err := p.Resources(t.Context(), 2)
		if err != nil || r.Node != 2 || r.Storage != 1<<30 || r.FreeStorage != 1<<29 || r.Uptime != time.Hour || r.Battery != 64 || r.Mains || r.Score == 0 {
			t.Errorf("%+v, %v", r, err)
		}
		if s := p.Status(); s.Scores[s.Node] != r.Score || len(s.Scores) != 1 {
			t.Errorf("scores %v, where the node says %d", s.Scores, r.Score)
		}
		if _, err := p.Resources(t.Context(), 3); err == nil {
			t.Error("nobody answers, and there is no error")
		}
	})
}

// Before anything was read nothing is known.
func TestResourcesNotReadYet(t *testing.T) {
	f := &fitness{}
	b, err := f.serveResources(t.Context(), 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := wire.DecodeResources(b); err != nil || r != (wire.Resources{Mains: true, Battery: wire.NoBattery}) {
		t.Errorf("%+v, %v", r, err)
	}
}
