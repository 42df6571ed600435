package wire

import "testing"

// sketchSamples are the messages of comparisons by sketches.
func sketchSamples(item, small []byte) []sample {
	one := Stamp{Acked: Round{7, 1 << 63}, Committed: Round{6, 5}}
	sums := SumsRequest{Stamps: 1 << 63, Sums: []BucketSum{{9, 1 << 63}, {1 << 63, 0}}}
	differ := SumsReply{Differ: []BucketDiffers{{0, 3, []byte{1, 2}}, {5, 1 << 40, []byte{}}}}
	ask := SketchRequest{Bucket: 9, Shards: []int{0, 1, 270, 65534}, Count: 65536, Rest: true, Mark: 7, Marks: []byte{1, 255}}
	again := SketchRequest{Bucket: 9, Kept: 1 << 63, From: 1000, Count: 4, Marks: []byte{}}
	sketch := SketchReply{Kept: 1 << 63, Keys: 1 << 40, Symbols: make([]byte, 24), Rest: 1 << 63}
	more := SketchReply{Kept: 3, Symbols: []byte{}, More: []int{3, 200}, Rest: 1}
	fetch := FetchRequest{Bucket: 9, Kept: 1 << 63, Prints: AppendPrints(nil, []uint64{1, 1 << 63})}
	plain := FetchReply{Done: 2, Items: []Fetched{{Key: "k", Item: small}}}
	stamped := FetchReply{Done: 300, Lags: []int{3, 270}, Items: []Fetched{{"a", item, one}, {"b", small, Stamp{}}}}
	return []sample{
		{"sums-request", AppendSumsRequest(nil, &sums), sums, as(DecodeSumsRequest)},
		{"sums-reply", AppendSumsReply(nil, &differ), differ, as(DecodeSumsReply)},
		{"sums-reply-stamps", AppendSumsReply(nil, &SumsReply{Stamps: true}), SumsReply{Stamps: true}, as(DecodeSumsReply)},
		{"sketch-request", AppendSketchRequest(nil, &ask), ask, as(DecodeSketchRequest)},
		{"sketch-request-again", AppendSketchRequest(nil, &again), again, as(DecodeSketchRequest)},
		{"sketch-reply", AppendSketchReply(nil, &sketch), sketch, as(DecodeSketchReply)},
		{"sketch-reply-more", AppendSketchReply(nil, &more), more, as(DecodeSketchReply)},
		{"fetch-request", AppendFetchRequest(nil, &fetch), fetch, as(DecodeFetchRequest)},
		{"fetch-reply", AppendFetchReply(nil, &plain), plain, as(DecodeFetchReply)},
		{"fetch-reply-stamped", AppendFetchReply(nil, &stamped), stamped, as(DecodeFetchReply)},
		{"fetch-reply-gone", AppendFetchReply(nil, &FetchReply{Gone: true}), FetchReply{Gone: true}, as(DecodeFetchReply)},
	}
}

// Comparisons are to cost little: that is what the forms are for.
func TestSketchMessagesAreSmall(t *testing.T) {
	shards := make([]int, 200)
	for i := range shards {
		shards[i] = 5 * i
	}
	ask := AppendSketchRequest(nil, &SketchRequest{Bucket: 1 << 63, Shards: shards, Count: 300, Rest: true})
	if len(ask) > 240 {
		t.Errorf("%d bytes ask for the sketch of 200 shards", len(ask))
	}
	reply := AppendSketchReply(nil, &SketchReply{Kept: 1 << 63, Keys: 1 << 20, Symbols: make([]byte, 300*symbolBytes)})
	if len(reply) > 300*symbolBytes+24 {
		t.Errorf("%d bytes carry 300 symbols", len(reply))
	}
}

func FuzzDecodeSumsRequest(f *testing.F) {
	fuzzFormat(f, DecodeSumsRequest, func(m SumsRequest) []byte { return AppendSumsRequest(nil, &m) })
}

func FuzzDecodeSumsReply(f *testing.F) {
	fuzzFormat(f, DecodeSumsReply, func(m SumsReply) []byte { return AppendSumsReply(nil, &m) })
}

func FuzzDecodeSketchRequest(f *testing.F) {
	fuzzFormat(f, DecodeSketchRequest, func(m SketchRequest) []byte { return AppendSketchRequest(nil, &m) })
}

func FuzzDecodeSketchReply(f *testing.F) {
	fuzzFormat(f, DecodeSketchReply, func(m SketchReply) []byte { return AppendSketchReply(nil, &m) })
}

func FuzzDecodeFetchRequest(f *testing.F) {
	fuzzFormat(f, DecodeFetchRequest, func(m FetchRequest) []byte { return AppendFetchRequest(nil, &m) })
}

func FuzzDecodeFetchReply(f *testing.F) {
	fuzzFormat(f, DecodeFetchReply, func(m FetchReply) []byte { return AppendFetchReply(nil, &m) })
}
