package lifecycle

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestCloseJoinsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup(context.Background())
		var ended atomic.Int32
		for i := range 5 {
			ok := g.Go(func(ctx context.Context) {
				<-ctx.Done()
				time.Sleep(time.Duration(i) * time.Second) // still has to tidy up
				ended.Add(1)
			})
			if !ok {
				t.Fatal("an open group refused")
			}
		}
		g.Close()
		if n := ended.Load(); n != 5 {
			t.Errorf("%d of 5 goroutines had ended when Close returned", n)
		}
		if g.Go(func(context.Context) { t.Error("run by a closed group") }) {
			t.Error("a closed group accepted")
		}
		g.Close()
	})
}

func TestCancelDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup(context.Background())
		var ended atomic.Bool
		g.Go(func(ctx context.Context) {
			g.Cancel() // from within
			<-ctx.Done()
			time.Sleep(time.Hour)
			ended.Store(true)
		})
		<-g.Context().Done()
		if ended.Load() {
			t.Error("Cancel waited")
		}
		g.Close()
		if !ended.Load() {
			t.Error("Close did not wait")
		}
	})
}

func TestParentEndsGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithCancel(context.Background())
		g := NewGroup(parent)
		ended := make(chan struct{})
		g.Go(func(ctx context.Context) {
			<-ctx.Done()
			close(ended)
		})
		cancel()
		<-ended
		g.Close()
	})
}

// TestGoRacesClose starts goroutines while the group closes: each one that
// was accepted has ended when Close returns.
func TestGoRacesClose(t *testing.T) {
	for range 200 {
		g := NewGroup(context.Background())
		var accepted, ended atomic.Int32
		started := make(chan struct{})
		go func() {
			defer close(started)
			for g.Go(func(context.Context) { ended.Add(1) }) {
				accepted.Add(1)
			}
		}()
		g.Close()
		n := ended.Load()
		<-started
		if accepted.Load() != n {
			t.Fatalf("%d accepted, %d had ended when Close returned", accepted.Load(), n)
		}
	}
}
