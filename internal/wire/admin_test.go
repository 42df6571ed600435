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
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

var updateAdmin = flag.Bool("update-admin", false, "write golden files that do not exist yet")

func adminSamples() []sample {
	it := sampleItem()
	tok, err := os.ReadFile(filepath.Join("testdata", "replica", "context.v1")) // whatever a node gave
	if err != nil {
		panic(err)
	}
	req := AdminRequest{Bucket: "telemetry", Key: "k", Context: tok, Level: -2, MinDurable: 2, TTL: -1, Value: []byte("v")}
	lead := AdminRequest{Bucket: "b", Key: "k", Context: []byte{}, Value: []byte("v"), Token: sampleToken}
	bare := AdminRequest{Bucket: "b", Key: "", Context: []byte{}, Value: []byte{}}
	item := AdminItem{Context: tok, Replies: 2, Values: [][]byte{[]byte("one"), {}}, Last: 2}
	none := AdminItem{AdminOutcome: AdminOutcome{AdminNotFound | AdminDegraded, "nothing, but nobody knows"}, Context: tok, Replies: 1}
	res := AdminResult{AdminOutcome: AdminOutcome{AdminConflict, "two"}, Context: tok, Durable: 2, Homes: 1, Hinted: 1, Dot: it.Sibs[0].Dot, Covered: []version.Dot{{A: it.Ctx[0].A, N: 1}}}
	failed := AdminResult{AdminOutcome: AdminOutcome{1 << 60, "a fault of later years"}, Context: []byte{}}
	status := AdminStatus{Hints: 1, Syncing: 2, Delivered: 3, Repaired: 4, Compared: 5, Moved: 1 << 63}
	outbox := AdminStatus{Delivered: 3, Outbox: &OutboxStatus{Ops: 121, Bytes: 1 << 20, Oldest: 90_000, Delivered: 7, Dropped: 1, Error: "no store"}}
	words := AdminHealth{AdminOutcome: AdminOutcome{AdminClosed, "closed"}, Problems: []view.Problem{{Kind: view.ProblemInWords, Text: "one"}}, InWords: true, Lines: []string{"b shard 1", "b shard 2"}}
	many := uint64(1) << 40 // more than an int of 32 bits holds: where it has so few, this one sample is another
	health := AdminHealth{
		AdminOutcome: AdminOutcome{AdminStorage, "failed"},
		Problems: []view.Problem{
			{Kind: view.ProblemFewCopiesMinority, Shards: 7, Count: 2, Of: 5, Nodes: []view.Named{{ID: 1, Name: "press-1"}, {ID: 1 << 63}}, Cut: []view.Named{{ID: 3}}, Silent: []view.Named{{ID: 4}}},
			{Kind: view.ProblemClockOff, For: -time.Hour},
			{Kind: view.ProblemReached, Nodes: []view.Named{{ID: 5}}, By: []view.Named{{ID: 6, Name: "six"}}},
			{Kind: "of-later-years", Where: []string{"a", ""}, Bytes: 1 << 40, Text: "what it said"},
		},
		Shards: []AdminShard{
			{Bucket: "b", Role: "home", Shard: 255, Copies: 2, Hints: int(many), Syncing: true, Homes: []view.NodeID{1, 1 << 63}, Synced: []AdminSynced{{1, time.Minute}, {2, 0}}},
			{},
		},
	}
	return append([]sample{
		{"request", AppendAdminRequest(nil, &req), req, as(DecodeAdminRequest)},
		{"request-fenced", AppendAdminRequest(nil, &lead), lead, as(DecodeAdminRequest)},
		{"request-bare", AppendAdminRequest(nil, &bare), bare, as(DecodeAdminRequest)},
		{"item", AppendAdminItem(nil, &item), item, as(DecodeAdminItem)},
		{"item-none", AppendAdminItem(nil, &none), none, as(DecodeAdminItem)},
		{"result", AppendAdminResult(nil, &res), res, as(DecodeAdminResult)},
		{"result-failed", AppendAdminResult(nil, &failed), failed, as(DecodeAdminResult)},
		{"health", AppendAdminHealth(nil, &words), words, as(DecodeAdminHealth)},
		{"health-structure", AppendAdminHealth(nil, &health), health, as(DecodeAdminHealth)},
		{"status", AppendAdminStatus(nil, &status), status, as(DecodeAdminStatus)},
		{"status-outbox", AppendAdminStatus(nil, &outbox), outbox, as(DecodeAdminStatus)},
	}, slices.Concat(adminScanSamples(), adminWatchSamples(), adminTopicSamples(), adminBatchSamples(), adminImportSamples(), adminPartitionSamples())...)
}

