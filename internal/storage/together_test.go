package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Updates that are queued together run one after the other and share one sync, each
// succeeds or fails by itself, and all are told, in order; taken back in time, none of
// them runs.
func TestUpdatesTogether(t *testing.T) {
	s := openMem(t, vfs.NewMem())
	var mu sync.Mutex
	var told []int
	var failed []int
	done := make(chan struct{})
	no := errors.New("no")
	parts := make([]Part, 100)
	for i := range parts {
		parts[i] = Part{
			Run: func(tx *Tx) error {
				if i%10 == 3 {
					_ = tx.Set([]byte("failed"), []byte("x"))
					return no
				}
				old, err := tx.Get([]byte("k"))
				if err != nil && !errors.Is(err, ErrNotFound) {
					return err
				}
				return tx.Set([]byte("k"), append(slices.Clone(old), byte(i)))
			},
			Then: func(err error) {
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed = append(failed, i)
				} else {
					told = append(told, i)
				}
				if len(told)+len(failed) == len(parts) {
					close(done)
				}
			},
		}
	}
	before := s.Stats()
	if _, err := s.StartAll(context.Background(), parts); err != nil {
		t.Fatal(err)
	}
	<-done
	value, err := s.Get(context.Background(), []byte("k"))
	if err != nil || len(value) != 90 || len(told) != 90 || len(failed) != 10 || !slices.IsSorted(told) || !slices.IsSorted(value) {
		t.Errorf("%d bytes, %v; told %v, failed %v", len(value), err, told, failed)
	}
	if _, err := s.Get(context.Background(), []byte("failed")); !errors.Is(err, ErrNotFound) {
		t.Errorf("an update that failed has left something: %v", err)
	}
	if st := s.Stats(); st.Groups-before.Groups != 1 || st.Updates-before.Updates != 90 {
		t.Errorf("%d groups, %d updates", st.Groups-before.Groups, st.Updates-before.Updates)
	}

	gate, reached := make(chan struct{}), make(chan struct{})
	if _, err := s.TryStart(func(*Tx) error { close(reached); <-gate; return nil }, func(error) {}); err != nil {
		t.Fatal(err)
	}
	<-reached
	started, err := s.TryStartAll([]Part{{Run: func(*Tx) error { return fmt.Errorf("it ran") }, Then: func(err error) { t.Error(err) }}})
	if err != nil || !started.Abandon() {
		t.Errorf("not taken back: %v", err)
	}
	close(gate)
	if err := s.Update(context.Background(), func(tx *Tx) error { return tx.Set([]byte("z"), nil) }); err != nil {
		t.Error(err)
	}
}

// Updates that are queued together and write more than a group may hold go into several
// groups, in order, each of which holds little more than one of them.
func TestLargeUpdatesTogether(t *testing.T) {
	s := openMem(t, vfs.NewMem())
	const each = maxGroupBytes / 2
	parts := make([]Part, 16)
	told := make(chan int, len(parts))
	largest := 0
	for i := range parts {
		parts[i] = Part{
			Run: func(tx *Tx) error {
				if old, err := tx.Get([]byte("k")); i > 0 && (err != nil || old[0] != byte(i-1)) {
					return fmt.Errorf("part %d does not find the one before it: %w", i, err)
				}
				value := make([]byte, each)
				value[0] = byte(i)
				err := errors.Join(tx.Set([]byte("k"), value), tx.Set(fmt.Append(nil, i), value))
				largest = max(largest, tx.g.bytes)
				return err
			},
			Then: func(err error) {
				if err != nil {
					t.Error(err)
				}
				told <- i
			},
		}
	}
	before := s.Stats()
	if _, err := s.StartAll(context.Background(), parts); err != nil {
		t.Fatal(err)
	}
	for i := range parts {
		if n := <-told; n != i {
			t.Errorf("%d was told of part %d", i, n)
		}
	}
	if groups := s.Stats().Groups - before.Groups; groups < 8 || largest > 2*maxGroupBytes+1000 {
		t.Errorf("%d groups, the largest of %d bytes", groups, largest)
	}
}
