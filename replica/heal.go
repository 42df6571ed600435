package replica

import (
	"maps"
	"sync/atomic"

	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/mesh/view"
)

// forced is an operator's word that this side of a cut heals.
type forced struct {
	on   atomic.Bool
	kick notify.Bell
}

// ForceHeal has this node, from now on or no longer, make the copies of nodes
// that are down for longer than HealAfter, even where it has contact with no
// more than half of the storing nodes. By default only a larger part does:
// otherwise several parts of a cut mesh would fill their disks with copies of
// what the others still have.
//
// It does not make up for what other nodes say: copies of a node that any of those
// asked still reaches are not made, forced or not. Evict it if it must go.
func (s *Store) ForceHeal(on bool) {
	s.forced.on.Store(on)
	s.forced.kick.Ring()
}

// lookDown has the healer look at who is down, has others asked about those as
// the healer wants it, and puts the verdict into a new layout. It reports whether
// that has changed. Only the watching goroutine calls it.
func (s *Store) lookDown(lay *layout) (changed bool) {
	if s.cfg.HealAfter < 0 {
		return false
	}
	changed = s.healer.Look(s.uptime(), s.id, lay.members, func(id view.NodeID) bool { return lay.inMesh[id] }, s.forced.on.Load())
	if s.disk != nil {
		s.inquests.askNext()
	}
	if !changed {
		return false
	}
	lost := make(map[view.NodeID]bool)
	for _, id := range lay.members {
		if s.healer.Lost(id) {
			lost[id] = true
		}
	}
	if maps.Equal(lost, lay.lost) {
		return false
	}
	lay.lost = lost
	return true
}

// lookAgain looks at who is down although nothing was heard.
func (s *Store) lookAgain() {
	lay := *s.layout.Load()
	if s.disk != nil && s.lookDown(&lay) {
		s.layout.Store(&lay)
		s.entropy.Moved()
	}
}
