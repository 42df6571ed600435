package wire

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
	"github.com/skeinmesh/skein/replica/version"
)

var update = flag.Bool("update-replica", false, "write golden files that do not exist yet")

func actor(store, session uint64, seq uint32) version.Actor {
	return version.Actor{Store: store, Session: session, Seq: seq}
}

func sampleItem() version.Item {
	a, b, c := actor(1, 11, 1), actor(1, 11, 2), actor(0xffffffffffffffff, 1<<63, 7)
	return version.Item{
		Ctx: version.Context{{A: a, N: 3}, {A: b, N: 1}, {A: c, N: 300}},
		HLC: 1_700_000_000_000<<16 | 5,
		Sibs: []version.Sibling{
			{Dot: version.Dot{A: a, N: 3}, HLC: 17 << 16, Value: []byte("value")},
			{Dot: version.Dot{A: b, N: 1}, HLC: 18 << 16, Flags: version.Tomb},
			{Dot: version.Dot{A: c, N: 299}, HLC: 19 << 16, Expire: 20 << 16, Value: bytes.Repeat([]byte("x"), 300)},
			{Dot: version.Dot{A: c, N: 300}, HLC: 19<<16 | 1},
		},
	}
}

// fencedItem is of a leader, of its predecessor, and of somebody who wrote before them.
func fencedItem() version.Item {
	it := sampleItem()
	it.Sibs[0].Token = token.Token{Term: 5, Node: 1 << 63}
	it.Sibs[1].Token = sampleToken
	return it
}

var sampleToken = token.Token{Term: 300, Node: 7}

// A sample pairs a format with one message of it, and knows how to read it.
type sample struct {
	name   string
	data   []byte
	want   any
	decode func([]byte) (any, error)
}

func as[T any](fn func([]byte) (T, error)) func([]byte) (any, error) {
	return func(b []byte) (any, error) { return fn(b) }
}

