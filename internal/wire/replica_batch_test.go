package wire

import (
	"errors"
	"testing"

	"github.com/skeinmesh/skein/replica/version"
)

func batchSamples(it version.Item) []sample {
	clock := Clock{Run: 1 << 63, Reading: 5_000_000}
	puts := PutManyRequest{Bucket: 1 << 63, Level: -2, MinDurable: 2, By: clock, Puts: []ManyPut{
		{Key: "k", Informed: true, Ctx: it.Ctx, HLC: it.HLC, TTL: 60_000, Value: []byte("v")},
		{Key: "k", Value: []byte{}},
		{Key: "l\xff", Tomb: true, Value: []byte{}},
	}}
	done := PutManyReply{Clock: clock, Done: []ManyDone{
		{Code: CodeDegraded, Text: "alone", Durable: 1, Homes: 1, Hinted: 2, Dot: it.Sibs[0].Dot, Covered: []version.Dot{{A: it.Ctx[0].A, N: 1}}, Ctx: it.Ctx, HLC: it.HLC},
		{Code: CodeOverloaded},
	}}
	late := PutManyReply{Code: CodeLate, Text: "late", Clock: clock}
	return []sample{
		{"put-many-request", AppendPutManyRequest(nil, &puts), puts, as(DecodePutManyRequest)},
		{"put-many-reply", AppendPutManyReply(nil, &done), done, as(DecodePutManyReply)},
		{"put-many-reply-refused", AppendPutManyReply(nil, &late), late, as(DecodePutManyReply)},
	}
}

func FuzzDecodePutManyRequest(f *testing.F) {
	fuzz(f, "put-many-request", DecodePutManyRequest, func(m *PutManyRequest) []byte { return AppendPutManyRequest(nil, m) })
}

func FuzzDecodePutManyReply(f *testing.F) {
	fuzz(f, "put-many-reply", DecodePutManyReply, func(m *PutManyReply) []byte { return AppendPutManyReply(nil, m) })
}

// As many of the smallest writes as a batch may have pass, and one more does not.
func TestBatchesAreBounded(t *testing.T) {
	for n, fits := range map[int]bool{MaxMany: true, MaxMany + 1: false} {
		small := make([]ManyPut, n)
		for i := range small {
			small[i] = ManyPut{Key: "k", Value: []byte("v")}
		}
		puts := AppendPutManyRequest(nil, &PutManyRequest{Puts: small})
		if _, err := DecodePutManyRequest(puts); (err == nil) != fits || !fits && !errors.Is(err, ErrMalformed) {
			t.Errorf("%d puts: %v", n, err)
		}
		done := AppendPutManyReply(nil, &PutManyReply{Done: make([]ManyDone, n)})
		if _, err := DecodePutManyReply(done); (err == nil) != fits || !fits && !errors.Is(err, ErrMalformed) {
			t.Errorf("%d results: %v", n, err)
		}
		refused := AppendPutManyReply(nil, &PutManyReply{Code: CodeLate, Done: make([]ManyDone, 1)})
		if _, err := DecodePutManyReply(refused); !errors.Is(err, ErrMalformed) {
			t.Errorf("results of what was refused: %v", err)
		}
	}
	for name, bad := range map[string]ManyPut{"delete with a value": {Tomb: true, Value: []byte("v")}, "blind with a date": {HLC: 1}} {
		if _, err := DecodePutManyRequest(AppendPutManyRequest(nil, &PutManyRequest{Puts: []ManyPut{bad}})); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
