package trust

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/identity/charter"
	"github.com/skeinmesh/skein/mesh/view"
)

// MaxStatements is how many statements a state holds.
const MaxStatements = 1 << 16

var (
	// ErrStatement says that a statement does not count: nobody in office has signed it,
	// or it says nothing.
	ErrStatement = errors.New("statement does not count")
	// ErrFull says that there is no room for a statement. A charter that retires
	// generations makes some.
	ErrFull = errors.New("too many statements")
)

// statementID is who says what. Of two statements that differ in anything else one is
// enough.
type statementID struct {
	kind   charter.Kind
	target charter.Key
	number uint64
	signer charter.Key
}

func idOfStatement(st *charter.Statement) statementID {
	return statementID{st.Kind, st.Target, st.Number, st.Signer}
}

// compareIDs orders statements; those about tokens are last, to go first.
func compareIDs(a, b statementID) int {
	return cmp.Or(
		cmp.Compare(tokenLast(a.kind), tokenLast(b.kind)),
		cmp.Compare(a.kind, b.kind),
		compareKeys(a.target, b.target),
		cmp.Compare(a.number, b.number),
		compareKeys(a.signer, b.signer),
	)
}

func tokenLast(k charter.Kind) int {
	if k == charter.RevokeToken {
		return 1
	}
	return 0
}

// subject is what a statement is about.
type subject struct {
	kind   charter.Kind
	target charter.Key
	node   view.NodeID
}

func subjectOf(st *charter.Statement) subject {
	if st.Kind == charter.EvictNode {
		return subject{kind: st.Kind, node: view.NodeID(st.Number)}
	}
	return subject{kind: st.Kind, target: st.Target}
}

// checkShape tells whether a statement says something.
func checkShape(st *charter.Statement) error {
	node, token := st.Kind == charter.EvictNode, st.Kind == charter.RevokeToken
	for _, c := range []struct {
		bad  bool
		text string
	}{
		{st.Kind < charter.RevokeDevice || st.Kind > charter.EvictNode, "its kind is unknown"},
		{node != (st.Target == charter.Key{}), "its target is missing, or one too many"},
		{node && st.Number == 0 || token && st.Number != 0, "its number is out of range"},
		{st.Seq == 0, "it has no number in its signer's row"},
		{len(st.Reason) > charter.MaxReason, "its reason is too long"},
	} {
		if c.bad {
			return fmt.Errorf("%w: %s", ErrStatement, c.text)
		}
	}
	return nil
}

// countsBy tells whether a statement counts by a charter: it has the signer as a revoker,
// up to this number, and has not retired every generation that the statement speaks of.
func countsBy(c *charter.Charter, st *charter.Statement) bool {
	inOffice := func(r charter.Revoker) bool { return r.Key == st.Signer && st.Seq <= r.Through }
	return slices.ContainsFunc(c.Revokers, inOffice) && !isCovered(c, st)
}

// isCovered tells whether a charter has retired every generation that a statement speaks
// of. It looks at the charter alone, so that all nodes that have it agree.
func isCovered(c *charter.Charter, st *charter.Statement) bool {
	retired := func(i charter.Issuer) bool { return i.MinGeneration > st.Number }
	switch st.Kind {
	case charter.RevokeIssuer:
		return slices.ContainsFunc(c.Issuers, func(i charter.Issuer) bool { return i.Key == st.Target && retired(i) })
	case charter.RevokeDevice:
		return len(c.Issuers) > 0 && !slices.ContainsFunc(c.Issuers, func(i charter.Issuer) bool { return !retired(i) })
	}
	return false
}

// counts tells whether a statement counts by the newest charter.
func (s *State) counts(st *charter.Statement) bool { return countsBy(&s.newestLink().Charter, st) }

// keepsStatement tells whether a statement is kept: one that counts by the charter before the
// newest is, too. The newest may yet lose against another of its epoch, by which the
// statement counts.
func (s *State) keepsStatement(st *charter.Statement) bool {
	return s.counts(st) || len(s.chain) > 1 && countsBy(&s.chain[len(s.chain)-2].Charter, st)
}

// CheckStatement tells whether a statement counts.
func (s *State) CheckStatement(st *wire.SignedStatement) error {
	if !s.counts(&st.Statement) {
		return fmt.Errorf("trust: %w: number %d of %v, by the newest charter", ErrStatement, st.Seq, st.Signer)
	}
	return s.checkWritten(st)
}

