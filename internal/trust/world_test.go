package trust

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/identity/charter"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

var someMesh = view.MeshID{1, 15: 7}

// keyFrom returns a key for tests.
func keyFrom(kind byte, n int) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append([]byte{kind, byte(n)}, make([]byte, 30)...))
}

func keysFrom(kind byte, n int) (list []ed25519.PrivateKey) {
	for i := range n {
		list = append(list, keyFrom(kind, i))
	}
	return list
}

func publicOf(keys []ed25519.PrivateKey) (list []charter.Key) {
	for _, k := range keys {
		list = append(list, KeyOf(k))
	}
	slices.SortFunc(list, compareKeys)
	return list
}

var all = []string{"*"}

func wideIssuer(k ed25519.PrivateKey) charter.Issuer {
	return charter.Issuer{Key: KeyOf(k), Scope: charter.Scope{Names: all, Zones: all, Roles: all, Caps: charter.AllCaps, Max: 1000}}
}

// foundCharter is a charter of epoch 1 with so many roots, of which threshold sign.
func foundCharter(roots []ed25519.PrivateKey, threshold int, issuers []charter.Issuer, revokers []ed25519.PrivateKey) wire.SignedCharter {
	c := charter.Charter{Mesh: someMesh, Name: "plant", Shards: 271, Epoch: 1, Roots: publicOf(roots), Threshold: threshold, Issuers: slices.Clone(issuers)}
	slices.SortFunc(c.Issuers, func(a, b charter.Issuer) int { return compareKeys(a.Key, b.Key) })
	for _, k := range publicOf(revokers) {
		c.Revokers = append(c.Revokers, charter.Revoker{Key: k, Through: charter.InOffice})
	}
	return SignCharter(c, roots...)
}

func openState(t *testing.T, first wire.SignedCharter) *State {
	t.Helper()
	s, err := Open(HashCharter(&first.Charter), first)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// nextCharter is the charter after the newest of s, before anybody signs it.
func nextCharter(s *State, change func(*charter.Charter)) charter.Charter {
	c := s.Charter()
	c.Epoch, c.Prev = c.Epoch+1, s.Head()
	c.Roots, c.Issuers, c.Revokers = slices.Clone(c.Roots), slices.Clone(c.Issuers), slices.Clone(c.Revokers)
	change(&c)
	return c
}

func entryOf(p wire.SignedPassport, node view.NodeID, claim uint64) wire.Entry {
	return wire.Entry{Passport: p, Node: node, Claim: claim, Addr: netip.MustParseAddrPort("192.0.2.7:7946"), Zone: p.Zone, Weight: 1, Status: view.Active, Boot: 1, HLC: 1}
}

// stamps are what clocks at the edge show.
var stamps = []int64{0, 1, 1_700_000_000_000, 4_291_747_200_000, math.MinInt64, math.MaxInt64}

// site is one node of a world, and what it has had.
type site struct {
	*State
	entries *Entries
	side    int
	epoch   uint64
	floors  map[charter.Key]uint64
}

// world is a mesh whose authority writes charters, statements and passports while words
// are lost and reordered, and while it is cut in two.
type world struct {
	*testing.T
	seed     uint64
	rng      *rand.Rand
	roots    []ed25519.PrivateKey
	issuers  []ed25519.PrivateKey
	revokers []ed25519.PrivateKey
	devices  []ed25519.PrivateKey
	sites    []*site
	cut      bool
	wrote    [2]bool // a charter, on this side of the cut

	signed  map[string]bool // entries that devices have signed
	claims  map[int]uint64  // of devices
	offered []wire.SignedEntry
	seqs    map[charter.Key]uint64
	count   map[string]int
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		T: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 17)), roots: keysFrom('r', 5), issuers: keysFrom('i', 3), revokers: keysFrom('v', 3), devices: keysFrom('d', 4),
		signed: map[string]bool{}, claims: map[int]uint64{}, seqs: map[charter.Key]uint64{}, count: map[string]int{},
	}
	first := foundCharter(w.roots[:1+w.rng.IntN(3)], 1, []charter.Issuer{wideIssuer(w.issuers[0]), wideIssuer(w.issuers[1])}, w.revokers)
	for range 4 {
		w.sites = append(w.sites, &site{State: openState(t, first), entries: NewEntries(), floors: map[charter.Key]uint64{}})
	}
	return w
}

