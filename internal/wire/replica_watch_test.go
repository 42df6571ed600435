package wire

import (
	"testing"
	"time"
)

func watchSamples(item []byte) []sample {
	ask := WatchRequest{
		Bucket: 1 << 63, Prefix: "a\xff\x00", Shards: []byte{1, 0, 128}, Epoch: 1<<64 - 1, Seq: 65536, Records: 1024, Bytes: 128 << 10,
		Wait: time.Second,
	}
	begin := WatchRequest{Bucket: 9, Shards: []byte{255}, Records: 1, Bytes: 1}
	reply := WatchReply{
		Epoch: 7, Seq: 1 << 40, Entries: []WatchEntry{{Step: 1, Key: "a", Item: item}, {Step: 70000, Key: "\x00", Item: item, Ended: true}},
		Refused: []byte{1, 0, 128}, Doubtful: []byte{2}, Pause: 5 * time.Millisecond,
	}
	forgotten := WatchReply{Code: CodeOverloaded, Epoch: 7, Seq: 1, Forgotten: true}
	cursor := WatchCursor{Bucket: 9, Places: []WatchPlace{{1, 7, 1 << 40, []byte{1}}, {1<<64 - 1, 8, 0, []byte{0, 128}}}}
	return []sample{
		{"watch-request", AppendWatchRequest(nil, &ask), ask, as(DecodeWatchRequest)},
		{"watch-request-begin", AppendWatchRequest(nil, &begin), begin, as(DecodeWatchRequest)},
		{"watch-reply", AppendWatchReply(nil, &reply), reply, as(DecodeWatchReply)},
		{"watch-reply-forgotten", AppendWatchReply(nil, &forgotten), forgotten, as(DecodeWatchReply)},
		{"watch-cursor", AppendWatchCursor(nil, &cursor), cursor, as(DecodeWatchCursor)},
	}
}

func FuzzDecodeWatchRequest(f *testing.F) {
	fuzz(f, "watch-request", DecodeWatchRequest, func(m *WatchRequest) []byte { return AppendWatchRequest(nil, m) })
}

func FuzzDecodeWatchReply(f *testing.F) {
	fuzz(f, "watch-reply", DecodeWatchReply, func(m *WatchReply) []byte { return AppendWatchReply(nil, m) })
}

func FuzzDecodeWatchCursor(f *testing.F) {
	fuzz(f, "watch-cursor", DecodeWatchCursor, func(m *WatchCursor) []byte { return AppendWatchCursor(nil, m) })
}
