package storage

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestCrashAtEverySyncPoint takes images of the disk as a crash may leave it
// before and after each sync, of logs, tables, manifests and directories, and
// opens each: all that was acknowledged is there, and what is there is a
// prefix of the history with no update half done.
func TestCrashAtEverySyncPoint(t *testing.T) {
	seeds := 2
	if *long {
		seeds = 60
	}
	images := 0
	for seed := range seeds {
		images += crashRun(t, uint64(seed))
	}
	t.Logf("%d crash images", images)
	if images < 100*seeds {
		t.Errorf("only %d crash images", images)
	}
}

// oneByOne lets one goroutine of a store at a time into a hook.
func oneByOne(hook func(name string)) func(name string) {
	var mu sync.Mutex
	return func(name string) {
		mu.Lock()
		defer mu.Unlock()
		hook(name)
	}
}

func crashRun(t *testing.T, seed uint64) (images int) {
	mem := vfs.NewCrashableMem()
	l := &ledger{}
	r := rand.New(rand.NewPCG(seed, 99))
	image := oneByOne(func(string) {
		acked := l.ackedNow()
		cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(5) * 25, RNG: r}
		if err := l.check(mem.CrashClone(cfg), acked); err != nil {
			t.Errorf("seed %d, image %d, %d%% of unsynced data kept: %v", seed, images, cfg.UnsyncedDataPercent, err)
		}
		images++
	})
	fs := &hookFS{FS: mem, after: image, before: func(name string) error { image(name); return nil }}
	s, err := Open(memOptions(fs))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.run(s, seed, 4, 30); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := l.check(mem.CrashClone(vfs.CrashCloneCfg{}), l.acked); err != nil {
		t.Errorf("seed %d, after close: %v", seed, err)
	}
	return images
}

// TestCrashWhileCreating crashes at every sync of the very first opening.
func TestCrashWhileCreating(t *testing.T) {
	l := &ledger{}
	images := 0
	for seed := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, 23))
		mem := vfs.NewCrashableMem()
		image := oneByOne(func(name string) {
			for range 5 {
				images++
				if err := l.check(mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: r}), 0); err != nil {
					t.Errorf("seed %d, image %d, at the sync of %s: %v", seed, images, name, err)
				}
			}
		})
		fs := &hookFS{FS: mem, after: image, before: func(name string) error { image(name); return nil }}
		if err := l.check(fs, 0); err != nil {
			t.Fatal(err)
		}
	}
	if images < 100 {
		t.Errorf("only %d images", images)
	}
}

// TestCrashWhileRecovering crashes at every sync of the opening that follows
// a crash.
func TestCrashWhileRecovering(t *testing.T) {
	rounds := 4
	if *long {
		rounds = 100
	}
	images := 0
	for round := range rounds {
		r := rand.New(rand.NewPCG(uint64(round), 17))
		mem := vfs.NewCrashableMem()
		l := &ledger{}
		s, err := Open(memOptions(mem))
		if err != nil {
			t.Fatal(err)
		}
		if err := l.run(s, uint64(round), 3, 15); err != nil {
			t.Fatal(err)
		}
		crashed := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: r})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		image := oneByOne(func(string) {
			images++
			if err := l.check(crashed.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r}), l.acked); err != nil {
				t.Errorf("round %d, image %d: %v", round, images, err)
			}
		})
		fs := &hookFS{FS: crashed, after: image, before: func(name string) error { image(name); return nil }}
		if err := l.check(fs, l.acked); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
	}
	if images < 10*rounds {
		t.Errorf("only %d images", images)
	}
}

// TestCrashOfCrash crashes again and again while recovering and going on.
func TestCrashOfCrash(t *testing.T) {
	rounds := 15
	if *long {
		rounds = 300
	}
	r := rand.New(rand.NewPCG(7, 7))
	fs := vfs.NewCrashableMem()
	l := &ledger{}
	for round := range rounds {
		s, err := Open(memOptions(fs))
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := l.compare(s, l.acked); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		l.forgetUnseen(t, s)
		if err := l.run(s, uint64(round), 3, 20); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		fs = crashed
	}
}