func (w *world) failf(format string, args ...any) {
	w.Helper()
	w.Fatalf("seed %d: %s", w.seed, fmt.Sprintf(format, args...))
}

func (w *world) stamp() int64 { return stamps[w.rng.IntN(len(stamps))] }

func (w *world) anySite() *site { return w.sites[w.rng.IntN(len(w.sites))] }

// newestOf returns a site with the newest charter of a side.
func (w *world) newestOf(side int) *site {
	var best *site
	for _, s := range w.sites {
		if s.side == side && (best == nil || s.Charter().Epoch > best.Charter().Epoch) {
			best = s
		}
	}
	return best
}

// changeCharter changes something of a charter.
func (w *world) changeCharter(c *charter.Charter) {
	c.Written = w.stamp()
	switch w.rng.IntN(6) {
	case 0:
		n := 1 + w.rng.IntN(len(w.roots))
		first := w.rng.IntN(len(w.roots) - n + 1)
		c.Roots = publicOf(w.roots[first : first+n])
		c.Threshold = 1 + w.rng.IntN(n)
	case 1, 2:
		if i := w.rng.IntN(len(c.Issuers) + 1); i < len(c.Issuers) {
			c.Issuers[i].MinGeneration = uint64(w.rng.IntN(4)) // may be lower than before
		}
	case 3:
		c.Issuers = nil
		for _, k := range w.issuers {
			if w.rng.IntN(3) > 0 {
				i := wideIssuer(k)
				if w.rng.IntN(2) == 0 {
					i.Scope = charter.Scope{Names: []string{"press-*"}, Zones: []string{"line-1"}, Roles: []string{"camera"}, Caps: charter.Member, Max: 3}
				}
				c.Issuers = append(c.Issuers, i)
			}
		}
		slices.SortFunc(c.Issuers, func(a, b charter.Issuer) int { return compareKeys(a.Key, b.Key) })
	default:
		c.Revokers = nil
		for _, k := range publicOf(w.revokers) {
			switch w.rng.IntN(4) {
			case 0:
			case 1:
				c.Revokers = append(c.Revokers, charter.Revoker{Key: k, Through: uint64(w.rng.IntN(4))})
			default:
				c.Revokers = append(c.Revokers, charter.Revoker{Key: k, Through: charter.InOffice})
			}
		}
	}
}

// signersFor returns the keys that must sign after prev: enough of both sets of roots.
func (w *world) signersFor(prev, next *charter.Charter) (keys []ed25519.PrivateKey) {
	old, own := 0, 0
	for _, i := range w.rng.Perm(len(w.roots)) {
		k := w.roots[i]
		before, after := slices.Contains(prev.Roots, KeyOf(k)), slices.Contains(next.Roots, KeyOf(k))
		if before && old < prev.Threshold || after && own < next.Threshold {
			keys = append(keys, k)
			if before {
				old++
			}
			if after {
				own++
			}
		}
	}
	return keys
}

func (w *world) writeCharter(side int) {
	if w.cut && w.wrote[side] {
		return
	}
	w.wrote[side] = true
	s := w.newestOf(side)
	prev := s.Charter()
	next := nextCharter(s.State, w.changeCharter)
	if _, err := s.AddCharters([]wire.SignedCharter{SignCharter(next, w.signersFor(&prev, &next)...)}); err != nil {
		w.failf("a charter by the rules: %v", err)
	}
	w.count["charter"]++
	w.check(s)
}

