package roster

import (
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// However many nodes a member says are gone, and however often, an eighth of those
// that a roster remembers is taken in on its word. Members, and news of those that are
// known, are not counted.
func TestHearsayOfTheGoneFillsNoRoster(t *testing.T) {
	r := with(t, Roster{}, plain(1, "a"), plain(2, "b"), plain(3, "c"))
	g := NewRation(r)
	take, refused := g.Take(0, r, merge(relicsOf(3, 2), relicsOf(1_000, 2*maxUnseen)))
	if refused != maxUnseen+1 || len(take.relics) != maxUnseen+1 || !merge(r, take).Reduced(3) {
		t.Errorf("%d relics taken in, %d refused", len(take.relics), refused)
	}
	if _, refused = g.Take(0, r, many(900_000, 7, view.Evicted)); refused != 7 {
		t.Errorf("%d entries refused", refused)
	}
	if _, refused = g.Take(0, r, many(900_000, 7, view.Active)); refused != 0 {
		t.Errorf("%d members refused", refused)
	}
	gone := plain(2, "b")
	gone.Status = view.Evicted
	if got, refused := g.Take(0, r, with(t, Roster{}, gone)); refused != 0 || got.Len() != 1 {
		t.Errorf("one that is known: %d refused", refused)
	}
	r = merge(r, take)
	if take, refused = g.Take(0, r, take); refused != 0 || len(take.relics) != maxUnseen+1 {
		t.Errorf("what is known: %d refused", refused)
	}
}

// A node that joins learns at once of all that are gone, and is as any other soon
// after, though it was told nothing meanwhile.
func TestNewNodeBelievesAtFirst(t *testing.T) {
	r := with(t, Roster{}, plain(1, "a"))
	g := NewRation(r)
	said := relicsOf(20_000, 3*maxUnseen)
	if take, refused := g.Take(time.Hour, r, said); refused != 0 || !same(take, said) {
		t.Errorf("%d refused", refused)
	}
	if _, refused := g.Take(time.Hour+believeFor, r, said); refused != 2*maxUnseen {
		t.Errorf("later: %d refused", refused)
	}
	founder := NewRation(r)
	founder.Meet(0)
	if _, refused := founder.Take(believeFor, r, said); refused != 2*maxUnseen {
		t.Errorf("one that met another long ago: %d refused", refused)
	}
	if _, refused := NewRation(merge(r, relicsOf(5, 1))).Take(0, r, said); refused != 2*maxUnseen {
		t.Errorf("one with a roster on disk: %d refused", refused)
	}
}
