package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/storage/file"
)

// tabled returns a store whose records are all in one table, and what they are.
// The store begins at "key000".
func tabled(t *testing.T, records, size int, edit ...func(*Options)) (*vfs.MemFS, map[string]string) {
	t.Helper()
	mem := vfs.NewCrashableMem()
	s := openMem(t, mem, edit...)
	model := map[string]string{}
	r := rand.New(rand.NewPCG(8, 15))
	for i := range records {
		key, value := fmt.Sprintf("key%03d", i), string(incompressible(r, size))
		model[key] = value
		if err := put(s, key, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return mem, model
}

// largestTable returns the path of the table that most is in.
func largestTable(t *testing.T, fs vfs.FS) string {
	t.Helper()
	names, err := fs.List("store")
	if err != nil {
		t.Fatal(err)
	}
	best, size := "", 0
	for _, name := range names {
		if n := len(readAll(t, fs, "store/"+name)); strings.HasSuffix(name, ".sst") && n > size {
			best, size = "store/"+name, n
		}
	}
	if best == "" {
		t.Fatal("no table")
	}
	return best
}

// told collects what a store says that it forgets.
type told struct{ ranges [][2]string }

func (l *told) lost(_ *Tx, lower, upper []byte) (func(), error) {
	l.ranges = append(l.ranges, [2]string{string(lower), string(upper)})
	return nil, nil
}

func (l *told) has(key string) bool {
	for _, r := range l.ranges {
		if r[0] <= key && key < r[1] {
			return true
		}
	}
	return false
}

// mendAll finds all damage and has it mended.
func mendAll(t *testing.T, s *Store, l *told) {
	t.Helper()
	for range 20 {
		err := s.Scan(context.Background(), nil, nil, func(_, _ []byte) error { return nil })
		if err == nil {
			return
		}
		if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("scan: %v", err)
		}
		for _, path := range s.damage.nextPaths() {
			if err := s.mendFile(context.Background(), path, l.lost); err != nil && !errors.Is(err, errReadsWell) && !errors.Is(err, errTableGone) {
				t.Fatalf("mend %s: %v", path, err)
			}
		}
	}
	t.Fatal("still damaged")
}

// wantModel reads all records. Those that are not there must have been told of;
// it returns how many these are.
func wantModel(t *testing.T, s *Store, l *told, model map[string]string) (missing int) {
	t.Helper()
	seen := map[string]bool{}
	err := s.Scan(context.Background(), nil, nil, func(key, value []byte) error {
		if model[string(key)] != string(value) {
			t.Errorf("%s is scanned as %.10q", key, value)
		}
		seen[string(key)] = true
		return nil
	})
	if err != nil {
		t.Errorf("scan: %v", err)
	}
	for key, want := range model {
		got, err := s.Get(context.Background(), []byte(key))
		switch {
		case errors.Is(err, ErrNotFound):
			if missing++; !l.has(key) {
				t.Errorf("%s is gone without a word", key)
			}
			if seen[key] {
				t.Errorf("%s is scanned but not found", key)
			}
		case err != nil || string(got) != want || !seen[key]:
			t.Errorf("%s reads as %.10q, %v, scanned %v; it was %.10q", key, got, err, seen[key], want)
		}
	}
	return missing
}

// A bit flips in a table: what can be read stays, newer records of the keys in the
// bad block included; the rest is told, and forgotten. Then everything works again.
func TestMendGivesUpWhatDoesNotRead(t *testing.T) {
	base, model := tabled(t, 400, 500)
	size := len(readAll(t, base, largestTable(t, base)))
	r := rand.New(rand.NewPCG(16, 23))
	rounds := 4
	if *long {
		rounds = 200
	}
	for range rounds {
		bits := []int{r.IntN(size * 8)}
		if r.IntN(3) == 0 {
			bits = append(bits, r.IntN(size*8))
		}
		t.Run(fmt.Sprint(bits), func(t *testing.T) {
			image := base.CrashClone(vfs.CrashCloneCfg{})
			for _, bit := range bits {
				flip(t, image, largestTable(t, image), bit)
			}
			mendFlipped(t, image, model, len(bits))
		})
	}
}

func mendFlipped(t *testing.T, image *vfs.MemFS, model map[string]string, flips int) {
	s, err := Open(memOptions(image, func(o *Options) { o.CacheBytes = 1 << 20 }))
	if err != nil {
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "start the node with an empty directory") {
			t.Errorf("open: %v", err)
		}
		return
	}
	defer func() { _ = s.Close() }()
	now := map[string]string{}
	for key, value := range model {
		now[key] = value
	}
	for i := 3; i < 400; i += 7 { // newer than the table, and in memory
		key := fmt.Sprintf("key%03d", i)
		now[key] = "new"
		if err := put(s, key, "new"); err != nil {
			t.Fatal(err)
		}
	}
	gone := fmt.Sprintf("key%03d", 200)
	delete(now, gone)
	if err := s.Update(context.Background(), func(tx *Tx) error { return tx.Delete([]byte(gone)) }); err != nil {
		t.Fatal(err)
	}
	var l told
	mendAll(t, s, &l)
	missing := wantModel(t, s, &l, now)
	wantMissing(t, s, gone)
	for i := 3; i < 400; i += 7 {
		wantGet(t, s, fmt.Sprintf("key%03d", i), "new")
	}
	if missing > 45*flips {
		t.Errorf("%d records are gone for %d bad blocks of at most 40", missing, flips)
	}
	if err := s.db.Compact(context.Background(), []byte{0}, []byte("z"), false); err != nil {
		t.Errorf("merge of tables after it: %v", err)
	}
	if wantModel(t, s, &l, now) != missing {
		t.Error("a merge of tables has changed what is there")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openMem(t, image)
	if wantModel(t, s, &l, now) != missing {
		t.Error("opening again has changed what is there")
	}
}

// Whatever a crash cuts short, what could be read is there, and nothing is gone
// that was not told of before.
func TestMendOutlivesCrashes(t *testing.T) {
	base, model := tabled(t, 200, 500)
	flip(t, base, largestTable(t, base), 8*40_000)
	if err := file.SyncDir(base, "store"); err != nil {
		t.Fatal(err)
	}
	for i := 3; i < 200; i += 7 {
		model[fmt.Sprintf("key%03d", i)] = "new"
	}
	var images []*vfs.MemFS
	var was []told
	var l told
	mem := base.CrashClone(vfs.CrashCloneCfg{})
	var mu sync.Mutex
	watch := false
	crash := func(unsynced int) {
		mu.Lock()
		defer mu.Unlock()
		if watch {
			images = append(images, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: rand.New(rand.NewPCG(42, uint64(len(images))))}))
			was = append(was, told{ranges: l.ranges})
		}
	}
	s := openMem(t, &hookFS{FS: mem, before: func(string) error {
		crash(50)
		return nil
	}, after: func(name string) {
		if strings.Contains(name, "MANIFEST") { // the part has gone; what comes back has not been written
			crash(0)
		}
	}})
	for i := 3; i < 200; i += 7 {
		if err := put(s, fmt.Sprintf("key%03d", i), "new"); err != nil {
			t.Fatal(err)
		}
	}
	_ = s.Scan(context.Background(), nil, nil, func(_, _ []byte) error { return nil })
	mu.Lock()
	watch = true
	mu.Unlock()
	mendAll(t, s, &l)
	mu.Lock()
	watch = false
	mu.Unlock()
	if len(images) < 4 || len(l.ranges) == 0 {
		t.Fatalf("%d crashes, %d losses", len(images), len(l.ranges))
	}
	for i, image := range images {
		s := openMem(t, image)
		now := was[i]
		for j := range 200 {
			key := fmt.Sprintf("key%03d", j)
			want := model[key]
			if want != "new" && j%5 != i%5 {
				continue // each that does not read takes long
			}
			got, err := s.Get(context.Background(), []byte(key))
			if (errors.Is(err, ErrNotFound) && !now.has(key) || want == "new" && string(got) != want) && !errors.Is(err, ErrCorrupt) {
				t.Errorf("crash %d: %s reads as %.10q, %v", i, key, got, err)
			}
		}
		if i%4 == 0 {
			mendAll(t, s, &now)
			wantModel(t, s, &now, model)
		}
	}
}

