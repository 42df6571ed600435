package replicate

import (
	"errors"
	"testing"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

var now = version.At(1767225600000)

func TestF1_16_OneRecordPerKey(t *testing.T) {
	w := reconcile.Open(reconcile.Start{Store: 9, Random: 1, TrustDisk: true})
	rec, _, err := Record{}.Accept(&w, item(1), Role{For: 7}, now)
	if err != nil || rec.Home || !rec.Hinted(7) {
		t.Fatalf("%+v, %v", rec, err)
	}
	rec, wrote, err := rec.Commit(&w, reconcile.Write{Value: []byte("x")}, now, []Role{HomeRole, {For: 5}})
	if err != nil || len(wrote.Covered) != 1 {
		t.Fatalf("%+v, %v", wrote, err)
	}
	again, out, err := rec.Accept(&w, item(1), Role{For: 7}, now)
	if err != nil || out.Changed || !out.Behind || len(again.Hints) != 2 {
		t.Fatalf("an old item in a known role: %+v, %v", out, err)
	}
	if _, out, _ = rec.Accept(&w, item(1), Role{For: 8}, now); !out.Changed {
		t.Fatal("a new role must be written")
	}
	if got := rec.Settle(7, item(1)); !got.Hinted(7) {
		t.Fatal("dropped a hint whose target has only an older item")
	}
	rec = rec.Settle(7, rec.Item)
	if rec.Hinted(7) || !rec.Hinted(5) || rec.Idle() {
		t.Fatalf("%+v", rec)
	}
	rec.Home = false
	if rec = rec.Settle(5, version.Merge(rec.Item, item(3))); !rec.Idle() {
		t.Fatalf("%+v", rec)
	}
	bad := version.Item{Ctx: version.Context{{N: 1}}}
	if _, _, err := rec.Accept(&w, bad, HomeRole, now); !errors.Is(err, version.ErrMalformed) {
		t.Fatal(err)
	}
}

func TestTakeDoesNotShare(t *testing.T) {
	base := Record{Hints: make([]view.NodeID, 0, 8)}.Take(Role{For: 5})
	a, b := base.Take(Role{For: 3}), base.Take(Role{For: 7})
	if len(base.Hints) != 1 || !a.Hinted(3) || a.Hinted(7) || b.Hinted(3) {
		t.Fatalf("%v, %v, %v", base.Hints, a.Hints, b.Hints)
	}
}

func TestTombsOfARound(t *testing.T) {
	dead := item(1)
	dead.Sibs[0].Flags = version.Tomb
	for name, c := range map[string]struct {
		rec  Record
		role Role
		dead bool
	}{
		"a home":                       {Record{Local: reconcile.Local{Item: dead}, Home: true}, HomeRole, true},
		"a home that keeps it for one": {Record{Local: reconcile.Local{Item: dead}, Home: true, Hints: []view.NodeID{5}}, HomeRole, false},
		"a stand-in":                   {Record{Local: reconcile.Local{Item: dead}, Hints: []view.NodeID{5, 7}}, Role{For: 5}, false},
		"nothing":                      {Record{}, HomeRole, false},
		"a value":                      {Record{Local: reconcile.Local{Item: item(1)}, Home: true}, HomeRole, false},
	} {
		if got, known := c.rec.Grave(now); got != c.dead || known != c.dead || c.rec.TombRole() != c.role {
			t.Errorf("%s: dead %v, known %v, role %v", name, got, known, c.rec.TombRole())
		}
	}
}
