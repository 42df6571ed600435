package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// stuckSync is a disk whose log syncs wait when told to.
type stuckSync struct {
	hookFS
	stuck  atomic.Bool
	answer chan error
}

func newStuckSync(fs vfs.FS) *stuckSync {
	d := &stuckSync{hookFS: hookFS{FS: fs}, answer: make(chan error)}
	d.before = func(name string) error {
		if d.stuck.Load() && strings.HasSuffix(name, ".log") {
			return <-d.answer
		}
		return nil
	}
	return d
}

// release lets a test that has failed end.
func (d *stuckSync) release() {
	d.stuck.Store(false)
	close(d.answer)
}

type outcome struct {
	value []byte
	err   error
}

// async runs read in a goroutine and reports its outcome.
func async(read func() ([]byte, error)) chan outcome {
	ch := make(chan outcome, 1)
	go func() {
		v, err := read()
		ch <- outcome{v, err}
	}()
	return ch
}

func (s *Store) scanOne(key []byte) ([]byte, error) {
	var got []byte
	err := s.Scan(context.Background(), key, append(bytes.Clone(key), 0), func(_, value []byte) error {
		got = bytes.Clone(value)
		return nil
	})
	return got, err
}

// TestF1_21_NothingUnsyncedIsRead lets readers look while a sync hangs. The
// key is read through the cache, from Pebble, and by a scan; new and old.
func TestF1_21_NothingUnsyncedIsRead(t *testing.T) {
	for _, c := range []struct {
		name string
		fail error
	}{{"sync succeeds", nil}, {"sync fails", errors.New("input/output error")}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { gatedReads(t, c.fail) })
		})
	}
}

func gatedReads(t *testing.T, fail error) {
	ctx := context.Background()
	small, large, fresh := []byte("small"), []byte("large"), []byte("fresh")
	// Too large for a cache of the least size: always read from Pebble.
	oldLarge, newLarge := bytes.Repeat([]byte("o"), 16<<10), bytes.Repeat([]byte("n"), 16<<10)
	mem := vfs.NewCrashableMem()
	disk := newStuckSync(mem)
	s := openMem(t, disk, func(o *Options) { o.CacheBytes = 1 << 20 })
	t.Cleanup(disk.release)
	write := func(smallValue string, largeValue []byte, more ...[]byte) error {
		return s.Update(ctx, func(tx *Tx) error {
			errs := []error{tx.Set(small, []byte(smallValue)), tx.Set(large, largeValue)}
			for _, key := range more {
				errs = append(errs, tx.Set(key, []byte("new")))
			}
			return errors.Join(errs...)
		})
	}
	if err := write("old", oldLarge); err != nil {
		t.Fatal(err)
	}

	disk.stuck.Store(true)
	writer := async(func() ([]byte, error) { return nil, write("new", newLarge, fresh) })
	synctest.Wait()
	cached := async(func() ([]byte, error) { return s.Get(ctx, small) })
	waiting := []chan outcome{
		async(func() ([]byte, error) { return s.Get(ctx, large) }),
		async(func() ([]byte, error) { return s.Get(ctx, fresh) }),
		async(func() ([]byte, error) { return s.scanOne(large) }),
		async(func() ([]byte, error) { return s.scanOne(fresh) }),
	}
	synctest.Wait()
	if got := <-cached; string(got.value) != "old" || got.err != nil {
		t.Errorf("while unsynced, the cached key reads %q, %v; want what was synced", got.value, got.err)
	}
	for i, ch := range waiting {
		select {
		case got := <-ch:
			t.Fatalf("reader %d got %.10q, %v before the sync ended", i, got.value, got.err)
		default:
		}
	}
	impatient, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Get(impatient, fresh); !errors.Is(err, context.Canceled) {
		t.Errorf("a reader whose context ended got %v", err)
	}

	disk.stuck.Store(false)
	disk.answer <- fail
	if got := <-writer; (got.err == nil) != (fail == nil) {
		t.Errorf("writer got %v, sync got %v", got.err, fail)
	}
	for i, ch := range waiting {
		got, want := <-ch, "n"
		if fail != nil && !errors.Is(got.err, ErrStoreFailed) {
			t.Errorf("reader %d got %.10q, %v after the sync failed", i, got.value, got.err)
		}
		if fail == nil && (got.err != nil || string(got.value[:1]) != want) {
			t.Errorf("reader %d got %.10q, %v after the sync", i, got.value, got.err)
		}
	}
	_ = s.Close()
	want := "new"
	if fail != nil {
		want = "old"
	}
	wantGet(t, openMem(t, mem.CrashClone(vfs.CrashCloneCfg{})), "small", want)
}

// TestUpdateSeesQueuedUpdates pins that updates of one group see forEachWithin other
// and that one which errs leaves nothing to the others.
func TestUpdateSeesQueuedUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newStuckSync(vfs.NewMem())
		s := openMem(t, disk)
		t.Cleanup(disk.release)
		add := func(suffix string, err error) chan outcome {
			return async(func() ([]byte, error) {
				return nil, s.Update(context.Background(), func(tx *Tx) error {
					old, gerr := tx.Get([]byte("k"))
					if gerr != nil && !errors.Is(gerr, ErrNotFound) {
						return gerr
					}
					return errors.Join(tx.Set([]byte("k"), append(bytes.Clone(old), suffix...)), err)
				})
			})
		}
		disk.stuck.Store(true)
		first := add("a", nil)
		synctest.Wait() // "a" is being synced, the others form the next group
		var chans []chan outcome
		refused := errors.New("refused")
		for _, suffix := range []string{"b", "c", "d"} {
			err := refused
			if suffix != "c" {
				err = nil
			}
			chans = append(chans, add(suffix, err))
			synctest.Wait()
		}
		disk.stuck.Store(false)
		disk.answer <- nil
		if got := <-first; got.err != nil {
			t.Fatal(got.err)
		}
		for i, ch := range chans {
			if got := <-ch; errors.Is(got.err, refused) != (i == 1) {
				t.Errorf("update %d: %v", i, got.err)
			}
		}
		wantGet(t, s, "k", "abd")
		if st := s.Stats(); st.Groups != 2 || st.Updates != 3 {
			t.Errorf("%d updates in %d groups, want 3 in 2", st.Updates, st.Groups)
		}
		_ = s.Close()
	})
}

