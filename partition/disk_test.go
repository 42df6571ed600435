package partition

import (
	"context"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// disks are those of all boxes: each sync takes a while, and is counted, or writes fail.
type disks struct {
	sync  time.Duration
	syncs atomic.Int64
	fails atomic.Pointer[func(errorfs.Op) error]
}

func (d *disks) of(below vfs.FS) vfs.FS {
	return errorfs.Wrap(below, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if fails := d.fails.Load(); fails != nil {
			if err := (*fails)(op); err != nil {
				return err
			}
		}
		if op.Kind == errorfs.OpFileSync {
			d.syncs.Add(1)
			time.Sleep(d.sync)
		}
		return nil
	}))
}

// On slow flash a leader that was killed is replaced within the lease and three saves,
// and one that lives is not lost when another node dies.
func TestSlowDisks(t *testing.T) {
	for _, c := range []struct {
		name string
		pr   profile
		sync time.Duration
	}{
		{"LAN 50ms", lan, 50 * time.Millisecond}, {"LAN 250ms", lan, 250 * time.Millisecond}, {"LAN 1s", lan, time.Second},
		{"WAN 1s", wan, time.Second}, {"WAN 3s", wan, 3 * time.Second}, {"Edge 3s", edge, 3 * time.Second}, {"Edge 8s", edge, 8 * time.Second},
		{"LAN, slower than the lease", lan, 3 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := &disks{sync: c.sync}
			inWorld(t, 5, c.pr, func(_ int, cfg *Config) { cfg.fs = d.of(cfg.fs) }, func(w *world) { slowDisks(w, c.pr, d) })
		})
	}
}

func slowDisks(w *world, pr profile, d *disks) {
	old := w.leader(2*pr.pace.Lease, w.boxes...)
	rest := w.without(old)
	rest[0].kill()
	w.boxes = w.without(rest[0])
	w.t.Logf("%d syncs before", d.syncs.Load())
	w.steady(time.Minute+pr.pace.Settle+4*pr.pace.Lease+4*d.sync, "another node dies")
	begun := d.syncs.Load()
	w.steady(10*time.Minute, "nothing happens")
	if n := d.syncs.Load() - begun; n > 0 {
		w.t.Errorf("%d syncs while a leader only renews", n)
	}
	old.kill()
	rest = w.without(old)
	took := w.until(pr.pace.Lease+3*d.sync, "another leads", func() bool { return slices.ContainsFunc(rest, (*box).leads) })
	w.leader(2*pr.pace.Lease, rest...)
	w.t.Logf("another leads after %v, and %d syncs", took, d.syncs.Load()-begun)
	w.boxes = rest
	w.steady(pr.pace.Settle+4*pr.pace.Lease+4*d.sync, "it has been chosen")
}

// lines is a log that keeps what is said at Warn and above.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *lines) WithGroup(string) slog.Handler                    { return l }
func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, r.Message)
	return nil
}

// count tells how often something was said.
func (l *lines) count(what string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if strings.Contains(line, what) {
			n++
		}
	}
	return n
}

// While no disk takes anything who leads leads on, and nobody else is chosen; all say
// why, once, and go on by themselves when their disks do.
func TestDisksTakeNothing(t *testing.T) {
	refuse := func(err error, kinds ...errorfs.OpKind) func(errorfs.Op) error {
		return func(op errorfs.Op) error {
			if slices.Contains(kinds, op.Kind) || len(kinds) == 0 && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				return &fs.PathError{Op: "write", Path: op.Path, Err: err}
			}
			return nil
		}
	}
	for name, fails := range map[string]func(errorfs.Op) error{
		"full":      refuse(syscall.ENOSPC, errorfs.OpFileWrite, errorfs.OpFileWriteAt),
		"read-only": refuse(syscall.EROFS),
		"no sync":   refuse(syscall.EIO, errorfs.OpFileSync),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, log := &disks{}, &lines{}
			inWorld(t, 5, lan, func(_ int, c *Config) { c.fs, c.Logger = d.of(c.fs), slog.New(log) }, func(w *world) {
				leader := w.agreed(w.boxes...)
				d.fails.Store(&fails)
				lost := w.without(leader)[0]
				lost.kill()
				w.boxes = w.without(lost)
				w.steady(2*time.Minute, "no disk takes anything")
				if p := leader.part.Status().Leader.Problem; !strings.Contains(p, "cannot save") {
					t.Errorf("the leader's problem: %q", p)
				}
				leader.kill()
				rest := w.without(leader)
				for begin := time.Now(); time.Since(begin) < 3*time.Minute; time.Sleep(100 * time.Millisecond) {
					if slices.ContainsFunc(rest, (*box).leads) {
						t.Fatal("one leads by promises that nobody has kept")
					}
				}
				troubled := 0
				for _, b := range rest {
					if strings.Contains(b.part.Status().Leader.Problem, "cannot save") {
						troubled++
					} else if b.part.Status().Leader.Problem == "" {
						t.Error("nobody leads, and a node does not say why")
					}
				}
				if troubled < 2 {
					t.Errorf("of three nodes only %d say that their disks take nothing", troubled)
				}
				if n := log.count("cannot be saved"); n == 0 || n > len(w.boxes)+1 {
					t.Errorf("it was logged %d times", n)
				}
				d.fails.Store(nil)
				took := w.until(2*time.Minute, "one leads", func() bool { return w.agreed(rest...) != nil })
				t.Logf("one leads after %v", took)
				w.until(time.Minute, "nothing is wrong", func() bool {
					return !slices.ContainsFunc(rest, func(b *box) bool { return b.part.Status().Leader.Problem != "" })
				})
			})
		})
	}
}

// An election of majority scope without voters has no leader, ever: that is said.
func TestMajorityWithoutVoters(t *testing.T) {
	t.Parallel()
	log := &lines{}
	inWorld(t, 3, lan, func(_ int, c *Config) { c.Logger = slog.New(log) }, func(w *world) {
		name := Election{Name: "plc", Scope: ScopeMajority}
		s := w.boxes[0].stand(name)
		time.Sleep(10 * time.Minute)
		if n := log.count("nobody leads"); n != 1 {
			t.Errorf("it was logged %d times", n)
		}
		var problem string
		for _, l := range w.boxes[0].part.Status().Elections {
			if l.Election == name {
				problem = l.Problem
			}
		}
		if problem != "no voters are known" {
			t.Errorf("the problem is %q", problem)
		}
		s.cancel()
		<-s.done
	})
}
