package mesh

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/memnet"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/mesh/view"
)

// copyDisk returns a copy of the disk of a box as it is now, unlocked.
func (b *box) copyDisk() *vfs.MemFS {
	b.w.t.Helper()
	to := vfs.NewMem()
	if ok, err := vfs.Clone(b.fs, to, "/data", "/data"); err != nil || !ok {
		b.w.t.Fatalf("copy disk: %v, %v", ok, err)
	}
	return to
}

// cloneOf adds a box with a copy of another's disk.
func (w *world) cloneOf(b *box, disk *vfs.MemFS) *box {
	c := w.add(netip.Addr{})
	c.fs = disk
	c.cfg.Name, c.cfg.Zone = b.cfg.Name, b.cfg.Zone
	return c
}

func (w *world) stopsWith(n *Node, want error) {
	w.t.Helper()
	w.eventually(30*time.Second, "node stops with "+want.Error(), n.hasStopped)
	if err := n.Err(); !errors.Is(err, want) {
		w.t.Fatalf("stopped with %v, want %v", err, want)
	}
	if err := n.Ready(w.t.Context()); !errors.Is(err, want) {
		w.t.Errorf("Ready after that: %v, want %v", err, want)
	}
	if err := n.Close(); err != nil {
		w.t.Errorf("Close after that: %v", err)
	}
}

// undisturbed checks that a node was alive to all others since a moment.
func (w *world) undisturbed(id view.NodeID, since time.Time) {
	w.t.Helper()
	for _, n := range w.running() {
		if m, _ := n.View().Member(id); n.ID() != id && (m.State != view.Alive || m.Since.After(since)) {
			w.t.Errorf("node %v sees %v as %v since %v", n.ID(), id, m.State, m.Since)
		}
	}
}

func TestCloneOfRunningNodeIsRefused(t *testing.T) {
	for _, seed := range []int{0, 1} { // another node, and the original itself
		bubble(t, 3, func(t *testing.T, w *world) {
			w.form(10 * time.Second)
			time.Sleep(10 * time.Second)
			b := w.boxes[1]
			begin := time.Now()
			c := w.cloneOf(b, b.copyDisk())
			c.cfg.Seeds = []string{w.boxes[seed].cfg.Listen}
			n := c.start()
			if n.ID() != b.node.ID() {
				t.Fatalf("the copy started as %v", n.ID())
			}
			w.stopsWith(n, ErrIdentityConflict)
			time.Sleep(time.Minute)
			w.undisturbed(b.node.ID(), begin)
			if !w.whole() {
				w.dump()
				t.Fatal("the mesh is not what it was")
			}
			// The directory is a copy: from now on it is a node of its own.
			c.cfg.Name = "copy"
			if n = c.start(); n.ID() == b.node.ID() {
				t.Fatal("the copy started once more under the same id")
			}
			w.eventually(10*time.Second, "copy joins as a new node", w.whole)
		})
	}
}

// A node that stored nothing begins to store: it takes the place of what it was.
func TestNodeBeginsToStoreInAMesh(t *testing.T) {
	bubble(t, 3, func(t *testing.T, w *world) {
		b := w.boxes[1]
		b.cfg.Storing = false
		w.form(10 * time.Second)
		old := b.node.ID()
		b.kill()
		b.cfg.Storing = true
		n := b.start()
		w.eventually(time.Minute, "successor takes the place", func() bool {
			m, _ := w.boxes[0].node.View().Member(old)
			return m.Status == view.Evicted && w.everySees(n.ID(), view.Alive)
		})
		if m, _ := w.boxes[0].node.View().Member(n.ID()); m.Name != b.cfg.Name || !m.Storing {
			t.Errorf("successor is %+v", m)
		}
		b.kill()
		b.cfg.Storing = false
		if _, err := b.run(); !errors.Is(err, ErrOtherDir) {
			t.Errorf("a store that begins to store nothing: %v", err)
		}
	})
}

