package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// lowest returns a file system with a store of so many records in tables of the lowest
// level, and the path of one.
func lowest(t *testing.T, records int) (mem *vfs.MemFS, table string) {
	t.Helper()
	mem = vfs.NewMem()
	s, err := Open(memOptions(mem))
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(2, 9))
	err = s.Update(t.Context(), func(tx *Tx) error {
		for i := range records {
			if err := tx.Set(fmt.Appendf(nil, "k%05d", 2*i), incompressible(r, 100)); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, s.db.Compact(t.Context(), []byte("a"), []byte("z"), false)); err != nil {
		t.Fatal(err)
	}
	m := s.db.Metrics()
	if all := m.Total(); m.Levels[6].TablesCount == 0 || m.Levels[6].TablesCount != all.TablesCount {
		t.Fatalf("%d of %d tables are of the lowest level", m.Levels[6].TablesCount, all.TablesCount)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := mem.List("store")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".sst") {
			table = "store/" + name
		}
	}
	return mem, table
}

func getInUpdate(s *Store, key string) (value []byte, err error) {
	return value, s.Update(context.Background(), func(tx *Tx) error {
		v, err := tx.Get([]byte(key))
		value = v
		return err
	})
}

// To find out that a key is new takes no block of records from the disk.
func TestNewKeysReadNoBlocks(t *testing.T) {
	const records = 4000
	mem, _ := lowest(t, records)
	s := openMem(t, mem)
	blocks := func() int64 { m := s.db.Metrics(); return m.BlockCache.Misses }
	if _, err := getInUpdate(s, "k00001"); !errors.Is(err, ErrNotFound) {
		t.Fatal(err) // and the filter is in memory
	}
	before := blocks()
	for i := 1; i < 2*records; i += 40 {
		if v, err := getInUpdate(s, fmt.Sprintf("k%05d", i)); !errors.Is(err, ErrNotFound) {
			t.Fatalf("a key that was never written: %q, %v", v, err)
		}
	}
	// One in a hundred looks to the filter like one that is there.
	if read := blocks() - before; read > records/20/10 {
		t.Errorf("%d blocks were read for %d new keys", read, records/20)
	}
	for i := 0; i < 2*records; i += 400 {
		if _, err := getInUpdate(s, fmt.Sprintf("k%05d", i)); err != nil {
			t.Fatal(err)
		}
	}
}

// A bit of a table is flipped, be it one of its filter. An update reads all that a reader
// reads: a filter that does not read keeps no write from going on.
func TestUpdatesReadWhatReadersRead(t *testing.T) {
	mem, table := lowest(t, 300)
	size := len(readAll(t, mem, table))
	good := readAll(t, mem, table)
	same, damaged := 0, 0
	for bit := 3; bit < 8*size; bit += 8*size/150 + 1 {
		replace(t, mem, table, good)
		flip(t, mem, table, bit)
		s, err := Open(memOptions(mem))
		if errors.Is(err, ErrCorrupt) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range 60 {
			key := fmt.Sprintf("k%05d", 5*i)
			want, wantErr := s.loadUnsynced([]byte(key), s.db.Get)
			got, err := getInUpdate(s, key)
			written := i%2 == 0
			switch {
			case wantErr == nil && (err != nil || string(got) != string(want)),
				errors.Is(wantErr, ErrNotFound) && !errors.Is(err, ErrNotFound),
				errors.Is(wantErr, ErrCorrupt) && !errors.Is(err, ErrCorrupt) && (written || !errors.Is(err, ErrNotFound)):
				t.Fatalf("bit %d: %s reads as %.10q, %v in an update and as %.10q, %v else", bit, key, got, err, want, wantErr)
			}
			if same++; err != nil && !errors.Is(err, ErrNotFound) {
				damaged++
			}
		}
		_ = s.Close()
	}
	if same < 1000 || damaged == 0 {
		t.Errorf("%d reads, %d of what is damaged", same, damaged)
	}
}
