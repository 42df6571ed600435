package mesh

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// What is not on disk is not used: a node whose disk is full learns nothing
// new, works on with what it has, and catches up once there is room.
func TestRosterOnAFullDisk(t *testing.T) {
	bubble(t, 4, func(t *testing.T, w *world) {
		late := w.boxes[3]
		w.boxes = w.boxes[:3]
		w.form(10 * time.Second)
		w.boxes = append(w.boxes, late)
		b := w.boxes[1]
		b.full.Store(true)
		late.start()
		w.eventually(20*time.Second, "the others take the newcomer in", func() bool {
			m, _ := w.boxes[2].node.View().Member(late.node.ID())
			return m.State == view.Alive
		})
		time.Sleep(time.Minute)
		if _, ok := b.node.View().Member(late.node.ID()); ok {
			t.Error("used what could not be written")
		}
		for _, o := range w.boxes[:3] {
			if m, _ := b.node.View().Member(o.node.ID()); m.State != view.Alive {
				t.Errorf("node with a full disk sees %v as %v", m.Name, m.State)
			}
		}
		if err := b.node.Leave(t.Context()); !errors.Is(err, syscall.ENOSPC) || b.node.hasStopped() {
			t.Errorf("Leave with a full disk: %v", err)
		}
		b.full.Store(false)
		w.eventually(time.Minute, "it catches up", func() bool { return w.whole() && w.agreed() })
		b.kill()
		b.full.Store(true)
		if _, err := b.run(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Start with a full disk: %v", err)
		}
	})
}

// A member with a full disk answers peers whose news it has, though it has learnt where
// else members were and cannot write that. Once there is room it does.
func TestNothingNewOnAFullDisk(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		n, other := w.boxes[0].node, w.boxes[1].node
		w.eventually(time.Minute, "both know the same", w.agreed)
		w.boxes[0].full.Store(true)
		n.places.noteSuggested(other.ID(), netip.MustParseAddrPort("10.7.7.7:7800"))
		if err := n.book.mergeAll(t.Context(), other.book.snapshot().Roster); err != nil || !n.places.hasUnwritten() {
			t.Errorf("nothing new: %v, unwritten: %v", err, n.places.hasUnwritten())
		}
		w.boxes[0].full.Store(false)
		w.eventually(2*placesPause, "it is written", func() bool { return !n.places.hasUnwritten() })
	})
}

// Every roster that anybody saw was on disk by then, and bursts are written
// together.
func TestBookWritesBeforeUse(t *testing.T) {
	bubble(t, 0, func(t *testing.T, _ *world) {
		var onDisk sync.Map // by sum
		var writes atomic.Int32
		b := newBook(roster.Roster{}, func(r roster.Roster) error {
			time.Sleep(50 * time.Millisecond)
			onDisk.Store(r.Sum(), true)
			writes.Add(1)
			return nil
		}, func(view.NodeID) bool { return false }, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go b.performChanges(ctx)
		news := b.watch.Watch(ctx)
		<-news
		go func() {
			for s := range news {
				if _, ok := onDisk.Load(s.sum); !ok {
					t.Error("a roster was shown that is not on disk")
				}
			}
		}()
		done := make(chan error)
		for i := range 50 {
			go func() {
				var r roster.Roster
				r, _, _ = r.With(someEntry(view.NodeID(i+1), view.Active))
				err := b.mergeAll(ctx, r)
				if _, ok := b.snapshot().Get(view.NodeID(i + 1)); err == nil && !ok {
					err = errors.New("merged, yet not in use")
				}
				done <- err
			}()
		}
		for range 50 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if n := writes.Load(); n > 3 {
			t.Errorf("50 changes at once cost %d writes", n)
		}
		cancel()
		<-b.closed
		if err := b.mergeAll(t.Context(), b.snapshot().Roster); !errors.Is(err, ErrClosed) {
			t.Errorf("merge after the end: %v, want ErrClosed", err)
		}
	})
}

func TestSeedsByMulticast(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		w.boxes[0].start()
		b := w.boxes[1]
		b.cfg.Seeds, b.cfg.MDNS = nil, true
		s := b.seams()
		found := fixedDiscovery{w.boxes[0].node.Addr()}
		s.mdns = func(offer) (discovery, error) { return found, nil }
		cfg := b.cfg
		cfg.Network = w.net.Host(b.addr)
		n, err := startNode(t.Context(), cfg, s)
		if err != nil {
			t.Fatal(err)
		}
		b.node, b.nodes = n, append(b.nodes, n)
		w.eventually(10*time.Second, "nodes meet", w.whole)
	})
}