func TestRollbackIsDetected(t *testing.T) {
	bubble(t, 3, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		b := w.boxes[1]
		old := b.node.ID()
		image := b.copyDisk() // of boot 1
		for range 2 {
			b.kill()
			b.start()
			w.eventually(10*time.Second, "restarted node is back", func() bool { return w.whole() && w.agreed() })
		}
		b.kill()
		b.fs = image // the next start is boot 2, and 3 was seen
		w.stopsWith(b.start(), ErrRolledBack)
		for _, other := range []*box{w.boxes[0], w.boxes[2]} {
			if other.node.hasStopped() {
				t.Fatalf("box %d stopped, too: %v", other.n, other.node.Err())
			}
		}
		n := b.start()
		if n.ID() == old {
			t.Fatal("started once more under the rolled back id")
		}
		w.eventually(20*time.Second, "successor takes the place", func() bool {
			m, _ := w.boxes[0].node.View().Member(old)
			return m.Status == view.Evicted && m.State == view.Departed && w.everySees(n.ID(), view.Alive)
		})
		if m, _ := w.boxes[0].node.View().Member(n.ID()); m.Name != b.cfg.Name {
			t.Errorf("successor is called %q", m.Name)
		}
		names, err := b.fs.List("/data/retired-" + old.String())
		if err != nil || len(names) == 0 {
			t.Errorf("old data is not set aside: %v, %v", names, err)
		}
	})
}

// The same boot of a copied disk, while the original is down.
func TestCopyStartedBesideItsDeadOriginal(t *testing.T) {
	bubble(t, 3, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		b := w.boxes[1]
		b.kill()
		image := b.copyDisk() // of boot 1
		b.start()
		w.eventually(10*time.Second, "restarted node is back", func() bool { return w.whole() && w.agreed() })
		b.kill() // boot 2 was seen
		c := w.cloneOf(b, image)
		c.inst = 1<<64 - 1 // whichever is the higher
		w.stopsWith(c.start(), ErrRolledBack)
		for _, n := range w.running() {
			if e, _ := n.book.snapshot().Get(c.node.ID()); e.Instance == c.inst {
				t.Errorf("node %v took the copy in", n.ID())
			}
		}
	})
}

// What others hold of this node reaches it by the roster, without any hello.
func TestNewsOfItselfStopANode(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*roster.Entry)
		want   error
	}{
		"a later boot":             {func(e *roster.Entry) { e.Boot++ }, ErrRolledBack},
		"another run of this boot": {func(e *roster.Entry) { e.Instance = 1<<64 - 1 }, ErrRolledBack},
		"evicted":                  {func(e *roster.Entry) { e.Status = view.Evicted }, ErrEvicted},
	} {
		bubble(t, 1, func(t *testing.T, w *world) {
			b := w.boxes[0]
			n := b.start()
			other := someEntry(7, view.Active) // the only other member, so nobody says otherwise
			if err := n.rosters.learnRoster(t.Context(), 7, said(t, other)); err != nil {
				t.Fatal(err)
			}
			e, _ := n.book.snapshot().Get(n.ID())
			c.change(&e)
			if err := n.rosters.learnRoster(t.Context(), 7, said(t, e)); err != nil {
				t.Fatal(err)
			}
			w.stopsWith(n, c.want)
			if again := b.start(); again.ID() == n.ID() {
				t.Errorf("%s: started once more under the same id", what)
			}
		})
	}
}

// An older claim is no news, and what is false of the attributes is put right.
func TestNodePutsItsEntryRight(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		n := w.boxes[0].start()
		e, _ := n.book.snapshot().Get(n.ID())
		e.Boot, e.Zone, e.HLC = 0, "elsewhere", e.HLC+1000
		if err := n.rosters.learnRoster(t.Context(), 7, said(t, e)); err != nil {
			t.Fatal(err)
		}
		w.eventually(time.Second, "the entry is right again", func() bool {
			now, _ := n.book.snapshot().Get(n.ID())
			return now.Zone == w.boxes[0].cfg.Zone && now.HLC > e.HLC && now.Boot == 1
		})
		if n.hasStopped() {
			t.Error("the node stopped")
		}
	})
}

// Two copies of one image that nobody has met start together: one goes on.
func TestTwoCopiesStartedTogether(t *testing.T) {
	for _, delay := range []time.Duration{time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond} {
		bubble(t, 1, func(t *testing.T, w *world) {
			w.net.SetPaths(memnet.Path{Delay: delay})
			b := w.boxes[0]
			b.start()
			b.kill()
			c := w.cloneOf(b, b.copyDisk())
			b.cfg.Seeds, c.cfg.Seeds = []string{c.cfg.Listen}, []string{b.cfg.Listen}
			b.inst, c.inst = 7, 8
			x, y := b.start(), c.start()
			time.Sleep(5 * time.Minute)
			if !x.hasStopped() || y.hasStopped() {
				t.Errorf("delay %v: the copies ended with %v and %v, want the lower instance to stop", delay, x.Err(), y.Err())
			}
		})
	}
}

