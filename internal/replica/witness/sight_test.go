package witness

import (
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// A member that others reach is not called down.
func TestMissingNodesAreNotAllDown(t *testing.T) {
	v := view.View{Self: 1, Members: []view.Member{
		{ID: 1, Name: "self"}, {ID: 2, Name: "dead", State: view.Failed}, {ID: 3, Name: "relayed", State: view.Suspect, Unreachable: true},
		{ID: 4, Name: "relay", State: view.Alive},
	}}
	at := Sight{Self: 1, View: v, Now: time.Now()}
	missing := func(ids ...view.NodeID) string {
		p := view.Problem{Kind: view.ProblemFewCopies}
		at.SortAway(&p, ids)
		_, words, _ := strings.Cut(p.String(), "than they should, ")
		return words
	}
	both := missing(2, 3)
	if down, cut, ok := strings.Cut(both, ", others reach "); !ok || !strings.HasPrefix(down, "dead") ||
		strings.Contains(down, "relayed") || !strings.HasPrefix(cut, "relayed") {
		t.Errorf("%q", both)
	}
	if got := missing(3); strings.Contains(got, "down") {
		t.Errorf("%q", got)
	}
	if got := missing(2); strings.Contains(got, "others reach") {
		t.Errorf("%q", got)
	}
}
