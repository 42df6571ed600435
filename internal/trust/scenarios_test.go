package trust

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/identity/charter"
	"github.com/skeinmesh/skein/mesh/view"
)

// seat is one node of a scenario.
type seat struct {
	*State
	entries *Entries
}

func newSeat(t *testing.T) seat { return seat{openState(t, plant()), NewEntries()} }

// learn hands over all that another node has, as at the beginning of a connection.
func (s seat) learn(t *testing.T, from seat) (forks []Fork) {
	t.Helper()
	forks, err := s.AddCharters(from.Papers(1))
	if err != nil && !errors.Is(err, ErrFork) {
		t.Fatal(err)
	}
	for _, st := range from.Statements() {
		s.AddStatement(st)
	}
	for _, e := range from.entries.All() {
		s.entries.Merge(s.State, e)
	}
	return forks
}

func (s seat) add(t *testing.T, st charter.Statement, revoker int) {
	t.Helper()
	if added, err := s.AddStatement(SignStatement(someMesh, st, plantRevokers[revoker])); !added || err != nil {
		t.Fatalf("%v: added %t, %v", st.Kind, added, err)
	}
}

func (s seat) hear(t *testing.T, e wire.SignedEntry, want error) {
	t.Helper()
	if _, err := s.entries.Merge(s.State, e); !errors.Is(err, want) || want == nil && err != nil {
		t.Fatalf("heard %v, want %v", err, want)
	}
}

// members are the nodes that count.
func (s seat) members() (list []view.NodeID) {
	for _, e := range s.entries.Members(s.State) {
		list = append(list, e.Node)
	}
	slices.Sort(list)
	return list
}

func wantMembers(t *testing.T, s seat, want ...view.NodeID) {
	t.Helper()
	if got := s.members(); !slices.Equal(got, want) {
		t.Errorf("members %v, want %v", got, want)
	}
}

// entryBy is what device n says of its node under a passport.
func entryBy(n int, node view.NodeID, claim uint64, change func(*charter.Passport)) wire.SignedEntry {
	p := somePassport(func(p *charter.Passport) { p.Device, p.Serial = KeyOf(keyFrom('d', n)), uint64(n+1); change(p) })
	return SignEntry(someMesh, entryOf(p, node, claim), keyFrom('d', n))
}

func revocationOf(n int, seq uint64) charter.Statement {
	return charter.Statement{Kind: charter.RevokeDevice, Target: KeyOf(keyFrom('d', n)), Number: charter.AnyGeneration, Seq: seq}
}

// A thief meets a node that was off for three charters, alone; then an honest one comes.
// The node is fooled until then, which nothing can change, and not a moment longer: the sums
// differ, and what the honest one hands over ends it.
func TestN2_ThiefMeetsANodeThatWasAway(t *testing.T) {
	honest, away := newSeat(t), newSeat(t)
	thief := entryBy(0, 7, 1, nothing)
	honest.hear(t, thief, nil)
	honest.add(t, revocationOf(0, 1), 0)
	for generation := range uint64(3) {
		goOnWith(t, honest.State, func(c *charter.Charter) { c.Issuers[0].MinGeneration = generation })
	}
	away.hear(t, thief, nil)
	wantMembers(t, away, 7)
	if away.Sum() == honest.Sum() {
		t.Error("the sums do not tell that the node was away")
	}
	away.learn(t, honest)
	wantMembers(t, away)
	if away.Sum() != honest.Sum() || away.Charter().Epoch != 4 {
		t.Errorf("epoch %d, and the sums differ", away.Charter().Epoch)
	}
	away.hear(t, entryBy(0, 8, 2, nothing), ErrRevoked)
}

