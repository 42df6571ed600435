package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// reports collects what a store tells of damage.
type reports struct {
	mu   sync.Mutex
	keys map[string]int
}

func (r *reports) watch(o *Options) {
	r.keys = map[string]int{}
	o.OnCorrupt = func(key []byte, err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.keys[string(key)]++
	}
}

func (r *reports) count(key string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys[key]
}

// TestBadRecordIsUnknown puts damaged records where Pebble sees no damage:
// they are neither absent nor believed, by Get, by a Tx and by Scan, and are
// whole again once written.
func TestBadRecordIsUnknown(t *testing.T) {
	var seen reports
	s := openMem(t, vfs.NewMem(), seen.watch)
	ctx := context.Background()
	good := encodeRecord([]byte("good"), []byte("value"))
	flipped := encodeRecord([]byte("flipped"), []byte("value"))
	flipped[len(flipped)-1] ^= 1
	bad := map[string][]byte{
		"cut":     encodeRecord([]byte("cut"), []byte("value"))[:6],
		"empty":   {},
		"flipped": flipped,
		"swapped": good, // under the key of another
		"gooe":    good,
		"zeros":   make([]byte, 9),
	}
	for key, rec := range bad {
		if err := s.db.Set([]byte(key), rec, pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(s, "good", "value"); err != nil {
		t.Fatal(err)
	}
	for key := range bad {
		if v, err := s.Get(ctx, []byte(key)); !errors.Is(err, ErrCorrupt) || errors.Is(err, ErrNotFound) {
			t.Errorf("get of %s: %q, %v", key, v, err)
		}
		err := s.Update(ctx, func(tx *Tx) error {
			_, err := tx.Get([]byte(key))
			return err
		})
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("get of %s in an update: %v", key, err)
		}
	}
	var scanned []string
	err := s.Scan(ctx, nil, nil, func(key, _ []byte) error {
		scanned = append(scanned, string(key))
		return nil
	})
	if err != nil || fmt.Sprint(scanned) != "[good]" {
		t.Errorf("scan gave %q, %v", scanned, err)
	}
	for key := range bad {
		if n := seen.count(key); n != 3 {
			t.Errorf("%s was reported %d times, want 3", key, n)
		}
		if err := put(s, key, "repaired"); err != nil {
			t.Error(err)
		}
		wantGet(t, s, key, "repaired")
	}
}

// flip changes one bit of a file.
func flip(t *testing.T, fs vfs.FS, path string, bit int) {
	t.Helper()
	data := readAll(t, fs, path)
	data[bit/8] ^= 1 << (bit % 8)
	replace(t, fs, path, data)
}

func replace(t *testing.T, fs vfs.FS, path string, data []byte) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, werr := f.Write(data)
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func readAll(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return data
}

// filled returns a file system with a store of synced records in tables and
// in the log, as it is closed or as it is left by a crash, and what the
// records are.
func filled(t *testing.T, closed bool) (*vfs.MemFS, map[string]string) {
	t.Helper()
	mem := vfs.NewCrashableMem()
	s, err := Open(memOptions(mem))
	if err != nil {
		t.Fatal(err)
	}
	model := map[string]string{}
	r := rand.New(rand.NewPCG(4, 2))
	set := func(i int) {
		key, value := fmt.Sprintf("key%03d", i), string(incompressible(r, 400))
		model[key] = value
		if err := put(s, key, value); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		set(i)
	}
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	for i := 90; i < 120; i++ {
		set(i)
	}
	if closed {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return mem.CrashClone(vfs.CrashCloneCfg{}), model
	}
	// Damage to the last record of a log that was not closed looks like a
	// crash: let it be one that nobody misses.
	if err := put(s, "last", ""); err != nil {
		t.Fatal(err)
	}
	image := mem.CrashClone(vfs.CrashCloneCfg{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return image, model
}

// TestFlippedBits flips random bits of every kind of file. Whatever happens,
// no wrong value is read, and no record that was synced reads as absent: it
// is right, or unknown, or the store does not open and says that it is
// corrupt.
func TestFlippedBits(t *testing.T) {
	for _, closed := range []bool{true, false} {
		t.Run(fmt.Sprintf("closed=%t", closed), func(t *testing.T) { flippedBits(t, closed) })
	}
}

func flippedBits(t *testing.T, closed bool) {
	flips := 12
	if *long {
		flips = 400
	}
	base, model := filled(t, closed)
	names, err := base.List("store")
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(11, 12))
	refused, unknown := 0, 0
	for _, name := range names {
		size := len(readAll(t, base, "store/"+name))
		for range flips {
			if size == 0 {
				break
			}
			bit := r.IntN(size * 8)
			t.Run(fmt.Sprintf("%s/%d", name, bit), func(t *testing.T) {
				image := base.CrashClone(vfs.CrashCloneCfg{})
				flip(t, image, "store/"+name, bit)
				a, b := readDamaged(t, image, model)
				refused, unknown = refused+a, unknown+b
			})
		}
	}
	t.Logf("%d stores refused, %d records unknown", refused, unknown)
	if refused == 0 || unknown == 0 {
		t.Error("the flips have hardly hit anything")
	}
}

// TestCutFiles cuts the files of a closed store short: nothing is lost
// without a word.
func TestCutFiles(t *testing.T) {
	base, model := filled(t, true)
	names, err := base.List("store")
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(13, 14))
	for _, name := range names {
		data := readAll(t, base, "store/"+name)
		for _, n := range []int{0, r.IntN(len(data) + 1), max(len(data)-1, 0)} {
			image := base.CrashClone(vfs.CrashCloneCfg{})
			if n < len(data) {
				t.Run(fmt.Sprintf("%s/%d", name, n), func(t *testing.T) {
					replace(t, image, "store/"+name, data[:n])
					readDamaged(t, image, model)
				})
			}
		}
	}
}

func readDamaged(t *testing.T, fs vfs.FS, model map[string]string) (refused, unknown int) {
	t.Helper()
	s, err := Open(memOptions(fs))
	if err != nil {
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("open: %v", err)
		}
		return 1, 0
	}
	defer func() { _ = s.Close() }()
	ctx := context.Background()
	for key, want := range model {
		got, err := s.Get(ctx, []byte(key))
		switch {
		case errors.Is(err, ErrCorrupt):
			unknown++
		case err != nil || string(got) != want:
			t.Errorf("%s reads as %.10q, %v; it was %.10q", key, got, err, want)
		}
	}
	seen := 0
	err = s.Scan(ctx, nil, nil, func(key, value []byte) error {
		if model[string(key)] != string(value) {
			t.Errorf("%s is scanned as %.10q", key, value)
		}
		seen++
		return nil
	})
	if seen < len(model) && err == nil && s.Stats().Corrupt == 0 {
		t.Errorf("scan left out %d records without a word", len(model)-seen)
	}
	return 0, unknown
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte("key"), []byte("value"))
	f.Add([]byte{}, []byte{})
	f.Add([]byte("key"), encodeRecord([]byte("key"), []byte("value")))
	f.Fuzz(func(t *testing.T, key, data []byte) {
		rec := encodeRecord(key, data)
		if value, err := decodeRecord(key, rec); err != nil || !bytes.Equal(value, data) {
			t.Fatalf("wrote %x, read %x, %v", data, value, err)
		}
		if len(rec) > 0 {
			bad := bytes.Clone(rec)
			bad[len(data)%len(bad)] ^= 0x10
			if value, err := decodeRecord(key, bad); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("damage reads as %x, %v", value, err)
			}
		}
		if value, err := decodeRecord(key, data); err == nil && !bytes.Equal(encodeRecord(key, value), data) {
			t.Fatalf("%x is read as %x, but that is not how it is written", data, value)
		}
	})
}

func FuzzChunks(f *testing.F) {
	fs := vfs.NewMem()
	s, err := Open(memOptions(fs))
	if err != nil {
		f.Fatal(err)
	}
	for range 5 {
		if err := put(s, "key", "value"); err != nil {
			f.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	names, err := fs.List("store")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		if file, err := fs.Open("store/" + name); err == nil {
			data, _ := io.ReadAll(file)
			f.Add(data, uint32(2), false)
			f.Add(data, uint32(0), true)
			_ = file.Close()
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, number uint32, manifest bool) {
		format := logFormat(number)
		if manifest {
			format = manifestFormat()
		}
		if err := format.checkRecords(data); err == nil {
			return
		}
		// Damage was found because a whole record begins somewhere behind
		// the first place that does not check.
		records := 0
		for off := range data {
			if kind, end, ok := format.chunkAt(data, off); ok && kind <= format.first {
				records++
				if end > len(data) {
					t.Fatalf("chunk at %d ends at %d of %d", off, end, len(data))
				}
			}
		}
		if records == 0 {
			t.Fatal("damage found without a later record")
		}
	})
}
