package partition

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// hooked is what the hooks of one box have seen.
type hooked struct {
	cloud atomic.Bool // its probe succeeds
	mu    sync.Mutex
	modes []string // changes, "normal>local"
	met   [][]view.NodeID
}

func (h *hooked) changes() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.modes)
}

func (h *hooked) merges() [][]view.NodeID {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.met)
}

var errDown = errors.New("down")

// withHooks sets up all hooks and levels on each of n boxes.
func withHooks(n int) ([]*hooked, func(i int, c *Config)) {
	all := make([]*hooked, n)
	for i := range all {
		all[i] = &hooked{}
		all[i].cloud.Store(true)
	}
	return all, func(i int, c *Config) {
		h := all[i]
		c.ProbeEvery = 10 * time.Second
		c.Cloud = []Probe{
			ProbeFunc(func(context.Context) error { return errDown }), // one is enough
			ProbeFunc(func(context.Context) error {
				if !h.cloud.Load() {
					return errDown
				}
				return nil
			}),
		}
		c.OnMode = func(_ context.Context, from, to Mode) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.modes = append(h.modes, from.String()+">"+to.String())
		}
		c.Merged = func(_ context.Context, met []view.NodeID) string {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.met = append(h.met, slices.Clone(met))
			return fmt.Sprintf("met %d", len(met))
		}
		c.Levels = map[Mode]Level{
			Normal:   {Buckets: []string{"never"}},
			Local:    {Buckets: []string{"reports"}, Services: []string{"upload"}},
			Minority: {Buckets: []string{"orders"}},
			Alone:    {Services: []string{"line"}},
		}
		c.Authorize = func(_ context.Context, who, what string) error {
			return fmt.Errorf("cloud, of %s %s", who, what)
		}
		c.AuthorizeLocal = func(context.Context, string, string) error { return nil }
	}
}

func (w *world) inMode(m Mode, among ...*box) bool {
	return !slices.ContainsFunc(among, func(b *box) bool { return b.part.Status().Mode != m })
}

// allowed lists what a box allows of all that some level knows.
func (b *box) allowed() string {
	var out []string
	for _, name := range []string{"never", "reports", "orders", "other"} {
		if b.part.AllowsBucket(name) {
			out = append(out, name)
		}
	}
	for _, name := range []string{"upload", "line"} {
		if b.part.AllowsService(name) {
			out = append(out, name)
		}
	}
	return strings.Join(out, " ")
}

// When the cloud is out of reach of a component all of it is Local, for as long as
// that lasts, and what may be done, and who is asked, goes by that.
func TestCloudIsLost(t *testing.T) {
	t.Parallel()
	hooks, config := withHooks(5)
	inWorld(t, 5, lan, config, func(w *world) {
		w.until(2*time.Minute, "the cloud is reached", func() bool {
			return !slices.ContainsFunc(w.boxes, func(b *box) bool { return b.part.Status().Cloud != CloudReachable })
		})
		one := w.boxes[0]
		if got := one.allowed(); got != "reports orders other upload line" {
			t.Errorf("in mode normal are allowed: %s", got)
		}
		if err := one.part.Authorize(w.t.Context(), "ann", "open"); err == nil || err.Error() != "cloud, of ann open" {
			t.Errorf("in mode normal: %v", err)
		}
		for begin := time.Now(); time.Since(begin) < 30*time.Minute; time.Sleep(time.Second) {
			if slices.ContainsFunc(w.boxes, func(b *box) bool { return b.part.Status().Cloud != CloudReachable }) {
				w.dump()
				t.Fatalf("%v later it is not known any more that the cloud is reached", time.Since(begin))
			}
		}
		for _, h := range hooks {
			h.cloud.Store(false)
		}
		took := w.until(time.Minute, "all are local", func() bool { return w.inMode(Local, w.boxes...) })
		t.Logf("local after %v", took)
		if got := one.allowed(); got != "orders other line" {
			t.Errorf("in mode local are allowed: %s", got)
		}
		if err := one.part.Authorize(w.t.Context(), "ann", "open"); err != nil {
			t.Errorf("in mode local: %v", err)
		}
		for begin := time.Now(); time.Since(begin) < 30*time.Minute; time.Sleep(time.Second) {
			if !w.inMode(Local, w.boxes...) {
				w.dump()
				t.Fatalf("%v later some are not local", time.Since(begin))
			}
		}
		for _, h := range hooks {
			h.cloud.Store(true)
		}
		took = w.until(3*time.Minute, "all are back", func() bool { return w.inMode(Normal, w.boxes...) })
		t.Logf("normal again after %v", took)
		time.Sleep(time.Minute)
		for i, h := range hooks {
			if got := h.changes(); !slices.Equal(got, []string{"normal>local", "local>normal"}) {
				t.Errorf("node %d was told of %v", i, got)
			}
		}
	})
}

