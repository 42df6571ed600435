package everycall

import (
	"context"
	"errors"
	"iter"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

type handle struct {
	puts  []string
	dones int
	left  []time.Duration
}

func (h *handle) Put(ctx context.Context, key string, done func() error) error {
	h.puts = append(h.puts, key)
	end, _ := ctx.Deadline()
	h.left = append(h.left, time.Until(end))
	if done() == nil {
		h.dones++
	}
	return nil
}

func (h *handle) Watch(ctx context.Context) <-chan int { return make(chan int) }

func (h *handle) Scan() iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for yield(1, nil) {
		}
	}
}

func (h *handle) Close() error { panic("it is skipped") }

func TestAllAreCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &handle{}
		if calls := Try(t, "open", h, []any{"k"}, "Close"); calls != 9 {
			t.Errorf("%d calls", calls)
		}
		if !slices.Equal(h.puts, []string{"k", "k", "k"}) || h.dones != 3 || !slices.Equal(h.left, patiences[:]) {
			t.Errorf("called with %v for %v, %d", h.puts, h.left, h.dones)
		}
	})
}

type bad struct{ is func() error }

func (b bad) Do(context.Context) error { return b.is() }

func TestFaultsAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, is := range map[string]func() error{
			"panics":      func() error { panic("so") },
			"hides it":    func() error { return errors.New("panic recovered") },
			"takes hours": func() error { time.Sleep(time.Hour); return nil },
		} {
			v := bad{is}
			if fault := callMethod(t.Context(), method(v), nil); fault == nil {
				t.Errorf("%s: no fault", name)
			}
		}
		if fault := callMethod(t.Context(), method(bad{func() error { return errors.New("closed") }}), nil); fault != nil {
			t.Error(fault)
		}
	})
}

func method(b bad) reflect.Value { return reflect.ValueOf(b).MethodByName("Do") }
