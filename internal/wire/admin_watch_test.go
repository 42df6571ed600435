package wire

import "testing"

func adminWatchSamples() []sample {
	begin := AdminWatch{Bucket: "telemetry", Prefix: "a\xff", From: "wAQ", Present: true}
	next := AdminWatch{Session: 1 << 63, End: true}
	changes := AdminChanges{
		AdminOutcome: AdminOutcome{AdminTooSlow, "too slow"}, Session: 1 << 63,
		Changes: []AdminChange{
			{Kind: 1, Key: "k\x00", Context: []byte{1}, Replies: 2, Values: [][]byte{[]byte("one"), {}}, Last: 2},
			{Kind: 4, Shards: []int{0, 270, 65535}, Open: 271},
		},
		Cursor: "wAQ", Conflict: true,
	}
	return []sample{
		{"watch", AppendAdminWatch(nil, &begin), begin, as(DecodeAdminWatch)},
		{"watch-next", AppendAdminWatch(nil, &next), next, as(DecodeAdminWatch)},
		{"changes", AppendAdminChanges(nil, &changes), changes, as(DecodeAdminChanges)},
		{"changes-none", AppendAdminChanges(nil, &AdminChanges{Session: 1}), AdminChanges{Session: 1}, as(DecodeAdminChanges)},
	}
}

func FuzzDecodeAdminWatch(f *testing.F) {
	fuzzAdmin(f, "watch", DecodeAdminWatch, func(m *AdminWatch) []byte { return AppendAdminWatch(nil, m) })
}

func FuzzDecodeAdminChanges(f *testing.F) {
	fuzzAdmin(f, "changes", DecodeAdminChanges, func(m *AdminChanges) []byte { return AppendAdminChanges(nil, m) })
}