func samples() []sample {
	it := sampleItem()
	item := AppendItem(nil, &it)
	small := version.Item{Ctx: version.Context{{A: actor(5, 6, 7), N: 1}}, HLC: 3, Sibs: []version.Sibling{{Dot: version.Dot{A: actor(5, 6, 7), N: 1}, HLC: 3, Value: []byte{0}}}}
	smallItem := AppendItem(nil, &small)
	fenced := fencedItem()
	seen := SeenContext{Ctx: it.Ctx, HLC: it.HLC}
	seenFence := SeenContext{Ctx: it.Ctx, HLC: it.HLC, Fence: sampleToken}
	mine := actor(1, 11, 2)
	record := Record{Item: item, Mine: mine, Home: true, Hints: []view.NodeID{4, 1 << 60}}
	merge := MergeRequest{Wall: -1, Offers: []Offer{{Bucket: 9, Key: "k", Item: item}, {Bucket: 1 << 63, Key: "", For: 3, Item: smallItem}}}
	mergeReply := MergeReply{Code: CodeOverloaded, Wall: 1_700_000_000_000}
	read := ReadRequest{Keys: []Lookup{{Bucket: 9, Key: "k", Known: 1 << 40}, {Key: "other"}}}
	readReply := ReadReply{Wall: 7, Items: []Lookedup{{Found: Present, Item: item}, {Found: Absent, Item: []byte{}}, {Found: Nothing, Item: []byte{}}, {Found: Same, Item: []byte{}}}}
	put := PutRequest{Bucket: 9, Key: "k", Value: []byte("v"), Informed: true, Ctx: it.Ctx, HLC: it.HLC, Level: -2, MinDurable: 2, TTL: 60_000, By: Clock{Run: 1 << 63, Reading: 5_000_000}}
	del := PutRequest{Bucket: 9, Key: "k", Value: []byte{}, Tomb: true}
	putReply := PutReply{Code: CodeDegraded, Text: "alone", Clock: Clock{Run: 1 << 63, Reading: 5_000_000}, Durable: 1, Homes: 1, Hinted: 2, Dot: it.Sibs[0].Dot, Covered: []version.Dot{{A: it.Ctx[0].A, N: 1}}, Ctx: it.Ctx, HLC: it.HLC}
	digest := DigestRequest{Sums: []Sum{{Bucket: 9, Shard: 270, Digest: [16]byte{1, 2, 15: 3}}, {Bucket: 1, Shard: 65535}}}
	digestReply := DigestReply{Differ: []int{0, 5, 300}}
	list := ListRequest{Bucket: 9, Shard: 270, After: "k", From: true}
	listReply := ListReply{Marks: []Mark{{Key: "a", Hash: 1 << 63}, {Key: "b"}}, More: true}
	meta := WriterMeta{Store: 1, Session: 1 << 63, Seq: 1<<32 - 1, Machine: [16]byte{1, 15: 2}, Ceiling: 1_700_000_000_000 << 16}
	def := BucketDef{Name: "telemetry", Copies: 3, Siblings: true, Zones: []string{"a", "b"}}
	wait := OutboxOp{Bucket: def, Key: "k", Priority: -100, Accepted: 5_000, Follows: 1 << 40, Ctx: it.Ctx, HLC: it.HLC, Level: -2, MinDurable: 2, TTL: 60_000, Value: []byte("v")}
	waitDel := OutboxOp{Bucket: BucketDef{Name: "b", Copies: 1}, Key: "k", Priority: 100, Tomb: true, Value: []byte{}}
	return append([]sample{
		{"item", item, it, as(DecodeItem)},
		{"item-small", smallItem, small, as(DecodeItem)},
		{"item-fenced", AppendItem(nil, &fenced), fenced, as(DecodeItem)},
		{"item-empty", AppendItem(nil, &version.Item{}), version.Item{}, as(DecodeItem)},
		{"record", AppendRecord(nil, record), record, as(DecodeRecord)},
		{"record-bare", AppendRecord(nil, Record{Item: smallItem}), Record{Item: smallItem}, as(DecodeRecord)},
		{"context-sealed", AppendContext(nil, &seen, 9, "k", &sampleSeal), seen, as(decodeSeen)},
		{"context-sealed-fenced", AppendContext(nil, &seenFence, 9, "k", &sampleSeal), seenFence, as(decodeSeen)},
		{"merge-request", AppendMergeRequest(nil, &merge), merge, as(DecodeMergeRequest)},
		{"merge-reply", AppendMergeReply(nil, mergeReply), mergeReply, as(DecodeMergeReply)},
		{"read-request", AppendReadRequest(nil, &read), read, as(DecodeReadRequest)},
		{"read-reply", AppendReadReply(nil, &readReply), readReply, as(DecodeReadReply)},
		{"put-request", AppendPutRequest(nil, &put), put, as(DecodePutRequest)},
		{"put-request-delete", AppendPutRequest(nil, &del), del, as(DecodePutRequest)},
		{"put-reply", AppendPutReply(nil, &putReply), putReply, as(DecodePutReply)},
		{"digest-request", AppendDigestRequest(nil, &digest), digest, as(DecodeDigestRequest)},
		{"digest-reply", AppendDigestReply(nil, &digestReply), digestReply, as(DecodeDigestReply)},
		{"list-request", AppendListRequest(nil, &list), list, as(DecodeListRequest)},
		{"list-reply", AppendListReply(nil, &listReply), listReply, as(DecodeListReply)},
		{"session", AppendWriterMeta(nil, meta), meta, as(DecodeWriterMeta)},
		{"bucket", AppendBucketDef(nil, &def), def, as(DecodeBucketDef)},
		{"outbox-op", AppendOutboxOp(nil, &wait), wait, as(DecodeOutboxOp)},
		{"outbox-op-delete", AppendOutboxOp(nil, &waitDel), waitDel, as(DecodeOutboxOp)},
		{"outbox-meta", AppendOutboxMeta(nil, OutboxMeta{Ran: 1 << 40}), OutboxMeta{Ran: 1 << 40}, as(DecodeOutboxMeta)},
	}, slices.Concat(fencedSamples(it), stampSamples(item, smallItem), sketchSamples(item, smallItem), pageSamples(item), watchSamples(item), batchSamples(it), backupSamples(item))...)
}

var sampleSeal = ContextKey{1, 31: 2}

func decodeSeen(b []byte) (SeenContext, error) { return DecodeContext(b, 9, "k", &sampleSeal) }

func TestReplicaFormatsReadWhatTheyWrote(t *testing.T) {
	for _, s := range samples() {
		got, err := s.decode(s.data)
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
		} else if !reflect.DeepEqual(got, s.want) {
			t.Errorf("%s: read %+v, wrote %+v", s.name, got, s.want)
		}
	}
}

