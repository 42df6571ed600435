package mesh

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Who does not belong here is shown once it goes on knocking; what a node finds out
// about itself at once. Each is logged when it begins.
func TestTroubleIsShownOnceItLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s troubles
		note := func(key string, lasts time.Duration, wantFresh, wantShow bool) {
			t.Helper()
			if fresh, show := s.note(key, key, lasts); fresh != wantFresh || show != wantShow {
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
		if got := s.list(); !slices.Equal(got, []string{"again", "own"}) {
			t.Errorf("shown: %q", got)
		}
	})
}
