package split

import "github.com/skeinmesh/skein/mesh/view"

// witnesses is how many nodes must have failed to reach a member, where there
// are so many.
const witnesses = 3

// Tally gathers what nodes said that were asked to reach one member directly.
// The zero Tally is empty. A new question takes a new one: answers grow old.
type Tally struct {
	failed, reached map[view.NodeID]bool
}

// Add takes in the word of one node, the asking one included. One that says
// both has reached it. No answer is no word: it must not be added. Neither
// must the word of the member itself.
func (t *Tally) Add(by view.NodeID, reached bool) {
	if t.failed == nil {
		t.failed, t.reached = map[view.NodeID]bool{}, map[view.NodeID]bool{}
	}
	if reached {
		t.reached[by] = true
	} else {
		t.failed[by] = true
	}
}

// Enough tells whether a member counts as lost so surely that data or services
// may move in its stead. alive is how many nodes the asking one sees alive,
// itself included: three of them, or all if they are fewer, must have failed to
// reach it, and none that answered may have reached it.
//
// One node's word is not enough, for it may be that node's own cable; and one
// that reaches the member outweighs any number that do not, for a member that
// serves somebody must not be given a double.
func Enough(t Tally, alive int) bool {
	return len(t.reached) == 0 && len(t.failed) >= Witnesses(alive)
}

// Witnesses returns how many nodes must have failed to reach a member where so
// many are alive, the asking one included.
func Witnesses(alive int) int { return max(1, min(witnesses, alive)) }
