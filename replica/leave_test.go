package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replica/writing"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// leaveNow takes a node out for good, as mesh.Node.Leave does.
func (n *fakeNode) leaveNow(t *testing.T, patience time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n.net.status(n.id, view.Leaving)
	for _, h := range n.leave {
		if err := h(ctx); err != nil {
			return err
		}
	}
	n.net.status(n.id, view.Left)
	n.kill()
	return nil
}

// What a leaving store keeps for one that is down is given to the next one to
// keep: it may be the only copy.
func TestF1_16_LeaveHandsHintsOn(t *testing.T) {
	bubble(t, 5, BucketConfig{Copies: 1, MinDurable: 1}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		nodes[4].kill()
		time.Sleep(time.Second)
		var keys []string
		for i := 0; len(keys) < 20; i++ {
			key := fmt.Sprintf("k%d", i)
			if buckets[0].Homes(key)[0] != nodes[4].id {
				continue
			}
			keys = append(keys, key)
			mustPut(t, buckets[0], key, "v")
		}
		if err := nodes[0].leaveNow(t, time.Minute); err != nil {
			t.Fatal(err)
		}
		nodes[4].restart()
		time.Sleep(time.Minute)
		for _, key := range keys {
			wantValue(t, buckets[1], key, "v")
		}
		for _, n := range nodes[1:] {
			if st, err := n.store.Status(context.Background()); err != nil || st.Hints != 0 {
				t.Errorf("%v still keeps %d for others, %v", n.id, st.Hints, err)
			}
		}
		wantEqualHomes(t, stores(nodes)...)
	})
}

// When nobody is there who could keep it, a store that keeps the only copy of
// something does not leave.
func TestLeaveWaitsForSomebodyToKeepHints(t *testing.T) {
	bubble(t, 3, BucketConfig{Copies: 1, MinDurable: 1}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		nodes[1].kill()
		nodes[2].kill()
		time.Sleep(time.Second)
		for i := range 20 {
			mustPut(t, buckets[0], fmt.Sprintf("k%d", i), "v")
		}
		if err := nodes[0].leaveNow(t, time.Minute); err == nil {
			t.Fatal("left with the only copies")
		}
		buckets[1] = openBucket(t, nodes[1].restart(), "b", BucketConfig{Copies: 1, MinDurable: 1})
		nodes[2].restart()
		if err := nodes[0].leaveNow(t, time.Minute); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		for i := range 20 {
			wantValue(t, buckets[1], fmt.Sprintf("k%d", i), "v")
		}
	})
}

// What was kept for a store that is gone for good, and one of whose homes is
// down, is not sent to the others over and over.
func TestHintsForTheGoneAreNotSentOverAndOver(t *testing.T) {
	bubble(t, 5, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		nodes[4].kill()
		time.Sleep(time.Second)
		for i := range 60 {
			mustPut(t, buckets[i%4], fmt.Sprintf("k%d", i), "v")
		}
		nodes[3].kill()
		net.status(nodes[4].id, view.Evicted)
		time.Sleep(time.Minute)
		sent, _ := net.counted(wire.MethodMerge)
		time.Sleep(5 * time.Minute)
		if n, _ := net.counted(wire.MethodMerge); n-sent > 60 {
			t.Errorf("%d transfers in five minutes in which nothing happened", n)
		}
		nodes[3].restart()
		time.Sleep(time.Minute)
		for _, n := range nodes[:4] {
			if st, err := n.store.Status(context.Background()); err != nil || st.Hints != 0 {
				t.Errorf("%v still keeps %d for others, %v", n.id, st.Hints, err)
			}
		}
		wantEqualHomes(t, stores(nodes)...)
	})
}

// A store that has handed over takes nothing more in: it would go with it.
func TestLeavingTakesNothingIn(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		mustPut(t, buckets[0], "k", "v")
		time.Sleep(time.Second)
		ctx, s, gone := context.Background(), nodes[0].store, nodes[1].store
		at := s.homes.LocateKey(buckets[0].b.ID, "k")
		page, err := s.records.ReadRecords(ctx, at.Slice, []string{"k"})
		if err != nil || len(page) != 1 {
			t.Fatal(len(page), err)
		}
		for _, leaving := range []bool{false, true} {
			if leaving {
				gone.gate.Taking.Shut()
			}
			if err := s.carrier.PushRecords(ctx, nodes[1].id, page); (err != nil) != leaving {
				t.Errorf("leaving %v, a copy: %v", leaving, err)
			}
			m := wire.PutRequest{Bucket: at.Bucket, Key: at.Key, Value: []byte("w"), Level: int64(replicate.One), MinDurable: 1}
			if m.By, err = s.peering.Deadlines.Make(ctx, nodes[1].id, time.Second, time.Now().Add(time.Second), nil); err != nil {
				t.Fatal(err)
			}
			answer, err := answerOf(ctx, gone.coordinator.ServePut, nodes[0].id, wire.AppendPutRequest(nil, &m))
			if err != nil {
				t.Fatal(err)
			}
			p, err := wire.DecodePutReply(answer)
			if err != nil {
				t.Fatal(err)
			}
			if said := faults.FromCode(p.Code, p.Text); writing.EndsSearch(said) == leaving {
				t.Errorf("leaving %v, a write: %v", leaving, said)
			}
			time.Sleep(time.Second)
		}
		select {
		case <-gone.gate.Taking.Empty():
		default:
			t.Error("some requests are never done with")
		}
		net.split(true, nodes[1].id)
		time.Sleep(time.Second)
		if _, err := buckets[1].Put(ctx, "k", []byte("x"), nil); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a write here: %v", err)
		}
	})
}

