package exchange_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/skeinmesh/skein/internal/epidemic"
	"github.com/skeinmesh/skein/internal/exchange"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// figure is how likely a node is to fail, as it says itself.
type figure struct {
	Node    view.NodeID
	Seq     uint64
	Percent int
}

type (
	table     = exchange.Table[view.NodeID, uint64, figure]
	exchanger = exchange.Exchanger[view.NodeID, uint64, figure]
	sum       = wire.KeySum[view.NodeID, uint64]
	sums      = wire.TableSums[view.NodeID, uint64]
	swap      = wire.TableSwap[view.NodeID, figure]
)

// newFigures returns the table of one node.
func newFigures(self view.NodeID, member func(view.NodeID) bool) *table {
	began := time.Now()
	return exchange.NewTable(epidemic.Rule[view.NodeID, uint64, figure]{
		Sum:   func(f figure) sum { return sum{Key: f.Node, Version: f.Seq} },
		Newer: func(v, than uint64) bool { return v > than },
		Append: func(dst []byte, s sum) []byte {
			return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, uint64(s.Key)), s.Version)
		},
		Mine:  func(id view.NodeID) bool { return id == self },
		Renew: func(_ time.Duration, held, told figure) figure { return figure{self, told.Seq + 1, held.Percent} },
	}, func() time.Duration { return time.Since(began) }, func() func(sum) bool {
		return func(s sum) bool { return member(s.Key) }
	})
}

// Formats of real messages are those of internal/wire.
func encode[T any](dst []byte, v T) []byte {
	b, _ := json.Marshal(v)
	return append(dst, b...)
}

func decode[T any](b []byte) (v T, err error) { return v, json.Unmarshal(b, &v) }

func decodeSwap(b []byte, wanted func(sum) bool) (s swap, err error) {
	all, err := decode[swap](b)
	for _, f := range all.Have {
		if wanted(sum{Key: f.Node, Version: f.Seq}) {
			s.Have = append(s.Have, f)
		}
	}
	s.Want = all.Want
	return s, err
}

// Two nodes say how likely each is to fail, and after one exchange both know it of both.
func Example() {
	nodes := map[view.NodeID]*exchanger{}
	member := func(id view.NodeID) bool { return nodes[id] != nil }
	// With a mesh below it is CallIdempotent, and the mesh hands what peers ask to ServeSums
	// and ServeSwap.
	call := func(from view.NodeID) func(context.Context, view.NodeID, string, []byte) ([]byte, error) {
		return func(ctx context.Context, peer view.NodeID, method string, req []byte) ([]byte, error) {
			if method == "figures/sums" {
				return nodes[peer].ServeSums(ctx, from, req)
			}
			return nodes[peer].ServeSwap(ctx, from, req)
		}
	}
	tables := map[view.NodeID]*table{}
	for _, id := range []view.NodeID{1, 2} {
		tables[id] = newFigures(id, member)
		nodes[id] = &exchanger{
			Set: tables[id],
			Words: exchange.Words[view.NodeID, uint64, figure]{
				AppendQuery: encode[sums], DecodeQuery: decode[sums], AppendSums: encode[sums], DecodeSums: decode[sums],
				AppendSwap: encode[swap], DecodeSwap: decodeSwap,
			},
			SumsMethod: "figures/sums", SwapMethod: "figures/swap", Call: call(id), Reads: make(chan struct{}, 2),
		}
		tables[id].Change(id, func(_ time.Duration, held figure) (figure, bool) {
			return figure{id, held.Seq + 1, 10 * int(id)}, true
		})
	}
	// HandOn does this with a few peers when there are news, Compare with one now and then.
	if err := nodes[1].With(context.Background(), 2); err != nil {
		fmt.Println(err)
	}
	for _, id := range []view.NodeID{1, 2} {
		for _, of := range []view.NodeID{1, 2} {
			fmt.Printf("at node %d: node %d fails with %d %%\n", id, of, tables[id].Get(of).Entry.Percent)
		}
	}
	// Output:
	// at node 1: node 1 fails with 10 %
	// at node 1: node 2 fails with 20 %
	// at node 2: node 1 fails with 10 %
	// at node 2: node 2 fails with 20 %
}
