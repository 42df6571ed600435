package storage

import (
	"slices"
	"testing"
)

// Damage to any chunk of a log behind which a record begins is damage; to those
// of the last record it looks like a crash, and so does every place at which a
// crash may have cut that off.
func TestDamageIsToldFromACrash(t *testing.T) {
	image, _ := filled(t, false)
	names, err := image.List("store")
	if err != nil {
		t.Fatal(err)
	}
	name, number := newestLog(names)
	if name == "" {
		t.Fatal("no log")
	}
	data, format := readAll(t, image, "store/"+name), logFormat(uint32(number))

	var starts, ends []int
	last := 0 // the chunk with which the last record begins
	for off := 0; ; {
		if rest := chunkBlock - off%chunkBlock; rest < format.header {
			off += rest
		}
		kind, end, ok := format.chunkAt(data, off)
		if !ok {
			break
		}
		if kind == format.full || kind == format.first {
			last = len(starts)
		}
		starts, ends, off = append(starts, off), append(ends, end), end
	}
	if last < 25 { // 30 records and one more since the last table
		t.Fatalf("the last of %d chunks begins record %d", len(starts), last)
	}
	if err := format.checkRecords(data); err != nil {
		t.Fatalf("a whole log: %v", err)
	}
	for i, start := range starts {
		damaged := slices.Clone(data)
		damaged[(start+ends[i])/2] ^= 1
		if err := format.checkRecords(damaged); (err != nil) != (i < last) {
			t.Errorf("damage to chunk %d, the last record begins with chunk %d: %v", i, last, err)
		}
	}
	for cut := starts[last]; cut < ends[len(ends)-1]; cut++ {
		short := slices.Clone(data)
		clear(short[cut:])
		if err := format.checkRecords(short); err != nil {
			t.Errorf("the last record is cut off at byte %d of %d to %d: %v", cut, starts[last], ends[len(ends)-1], err)
		}
	}
}