// forgeCharter tries what nobody may: each must change nothing.
func (w *world) forgeCharter(s *site) {
	head, c := s.Head(), s.Charter()
	next := nextCharter(s.State, w.changeCharter)
	thieves := keysFrom('x', 3)
	var forged wire.SignedCharter
	switch w.rng.IntN(5) {
	case 0: // new roots alone
		next.Roots, next.Threshold = publicOf(thieves), 1
		forged = SignCharter(next, thieves...)
	case 1: // another past
		next.Prev[0]++
		forged = SignCharter(next, w.roots...)
	case 2: // one key that stands for many
		next.Roots, next.Threshold = c.Roots, c.Threshold
		var one ed25519.PrivateKey
		for _, k := range w.roots {
			if slices.Contains(c.Roots, KeyOf(k)) {
				one = k
			}
		}
		if c.Threshold < 2 {
			return
		}
		forged = SignCharter(next, slices.Repeat([]ed25519.PrivateKey{one}, c.Threshold)...)
	case 3: // an epoch that is left out
		next.Epoch++
		forged = SignCharter(next, w.roots...)
	case 4: // another mesh
		next.Mesh[3]++
		forged = SignCharter(next, w.roots...)
	}
	_, err := s.AddCharters([]wire.SignedCharter{forged})
	if err == nil || s.Head() != head {
		w.failf("a forged charter was taken: %+v, %v", forged, err)
	}
	w.count["forged charter"]++
}

func (w *world) writeStatement(s *site) {
	signer := w.revokers[w.rng.IntN(len(w.revokers))]
	w.seqs[KeyOf(signer)]++
	st := charter.Statement{Seq: w.seqs[KeyOf(signer)], Reason: "r", Written: w.stamp()}
	switch st.Kind = charter.Kind(1 + w.rng.IntN(4)); st.Kind {
	case charter.RevokeDevice:
		st.Target, st.Number = KeyOf(w.devices[w.rng.IntN(len(w.devices))]), []uint64{0, 1, charter.AnyGeneration}[w.rng.IntN(3)]
	case charter.RevokeIssuer:
		st.Target, st.Number = KeyOf(w.issuers[w.rng.IntN(len(w.issuers))]), uint64(w.rng.IntN(3))
	case charter.RevokeToken:
		st.Target = charter.Key{byte(w.rng.IntN(5)), 1}
	case charter.EvictNode:
		st.Number = 1
		if n := len(w.offered); n > 0 {
			st.Number = uint64(w.offered[w.rng.IntN(n)].Node)
		}
	}
	signed := SignStatement(someMesh, st, signer)
	if counts, err := w.counts(s.Charter(), signed), s.CheckStatement(&signed); counts != (err == nil) {
		w.failf("a statement that counts %t: %v", counts, err)
	}
	if added, _ := s.AddStatement(signed); added {
		w.count[st.Kind.String()]++
	}
	w.check(s)
}

// counts is the rule about signers, written down once more.
func (w *world) counts(c charter.Charter, st wire.SignedStatement) bool {
	for _, r := range c.Revokers {
		if r.Key != st.Signer || st.Seq > r.Through {
			continue
		}
		open := len(c.Issuers) == 0
		for _, i := range c.Issuers {
			if st.Kind == charter.RevokeIssuer && i.Key == st.Target && i.MinGeneration > st.Number {
				return false
			}
			open = open || i.MinGeneration <= st.Number
		}
		return open || st.Kind != charter.RevokeDevice
	}
	return false
}

func (w *world) speak(s *site) {
	d := w.rng.IntN(len(w.devices))
	pick := func(list ...string) string { return list[w.rng.IntN(len(list))] }
	p := charter.Passport{
		Generation: uint64(w.rng.IntN(5)), Serial: uint64(w.rng.IntN(6)), Device: KeyOf(w.devices[d]), Name: pick("press-1", "oven-1"),
		Zone: pick("", "line-1", "line-2"), Roles: []string{pick("camera", "press")}, Caps: charter.Caps(w.rng.IntN(4)) | charter.Member, MaxWeight: 1 + w.rng.IntN(3),
	}
	issuer := w.issuers[w.rng.IntN(len(w.issuers))]
	careful := w.rng.IntN(3) > 0 // mostly good, by what this node knows
	if careful {
		p.Generation = max(p.Generation, s.MinGeneration(KeyOf(issuer)))
		p.Serial, p.Name, p.Zone, p.Roles[0] = 1, "press-1", "line-1", "camera"
	}
	passport := SignPassport(someMesh, p, issuer)
	if w.claims[d] == 0 || w.rng.IntN(3) == 0 {
		w.claims[d]++
	}
	e := entryOf(passport, view.NodeID(uint64(d+1)<<32|w.claims[d]), w.claims[d])
	e.Storing, e.Weight, e.Boot, e.HLC = w.rng.IntN(2) == 0, 1+w.rng.IntN(3), uint64(w.rng.IntN(3)), version.HLC(w.rng.IntN(1000))
	if careful {
		e.Storing, e.Weight = e.Storing && p.Caps&charter.Store != 0, 1
	} else if w.rng.IntN(4) == 0 {
		e.Zone = "line-1"
	}
	signed := SignEntry(someMesh, e, w.devices[d])
	w.signed[string(wire.AppendEntry(nil, &e))] = true
	w.offered = append(w.offered, signed)
	good := w.good(s.State, &e)
	if changed, err := s.entries.Merge(s.State, signed); changed && !good {
		w.failf("an entry that is not good was taken: %+v", e)
	} else if err != nil && good {
		w.failf("an entry that is good was refused: %+v, %v", e, err)
	} else if changed {
		w.count["entry"]++
	}
	if err := s.CheckEntry(&signed); (err == nil) != good {
		w.failf("good %t, and %v: %+v", good, err, e)
	}
	w.check(s)
}

