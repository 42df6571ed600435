package wire

import "testing"

func pageSamples(item []byte) []sample {
	ask := PageRequest{
		Bucket: 1 << 63, Shards: []byte{1, 0, 128}, Lower: "a\xff\x00", Upper: "b", Bounded: true, Reverse: true, KeysOnly: true,
		Records: 1024, Bytes: 128 << 10,
	}
	next := ask
	next.Scan = 1<<63 + 5
	all := PageRequest{Bucket: 9, Shards: []byte{255}, Records: 1, Bytes: 1}
	page := PageReply{Entries: []PageEntry{{"a", item}, {"\x00damaged", []byte{}}}, More: true, UpTo: "z\xff", Vouched: []byte{1, 0, 128}}
	busy := PageReply{Code: CodeOverloaded, Vouched: []byte{}}
	return []sample{
		{"page-request", AppendPageRequest(nil, &ask), ask, as(DecodePageRequest)},
		{"page-request-of-scan", AppendPageRequest(nil, &next), next, as(DecodePageRequest)},
		{"page-request-all", AppendPageRequest(nil, &all), all, as(DecodePageRequest)},
		{"page-reply", AppendPageReply(nil, &page), page, as(DecodePageReply)},
		{"page-reply-busy", AppendPageReply(nil, &busy), busy, as(DecodePageReply)},
	}
}

func FuzzDecodePageRequest(f *testing.F) {
	fuzz(f, "page-request", DecodePageRequest, func(m *PageRequest) []byte { return AppendPageRequest(nil, m) })
}

func FuzzDecodePageReply(f *testing.F) {
	fuzz(f, "page-reply", DecodePageReply, func(m *PageReply) []byte { return AppendPageReply(nil, m) })
}
