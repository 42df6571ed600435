package main

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/bench/load"
	"github.com/skeinmesh/skein/internal/wire"
)

// TestMain makes this binary the process of a single node when it is started as one.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "-single") {
		main()
	}
	os.Exit(m.Run())
}

func TestGate(t *testing.T) {
	p := &pair{keys: []string{"first"}}
	offer := wire.AppendMergeRequest(nil, &wire.MergeRequest{Offers: []wire.Offer{{Bucket: 77, Key: "first", Item: []byte{1}}}})
	for _, c := range []struct {
		gate   int32
		from   int
		method string
		want   bool
	}{
		{gateOpen, 0, wire.MethodMerge, true},
		{gateOpen, 1, wire.MethodDigest, true},
		{gateLoad, 0, wire.MethodMerge, true},
		{gateLoad, 1, wire.MethodDigest, false},
		{gateCut, 0, wire.MethodMerge, false},
		{gateCut, 1, wire.MethodDigest, false},
		{gateCompare, 0, wire.MethodMerge, false},
		{gateCompare, 0, wire.MethodDigest, false},
		{gateCompare, 0, wire.MethodClock, true},
	} {
		p.gate.Store(c.gate)
		if got := p.allowsCall(c.from, c.method, offer); got != c.want {
			t.Errorf("gate %d lets store %d call %s: %v", c.gate, c.from, c.method, got)
		}
	}
	if got := p.bucket.Load(); got != 77 {
		t.Errorf("the bucket's number is %d, want 77", got)
	}
}

func TestMeasureScan(t *testing.T) {
	values, err := measureScan(t.Context(), t.TempDir(), 500)
	if err != nil || values["one_keys_per_s"] <= 0 || values["five_keys_per_s"] <= 0 {
		t.Fatal(values, err)
	}
}

// Both stores are real and speak over loopback, so what is counted is what the
// product sends.
func TestMeasureEntropy(t *testing.T) {
	const n = 4000
	values, err := measureEntropy(t.Context(), t.TempDir(), n, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"bytes_per_key_10", "bytes_per_key_100", "bytes_per_key_1000", "rtt", "vs_merkle",
		"100 keys: bytes a key to move the items", "bytes of a comparison of equal stores",
	} {
		if values[name] <= 0 {
			t.Errorf("%s = %v", name, values[name])
		}
	}
	// Two hashes of 8 bytes name a difference; no way of finding it is shorter.
	if got := values["bytes_per_key_1000"]; got < 16 {
		t.Errorf("%v bytes for each of 1000 keys", got)
	}
	if got, framing := values["bytes_per_key_10"], values["10 keys: of that framing, bytes a key"]; framing < 1 || framing >= got {
		t.Errorf("%v of %v bytes are framing", framing, got)
	}
	if got := values["10 keys: Merkle, round trips"]; got != 3 {
		t.Errorf("a tree of depth 2 took %v round trips, want 3", got)
	}
	// Each of 10 keys in leaves of its own and a list of about 16 elements.
	if got := values["10 keys: Merkle, bytes a key"]; got < 256 || got > 1500 {
		t.Errorf("hash trees took %v bytes a key", got)
	}
	if worst := min(values["vs_merkle_10"], values["vs_merkle_100"], values["vs_merkle_1000"]); values["vs_merkle"] != worst {
		t.Errorf("vs_merkle = %v, the worst is %v", values["vs_merkle"], worst)
	}
	if _, err := measureEntropy(t.Context(), t.TempDir(), 1000, 1); err == nil {
		t.Error("more keys differ than there are")
	}
}

func TestMeasureHealing(t *testing.T) {
	if testing.Short() {
		t.Skip("two nodes have to be given up")
	}
	cmd := load.Command{Keys: 500, Size: 1024, Clients: 4, Duration: time.Second}
	values, err := measureHealing(t.Context(), t.TempDir(), cmd, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mb_per_s", "put_p99_ratio", "MB/s beside puts", "of that seconds before the first items are asked for"} {
		if values[name] <= 0 {
			t.Errorf("%s = %v", name, values[name])
		}
	}
	if all, part := values["mb_per_s"], values["MB/s from the first items on"]; part < all {
		t.Errorf("%v MB/s in all, %v MB/s of a part of the time", all, part)
	}
	// A client puts every 40 ms; on a busy machine it is late, but never early.
	if got := values["puts/s without"]; got <= 0 || got > 150 {
		t.Errorf("4 clients put %v/s, want 100 at most", got)
	}
}

func TestSteadyResult(t *testing.T) {
	var a, b steadyResult
	for i := range 100 {
		part := &a
		if i%2 == 1 {
			part = &b
		}
		part.took = append(part.took, time.Duration(i)*time.Millisecond)
	}
	all := a.mergeWith(b)
	if !slices.IsSorted(all.took) || all.micros(0.5) != 50_000 || all.micros(0.99) != 99_000 {
		t.Errorf("p50 %v us, p99 %v us", all.micros(0.5), all.micros(0.99))
	}
}

func TestSteadyResultGoesToAnotherProcess(t *testing.T) {
	want := steadyResult{
		took:    []time.Duration{7 * time.Microsecond, 900 * time.Microsecond, 900 * time.Microsecond, 31 * time.Millisecond},
		elapsed: 1500 * time.Millisecond,
	}
	got, err := steadyCounted(want.counts())
	if err != nil || !slices.Equal(got.took, want.took) || got.elapsed != want.elapsed {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if _, err := steadyCounted(map[string]float64{"soon": 1}); err == nil {
		t.Error("a count of nothing that is known is taken")
	}
}

func TestSteadyLoadThatFailsIsNone(t *testing.T) {
	refused := errors.New("refused")
	for failed, ok := range map[int]bool{0: true, 1: true, 2: false} {
		s := &steadyLoad{cancel: func() {}}
		for i := range 100 {
			if i < failed {
				s.notePut(time.Millisecond, refused)
			} else {
				s.notePut(time.Millisecond, nil)
			}
		}
		if _, err := s.endLoad(); (err == nil) != ok || !ok && !errors.Is(err, refused) {
			t.Errorf("%d of 100 failed: %v", failed, err)
		}
	}
	if _, err := (&steadyLoad{cancel: func() {}}).endLoad(); err == nil {
		t.Error("no put at all is taken for a load")
	}
}

func TestEach(t *testing.T) {
	var sum atomic.Int64
	if err := forEachUpTo(100, 8, func(i int) error { sum.Add(int64(i)); return nil }); err != nil || sum.Load() != 4950 {
		t.Errorf("sum %d, %v", sum.Load(), err)
	}
	err := forEachUpTo(100, 8, func(i int) error {
		if i == 50 {
			return errors.New("fifty")
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "fifty") {
		t.Errorf("error %v", err)
	}
}
