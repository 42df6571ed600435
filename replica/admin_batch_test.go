package replica

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// A program that is no node has batches through any node, with a result for each entry and
// what is wrong said as a Bucket says it.
func TestClientBatches(t *testing.T) {
	clients(t, BucketConfig{Policy: Siblings}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, clients []*Client) {
		ctx := t.Context()
		for i, c := range clients {
			other := clients[(i+1)%3]
			puts := append(manyKeys(100, fmt.Sprint("a", i)), manyKeys(50, fmt.Sprint("b", i))...)
			done, err := c.PutMany(ctx, "b", puts, nil)
			if err != nil || len(done) != len(puts) {
				t.Fatalf("%d results, %v", len(done), err)
			}
			gets := []BatchGet{{Key: "never"}}
			for k := range 50 {
				gets = append(gets, BatchGet{Key: puts[k].Key, Seen: done[100+k].Context})
			}
			items, err := other.GetMany(ctx, "b", gets, &GetOptions{Level: One})
			if err != nil || len(items) != len(gets) || !errors.Is(items[0].Err, ErrNotFound) {
				t.Fatalf("%d items, %v", len(items), err)
			}
			for k := range items[1:] {
				if v, _ := items[k+1].Value(); items[k+1].Key != puts[k].Key || string(v) != fmt.Sprint("b", i) {
					t.Errorf("%s: %q, %v", items[k+1].Key, v, items[k+1].Err)
				}
			}
			it, err := other.Get(ctx, "b", "k0", &GetOptions{Level: One, Seen: done[100].Context})
			if v, _ := it.Value(); err != nil || string(v) != fmt.Sprint("b", i) {
				t.Errorf("%q, %v", v, err)
			}
			gone, err := other.DeleteMany(ctx, "b", []BatchDelete{{Key: "k0", Context: it.Context}, {Key: "k1"}}, nil)
			if err != nil || len(gone) != 2 || len(gone[0].Covered) != 1 {
				t.Errorf("%+v, %v", gone, err)
			}
			if _, err := c.Get(ctx, "b", "k0", &GetOptions{Seen: gone[0].Context}); !errors.Is(err, ErrNotFound) || errors.Is(err, ErrDegraded) {
				t.Error(err)
			}
			done, err = c.PutMany(ctx, "b", []BatchPut{{Key: "fine"}, {}, {Key: "k3", Context: it.Context}}, nil)
			if done != nil || !errors.Is(err, ErrBadBatch) || !errors.Is(err, ErrBadContext) || !strings.Contains(err.Error(), "entry 1") || !strings.Contains(err.Error(), "entry 2") {
				t.Errorf("%d results, %v", len(done), err)
			}
			if done, err := c.PutMany(ctx, "none", puts[:2], nil); done != nil || !errors.Is(err, ErrNoBucket) {
				t.Errorf("%d results, %v", len(done), err)
			}
			big := []BatchPut{{Key: "a", Value: make([]byte, 3<<20)}, {Key: "b", Value: make([]byte, 3<<20)}}
			if _, err := c.PutMany(ctx, "b", big, nil); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "entry 1") {
				t.Error(err)
			}
			if _, err := c.PutMany(ctx, strings.Repeat("b", 300), puts[:1], &PutOptions{Level: -9, Context: it.Context}); !errors.Is(err, ErrNoBucket) || !errors.Is(err, ErrBadBatch) {
				t.Error(err)
			}
		}
		net.split(true, nodes[0].id)
		time.Sleep(time.Second)
		r, _ := clients[0].Put(ctx, "b", "k5", []byte("beyond"), nil)
		_, err := clients[1].Get(ctx, "b", "k5", &GetOptions{Seen: r.Context})
		if !errors.Is(err, ErrBehind) || !errors.Is(err, ErrDegraded) || !strings.Contains(err.Error(), r.Dot.String()) {
			t.Error(err)
		}
	})
}

