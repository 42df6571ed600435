package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// answerBound is what the package promises at the default AckTimeout: however many
// stores are silent, three times that.
const answerBound = 1500 * time.Millisecond

// withGuest adds a node that stores nothing, to be closed by the caller.
func withGuest(t *testing.T, net *fakeNet) (*fakeNode, *Bucket) {
	t.Helper()
	n := net.add(false)
	b := openBucket(t, n.open(), "b", BucketConfig{})
	return n, b
}

// Stores fall silent, and nobody has been told: one that is frozen, the other side of
// a cut, nearly all there are. Whoever writes or reads at that moment is answered
// within the bound, and so is everybody after.
func TestSilentStoresHoldNobody(t *testing.T) {
	for _, c := range []struct {
		name   string
		nodes  int
		silent int // of the storing ones, the last
	}{{"one of three", 3, 1}, {"two of three", 3, 2}, {"one of five", 5, 1}, {"three of five", 5, 3}, {"nine of ten", 10, 9}} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, c.nodes, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
				guest, b := withGuest(t, net)
				defer guest.views.Close()
				defer func() { _ = guest.store.Close() }()
				var away []view.NodeID
				for _, n := range nodes[c.nodes-c.silent:] {
					away = append(away, n.id)
				}
				askers := append([]*Bucket{b}, buckets[:c.nodes-c.silent]...)
				for i := range 40 {
					mustPut(t, buckets[0], fmt.Sprint("old", i), "v")
				}
				time.Sleep(5 * time.Second)
				net.split(false, away...)
				for range 3 {
					askAll(t, askers)
					time.Sleep(3 * time.Second) // longer than a silence is remembered
				}
			})
		})
	}
}

// askAll has each of the nodes write and read keys at the same time.
func askAll(t *testing.T, askers []*Bucket) {
	t.Helper()
	var all sync.WaitGroup
	ask := func(what string, do func() error) {
		all.Go(func() {
			begin := time.Now()
			err := do()
			if took := time.Since(begin); took > answerBound {
				t.Errorf("%s took %v: %v", what, took, err)
			}
			if err != nil && !errors.Is(err, ErrDegraded) {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	for _, b := range askers {
		for i := range 40 {
			ask(fmt.Sprintf("put %d at %v", i, b.s.id), func() error {
				_, err := b.Put(context.Background(), fmt.Sprint("new", i), []byte("v"), nil)
				return err
			})
			ask(fmt.Sprintf("get %d at %v", i, b.s.id), func() error {
				_, err := b.Get(context.Background(), fmt.Sprint("old", i), nil)
				if errors.Is(err, ErrNotFound) && errors.Is(err, ErrDegraded) || b.s.disk == nil && errors.Is(err, ErrUnavailable) {
					return nil // it was on the silent ones only
				}
				return err
			})
		}
	}
	all.Wait()
}

// pickLed returns a key whose writes the first node hands to another one, and that one.
func pickLed(nodes []*fakeNode, b *Bucket) (string, *fakeNode) {
	s := nodes[0].store
	for i := 0; ; i++ {
		key := fmt.Sprint("k", i)
		if lead := s.homes.Now().RouteOf(b.b, s.homes.LocateKey(b.b.ID, key).Shard).Lead; lead != s.id {
			return key, nodes[lead-1]
		}
	}
}

// A store to which a write was handed and that kept silent must not commit it from
// the moment on at which the write was handed to the next one.
func TestHandedOnWriteIsNotCommittedByTheFirst(t *testing.T) {
	bubble(t, 5, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		key, lead := pickLed(nodes, buckets[0])
		mustPut(t, buckets[0], key, "before") // clocks are known
		var hung []byte
		net.lose(func(_, to view.NodeID, method string, req []byte) bool {
			if to == lead.id && method == wire.MethodPut {
				hung = append([]byte(nil), req...)
			}
			return to == lead.id
		})
		begin := time.Now()
		mustPut(t, buckets[0], key, "handed on")
		took := time.Since(begin)
		net.lose(nil)
		if hung == nil || took > time.Second {
			t.Fatalf("the lead was asked: %v; the write took %v", hung != nil, took)
		}
		answer, err := answerOf(context.Background(), lead.store.coordinator.ServePut, nodes[0].id, hung)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := wire.DecodePutReply(answer); err != nil || p.Code != wire.CodeLate {
			t.Errorf("the first one says %v, %v: want that it is too late", p.Code, err)
		}
	})
}

// A store that waits for others is not silent: what it does is not done again.
func TestWriteUnderWayIsNotHandedOn(t *testing.T) {
	bubble(t, 5, BucketConfig{Policy: Siblings}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, buckets []*Bucket) {
		key, lead := pickLed(nodes, buckets[0])
		first := mustPut(t, buckets[0], key, "before")
		net.lose(func(_, _ view.NodeID, method string, _ []byte) bool { return method == wire.MethodMerge })
		net.watchCalls(nil)
		begin := time.Now()
		_, err := buckets[0].Put(context.Background(), key, []byte("after"), &PutOptions{Context: first.Context})
		if took := time.Since(begin); took < 500*time.Millisecond || took > time.Second {
			t.Errorf("it took %v, %v: want it to wait for two stores in turn", took, err)
		}
		if n, _ := net.counted(wire.MethodPut); n != 1 {
			t.Errorf("%d stores were asked, want the lead alone", n)
		}
		net.lose(nil)
		it, err := buckets[lead.id-1].Get(context.Background(), key, &GetOptions{Level: One})
		if got := it.Siblings(); err != nil || len(got) != 1 || string(got[0]) != "after" {
			t.Errorf("values %q, %v", got, err)
		}
	})
}