// Revocation and renewal of one device cross: it is revoked under the new passport, too, also
// when the generations up to the old one are retired, whatever comes first.
func TestN3_RevocationAndRenewalCross(t *testing.T) {
	renewed := entryBy(0, 7, 1, func(p *charter.Passport) { p.Generation = 2 })
	kept := entryBy(1, 8, 1, func(p *charter.Passport) { p.Generation = 2 })
	old := entryBy(2, 9, 1, nothing)
	for _, revokedFirst := range []bool{true, false} {
		a, b := newSeat(t), newSeat(t)
		a.add(t, revocationOf(0, 1), 0)
		a.add(t, charter.Statement{Kind: charter.RevokeIssuer, Target: KeyOf(plantIssuer), Number: 1, Seq: 2}, 0)
		for _, e := range []wire.SignedEntry{renewed, kept, old} {
			b.hear(t, e, nil)
		}
		wantMembers(t, b, 7, 8, 9)
		if revokedFirst {
			b.learn(t, a)
			a.learn(t, b)
		} else {
			a.learn(t, b)
			b.learn(t, a)
		}
		wantMembers(t, a, 8)
		wantMembers(t, b, 8)
		goOnWith(t, a.State, func(c *charter.Charter) { c.Issuers[0].MinGeneration = 2 })
		goOnWith(t, a.State, nothing)
		b.learn(t, a)
		wantMembers(t, b, 8)
		a.hear(t, renewed, ErrRevoked)
		if a.Sum() != b.Sum() || len(a.Statements()) != 1 {
			t.Errorf("%d statements, or the sums differ", len(a.Statements()))
		}
	}
}

// Two revokers, of which one is stolen, revoke each other, and what the other one trusts.
// Neither can end the other: both words stand everywhere, until a charter says whose count,
// and up to which.
func TestN4_RevokersRevokeEachOther(t *testing.T) {
	a, b := newSeat(t), newSeat(t)
	good := entryBy(1, 8, 1, nothing)
	for _, s := range []seat{a, b} {
		s.hear(t, good, nil)
	}
	a.add(t, revocationOf(0, 1), 1) // before it was stolen
	a.add(t, charter.Statement{Kind: charter.RevokeDevice, Target: KeyOf(plantRevokers[1]), Seq: 1}, 0)
	b.add(t, charter.Statement{Kind: charter.RevokeDevice, Target: KeyOf(plantRevokers[0]), Seq: 2}, 1)
	b.add(t, revocationOf(1, 3), 1)
	a.learn(t, b)
	b.learn(t, a)
	if a.Sum() != b.Sum() || len(a.Statements()) != 4 {
		t.Errorf("%d and %d statements", len(a.Statements()), len(b.Statements()))
	}
	wantMembers(t, a)
	goOnWith(t, a.State, func(c *charter.Charter) {
		i := slices.IndexFunc(c.Revokers, func(r charter.Revoker) bool { return r.Key == KeyOf(plantRevokers[1]) })
		c.Revokers[i].Through = 1
	})
	b.learn(t, a)
	for _, s := range []seat{a, b} {
		wantMembers(t, s, 8)
		if !s.IsRevoked(KeyOf(keyFrom('d', 0))) || s.IsRevoked(KeyOf(keyFrom('d', 1))) {
			t.Error("what was said in office does not hold, or what was said later does")
		}
	}
	st := SignStatement(someMesh, revocationOf(2, 4), plantRevokers[1])
	if err := b.CheckStatement(&st); !errors.Is(err, ErrStatement) {
		t.Errorf("the stolen revoker goes on: %v", err)
	}
}

// A device whose store is lost takes a new NodeID with nobody's leave; the old one is no
// member any more, wherever the two words meet, and cannot come back.
func TestN6_ANewNodeIDNeedsNoAuthority(t *testing.T) {
	before, after := entryBy(0, 7, 1, nothing), entryBy(0, 8, 2, nothing)
	back := before.Entry
	back.Boot, back.HLC = 99, 99
	a, b := newSeat(t), newSeat(t)
	a.hear(t, before, nil)
	b.hear(t, before, nil)
	a.hear(t, after, nil)
	b.hear(t, SignEntry(someMesh, back, keyFrom('d', 0)), nil) // the old disk goes on elsewhere
	b.learn(t, a)
	a.learn(t, b)
	wantMembers(t, a, 8)
	wantMembers(t, b, 8)
	b.add(t, charter.Statement{Kind: charter.EvictNode, Number: 8, Seq: 1}, 0)
	wantMembers(t, b)
	b.hear(t, entryBy(0, 9, 3, nothing), nil)
	wantMembers(t, b, 9)
}

