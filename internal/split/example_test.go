package split_test

import (
	"fmt"
	"time"

	"github.com/skeinmesh/skein/internal/split"
	"github.com/skeinmesh/skein/mesh/view"
)

// A line of two boxes falls out of sight of a third; when it is back, one of
// them turns out to have been cut off.
func Example() {
	see := func(state view.State) view.View {
		return view.View{Self: 1, Members: []view.Member{
			{ID: 1, Name: "press", Zone: "line-a", Status: view.Active, State: view.Alive, Boot: 7},
			{ID: 2, Name: "weld", Zone: "line-b", Status: view.Active, State: state, Boot: 4},
			{ID: 3, Name: "paint", Zone: "line-b", Status: view.Active, State: state, Boot: 9},
		}}
	}
	w := split.New(split.Params{Window: 20 * time.Second})
	w.Step(0, see(view.Alive), nil, nil)

	for _, change := range w.Step(time.Minute, see(view.Failed), nil, nil) {
		fmt.Println(change.Situation.Kind, change.Situation.Evidence[1])
	}
	lives := map[view.NodeID]split.Life{2: {Boot: 4, Uptime: time.Hour, At: 5 * time.Minute}}
	for _, change := range w.Step(5*time.Minute, see(view.Alive), nil, lives) {
		if change.Kind == split.VerdictReached {
			fmt.Println(change.Verdict.Node, change.Verdict.Kind, "for", change.Verdict.Outage)
		}
	}
	fmt.Println(w.Situation().Kind)
	// Output:
	// partition suspected all 2 members of zone line-b are lost, nobody else is
	// 0000000000000002 was cut off for 4m0s
	// whole
}