// A client of an early release sends no wish; of a later one the node takes whatever
// version it knows.
func TestStatusWish(t *testing.T) {
	for data, want := range map[string]uint64{"": 1, string(AppendStatusWish(nil)): 2, "\x02": 2, "\x09": 9} {
		if got, err := DecodeWish([]byte(data)); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", data, got, err, want)
		}
	}
	if _, err := DecodeWish([]byte("\x02\x02")); !errors.Is(err, ErrMalformed) {
		t.Errorf("two wishes: %v", err)
	}
}

// Golden files are kept for ever: what an old build wrote stays readable.
func TestAdminFormatsGolden(t *testing.T) {
	for _, s := range adminSamples() {
		path := filepath.Join("testdata", "admin", s.name+".v1")
		want, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) && *updateAdmin {
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

func TestAdminFormatsRefuseTruncatedTrailingAndNewer(t *testing.T) {
	for _, s := range adminSamples() {
		for n := range s.data {
			if _, err := s.decode(s.data[:n:n]); !errors.Is(err, ErrMalformed) {
				t.Fatalf("%s cut to %d of %d bytes: %v", s.name, n, len(s.data), err)
			}
		}
		if _, err := s.decode(append(bytes.Clone(s.data), 0)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s with a byte too many: %v", s.name, err)
		}
		newer := bytes.Clone(s.data)
		newer[0] = 0x7f // of some message the next version is known already
		if _, err := s.decode(newer); !errors.Is(err, ErrNewerVersion) {
			t.Errorf("%s of a later version: %v", s.name, err)
		}
	}
}

func TestAdminFormatsRefuseWhatCannotBe(t *testing.T) {
	for name, bad := range map[string]struct {
		data   []byte
		decode func([]byte) (any, error)
	}{
		"last beyond the values": {AppendAdminItem(nil, &AdminItem{Values: [][]byte{{1}}, Last: 2}), as(DecodeAdminItem)},
		"text without a fault":   {AppendAdminStatus(nil, &AdminStatus{AdminOutcome: AdminOutcome{Text: "x"}}), as(DecodeAdminStatus)},
		"endless text":           {AppendAdminResult(nil, &AdminResult{AdminOutcome: AdminOutcome{1, strings.Repeat("x", 5000)}}), as(DecodeAdminResult)},
		"key too long":           {AppendAdminRequest(nil, &AdminRequest{Key: strings.Repeat("k", MaxKey+1)}), as(DecodeAdminRequest)},
		"too many values":        {AppendAdminItem(nil, &AdminItem{Values: make([][]byte, MaxSiblings+1)}), as(DecodeAdminItem)},
	} {
		if _, err := bad.decode(bad.data); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// fuzzAdmin feeds a decoder the samples of its kind first.
func fuzzAdmin[T any](f *testing.F, kind string, decode func([]byte) (T, error), encode func(*T) []byte) {
	for _, s := range adminSamples() {
		if strings.HasPrefix(s.name, kind) {
			f.Add(s.data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) { readsBack(t, data, decode, encode) })
}

func FuzzDecodeAdminRequest(f *testing.F) {
	fuzzAdmin(f, "request", DecodeAdminRequest, func(m *AdminRequest) []byte { return AppendAdminRequest(nil, m) })
}

func FuzzDecodeAdminItem(f *testing.F) {
	fuzzAdmin(f, "item", DecodeAdminItem, func(m *AdminItem) []byte { return AppendAdminItem(nil, m) })
}

func FuzzDecodeAdminResult(f *testing.F) {
	fuzzAdmin(f, "result", DecodeAdminResult, func(m *AdminResult) []byte { return AppendAdminResult(nil, m) })
}

func FuzzDecodeAdminStatus(f *testing.F) {
	fuzzAdmin(f, "status", DecodeAdminStatus, func(m *AdminStatus) []byte { return AppendAdminStatus(nil, m) })
}

func FuzzDecodeWish(f *testing.F) {
	f.Add(AppendStatusWish(nil))
	f.Add([]byte{})
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, data []byte) {
		if version, err := DecodeWish(data); err == nil && len(data) == 0 && version != 1 {
			t.Errorf("who says nothing knows version %d", version)
		}
	})
}

func FuzzDecodeAdminHealth(f *testing.F) {
	for _, s := range adminSamples() {
		f.Add(s.data)
	}
	fuzzFormat(f, DecodeAdminHealth, func(m AdminHealth) []byte { return AppendAdminHealth(nil, &m) })
}
