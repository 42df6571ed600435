package trust

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/identity/charter"
	"github.com/skeinmesh/skein/mesh/view"
)

// State is what a node knows of who has a say in its mesh, and of what they said.
type State struct {
	mesh   view.MeshID
	chain  []*link // of epoch 1, 2, ...: never empty
	rivals map[charter.Hash]*link
	floors map[charter.Key]uint64 // by issuer, the lowest generation that counts

	statements map[statementID]wire.SignedStatement
	standing   map[subject]uint64 // what statements are about, with the highest Number
	limit      int                // of statements
}

// Open returns the state of a node that was given the hash of the charter of epoch 1, and
// has now been given that charter.
func Open(pin charter.Hash, first wire.SignedCharter) (*State, error) {
	l := &link{first, HashCharter(&first.Charter)}
	if l.hash != pin {
		return nil, fmt.Errorf("trust: %w: the first is %v, not %v", ErrCharter, l.hash, pin)
	}
	if first.Epoch != 1 || first.Prev != (charter.Hash{}) {
		return nil, fmt.Errorf("trust: %w: the first is of epoch %d", ErrCharter, first.Epoch)
	}
	if err := checkCharter(&first.Charter); err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	if n := countSigners(&first, charterBytes(first.Mesh, &first.Charter), first.Roots); n < first.Threshold {
		return nil, fmt.Errorf("trust: %w: %d of its roots have signed the first, not %d", ErrCharter, n, first.Threshold)
	}
	s := &State{
		mesh: first.Mesh, chain: []*link{l}, rivals: make(map[charter.Hash]*link), floors: make(map[charter.Key]uint64),
		statements: make(map[statementID]wire.SignedStatement), standing: make(map[subject]uint64), limit: MaxStatements,
	}
	s.raiseFloors(l)
	return s, nil
}

// FoundBySecret returns the charter of epoch 1 of a mesh that has a secret: whoever holds
// it may do all that an authority may. All nodes of the mesh come to the same.
func FoundBySecret(mesh view.MeshID, name string, shards int, knock [32]byte, authority ed25519.PrivateKey) wire.SignedCharter {
	key := KeyOf(authority)
	all := []string{"*"}
	return SignCharter(charter.Charter{
		Mesh: mesh, Name: name, Shards: shards, Epoch: 1, Roots: []charter.Key{key}, Threshold: 1,
		Issuers:  []charter.Issuer{{Key: key, Scope: charter.Scope{Names: all, Zones: all, Roles: all, Caps: charter.AllCaps, Max: charter.AnyGeneration}}},
		Revokers: []charter.Revoker{{Key: key, Through: charter.InOffice}}, SecretMode: true, Knock: knock,
	}, authority)
}

func (s *State) newestLink() *link { return s.chain[len(s.chain)-1] }

// Charter returns the newest charter. The caller changes nothing in it.
func (s *State) Charter() charter.Charter { return s.newestLink().Charter }

// Head returns the hash of the newest charter.
func (s *State) Head() charter.Hash { return s.newestLink().hash }

// Papers returns the charters from the given epoch on, without gaps, and after them the
// losers of forks.
func (s *State) Papers(from uint64) []wire.SignedCharter {
	var list []wire.SignedCharter
	for _, l := range s.chain[min(max(from, 1)-1, uint64(len(s.chain))):] {
		list = append(list, l.SignedCharter)
	}
	for _, l := range s.sortedRivals() {
		list = append(list, l.SignedCharter)
	}
	return list
}

// Sum is equal on two nodes that have the same charter and the same statements that
// count by it.
func (s *State) Sum() [32]byte {
	h := sha256.New()
	head := s.Head()
	h.Write(head[:])
	for _, id := range s.sortedStatements() {
		st := s.statements[id].Statement
		if !s.counts(&st) {
			continue
		}
		sum := sha256.Sum256(statementBytes(s.mesh, &st))
		h.Write(sum[:])
	}
	return [32]byte(h.Sum(nil))
}

// raiseFloors notes what a charter says of generations.
func (s *State) raiseFloors(l *link) {
	for _, i := range l.Issuers {
		s.floors[i.Key] = max(s.floors[i.Key], i.MinGeneration)
	}
}

// MinGeneration is the lowest generation of an issuer's passports that counts. It never
// falls while the issuer is one.
func (s *State) MinGeneration(issuer charter.Key) uint64 { return s.floors[issuer] }

func compareKeys(a, b charter.Key) int { return bytes.Compare(a[:], b[:]) }

// issuerOf returns the issuer of the newest charter that has the key, nil if none has.
func (s *State) issuerOf(key charter.Key) *charter.Issuer {
	list := s.newestLink().Issuers
	if i := slices.IndexFunc(list, func(i charter.Issuer) bool { return i.Key == key }); i >= 0 {
		return &list[i]
	}
	return nil
}
