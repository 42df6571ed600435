package admission

import "testing"

// What waits is bounded by its number and by its bytes. A write that is larger than both
// goes on when nothing else waits.
func TestWhatWaitsIsBounded(t *testing.T) {
	in := &Budget{most: 3, mostBytes: 1 << 20}
	want := func(what string, bytes int, room bool) {
		t.Helper()
		if got := in.MakeRoom(bytes); got != room {
			t.Errorf("%s: room %v for %d bytes beside %d writes of %d", what, got, bytes, in.pending.Load(), in.bytes.Load())
		}
	}
	want("one larger than all", 2<<20, true)
	want("beside it", 1, false)
	in.ReleaseBytes(2 << 20)
	want("the first", 600<<10, true)
	want("too many bytes", 600<<10, false)
	want("what fits", 400<<10, true)
	want("the third", 1, true)
	want("too many", 1, false)
	in.ReleaseBytes(600 << 10)
	want("room again", 600<<10, true)
	for _, bytes := range []int{400 << 10, 1, 600 << 10} {
		in.ReleaseBytes(bytes)
	}
	if in.pending.Load() != 0 || in.bytes.Load() != 0 {
		t.Errorf("%d writes of %d bytes are left", in.pending.Load(), in.bytes.Load())
	}
}
