package purge

import (
	"math/rand/v2"
	"testing"

	"github.com/skeinmesh/skein/mesh/view"
)

// recall asks all that are to be asked, of whom some remember everything.
func recall(r *Recall, whole map[view.NodeID]bool) (asked []view.NodeID) {
	for id, ok := r.Next(); ok; id, ok = r.Next() {
		asked = append(asked, id)
		r.Told(whole[id])
	}
	return asked
}

func TestWhoRemembersWhatWasPurged(t *testing.T) {
	stamp := func(n uint64) Stamp { return Stamp{Acked: Round{Counter: n}} }
	for name, c := range map[string]struct {
		stand map[view.NodeID]Stamp
		away  bool
		whole map[view.NodeID]bool
		best  view.NodeID
		want  Memory
	}{
		"nobody is met":                      {away: true, want: MemoryUnheard},
		"the first remembers":                {stand: map[view.NodeID]Stamp{1: stamp(5), 2: stamp(5)}, away: true, whole: map[view.NodeID]bool{1: true}, best: 1, want: MemoryKnown},
		"the second remembers":               {stand: map[view.NodeID]Stamp{1: stamp(5), 2: stamp(5)}, away: true, whole: map[view.NodeID]bool{2: true}, best: 2, want: MemoryKnown},
		"who is behind is not asked":         {stand: map[view.NodeID]Stamp{1: stamp(4), 2: stamp(5)}, whole: map[view.NodeID]bool{1: true, 2: true}, best: 2, want: MemoryKnown},
		"who is behind may remember later":   {stand: map[view.NodeID]Stamp{1: stamp(4), 2: stamp(5)}, whole: map[view.NodeID]bool{1: true}, best: 2, want: MemoryBehind},
		"a round that nobody met has acked":  {stand: map[view.NodeID]Stamp{1: {Acked: Round{Counter: 4}, Committed: Round{Counter: 5}}}, whole: map[view.NodeID]bool{1: true}, want: MemoryBehind},
		"who is away may remember":           {stand: map[view.NodeID]Stamp{1: stamp(5)}, away: true, best: 1, want: MemoryAway},
		"nobody remembers, and all were met": {stand: map[view.NodeID]Stamp{1: stamp(5), 2: stamp(5)}, best: 1, want: MemoryKnown},
	} {
		r := NewRecall(c.stand, c.away)
		recall(r, c.whole)
		if got := r.Verdict(); got != c.want || r.Best != c.best {
			t.Errorf("%s: %v by %v, want %v by %v", name, got, r.Best, c.want, c.best)
		}
	}
}

// Whatever the members know: whose log counts has heard of every round that a member in
// contact has, and as long as anybody may remember more nothing is given up.
func TestRecallAsksWhoKnowsAllRounds(t *testing.T) {
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 26))
		stand, whole := make(map[view.NodeID]Stamp), make(map[view.NodeID]bool)
		var top Stamp
		for id := view.NodeID(1); id <= view.NodeID(random.IntN(6)); id++ {
			m := Stamp{Acked: Round{Counter: random.Uint64N(4)}, Committed: Round{Counter: random.Uint64N(4)}}
			stand[id], whole[id], top = m, random.IntN(3) == 0, top.Latest(m)
		}
		r := NewRecall(stand, random.IntN(2) == 0)
		asked := recall(r, whole)
		for _, id := range asked {
			if stand[id].Acked.Before(top.Acked) {
				t.Fatalf("seed %d: %v was asked, who is behind", seed, id)
			}
		}
		if r.Verdict() == MemoryKnown && !whole[r.Best] && (len(asked) < len(stand) || r.away) {
			t.Fatalf("seed %d: given up while others may remember", seed)
		}
	}
}
