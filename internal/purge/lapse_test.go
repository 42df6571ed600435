package purge

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/replica/version"
)

// mortals are items of three stores whose values end at some time, or never; those of one
// seed know of each other's writes to different extents.
func mortals(r *rand.Rand, n int) []version.Item {
	var whole version.Item
	for store := range uint64(3) {
		a := version.Actor{Store: store + 1, Session: 1, Seq: 1}
		whole.Ctx = append(whole.Ctx, version.Entry{A: a, N: 2})
		for dot := range uint64(2) {
			s := version.Sibling{Dot: version.Dot{A: a, N: dot + 1}, HLC: version.HLC(1 + r.IntN(9)), Value: []byte{byte(store), byte(dot)}}
			switch r.IntN(4) {
			case 0:
				s.Flags, s.Value = version.Tomb, nil
			case 1:
			default:
				s.Expire = version.HLC(10 + r.IntN(30))
			}
			whole.Sibs, whole.HLC = append(whole.Sibs, s), 10
		}
	}
	out := make([]version.Item, n)
	for i := range out {
		it := version.Item{HLC: whole.HLC}
		for j, e := range whole.Ctx {
			if e.N = uint64(r.IntN(3)); e.N == 0 {
				continue
			}
			it.Ctx = append(it.Ctx, e)
			for k := range e.N {
				if r.IntN(3) > 0 {
					it.Sibs = append(it.Sibs, whole.Sibs[2*uint64(j)+k])
				}
			}
		}
		out[i] = it
	}
	return out
}

// sameToAll tells whether two items are the same to everybody: in dots and in what is
// carried by them.
func sameToAll(a, b version.Item) bool {
	if !a.Equal(b) {
		return false
	}
	for i := range a.Sibs {
		s, t := &a.Sibs[i], &b.Sibs[i]
		if s.HLC != t.HLC || s.Flags != t.Flags || s.Expire != t.Expire || !bytes.Equal(s.Value, t.Value) {
			return false
		}
	}
	return true
}

// A store writes down what has ended whenever it likes, and homes that have come to know
// the same are equal whoever has.
func TestF1_30_LapsedOrNotHomesAreEqual(t *testing.T) {
	hasher := reconcile.NewHasher([16]byte{1})
	r := rand.New(rand.NewPCG(7, 7))
	lapsed := 0
	for range 20_000 {
		all := mortals(r, 2)
		a, b := all[0], all[1]
		by := version.HLC(10 + r.IntN(40))
		la, n := Lapse(a, by)
		lapsed += n
		if err := la.Check(); err != nil {
			t.Fatal(err)
		}
		if hasher.Version(la) != hasher.Version(a) || !la.Dominates(a) || !a.Dominates(la) {
			t.Fatalf("digests, or what is behind what, tell that it was written down:\n%v\n%v", a, la)
		}
		if again, n := Lapse(la, by); n != 0 || !sameToAll(again, la) {
			t.Fatalf("written down twice: %v", again)
		}
		if version.Clashes(a, la) != nil || version.Clashes(la, a) != nil {
			t.Fatalf("taken for another write: %v", la)
		}
		for i := range a.Sibs {
			s, l := &a.Sibs[i], &la.Sibs[i]
			if s.Deleted(by) != (l.Flags&version.Tomb != 0) || !s.Deleted(by) && !bytes.Equal(s.Value, l.Value) || l.Flags&version.Tomb != 0 && l.Value != nil {
				t.Fatalf("by %d: %+v becomes %+v", by, *s, *l)
			}
		}
		if m := version.Merge(a, la); !sameToAll(m, la) || !sameToAll(version.Merge(la, a), la) {
			t.Fatalf("a value that has ended comes back: %v", m)
		}
		// Before they meet, or after: what is left is the same, and dead to every clock.
		after, _ := Lapse(version.Merge(a, b), by)
		lb, _ := Lapse(b, by)
		if before := version.Merge(la, lb); !sameToAll(before, after) {
			t.Fatalf("the order counts:\n%v\n%v", before, after)
		}
		if one := version.Merge(la, b); !one.Equal(after) {
			t.Fatalf("homes differ when one has written it down:\n%v\n%v", one, after)
		}
	}
	if lapsed < 10_000 {
		t.Errorf("only %d have ended", lapsed)
	}
}

func TestLapse(t *testing.T) {
	it := value(1, 2)
	it.Sibs[0].Expire, it.Sibs[0].Value = 10, []byte("v")
	if out, n := Lapse(it, 9); n != 0 || out.Sibs[0].Value == nil {
		t.Error("ends before its time")
	}
	out, n := Lapse(it, 10)
	if n != 1 || out.Sibs[0].Value != nil || out.Sibs[0].Flags != version.Tomb || out.Sibs[0].Expire != 10 || it.Sibs[0].Value == nil {
		t.Errorf("%d: %+v of %+v", n, out, it)
	}
	if dead, known := Grave(out, 0); !dead || !known {
		t.Error("to purge it takes a clock")
	}
	if at, ok := Due(out); at != 0 || !ok {
		t.Errorf("due at %d, %v", at, ok)
	}
}
