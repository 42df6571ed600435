package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestHistogramQuantilesAreWithinABucket(t *testing.T) {
	var h, other histogram
	for i := 1; i <= 100_000; i++ {
		part := &h
		if i%3 == 0 {
			part = &other
		}
		part.addLatency(time.Duration(i) * time.Microsecond)
	}
	h.mergeWith(&other)
	for _, q := range []float64{0.01, 0.5, 0.99} {
		want := q * 100_000
		if got := h.quantile(q); math.Abs(got-want) > want/64+1 {
			t.Errorf("quantile %v = %.1f us, want %.1f within 1/64", q, got, want)
		}
	}
}

func TestHistogramBucketsCoverAllDurations(t *testing.T) {
	var h histogram
	for _, d := range []time.Duration{-1, 0, 1, 63, 64, 65, math.MaxInt64} {
		h.addLatency(d)
	}
	if h.count != 7 {
		t.Fatalf("counted %d of 7", h.count)
	}
	last := -1
	for ns := uint64(0); ns < 1<<16; ns++ {
		b := bucketOf(ns)
		if b < last || b > last+1 {
			t.Fatalf("bucket of %d ns is %d after %d", ns, b, last)
		}
		if middle := bucketMiddle(b); math.Abs(middle-float64(ns)) > float64(ns)/64+1 {
			t.Fatalf("bucket of %d ns has its middle at %.1f", ns, middle)
		}
		last = b
	}
	if got := new(histogram).quantile(0.5); got != 0 {
		t.Errorf("quantile of nothing = %v", got)
	}
}

// store is a System in memory; every failEvery-th put is refused.
type store struct {
	mu        sync.Mutex
	items     map[string][]byte
	puts      int
	failEvery int
}