// Of a mesh that is cut the side without the cloud is Local or in the Minority; a
// lone node is Alone. After the heal each is told whom it has met.
func TestModesOfACut(t *testing.T) {
	t.Parallel()
	hooks, config := withHooks(7)
	inWorld(t, 7, lan, config, func(w *world) {
		w.until(2*time.Minute, "the cloud is reached", func() bool {
			return !slices.ContainsFunc(w.boxes, func(b *box) bool { return b.part.Status().Cloud != CloudReachable })
		})
		big, small, lone := w.boxes[:4], w.boxes[4:6], w.boxes[6:]
		w.net.Partition(w.addrs(big...), w.addrs(small...), w.addrs(lone...))
		for _, h := range hooks[:4] {
			h.cloud.Store(false)
		}
		w.until(time.Minute, "each side is in its mode", func() bool {
			return w.inMode(Local, big...) && w.inMode(Minority, small...) && w.inMode(Alone, lone...)
		})
		if got := lone[0].allowed(); got != "other" {
			t.Errorf("in mode alone are allowed: %s", got)
		}
		if err := lone[0].part.Authorize(w.t.Context(), "ann", "open"); err != nil {
			t.Errorf("alone: %v", err)
		}
		for _, h := range hooks {
			h.cloud.Store(true)
		}
		w.net.HealAll()
		w.until(2*time.Minute, "all is well again", func() bool { return w.whole() && w.inMode(Normal, w.boxes...) })
		time.Sleep(time.Minute)
		met := func(b *box) (ids []view.NodeID) {
			for _, m := range hooks[slices.Index(w.boxes, b)].merges() {
				ids = append(ids, m...)
			}
			slices.Sort(ids)
			return slices.Compact(ids)
		}
		for _, b := range w.boxes {
			side, first := big, "normal>local"
			switch {
			case slices.Contains(small, b):
				side, first = small, "normal>minority"
			case slices.Contains(lone, b):
				side, first = lone, "normal>alone"
			}
			others := slices.DeleteFunc(slices.Clone(w.boxes), func(x *box) bool { return slices.Contains(side, x) })
			if got, want := met(b), w.ids(others...); !slices.Equal(got, want) {
				t.Errorf("%s was told that it met %v, not %v", b.mesh.Name, got, want)
			}
			merges := b.part.Status().Merges
			if n := len(merges); n == 0 || merges[n-1].Text != fmt.Sprintf("met %d", len(merges[n-1].Met)) {
				t.Errorf("%s reports of merges: %+v", b.mesh.Name, merges)
			}
			if got := hooks[slices.Index(w.boxes, b)].changes(); got[0] != first {
				t.Errorf("%s was told of %v, not of %s first", b.mesh.Name, got, first)
			}
		}
	})
}

// What a lost member went through is known when it is back.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	inWorld(t, 5, lan, nil, func(w *world) {
		cut, killed := w.boxes[4], w.boxes[3]
		rest := w.boxes[:3]
		w.net.Silence(cut.addr)
		killed.kill()
		w.until(time.Minute, "both are lost", func() bool {
			return !slices.ContainsFunc(rest, func(b *box) bool { return len(b.part.Status().Lost) != 2 })
		})
		time.Sleep(time.Minute)
		w.net.Restore(cut.addr)
		killed.start()
		w.until(2*time.Minute, "all know what it was", func() bool {
			return !slices.ContainsFunc(rest, func(b *box) bool { return len(b.part.Status().Verdicts) < 2 })
		})
		for _, b := range rest {
			for _, v := range b.part.Status().Verdicts {
				want := map[view.NodeID]Cause{cut.node.ID(): WasCut, killed.node.ID(): WasRestarted}[v.Node]
				if v.Cause != want || v.Outage < time.Minute || v.Outage > 3*time.Minute {
					t.Errorf("%s says of %v: %v, out for %v", b.mesh.Name, v.Node, v.Cause, v.Outage)
				}
			}
		}
		w.until(2*time.Minute, "the one that was cut off knows of it", func() bool {
			return len(cut.part.Status().Verdicts) >= 3
		})
		for _, v := range cut.part.Status().Verdicts {
			if want := map[bool]Cause{true: WasRestarted, false: WasCut}[v.Node == killed.node.ID()]; v.Cause != want {
				t.Errorf("the one that was cut off says of %v: %v", v.Node, v.Cause)
			}
		}
	})
}