// Two operators write a charter each in a cut. On heal the lower hash wins at every node,
// whoever tells whom first, and each is told of it. What the loser retired stays retired. With
// the next charter the fork is final: the loser's side cannot write another past, nor roots
// that were taken out of office.
func TestN8_TwoOperatorsInACut(t *testing.T) {
	for _, first := range []bool{true, false} {
		a, b := newSeat(t), newSeat(t)
		a.add(t, revocationOf(0, 1), 0)
		one := goOnWith(t, a.State, func(c *charter.Charter) { c.Written, c.Issuers[0].MinGeneration, c.Revokers = 1, 3, nil })
		other := goOnWith(t, b.State, func(c *charter.Charter) { c.Written, c.Issuers[0].MinGeneration = 2, 2 })
		c := newSeat(t)
		c.learn(t, a)
		low, high := HashCharter(&one.Charter), HashCharter(&other.Charter)
		if bytes.Compare(low[:], high[:]) > 0 {
			low, high = high, low
		}
		var told []Fork
		if first {
			told = append(a.learn(t, b), b.learn(t, a)...)
		} else {
			told = append(b.learn(t, a), a.learn(t, b)...)
		}
		told = append(told, c.learn(t, b)...)
		for _, f := range told {
			if (f != Fork{2, low, high}) {
				t.Errorf("told of %+v", f)
			}
		}
		if len(told) != 3 {
			t.Errorf("told %d times", len(told))
		}
		for _, s := range []seat{a, b, c} {
			if s.Head() != low || s.MinGeneration(KeyOf(plantIssuer)) != 3 {
				t.Errorf("%v, from generation %d on", s.Head(), s.MinGeneration(KeyOf(plantIssuer)))
			}
		}
		final := goOnWith(t, a.State, func(c *charter.Charter) { c.Written = 3 })
		loser := newSeat(t)
		lost := one
		if HashCharter(&one.Charter) == low {
			lost = other
		}
		if _, err := loser.AddCharters([]wire.SignedCharter{lost}); err != nil {
			t.Fatal(err)
		}
		loser.learn(t, a) // it has one charter of this epoch, and there the other has a successor
		if loser.Head() != HashCharter(&final.Charter) {
			t.Errorf("epoch %d at the loser's side", loser.Charter().Epoch)
		}
	}
}

// A rival with a successor wins over a charter of a lower hash without one; one of a settled
// epoch wins nothing, though the roots of then have signed it.
func TestN8_AForkThatWentOn(t *testing.T) {
	seats := []seat{newSeat(t), newSeat(t)}
	for i, s := range seats {
		goOnWith(t, s.State, func(c *charter.Charter) { c.Written = int64(i) })
	}
	a, b := seats[0].Head(), seats[1].Head()
	if bytes.Compare(a[:], b[:]) > 0 {
		slices.Reverse(seats)
	}
	low, high := seats[0], seats[1]
	third := goOnWith(t, high.State, nothing)
	away := newSeat(t)
	away.learn(t, low)
	low.learn(t, high)
	if low.Head() != HashCharter(&third.Charter) || len(low.Papers(1)) != 4 {
		t.Errorf("epoch %d, %d papers", low.Charter().Epoch, len(low.Papers(1)))
	}
	forks := high.learn(t, away)
	if high.Head() != HashCharter(&third.Charter) || len(forks) != 1 || forks[0].Epoch != 2 {
		t.Errorf("epoch %d, %+v", high.Charter().Epoch, forks)
	}
	if forks := high.learn(t, away); len(forks) != 0 {
		t.Errorf("told again of %+v", forks)
	}
	goOnWith(t, away.State, func(c *charter.Charter) { c.Written = 7 })
	goOnWith(t, away.State, func(c *charter.Charter) { c.Written = 8 })
	if _, err := high.AddCharters(away.Papers(1)); !errors.Is(err, ErrFork) || high.Head() != HashCharter(&third.Charter) {
		t.Errorf("another past: %v, epoch %d", err, high.Charter().Epoch)
	}
}