// good is the verdict about an entry, written down once more.
func (w *world) good(s *State, e *wire.Entry) bool {
	p, c := &e.Passport.Passport, s.Charter()
	ok := false
	for _, i := range c.Issuers {
		if i.Key != p.Issuer {
			continue
		}
		ok = p.Generation >= s.MinGeneration(i.Key) && p.Serial >= 1 && p.Serial <= i.Scope.Max
		if i.Scope.Caps == charter.Member {
			ok = ok && strings.HasPrefix(p.Name, "press-") && p.Zone == "line-1" && p.Roles[0] == "camera" && p.Caps == charter.Member
		}
	}
	for _, st := range s.Statements() {
		if !w.counts(c, st) {
			continue
		}
		switch st.Kind {
		case charter.RevokeDevice:
			ok = ok && st.Target != p.Device
		case charter.RevokeIssuer:
			ok = ok && (st.Target != p.Issuer || p.Generation > st.Number)
		case charter.EvictNode:
			ok = ok && view.NodeID(st.Number) != e.Node
		}
	}
	return ok && (!e.Storing || p.Caps&charter.Store != 0) && e.Weight <= p.MaxWeight && (p.Zone == "" || e.Zone == p.Zone)
}

// forgeEntry changes what a device has said, or says it for another.
func (w *world) forgeEntry(s *site) {
	if len(w.offered) == 0 {
		return
	}
	e := w.offered[w.rng.IntN(len(w.offered))]
	switch w.rng.IntN(5) {
	case 0:
		e.Storing, e.Passport.Caps = true, charter.AllCaps
	case 1:
		e.Claim += 7
	case 2:
		e.Addr = netip.MustParseAddrPort("192.0.2.99:1")
	case 3:
		e.Boot = 1 << 62
		e = SignEntry(someMesh, e.Entry, w.devices[w.rng.IntN(len(w.devices))])
		if KeyOf(w.devices[0]) == e.Passport.Device || w.signedBy(e) {
			return
		}
	case 4:
		e.Passport.Name = "press-9"
	}
	if w.signed[string(wire.AppendEntry(nil, &e.Entry))] {
		return
	}
	if changed, _ := s.entries.Merge(s.State, e); changed {
		w.failf("a forged entry was taken: %+v", e)
	}
	w.count["forged entry"]++
}

func (w *world) signedBy(e wire.SignedEntry) bool {
	return verifyKey(e.Passport.Device, entryBytes(someMesh, &e.Entry), e.Sig)
}

// exchange hands over part of what one site has to another, in any order.
func (w *world) exchange(from, to *site, loss float64) {
	lost := func() bool { return w.rng.Float64() < loss }
	start := uint64(1)
	if loss > 0 {
		start += uint64(w.rng.IntN(3))
	}
	steps := []func(){func() {
		papers := slices.DeleteFunc(from.Papers(start), func(wire.SignedCharter) bool { return lost() })
		forks, _ := to.AddCharters(papers)
		w.count["fork"] += len(forks)
	}}
	for _, st := range from.Statements() {
		steps = append(steps, func() { to.AddStatement(st) })
	}
	for _, e := range from.entries.All() {
		steps = append(steps, func() { to.entries.Merge(to.State, e) })
	}
	w.rng.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
	for _, step := range steps {
		if !lost() {
			step()
		}
	}
	w.check(to)
}