// Golden files are kept for ever: what an old build wrote stays readable.
func TestReplicaFormatsGolden(t *testing.T) {
	for _, s := range samples() {
		path := filepath.Join("testdata", "replica", s.name+".v1")
		want, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) && *update {
			if err := os.WriteFile(path, s.data, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(s.data, want) {
			t.Errorf("%s: bytes changed:\n got %x\nwant %x", s.name, s.data, want)
		}
		if got, err := s.decode(want); err != nil || !reflect.DeepEqual(got, s.want) {
			t.Errorf("%s: golden file reads as %+v, %v", s.name, got, err)
		}
	}
}

func TestReplicaFormatsRefuseTruncatedTrailingAndNewer(t *testing.T) {
	for _, s := range samples() {
		for n := range s.data {
			if _, err := s.decode(s.data[:n:n]); !errors.Is(err, ErrMalformed) {
				t.Fatalf("%s cut to %d of %d bytes: %v", s.name, n, len(s.data), err)
			}
		}
		if _, err := s.decode(append(bytes.Clone(s.data), 0)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s with a byte too many: %v", s.name, err)
		}
		if strings.HasPrefix(s.name, "context-sealed") {
			continue // the checksum speaks first
		}
		newer := bytes.Clone(s.data)
		newer[0] = 99
		if _, err := s.decode(newer); !errors.Is(err, ErrNewerVersion) {
			t.Errorf("%s of a later version: %v", s.name, err)
		}
	}
}

func TestItemDecoderRefusesWhatIsNoItem(t *testing.T) {
	a, b := actor(1, 1, 1), actor(2, 1, 1)
	ctx := version.Context{{A: a, N: 2}, {A: b, N: 1}}
	for name, it := range map[string]version.Item{
		"context out of order":   {Ctx: version.Context{ctx[1], ctx[0]}},
		"entry twice":            {Ctx: version.Context{ctx[0], ctx[0]}},
		"entry of nothing":       {Ctx: version.Context{{A: a}}},
		"sibling beyond context": {Ctx: ctx, Sibs: []version.Sibling{{Dot: version.Dot{A: a, N: 3}}}},
		"sibling of no write":    {Ctx: ctx, Sibs: []version.Sibling{{Dot: version.Dot{A: a}}}},
		"siblings out of order":  {Ctx: ctx, Sibs: []version.Sibling{{Dot: version.Dot{A: b, N: 1}}, {Dot: version.Dot{A: a, N: 1}}}},
		"same sibling twice":     {Ctx: ctx, Sibs: []version.Sibling{{Dot: version.Dot{A: a, N: 1}}, {Dot: version.Dot{A: a, N: 1}}}},
		"delete with a value":    {Ctx: ctx, Sibs: []version.Sibling{{Dot: version.Dot{A: a, N: 1}, Flags: version.Tomb, Value: []byte("v")}}},
	} {
		if _, err := DecodeItem(AppendItem(nil, &it)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestContextBelongsToOneKey(t *testing.T) {
	it := sampleItem()
	seen := SeenContext{Ctx: it.Ctx, HLC: it.HLC}
	tok := AppendContext(nil, &seen, 9, "k", &sampleSeal)
	for _, other := range []struct {
		bucket uint64
		key    string
	}{{9, "l"}, {8, "k"}, {9, ""}} {
		if _, err := DecodeContext(tok, other.bucket, other.key, &sampleSeal); !errors.Is(err, ErrMalformed) {
			t.Errorf("context of k in 9 taken for %q in %d: %v", other.key, other.bucket, err)
		}
	}
}

// A context that an older version handed out could have been made by anybody.
func TestContextWithoutASealIsRefused(t *testing.T) {
	old, err := os.ReadFile(filepath.Join("testdata", "replica", "context.v1"))
	if err != nil {
		t.Fatal(err)
	}
	it := sampleItem()
	other := ContextKey{2}
	for name, data := range map[string][]byte{"old": old, "of another mesh": AppendContext(nil, &SeenContext{Ctx: it.Ctx, HLC: it.HLC}, 9, "k", &other)} {
		if _, err := DecodeContext(data, 9, "k", &sampleSeal); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What no leader has written takes the bytes that it took before there were tokens, which
// the golden files of items show; and what one has takes no more than is made room for.
func TestItemSizeHoldsTokens(t *testing.T) {
	it := fencedItem()
	for i := range it.Sibs {
		s := &it.Sibs[i]
		s.HLC, s.Expire, s.Token = it.HLC, version.Limit, token.Token{Term: 1 << 63, Node: 1 << 63}
	}
	it.Sibs[3].Token = token.Token{}
	if n := len(AppendItem(nil, &it)); n > ItemSize(&it) {
		t.Errorf("ItemSize says %d, %d were needed", ItemSize(&it), n)
	}
	bare := bytes.Clone(AppendItem(nil, &version.Item{}))
	bare[0] = fencedItemVersion
	if _, err := DecodeItem(bare); !errors.Is(err, ErrMalformed) {
		t.Errorf("an item of the version with tokens that has none: %v", err)
	}
}

func TestItemOverheadOfOneWriterIsSmall(t *testing.T) {
	a := actor(1<<63, 1<<62, 5)
	it := version.Item{Ctx: version.Context{{A: a, N: 9}}, HLC: 1 << 60, Sibs: []version.Sibling{{Dot: version.Dot{A: a, N: 9}, HLC: 1 << 60}}}
	if n := len(AppendItem(nil, &it)); n > 60 {
		t.Errorf("%d bytes around an empty value, want at most 60", n)
	}
	if n := len(AppendItem(nil, &it)); n > ItemSize(&it) {
		t.Errorf("ItemSize says %d, %d were needed", ItemSize(&it), n)
	}
}

func TestKeysOfAStore(t *testing.T) {
	rec := RecordKey(270, 1<<63|5, "a\x00b")
	shard, bucket, key, ok := ParseRecordKey(rec)
	if !ok || shard != 270 || bucket != 1<<63|5 || key != "a\x00b" {
		t.Fatalf("record key reads as %d %d %q %v", shard, bucket, key, ok)
	}
	idx := IndexKey(IndexHint, 77, rec)
	target, back, ok := ParseIndexKey(idx)
	if !ok || target != 77 || !bytes.Equal(back, rec) {
		t.Fatalf("index key reads as %d %x %v", target, back, ok)
	}
	lo, hi := IndexRange(IndexHint, 77)
	if bytes.Compare(idx, lo) < 0 || bytes.Compare(idx, hi) >= 0 {
		t.Fatal("index entry outside its target's range")
	}
	if other := IndexKey(IndexHint, 78, rec); bytes.Compare(other, hi) < 0 {
		t.Fatal("range of one target holds another's entries")
	}
	if got := After([]byte{1, 0xff, 0xff}); !bytes.Equal(got, []byte{2}) {
		t.Fatalf("After = %x", got)
	}
	if After([]byte{0xff}) != nil {
		t.Fatal("there is a key after the last one")
	}
	for _, k := range [][]byte{nil, {'d'}, rec[:10], idx[:19], {'x'}} {
		if _, _, _, ok := ParseRecordKey(k); ok {
			t.Errorf("%x is no record key", k)
		}
		if _, _, ok := ParseIndexKey(k); ok {
			t.Errorf("%x is no index key", k)
		}
	}
}

// fuzz feeds a decoder the samples of its kind first.
func fuzz[T any](f *testing.F, kind string, decode func([]byte) (T, error), encode func(*T) []byte) {
	for _, s := range samples() {
		if strings.HasPrefix(s.name, kind) {
			f.Add(s.data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) { readsBack(t, data, decode, encode) })
}

// readsBack has a decoder read data. What it accepts must survive being written, and being
// read again.
func readsBack[T any](t *testing.T, data []byte, decode func([]byte) (T, error), encode func(*T) []byte) {
	v, err := decode(data)
	if err != nil {
		if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrNewerVersion) {
			t.Fatalf("untyped error %v", err)
		}
		return
	}
	written := encode(&v)
	if same, _ := decode(data); !reflect.DeepEqual(same, v) {
		t.Fatalf("%+v became %+v while it was written", same, v)
	}
	if again, err := decode(written); err != nil || !reflect.DeepEqual(again, v) {
		t.Fatalf("read back %+v, %v, want %+v", again, err, v)
	}
}

func FuzzDecodeItem(f *testing.F) {
	fuzz(f, "item", DecodeItem, func(it *version.Item) []byte { return AppendItem(nil, it) })
}

func FuzzDecodeRecord(f *testing.F) {
	fuzz(f, "record", DecodeRecord, func(r *Record) []byte { return AppendRecord(nil, *r) })
}

func FuzzDecodeContext(f *testing.F) {
	for _, s := range samples() {
		if strings.HasPrefix(s.name, "context-sealed") {
			f.Add(s.data)
			f.Add(s.data[:len(s.data)-contextSeal])
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := DecodeContext(data, 9, "k", &sampleSeal); err != nil && !errors.Is(err, ErrMalformed) {
			t.Fatalf("untyped error %v", err)
		}
		// With a right seal too, or nothing behind it would ever be reached.
		tok := append(bytes.Clone(data), sealOfContext(data, 9, "k", &sampleSeal)...)
		seen, err := decodeSeen(tok)
		if err != nil {
			return
		}
		again := AppendContext(nil, &seen, 9, "k", &sampleSeal)
		if same, err := decodeSeen(again); err != nil || !reflect.DeepEqual(seen, same) || PeekFence(again) != seen.Fence {
			t.Fatalf("read back %v %v, want %v, fence %v", same, err, seen, PeekFence(again))
		}
	})
}

func FuzzDecodeMergeRequest(f *testing.F) {
	fuzz(f, "merge-request", DecodeMergeRequest, func(m *MergeRequest) []byte { return AppendMergeRequest(nil, m) })
}

func FuzzDecodeMergeReply(f *testing.F) {
	fuzz(f, "merge-reply", DecodeMergeReply, func(m *MergeReply) []byte { return AppendMergeReply(nil, *m) })
}

func FuzzDecodeReadRequest(f *testing.F) {
	fuzz(f, "read-request", DecodeReadRequest, func(m *ReadRequest) []byte { return AppendReadRequest(nil, m) })
}

func FuzzDecodeReadReply(f *testing.F) {
	fuzz(f, "read-reply", DecodeReadReply, func(m *ReadReply) []byte { return AppendReadReply(nil, m) })
}

func FuzzDecodePutRequest(f *testing.F) {
	fuzz(f, "put-request", DecodePutRequest, func(m *PutRequest) []byte { return AppendPutRequest(nil, m) })
}

func FuzzDecodePutReply(f *testing.F) {
	fuzz(f, "put-reply", DecodePutReply, func(m *PutReply) []byte { return AppendPutReply(nil, m) })
}

func FuzzDecodeDigestRequest(f *testing.F) {
	fuzz(f, "digest-request", DecodeDigestRequest, func(m *DigestRequest) []byte { return AppendDigestRequest(nil, m) })
}

func FuzzDecodeDigestReply(f *testing.F) {
	fuzz(f, "digest-reply", DecodeDigestReply, func(m *DigestReply) []byte { return AppendDigestReply(nil, m) })
}

func FuzzDecodeListRequest(f *testing.F) {
	fuzz(f, "list-request", DecodeListRequest, func(m *ListRequest) []byte { return AppendListRequest(nil, m) })
}

func FuzzDecodeListReply(f *testing.F) {
	fuzz(f, "list-reply", DecodeListReply, func(m *ListReply) []byte { return AppendListReply(nil, m) })
}

func FuzzDecodeBucketDef(f *testing.F) {
	fuzz(f, "bucket", DecodeBucketDef, func(d *BucketDef) []byte { return AppendBucketDef(nil, d) })
}

func FuzzDecodeWriterMeta(f *testing.F) {
	fuzz(f, "session", DecodeWriterMeta, func(m *WriterMeta) []byte { return AppendWriterMeta(nil, *m) })
}

func FuzzDecodeOutboxOp(f *testing.F) {
	fuzz(f, "outbox-op", DecodeOutboxOp, func(m *OutboxOp) []byte { return AppendOutboxOp(nil, m) })
}

func FuzzDecodeOutboxMeta(f *testing.F) {
	fuzz(f, "outbox-meta", DecodeOutboxMeta, func(m *OutboxMeta) []byte { return AppendOutboxMeta(nil, *m) })
}

func FuzzKeys(f *testing.F) {
	rec := RecordKey(270, 9, "key")
	f.Add(rec)
	f.Add(IndexKey(IndexHint, 77, rec))
	f.Add(OutboxKey(1 << 40))
	f.Fuzz(func(t *testing.T, k []byte) {
		if shard, bucket, key, ok := ParseRecordKey(k); ok && !bytes.Equal(RecordKey(shard, bucket, key), k) {
			t.Fatalf("record key %x reads as %d %d %q", k, shard, bucket, key)
		}
		if target, record, ok := ParseIndexKey(k); ok && !bytes.Equal(IndexKey(k[1], target, record), k) {
			t.Fatalf("index key %x reads as %v %x", k, target, record)
		}
		if seq, ok := ParseOutboxKey(k); ok && !bytes.Equal(OutboxKey(seq), k) {
			t.Fatalf("outbox key %x reads as %d", k, seq)
		}
	})
}
