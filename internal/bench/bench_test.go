package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/bench/load"
)

// TestMain lets this test binary play the part of a peer.
func TestMain(m *testing.M) {
	switch os.Getenv("BENCH_TEST_PEER") {
	case "":
		os.Exit(m.Run())
	case "dead":
		os.Stderr.WriteString("no disk\n")
		os.Exit(3)
	default:
		os.Exit(load.Main(func(context.Context) (load.System, load.Hello, error) {
			return &fake{}, load.Hello{System: "fake", Version: "1", Copies: 2}, nil
		}))
	}
}

type fake struct{ items sync.Map }

func (f *fake) Put(_ context.Context, _ int, key string, value []byte) error {
	time.Sleep(time.Millisecond)
	f.items.Store(key, value)
	return nil
}

func (f *fake) Get(_ context.Context, _ int, key, level string) ([]byte, error) {
	if level == load.LevelQuorum {
		return nil, load.ErrUnsupported
	}
	value, _ := f.items.Load(key)
	return value.([]byte), nil
}

func (f *fake) Extra(context.Context, load.Command) (map[string]float64, error) {
	return map[string]float64{"join": 1.25}, nil
}

func (f *fake) Children() []int { return nil }
func (f *fake) Close() error    { return nil }

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2.5}, {[]float64{1, 1, 1000}, 1},
	} {
		values := slices.Clone(c.values)
		if got, err := median(values); err != nil || got != c.want {
			t.Errorf("median(%v) = %v, %v, want %v", c.values, got, err, c.want)
		}
		if !slices.Equal(values, c.values) {
			t.Errorf("median reordered its argument to %v", values)
		}
	}
	if _, err := median(nil); !errors.Is(err, errNothingMeasured) {
		t.Errorf("median of nothing: %v", err)
	}
}

func TestRatiosPairRounds(t *testing.T) {
	// The second round was twice as slow for both: its ratio is the same.
	got := ratios(map[int]float64{0: 100, 1: 50, 2: 70}, map[int]float64{0: 50, 1: 25, 3: 9})
	if !slices.Equal(got, []float64{2, 2}) {
		t.Errorf("ratios = %v, want [2 2]", got)
	}
	if got := ratios(map[int]float64{0: 1}, map[int]float64{0: 0}); got != nil {
		t.Errorf("a ratio over nothing: %v", got)
	}
}

func TestSpread(t *testing.T) {
	if got := spread([]float64{2, 1, 3}); got != 3 {
		t.Errorf("spread = %v", got)
	}
	if got := spread([]float64{0, 1}); !math.IsNaN(got) {
		t.Errorf("spread over zero = %v", got)
	}
}

func TestSignificant(t *testing.T) {
	for value, want := range map[float64]float64{0: 0, 1234.5678: 1235, 0.00123456: 0.001235, -9.99951: -10, 1000: 1000} {
		if got := significant(value, 4); math.Abs(got-want) > math.Abs(want)*1e-12 {
			t.Errorf("significant(%v) = %v, want %v", value, got, want)
		}
	}
}

func TestScheduleRotatesWithinALoad(t *testing.T) {
	cells := []cell{putCell("a", 64), getCell("a", "one"), putCell("b", 64), putCell("c", 64), getCell("b", "one")}
	if got := schedule(cells, 0); !slices.Equal(got, []cell{putCell("a", 64), putCell("b", 64), putCell("c", 64), getCell("a", "one"), getCell("b", "one")}) {
		t.Errorf("round 0: %v", got)
	}
	if got := schedule(cells, 4); !slices.Equal(got, []cell{putCell("b", 64), putCell("c", 64), putCell("a", 64), getCell("a", "one"), getCell("b", "one")}) {
		t.Errorf("round 4: %v", got)
	}
}

