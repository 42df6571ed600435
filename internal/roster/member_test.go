package roster

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

func only(ids ...view.NodeID) func(view.NodeID) bool {
	return func(id view.NodeID) bool { return slices.Contains(ids, id) }
}

func TestAdmit(t *testing.T) {
	gone := plain(3, "c")
	gone.Status = view.Left
	r := with(t, Roster{}, plain(1, "a"), plain(2, "b"), gone)
	change := func(e Entry, do func(*Entry)) Entry {
		do(&e)
		return e
	}
	for name, c := range map[string]struct {
		e     Entry
		alive []view.NodeID
		want  error
	}{
		"a newcomer":                        {e: plain(9, "new")},
		"a member again":                    {e: plain(1, "a"), alive: []view.NodeID{1}},
		"a member restarted":                {e: change(plain(1, "a"), func(e *Entry) { e.Boot, e.Instance = 2, 7 }), alive: []view.NodeID{1}},
		"a member under a new name":         {e: change(plain(1, "z"), func(e *Entry) { e.HLC = 5 })},
		"a clone of a running node":         {e: change(plain(1, "a"), func(e *Entry) { e.Instance = 2 }), alive: []view.NodeID{1}, want: ErrClone},
		"a clone of a node out of sight":    {e: change(plain(1, "a"), func(e *Entry) { e.Instance = 2 })},
		"a disk rolled back":                {e: change(plain(1, "a"), func(e *Entry) { e.Boot = 0 }), want: ErrOldBoot},
		"one that left":                     {e: plain(3, "c"), want: ErrGone},
		"the name of one that left":         {e: plain(9, "c")},
		"a name in use":                     {e: plain(9, "b"), want: ErrNameTaken},
		"a successor of a dead node":        {e: change(plain(9, "b"), func(e *Entry) { e.Predecessor = 2 }), alive: []view.NodeID{1}},
		"a successor of a running node":     {e: change(plain(9, "b"), func(e *Entry) { e.Predecessor = 2 }), alive: []view.NodeID{2}, want: ErrNameTaken},
		"a successor under another name":    {e: change(plain(9, "a"), func(e *Entry) { e.Predecessor = 2 }), want: ErrNameTaken},
		"a member renamed to one in use":    {e: change(plain(1, "b"), func(e *Entry) { e.HLC = 5 }), want: ErrNameTaken},
		"one that no bound can stop":        {e: change(plain(9, "new"), func(e *Entry) { e.Weight = 100 }), want: ErrInvalid},
		"one that names itself a successor": {e: change(plain(9, "new"), func(e *Entry) { e.Predecessor = 9 }), want: ErrInvalid},
	} {
		if err := r.Admit(c.e, only(c.alive...)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestSuccessorEvictsItsPredecessor(t *testing.T) {
	next := plain(9, "a")
	next.Predecessor = 1
	r := with(t, Roster{}, plain(1, "a"), plain(2, "b"), next)
	if got := r.Namesakes(1); !slices.Equal(got, []view.NodeID{9}) {
		t.Errorf("namesakes %v", got)
	}
	if s, evicted := r.Settle(only(1)); len(evicted) != 0 || !same(s, r) {
		t.Errorf("a running node was evicted")
	}
	s, evicted := r.Settle(only(2, 9))
	if e, _ := s.Get(1); !slices.Equal(evicted, []view.NodeID{1}) || e.Status != view.Evicted || len(s.Namesakes(9)) != 0 {
		t.Errorf("evicted %v, left %+v", evicted, s)
	}
	if again, evicted := s.Settle(nobody); len(evicted) != 0 || !same(again, s) {
		t.Errorf("evicted twice: %v", evicted)
	}
	other := plain(8, "x") // names a predecessor of another name
	other.Predecessor = 2
	if _, evicted := with(t, s, other).Settle(nobody); len(evicted) != 0 {
		t.Errorf("evicted under another name: %v", evicted)
	}
	for _, status := range []view.Status{view.Left, view.Evicted} {
		gone := next // it was let in, and has gone before anybody took note of what that means
		gone.Status = status
		if _, evicted := with(t, Roster{}, plain(1, "a"), gone).Settle(nobody); !slices.Equal(evicted, []view.NodeID{1}) {
			t.Errorf("a successor that is %v has evicted %v", status, evicted)
		}
	}
	if id, ok := r.Predecessor(7, "b"); !ok || id != 2 {
		t.Errorf("predecessor %v %v", id, ok)
	}
	if id, ok := s.Predecessor(9, "a"); ok {
		t.Errorf("predecessor %v", id)
	}
}

func TestStoringAndPlaced(t *testing.T) {
	var r Roster
	for s := view.Joining; s <= view.Evicted; s++ {
		e := plain(view.NodeID(10+s), "n"+s.String())
		e.Status = s
		r = with(t, r, e)
		e.ID, e.Name, e.Storing = e.ID+10, "camera-"+s.String(), false
		r = with(t, r, e)
	}
	ids := func(es []Entry) (out []view.NodeID) {
		for _, e := range es {
			out = append(out, e.ID)
		}
		return out
	}
	if got := ids(r.Storing()); !slices.Equal(got, []view.NodeID{10, 11, 12}) {
		t.Errorf("storing %v", got)
	}
	if got := ids(r.Placed()); !slices.Equal(got, []view.NodeID{10, 11}) {
		t.Errorf("placed %v", got)
	}
	if !r.Majority(only(10, 12)) || r.Majority(only(10, 13, 14, 20, 21)) {
		t.Error("majority counts others than storing nodes that are not gone")
	}
}

func TestDigests(t *testing.T) {
	base := with(t, Roster{}, plain(1, "a"), plain(2, "b"))
	type digests struct {
		place   uint64
		storing [16]byte
		sum     uint64
	}
	of := func(r Roster) digests { return digests{r.Digest(), r.StoringDigest(), r.Sum()} }
	if of(base) != of(with(t, Roster{}, plain(2, "b"), plain(1, "a"))) {
		t.Error("the order of arrival matters")
	}
	for name, c := range map[string]struct {
		change              func(*Entry)
		place, storing, sum bool // must differ
	}{
		"name":    {func(e *Entry) { e.Name = "c" }, true, false, true},
		"zone":    {func(e *Entry) { e.Zone = "y" }, true, false, true},
		"weight":  {func(e *Entry) { e.Weight = 2 }, true, false, true},
		"address": {func(e *Entry) { e.Addr = someAddr; e.HLC = 7 }, false, false, true},
		"boot":    {func(e *Entry) { e.Boot = 7 }, false, false, true},
		"leaving": {func(e *Entry) { e.Status = view.Leaving }, true, false, true},
		"evicted": {func(e *Entry) { e.Status = view.Evicted }, true, true, true},
	} {
		e := plain(2, "b")
		e.HLC = 2
		c.change(&e)
		got, was := of(with(t, base, e)), of(base)
		if (got.place != was.place) != c.place || (got.storing != was.storing) != c.storing || (got.sum != was.sum) != c.sum {
			t.Errorf("%s: digests moved %v %v %v", name, got.place != was.place, got.storing != was.storing, got.sum != was.sum)
		}
	}
	shifted := with(t, Roster{}, plain(1, "a"), plain(2, "bz"))
	zoneless := plain(2, "b")
	zoneless.Zone = "zz"
	if shifted.Digest() == with(t, Roster{}, plain(1, "a"), zoneless).Digest() {
		t.Error("name and zone run into each other")
	}
}

func TestDecodeRefuses(t *testing.T) {
	member := func(id view.NodeID, name string) wire.Member { return wire.Member(plain(id, name)) }
	for name, in := range map[string][]wire.Member{
		"out of order": {member(2, "a"), member(1, "b")},
		"twice":        {member(1, "a"), member(1, "a")},
		"invalid":      {member(1, "a"), member(2, "")},
	} {
		if _, err := Decode(wire.AppendRoster(nil, in, nil)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := make([]wire.Member, Limit+1)
	for i := range many {
		many[i] = member(view.NodeID(i+1), "n")
	}
	if _, err := FromMembers(many); !errors.Is(err, ErrFull) {
		t.Errorf("%d members: %v", len(many), err)
	}
	if r, err := Decode(Encode(Roster{})); err != nil || r.Len() != 0 {
		t.Errorf("the empty roster reads as %+v, %v", r, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Encode(Roster{}))
	f.Add(Encode(with(f, Roster{}, plain(1, "a"), plain(2, "b"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(b)
		if err != nil {
			return
		}
		for _, e := range r.Entries() {
			if err := e.Validate(); err != nil {
				t.Fatal(err)
			}
		}
		again, err := Decode(Encode(r))
		if err != nil || !same(again, r) || !bytes.Equal(Encode(again), Encode(r)) {
			t.Fatalf("%+v reads as %+v, %v", r, again, err)
		}
		if m := merge(r, again); !same(m, r) {
			t.Fatalf("%+v merged with itself is %+v", r, m)
		}
	})
}

func BenchmarkMerge300(b *testing.B) {
	var x Roster
	for i := range view.NodeID(300) {
		x = with(b, x, plain(i+1, "node-"+(i+1).String()))
	}
	y, _ := x.Move(7, view.Left)
	for b.Loop() {
		merge(x, y)
	}
}
