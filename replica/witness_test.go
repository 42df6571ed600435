package replica

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/detect"
	"github.com/skeinmesh/skein/mesh/view"
)

// Confirm asks all whom the node can exchange messages with; what they reach is
// what the net lets through.
func (n *fakeNode) Confirm(ctx context.Context, id view.NodeID) (view.Witnesses, error) {
	n.net.count("confirm", nil)
	n.net.mu.Lock()
	defer n.net.mu.Unlock()
	f := n.net
	var w view.Witnesses
	for _, m := range n.roster {
		peer := f.nodes[m.ID]
		if m.ID == id || m.Status.Gone() || peer.isDown() || f.apart(n.id, m.ID) {
			continue
		}
		w.Asked++
		if f.mute[m.ID] {
			continue
		}
		if f.nodes[id].isDown() || f.apart(m.ID, id) {
			w.Failed++
		} else {
			w.Reached++
			w.By = append(w.By, m.ID)
		}
	}
	w.Need = detect.Need(w.Asked)
	w.Confirmed = detect.Enough(w.Need, w.Failed, w.Reached)
	return w, ctx.Err()
}

// One node does not reach another for hours, the rest do: it is not replaced,
// and the operator hears what is wrong. When it is really down it is.
func TestWhatOthersReachIsNotReplaced(t *testing.T) {
	bubble(t, 5, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		const keys = 60
		for i := range keys {
			mustPut(t, buckets[i%5], fmt.Sprintf("k%d", i), "v")
		}
		time.Sleep(time.Minute)
		a, x := nodes[0], nodes[4]
		link := func(cut bool) {
			net.mu.Lock()
			net.cut[[2]view.NodeID{a.id, x.id}] = cut
			net.mu.Unlock()
			net.publish()
		}
		asked := func() int { calls, _ := net.counted("confirm"); return calls }
		link(true)
		time.Sleep(9 * time.Minute)
		if n := asked(); n > 0 {
			t.Errorf("others were asked %d times before HealAfter", n)
		}
		a.store.ForceHeal(true)
		time.Sleep(3 * time.Hour)
		a.store.ForceHeal(false)
		wantCopies(t, nodes, buckets[0], keys, 3)
		if lost := a.health(t).Lost; len(lost) > 0 {
			t.Errorf("%v are given up", lost)
		}
		if n := asked(); n < 40 || n > 100 { // by both ends of the link
			t.Errorf("others were asked %d times in three hours", n)
		}
		wantProblem(t, a.store, "node-"+x.id.String(), "down as seen from here, but 3 others reach it", "mend the link")
		link(false)
		time.Sleep(time.Minute)
		wantProblem(t, a.store)

		link(true)
		time.Sleep(time.Hour)
		x.kill()
		time.Sleep(20 * time.Minute)
		wantCopies(t, nodes, buckets[0], keys, 3)
		wantProblem(t, a.store, "node-"+x.id.String(), "evict")
	})
}

// Where others do not answer nothing is done, and the operator hears that.
func TestNothingIsReplacedOnOneWord(t *testing.T) {
	bubble(t, 5, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		const keys = 60
		for i := range keys {
			mustPut(t, buckets[i%5], fmt.Sprintf("k%d", i), "v")
		}
		time.Sleep(time.Minute)
		mute := func(ids map[view.NodeID]bool) {
			net.mu.Lock()
			defer net.mu.Unlock()
			net.mute = ids
		}
		mute(map[view.NodeID]bool{1: true, 2: true})
		nodes[4].kill()
		time.Sleep(3 * time.Hour)
		for i := range keys {
			if n := copies(t, nodes, buckets[0], fmt.Sprintf("k%d", i)); n > 3 {
				t.Fatalf("k%d is on %d stores", i, n)
			}
		}
		for _, n := range nodes[:4] {
			if lost := n.health(t).Lost; len(lost) > 0 {
				t.Errorf("%v has given up %v", n.id, lost)
			}
		}
		wantProblem(t, nodes[2].store, "only 2 of the 3 nodes")
		mute(nil)
		time.Sleep(10 * time.Minute)
		wantCopies(t, nodes, buckets[0], keys, 3)
	})
}

// A link that is broken although gossip goes round it is told, too.
func TestHealthTellsOfABrokenLink(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		v := nodes[0].View()
		v.Members = append([]view.Member(nil), v.Members...)
		name := "node-" + nodes[1].id.String() + " "
		v.Members[1].State, v.Members[1].Unreachable = view.Suspect, true
		v.Members[1].Since = time.Now().Add(-time.Minute)
		nodes[0].views.Set(v)
		wantProblem(t, nodes[0].store, name, "cannot be reached from here", "others say that it lives: mend the link")
		wantProblem(t, nodes[1].store)

		// What others say is that they have not heard of it yet.
		v.Members = append([]view.Member(nil), v.Members...)
		v.Members[1].Since = time.Now()
		nodes[0].views.Set(v)
		wantProblem(t, nodes[0].store, name, "whether it is down", "will be known soon")
		wantNoProblem(t, nodes[0].store, "others say")

		// There are no others.
		for _, state := range []view.State{view.Failed, view.Suspect} {
			v.Members = append([]view.Member(nil), v.Members...)
			v.Members[1].Since = time.Now().Add(-time.Minute)
			v.Members[2].State, v.Members[2].Unreachable = state, state == view.Suspect
			nodes[0].views.Set(v)
			wantProblem(t, nodes[0].store, name, "nobody else is there to say whether it lives")
			wantNoProblem(t, nodes[0].store, "others say")
		}
	})
}

// The same on a real mesh: a broken link replaces nobody, a killed node is
// replaced.
func TestRealMeshReplacesTheDead(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		a, x := w.boxes[0], w.boxes[3]
		for i := range 20 {
			mustPut(t, w.boxes[i%4].bucket, fmt.Sprintf("k%d", i), "v")
		}
		lost := func() (out []view.NodeID) {
			for _, b := range w.boxes[:3] {
				h, err := b.store.Health(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, h.Lost...)
			}
			return out
		}
		w.net.Partition(w.addrs(0), w.addrs(3))
		time.Sleep(11 * time.Minute)
		if ids := lost(); len(ids) > 0 {
			t.Errorf("one link is broken and %v are given up", ids)
		}
		wantProblem(t, a.store, "node-3", "mend the link")
		w.net.HealAll()
		time.Sleep(time.Minute)
		w.kill(x)
		w.until(12*time.Minute, "all have given up the dead one", func() bool { return len(lost()) == 3 })
	})
}