func TestChoose(t *testing.T) {
	all, cells, err := choose("")
	if err != nil || len(all) != len(figures()) || len(distinct(cells)) != len(cells) {
		t.Errorf("all: %d figures, %d cells, %v", len(all), len(cells), err)
	}
	some, cells, err := choose("^put_p50")
	if err != nil || len(some) != 1 || !slices.Equal(cells, []cell{putCell("skein", 1), putCell("raw", 1)}) {
		t.Errorf("one: %v, %v, %v", some, cells, err)
	}
	for _, bad := range []string{"nonesuch", "("} {
		if _, _, err := choose(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestFiguresAreTheBudget(t *testing.T) {
	for _, f := range figures() {
		if f.aim != 0 && f.failsMust(f.aim) {
			t.Errorf("%s: the aim %v does not reach the must %v", f.name, f.aim, f.must)
		}
		for _, c := range f.measure.neededCells() {
			if _, ok := systemNamed(c.system); !ok {
				t.Errorf("%s needs an unknown system: %s", f.name, c)
			}
		}
	}
}

// sample holds two rounds in which skein puts twice as fast as olric.
func sample() results {
	all := newResults()
	all.hello["skein"] = load.Hello{System: "skein", Copies: 3}
	for round, scale := range []float64{1, 0.5} {
		all.addResult(putCell("skein", 64), round, load.Result{Ops: 100, OpsPerSecond: 200 * scale, WriteBytes: 900_000, WriteOps: 100 * int64(round+1)}, nil)
		all.addResult(putCell("olric", 64), round, load.Result{Ops: 100, OpsPerSecond: 100 * scale}, nil)
	}
	return all
}

func TestMeasures(t *testing.T) {
	all := sample()
	if got, err := (ratio{of: putCell("skein", 64), to: putCell("olric", 64), metric: opsPerSecond}).computeValue(all); err != nil || got != 2 {
		t.Errorf("ratio = %v, %v, want 2", got, err)
	}
	for round := range 2 {
		all.addResult(getCell("skein", "one"), round, load.Result{Ops: 1, CPUPerOp: 10}, nil)
		all.addResult(getCell("redis", "one"), round, load.Result{Ops: 1, CPUPerOp: 40}, nil)
	}
	if got, err := (ratio{of: getCell("skein", "one"), to: getCell("redis", "one"), metric: opsPerSecond}).cpuRatio(all); err != nil || got != 4 {
		t.Errorf("ratio by CPU = %v, %v, want 4", got, err)
	}
	// 1 800 000 B over 300 puts in three copies.
	if got, err := (wear{putCell("skein", 64)}).computeValue(all); err != nil || got != 2000 {
		t.Errorf("wear = %v, %v, want 2000", got, err)
	}
	for node, rss := range []float64{20, 30, 25} {
		all.addResult(idleCell, node, load.Result{Extra: map[string]float64{"rss_mib": rss}}, nil)
	}
	if got, err := (once{idleCell, "rss_mib"}).computeValue(all); err != nil || got != 30 {
		t.Errorf("the worst of three nodes = %v, %v, want 30", got, err)
	}
	if _, err := (once{idleCell, "cpu_pct"}).computeValue(all); !errors.Is(err, errNothingMeasured) {
		t.Errorf("a value nobody gave: %v", err)
	}
}

func TestFaultsSpoilTheirFigures(t *testing.T) {
	skeinOverOlric := ratio{of: putCell("skein", 64), to: putCell("olric", 64), metric: opsPerSecond}
	all := sample()
	all.addResult(putCell("olric", 64), 2, load.Result{Ops: 98, Failed: 2, FirstFailure: "timeout"}, nil)
	if _, err := skeinOverOlric.computeValue(all); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("a load that failed in part gave a figure: %v", err)
	}
	all = sample()
	all.addResult(putCell("skein", 64), 2, load.Result{Ops: 100, Failed: 1, OpsPerSecond: 1}, nil)
	if _, err := skeinOverOlric.computeValue(all); err != nil {
		t.Errorf("one failure in a hundred: %v", err)
	}
	all.absent["olric"] = errors.New("does not build")
	if _, err := skeinOverOlric.computeValue(all); err == nil || !strings.Contains(err.Error(), "olric") {
		t.Errorf("an absent system gave a figure: %v", err)
	}
}

func TestReportOrderAndNulls(t *testing.T) {
	all := sample()
	all.absent["redis"] = errNotOnHost
	pattern := regexp.MustCompile("olric_mem|redis|disk_bytes")
	chosen := slices.DeleteFunc(figures(), func(f figure) bool { return !pattern.MatchString(f.name) })
	list := outcomes(chosen, all)
	line, err := figuresJSON(list)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"put_durable_vs_olric_mem":2,"get_one_vs_redis":null,"disk_bytes_per_put_64":2000}`; string(line) != want {
		t.Errorf("got  %s\nwant %s", line, want)
	}
	var table bytes.Buffer
	if err := writeFigures(&table, list); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ok, aim reached", "get_one_vs_redis is absent: redis could not be run"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, &table)
		}
	}
}

func TestFiguresWithoutAMust(t *testing.T) {
	told := outcome{figure: figure{name: "told", measure: wear{putCell("skein", 64)}}, measured: 7}
	aimed := told
	aimed.name, aimed.aim = "aimed", 3
	reached := aimed
	reached.measured = 2
	for _, c := range []struct {
		outcome
		want string
	}{{told, "ok"}, {aimed, "short of the aim"}, {reached, "ok, aim reached"}} {
		if got := c.verdict(); got != c.want {
			t.Errorf("%s of %v: %q, want %q", c.name, c.measured, got, c.want)
		}
	}
	if code := exitCode([]outcome{told, aimed}, newResults(), true); code != 0 {
		t.Errorf("a figure without a must ended a strict run with %d", code)
	}
	var table bytes.Buffer
	if err := writeFigures(&table, []outcome{aimed}); err != nil {
		t.Fatal(err)
	}
	if want := regexp.MustCompile(`aimed +- +<= 3 +7 `); !want.MatchString(table.String()) {
		t.Errorf("no %v in\n%s", want, &table)
	}
}

func TestExitCode(t *testing.T) {
	all := newResults()
	all.absent["redis"] = errNotOnHost
	good := outcome{figure: figure{must: 2, larger: true, measure: wear{putCell("skein", 64)}}, measured: 3}
	short, lost, excusedOne := good, good, good
	short.measured = 1
	lost.fault = errNothingMeasured
	excusedOne.fault = errNothingMeasured
	excusedOne.measure = ratio{of: getCell("skein", "one"), to: getCell("redis", "one")}
	for _, c := range []struct {
		name   string
		list   []outcome
		strict bool
		want   int
	}{
		{"all well", []outcome{good}, true, 0},
		{"short, not strict", []outcome{good, short}, false, 0},
		{"short, strict", []outcome{good, short}, true, 2},
		{"not measured", []outcome{lost}, false, 1},
		{"redis not installed", []outcome{excusedOne, good}, true, 0},
	} {
		if got := exitCode(c.list, all, c.strict); got != c.want {
			t.Errorf("%s: exit code %d, want %d", c.name, got, c.want)
		}
	}
	all.absent["redis"] = errors.New("does not build")
	if got := exitCode([]outcome{excusedOne}, all, false); got != 1 {
		t.Errorf("a peer that does not build is excused: %d", got)
	}
}

func TestDriverRunsPeers(t *testing.T) {
	t.Setenv("BENCH_TEST_PEER", "fake")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := settings{work: t.TempDir(), rounds: 2, cell: 40 * time.Millisecond, keys: 50, size: 100, progress: io.Discard}
	d := &driver{settings: s, results: newResults(), processes: map[string]*process{}}
	repeated := []cell{putCell("skein", 4), putCell("raw", 4), getCell("skein", load.LevelOne), getCell("raw", load.LevelQuorum), memoryCell("skein")}
	err = d.measureRunning(t.Context(), map[string]string{"skein": self, "raw": self}, repeated, []cell{placementCell})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := (ratio{of: putCell("skein", 4), to: putCell("raw", 4), metric: opsPerSecond}).computeValue(d.results); err != nil || got < 0.1 || got > 10 {
		t.Errorf("two equal systems compare as %v, %v", got, err)
	}
	if got := len(d.results.rounds[memoryCell("skein")]); got != 2 {
		t.Errorf("%d rounds of memory, want 2", got)
	}
	if err := d.results.faultOf(getCell("raw", load.LevelQuorum)); err == nil || !strings.Contains(err.Error(), "does not have") {
		t.Errorf("an unsupported load gave: %v", err)
	}
	if got, err := (once{placementCell, "join"}).computeValue(d.results); err != nil || got != 1.25 {
		t.Errorf("extra = %v, %v", got, err)
	}
	if len(d.processes) != 0 {
		t.Errorf("%d peers still run", len(d.processes))
	}
}

func TestDriverMeasuresApart(t *testing.T) {
	t.Setenv("BENCH_TEST_PEER", "fake")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := settings{work: t.TempDir(), size: 100, entropyKeys: 7, healKeys: 5, calm: time.Second, progress: io.Discard}
	d := &driver{settings: s, results: newResults()}
	for _, c := range workshopCells() {
		if err := d.measureApart(t.Context(), self, c); err != nil {
			t.Fatal(err)
		}
		if got, err := (once{c, "join"}).computeValue(d.results); err != nil || got != 1.25 {
			t.Errorf("%s = %v, %v", c, got, err)
		}
	}
	if left, err := os.ReadDir(s.work); err != nil || len(left) > 0 {
		t.Errorf("%v is left behind, %v", left, err)
	}
	if got := d.apartCommand(entropyCell); got.Keys != 7 || got.Level != "ae" {
		t.Errorf("asked for %+v", got)
	}
	if got := d.apartCommand(healCell); got.Keys != 5 || got.Size != 100 || got.Clients != 16 || got.Duration != time.Second {
		t.Errorf("asked for %+v", got)
	}
	t.Setenv("BENCH_TEST_PEER", "dead")
	if err := d.measureApart(t.Context(), self, healCell); err != nil {
		t.Errorf("a peer that died ended the run: %v", err)
	}
	if err := d.results.faults[healCell]; err == nil || !strings.Contains(err.Error(), "no disk") {
		t.Errorf("a peer that died is reported as: %v", err)
	}
}

func TestDriverReportsADeadPeer(t *testing.T) {
	t.Setenv("BENCH_TEST_PEER", "dead")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d := &driver{settings: settings{work: t.TempDir(), rounds: 1, cell: time.Millisecond, keys: 1, size: 1, progress: io.Discard},
		results: newResults(), processes: map[string]*process{}}
	if err := d.measureRunning(t.Context(), map[string]string{"raw": self}, []cell{putCell("raw", 1)}, nil); err != nil {
		t.Fatal(err)
	}
	if err := d.results.absent["raw"]; err == nil || !strings.Contains(err.Error(), "no disk") {
		t.Errorf("a peer that died is reported as: %v", err)
	}
}

// Only the skein peer may hold any of our library: what the others cost must be
// theirs alone.
func TestPeersAreModulesOfTheirOwn(t *testing.T) {
	files, err := filepath.Glob("peers/*/go.mod")
	if err != nil || len(files) < 4 {
		t.Fatalf("peers: %v, %v", files, err)
	}
	library := regexp.MustCompile(`(?m)github\.com/skeinmesh/skein v`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if uses := library.Match(text); uses != (filepath.Base(filepath.Dir(file)) == "skein") {
			t.Errorf("%s requires the library: %v", file, uses)
		}
	}
}

func TestCommandsRoundTripAsJSON(t *testing.T) {
	d := driver{settings: settings{keys: 10, size: 20, cell: 30 * time.Millisecond}}
	want := d.command(getCell("skein", load.LevelQuorum))
	line, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got load.Command
	if err := json.Unmarshal(line, &got); err != nil || got != want {
		t.Errorf("%s became %+v, %v", line, got, err)
	}
}