// checkWritten tells whether a statement says something, and its signer has signed it.
func (s *State) checkWritten(st *wire.SignedStatement) error {
	if err := checkShape(&st.Statement); err != nil {
		return fmt.Errorf("trust: %w", err)
	}
	if !verifyKey(st.Signer, statementBytes(s.mesh, &st.Statement), st.Sig) {
		return fmt.Errorf("trust: %w: %v has not signed it", ErrStatement, st.Signer)
	}
	return nil
}

// AddStatement takes a statement. It returns whether there is something new to hand on.
func (s *State) AddStatement(st wire.SignedStatement) (added bool, err error) {
	id := idOfStatement(&st.Statement)
	have, known := s.statements[id]
	if known && s.compareSpelling(&have.Statement, &st.Statement) <= 0 {
		return false, nil
	}
	if !s.keepsStatement(&st.Statement) {
		return false, fmt.Errorf("trust: %w: number %d of %v, by the newest charters", ErrStatement, st.Seq, st.Signer)
	}
	if err := s.checkWritten(&st); err != nil {
		return false, err
	}
	if !known && len(s.statements) >= s.limit {
		if err := s.makeRoom(id); err != nil {
			return false, err
		}
	}
	s.statements[id] = st
	s.noteStanding(&st.Statement)
	return true, nil
}

// compareSpelling orders statements of one id: the first of its signer holds.
func (s *State) compareSpelling(a, b *charter.Statement) int {
	return cmp.Or(cmp.Compare(a.Seq, b.Seq), bytes.Compare(statementBytes(s.mesh, a), statementBytes(s.mesh, b)))
}

// makeRoom drops the last of all statements about tokens, if it stands behind id.
func (s *State) makeRoom(id statementID) error {
	last := id
	for other := range s.statements {
		if other.kind == charter.RevokeToken && compareIDs(other, last) > 0 {
			last = other
		}
	}
	if last == id {
		return fmt.Errorf("trust: %w: %d, no room to %v", ErrFull, len(s.statements), id.kind)
	}
	delete(s.statements, last)
	s.findStanding()
	return nil
}

// dropStatements lets go of what the newest charters have made void or needless.
func (s *State) dropStatements() {
	for id, st := range s.statements {
		if !s.keepsStatement(&st.Statement) {
			delete(s.statements, id)
		}
	}
	s.findStanding()
}

// findStanding finds anew what holds.
func (s *State) findStanding() {
	clear(s.standing)
	for _, st := range s.statements {
		s.noteStanding(&st.Statement)
	}
}

// noteStanding makes a statement hold, if it counts.
func (s *State) noteStanding(st *charter.Statement) {
	if !s.counts(st) {
		return
	}
	about := subjectOf(st)
	s.standing[about] = max(s.standing[about], st.Number)
}

// Statements returns all statements that are kept, to be handed on, in an order that is the
// same everywhere.
func (s *State) Statements() []wire.SignedStatement {
	list := make([]wire.SignedStatement, 0, len(s.statements))
	for _, id := range s.sortedStatements() {
		list = append(list, s.statements[id])
	}
	return list
}

func (s *State) sortedStatements() []statementID {
	ids := make([]statementID, 0, len(s.statements))
	for id := range s.statements {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, compareIDs)
	return ids
}

// IsRevoked tells whether a device's key is revoked.
func (s *State) IsRevoked(device charter.Key) bool {
	_, is := s.standing[subject{kind: charter.RevokeDevice, target: device}]
	return is
}

// IsTokenRevoked tells whether the token is revoked whose id has this SHA-256.
func (s *State) IsTokenRevoked(sum charter.Key) bool {
	_, is := s.standing[subject{kind: charter.RevokeToken, target: sum}]
	return is
}

// IsEvicted tells whether a statement evicts the node.
func (s *State) IsEvicted(node view.NodeID) bool {
	_, is := s.standing[subject{kind: charter.EvictNode, node: node}]
	return is
}

// retiredThrough returns the highest generation of an issuer that is revoked.
func (s *State) retiredThrough(issuer charter.Key) (generation uint64, any bool) {
	generation, any = s.standing[subject{kind: charter.RevokeIssuer, target: issuer}]
	return generation, any
}