// F2.13, as far as the mesh is concerned: one image booted on both sides of
// a cut. When it heals, exactly one of them goes on.
func TestF2_13_OneImageOnBothSides_Mesh(t *testing.T) {
	t.Parallel()
	bubble(t, 5, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		b := w.boxes[4]
		b.kill()
		image := b.copyDisk()
		left := []netip.Addr{w.boxes[0].addr, w.boxes[1].addr, b.addr}
		c := w.cloneOf(b, image)
		c.cfg.Seeds = []string{w.boxes[2].cfg.Listen}
		right := []netip.Addr{w.boxes[2].addr, w.boxes[3].addr, c.addr}
		w.net.Partition(left, right)
		b.start()
		c.start()
		w.eventually(10*time.Second, "both are taken in", func() bool {
			x, _ := w.boxes[0].node.View().Member(b.node.ID())
			y, _ := w.boxes[2].node.View().Member(c.node.ID())
			return x.State == view.Alive && y.State == view.Alive && x.Boot == 2 && y.Boot == 2
		})
		time.Sleep(5 * time.Minute)
		w.net.HealAll()
		w.eventually(2*time.Minute, "one of them stops", func() bool { return b.node.hasStopped() || c.node.hasStopped() })
		time.Sleep(5 * time.Minute)
		if b.node.hasStopped() == c.node.hasStopped() {
			t.Fatalf("of two copies these stopped: %v and %v", b.node.Err(), c.node.Err())
		}
		w.eventually(time.Minute, "mesh is whole with the other", func() bool { return w.whole() && w.agreed() })
	})
}

// F2.4, as far as the mesh is concerned: an empty disk under an old name is
// a new store.
func TestF2_04_NewDiskOldName_Mesh(t *testing.T) {
	bubble(t, 4, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		b := w.boxes[2]
		old := b.node.ID()
		b.kill()
		b.fs = vfs.NewMem()
		n := b.start()
		if n.ID() == old {
			t.Fatal("a new disk has the old id")
		}
		took := w.eventually(20*time.Second, "new disk takes over", func() bool {
			for _, o := range w.running() {
				v := o.View()
				was, _ := v.Member(old)
				is, ok := v.Member(n.ID())
				if was.Status != view.Evicted || !ok || is.State != view.Alive || is.Name != was.Name {
					return false
				}
			}
			return w.agreed()
		})
		t.Logf("took over after %v", took)
		if e, _ := n.book.snapshot().Get(n.ID()); e.Predecessor != old {
			t.Errorf("names %v as its predecessor, want %v", e.Predecessor, old)
		}
	})
}

func TestNewDiskUnderTheNameOfALivingNodeIsRefused(t *testing.T) {
	bubble(t, 4, func(t *testing.T, w *world) {
		w.boxes[3].cfg.Name = w.boxes[2].cfg.Name
		last := w.boxes[3]
		w.boxes = w.boxes[:3]
		w.form(10 * time.Second)
		begin := time.Now()
		w.boxes = append(w.boxes, last)
		w.stopsWith(last.start(), ErrIdentityConflict)
		time.Sleep(10 * time.Second)
		w.undisturbed(w.boxes[2].node.ID(), begin)
		if !w.whole() {
			t.Error("the mesh is not what it was")
		}
		// Nothing is wrong with the disk: under another name it is welcome.
		id := last.node.ID()
		last.cfg.Name = "another"
		if last.start().ID() != id {
			t.Error("a refused name cost the node its identity")
		}
		w.eventually(10*time.Second, "renamed node joins", w.whole)
	})
}

// Two sides of a cut gave one name. One of the nodes must give way, and the
// same one on both sides.
func TestOneNameOnBothSidesOfACut(t *testing.T) {
	t.Parallel()
	bubble(t, 4, func(t *testing.T, w *world) {
		for i, b := range w.boxes {
			b.cfg.Seeds = []string{w.boxes[i/2*2].cfg.Listen, w.boxes[(i/2*2+2)%4].cfg.Listen}
		}
		w.boxes[1].cfg.Name, w.boxes[3].cfg.Name = "twin", "twin"
		w.net.Partition([]netip.Addr{w.boxes[0].addr, w.boxes[1].addr}, []netip.Addr{w.boxes[2].addr, w.boxes[3].addr})
		w.startAll()
		time.Sleep(time.Minute)
		w.net.HealAll()
		low, high := w.boxes[1].node, w.boxes[3].node
		if low.ID() > high.ID() {
			low, high = high, low
		}
		w.eventually(5*time.Minute, "one twin stops", high.hasStopped)
		if !errors.Is(high.Err(), ErrIdentityConflict) {
			t.Errorf("it stopped with %v", high.Err())
		}
		time.Sleep(time.Minute)
		if low.hasStopped() {
			t.Errorf("the other one stopped, too: %v", low.Err())
		}
		w.eventually(time.Minute, "the rest is one mesh", w.whole)
	})
}

