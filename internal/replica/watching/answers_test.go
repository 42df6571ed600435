package watching

import (
	"context"
	"strings"
	"testing"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/scan"
	"github.com/skeinmesh/skein/internal/watch"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/version"
)

// itemOf is the n-th state of a key.
func itemOf(n uint64, value string, expire version.HLC) []byte {
	a := version.Actor{Store: 1, Session: 1, Seq: 1}
	it := version.Item{Ctx: version.Context{{A: a, N: n}}, HLC: 1, Sibs: []version.Sibling{{Dot: version.Dot{A: a, N: n}, HLC: 1, Expire: expire, Value: []byte(value)}}}
	return wire.AppendItem(nil, &it)
}

// write has a record be an item, and tells so.
func (k *kitchen) write(key string, item []byte) {
	k.records[key] = item
	k.change(key, watch.Changed, item)
}

// wantTold fails unless an answer tells key=value, by two bytes of the value, with a cross
// behind those that have ended.
func (k *kitchen) wantTold(m *wire.WatchReply, want string) {
	k.t.Helper()
	var told []string
	for _, e := range m.Entries {
		it, err := wire.DecodeItem(e.Item)
		if err != nil {
			k.t.Fatal(err)
		}
		one := e.Key + "=" + string(it.Sibs[0].Value[:2])
		if e.Ended {
			one += "+"
		}
		told = append(told, one)
	}
	if got := strings.Join(told, " "); got != want {
		k.t.Errorf("up to %d is told %q, want %q", m.Seq, got, want)
	}
}

func TestPutThatComesBeforeAnEndIsNoted(t *testing.T) {
	withFeed(t, 100, func(t *testing.T, k *kitchen) {
		at := k.ask(wire.WatchRequest{})
		k.write("k", itemOf(1, "v1", 5))
		k.write("other", itemOf(1, "v1", 0))
		at.Seq = k.ask(wire.WatchRequest{Epoch: at.Epoch}).Seq
		list := k.opts.ListEnded
		k.opts.ListEnded = func(ctx context.Context, from []byte, upTo version.HLC, limit int, each func(layout.Place, []byte)) ([]byte, error) {
			each(k.homes.LocateKey(9, "k"), k.records["k"])
			k.write("k", itemOf(2, "v2", 0))
			return from, nil
		}
		(&endings{}).noteEnded(t.Context(), k.Feed)
		k.opts.ListEnded = list
		m := k.ask(wire.WatchRequest{Epoch: at.Epoch, Seq: at.Seq})
		k.wantTold(&m, "k=v2")
	})
}

// large is a value that is not kept with a change.
func large(name string) string { return name + strings.Repeat(".", 40<<10) }

func TestLargeItemIsToldAsItIsWhenItIsRead(t *testing.T) {
	withFeed(t, 100, func(t *testing.T, k *kitchen) {
		at := k.ask(wire.WatchRequest{})
		k.opts.Early = func() version.HLC { return 6 }
		k.change("k", watch.Ended, itemOf(1, large("v1"), 5))
		k.records["k"] = itemOf(2, large("v2"), 0)
		k.change("e", watch.Ended, itemOf(1, large("v1"), 5))
		k.records["e"] = itemOf(1, large("v1"), 5)
		k.change("small", watch.Ended, itemOf(1, "v1", 5))
		m := k.ask(wire.WatchRequest{Epoch: at.Epoch, Seq: at.Seq})
		k.wantTold(&m, "k=v2 e=v1+ small=v1+")
	})
}

// A tomb may be too large to be kept, and be purged before it is read.
func TestLargeItemThatIsGoneLeavesADoubt(t *testing.T) {
	withFeed(t, 100, func(t *testing.T, k *kitchen) {
		at := k.ask(wire.WatchRequest{})
		k.write("a", itemOf(1, "v1", 0))
		k.change("k", watch.Changed, itemOf(1, large("v1"), 0))
		m := k.ask(wire.WatchRequest{Epoch: at.Epoch, Seq: at.Seq})
		k.wantTold(&m, "a=v1")
		for shard := range testShards {
			if has := scan.Shards(m.Doubtful).Has(shard); has != (shard == k.homes.ShardOf(9, "k")) {
				t.Errorf("doubt of shard %d: %v", shard, has)
			}
		}
	})
}

func TestPageOfLargeItemsEndsWithTheFirstBeyondItsBytes(t *testing.T) {
	withFeed(t, 100, func(t *testing.T, k *kitchen) {
		at := k.ask(wire.WatchRequest{})
		loads := 0
		load := k.opts.Load
		k.opts.Load = func(ctx context.Context, at layout.Place) ([]byte, error) {
			loads++
			return load(ctx, at)
		}
		for _, key := range []string{"a", "b", "c"} {
			k.write(key, itemOf(1, large("v1"), 0))
		}
		k.change("gone", watch.Gone, nil)
		q := wire.WatchRequest{Epoch: at.Epoch, Seq: at.Seq, Records: 100, Bytes: 64 << 10}
		m := k.ask(q)
		k.wantTold(&m, "a=v1 b=v1")
		if m.Seq != 2 || m.Pause != 0 || loads != 2 || m.Doubtful != nil {
			t.Errorf("up to %d, after %d reads, pause %v, doubt %v", m.Seq, loads, m.Pause, m.Doubtful)
		}
		q.Seq = m.Seq
		m = k.ask(q)
		k.wantTold(&m, "c=v1")
		if m.Seq != 4 || m.Doubtful == nil {
			t.Errorf("the rest is %d, doubt %v", m.Seq, m.Doubtful)
		}
	})
}
