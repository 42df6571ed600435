package partition

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/split"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// A node of a mesh in which nothing happens looks at it every few seconds, no more.
func TestQuietNodeRests(t *testing.T) {
	t.Parallel()
	inWorld(t, 3, lan, nil, func(w *world) {
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		var all sync.WaitGroup
		for _, b := range w.boxes {
			all.Go(func() {
				looks := 0
				for range b.part.Watch(ctx) {
					looks++
				}
				if looks > 100 {
					t.Errorf("%s looked %d times in five quiet minutes", b.mesh.Name, looks)
				}
			})
		}
		all.Wait()
	})
}

// What a node said in an earlier life, that it led, stood or reached nobody, is not
// held against the one that was started since.
func TestEarlierLivesHaveNoSay(t *testing.T) {
	const self, other = view.NodeID(1), view.NodeID(2)
	name := Election{Name: "x"}
	for life, counts := range map[uint64]bool{6: false, 7: true, 8: true} {
		v := view.View{Self: self, Members: []view.Member{{ID: self, State: view.Alive, Boot: 3}, {ID: other, State: view.Alive, Boot: 7}}}
		told := map[view.NodeID]heardNotice{other: {Notice: wire.Notice{
			Node: other, Boot: life, Seq: 1, Unreachable: []view.NodeID{self}, Standing: []wire.Stand{{Election: toWire(name)}},
			Leads: []wire.Claim{{Election: toWire(name), Term: 9}},
		}}}
		s := &scene{self: self, view: v, within: map[view.NodeID]bool{self: true, other: true}, notices: told}
		if f := s.electionField(name); (len(f.Claims) > 0) != counts || (len(f.Standing) > 0) != counts {
			t.Errorf("in life 7, of what was said in life %d: claims %v, standing %v", life, f.Claims, f.Standing)
		}
		w := &watcher{ground: &ground{id: self}, view: v, doubts: split.NewDoubts(split.Params{})}
		if rows, _ := w.readNotices(0, told); (len(rows[other].Unreachable) > 0) != counts {
			t.Errorf("in life 7, of what was said in life %d: row %v", life, rows[other])
		}
	}
}
