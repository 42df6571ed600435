package token

import "github.com/skeinmesh/skein/mesh/view"

// Candidate is a node that stands for an election.
type Candidate struct {
	Node       view.NodeID
	Preference uint32 // how much it is preferred, before its score counts; a higher one beats a lower one
}