func TestLeaveIsFinal(t *testing.T) {
	bubble(t, 4, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		time.Sleep(5 * time.Second)
		b := w.boxes[3]
		n, id := b.node, b.node.ID()
		var order []string
		n.OnLeave(func(ctx context.Context) error { order = append(order, "first"); return nil })
		n.OnLeave(func(ctx context.Context) error {
			order = append(order, "second")
			if m, _ := w.boxes[0].node.View().Member(id); m.Status != view.Leaving || m.State != view.Alive {
				t.Errorf("while it hands over, another sees it as %v, %v", m.Status, m.State)
			}
			return nil
		})
		begin := time.Now()
		if err := n.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Logf("left in %v", time.Since(begin))
		if len(order) != 2 || order[0] != "second" {
			t.Errorf("hooks ran as %v", order)
		}
		if !n.hasStopped() || n.Err() != nil {
			t.Errorf("after Leave: stopped=%v, err=%v", n.hasStopped(), n.Err())
		}
		w.eventually(5*time.Second, "all know that it left", func() bool {
			m, _ := w.boxes[0].node.View().Member(id)
			return m.Status == view.Left && w.everySees(id, view.Departed)
		})
		again := b.start()
		if again.ID() == id {
			t.Fatal("a node that left came back")
		}
		w.eventually(10*time.Second, "it comes as a new node", w.whole)
		time.Sleep(time.Minute)
		if !w.everySees(id, view.Departed) || !w.whole() {
			t.Error("the node that left came back to life")
		}
	})
}

// Who is there cannot be given up; who is down can, and is refused when it comes
// back.
// Who has evicted a member, and asks next who belongs to the mesh, must not be told
// that it does: a view may be up to 10 ms old.
func TestEvictedMemberIsGoneFromTheView(t *testing.T) {
	bubble(t, 5, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		by, lost := w.boxes[0].node, []*box{w.boxes[3], w.boxes[4]}
		ids := []view.NodeID{lost[0].node.ID(), lost[1].node.ID()}
		for _, b := range lost {
			b.kill()
		}
		w.eventually(time.Minute, "they are given up by the detector", func() bool {
			return !slices.ContainsFunc(ids, func(id view.NodeID) bool { m, _ := by.View().Member(id); return m.State != view.Failed })
		})
		for _, id := range ids {
			by.inbox.putEvent(event{viewChanged: true})
			synctest.Wait() // so that the view is new, and the next one waits
			if err := by.Evict(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if m, _ := by.View().Member(id); m.Status != view.Evicted {
				t.Errorf("%v is shown as %v after Evict", id, m.Status)
			}
		}
	})
}

func TestEvictIsFinal(t *testing.T) {
	bubble(t, 4, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		time.Sleep(5 * time.Second)
		by, b := w.boxes[0].node, w.boxes[3]
		id := b.node.ID()
		if err := by.Evict(t.Context(), id); !errors.Is(err, ErrInContact) {
			t.Errorf("a member that is there: %v", err)
		}
		if err := by.Evict(t.Context(), by.ID()); !errors.Is(err, ErrInContact) {
			t.Errorf("itself: %v", err)
		}
		if err := by.Evict(t.Context(), 77); !errors.Is(err, ErrNoMember) {
			t.Errorf("nobody: %v", err)
		}
		b.kill()
		w.eventually(time.Minute, "it is given up by the detector", func() bool {
			m, _ := by.View().Member(id)
			return m.State == view.Failed
		})
		if err := by.Evict(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		w.eventually(5*time.Second, "all know", func() bool {
			m, _ := w.boxes[1].node.View().Member(id)
			return m.Status == view.Evicted
		})
		again := b.start()
		w.eventually(time.Minute, "it is refused, or comes as a new node", func() bool { return again.hasStopped() || again.ID() != id })
	})
}

