package replicate

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// TestHandoff runs hand-offs between random stores, whose homes may be down,
// refuse to vouch, or get newer versions meanwhile.
func TestHandoff(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 1))
	dropped := 0
	for range 3000 {
		homes := []view.NodeID{1, 2, 3}[:1+r.IntN(3)]
		at := map[view.NodeID]shelf{}
		vouches := map[view.NodeID]bool{}
		dead := view.NodeID(r.IntN(6))
		for _, id := range homes {
			at[id], vouches[id] = shelf{}, r.IntN(6) > 0
		}
		mine := shelf{}
		for k := range r.IntN(20) {
			key := fmt.Sprintf("%02d", k)
			mine[key] = uint64(1 + r.IntN(3))
			for _, id := range homes {
				if r.IntN(3) > 0 {
					at[id][key] = uint64(1 + r.IntN(3))
				}
			}
		}
		before := maps.Clone(mine)
		h := NewHandoff(homes, func(id view.NodeID) bool { return id != dead }, 1+r.IntN(4))
		for steps := 0; ; steps++ {
			s := h.Step()
			if s.Kind == HandoffDone {
				break
			}
			if steps > 1000 {
				t.Fatal("does not end")
			}
			switch s.Kind {
			case HandoffList:
				p := mine.page(s.After, s.First, 1+r.IntN(5))
				h.Listed(p.Marks, p.Last)
			case HandoffCover:
				if s.To == dead {
					t.Fatal("asks a home that is down")
				}
				var missing []int
				for i, m := range s.Marks {
					if at[s.To][m.Key] != m.Hash {
						missing = append(missing, i)
					}
				}
				h.Covered(missing, vouches[s.To])
			case HandoffPush:
				n := 1 + r.IntN(len(s.Keys))
				for _, k := range s.Keys[:n] {
					at[s.To][k] = max(at[s.To][k], mine[k])
				}
				h.Pushed(n)
			case HandoffDrop:
				n := 0
				for _, m := range s.Marks {
					for _, id := range homes {
						if at[id][m.Key] < m.Hash || id == dead || !vouches[id] {
							t.Fatalf("drops %v, which home %v does not hold or vouch for", m, id)
						}
					}
					delete(mine, m.Key)
					n++
				}
				h.Dropped(n)
				dropped += n
			}
		}
		for k, v := range before {
			for _, id := range homes {
				if id != dead && at[id][k] < v {
					t.Fatalf("home %v was not brought %s", id, k)
				}
			}
		}
		if h.All() && len(mine) > 0 {
			t.Fatalf("keeps %v although all homes have it", slices.Sorted(maps.Keys(mine)))
		}
	}
	if dropped == 0 {
		t.Fatal("nothing was ever dropped")
	}
}

func TestMayDrop(t *testing.T) {
	if !MayDrop(7, 7, false, 5, 5) {
		t.Error("does not drop what all homes hold")
	}
	if MayDrop(7, 8, false, 5, 5) || MayDrop(7, 7, true, 5, 5) || MayDrop(7, 7, false, 5, 6) {
		t.Error("drops under another roster, as a keeper, or what was written since")
	}
	if !MayVouch(7, 7, true) || MayVouch(7, 8, true) || MayVouch(7, 7, false) {
		t.Error("vouches under another roster, or as no home")
	}
}

// A home covers what it has for good, in the very version that the other store has.
func TestMayDropWhatIsCovered(t *testing.T) {
	var known, hinted, lost Record
	known.Home, known.HLC = true, 1
	hinted.HLC, hinted.Hints = 1, []view.NodeID{3}
	lost.Home = true
	known.Ctx = version.Context{{A: version.Actor{Store: 1, Session: 1, Seq: 1}, N: 1}}
	hinted.Ctx = known.Ctx
	if !Covers(known, 7, 7) || Covers(known, 7, 8) || Covers(hinted, 7, 7) || Covers(lost, 7, 7) {
		t.Error("covers what it has not, or not what it has")
	}
}

func TestHealer(t *testing.T) {
	members := []view.NodeID{1, 2, 3, 4, 5}
	live := func(ids ...view.NodeID) func(view.NodeID) bool {
		return func(id view.NodeID) bool { return slices.Contains(ids, id) }
	}
	h := NewHealer(time.Minute)
	at := time.Duration(0)
	look := func(passed time.Duration, forced bool, ids ...view.NodeID) bool {
		at += passed
		changed := h.Look(at, 1, members, live(ids...), forced)
		for id, ok := h.Ask(); ok; id, ok = h.Ask() {
			h.Heard(at, id, view.Witnesses{Asked: 3, Failed: 3, Confirmed: true})
			changed = h.Look(at, 1, members, live(ids...), forced) || changed
		}
		return changed
	}
	if look(time.Hour, false, 2, 3, 4) || h.Lost(5) {
		t.Fatal("lost at first sight")
	}
	if look(30*time.Second, false, 2, 3, 4) || look(29*time.Second, false, 2, 3, 4) || h.Down(5) != 59*time.Second {
		t.Fatalf("down for %v", h.Down(5))
	}
	if !look(time.Second, false, 2, 3, 4) || !h.Lost(5) || h.Lost(1) || h.Lost(4) {
		t.Fatal("not lost after a minute")
	}
	if !look(time.Second, false, 2, 3, 4, 5) || h.Lost(5) || h.Down(5) != 0 {
		t.Fatal("lost after its return")
	}
	look(time.Second, false, 2)
	for range 2 {
		if look(time.Hour, false, 2) || h.Lost(3) {
			t.Fatal("two of five heal")
		}
	}
	if !look(time.Second, true, 2) || !h.Lost(3) || !h.Lost(4) {
		t.Fatal("does not heal although it is told to")
	}
	h = NewHealer(time.Minute)
	look(0, true)
	if look(time.Hour, true) || h.Lost(2) || h.Down(2) != 0 {
		t.Fatal("who is alone counts the time of others")
	}
	h = NewHealer(time.Minute)
	look(0, false, 2, 3, 4)
	if look(time.Hour, false, 2, 3, 4) || h.Down(5) != 30*time.Second {
		t.Fatal("an hour in which nobody looked counts")
	}
	look(time.Hour, false, 2, 3, 4)
	members = members[:4]
	if !look(time.Second, false, 2, 3, 4) || h.Lost(5) {
		t.Fatal("one that is gone for good is still lost")
	}
}

func TestKeepers(t *testing.T) {
	order := []view.NodeID{1, 2, 3, 4, 5, 6}
	for _, c := range []struct {
		lost []view.NodeID
		want string
	}{
		{nil, "[1 2 3]"}, {[]view.NodeID{2}, "[1 2 3 4]"}, {[]view.NodeID{1, 3, 4}, "[1 2 3 5 6]"},
		{[]view.NodeID{5}, "[1 2 3]"}, {order, "[1 2 3]"},
	} {
		got := Keepers(order, 3, func(id view.NodeID) bool { return slices.Contains(c.lost, id) })
		var ids []uint64
		for _, id := range got {
			ids = append(ids, uint64(id))
		}
		if fmt.Sprint(ids) != c.want {
			t.Errorf("lost %v: %v, want %v", c.lost, ids, c.want)
		}
	}
	if order[3] != 4 {
		t.Error("the order was written to")
	}
}
