package dir

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/backup"
	"github.com/skeinmesh/skein/backup/tiertest"
)

func newTier(t *testing.T, o Options) *Tier {
	t.Helper()
	tier, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return tier
}

func put(tier backup.Tier, name string, size int) error {
	return tier.Put(context.Background(), name, make([]byte, size))
}

func list(t *testing.T, tier backup.Tier) (names []string) {
	t.Helper()
	for o, err := range tier.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, o.Name)
	}
	return names
}

func TestTier(t *testing.T) {
	tiertest.Test(t, func(t *testing.T) backup.Tier { return newTier(t, Options{Dir: t.TempDir()}) })
	dir := t.TempDir()
	tiertest.TestOpenedAnew(t, func(t *testing.T) backup.Tier { return newTier(t, Options{Dir: dir, MaxBytes: 1 << 30, MinFree: 1}) })
}

func TestOptionsNameAllFaults(t *testing.T) {
	_, err := New(Options{Marker: "../x", MaxBytes: -1, MinFree: -2})
	if !errors.Is(err, ErrOptions) {
		t.Fatal(err)
	}
	for _, want := range []string{"Dir", `"../x"`, "MaxBytes", "MinFree"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not speak of %s", err, want)
		}
	}
}

// A stick that is not mounted is not written to, whether its mount point is there or not, and is
// used once it is.
func TestStickComesAndGoes(t *testing.T) {
	mount := filepath.Join(t.TempDir(), "stick")
	plain, marked := newTier(t, Options{Dir: mount}), newTier(t, Options{Dir: mount, Marker: ".backups"})
	wantNone := func(tier backup.Tier) {
		t.Helper()
		err := put(tier, "a/b", 1)
		_, getErr := tier.Get(t.Context(), "a/b", 1)
		_, statErr := tier.Stat(t.Context(), "a/b")
		var listErr error
		for _, listErr = range tier.List(t.Context(), "") {
		}
		for _, err := range []error{err, getErr, statErr, listErr, tier.Delete(t.Context(), "a/b")} {
			if !errors.Is(err, ErrNotMounted) || errors.Is(err, backup.ErrNoObject) {
				t.Errorf("without the stick: %v", err)
			}
		}
	}
	wantNone(plain)
	wantNone(marked)
	if err := os.Mkdir(mount, 0o700); err != nil {
		t.Fatal(err)
	}
	wantNone(marked)
	if entries, err := os.ReadDir(mount); err != nil || len(entries) > 0 {
		t.Errorf("written below the mount point: %v, %v", entries, err)
	}
	if err := os.WriteFile(filepath.Join(mount, ".backups"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(put(marked, "a/b", 1), put(plain, "a/c", 1)); err != nil {
		t.Error(err)
	}
	if names := list(t, marked); len(names) != 2 {
		t.Errorf("listed %q", names)
	}
}

func TestQuota(t *testing.T) {
	tier := newTier(t, Options{Dir: t.TempDir(), MaxBytes: 1000})
	for _, step := range []struct {
		name string
		size int
		full bool
	}{{"a", 600, false}, {"b", 500, true}, {"b", 400, false}, {"c", 1, true}, {"c", 0, false}, {"a", 600, false}, {"a", 601, true}, {"a", 500, false}, {"c", 100, false}} {
		if err := put(tier, step.name, step.size); errors.Is(err, backup.ErrTierFull) != step.full || err != nil && !step.full {
			t.Errorf("%+v: %v", step, err)
		}
	}
	if err := errors.Join(tier.Delete(t.Context(), "b"), put(tier, "d/e", 400)); err != nil {
		t.Error(err)
	}
	// Two at once do not go over it together.
	var inner error
	begun := false
	tier = newMemoryTier(vfs.NewMem(), func() error {
		if !begun {
			begun = true
			inner = put(tier, "b", 600)
		}
		return nil
	})
	tier.opts.MaxBytes = 1000
	if err := put(tier, "a", 600); err != nil || !errors.Is(inner, backup.ErrTierFull) {
		t.Errorf("two of 600 bytes in 1000: %v, %v", err, inner)
	}
	tier = newTier(t, Options{Dir: t.TempDir(), MinFree: 1 << 60})
	if err := put(tier, "a", 1); !errors.Is(err, backup.ErrTierFull) {
		t.Errorf("with too little free: %v", err)
	}
}

// Links lead nowhere outside, and what is no object is left alone.
func TestOnlyObjectsInside(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink(outside, filepath.Join(dir, "out")), os.Symlink(secret, filepath.Join(dir, "file")),
		os.Mkdir(filepath.Join(dir, "lost+found"), 0), os.WriteFile(filepath.Join(dir, "README"), nil, 0o600), os.WriteFile(filepath.Join(dir, ".hidden"), nil, 0o600)); err != nil {
		t.Skip(err)
	}
	tier := newTier(t, Options{Dir: dir})
	if got, err := tier.Get(t.Context(), "out/secret", 100); err == nil {
		t.Errorf("got %q from outside", got)
	}
	if got, err := tier.Get(t.Context(), "file", 100); err == nil {
		t.Errorf("got %q from outside", got)
	}
	if err := put(tier, "out/new", 1); err == nil {
		t.Error("written outside")
	}
	if err := errors.Join(put(tier, "file", 1), tier.Delete(t.Context(), "out/secret")); err != nil {
		t.Log(err)
	}
	if text, err := os.ReadFile(secret); err != nil || string(text) != "secret" {
		t.Errorf("outside there is %q now, %v", text, err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("outside there is %v now, %v", entries, err)
	}
	if names := list(t, tier); len(names) != 1 || names[0] != "file" {
		t.Errorf("listed %q", names)
	}
}

// What puts leave behind that were killed goes after a while, and what another one is writing stays.
func TestLeftoversAreRemoved(t *testing.T) {
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{"old": 2 * time.Hour, "new": time.Minute} {
		file := filepath.Join(dir, tempPrefix+name)
		if err := errors.Join(os.WriteFile(file, []byte("x"), 0o600), os.Chtimes(file, time.Time{}, time.Now().Add(-age))); err != nil {
			t.Fatal(err)
		}
	}
	tier := newTier(t, Options{Dir: dir})
	if err := put(tier, "a/b", 1); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 || entries[0].Name() != tempPrefix+"new" {
		t.Errorf("there is %v, %v", entries, err)
	}
	if names := list(t, tier); len(names) != 1 {
		t.Errorf("listed %q", names)
	}
}

func TestErrorsHaveNames(t *testing.T) {
	for cause, want := range map[error]error{
		&fs.PathError{Err: syscall.ENOSPC}: backup.ErrTierFull,
		&fs.PathError{Err: syscall.EDQUOT}: backup.ErrTierFull,
		&fs.PathError{Err: syscall.EACCES}: backup.ErrDenied,
		fs.ErrNotExist:                     ErrNotMounted,
	} {
		tier := newTier(t, Options{Dir: "d"})
		tier.openDir = func() (directory, error) { return nil, cause }
		if err := put(tier, "a/b", 1); !errors.Is(err, want) || !errors.Is(err, cause) || !strings.Contains(err.Error(), "put a/b in d: ") {
			t.Errorf("%v: %v", cause, err)
		}
	}
	dir := t.TempDir()
	if os.Getuid() == 0 || runtime.GOOS == "windows" || os.Chmod(dir, 0o500) != nil {
		t.Skip("everything is allowed here")
	}
	if err := put(newTier(t, Options{Dir: dir}), "a", 1); !errors.Is(err, backup.ErrDenied) {
		t.Error(err)
	}
}
