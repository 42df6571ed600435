package replica

import ()

// ForceHeal has this node, from now on or no longer, make the copies of nodes
// that are down for longer than HealAfter, even where it has contact with no
// more than half of the storing nodes. By default only a larger part does:
// otherwise several parts of a cut mesh would fill their disks with copies of
// what the others still have.
//
// It does not make up for what other nodes say: copies of a node that any of those
// asked still reaches are not made, forced or not. Evict it if it must go.
func (s *Store) ForceHeal(on bool) {
	s.homes.ForceHeal(on)
	s.look.Ring()
}

// lookAgain looks at who is down although nothing was heard. Only the watching goroutine
// calls it.
func (s *Store) lookAgain() {
	if s.disk == nil {
		return
	}
	healed := s.homes.LookAgain(s.uptime())
	s.inquests.AskNext()
	if healed {
		s.entropy.Moved()
	}
}
