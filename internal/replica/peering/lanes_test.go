package peering

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/mesh/view"
)

// While calls to a peer are under way, what comes in for it goes out together in the
// next one, in its order, and each request is answered once with its own answer.
func TestLanesCollect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		group := lifecycle.NewGroup(context.Background())
		defer group.Close()
		var mu sync.Mutex
		var calls [][]int
		l := NewLanes(LaneOptions[int, int]{
			Group: group, Silence: NewSilence(time.Second), Limit: time.Second, Room: 50, Size: func(int) int { return 1 },
			Call: func(_ context.Context, _ view.NodeID, batch []int) ([]int, error) {
				mu.Lock()
				calls = append(calls, slices.Clone(batch))
				mu.Unlock()
				time.Sleep(10 * time.Millisecond)
				out := slices.Clone(batch)
				return out[:(len(out)+1)/2], nil // the rest is asked for again
			},
		})
		got := make(map[int]int)
		for i := range 20 {
			if !l.Send(7, i, func(answer int, err error) {
				if err != nil || answer != i {
					t.Errorf("request %d got %d, %v", i, answer, err)
				}
				mu.Lock()
				got[i]++
				mu.Unlock()
			}) {
				t.Fatal("no room")
			}
			synctest.Wait()
		}
		if n := l.Waiting(7); n != 18 {
			t.Errorf("%d wait beside the two calls that are under way", n)
		}
		pass(time.Second)
		for i := range 20 {
			if got[i] != 1 {
				t.Errorf("request %d was answered %d times", i, got[i])
			}
		}
		if len(calls) > 8 || len(calls[2]) != 18 && len(calls[3]) != 18 {
			t.Errorf("calls: %v", calls)
		}
		if l.Waiting(7) != 0 {
			t.Errorf("%d bytes still wait", l.Waiting(7))
		}
	})
}

// A peer that does not answer is silent, one that refuses is not; and more than there
// is room for is not taken.
func TestLanesAndSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		group := lifecycle.NewGroup(context.Background())
		defer group.Close()
		quiet := NewSilence(10 * time.Second)
		l := NewLanes(LaneOptions[string, string]{
			Group: group, Silence: quiet, Limit: time.Second, Room: 10, Size: func(s string) int { return len(s) },
			Call: func(ctx context.Context, to view.NodeID, _ []string) ([]string, error) {
				if to == 1 {
					return nil, ErrRefused
				}
				<-ctx.Done()
				return nil, ctx.Err()
			},
		})
		var mu sync.Mutex
		errs := make(map[view.NodeID][]error)
		send := func(to view.NodeID, s string) bool {
			return l.Send(to, s, func(_ string, err error) {
				mu.Lock()
				defer mu.Unlock()
				errs[to] = append(errs[to], err)
			})
		}
		for _, id := range []view.NodeID{1, 2} {
			send(id, "x")
			synctest.Wait()
		}
		send(2, "y") // the second of its calls
		synctest.Wait()
		if !send(2, "0123456789") || send(2, "z") {
			t.Error("ten bytes of room are not ten bytes of room")
		}
		pass(3 * time.Second)
		if quiet.Has(1) || !quiet.Has(2) {
			t.Errorf("silent: 1 %v, 2 %v", quiet.Has(1), quiet.Has(2))
		}
		if len(errs[1]) != 1 || !errors.Is(errs[1][0], ErrRefused) {
			t.Errorf("of the one that refused: %v", errs[1])
		}
		if len(errs[2]) != 3 || !errors.Is(errs[2][2], context.DeadlineExceeded) {
			t.Errorf("of the silent one: %v", errs[2])
		}
		pass(10 * time.Second)
		if quiet.Has(2) {
			t.Error("silent for ever")
		}
	})
}
