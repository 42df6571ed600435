package storage

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// mountLoop mounts an ext4 of the given size made in a file, or skips.
func mountLoop(t *testing.T, bytes int64) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIP: a loop file system needs root")
	}
	for _, tool := range []string{"mkfs.ext4", "mount", "umount"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIP: a loop file system needs %s", tool)
		}
	}
	image, dir := filepath.Join(t.TempDir(), "disk"), t.TempDir()
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, bytes); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"mkfs.ext4", "-q", "-F", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("SKIP: a loop file system needs %s to work: %s", strings.Join(args, " "), out)
		}
	}
	t.Cleanup(func() {
		// Whoever looks at all file systems of the host, as other tests do,
		// keeps this one busy for a moment; a file left open does for ever.
		var out []byte
		var err error
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if out, err = exec.Command("umount", dir).CombinedOutput(); err == nil {
				return
			}
		}
		t.Errorf("umount: %s", out)
	})
	return dir
}

// TestDiskFull fills a real file system of 32 MiB, with a reserve and
// without: updates are refused, reads go on unless the log was hit, the store
// can be opened again and has all that was acknowledged; and it goes on when
// space is made.
func TestDiskFull(t *testing.T) {
	for _, c := range []struct {
		name    string
		reserve int64
	}{{"with a reserve", 4 << 20}, {"without a reserve", -1}} {
		t.Run(c.name, func(t *testing.T) {
			dir := mountLoop(t, 32<<20)
			fillDisk(t, filepath.Join(dir, "store"), filepath.Join(dir, "ballast"), c.reserve)
		})
	}
}

func fillDisk(t *testing.T, dir, ballast string, reserve int64) {
	t.Helper()
	// What the store does not write itself, others do: less to wait for.
	if err := os.WriteFile(ballast, make([]byte, 12<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	options := Options{FS: vfs.Default, Dir: dir, MemTableBytes: 1 << 20, Reserve: reserve}
	s, err := Open(options)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	acked := map[string]string{}
	var full error
	for i := 0; i < 100_000 && full == nil; i++ {
		key, value := string(benchKey(i)), string(incompressible(r, 16<<10))
		if full = put(s, key, value); full == nil {
			acked[key] = value
		}
	}
	if !errors.Is(full, ErrStorageFull) && !errors.Is(full, ErrStoreFailed) {
		t.Fatalf("after %d updates: %v", len(acked), full)
	}
	t.Logf("full after %d updates: %v", len(acked), full)
	if reserve > 0 && !errors.Is(full, ErrStorageFull) {
		t.Error("the reserve did not hold")
	}
	if errors.Is(full, ErrStorageFull) {
		wantAll(t, s, acked)
	}
	within(t, time.Minute, "close", func() { _ = s.Close() })

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(options); err != nil {
		t.Fatalf("open after space was made: %v", err)
	}
	wantAll(t, s, acked)
	if err := put(s, "after", "all"); err != nil {
		t.Errorf("update after space was made: %v", err)
	}
	wantGet(t, s, "after", "all")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func wantAll(t *testing.T, s *Store, acked map[string]string) {
	t.Helper()
	for key, want := range acked {
		if got, err := s.Get(context.Background(), []byte(key)); err != nil || string(got) != want {
			t.Fatalf("%s reads as %.10q, %v; it was acknowledged", key, got, err)
		}
	}
}
