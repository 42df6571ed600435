package partition

import (
	"errors"
	"testing"
)

func TestSecondPartitionOfANodeIsRefused(t *testing.T) {
	inWorld(t, 1, lan, nil, func(w *world) {
		b := w.boxes[0]
		second := func() error {
			cfg := Config{Mesh: b.node, Pace: LAN()}
			b.config(&cfg)
			_, err := Open(w.t.Context(), cfg)
			return err
		}
		if err := second(); !errors.Is(err, ErrSecond) || errors.Is(err, ErrClosed) {
			t.Errorf("error %v", err)
		}
		if !b.part.Status().Leader.Here {
			t.Error("the first one has lost its lead")
		}
		if err := b.part.Close(); err != nil {
			t.Fatal(err)
		}
		if err := second(); !errors.Is(err, ErrSecond) {
			t.Errorf("after the first one was closed: %v", err)
		}
		if err := b.node.Close(); err != nil {
			t.Fatal(err)
		}
		if err := second(); !errors.Is(err, ErrClosed) || errors.Is(err, ErrSecond) {
			t.Errorf("after the node was closed: %v", err)
		}
	})
}