// Values of which two have no room in one message are read, whatever came before them.
func TestClientReadsManyHugeItems(t *testing.T) {
	clients(t, BucketConfig{MaxValue: 3 << 20}, func(t *testing.T, net *fakeNet, _ []*fakeNode, clients []*Client) {
		ctx := t.Context()
		gets := make([]BatchGet, 36)
		for i := range gets {
			if gets[i].Key = fmt.Sprint("k", i); i < 30 {
				continue // it does not exist
			}
			if _, err := clients[0].Put(ctx, "b", gets[i].Key, make([]byte, 3<<20), nil); err != nil {
				t.Fatal(err)
			}
		}
		net.watchCalls(nil)
		items, err := clients[2].GetMany(ctx, "b", gets, nil)
		if err != nil || len(items) != len(gets) {
			t.Fatalf("%d items, %v", len(items), err)
		}
		if calls, _ := net.counted(wire.MethodAdminGetMany); calls < 6 {
			t.Errorf("%d answers", calls)
		}
		for i := range items {
			if v, _ := items[i].Value(); len(v) != 0 != (i >= 30) || len(v)%(3<<20) != 0 {
				t.Errorf("%s: %d bytes, %v", items[i].Key, len(v), items[i].Err)
			}
		}
	})
}

// However large items are, each answer has one at least, no more than there is room for
// unless there is one alone, and what is read at a time is bounded by what it may hold.
func TestRoomForItems(t *testing.T) {
	for seed := range uint64(300) {
		chance := rand.New(rand.NewPCG(seed, 1))
		maxValue := 1 << chance.IntN(24)
		left := 1 + chance.IntN(1024)
		for left > 0 {
			room, last, full := newItemRoom(maxValue), 0, false
			have, bytes := 0, 0
			for n := room.nextItems(left); n > 0 && !full; n = room.nextItems(left) {
				if n > left || n > firstItems && (n > 2*last || n*maxValue > readBytes) {
					t.Fatalf("seed %d: %d of %d are read, %d before, each at most %d bytes", seed, n, left, last, maxValue)
				}
				last = n
				for range n {
					m := wire.AdminItem{Values: [][]byte{make([]byte, chance.IntN(1+maxValue>>chance.IntN(20)))}}
					if full = !room.takeItem(&m); full {
						break
					}
					have, bytes, left = have+1, bytes+len(m.Values[0]), left-1
				}
			}
			if have == 0 || have > 1 && bytes > itemsBytes {
				t.Fatalf("seed %d: %d items with %d bytes", seed, have, bytes)
			}
		}
	}
}

// Items that have no room in one answer are asked for again, and a node that answers with
// none, with more than was asked for, or does not know the question, ends that.
func TestClientReadsManyLargeItems(t *testing.T) {
	clients(t, BucketConfig{}, func(t *testing.T, net *fakeNet, nodes []*fakeNode, clients []*Client) {
		ctx := t.Context()
		gets := make([]BatchGet, 60)
		for i := range gets {
			gets[i].Key = fmt.Sprint("k", i)
			if _, err := clients[0].Put(ctx, "b", gets[i].Key, make([]byte, 100<<10), nil); err != nil {
				t.Fatal(err)
			}
		}
		net.watchCalls(nil)
		items, err := clients[2].GetMany(ctx, "b", gets, nil)
		if err != nil || len(items) != len(gets) {
			t.Fatalf("%d items, %v", len(items), err)
		}
		for i := range items {
			if v, _ := items[i].Value(); len(v) != 100<<10 {
				t.Errorf("%s: %d bytes, %v", items[i].Key, len(v), items[i].Err)
			}
		}
		if calls, bytes := net.counted(wire.MethodAdminGetMany); calls < 3 || calls > 7 || bytes > 8<<20 {
			t.Errorf("%d calls, %d bytes", calls, bytes)
		}
		for _, answer := range [][]byte{
			wire.AppendAdminItems(nil, &wire.AdminItems{}),
			wire.AppendAdminItems(nil, &wire.AdminItems{Items: make([]wire.AdminItem, 100)}),
		} {
			liar := NewClient(answering(answer))
			if _, err := liar.GetMany(ctx, "b", gets, nil); !errors.Is(err, errWrongAnswer) {
				t.Error(err)
			}
		}
		if _, err := NewClient(answering(wire.AppendAdminResults(nil, &wire.AdminResults{}))).PutMany(ctx, "b", manyKeys(2, "v"), nil); !errors.Is(err, errWrongAnswer) {
			t.Error(err)
		}
		net.refuseCalls(func(_, _ view.NodeID, method string) bool { return method == wire.MethodAdminGetMany })
		if _, err := clients[0].Get(ctx, "b", "k0", &GetOptions{Seen: items[0].Context}); !errors.Is(err, errFakeUnreachable) {
			t.Errorf("a node that does not look at what was seen has answered: %v", err)
		}
		net.refuseCalls(nil)
	})
}
