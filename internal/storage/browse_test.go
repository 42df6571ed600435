package storage

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestCursorGoesToAndFro(t *testing.T) {
	s := openMem(t, vfs.NewMem())
	for i := range 10 {
		if err := put(s, fmt.Sprintf("k%d", 2*i), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	err := s.Browse(context.Background(), []byte("k2"), []byte("k7"), func(c *Cursor) error {
		at := func(ok bool) string {
			if !ok {
				return "nowhere"
			}
			v, err := c.Value()
			if err != nil {
				t.Error(err)
			}
			return string(c.Key()) + "=" + string(v)
		}
		for _, step := range []struct{ got, want string }{
			{at(c.Seek([]byte("k3"), false)), "k4=2"},
			{at(c.Step(false)), "k6=3"},
			{at(c.Step(false)), "nowhere"},
			{at(c.Step(true)), "k6=3"},
			{at(c.Seek([]byte("k4"), true)), "k2=1"},
			{at(c.Step(true)), "nowhere"},
			{at(c.Seek([]byte("k8"), true)), "k6=3"},
		} {
			if step.got != step.want {
				t.Errorf("at %q, want %q", step.got, step.want)
			}
		}
		// What is written meanwhile is of another moment.
		if err := put(s, "k5", "new"); err != nil {
			t.Error(err)
		}
		if got := at(c.Seek([]byte("k5"), false)); got != "k6=3" {
			t.Errorf("saw %q", got)
		}
		return c.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	err = s.Browse(ctx, nil, nil, func(c *Cursor) error {
		cancel()
		return c.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("after its context: %v", err)
	}
	_ = s.Close()
	if err := s.Browse(context.Background(), nil, nil, func(*Cursor) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("of a closed store: %v", err)
	}
}
