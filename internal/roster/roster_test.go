package roster

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

var someAddr = netip.MustParseAddrPort("192.0.2.7:7946")

func plain(id view.NodeID, name string) Entry {
	return Entry{ID: id, Name: name, Zone: "z", Addr: someAddr, Weight: 1, Storing: true, Status: view.Active, HLC: 1, Boot: 1, Instance: 1}
}

// random draws from so little that equal dates, boots and names abound.
func random(r *rand.Rand) Entry {
	return Entry{
		ID:       view.NodeID(1 + r.IntN(6)),
		Name:     string(rune('a' + r.IntN(4))),
		Zone:     string(rune('x' + r.IntN(2))),
		Addr:     netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + r.IntN(2))}), uint16(1+r.IntN(2))),
		Weight:   1 + r.IntN(2),
		Storing:  r.IntN(3) > 0,
		Status:   view.Status(r.IntN(int(view.Evicted) + 1)),
		HLC:      version.HLC(r.IntN(3)),
		Boot:     uint64(r.IntN(3)),
		Instance: uint64(r.IntN(2)),
	}
}

func randomRoster(t testing.TB, r *rand.Rand, entries int) Roster {
	var out Roster
	for range entries {
		out = with(t, out, random(r))
	}
	if r.IntN(2) == 0 {
		out = merge(out, randomRelics(r))
	}
	return out
}

// randomRelics are of nodes that random draws, too.
func randomRelics(r *rand.Rand) (out Roster) {
	for id := range view.NodeID(7) {
		if id > 0 && r.IntN(4) == 0 {
			out.relics = append(out.relics, wire.Relic{ID: id, Storing: r.IntN(2) == 0})
		}
	}
	return out
}