type fixedDiscovery []netip.AddrPort

func (d fixedDiscovery) findNodes(context.Context) []netip.AddrPort { return d }

func (d fixedDiscovery) shutDown() error { return nil }

// As many changes as members make few views, however large the roster.
func TestViewsOfManyMembersAreFew(t *testing.T) {
	if p := viewPause(50); p != 10*time.Millisecond {
		t.Errorf("a view of 50 members is held back for %v", p)
	}
	if p := viewPause(10_000); p < 100*time.Millisecond || p > time.Second {
		t.Errorf("a view of 10 000 members is held back for %v", p)
	}
}

// manyEntries are of nodes that never lived.
func manyEntries(t *testing.T, first, count int, status view.Status) (out roster.Roster) {
	t.Helper()
	var members []wire.Member
	for i := range count {
		e := someEntry(view.NodeID(first+i), status)
		e.Storing = i%2 == 0
		members = append(members, wire.Member(e))
	}
	out, err := roster.FromMembers(members)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Containers without a disk are new nodes at each start. Those that they were fill
// no roster: a node that is new gets in, all agree, and what is kept of them is small
// and outlives restarts.
func TestGoneNodesDoNotFillTheRoster(t *testing.T) {
	bubble(t, 4, func(t *testing.T, w *world) {
		late, away := w.boxes[3], w.boxes[2]
		w.boxes = w.boxes[:3]
		w.form(10 * time.Second)
		away.kill()
		a, b := w.boxes[0], w.boxes[1]
		for i := range 4 {
			if err := a.node.book.mergeAll(t.Context(), manyEntries(t, 1_000+5_000*i, 5_000, view.Evicted)); err != nil {
				t.Fatal(err)
			}
		}
		late.start()
		w.boxes = append(w.boxes[:2], late)
		w.eventually(20*time.Second, "a new node gets in", w.whole)
		away.start()
		w.boxes = append(w.boxes, away)
		same := func() bool {
			sum := a.node.book.snapshot().sum
			for _, x := range w.boxes {
				if x.node.book.snapshot().sum != sum {
					return false
				}
			}
			return w.whole() && w.agreed()
		}
		w.eventually(time.Minute, "all know the same, one that was away, too", same)
		b.kill()
		b.start()
		w.eventually(20*time.Second, "so does one that was restarted", same)
		for _, x := range w.boxes {
			r := x.node.book.snapshot()
			if n := r.Len() + len(r.Relics()); n != 20_004 || r.Len() > 1_004 || len(roster.Encode(r.Roster)) > 300_000 {
				t.Errorf("%d of 20004 known, %d entries, %d bytes", n, r.Len(), len(roster.Encode(r.Roster)))
			}
			if n := len(x.node.View().Members); n != r.Len() {
				t.Errorf("a view of %d members", n)
			}
		}
	})
}

// A member of which others keep a relic while it is listed here as down goes at once,
// and one that runs is asked first, as about any eviction.
func TestRelicsAreHeardLikeEvictions(t *testing.T) {
	bubble(t, 4, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		id := w.boxes[3].node.ID()
		relic, err := roster.FromRelics([]wire.Relic{{ID: id, Storing: true}})
		if err != nil {
			t.Fatal(err)
		}
		n, liar := w.boxes[0].node, w.boxes[1].node
		ask := func() {
			req := wire.AppendRelicSwap(nil, wire.RelicSwap{Have: relic.Relics()})
			if _, err := liar.link.Call(t.Context(), n.ID(), methodRelics, req); err != nil {
				t.Fatal(err)
			}
		}
		ask()
		time.Sleep(10 * time.Second)
		if n.book.snapshot().Reduced(id) || !w.whole() {
			t.Fatal("a member that runs is gone by the word of one")
		}
		w.boxes[3].kill()
		w.boxes = w.boxes[:3]
		w.eventually(20*time.Second, "it is failed", func() bool { return w.everySees(id, view.Failed) })
		ask()
		w.eventually(30*time.Second, "it is gone everywhere", func() bool {
			for _, b := range w.boxes {
				if _, listed := b.node.View().Member(id); listed {
					return false
				}
			}
			return true
		})
		for _, b := range w.boxes {
			q := question{ids: []view.NodeID{id}, answer: make(chan []wire.Reach, 1)}
			b.node.prober.questions <- q
			if reach := (<-q.answer)[0]; reach != wire.ReachUnknown {
				t.Errorf("node %v still looks for it: %v", b.node.ID(), reach)
			}
		}
	})
}

