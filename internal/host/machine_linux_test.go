package host

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"testing"
	"time"
)

// TestThisMachine reads the machine that runs the test.
func TestThisMachine(t *testing.T) {
	r := New(os.DirFS("/"), t.TempDir(), Disk)
	start := time.Now()
	deadline := start.Add(20 * time.Second)
	f, err := r.Read(0)
	for err == nil && !f.FreeCPU.known && time.Now().Before(deadline) {
		f, err = r.Read(time.Since(start))
	}
	if err != nil {
		t.Fatal(err)
	}
	if cores := uint64(runtime.NumCPU()) * 1000; f.CPU.v == 0 || f.CPU.v > cores {
		t.Errorf("CPU is %d of %d thousandths", f.CPU.v, cores)
	}
	if !f.FreeCPU.known || f.FreeCPU.v > f.CPU.v {
		t.Errorf("free CPU is %+v of %d", f.FreeCPU, f.CPU.v)
	}
	if f.Memory.v < 32*mib || f.FreeMemory.v == 0 || f.FreeMemory.v > f.Memory.v {
		t.Errorf("memory is %+v, free %+v", f.Memory, f.FreeMemory)
	}
	if f.Storage.v < 32*mib || f.FreeStorage.v == 0 || f.FreeStorage.v > f.Storage.v {
		t.Errorf("storage is %+v, free %+v", f.Storage, f.FreeStorage)
	}
	if f.Uptime.v < time.Second {
		t.Errorf("up for %v", f.Uptime.v)
	}
	t.Logf("%+v", f)
}

func TestNoDirectory(t *testing.T) {
	if _, _, err := Disk(t.TempDir() + "/absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a directory that is not there: %v", err)
	}
}
