package trust

import (
	"crypto/ed25519"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/identity/charter"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// a plant has three roots, of which two sign, an issuer and two revokers.
var (
	plantRoots    = keysFrom('r', 3)
	plantIssuer   = keyFrom('i', 0)
	plantRevokers = keysFrom('v', 2)
)

func plant() wire.SignedCharter {
	return foundCharter(plantRoots, 2, []charter.Issuer{wideIssuer(plantIssuer)}, plantRevokers)
}

// goOnWith has two roots sign what follows on the newest charter.
func goOnWith(t *testing.T, s *State, change func(*charter.Charter)) wire.SignedCharter {
	t.Helper()
	c := SignCharter(nextCharter(s, change), plantRoots[:2]...)
	if _, err := s.AddCharters([]wire.SignedCharter{c}); err != nil {
		t.Fatal(err)
	}
	return c
}

func somePassport(change func(*charter.Passport)) wire.SignedPassport {
	p := charter.Passport{Generation: 1, Serial: 1, Device: KeyOf(keyFrom('d', 0)), Name: "press-1", Zone: "line-1", Caps: charter.Member | charter.Store, MaxWeight: 2}
	change(&p)
	return SignPassport(someMesh, p, plantIssuer)
}

func nothing[T any](*T) {}

func TestT1_ChartersGoOnByTheRules(t *testing.T) {
	own := keysFrom('n', 2)
	for name, c := range map[string]struct {
		change func(*charter.Charter)
		keys   []ed25519.PrivateKey
		want   error
	}{
		"two of three":              {nothing[charter.Charter], plantRoots[:2], nil},
		"all":                       {nothing[charter.Charter], plantRoots, nil},
		"one":                       {nothing[charter.Charter], plantRoots[:1], ErrCharter},
		"nobody":                    {nothing[charter.Charter], nil, ErrCharter},
		"one key twice":             {nothing[charter.Charter], []ed25519.PrivateKey{plantRoots[0], plantRoots[0]}, ErrCharter},
		"one and a stranger":        {nothing[charter.Charter], []ed25519.PrivateKey{plantRoots[0], own[0]}, ErrCharter},
		"new roots with the old":    {func(c *charter.Charter) { c.Roots = publicOf(own) }, append(own, plantRoots[:2]...), nil},
		"new roots alone":           {func(c *charter.Charter) { c.Roots = publicOf(own) }, own, ErrCharter},
		"new roots have not signed": {func(c *charter.Charter) { c.Roots = publicOf(own) }, plantRoots, ErrCharter},
		"one new root has signed":   {func(c *charter.Charter) { c.Roots = publicOf(own) }, append(own[:1:1], plantRoots...), ErrCharter},
		"more must sign":            {func(c *charter.Charter) { c.Threshold = 3 }, plantRoots[:2], ErrCharter},
		"more must sign, and have":  {func(c *charter.Charter) { c.Threshold = 3 }, plantRoots, nil},
		"nobody must sign":          {func(c *charter.Charter) { c.Threshold = 0 }, plantRoots, ErrCharter},
		"more than there are":       {func(c *charter.Charter) { c.Threshold = 4 }, plantRoots, ErrCharter},
		"a root twice":              {func(c *charter.Charter) { c.Roots[1] = c.Roots[0] }, plantRoots, ErrCharter},
		"an epoch too far":          {func(c *charter.Charter) { c.Epoch++ }, plantRoots, ErrGap},
		"epoch 0":                   {func(c *charter.Charter) { c.Epoch = 0 }, plantRoots, ErrGap},
		"epoch 1 again":             {func(c *charter.Charter) { c.Epoch, c.Prev, c.Written = 1, charter.Hash{}, 1 }, plantRoots, ErrFork},
		"another past":              {func(c *charter.Charter) { c.Prev[0]++ }, plantRoots, ErrCharter},
		"another mesh":              {func(c *charter.Charter) { c.Mesh[0]++ }, plantRoots, ErrCharter},
		"another name":              {func(c *charter.Charter) { c.Name += "x" }, plantRoots, ErrCharter},
		"other shards":              {func(c *charter.Charter) { c.Shards++ }, plantRoots, ErrCharter},
	} {
		s := openState(t, plant())
		_, err := s.AddCharters([]wire.SignedCharter{SignCharter(nextCharter(s, c.change), c.keys...)})
		if c.want == nil && (err != nil || s.Charter().Epoch != 2) || c.want != nil && (!errors.Is(err, c.want) || s.Charter().Epoch != 1) {
			t.Errorf("%s: %v, epoch %d, want %v", name, err, s.Charter().Epoch, c.want)
		}
	}
}

// A charter of an earlier epoch does not follow on the newest, whoever signs it.
func TestT1_AnEarlierEpochDoesNotFollow(t *testing.T) {
	s := openState(t, plant())
	for range 3 {
		goOnWith(t, s, nothing)
	}
	head := s.Head()
	for epoch := range uint64(5) {
		c := SignCharter(nextCharter(s, func(c *charter.Charter) { c.Epoch = epoch }), plantRoots...)
		if _, err := s.AddCharters([]wire.SignedCharter{c}); err == nil || s.Head() != head {
			t.Errorf("epoch %d after 4: %v", epoch, err)
		}
	}
}

// A signature is made over the whole charter.
func TestT1_SignaturesOfAnotherCharter(t *testing.T) {
	s := openState(t, plant())
	c := SignCharter(nextCharter(s, nothing), plantRoots...)
	c.Issuers[0].MinGeneration++
	if _, err := s.AddCharters([]wire.SignedCharter{c}); !errors.Is(err, ErrCharter) || s.Charter().Epoch != 1 {
		t.Errorf("epoch %d, %v", s.Charter().Epoch, err)
	}
}

// The first charter is the one that was pinned, and its own roots have signed it.
func TestT1_TheFirstCharterIsPinned(t *testing.T) {
	good := plant()
	pin := HashCharter(&good.Charter)
	unsigned := good
	unsigned.Signatures = unsigned.Signatures[:1]
	later := good.Charter
	later.Epoch = 2
	for name, c := range map[string]struct {
		pin   charter.Hash
		first wire.SignedCharter
	}{
		"another pin":   {charter.Hash{1}, good},
		"too few roots": {pin, unsigned},
		"epoch 2":       {HashCharter(&later), SignCharter(later, plantRoots...)},
	} {
		if _, err := Open(c.pin, c.first); !errors.Is(err, ErrCharter) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(pin, good); err != nil {
		t.Error(err)
	}
}

// A generation that a charter has retired stays so, whatever later ones say.
func TestT1_FloorsNeverFall(t *testing.T) {
	s := openState(t, plant())
	goOnWith(t, s, func(c *charter.Charter) { c.Issuers[0].MinGeneration = 5 })
	goOnWith(t, s, func(c *charter.Charter) { c.Issuers[0].MinGeneration = 2 })
	for generation, want := range map[uint64]bool{2: false, 4: false, 5: true, 6: true} {
		p := somePassport(func(p *charter.Passport) { p.Generation = generation })
		if err := s.CheckPassport(&p); (err == nil) != want {
			t.Errorf("generation %d: %v", generation, err)
		}
	}
}

func TestT2_StatementsThatDoNotCount(t *testing.T) {
	good := charter.Statement{Kind: charter.RevokeDevice, Target: charter.Key{1}, Number: charter.AnyGeneration, Seq: 1}
	for name, c := range map[string]struct {
		change func(*charter.Statement)
		signer ed25519.PrivateKey
		want   bool
	}{
		"by a revoker":       {nothing[charter.Statement], plantRevokers[0], true},
		"by a stranger":      {nothing[charter.Statement], keyFrom('x', 0), false},
		"by an issuer":       {nothing[charter.Statement], plantIssuer, false},
		"by a root":          {nothing[charter.Statement], plantRoots[0], false},
		"without a kind":     {func(s *charter.Statement) { s.Kind = 0 }, plantRevokers[0], false},
		"of an unknown kind": {func(s *charter.Statement) { s.Kind = 5 }, plantRevokers[0], false},
		"about nothing":      {func(s *charter.Statement) { s.Target = charter.Key{} }, plantRevokers[0], false},
		"without a number":   {func(s *charter.Statement) { s.Seq = 0 }, plantRevokers[0], false},
		"evicts a node":      {func(s *charter.Statement) { s.Kind, s.Target, s.Number = charter.EvictNode, charter.Key{}, 7 }, plantRevokers[0], true},
		"evicts nobody":      {func(s *charter.Statement) { s.Kind, s.Target, s.Number = charter.EvictNode, charter.Key{}, 0 }, plantRevokers[0], false},
		"evicts a key":       {func(s *charter.Statement) { s.Kind = charter.EvictNode }, plantRevokers[0], false},
		"a numbered token":   {func(s *charter.Statement) { s.Kind = charter.RevokeToken }, plantRevokers[0], false},
	} {
		st := good
		c.change(&st)
		s := openState(t, plant())
		signed := SignStatement(someMesh, st, c.signer)
		if err := s.CheckStatement(&signed); (err == nil) != c.want {
			t.Errorf("%s: %v", name, err)
		}
		if added, err := s.AddStatement(signed); added != c.want || (err == nil) != c.want {
			t.Errorf("%s: added %t, %v", name, added, err)
		}
		forged := signed
		forged.Reason += "!"
		s = openState(t, plant())
		if added, err := s.AddStatement(forged); added || !errors.Is(err, ErrStatement) {
			t.Errorf("%s, forged: added %t, %v", name, added, err)
		}
	}
}

// When the set is full, revocations enter in place of tokens', and none is ever dropped.
// What is left of the tokens' does not depend on the order.
func TestT2_AFullSetStillRevokes(t *testing.T) {
	var list []wire.SignedStatement
	for i := range 6 {
		token := charter.Statement{Kind: charter.RevokeToken, Target: charter.Key{byte(i + 1)}, Seq: uint64(i + 1)}
		device := charter.Statement{Kind: charter.RevokeDevice, Target: charter.Key{byte(i + 1)}, Number: charter.AnyGeneration, Seq: uint64(i + 10)}
		list = append(list, SignStatement(someMesh, token, plantRevokers[0]))
		if i < 4 {
			list = append(list, SignStatement(someMesh, device, plantRevokers[1]))
		}
	}
	var sum [32]byte
	for seed := range 20 {
		s := openState(t, plant())
		s.limit = 6
		rand.New(rand.NewPCG(uint64(seed), 1)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		for _, st := range list {
			if _, err := s.AddStatement(st); err != nil && !(errors.Is(err, ErrFull) && st.Kind == charter.RevokeToken) {
				t.Fatalf("%v: %v", st.Kind, err)
			}
		}
		for i := range 4 {
			if !s.IsRevoked(charter.Key{byte(i + 1)}) {
				t.Errorf("device %d is not revoked", i)
			}
		}
		if !s.IsTokenRevoked(charter.Key{1}) || !s.IsTokenRevoked(charter.Key{2}) || s.IsTokenRevoked(charter.Key{3}) {
			t.Error("other tokens are revoked than the first two")
		}
		if seed > 0 && s.Sum() != sum {
			t.Error("the order of statements is seen in the set")
		}
		sum = s.Sum()
		for i := range 2 {
			more := charter.Statement{Kind: charter.EvictNode, Number: uint64(i + 1), Seq: 20}
			if _, err := s.AddStatement(SignStatement(someMesh, more, plantRevokers[0])); err != nil {
				t.Fatal(err)
			}
		}
		for _, st := range []charter.Statement{{Kind: charter.EvictNode, Number: 9, Seq: 20}, {Kind: charter.RevokeDevice, Target: charter.Key{9}, Seq: 21}} {
			if _, err := s.AddStatement(SignStatement(someMesh, st, plantRevokers[0])); !errors.Is(err, ErrFull) || !s.IsEvicted(1) || !s.IsEvicted(2) {
				t.Errorf("%v in a full set: %v", st.Kind, err)
			}
		}
	}
}

// A charter that retires the generations that a statement speaks of makes room, once it is
// final.
func TestT2_ACharterDropsWhatItCovers(t *testing.T) {
	s := openState(t, plant())
	for i, st := range []charter.Statement{
		{Kind: charter.RevokeIssuer, Target: KeyOf(plantIssuer), Number: 1},
		{Kind: charter.RevokeIssuer, Target: KeyOf(plantIssuer), Number: 2},
		{Kind: charter.RevokeDevice, Target: charter.Key{1}, Number: 1},
		{Kind: charter.RevokeDevice, Target: charter.Key{2}, Number: 2},
		{Kind: charter.RevokeDevice, Target: charter.Key{3}, Number: charter.AnyGeneration},
		{Kind: charter.EvictNode, Number: 1},
	} {
		st.Seq = uint64(i + 1)
		if _, err := s.AddStatement(SignStatement(someMesh, st, plantRevokers[0])); err != nil {
			t.Fatal(err)
		}
	}
	goOnWith(t, s, func(c *charter.Charter) { c.Issuers[0].MinGeneration = 2 })
	if n := len(s.Statements()); n != 6 || s.IsRevoked(charter.Key{1}) || !s.IsRevoked(charter.Key{2}) {
		t.Errorf("%d statements", n)
	}
	goOnWith(t, s, nothing)
	if n := len(s.Statements()); n != 4 || !s.IsRevoked(charter.Key{2}) || !s.IsRevoked(charter.Key{3}) || !s.IsEvicted(1) {
		t.Errorf("%d statements", n)
	}
}

func TestT5_PassportsWithinTheScope(t *testing.T) {
	first := plant()
	c := first.Charter
	c.Issuers[0].Scope = charter.Scope{Names: []string{"press-?", "oven-*"}, Zones: []string{"line-*"}, Roles: []string{"camera"}, Caps: charter.Member | charter.Store, Max: 3}
	c.Issuers[0].MinGeneration = 1
	s := openState(t, SignCharter(c, plantRoots...))
	for name, row := range map[string]struct {
		change func(*charter.Passport)
		want   bool
	}{
		"all is covered":       {nothing[charter.Passport], true},
		"another name":         {func(p *charter.Passport) { p.Name = "press-10" }, false},
		"a name by the second": {func(p *charter.Passport) { p.Name = "oven-10" }, true},
		"no name":              {func(p *charter.Passport) { p.Name = "" }, false},
		"a name that is none":  {func(p *charter.Passport) { p.Name = "oven-\x1b" }, false},
		"another zone":         {func(p *charter.Passport) { p.Zone = "office" }, false},
		"a free zone":          {func(p *charter.Passport) { p.Zone = "" }, false},
		"a role":               {func(p *charter.Passport) { p.Roles = []string{"camera"} }, true},
		"another role":         {func(p *charter.Passport) { p.Roles = []string{"camera", "admin"} }, false},
		"another capability":   {func(p *charter.Passport) { p.Caps |= charter.Operate }, false},
		"the last serial":      {func(p *charter.Passport) { p.Serial = 3 }, true},
		"one too many":         {func(p *charter.Passport) { p.Serial = 4 }, false},
		"serial 0":             {func(p *charter.Passport) { p.Serial = 0 }, false},
		"generation 0":         {func(p *charter.Passport) { p.Generation = 0 }, false},
		"too heavy":            {func(p *charter.Passport) { p.MaxWeight = 9 }, false},
		"no weight":            {func(p *charter.Passport) { p.MaxWeight = 0 }, false},
	} {
		p := somePassport(row.change)
		if err := s.CheckPassport(&p); (err == nil) != row.want {
			t.Errorf("%s: %v", name, err)
		}
		p.Sig[0]++
		if err := s.CheckPassport(&p); err == nil {
			t.Errorf("%s: forged", name)
		}
	}
	stranger := SignPassport(someMesh, somePassport(nothing).Passport, keyFrom('x', 1))
	abroad := SignPassport(view.MeshID{9}, somePassport(nothing).Passport, plantIssuer)
	for name, p := range map[string]wire.SignedPassport{"no issuer": stranger, "of another mesh": abroad} {
		if err := s.CheckPassport(&p); !errors.Is(err, ErrPassport) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestT4_T5_EntriesWithinThePassport(t *testing.T) {
	device := keyFrom('d', 0)
	for name, row := range map[string]struct {
		passport func(*charter.Passport)
		change   func(*wire.Entry)
		key      ed25519.PrivateKey
		want     bool
	}{
		"all is covered":        {nothing[charter.Passport], nothing[wire.Entry], device, true},
		"another device signs":  {nothing[charter.Passport], nothing[wire.Entry], keyFrom('d', 1), false},
		"the issuer signs":      {nothing[charter.Passport], nothing[wire.Entry], plantIssuer, false},
		"a store":               {nothing[charter.Passport], func(e *wire.Entry) { e.Storing = true }, device, true},
		"a store without leave": {func(p *charter.Passport) { p.Caps = charter.Member }, func(e *wire.Entry) { e.Storing = true }, device, false},
		"no member":             {func(p *charter.Passport) { p.Caps = charter.Store }, nothing[wire.Entry], device, false},
		"all the weight":        {nothing[charter.Passport], func(e *wire.Entry) { e.Weight = 2 }, device, true},
		"too much weight":       {nothing[charter.Passport], func(e *wire.Entry) { e.Weight = 3 }, device, false},
		"no weight":             {nothing[charter.Passport], func(e *wire.Entry) { e.Weight = 0 }, device, false},
		"another zone":          {nothing[charter.Passport], func(e *wire.Entry) { e.Zone = "line-2" }, device, false},
		"a free zone":           {func(p *charter.Passport) { p.Zone = "" }, func(e *wire.Entry) { e.Zone = "line-2" }, device, true},
		"no node":               {nothing[charter.Passport], func(e *wire.Entry) { e.Node = 0 }, device, false},
		"no claim":              {nothing[charter.Passport], func(e *wire.Entry) { e.Claim = 0 }, device, false},
		"its own predecessor":   {nothing[charter.Passport], func(e *wire.Entry) { e.Predecessor = e.Node }, device, false},
	} {
		s := openState(t, plant())
		e := entryOf(somePassport(row.passport), 7, 1)
		row.change(&e)
		signed := SignEntry(someMesh, e, row.key)
		if changed, err := NewEntries().Merge(s, signed); changed != row.want || (err == nil) != row.want {
			t.Errorf("%s: %t, %v", name, changed, err)
		}
	}
	abroad := SignEntry(view.MeshID{9}, entryOf(somePassport(nothing), 7, 1), device)
	if changed, err := NewEntries().Merge(openState(t, plant()), abroad); changed || !errors.Is(err, ErrEntry) {
		t.Errorf("of another mesh: %t, %v", changed, err)
	}
}

// Of what one device says the highest claim holds, then boot, then date.
func TestT6_TheHighestClaimHolds(t *testing.T) {
	device, s := keyFrom('d', 0), openState(t, plant())
	var list []wire.SignedEntry
	for _, c := range [][3]uint64{{1, 1, 1}, {1, 1, 2}, {1, 2, 1}, {1, 9, 9}, {2, 1, 1}, {2, 1, 2}, {2, 2, 1}} {
		e := entryOf(somePassport(nothing), view.NodeID(c[0]), c[0])
		e.Boot, e.HLC = c[1], version.HLC(c[2])
		list = append(list, SignEntry(someMesh, e, device))
	}
	for i := range list {
		for j := range list {
			entries := NewEntries()
			for _, k := range []int{i, j} {
				if _, err := entries.Merge(s, list[k]); err != nil {
					t.Fatal(err)
				}
			}
			if got := entries.All(); len(got) != 1 || got[0].Sig != list[max(i, j)].Sig {
				t.Errorf("%d and %d: %+v", i, j, got)
			}
		}
	}
}

// Nobody takes the NodeID of another device.
func TestT6_NodeIDsOfOthers(t *testing.T) {
	s, entries := openState(t, plant()), NewEntries()
	for i, want := range []error{nil, ErrTaken} {
		p := somePassport(func(p *charter.Passport) { p.Device = KeyOf(keyFrom('d', i)) })
		_, err := entries.Merge(s, SignEntry(someMesh, entryOf(p, 7, uint64(i+1)), keyFrom('d', i)))
		if !errors.Is(err, want) {
			t.Errorf("device %d: %v", i, err)
		}
	}
}

// Devices that are gone leave their room to others.
func TestT6_EntriesAreBounded(t *testing.T) {
	s, entries := openState(t, plant()), NewEntries()
	entries.limit = 2
	for i, want := range []error{nil, nil, ErrEntry, nil} {
		if i == 3 {
			st := charter.Statement{Kind: charter.RevokeDevice, Target: KeyOf(keyFrom('d', 0)), Seq: 1, Number: charter.AnyGeneration}
			if _, err := s.AddStatement(SignStatement(someMesh, st, plantRevokers[0])); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := entries.Merge(s, entryBy(i, view.NodeID(i+1), 1, func(*charter.Passport) {})); !errors.Is(err, want) {
			t.Errorf("device %d: %v", i, err)
		}
	}
	if n := len(entries.All()); n != 2 {
		t.Errorf("%d entries", n)
	}
}

// No verdict depends on when something was written.
func TestT7_NoVerdictDependsOnTime(t *testing.T) {
	for _, stamp := range append(stamps, math.MaxInt64-1) {
		c := plant().Charter
		c.Written = stamp
		s := openState(t, SignCharter(c, plantRoots...))
		goOnWith(t, s, func(c *charter.Charter) { c.Written = -stamp })
		revoked := charter.Statement{Kind: charter.RevokeDevice, Target: KeyOf(keyFrom('d', 1)), Number: charter.AnyGeneration, Seq: 1, Written: stamp}
		if added, err := s.AddStatement(SignStatement(someMesh, revoked, plantRevokers[0])); !added || err != nil {
			t.Fatal(err)
		}
		for i, want := range []error{nil, ErrRevoked} {
			p := somePassport(func(p *charter.Passport) { p.Device = KeyOf(keyFrom('d', i)) })
			if err := s.CheckPassport(&p); !errors.Is(err, want) {
				t.Errorf("stamp %d, device %d: %v", stamp, i, err)
			}
		}
	}
}

// The key that a secret yields is root, issuer and revoker of the first charter, and the
// same machinery goes on from there.
func TestSecretMode(t *testing.T) {
	authority := keyFrom('s', 0)
	first := FoundBySecret(someMesh, "plant", 271, [32]byte{1}, authority)
	again := FoundBySecret(someMesh, "plant", 271, [32]byte{1}, authority)
	if HashCharter(&first.Charter) != HashCharter(&again.Charter) {
		t.Error("two nodes come to two charters")
	}
	s := openState(t, first)
	p := SignPassport(someMesh, charter.Passport{Serial: 1, Device: KeyOf(keyFrom('d', 0)), Name: "press-1", Caps: charter.AllCaps, MaxWeight: 8}, authority)
	e := SignEntry(someMesh, entryOf(p, 7, 1), keyFrom('d', 0))
	if err := s.CheckEntry(&e); err != nil {
		t.Error(err)
	}
	// The secret is rotated: the charter is signed by the old key and the new one.
	fresh := keyFrom('s', 1)
	next := nextCharter(s, func(c *charter.Charter) {
		c.Roots, c.Issuers, c.Revokers = publicOf([]ed25519.PrivateKey{fresh}), []charter.Issuer{wideIssuer(fresh)}, nil
	})
	if _, err := s.AddCharters([]wire.SignedCharter{SignCharter(next, fresh)}); !errors.Is(err, ErrCharter) {
		t.Errorf("the new secret alone: %v", err)
	}
	if _, err := s.AddCharters([]wire.SignedCharter{SignCharter(next, authority, fresh)}); err != nil {
		t.Error(err)
	}
	if err := s.CheckEntry(&e); !errors.Is(err, ErrPassport) {
		t.Errorf("after the rotation: %v", err)
	}
}