// TestUpdateAbandonedBeforeItBegan pins that an update whose context ended
// in the queue is never run.
func TestUpdateAbandonedBeforeItBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newStuckSync(vfs.NewMem())
		s := openMem(t, disk)
		t.Cleanup(disk.release)
		disk.stuck.Store(true)
		first := async(func() ([]byte, error) { return nil, put(s, "a", "1") })
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		ran := false
		second := async(func() ([]byte, error) {
			return nil, s.Update(ctx, func(tx *Tx) error { ran = true; return tx.Set([]byte("b"), nil) })
		})
		synctest.Wait()
		cancel()
		if got := <-second; !errors.Is(got.err, context.Canceled) {
			t.Errorf("abandoned update: %v", got.err)
		}
		disk.stuck.Store(false)
		disk.answer <- nil
		if got := <-first; got.err != nil {
			t.Error(got.err)
		}
		if err := put(s, "c", "1"); err != nil || ran {
			t.Errorf("abandoned update ran: %t, the next one: %v", ran, err)
		}
		wantMissing(t, s, "b")
		_ = s.Close()
	})
}

// TestStart: whoever started an update is told once, and not before it is
// synced; nobody is told of one that was abandoned.
func TestStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newStuckSync(vfs.NewMem())
		s := openMem(t, disk)
		t.Cleanup(disk.release)
		told := make(chan string, 10)
		start := func(name string, fail error) Started {
			t.Helper()
			u, err := s.Start(t.Context(), func(tx *Tx) error {
				return errors.Join(fail, tx.Set([]byte(name), []byte("1")))
			}, func(err error) { told <- fmt.Sprintf("%s %t", name, err == nil) })
			if err != nil {
				t.Fatal(err)
			}
			return u
		}
		want := func(all ...string) {
			t.Helper()
			synctest.Wait()
			for _, w := range all {
				select {
				case got := <-told:
					if got != w {
						t.Fatalf("told %q, want %q", got, w)
					}
				default:
					t.Fatalf("not told %q", w)
				}
			}
			if len(told) > 0 {
				t.Fatalf("told %q", <-told)
			}
		}
		disk.stuck.Store(true)
		first := start("first", nil)
		want()
		if first.Abandon() {
			t.Error("abandoned one that has begun")
		}
		start("refused", errors.New("by itself"))
		if second := start("second", nil); !second.Abandon() || second.Abandon() {
			t.Error("not abandoned, or twice")
		}
		third := start("third", nil)
		disk.answer <- nil
		want("first true", "refused false")
		disk.answer <- nil
		want("third true")
		if third.Abandon() {
			t.Error("abandoned one that is done")
		}
		wantGet(t, s, "third", "1")
		wantMissing(t, s, "second")
		wantMissing(t, s, "refused")

		start("lost", nil)
		synctest.Wait()
		disk.answer <- errors.New("input/output error")
		want("lost false")
		disk.stuck.Store(false)
		_ = s.Close()
		if _, err := s.Start(t.Context(), nil, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		want()
	})
}

// TestTryStart: whoever must not wait is told that there is no room, and what
// had room is carried out.
func TestTryStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newStuckSync(vfs.NewMem())
		s := openMem(t, disk)
		t.Cleanup(disk.release)
		disk.stuck.Store(true)
		told, fits := 0, 0
		start := func() error {
			_, err := s.TryStart(func(tx *Tx) error { return tx.Set([]byte("k"), []byte("1")) }, func(err error) {
				if err == nil {
					told++
				}
			})
			return err
		}
		if err := start(); err != nil { // the committer has this one
			t.Fatal(err)
		}
		synctest.Wait()
		var err error
		for fits = 1; fits <= 2*maxGroupUpdates; fits++ {
			if err = start(); err != nil {
				break
			}
		}
		if !errors.Is(err, ErrBusy) || fits != 1+maxGroupUpdates {
			t.Errorf("after %d updates: %v", fits, err)
		}
		disk.stuck.Store(false)
		disk.answer <- nil
		synctest.Wait()
		if told != fits {
			t.Errorf("%d of %d updates were carried out", told, fits)
		}
		if err := start(); err != nil {
			t.Errorf("with room again: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := start(); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// TestRefuse: an update that waits for Pebble to catch up is told when there is
// nothing to wait for any more, as are those behind it; reads go on.
func TestRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openMem(t, vfs.NewMem())
		if err := put(s, "a", "1"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.pressure.mustWait = true // as if tables could not be written
		told := make(chan error, 2)
		for range 2 {
			if _, err := s.Start(t.Context(), func(tx *Tx) error { return tx.Set([]byte("b"), nil) }, func(err error) { told <- err }); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if len(told) > 0 {
			t.Fatalf("did not wait: %v", <-told)
		}
		s.Refuse()
		for range 2 {
			if err := <-told; !errors.Is(err, ErrClosed) {
				t.Errorf("refused with %v", err)
			}
		}
		if err := put(s, "c", "1"); !errors.Is(err, ErrClosed) {
			t.Errorf("afterwards: %v", err)
		}
		wantGet(t, s, "a", "1")
		wantMissing(t, s, "b")
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