// Two stores that leave at the same time, the one not knowing of the other, do
// not both count on what the other holds.
func TestTwoThatLeaveDoNotCountOnEachOther(t *testing.T) {
	bubble(t, 4, BucketConfig{Copies: 1, MinDurable: 1}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for i := range 40 {
			mustPut(t, buckets[i%4], fmt.Sprintf("k%d", i), "v")
		}
		done := make(chan error, 2)
		for _, n := range nodes[:2] { // each believes that it leaves alone
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				done <- n.leave[0](ctx)
			}()
		}
		time.Sleep(10 * time.Second)
		net.status(nodes[0].id, view.Leaving)
		net.status(nodes[1].id, view.Leaving)
		for range 2 {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range nodes[:2] {
			net.status(n.id, view.Left)
			n.kill()
		}
		time.Sleep(time.Minute)
		for i := range 40 {
			wantValue(t, buckets[2], fmt.Sprintf("k%d", i), "v")
		}
	})
}

// While a home is down, what a leaving store held is on as many stores as
// before: others keep it for that home.
func TestLeaveWhileAHomeIsDown(t *testing.T) {
	bubble(t, 5, BucketConfig{Copies: 2}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		const keys = 40
		for i := range keys {
			mustPut(t, buckets[i%5], fmt.Sprintf("k%d", i), "v")
		}
		time.Sleep(time.Minute)
		nodes[3].kill() // of the zone of the one that leaves: its share falls to it
		time.Sleep(time.Second)
		had := make([]int, keys)
		for i := range had {
			had[i] = copies(t, nodes, buckets[0], fmt.Sprintf("k%d", i))
		}
		if err := nodes[0].leaveNow(t, time.Minute); err != nil {
			t.Fatal(err)
		}
		for i := range had {
			if n := copies(t, nodes, buckets[1], fmt.Sprintf("k%d", i)); n < had[i] {
				t.Errorf("k%d is on %d stores in reach, it was on %d", i, n, had[i])
			}
		}
		nodes[3].restart()
		time.Sleep(3 * time.Minute)
		wantCopies(t, nodes, buckets[1], keys, 2)
		wantEqualHomes(t, stores(nodes)...)
	})
}

// What a leaving store has let in is handed over however long its disk takes.
func TestLeaveWaitsForWhatItLetIn(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		s := nodes[0].store
		net.status(nodes[0].id, view.Leaving)
		tookIn, ok := s.gate.Taking.Enter()
		if !ok {
			t.Fatal("not leaving yet")
		}
		done := make(chan error, 1)
		go func() { done <- nodes[0].leave[0](context.Background()) }()
		time.Sleep(time.Minute)
		select {
		case err := <-done:
			t.Errorf("left, %v, while something was on its way to the disk", err)
		default:
			tookIn()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

// What was kept for a store that was down is delivered at the rate that the
// operator allows.
func TestHintsAreHeldToTheRate(t *testing.T) {
	bubble(t, 4, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for _, n := range nodes[:3] {
			n.kill()
			n.restart(func(c *Config) { c.TransferRate, c.SyncEvery = 4<<10, -1 })
		}
		for i := range buckets[:3] {
			buckets[i] = openBucket(t, nodes[i].store, "b", BucketConfig{})
		}
		time.Sleep(10 * time.Second)
		nodes[3].kill()
		time.Sleep(time.Second)
		for i := range 200 {
			mustPut(t, buckets[i%3], fmt.Sprintf("k%d", i), string(make([]byte, 4<<10)))
		}
		hints := func() (all int) {
			for _, n := range nodes[:3] {
				st, err := n.store.Status(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				all += st.Hints
			}
			return all
		}
		before := hints()
		nodes[3].restart(func(c *Config) { c.SyncEvery, c.TransferRate = -1, 1 })
		time.Sleep(10 * time.Second)
		if n := before - hints(); n < 3 || n > 40 {
			t.Errorf("%d of %d hints of 4 KiB were delivered in 10 s by three stores at 4 KiB/s", n, before)
		}
		time.Sleep(5 * time.Minute)
		if n := hints(); n > 0 {
			t.Errorf("%d hints are left", n)
		}
	})
}

// An entry of the index of hints behind which there is no record goes.
func TestStrayHintsGo(t *testing.T) {
	bubble(t, 3, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		ctx, s := context.Background(), nodes[0].store
		err := s.records.Update(ctx, "test", func(tx keep.Tx) error {
			return tx.Set(wire.IndexKey(wire.IndexHint, nodes[1].id, s.homes.LocateKey(buckets[0].b.ID, "gone").Record), nil)
		})
		if err != nil {
			t.Fatal(err)
		}
		s.carrier.Hints.WakeDelivery()
		time.Sleep(time.Second)
		if st, err := s.Status(ctx); err != nil || st.Hints != 0 {
			t.Errorf("%d hints, %v", st.Hints, err)
		}
	})
}

// A home that counts as alive and does not answer holds up the hand-over of
// what it is to get, not of all the rest.
func TestAHangingHome(t *testing.T) {
	bubble(t, 4, BucketConfig{Copies: 1, MinDurable: 1}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for i := range 100 {
			mustPut(t, buckets[i%4], fmt.Sprintf("k%d", i), "v")
		}
		net.split(false, nodes[3].id)
		net.status(nodes[0].id, view.Leaving)
		for i := range nodes { // it is not told, and neither are the others of it
			v := nodes[i].views.Get()
			v.Members = slices.Clone(v.Members)
			for j := range v.Members {
				v.Members[j].State = view.Alive
			}
			v.Version++
			nodes[i].views.Set(v)
		}
		s := nodes[0].store
		lay, err := s.homes.LayoutWithout(nodes[0].View())
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := s.carrier.HandOver(context.Background(), lay, true); err == nil {
			t.Error("handed over to a home that does not answer")
		}
		if d := time.Since(begun); d > peering.LongWait+5*time.Second {
			t.Errorf("one pass took %v", d)
		}
		net.heal()
		time.Sleep(time.Minute)
	})
}