// Losers of forks are bounded, and what is kept does not depend on the order.
func TestN8_ManyForks(t *testing.T) {
	s := newSeat(t)
	for i := range 3 * maxRivals {
		c := newSeat(t)
		goOnWith(t, c.State, func(c *charter.Charter) { c.Written = int64(i) })
		if _, err := s.AddCharters(c.Papers(1)); err != nil {
			t.Fatal(err)
		}
	}
	papers := s.Papers(1)
	if len(papers) != 2+maxRivals {
		t.Errorf("%d papers", len(papers))
	}
	for i := 2; i < len(papers); i++ {
		before, after := HashCharter(&papers[i-1].Charter), HashCharter(&papers[i].Charter)
		if bytes.Compare(before[:], after[:]) >= 0 {
			t.Errorf("paper %d is not above the one before", i)
		}
	}
}

// The revoked device gets another name, by the same issuer or by another: it is its key that
// is revoked.
func TestN13_TheRevokedTakesAnotherName(t *testing.T) {
	s := newSeat(t)
	second := keyFrom('i', 1)
	goOnWith(t, s.State, func(c *charter.Charter) {
		c.Issuers = append(c.Issuers, wideIssuer(second))
		slices.SortFunc(c.Issuers, func(a, b charter.Issuer) int { return compareKeys(a.Key, b.Key) })
	})
	s.hear(t, entryBy(0, 7, 1, nothing), nil)
	s.add(t, revocationOf(0, 1), 0)
	wantMembers(t, s)
	for generation := range uint64(3) {
		s.hear(t, entryBy(0, 8, 2, func(p *charter.Passport) { p.Name, p.Serial, p.Generation = "oven-9", 77, generation }), ErrRevoked)
	}
	p := somePassport(func(p *charter.Passport) { p.Name = "oven-9" }).Passport
	s.hear(t, SignEntry(someMesh, entryOf(SignPassport(someMesh, p, second), 8, 2), keyFrom('d', 0)), ErrRevoked)
}

// A camera claims to store, to weigh more, and to be elsewhere: it is no member by that.
func TestN15_ACameraClaimsToStore(t *testing.T) {
	camera := func(p *charter.Passport) { p.Name, p.Caps, p.MaxWeight = "camera-1", charter.Member, 1 }
	s := newSeat(t)
	s.hear(t, entryBy(0, 7, 1, camera), nil)
	for name, change := range map[string]func(*wire.Entry){
		"store":     func(e *wire.Entry) { e.Storing = true },
		"weight":    func(e *wire.Entry) { e.Weight = 2 },
		"elsewhere": func(e *wire.Entry) { e.Zone = "line-9" },
		"passport":  func(e *wire.Entry) { e.Passport.Caps, e.Storing = charter.AllCaps, true },
	} {
		e := entryBy(0, 7, 1, camera).Entry
		e.Boot = 9
		change(&e)
		signed := SignEntry(someMesh, e, keyFrom('d', 0))
		if changed, err := s.entries.Merge(s.State, signed); changed || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantMembers(t, s, 7)
	if e := s.entries.All()[0]; e.Storing || e.Boot != 1 {
		t.Errorf("%+v", e)
	}
}

// What is signed as one kind of words is none of another, even where the bytes would read so.
func TestSignaturesAreOfOneKind(t *testing.T) {
	kinds := []string{charterKind, passportKind, statementKind, entryKind}
	for i, k := range kinds {
		for _, other := range kinds[i+1:] {
			if bytes.HasPrefix(beginSigned(k, someMesh), beginSigned(other, someMesh)) || bytes.HasPrefix(beginSigned(other, someMesh), beginSigned(k, someMesh)) {
				t.Errorf("%q and %q can be mistaken", k, other)
			}
		}
	}
}
