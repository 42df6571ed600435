package notify

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
)

func next[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	synctest.Wait()
	select {
	case v, ok := <-ch:
		if !ok {
			t.Fatal("channel is closed")
		}
		return v
	default:
		t.Fatal("nothing to read")
	}
	panic("not reached")
}

func wantClosed[T any](t *testing.T, ch <-chan T) {
	t.Helper()
	synctest.Wait()
	select {
	case v, ok := <-ch:
		if ok {
			t.Fatalf("got %v, want the channel closed", v)
		}
	default:
		t.Fatal("channel is open")
	}
}

func TestWatchersGetTheLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := New("a")
		ch := v.Watch(t.Context())
		if got := next(t, ch); got != "a" {
			t.Errorf("first value %q", got)
		}
		v.Set("b")
		v.Set("c")
		if got := next(t, ch); got != "c" || v.Get() != "c" {
			t.Errorf("after b and c: watched %q, got %q", got, v.Get())
		}
		select {
		case got := <-ch:
			t.Errorf("%q again", got)
		default:
		}
		v.Set("d")
		late := v.Watch(t.Context())
		if got := next(t, late); got != "d" {
			t.Errorf("late watcher begins with %q", got)
		}
		v.Close()
		if got := next(t, ch); got != "d" {
			t.Errorf("unread value at close: %q", got)
		}
		wantClosed(t, ch)
		wantClosed(t, late)
		v.Set("e")
		after := v.Watch(t.Context())
		if got := next(t, after); got != "e" {
			t.Errorf("watching a closed value begins with %q", got)
		}
		wantClosed(t, after)
		v.Close()
	})
}

func TestWatchEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var v Value[int]
		ctx, cancel := context.WithCancel(t.Context())
		ending, staying := v.Watch(ctx), v.Watch(t.Context())
		next(t, ending)
		next(t, staying)
		cancel()
		wantClosed(t, ending)
		v.Set(7)
		if got := next(t, staying); got != 7 {
			t.Errorf("the other watcher got %d", got)
		}
		v.Close()
		wantClosed(t, staying)
	})
}

// TestTheLastValueArrives sets, watches and cancels all at once; each
// watcher that stays sees the last value.
func TestTheLastValueArrives(t *testing.T) {
	const last = 1000
	var v Value[int]
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for got := range v.Watch(context.Background()) {
				if got == last {
					return
				}
			}
			t.Error("closed before the last value")
		})
		wg.Go(func() {
			for range 100 {
				ctx, cancel := context.WithCancel(context.Background())
				ch := v.Watch(ctx)
				cancel()
				for range ch {
				}
			}
		})
	}
	for i := range last + 1 {
		v.Set(i)
	}
	wg.Wait()
	v.Close()
}