// A node of a release without relics, that was away, takes one that is gone for a
// member. It revives nothing, and is told.
func TestRelicsAndOlderReleases(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		n, old := w.boxes[0].node, w.boxes[1].node
		relic, _ := roster.FromRelics([]wire.Relic{{ID: 7}, {ID: 8}})
		if err := n.book.mergeAll(t.Context(), relic); err != nil {
			t.Fatal(err)
		}
		swap := func(s wire.RosterSwap) wire.RosterSwap {
			t.Helper()
			b, err := old.link.Call(t.Context(), n.ID(), methodSwap, wire.AppendRosterSwap(nil, s))
			if err != nil {
				t.Fatal(err)
			}
			reply, err := wire.DecodeRosterSwap(b)
			if err != nil {
				t.Fatal(err)
			}
			return reply
		}
		e := someEntry(7, view.Active)
		reply := swap(wire.RosterSwap{Have: []wire.Member{wire.Member(e)}, Want: []view.NodeID{7, 8}})
		e.Status = view.Evicted
		if len(reply.Have) != 1 || roster.Entry(reply.Have[0]) != e {
			t.Errorf("told %+v", reply.Have)
		}
		if reply = swap(wire.RosterSwap{Have: []wire.Member{wire.Member(e)}}); len(reply.Have) != 0 {
			t.Errorf("told again: %+v", reply.Have)
		}
		if !n.book.snapshot().Reduced(7) {
			t.Error("it is revived")
		}
	})
}

// A mesh that is full says so, and so does the node that it does not take in. That
// one gets in once there is room.
func TestFullMeshSaysSo(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		late := w.boxes[1]
		w.boxes = w.boxes[:1]
		w.form(10 * time.Second)
		n := w.boxes[0].node
		says := func(n *Node, what string) func() bool {
			return func() bool {
				return slices.ContainsFunc(wordsOf(n.View().Problems), func(p string) bool { return strings.Contains(p, what) })
			}
		}
		if err := n.book.mergeAll(t.Context(), manyEntries(t, 1_000, roster.Limit-2, view.Active)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if says(n, "full")() {
			t.Error("full with room for one")
		}
		if err := n.book.mergeAll(t.Context(), manyEntries(t, 100, 1, view.Active)); err != nil {
			t.Fatal(err)
		}
		w.eventually(5*time.Second, "the mesh says that it is full", says(n, "the mesh is full, with 10000 members"))
		late.start()
		w.boxes = append(w.boxes, late)
		w.eventually(20*time.Second, "the node that is kept out says so", says(late.node, "not let in, for the mesh is full"))
		time.Sleep(time.Minute)
		if p := late.node.View().Problems; len(p) != 1 || late.node.Err() != nil {
			t.Errorf("problems %q, error %v", p, late.node.Err())
		}
		if err := n.Evict(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
		w.eventually(time.Minute, "it gets in", func() bool {
			m, _ := n.View().Member(late.node.ID())
			return m.State == view.Alive && !says(late.node, "not let in")()
		})
	})
}

// As many changes as members cost few writes of all of them.
func TestLargeRostersAreWrittenSeldom(t *testing.T) {
	if p := batchPause(1_000); p != 100*time.Millisecond {
		t.Errorf("a roster of 1 000 is written again after %v", p)
	}
	if p := batchPause(roster.Limit); p < 300*time.Millisecond || p > time.Second {
		t.Errorf("a roster of 10 000 is written again after %v", p)
	}
}