func with(t testing.TB, r Roster, es ...Entry) Roster {
	t.Helper()
	for _, e := range es {
		var err error
		if r, _, err = r.With(e); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func merge(a, b Roster) Roster {
	m, _, _ := a.Merge(b)
	return m
}

func same(a, b Roster) bool {
	return slices.Equal(a.entries, b.entries) && slices.Equal(a.relics, b.relics)
}

// below tells whether b says everything that a says.
func below(a, b Roster) bool { return same(merge(b, a), b) }

func TestMergeLaws(t *testing.T) {
	for seed := range uint64(3000) {
		r := rng(seed)
		a, b, c := randomRoster(t, r, r.IntN(9)), randomRoster(t, r, r.IntN(9)), randomRoster(t, r, r.IntN(9))
		ab, changed, refused := a.Merge(b)
		switch {
		case !same(ab, merge(b, a)):
			t.Fatalf("seed %d: not commutative:\n%+v\n%+v", seed, ab, merge(b, a))
		case !same(merge(ab, c), merge(a, merge(b, c))):
			t.Fatalf("seed %d: not associative", seed)
		case !same(merge(a, a), a) || !same(merge(ab, b), ab):
			t.Fatalf("seed %d: not idempotent", seed)
		case !below(a, ab) || !below(b, ab) || below(a, b) && !below(merge(a, c), merge(b, c)):
			t.Fatalf("seed %d: not monotone", seed)
		case refused != 0:
			t.Fatalf("seed %d: %d refused", seed, refused)
		}
		for _, e := range ab.entries {
			old, known := a.Get(e.ID)
			if _, told := slices.BinarySearch(changed, e.ID); told != (!known || old != e) {
				t.Fatalf("seed %d: %v changed, told %v: %v", seed, e.ID, changed, told)
			}
			if next, grew, err := a.With(e); err != nil || grew != (!known || old != e) || !below(a, next) {
				t.Fatalf("seed %d: With(%+v) = %v, %v", seed, e, grew, err)
			}
		}
	}
}

// Whatever the nodes do to their rosters, restarts from disk included, no
// status of any node ever goes back, and who is gone stays gone.
func TestF1_17_StatusNeverGoesBack(t *testing.T) {
	for seed := range uint64(400) {
		r := rng(seed)
		replicas := make([]Roster, 4)
		for range 80 {
			i := r.IntN(len(replicas))
			old := replicas[i]
			next := step(t, r, old, replicas)
			for _, was := range old.entries {
				is, ok := next.Get(was.ID)
				if !ok || is.Status < was.Status || was.Status.Gone() && !is.Status.Gone() || is.Boot < was.Boot && !next.Reduced(was.ID) {
					t.Fatalf("seed %d: %+v became %+v", seed, was, is)
				}
			}
			for _, g := range old.relics {
				if !next.Reduced(g.ID) {
					t.Fatalf("seed %d: %v has an entry again", seed, g)
				}
			}
			replicas[i] = next
		}
		for range replicas {
			for i := range replicas {
				replicas[i] = merge(replicas[i], replicas[(i+1)%len(replicas)])
			}
		}
		for _, x := range replicas {
			if !same(x, replicas[0]) || x.Sum() != replicas[0].Sum() || x.Digest() != replicas[0].Digest() {
				t.Fatalf("seed %d: replicas that exchanged everything differ", seed)
			}
		}
	}
}

// step does one random thing to a roster.
func step(t *testing.T, r *rand.Rand, old Roster, peers []Roster) Roster {
	e := random(r)
	switch r.IntN(7) {
	case 6:
		next := old.reduce(4, 1)
		if next.StoringDigest() != old.StoringDigest() || next.Digest() != old.Digest() || !below(old, next) {
			t.Fatalf("reducing made %+v of %+v", next, old)
		}
		return next
	case 0:
		return with(t, old, e)
	case 1:
		next, err := old.Move(e.ID, e.Status)
		if _, known := old.Get(e.ID); known != (err == nil) {
			t.Fatalf("Move of %v, known %v: %v", e.ID, known, err)
		}
		return next
	case 2:
		was, _ := old.Get(e.ID)
		next, err := old.Write(e, version.HLC(r.IntN(3)))
		if gone := was.Status.Gone(); gone != errors.Is(err, ErrGone) || !gone && err != nil {
			t.Fatalf("Write over %+v: %v", was, err)
		}
		return next
	case 3:
		e.Predecessor = view.NodeID(1 + r.IntN(6))
		if e.Predecessor == e.ID {
			e.Predecessor = 0
		}
		next, _ := with(t, old, e).Settle(func(view.NodeID) bool { return r.IntN(2) == 0 })
		return next
	case 4:
		next, err := Decode(Encode(old))
		if err != nil || !same(next, old) {
			t.Fatalf("%+v came back from disk as %+v: %v", old, next, err)
		}
		return next
	}
	return merge(old, peers[r.IntN(len(peers))])
}

// A mesh that is started again after a month, in any order and any part of
// it, loads the roster as it was; nobody is a majority before more than half
// of the storing nodes have met, and nothing that nodes without a majority
// tell each other evicts anyone.
func TestF1_18_ColdStartDecidesNothingWithoutMajority(t *testing.T) {
	for seed := range uint64(300) {
		r := rng(seed)
		var disk Roster
		n := 1 + r.IntN(20)
		for id := 1; id <= n; id++ {
			e := plain(view.NodeID(id), "n"+string(rune('a'+id)))
			e.Storing = r.IntN(4) > 0
			e.Status = view.Status(r.IntN(int(view.Evicted) + 1))
			disk = with(t, disk, e)
		}
		self := view.NodeID(1 + r.IntN(n))
		contact := map[view.NodeID]bool{self: true}
		loaded, err := Decode(Encode(disk))
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range r.Perm(n) {
			in, met := 0, 0
			for _, e := range disk.entries {
				if e.Storing && !e.Status.Gone() {
					in++
					if contact[e.ID] {
						met++
					}
				}
			}
			if got := loaded.Majority(func(id view.NodeID) bool { return contact[id] }); got != (met > in-met) {
				t.Fatalf("seed %d: majority %v with %d of %d storing nodes", seed, got, met, in)
			}
			contact[view.NodeID(k+1)] = true
			loaded = merge(loaded, disk)
			settled, evicted := loaded.Settle(func(id view.NodeID) bool { return contact[id] })
			if len(evicted) > 0 || !same(settled, disk) {
				t.Fatalf("seed %d: a cold start changed the roster, evicted %v", seed, evicted)
			}
		}
	}
	if (Roster{}).Majority(func(view.NodeID) bool { return true }) {
		t.Error("an empty roster has a majority")
	}
}

func TestRosterIsAValue(t *testing.T) {
	a := with(t, Roster{}, plain(1, "a"), plain(2, "b"), plain(3, "c"))
	before := Encode(a)
	with(t, a, plain(4, "d"))
	if b, err := a.Move(2, view.Evicted); err != nil || b.entries[1].Status != view.Evicted {
		t.Fatal(b, err)
	}
	merge(a, with(t, Roster{}, Entry{ID: 1, Name: "z", Addr: someAddr, Weight: 8, HLC: 9, Status: view.Left}))
	late := plain(5, "a")
	late.Predecessor = 1
	with(t, a, late).Settle(func(view.NodeID) bool { return false })
	a.Entries()[0].Name = "scribble"
	if !slices.Equal(Encode(a), before) {
		t.Fatal("a roster was changed by what was made from it")
	}
}

func TestWriteWinsOverWhatOthersClaim(t *testing.T) {
	forged := plain(1, "not me")
	forged.HLC = 1 << 40
	r := with(t, Roster{}, forged)
	mine := plain(1, "me")
	r, err := r.Write(mine, 7)
	got, _ := r.Get(1)
	if err != nil || got.Name != "me" || got.HLC <= 1<<40 {
		t.Fatalf("wrote %+v, %v", got, err)
	}
	again, err := r.Write(mine, 1<<50)
	if err != nil || !same(again, r) {
		t.Fatalf("writing the same again gave %+v, %v", again, err)
	}
	if _, err = r.Write(Entry{ID: 1}, 7); !errors.Is(err, ErrInvalid) {
		t.Fatalf("wrote nonsense: %v", err)
	}
	r, _ = r.Move(1, view.Evicted)
	if _, err = r.Write(mine, 7); !errors.Is(err, ErrGone) {
		t.Fatalf("an evicted node wrote itself: %v", err)
	}
	mine.Addr = netip.MustParseAddrPort("[fe80::1%eth0]:7946")
	r, err = Roster{}.Write(mine, 7)
	if back, _ := Decode(Encode(r)); err != nil || !same(back, r) {
		t.Fatalf("%+v came back as %+v, %v", r, back, err)
	}
}

func TestValidateReportsEveryFault(t *testing.T) {
	good := plain(1, strings.Repeat("ä", MaxName/2))
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	bad := Entry{
		ID: 1, Predecessor: 1, Name: strings.Repeat("n", MaxName+1), Zone: "a\x00", Weight: 9,
		Status: view.Evicted + 1, HLC: MaxHLC + 1, Addr: netip.MustParseAddrPort("0.0.0.0:1"),
	}
	err := bad.Validate()
	if !errors.Is(err, ErrInvalid) {
		t.Fatal(err)
	}
	for _, word := range []string{"name", "zone", "weight", "status", "predecessor", "dated", "address"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("nothing about the %s in %q", word, err)
		}
	}
	for _, e := range []Entry{{}, {ID: 1, Name: "\xff", Addr: someAddr, Weight: 1}, {ID: 1, Name: "", Addr: someAddr, Weight: 1}} {
		if e.Validate() == nil {
			t.Errorf("%+v is fine", e)
		}
	}
	if r, _, err := (Roster{}).With(bad); err == nil || r.Len() != 0 {
		t.Errorf("With took it in")
	}
}

func TestLimitKeepsThoseKnown(t *testing.T) {
	var full, more Roster
	for id := range view.NodeID(Limit) {
		e := plain(id+100, "n")
		full.entries = append(full.entries, e)
		e.ID, e.HLC = id+50, 9
		more.entries = append(more.entries, e)
	}
	if _, _, err := full.With(plain(1, "x")); !errors.Is(err, ErrFull) {
		t.Errorf("one too many: %v", err)
	}
	if err := full.Admit(plain(1, "x"), nobody); !errors.Is(err, ErrFull) {
		t.Errorf("admitted: %v", err)
	}
	m, changed, refused := full.Merge(more)
	if m.Len() != Limit || refused != 50 || len(changed) != Limit-50 {
		t.Errorf("%d entries, %d changed, %d refused", m.Len(), len(changed), refused)
	}
	if _, kept := m.Get(full.entries[Limit-1].ID); !kept {
		t.Error("a known node was pushed out")
	}
}

func nobody(view.NodeID) bool { return false }