// Mend finds damage as others come across it, and leaves what it cannot mend for
// later and later.
func TestMendRuns(t *testing.T) { synctest.Test(t, mendRuns) }

func mendRuns(t *testing.T) {
	base, model := tabled(t, 400, 500)
	flip(t, base, largestTable(t, base), 8*100_000)
	s := openMem(t, base)
	var l told
	ctx, cancel := context.WithCancel(context.Background())
	defer func() {
		cancel()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	fail := errors.New("not now")
	calls := make(chan time.Time, 100)
	go s.Mend(ctx, func(tx *Tx, lower, upper []byte) (func(), error) {
		calls <- time.Now()
		if len(calls) < 3 {
			return nil, fail
		}
		return l.lost(tx, lower, upper)
	})
	scan := func() error { return s.Scan(ctx, nil, nil, func(_, _ []byte) error { return nil }) }
	if err := scan(); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("scan of a bad block: %v", err)
	}
	deadline := time.Now().Add(30 * time.Second)
	seen := 0
	for scan() != nil {
		if n := s.Stats().Damaged; n > 0 {
			seen = n
		}
		if time.Now().After(deadline) {
			t.Fatal("not mended")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n := len(calls); n != 3 || seen != 1 {
		t.Errorf("%d attempts, %d damaged files", n, seen)
	}
	first, second := <-calls, <-calls
	if third := <-calls; second.Sub(first) != firstMend || third.Sub(second) != 2*firstMend {
		t.Errorf("attempts after %v and %v", second.Sub(first), third.Sub(second))
	}
	if st := s.Stats(); st.Damaged != 0 || st.GivenUp != 1 {
		t.Errorf("stats: %+v", st)
	}
	if wantModel(t, s, &l, model) == 0 {
		t.Error("nothing was lost")
	}
}

// Where two tables do not read at the same place nothing is told and nothing given
// up, and a merge of tables that fails over it does not take all of the processor.
func TestMendLeavesWhatItCannot(t *testing.T) {
	base, _ := tabled(t, 100, 500)
	first := largestTable(t, base)
	s := openMem(t, base)
	r := rand.New(rand.NewPCG(4, 8))
	for i := range 100 {
		if err := put(s, fmt.Sprintf("key%03d", i), string(incompressible(r, 600))); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(s.db.Flush(), s.Close()); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{first, largestTable(t, base)} {
		flip(t, base, path, 8*len(readAll(t, base, path))/2)
	}
	s = openMem(t, base)
	scan := func() error { return s.Scan(context.Background(), nil, nil, func(_, _ []byte) error { return nil }) }
	if err := scan(); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	var l told
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go s.Mend(ctx, l.lost)
	deadline := time.Now().Add(30 * time.Second)
	for s.Stats().Damaged == 0 {
		if time.Now().After(deadline) {
			t.Fatal("not counted")
		}
		time.Sleep(10 * time.Millisecond)
	}
	begun := time.Now()
	if err := scan(); !errors.Is(err, ErrCorrupt) || time.Since(begun) < damagePause {
		t.Errorf("known damage is come across within %v: %v", time.Since(begun), err)
	}
	cancel()
	if err := s.Close(); err != nil || len(l.ranges) > 0 || s.Stats().GivenUp > 0 {
		t.Errorf("told %q, given up %d, %v", l.ranges, s.Stats().GivenUp, err)
	}
}
