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

// What a shipment holds leaves in one call for each peer, in its order; what comes later
// leaves at once; and for what there is no room that is said, behind what there is room for.
func TestShipmentLeavesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		group := lifecycle.NewGroup(context.Background())
		defer group.Close()
		var mu sync.Mutex
		calls := make(map[view.NodeID][][]int)
		l := NewLanes(LaneOptions[int, int]{
			Group: group, Silence: NewSilence(time.Second), Limit: time.Second, Room: 20, Size: func(int) int { return 1 },
			Call: func(_ context.Context, to view.NodeID, batch []int) ([]int, error) {
				mu.Lock()
				calls[to] = append(calls[to], slices.Clone(batch))
				mu.Unlock()
				return batch, nil
			},
		})
		ship := l.NewShipment()
		errs := make(map[int]error)
		for i := range 30 {
			to := view.NodeID(7)
			if i < 5 {
				to = 8
			}
			if !ship.Send(to, i, func(_ int, err error) { mu.Lock(); errs[i] = err; mu.Unlock() }) {
				t.Fatalf("%d was not held back", i)
			}
			synctest.Wait()
		}
		if len(calls) != 0 {
			t.Errorf("%v left early", calls)
		}
		ship.Leave()
		synctest.Wait()
		if len(calls[7]) != 1 || len(calls[8]) != 1 || len(calls[7][0]) != 20 || !slices.Equal(calls[8][0], []int{0, 1, 2, 3, 4}) || !slices.IsSorted(calls[7][0]) {
			t.Errorf("calls: %v", calls)
		}
		for i := range 30 {
			if full := errors.Is(errs[i], ErrLaneFull); full != (i >= 25) || !full && errs[i] != nil {
				t.Errorf("request %d: %v", i, errs[i])
			}
		}
		ship.Send(8, 99, func(int, error) {})
		synctest.Wait()
		if len(calls[8]) != 2 {
			t.Errorf("calls: %v", calls)
		}
	})
}
