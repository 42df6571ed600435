package mesh

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// Who does not belong here is shown once it goes on knocking; what a node finds out
// about itself at once. Each is logged when it begins.
func TestTroubleIsShownOnceItLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s troubles
		note := func(key string, lasts time.Duration, wantFresh, wantShow bool) {
			t.Helper()
			if fresh, show := s.noteTrouble(key, view.Problem{Kind: view.ProblemInWords, Text: key}, lasts); fresh != wantFresh || show != wantShow {
				t.Errorf("%s: fresh %t, show %t", key, fresh, show)
			}
		}
		note("once", strangerComesBack, true, false)
		note("again", strangerComesBack, true, false)
		note("own", 0, true, true)
		time.Sleep(strangerComesBack - 1)
		note("again", strangerComesBack, false, false)
		time.Sleep(time.Nanosecond)
		note("again", strangerComesBack, false, true)
		note("again", strangerComesBack, false, false)
		if got := wordsOf(s.shownTexts()); !slices.Equal(got, []string{"again", "own"}) {
			t.Errorf("shown: %q", got)
		}
	})
}

// That large packets get lost is told of once it lasts, by the names of those whom
// it concerns, and no more once they arrive.
func TestNarrowPathIsTold(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		n, other := w.boxes[0].node, w.boxes[1]
		tell := func(narrow bool) string {
			n.troubles.onNarrow(other.addr, narrow)
			time.Sleep(time.Second)
			return strings.Join(wordsOf(n.View().Problems), "\n")
		}
		if told := tell(true); told != "" {
			t.Errorf("lost once: %q", told)
		}
		time.Sleep(narrowLasts)
		if told := tell(true); !strings.Contains(told, "large packets to "+other.addr.String()+" ("+other.node.Name()+") do not arrive") {
			t.Errorf("lost again: %q", told)
		}
		if told := tell(false); told != "" {
			t.Errorf("not lost any more: %q", told)
		}
	})
}