// A store that is closed while it leaves does not wait for what it hands over to a
// home that hangs.
func TestCloseWhileItLeaves(t *testing.T) {
	bubble(t, 4, BucketConfig{Copies: 1, MinDurable: 1}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		for i := range 100 {
			mustPut(t, buckets[i%4], fmt.Sprintf("k%d", i), "v")
		}
		net.lose(func(from, _ view.NodeID, method string, _ []byte) bool {
			return from == nodes[0].id && method != wire.MethodClock
		})
		net.status(nodes[0].id, view.Leaving)
		left := make(chan error, 1)
		go func() { left <- nodes[0].leave[0](context.Background()) }()
		time.Sleep(700 * time.Millisecond)
		begun := time.Now()
		if err := nodes[0].store.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("closing took %v", took)
		}
		if err := <-left; !errors.Is(err, ErrClosed) {
			t.Errorf("leaving ended with %v", err)
		}
	})
}

// A node may be taken out because its disk is full: that nothing can be deleted
// there does not keep it.
func TestLeaveOnAFullDisk(t *testing.T) {
	bubble(t, 5, BucketConfig{Copies: 2}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		const keys = 40
		nodes[0].kill()
		disk := &fullFS{FS: nodes[0].fs}
		nodes[0].fs = disk
		buckets[0] = openBucket(t, nodes[0].restart(func(c *Config) { c.ReserveBytes = 16 << 20 }), "b", BucketConfig{Copies: 2})
		time.Sleep(10 * time.Second)
		nodes[4].kill()
		time.Sleep(time.Second)
		for i := range keys {
			mustPut(t, buckets[i%4], fmt.Sprintf("k%d", i), "v")
		}
		time.Sleep(time.Second)
		if st, err := nodes[0].store.Status(context.Background()); err != nil || st.Hints == 0 {
			t.Fatalf("%d hints, %v", st.Hints, err)
		}
		fillUp(disk)
		time.Sleep(time.Minute)
		wantProblem(t, nodes[0].store, "disk is full")
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		net.status(nodes[0].id, view.Leaving)
		if err := nodes[0].leave[0](ctx); err != nil {
			t.Fatal(err)
		}
		net.status(nodes[0].id, view.Left)
		nodes[0].mu.Lock()
		nodes[0].down = true
		nodes[0].mu.Unlock()
		nodes[4].restart()
		time.Sleep(3 * time.Minute)
		wantCopies(t, nodes, buckets[1], keys, 2)
	})
}

// A node that is killed while it leaves goes on with that when it is started
// again and told to: nothing is lost on the way.
func TestLeaveInterrupted(t *testing.T) {
	bubble(t, 4, BucketConfig{Copies: 1, MinDurable: 1}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		const keys = 60
		for i := range keys {
			mustPut(t, buckets[i%4], fmt.Sprintf("k%d", i), "v")
		}
		time.Sleep(time.Second)
		net.status(nodes[0].id, view.Leaving)
		for round := range 3 {
			ctx, cancel := context.WithCancel(context.Background())
			leave := nodes[0].leave[0]
			go func() { _ = leave(ctx) }()
			time.Sleep(time.Duration(round) * time.Millisecond)
			nodes[0].kill()
			cancel()
			nodes[0].restart()
		}
		if err := nodes[0].leaveNow(t, time.Minute); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		for i := range keys {
			wantValue(t, buckets[1], fmt.Sprintf("k%d", i), "v")
		}
		wantEqualHomes(t, stores(nodes)...)
	})
}
