package roster

import (
	"errors"
	"slices"
	"testing"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// many returns entries of consecutive nodes.
func many(first view.NodeID, count int, status view.Status) (out Roster) {
	for i := range count {
		e := plain(first+view.NodeID(i), "n")
		e.Status, e.HLC = status, version.HLC(i)
		out.entries = append(out.entries, e)
	}
	return out
}

func relicsOf(first view.NodeID, count int) (out Roster) {
	for i := range count {
		out.relics = append(out.relics, wire.Relic{ID: first + view.NodeID(i)})
	}
	return out
}

// Those that are gone take no room from those that are not.
func TestGoneTakeNoRoom(t *testing.T) {
	r := merge(many(100_000, Limit-1, view.Active), many(1, Limit, view.Evicted)).Reduce()
	if r.Len() != Limit || r.Living() != Limit-1 || r.Full() != nil {
		t.Fatalf("%d entries, %d living, %v", r.Len(), r.Living(), r.Full())
	}
	last, _, err := r.With(plain(90_000, "x"))
	if last = last.Reduce(); err != nil || last.Len() != Limit || last.Living() != Limit || last.Reduced(90_000) {
		t.Fatalf("%d entries, %d living, %v", last.Len(), last.Living(), err)
	}
	if _, _, err := last.With(plain(90_001, "y")); !errors.Is(err, ErrFull) {
		t.Errorf("one too many: %v", err)
	}
	if err := last.Admit(plain(90_001, "y"), nobody); !errors.Is(err, ErrFull) {
		t.Errorf("admitted: %v", err)
	}
	if m, _, refused := last.Merge(many(50_000, 3, view.Evicted)); refused != 0 || !m.Reduced(50_000) && m.Reduce().Len() != Limit {
		t.Errorf("news of those that are gone: %d refused, %d entries", refused, m.Reduce().Len())
	}
	back, err := Decode(Encode(last))
	if err != nil || !same(back, last) {
		t.Errorf("it comes back from disk with %d entries: %v", back.Len(), err)
	}
}

// A new disk under an old name makes the members no more than they were.
func TestSuccessorNeedsNoRoom(t *testing.T) {
	full := many(100, Limit, view.Active)
	full.entries[3].Name = "mine"
	e := plain(1, "mine")
	if err := full.Admit(e, nobody); !errors.Is(err, ErrNameTaken) && !errors.Is(err, ErrFull) {
		t.Errorf("admitted: %v", err)
	}
	e.Predecessor = 103
	if err := full.Admit(e, nobody); err != nil {
		t.Fatal(err)
	}
	r, evicted := with(t, full, e).Settle(nobody)
	if r = r.Reduce(); !slices.Equal(evicted, []view.NodeID{103}) || r.Living() != Limit || r.Len() != Limit {
		t.Errorf("%v evicted, %d entries, %d living", evicted, r.Len(), r.Living())
	}
	e.Name = "another"
	if err := full.Admit(e, nobody); !errors.Is(err, ErrFull) {
		t.Errorf("one that takes nobody's place: %v", err)
	}
}

// So many are remembered, and not one more; who is known is not refused.
func TestRelicsHaveABound(t *testing.T) {
	r := merge(many(1, 2, view.Active), relicsOf(10, Limit+MaxGone-3))
	if r.Full() != nil {
		t.Fatal(r.Full())
	}
	r, changed, refused := r.Merge(relicsOf(500_000, 5))
	if len(changed) != 1 || refused != 4 || !errors.Is(r.Full(), ErrFull) {
		t.Errorf("%v changed, %d refused, %v", changed, refused, r.Full())
	}
	if _, _, refused = r.Merge(many(600_000, 2, view.Evicted)); refused != 2 {
		t.Errorf("%d entries refused", refused)
	}
	if _, _, err := r.With(plain(600_000, "x")); !errors.Is(err, ErrFull) {
		t.Errorf("one too many: %v", err)
	}
	if r, _, refused = r.Merge(relicsOf(1, 1)); refused != 0 || r.Living() != 1 || !r.Reduced(1) {
		t.Errorf("a member that is gone now: %d refused, %d living", refused, r.Living())
	}
	if back, err := Decode(Encode(r)); err != nil || !same(back, r) {
		t.Error("it does not come back from disk", err)
	}
	if _, err := FromRelics(relicsOf(1, Limit+MaxGone+1).relics); !errors.Is(err, ErrFull) {
		t.Errorf("more than any roster holds: %v", err)
	}
}

// Nothing that is done with a roster brings back one that is a relic.
func TestReducedStayReduced(t *testing.T) {
	r := merge(with(t, Roster{}, plain(1, "a"), plain(2, "b")), relicsOf(2, 1))
	if r.Len() != 1 || !r.Reduced(2) {
		t.Fatalf("%+v", r)
	}
	e := plain(2, "b")
	e.Boot, e.HLC = 99, 99
	if next, grew, err := r.With(e); err != nil || grew || !same(next, r) {
		t.Errorf("With: %+v, %v, %v", next, grew, err)
	}
	if next, err := r.Move(2, view.Active); err != nil || !same(next, r) {
		t.Errorf("Move: %+v, %v", next, err)
	}
	if _, err := r.Write(e, 1); !errors.Is(err, ErrGone) {
		t.Errorf("Write: %v", err)
	}
	if err := r.Admit(e, nobody); !errors.Is(err, ErrGone) {
		t.Errorf("Admit: %v", err)
	}
	if next := merge(r, with(t, Roster{}, e)); !same(next, r) || r.Ahead(e) {
		t.Errorf("Merge: %+v", next)
	}
	if out := r.Without(2); out.Reduced(2) || out.Len() != 1 {
		t.Errorf("Without: %+v", out)
	}
	rebut := r.Rebut(with(t, Roster{}, plain(1, "a"), e))
	if e.Status = view.Evicted; !slices.Equal(rebut, []Entry{e}) {
		t.Errorf("who says that it lives is told %+v", rebut)
	}
	if rebut = r.Rebut(with(t, Roster{}, e)); len(rebut) != 0 {
		t.Errorf("who says that it is gone is told %+v", rebut)
	}
}

// Those that were written last keep their entries, and before them one that has yet
// to take the place of another.
func TestReduceKeepsTheLast(t *testing.T) {
	r := many(10, 8, view.Evicted)
	r.entries[0].Predecessor = 1
	r = with(t, r, plain(1, "n"))
	next := r.reduce(Limit, 6)
	var left []view.NodeID
	for e := range next.All() {
		left = append(left, e.ID)
	}
	if !slices.Equal(left, []view.NodeID{1, 10, 16, 17}) || next.StoringDigest() != r.StoringDigest() {
		t.Errorf("left %v", left)
	}
	if !same(next.reduce(Limit, 6), next) || !same(r.reduce(Limit, 8), r) {
		t.Error("reduced without need")
	}
	if next = r.reduce(2, 8); next.Len() != 2 || next.Living() != 1 {
		t.Errorf("%d entries of 2", next.Len())
	}
}

func TestRelicsBeyond(t *testing.T) {
	a := Roster{relics: []wire.Relic{{ID: 1}, {ID: 2, Storing: true}, {ID: 3}}}
	b := Roster{relics: []wire.Relic{{ID: 1}, {ID: 2}}}
	if got := a.RelicsBeyond(b); !slices.Equal(got, a.relics[1:]) {
		t.Errorf("%v", got)
	}
	if got := b.RelicsBeyond(a); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if a.RelicSum() == b.RelicSum() || a.Sum() == b.Sum() || a.RelicSum() != merge(b, a).RelicSum() {
		t.Error("sums")
	}
}

// older is a roster as a release without relics holds it: it is told entries only.
type older struct{ Roster }

// exchange does what two nodes do whose rosters differ.
func (o *older) exchange(r Roster) Roster {
	rebut := r.Rebut(o.Roster)
	r = merge(r, o.Roster)
	told := Roster{entries: slices.Clone(r.entries)}
	o.Roster = merge(o.Roster, told)
	for _, e := range rebut {
		o.Roster = merge(o.Roster, Roster{entries: []Entry{e}})
	}
	return r
}

// In a mesh of two releases nobody comes back either, and all agree on who is a
// member and on whom placement depends.
func TestReleasesAgree(t *testing.T) {
	for seed := range uint64(500) {
		r := rng(seed)
		now := []Roster{randomRoster(t, r, 5), randomRoster(t, r, 5)}
		olds := []older{{now[0].reduce(0, 0).onlyEntries()}, {now[1].onlyEntries()}}
		for range 40 {
			i, j := r.IntN(2), r.IntN(2)
			was := now[i]
			switch r.IntN(4) {
			case 0:
				now[i] = step(t, r, now[i], now)
			case 1:
				now[i] = now[i].reduce(4, 1)
			case 2:
				now[i] = olds[j].exchange(now[i])
			case 3:
				olds[j].Roster = merge(olds[j].Roster, olds[1-j].Roster)
			}
			for _, g := range was.relics {
				if !now[i].Reduced(g.ID) {
					t.Fatalf("seed %d: %v came back", seed, g.ID)
				}
			}
		}
		for range 4 {
			now[0], now[1] = merge(now[0], now[1]), merge(now[1], now[0])
			for i := range olds {
				now[i] = olds[i].exchange(now[i])
			}
			olds[0].Roster, olds[1].Roster = merge(olds[0].Roster, olds[1].Roster), merge(olds[1].Roster, olds[0].Roster)
		}
		for _, x := range []Roster{now[1], olds[0].Roster, olds[1].Roster} {
			if x.Digest() != now[0].Digest() || x.Living() != now[0].Living() {
				t.Fatalf("seed %d: a node has %d members %+v, another %d %+v", seed, x.Living(), x, now[0].Living(), now[0])
			}
		}
	}
}

func (r Roster) onlyEntries() Roster { return Roster{entries: r.entries} }
