package file

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	iofs "io/fs"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func mustWrite(t *testing.T, fs vfs.FS, path, payload string) {
	t.Helper()
	if err := Write(fs, path, []byte(payload)); err != nil {
		t.Fatal(err)
	}
}

func wantContent(t *testing.T, fs vfs.FS, path, want string) {
	t.Helper()
	got, err := Read(fs, path)
	if err != nil || string(got) != want {
		t.Fatalf("read %s = %q, %v; want %q", path, got, err, want)
	}
}

func TestWriteThenRead(t *testing.T) {
	fs := vfs.NewMem()
	if _, err := Read(fs, "f"); !errors.Is(err, iofs.ErrNotExist) {
		t.Fatalf("reading what is not there: %v", err)
	}
	for _, payload := range []string{"first", "", "a longer second one", string(make([]byte, 100_000))} {
		mustWrite(t, fs, "f", payload)
		wantContent(t, fs, "f", payload)
	}
	if names, err := fs.List(""); err != nil || len(names) != 1 {
		t.Errorf("directory holds %q, %v; want the file only", names, err)
	}
	if err := Write(fs, "no/such/f", nil); err == nil {
		t.Error("written into a directory that is not there")
	}
}

// TestDamageIsCorrupt changes every bit, cuts at every length, and fills
// with zeros: none of it may read as a content, as absent or as a newer
// format.
func TestDamageIsCorrupt(t *testing.T) {
	good, err := encode([]byte("some payload"))
	if err != nil {
		t.Fatal(err)
	}
	damaged := map[string][]byte{
		"zeros":    make([]byte, len(good)),
		"too long": append(bytes.Clone(good), 0),
	}
	for i := range len(good) * 8 {
		flipped := bytes.Clone(good)
		flipped[i/8] ^= 1 << (i % 8)
		damaged[fmt.Sprintf("bit %d", i)] = flipped
	}
	for n := range good {
		damaged[fmt.Sprintf("cut at %d", n)] = good[:n]
	}
	for n := range good[:len(good)-1] {
		damaged[fmt.Sprintf("zeros from %d", n)] = append(bytes.Clone(good[:n]), make([]byte, len(good)-n)...)
	}
	for name, data := range damaged {
		if payload, err := decodeFile(data); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s reads as %q, %v", name, payload, err)
		}
	}
}

func TestNewerFormatIsRecognised(t *testing.T) {
	data := append([]byte(magic), make([]byte, 8)...)
	binary.LittleEndian.PutUint32(data[8:], version+1)
	binary.LittleEndian.PutUint32(data[12:], crc32.Checksum(data[:12], castagnoli))
	for _, rest := range []string{"", "whatever that version keeps here"} {
		if _, err := decodeFile(append(bytes.Clone(data), rest...)); !errors.Is(err, ErrNewerFormat) {
			t.Errorf("newer format with %q: %v", rest, err)
		}
	}
	binary.LittleEndian.PutUint32(data[8:], 0)
	binary.LittleEndian.PutUint32(data[12:], crc32.Checksum(data[:12], castagnoli))
	if _, err := decodeFile(data); !errors.Is(err, ErrCorrupt) {
		t.Errorf("format that never was: %v", err)
	}
}

// TestCrashAtEveryStep makes each write to the disk the last one before a
// crash: afterwards there is the old or the new content, whole; and once
// Write has returned, the new.
func TestCrashAtEveryStep(t *testing.T) {
	for _, old := range []string{"", "old"} {
		for _, percent := range []int{0, 30, 60, 100} {
			for seed := range uint64(20) {
				crashSteps(t, old, vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(seed, 1))})
			}
		}
	}
}

func crashSteps(t *testing.T, old string, cfg vfs.CrashCloneCfg) {
	t.Helper()
	for step := 1; ; step++ {
		mem := vfs.NewCrashableMem()
		if old != "" {
			mustWrite(t, mem, "f", old)
		}
		var image *vfs.MemFS
		n := 0
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(o errorfs.Op) error {
			if o.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				if n++; n == step {
					image = mem.CrashClone(cfg)
				}
			}
			return nil
		}))
		mustWrite(t, fs, "f", "new")
		if image == nil {
			wantContent(t, mem.CrashClone(cfg), "f", "new")
			return
		}
		got, err := Read(image, "f")
		switch {
		case err == nil && (string(got) == "new" || string(got) == old && old != ""):
		case errors.Is(err, iofs.ErrNotExist) && old == "":
		default:
			t.Errorf("old %q, crash at step %d, %d%% kept: read %q, %v", old, step, cfg.UnsyncedDataPercent, got, err)
		}
	}
}

// TestErrorAtEveryStep makes each write to the disk fail: Write says so, and
// the file has one of the two contents; the next Write succeeds.
func TestErrorAtEveryStep(t *testing.T) {
	for step := 1; ; step++ {
		mem := vfs.NewCrashableMem()
		mustWrite(t, mem, "f", "old")
		n, injected := 0, false
		err := Write(errorfs.Wrap(mem, errorfs.InjectorFunc(func(o errorfs.Op) error {
			// The last close is that of the directory, after all is done.
			if o.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				if n++; n == step {
					injected = true
					return syscall.EIO
				}
			}
			return nil
		})), "f", []byte("new"))
		if !injected {
			if step < 6 {
				t.Errorf("only %d steps", step)
			}
			return
		}
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("step %d failed and Write returned %v", step, err)
		}
		got, err := Read(mem.CrashClone(vfs.CrashCloneCfg{}), "f")
		if err != nil || string(got) != "old" && string(got) != "new" {
			t.Errorf("step %d failed, then read %q, %v", step, got, err)
		}
		mustWrite(t, mem, "f", "newer")
		wantContent(t, mem, "f", "newer")
	}
}

func FuzzRead(f *testing.F) {
	for _, payload := range []string{"", "x", "some payload"} {
		data, err := encode([]byte(payload))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)-1])
	}
	f.Add(make([]byte, 64))
	f.Fuzz(func(t *testing.T, data []byte) {
		payload, err := decodeFile(data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewerFormat) {
				t.Fatalf("unnamed error %v", err)
			}
			return
		}
		again, err := encode(payload)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%x is read but would be written %x, %v", data, again, err)
		}
	})
}
