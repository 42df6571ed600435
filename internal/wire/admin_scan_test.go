package wire

import "testing"

func adminScanSamples() []sample {
	ask := AdminScan{Bucket: "telemetry", Prefix: "a\xff", From: "b", To: "c", After: "kYQ", Limit: 1 << 40, Reverse: true, KeysOnly: true, Level: -2}
	all := AdminScan{Bucket: "b"}
	page := AdminPage{
		AdminOutcome: AdminOutcome{AdminClosed, "closed"},
		Entries:      []AdminEntry{{"k\x00", []byte{1}, 2, [][]byte{[]byte("one"), {}}, 2}, {"l", []byte{2}, 1, [][]byte{{}}, 0}},
		Gaps:         []int{0, 270, 65535}, Of: 271, Conflict: true, More: true, After: "kbA",
	}
	def := BucketDef{Name: "telemetry", Copies: 3, Siblings: true, Zones: []string{"a"}}
	buckets := AdminBuckets{AdminOutcome: AdminOutcome{AdminDegraded, "some"}, Buckets: []AdminBucket{{def, true}, {BucketDef{Name: "b", Copies: 1}, false}}}
	return []sample{
		{"scan", AppendAdminScan(nil, &ask), ask, as(DecodeAdminScan)},
		{"scan-all", AppendAdminScan(nil, &all), all, as(DecodeAdminScan)},
		{"page", AppendAdminPage(nil, &page), page, as(DecodeAdminPage)},
		{"page-empty", AppendAdminPage(nil, &AdminPage{}), AdminPage{}, as(DecodeAdminPage)},
		{"buckets", AppendAdminBuckets(nil, &buckets), buckets, as(DecodeAdminBuckets)},
	}
}

func FuzzDecodeAdminScan(f *testing.F) {
	fuzzAdmin(f, "scan", DecodeAdminScan, func(m *AdminScan) []byte { return AppendAdminScan(nil, m) })
}

func FuzzDecodeAdminPage(f *testing.F) {
	fuzzAdmin(f, "page", DecodeAdminPage, func(m *AdminPage) []byte { return AppendAdminPage(nil, m) })
}

func FuzzDecodeAdminBuckets(f *testing.F) {
	fuzzAdmin(f, "buckets", DecodeAdminBuckets, func(m *AdminBuckets) []byte { return AppendAdminBuckets(nil, m) })
}