func (s *store) Put(_ context.Context, _ int, key string, value []byte) error {
	time.Sleep(10 * time.Microsecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puts++
	if s.failEvery > 0 && s.puts%s.failEvery == 0 {
		return errors.New("refused")
	}
	s.items[key] = value
	return nil
}

func (s *store) Get(_ context.Context, _ int, key string, level string) ([]byte, error) {
	if level != LevelOne {
		return nil, ErrUnsupported
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.items[key], nil
}

func (s *store) Extra(_ context.Context, cmd Command) (map[string]float64, error) {
	return map[string]float64{cmd.Level: 42}, nil
}

func (s *store) Children() []int { return nil }
func (s *store) Close() error    { return nil }

// converse sends the commands to sys and returns its answers after the hello.
func converse(t *testing.T, sys System, commands ...Command) []Result {
	t.Helper()
	var in, out bytes.Buffer
	for _, cmd := range commands {
		line, err := json.Marshal(cmd)
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(line, '\n'))
	}
	if err := Serve(t.Context(), sys, Hello{System: "store", Copies: 1}, &in, &out); err != nil {
		t.Fatal(err)
	}
	answers := json.NewDecoder(&out)
	var hello Hello
	if err := answers.Decode(&hello); err != nil || hello.System != "store" {
		t.Fatalf("hello %+v, %v", hello, err)
	}
	var results []Result
	for {
		var r Result
		if err := answers.Decode(&r); err == io.EOF {
			return results
		} else if err != nil {
			t.Fatal(err)
		}
		results = append(results, r)
	}
}

func TestServeMeasuresALoad(t *testing.T) {
	sys := &store{items: map[string][]byte{}}
	shape := Command{Clients: 4, Keys: 100, Size: 50, Duration: 80 * time.Millisecond}
	fillCmd, putCmd, getCmd, memoryCmd := shape, shape, shape, shape
	fillCmd.Op, putCmd.Op, getCmd.Op, memoryCmd.Op = OpFill, OpPut, OpGet, OpMemory
	getCmd.Level = LevelOne
	putCmd.Profile = filepath.Join(t.TempDir(), "put.pprof")
	got := converse(t, sys, fillCmd, putCmd, getCmd, memoryCmd, Command{Op: OpExtra, Level: "answer"})

	if got[0].Ops != 100 || len(sys.items) != 100 {
		t.Errorf("fill put %d keys, the store holds %d, want 100", got[0].Ops, len(sys.items))
	}
	for i, name := range []string{1: "put", 2: "get"} {
		if name == "" {
			continue
		}
		r := got[i]
		if r.Error != "" || r.Failed != 0 || r.Ops == 0 || r.WriteOps < r.Ops {
			t.Errorf("%s: %+v", name, r)
		}
		if elapsed := float64(r.Ops) / r.OpsPerSecond; elapsed < 0.08 || elapsed > 8 {
			t.Errorf("%s: %d operations at %.0f/s make %.3f s", name, r.Ops, r.OpsPerSecond, elapsed)
		}
		if r.P50 <= 0 || r.P99 < r.P50 {
			t.Errorf("%s: p50 %v, p99 %v", name, r.P50, r.P99)
		}
	}
	if info, err := os.Stat(putCmd.Profile); err != nil || info.Size() == 0 {
		t.Errorf("no profile was written: %v", err)
	}
	if r := got[3]; r.LiveBytes != 100*(16+50) || r.HeapBytes < r.LiveBytes/2 || r.RSSBytes == 0 {
		t.Errorf("memory: %+v", r)
	}
	if got[4].Extra["answer"] != 42 {
		t.Errorf("extra: %+v", got[4])
	}
}

func TestServeReportsFailures(t *testing.T) {
	shape := Command{Op: OpPut, Clients: 2, Keys: 10, Size: 5, Duration: 40 * time.Millisecond}
	some := converse(t, &store{items: map[string][]byte{}, failEvery: 5}, shape)[0]
	if some.Error != "" || some.Failed == 0 || some.FirstFailure != "refused" || some.Ops == 0 {
		t.Errorf("a load that fails in part: %+v", some)
	}
	all := converse(t, &store{items: map[string][]byte{}, failEvery: 1}, shape)[0]
	if !strings.Contains(all.Error, "refused") {
		t.Errorf("a load that always fails: %+v", all)
	}
	short := Command{Op: OpGet, Level: LevelOne, Clients: 1, Keys: 10, Size: 5, Duration: 20 * time.Millisecond}
	if r := converse(t, &store{items: map[string][]byte{}}, short)[0]; !strings.Contains(r.Error, "came back as 0") {
		t.Errorf("values of the wrong length: %+v", r)
	}
	for _, cmd := range []Command{{Op: "dance", Clients: 1, Keys: 1, Size: 1, Duration: 1}, {Op: OpPut}, {Op: OpFill}} {
		if r := converse(t, &store{}, cmd)[0]; r.Error == "" {
			t.Errorf("command %+v was carried out: %+v", cmd, r)
		}
	}
}

// torn answers differently at its second node.
type torn struct{ store }

func (s *torn) Get(_ context.Context, client int, key string, _ string) ([]byte, error) {
	if client == 1 && key == Keys(3)[2] {
		return []byte("other"), nil
	}
	return []byte("value"), nil
}

func TestVerifyFindsCopiesThatDiffer(t *testing.T) {
	cmd := Command{Op: OpVerify, Clients: 3, Keys: 2}
	if r := converse(t, &torn{}, cmd)[0]; r.Error != "" || r.Ops != 2 {
		t.Errorf("equal copies: %+v", r)
	}
	if err := checkAgreement(t.Context(), &torn{}, Keys(3)[2], 3); err == nil || !strings.Contains(err.Error(), "0 and 1 differ") {
		t.Errorf("copies that differ: %v", err)
	}
}

func TestServeRefusesGarbage(t *testing.T) {
	if err := Serve(t.Context(), &store{}, Hello{}, strings.NewReader("not json\n"), io.Discard); err == nil {
		t.Error("garbage was taken for a command")
	}
}

func TestValuesDifferAndHaveTheirSize(t *testing.T) {
	n := newNoise(1024)
	chance := rand.New(rand.NewPCG(7, 7))
	a, b := n.cutValue(chance), n.cutValue(chance)
	if len(a) != 1024 || cap(a) != 1024 || bytes.Equal(a, b) {
		t.Errorf("values of %d and %d bytes, equal: %v", len(a), len(b), bytes.Equal(a, b))
	}
}

func TestFreePortsDiffer(t *testing.T) {
	ports, err := FreePorts(6)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, port := range ports {
		seen[port] = true
	}
	if len(seen) != 6 {
		t.Errorf("ports %v", ports)
	}
}