// check holds one site to what is true at any time.
func (w *world) check(s *site) {
	w.Helper()
	c := s.Charter()
	if c.Epoch < s.epoch {
		w.failf("T1: epoch %d after %d", c.Epoch, s.epoch)
	}
	s.epoch = c.Epoch
	for _, k := range publicOf(w.issuers) {
		if s.MinGeneration(k) < s.floors[k] {
			w.failf("T1: generation %d after %d", s.MinGeneration(k), s.floors[k])
		}
		s.floors[k] = s.MinGeneration(k)
	}
	for i, l := range s.chain {
		if l.Epoch != uint64(i+1) || i > 0 && l.Prev != HashCharter(&s.chain[i-1].Charter) {
			w.failf("T1: the chain is broken at epoch %d", l.Epoch)
		}
		for _, issuer := range l.Issuers {
			if s.MinGeneration(issuer.Key) < issuer.MinGeneration {
				w.failf("T1: the floor is %d, and epoch %d says %d", s.MinGeneration(issuer.Key), l.Epoch, issuer.MinGeneration)
			}
		}
	}
	for _, st := range s.Statements() {
		if !w.counts(c, st) && (c.Epoch == 1 || !w.counts(s.chain[c.Epoch-2].Charter, st)) {
			w.failf("T2: a statement that does not count is kept: %+v", st)
		}
	}
	for _, e := range s.entries.All() {
		if !w.signed[string(wire.AppendEntry(nil, &e.Entry))] {
			w.failf("T4: an entry that its device has not signed: %+v", e)
		}
	}
	for _, e := range s.entries.Members(s.State) {
		if !w.good(s.State, &e.Entry) {
			w.failf("T5: a member that is not good: %+v", e)
		}
	}
}

// heal ends the cut and hands everything to everybody.
func (w *world) heal() {
	type held struct {
		wire.SignedStatement
		epoch uint64
	}
	var before []held
	for _, s := range w.sites {
		s.side = 0
		for _, st := range s.Statements() {
			before = append(before, held{st, s.Charter().Epoch})
		}
	}
	w.cut, w.wrote = false, [2]bool{}
	for range 3 {
		for _, from := range w.sites {
			for _, to := range w.sites {
				w.exchange(from, to, 0)
			}
		}
	}
	first := w.sites[0]
	for _, s := range w.sites[1:] {
		if s.Head() != first.Head() {
			w.failf("T1: epochs %d and %d of two pasts after a heal", s.Charter().Epoch, first.Charter().Epoch)
		}
		if s.Sum() != first.Sum() {
			w.failf("T2: statements differ after a heal")
		}
		w.sameMembers(first, s)
	}
	for _, st := range before {
		stays := true // by every charter since
		for _, l := range first.chain[st.epoch-1:] {
			stays = stays && w.counts(l.Charter, st.SignedStatement)
		}
		if stays && !slices.ContainsFunc(first.Statements(), func(o wire.SignedStatement) bool { return idOfStatement(&o.Statement) == idOfStatement(&st.Statement) }) {
			w.failf("T2: a statement is lost: %+v", st)
		}
	}
	w.count["heal"]++
}

func (w *world) sameMembers(a, b *site) {
	one, other := a.entries.Members(a.State), b.entries.Members(b.State)
	same := func(x, y wire.SignedEntry) bool {
		return bytes.Equal(wire.AppendSignedEntry(nil, x), wire.AppendSignedEntry(nil, y))
	}
	if !slices.EqualFunc(one, other, same) {
		w.failf("T6: members differ after a heal:\n%+v\n%+v", one, other)
	}
	devices, nodes := map[charter.Key]bool{}, map[view.NodeID]bool{}
	for _, e := range one {
		if devices[e.Passport.Device] || nodes[e.Node] {
			w.failf("T6: a device or a node twice: %+v", e)
		}
		devices[e.Passport.Device], nodes[e.Node] = true, true
	}
}
