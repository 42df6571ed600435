package backup

import (
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ledgerOf is a ledger that fails as long as it is told to.
type ledgerOf struct {
	fail    error
	entered []string
	sums    map[string][32]byte
}

func (l *ledgerOf) enter(_ context.Context, tier, name string, sum [32]byte) error {
	if l.fail != nil {
		return l.fail
	}
	l.entered = append(l.entered, tier+" "+name)
	l.sums[name] = sum
	return nil
}

// check compares what was entered with the manifests at a tier.
func (l *ledgerOf) check(t *testing.T, m *memory) {
	t.Helper()
	var want []string
	for _, name := range m.names() {
		if strings.Contains(name, "/m-") {
			want = append(want, "usb "+name)
			if l.sums[name] != sha256.Sum256(m.objects[name]) {
				t.Errorf("%s is entered with another hash", name)
			}
		}
	}
	got := slices.Compact(slices.Clone(l.entered))
	if !slices.Equal(got, want) {
		t.Errorf("entered: %q, at the tier: %q", l.entered, want)
	}
}

// What the ledger refuses is told, survives restarts, and is entered later, each in its turn. No backup
// fails for it.
func TestManifestsAreEntered(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.newMesh(1, 4, "m")[0]
		tier, book := newMemory(), &ledgerOf{sums: map[string][32]byte{}}
		open := func() {
			w.open(b, 0, map[string]Tier{"usb": tier}, func(c *Config) { c.Enter = book.enter })
		}
		backUp := func(key string) {
			w.put(b, key, "v")
			w.backUp("usb", b)
		}
		unentered := func(want int) {
			t.Helper()
			if got := b.backup.Status()[0].Unentered; got != want {
				t.Errorf("%d are told to be owed, %d are", got, want)
			}
		}
		open()
		backUp("k1")
		unentered(0)
		book.check(t, tier)
		book.fail = errors.New("full")
		backUp("k2")
		backUp("k3")
		unentered(2)
		if len(book.entered) != 1 || b.backup.Status()[0].Error != "" {
			t.Errorf("%q, %+v", book.entered, b.backup.Status())
		}
		_ = b.backup.Close()
		open()
		unentered(2)
		book.fail = nil
		backUp("k4")
		unentered(0)
		book.check(t, tier)
		_ = b.backup.Close()
		open()
		unentered(0)
	})
}

// The node dies between the put of a manifest and its entry.
func TestManifestIsEnteredAfterACrash(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.newMesh(1, 4, "m")[0]
		tier, book := newMemory(), &ledgerOf{sums: map[string][32]byte{}}
		b.fs = vfs.NewCrashableMem()
		var left *vfs.MemFS
		w.open(b, 0, map[string]Tier{"usb": tier}, func(c *Config) {
			c.Enter = func(context.Context, string, string, [32]byte) error {
				left = b.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
				return errors.New("the node dies")
			}
		})
		w.put(b, "k", "v")
		w.backUp("usb", b)
		_ = b.backup.Close()
		b.fs = left
		w.open(b, 0, map[string]Tier{"usb": tier}, func(c *Config) { c.Enter = book.enter })
		w.backUp("usb", b)
		if len(book.entered) != 2 {
			t.Errorf("entered: %q", book.entered)
		}
		book.check(t, tier)
	})
}
