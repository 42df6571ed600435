package detect

import (
	"slices"
	"testing"

	"github.com/skeinmesh/skein/mesh/view"
)

func TestEnough(t *testing.T) {
	for _, c := range []struct {
		alive, failed, reached int
		want                   bool
	}{
		{5, 3, 0, true}, {300, 3, 0, true}, {3, 3, 0, true}, {2, 2, 0, true}, {1, 1, 0, true},
		{5, 2, 0, false}, {3, 2, 0, false}, {2, 1, 0, false}, {5, 1, 0, false},
		{5, 2, 1, false}, {5, 3, 1, false}, {300, 299, 1, false}, {1, 1, 1, false},
		{1, 0, 0, false}, {0, 0, 0, false}, {0, 1, 0, true},
	} {
		if got := Enough(Need(c.alive), c.failed, c.reached); got != c.want {
			t.Errorf("%d alive, %d failed, %d reached: %v", c.alive, c.failed, c.reached, got)
		}
	}
}

// members makes a view of node 1 of so many nodes, in so many zones, all alive.
func members(n, zones int) view.View {
	v := view.View{Self: 1}
	for id := range view.NodeID(n) {
		v.Members = append(v.Members, view.Member{
			ID: id + 1, Zone: string(rune('a' + int(id)%zones)), Storing: true, Status: view.Active, State: view.Alive,
		})
	}
	return v
}

func TestJury(t *testing.T) {
	zoneOf := func(v view.View, id view.NodeID) string { m, _ := v.Member(id); return m.Zone }
	picked := map[view.NodeID]bool{}
	for seed := range uint64(200) {
		r := rng(seed)
		v := members(20, 4)
		v.Members[9].State, v.Members[10].State, v.Members[11].Status = view.Suspect, view.Failed, view.Left
		v.Members[7].State = view.Failed // 8, the accused, in zone d
		peers, need := Jury(v, 8, r)
		if need != Witnesses || len(peers) != Witnesses-1 {
			t.Fatalf("seed %d: %v, need %d", seed, peers, need)
		}
		for _, id := range peers {
			picked[id] = true
			if m, _ := v.Member(id); id == 1 || id == 8 || m.State != view.Alive || m.Status.Gone() {
				t.Fatalf("seed %d: asks %v, which is %v and %v", seed, id, m.State, m.Status)
			}
		}
		if zoneOf(v, peers[0]) != "d" || zoneOf(v, peers[1]) == "d" || zoneOf(v, peers[1]) == "a" {
			t.Fatalf("seed %d: asks in zones %s, %s; the accused is in d, this node in a", seed, zoneOf(v, peers[0]), zoneOf(v, peers[1]))
		}
	}
	if len(picked) < 10 { // 12, 16 and 20 of zone d; all of b and c that may be asked
		t.Errorf("only %d of them are ever asked", len(picked))
	}
}

func TestJuryOfFew(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 1, 3: 2, 4: 3, 5: 3} {
		v := members(n, 3)
		accused := view.NodeID(n)
		peers, need := Jury(v, accused, rng(1))
		if n == 1 {
			accused = 9
			peers, need = Jury(v, accused, rng(1))
		}
		if need != want || len(peers) != want-1 {
			t.Errorf("%d nodes: %v, need %d, want %d", n, peers, need, want)
		}
	}
	v := members(6, 3)
	for _, i := range []int{1, 2, 3} {
		v.Members[i].Storing = false
	}
	for seed := range uint64(50) {
		peers, _ := Jury(v, 6, rng(seed))
		if peers[0] != 5 || !slices.Contains([]view.NodeID{2, 3, 4}, peers[1]) {
			t.Fatalf("asks %v; 5 is the only other one that stores", peers)
		}
	}
}
