package wire

import (
	"errors"
	"testing"

	"github.com/skeinmesh/skein/partition/token"
	"github.com/skeinmesh/skein/replica/version"
)

// fencedSamples are messages about writes of leaders. Those about other writes are the same
// as before there were tokens, which their golden files show.
func fencedSamples(it version.Item) []sample {
	merged := MergeReply{Wall: 7, Fenced: []FencedOffer{{0, sampleToken}, {300, token.Token{Term: 1, Node: 1 << 63}}}}
	both := MergeReply{Wall: 7, Stale: []int{1}, Fenced: []FencedOffer{{2, sampleToken}}}
	put := PutRequest{Bucket: 9, Key: "k", Value: []byte("v"), Informed: true, Ctx: it.Ctx, HLC: it.HLC, Token: sampleToken}
	refused := PutReply{Code: CodeFenced, Text: "a later one", Fence: sampleToken}
	puts := PutManyRequest{Bucket: 9, Token: sampleToken, Puts: []ManyPut{{Key: "k", Value: []byte("v")}, {Key: "l", Tomb: true, Value: []byte{}}}}
	done := PutManyReply{Done: []ManyDone{{Code: CodeFenced, Text: "a later one", Fence: sampleToken}, {Durable: 2, Dot: it.Sibs[0].Dot}}}
	wait := OutboxOp{Bucket: BucketDef{Name: "b", Copies: 1}, Key: "k", Value: []byte("v"), Token: sampleToken}
	return []sample{
		{"merge-reply-fenced", AppendMergeReply(nil, merged), merged, as(DecodeMergeReply)},
		{"merge-reply-fenced-stale", AppendMergeReply(nil, both), both, as(DecodeMergeReply)},
		{"put-request-fenced", AppendPutRequest(nil, &put), put, as(DecodePutRequest)},
		{"put-reply-fenced", AppendPutReply(nil, &refused), refused, as(DecodePutReply)},
		{"put-many-request-fenced", AppendPutManyRequest(nil, &puts), puts, as(DecodePutManyRequest)},
		{"put-many-reply-fenced", AppendPutManyReply(nil, &done), done, as(DecodePutManyReply)},
		{"outbox-op-fenced", AppendOutboxOp(nil, &wait), wait, as(DecodeOutboxOp)},
	}
}

// A later version that tells nothing more is none, and a refusal names the token.
func TestTokensStandWhereTheyBelong(t *testing.T) {
	later := func(data []byte, version byte) []byte { data[0] = version; return data }
	for name, err := range map[string]error{
		"a refusal without a token":      second(DecodePutReply(AppendPutReply(nil, &PutReply{Code: CodeFenced}))),
		"no refusal, and a token":        second(DecodePutReply(append(later(AppendPutReply(nil, &PutReply{}), 2), 1, 1))),
		"a put of nobody":                second(DecodePutRequest(append(later(AppendPutRequest(nil, &PutRequest{}), 2), 0, 0))),
		"a put of half a token":          second(DecodePutRequest(AppendPutRequest(nil, &PutRequest{Token: token.Token{Term: 1}}))),
		"an answer that tells of none":   second(DecodeMergeReply(append(later(AppendMergeReply(nil, MergeReply{}), 3), 0x90, 0x90))),
		"answers that tell of none":      second(DecodePutManyReply(later(AppendPutManyReply(nil, &PutManyReply{}), 2))),
		"a place twice":                  second(DecodeMergeReply(AppendMergeReply(nil, MergeReply{Fenced: []FencedOffer{{1, sampleToken}, {1, sampleToken}}}))),
		"one refusal of two with a name": second(DecodePutManyReply(AppendPutManyReply(nil, &PutManyReply{Done: []ManyDone{{Code: CodeFenced, Fence: sampleToken}, {Code: CodeFenced}}}))),
	} {
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	known := SeenContext{Ctx: version.Context{}.With(version.Actor{Store: 1, Session: 1}, 1), HLC: 1}
	if !PeekKnown(AppendContext(nil, &known, 9, "k", &sampleSeal)) || PeekKnown(AppendContext(nil, &SeenContext{}, 9, "k", &sampleSeal)) || PeekKnown([]byte("no context")) {
		t.Error("whether a context has seen a write is not told")
	}
	if got := PeekFence([]byte("no context")); !got.IsZero() {
		t.Errorf("%v is seen in what is no context", got)
	}
}
