package wire

import (
	"errors"
	"testing"

	"github.com/skeinmesh/skein/replica/version"
)

func adminBatchSamples() []sample {
	batch := AdminBatch{Bucket: "telemetry", Level: -2, MinDurable: 2, Entries: []AdminKey{
		{Key: "k\x00", Context: []byte{1, 2}, TTL: -1, Value: []byte("v")},
		{Key: "k\x00", Context: []byte{}, Value: []byte{}},
	}}
	lead := AdminBatch{Bucket: "b", Token: sampleToken, Entries: []AdminKey{{Key: "k", Context: []byte{}, Value: []byte("v")}}}
	dot := version.Dot{A: actor(1, 11, 1), N: 3}
	results := AdminResults{
		AdminOutcome: AdminOutcome{AdminDegraded, "one of two"},
		Results: []AdminResult{
			{Context: []byte{1}, Durable: 2, Homes: 2, Hinted: 1, Dot: dot, Covered: []version.Dot{dot}},
			{AdminOutcome: AdminOutcome{AdminOverloaded, "busy"}, Context: []byte{}},
		},
	}
	refused := AdminResults{AdminOutcome: AdminOutcome{AdminBadBatch | AdminTooLarge, "entry 3"}}
	items := AdminItems{Items: []AdminItem{
		{Context: []byte{1}, Replies: 2, Values: [][]byte{[]byte("one"), {}}, Last: 1},
		{AdminOutcome: AdminOutcome{AdminNotFound | AdminBehind, "not there"}, Context: []byte{}},
	}}
	return []sample{
		{"batch", AppendAdminBatch(nil, &batch), batch, as(DecodeAdminBatch)},
		{"batch-fenced", AppendAdminBatch(nil, &lead), lead, as(DecodeAdminBatch)},
		{"results", AppendAdminResults(nil, &results), results, as(DecodeAdminResults)},
		{"results-refused", AppendAdminResults(nil, &refused), refused, as(DecodeAdminResults)},
		{"items", AppendAdminItems(nil, &items), items, as(DecodeAdminItems)},
	}
}

func FuzzDecodeAdminBatch(f *testing.F) {
	fuzzAdmin(f, "batch", DecodeAdminBatch, func(m *AdminBatch) []byte { return AppendAdminBatch(nil, m) })
}

func FuzzDecodeAdminResults(f *testing.F) {
	fuzzAdmin(f, "results", DecodeAdminResults, func(m *AdminResults) []byte { return AppendAdminResults(nil, m) })
}

func FuzzDecodeAdminItems(f *testing.F) {
	fuzzAdmin(f, "items", DecodeAdminItems, func(m *AdminItems) []byte { return AppendAdminItems(nil, m) })
}

// As many of the smallest as a batch may have pass, and one more does not.
func TestAdminBatchesAreBounded(t *testing.T) {
	for n, fits := range map[int]bool{MaxMany: true, MaxMany + 1: false} {
		_, batch := DecodeAdminBatch(AppendAdminBatch(nil, &AdminBatch{Entries: make([]AdminKey, n)}))
		_, results := DecodeAdminResults(AppendAdminResults(nil, &AdminResults{Results: make([]AdminResult, n)}))
		_, items := DecodeAdminItems(AppendAdminItems(nil, &AdminItems{Items: make([]AdminItem, n)}))
		for what, err := range map[string]error{"keys": batch, "results": results, "items": items} {
			if (err == nil) != fits || !fits && !errors.Is(err, ErrMalformed) {
				t.Errorf("%d %s: %v", n, what, err)
			}
		}
	}
}
