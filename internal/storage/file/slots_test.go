package file

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func wantSlots(t *testing.T, fs vfs.FS, want ...string) {
	t.Helper()
	got, err := NewSlots(fs, "f").Read()
	for _, w := range want {
		if err == nil && string(got) == w {
			return
		}
	}
	t.Fatalf("read %q, %v; want one of %q", got, err, want)
}

// A write costs one sync, but for the first one, and the one after a failure: these
// write a new file.
func TestSlotsSyncOnce(t *testing.T) {
	var syncs, creates int
	var fail error
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync:
			syncs++
			return fail
		case errorfs.OpCreate:
			creates++
		}
		return nil
	}))
	s := NewSlots(fs, "f")
	write := func(payload string, wantSyncs, wantCreates int, ok bool) {
		t.Helper()
		syncs, creates = 0, 0
		if err := s.Write([]byte(payload)); (err == nil) != ok {
			t.Fatal(err)
		}
		if syncs != wantSyncs || creates != wantCreates {
			t.Errorf("%s: %d syncs, %d files; want %d, %d", payload, syncs, creates, wantSyncs, wantCreates)
		}
	}
	write("first", 2, 1, true)
	for i := range 5 {
		write(fmt.Sprint("in place ", i), 1, 0, true)
		wantSlots(t, fs, fmt.Sprint("in place ", i))
	}
	fail = syscall.EIO
	write("fails", 1, 0, false)
	fail = nil
	write("anew", 2, 1, true)
	write("in place again", 1, 0, true)
	wantSlots(t, fs, "in place again")
	s = NewSlots(fs, "f")
	if _, err := s.Read(); err != nil {
		t.Fatal(err)
	}
	write("of another run", 2, 1, true)
	wantSlots(t, fs, "of another run")
	if err := s.Write(make([]byte, maxSlotLength+1)); err == nil {
		t.Error("a payload that fits no slot was taken")
	}
}

// Whatever a crash leaves of a write, the content is the one before or the one written;
// once Write has returned it is the one written.
func TestSlotsOutliveCrashes(t *testing.T) {
	const seed = 3
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		mem := vfs.NewCrashableMem()
		var images []*vfs.MemFS
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && len(images) < 3 && rng.IntN(4) == 0 {
				images = append(images, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng}))
			}
			return nil
		}))
		s := NewSlots(fs, "f")
		if err := s.Write([]byte("0")); err != nil {
			t.Fatal(err)
		}
		for i := 1; i < 6; i++ {
			images = nil
			if err := s.Write([]byte(fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
			for _, image := range images {
				wantSlots(t, image, fmt.Sprint(i-1), fmt.Sprint(i))
			}
			wantSlots(t, mem.CrashClone(vfs.CrashCloneCfg{}), fmt.Sprint(i))
		}
	}
}

// Damage of one slot leaves the other, of both is corrupt; what Write left is read, and
// releases that know no slots refuse them.
func TestSlotsFormats(t *testing.T) {
	fs := vfs.NewMem()
	mustWrite(t, fs, "f", "of an earlier release")
	wantSlots(t, fs, "of an earlier release")
	mustWrite(t, fs, "f", string(make([]byte, 2*slotSize-headerSz)))
	wantSlots(t, fs, string(make([]byte, 2*slotSize-headerSz)))
	s := NewSlots(fs, "f")
	for _, payload := range []string{"one", "two", "three"} {
		if err := s.Write([]byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Read(fs, "f"); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("an earlier release reads: %v", err)
	}
	damage := func(at int) {
		f, err := fs.OpenReadWrite("f", vfs.WriteCategoryUnspecified)
		if err == nil {
			_, err = f.WriteAt(bytes.Repeat([]byte{0xee}, 40), int64(at))
		}
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	damage(slotSize + 8)
	wantSlots(t, fs, "two")
	damage(8)
	if _, err := NewSlots(fs, "f").Read(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("both slots are damaged: %v", err)
	}
}

// The layout is for ever.
func TestSlotsGolden(t *testing.T) {
	fs := vfs.NewMem()
	s := NewSlots(fs, "f")
	for _, payload := range []string{"before", "now"} {
		if err := s.Write([]byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := fs.Open("f")
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 2*slotSize)
	if _, err := f.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	want, err := os.ReadFile("testdata/slots.v2")
	if os.IsNotExist(err) && os.Getenv("SKEIN_WRITE_GOLDEN") != "" {
		err = os.WriteFile("testdata/slots.v2", got, 0o644)
		want = got
	}
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the layout has changed: %v", err)
	}
}

func FuzzReadSlots(f *testing.F) {
	f.Add(append(encodeSlot(1, []byte("a")), encodeSlot(2, []byte("b"))...))
	f.Add(make([]byte, 2*slotSize))
	f.Fuzz(func(t *testing.T, data []byte) {
		fs := vfs.NewMem()
		file, err := fs.Create("f", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = file.Write(data)
		_ = file.Close()
		if got, err := NewSlots(fs, "f").Read(); err == nil && len(got) > len(data) {
			t.Error("more than there is")
		}
	})
}
