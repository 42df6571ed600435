package wire

import (
	"testing"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// formatOnPut is a format that each put is written and read in, with one message of it.
type formatOnPut struct {
	name   string
	encode func(dst []byte) []byte
	decode func(data []byte) error
	allocs float64 // of decode: keys, contexts and lists
}

// formatsOnPut are what one put goes through: it is asked for, answered, copied to
// other homes and kept.
func formatsOnPut() []formatOnPut {
	a, b := actor(1<<63, 1<<62, 1), actor(1<<62, 1<<61, 2)
	ctx := version.Context{{A: b, N: 3}, {A: a, N: 300}}
	date := version.HLC(1_700_000_000_000 << 16)
	it := version.Item{Ctx: ctx, HLC: date, Sibs: []version.Sibling{{Dot: version.Dot{A: a, N: 300}, HLC: date, Value: make([]byte, 100)}}}
	item := AppendItem(nil, &it)
	clock := Clock{Run: 1 << 63, Reading: 5_000_000}
	key := "line-1/press-4/temperature/mean-of-10s"
	put := PutRequest{Bucket: 1 << 63, Key: key, Value: make([]byte, 100), Informed: true, Ctx: ctx, HLC: date, Level: -2, MinDurable: 2, TTL: 60_000, By: clock}
	blind := PutRequest{Bucket: 1 << 63, Key: "k", Value: make([]byte, 100), By: clock}
	reply := PutReply{Clock: clock, Durable: 2, Homes: 2, Dot: it.Sibs[0].Dot, Covered: []version.Dot{{A: b, N: 3}}, Ctx: ctx, HLC: date}
	copied := MergeRequest{Wall: 1_700_000_000_000, Offers: []Offer{{Bucket: 1 << 63, Key: key, Item: item}}}
	merged := MergeReply{Wall: 1_700_000_000_000}
	record := Record{Item: item, Mine: a, Home: true}
	hinted := Record{Item: item, Hints: []view.NodeID{1 << 60, 1 << 61}}
	return []formatOnPut{
		{"PutRequest", func(dst []byte) []byte { return AppendPutRequest(dst, &put) }, func(data []byte) error { _, err := DecodePutRequest(data); return err }, 2},
		{"PutRequestBlind", func(dst []byte) []byte { return AppendPutRequest(dst, &blind) }, func(data []byte) error { _, err := DecodePutRequest(data); return err }, 0},
		{"PutReply", func(dst []byte) []byte { return AppendPutReply(dst, &reply) }, func(data []byte) error { _, err := DecodePutReply(data); return err }, 2},
		{"MergeRequest", func(dst []byte) []byte { return AppendMergeRequest(dst, &copied) }, func(data []byte) error { _, err := DecodeMergeRequest(data); return err }, 2},
		{"MergeReply", func(dst []byte) []byte { return AppendMergeReply(dst, merged) }, func(data []byte) error { _, err := DecodeMergeReply(data); return err }, 0},
		{"Record", func(dst []byte) []byte { return AppendRecord(dst, record) }, func(data []byte) error { _, err := DecodeRecord(data); return err }, 0},
		{"RecordHinted", func(dst []byte) []byte { return AppendRecord(dst, hinted) }, func(data []byte) error { _, err := DecodeRecord(data); return err }, 1},
		{"Item", func(dst []byte) []byte { return AppendItem(dst, &it) }, func(data []byte) error { _, err := DecodeItem(data); return err }, 2},
	}
}

// The codec and the message stay on the stack, which hangs on whether the compiler inlines
// appendFields and readFields. Elsewhere each of them would cost every put two allocations.
func TestPutMessagesStayOnTheStack(t *testing.T) {
	for _, f := range formatsOnPut() {
		data := f.encode(nil)
		if n := testing.AllocsPerRun(100, func() { data = f.encode(data[:0]) }); n != 0 {
			t.Errorf("writing a %s takes %v allocations", f.name, n)
		}
		var err error
		if n := testing.AllocsPerRun(100, func() { err = f.decode(data) }); err != nil || n > f.allocs {
			t.Errorf("reading a %s takes %v allocations of %v, %v", f.name, n, f.allocs, err)
		}
	}
}

func BenchmarkPut(b *testing.B) {
	for _, f := range formatsOnPut() {
		data := f.encode(nil)
		b.Run("Append"+f.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				data = f.encode(data[:0])
			}
		})
		b.Run("Decode"+f.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f.decode(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