// Whichever comes first, both return, and the node has ended once.
func TestLeaveBesideClose(t *testing.T) {
	for _, ahead := range []time.Duration{0, time.Millisecond, 100 * time.Millisecond, time.Second} {
		bubble(t, 3, func(t *testing.T, w *world) {
			w.form(10 * time.Second)
			n := w.boxes[2].node
			n.OnLeave(func(ctx context.Context) error {
				select {
				case <-n.Done():
					return ErrClosed
				case <-time.After(50 * time.Millisecond):
					return nil
				}
			})
			left := make(chan error, 1)
			go func() { left <- n.Leave(t.Context()) }()
			time.Sleep(ahead)
			closed := make(chan error, 1)
			go func() { closed <- n.Close() }()
			for range 2 {
				select {
				case err := <-left:
					if err != nil && !errors.Is(err, ErrClosed) {
						t.Errorf("closed %v after it began to leave: Leave returns %v", ahead, err)
					}
				case err := <-closed:
					if err != nil {
						t.Errorf("closed %v after it began to leave: Close returns %v", ahead, err)
					}
				case <-time.After(time.Minute):
					t.Fatalf("closed %v after it began to leave: one of the two hangs", ahead)
				}
			}
			if _, err := n.Call(t.Context(), n.ID(), "x", nil); !errors.Is(err, ErrClosed) {
				t.Errorf("a call after both: %v", err)
			}
		})
	}
}

func TestLeaveStaysWhenHandOverFails(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		n := w.boxes[1].node
		full := errors.New("nowhere to put it")
		n.OnLeave(func(context.Context) error { return full })
		if err := n.Leave(t.Context()); !errors.Is(err, full) {
			t.Fatalf("Leave: %v, want the error of the hook", err)
		}
		if n.hasStopped() {
			t.Fatal("the node went although it could not hand over")
		}
		full = nil
		if err := n.Leave(t.Context()); err != nil {
			t.Fatalf("second Leave: %v", err)
		}
	})
}

// A directory whose node was replaced or evicted while it was away: one start is
// enough, and it comes up as a new member, of the same name if that is free.
func TestEvictedNodeStartsOnce(t *testing.T) {
	for _, how := range []string{"replaced", "evicted", "evicted, and one who knows is silent"} {
		bubble(t, 3, func(t *testing.T, w *world) {
			w.form(10 * time.Second)
			limit := time.Second
			b, by := w.boxes[2], w.boxes[0].node
			old, disk := b.node.ID(), b.fs
			b.kill()
			if how == "replaced" {
				b.fs = vfs.NewMem()
				b.start()
				w.eventually(20*time.Second, "new disk takes over", func() bool { return w.everySees(old, view.Departed) })
				b.kill()
				b.fs = disk
			} else {
				w.eventually(time.Minute, "it is failed", func() bool { return w.everySees(old, view.Failed) })
				if err := by.Evict(t.Context(), old); err != nil {
					t.Fatal(err)
				}
			}
			w.eventually(time.Minute, "all know", func() bool { return w.agreed() })
			if strings.Contains(how, "silent") {
				w.net.Silence(w.boxes[1].addr)
				limit = 5 * time.Second
			}
			begun := time.Now()
			n := b.start()
			if took := time.Since(begun); took > limit {
				t.Errorf("%s: it took %v", how, took)
			}
			w.net.Restore(w.boxes[1].addr)
			if n.ID() == old || n.Name() != b.cfg.Name {
				t.Fatalf("started as %v, %s; it was %v", n.ID(), n.Name(), old)
			}
			w.eventually(time.Minute, "it is a member", func() bool { return w.whole() && w.agreed() })
			if err := n.Err(); err != nil {
				t.Error(err)
			}
			if left, err := disk.List("/data/retired-" + old.String()); err != nil || len(left) == 0 {
				t.Errorf("the old data is not there: %q, %v", left, err)
			}
		})
	}
}

// Who is silent is waited for a moment, who refuses connections not even that, and a
// node that was here before starts by itself.
func TestStartWaitsForNobody(t *testing.T) {
	for _, silent := range []bool{true, false} {
		bubble(t, 3, func(t *testing.T, w *world) {
			w.form(10 * time.Second)
			b := w.boxes[2]
			old := b.node.ID()
			for _, o := range w.boxes {
				o.kill()
				if silent {
					w.net.Silence(o.addr)
				}
			}
			w.net.Restore(b.addr)
			begun := time.Now()
			n := b.start()
			if took := time.Since(begun); took > time.Second || !silent && took > 100*time.Millisecond {
				t.Errorf("silent %v: it took %v", silent, took)
			}
			if n.ID() != old || n.Err() != nil {
				t.Errorf("silent %v: started as %v, %v; it was %v", silent, n.ID(), n.Err(), old)
			}
		})
	}
}
