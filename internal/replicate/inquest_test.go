package replicate

import (
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// healing drives a healer of store 1 of five as a shell would, a look a second.
type healing struct {
	*Healer
	at     time.Duration
	forced bool
	live   []view.NodeID
	word   view.Witnesses // what is said of whoever is asked about
	late   bool           // answers are held back
	asked  []view.NodeID
	when   []time.Duration
}

func (h *healing) run(d time.Duration) {
	for end := h.at + d; h.at < end; {
		h.at += time.Second
		h.look()
		if id, ok := h.Ask(); ok {
			h.asked, h.when = append(h.asked, id), append(h.when, h.at)
			if !h.late {
				h.Heard(h.at, id, h.word)
				h.look()
			}
		}
	}
}

func (h *healing) look() {
	h.Look(h.at, 1, []view.NodeID{1, 2, 3, 4, 5}, func(id view.NodeID) bool { return slices.Contains(h.live, id) }, h.forced)
}

func newHealing() *healing {
	h := &healing{Healer: NewHealer(time.Minute), live: []view.NodeID{2, 3, 4}}
	h.look()
	return h
}

var (
	down    = view.Witnesses{Need: 3, Asked: 3, Failed: 3, Confirmed: true}
	reached = view.Witnesses{Need: 3, Asked: 3, Failed: 1, Reached: 2, By: []view.NodeID{2, 3}}
)

// What others reach is not replaced, however long it is down as seen from here
// and whatever an operator says; what they do not reach is.
func TestHealerAsksOthers(t *testing.T) {
	for _, forced := range []bool{false, true} {
		h := newHealing()
		h.forced, h.word = forced, reached
		h.run(59 * time.Second)
		if len(h.asked) > 0 {
			t.Fatal("asks before HealAfter")
		}
		h.run(time.Second)
		if !slices.Equal(h.asked, []view.NodeID{5}) {
			t.Fatalf("asks about %v when 5 is down for a minute", h.asked)
		}
		h.run(10 * time.Hour)
		if h.Lost(5) {
			t.Fatal("replaced although others reach it")
		}
		if w, ok := h.Unconfirmed()[5]; !ok || len(h.Unconfirmed()) != 1 || w.Reached != 2 {
			t.Fatalf("what others said: %+v", h.Unconfirmed())
		}
		if n := len(h.asked); n < 1000 || n > 1300 {
			t.Errorf("asked %d times in ten hours, every half a minute is enough", n)
		}
		first, second := h.when[1]-h.when[0], h.when[2]-h.when[1]
		if first >= second || first > 5*time.Second {
			t.Errorf("asks again after %v, then %v", first, second)
		}
		h.word = down
		h.run(31 * time.Second)
		if !h.Lost(5) || len(h.Unconfirmed()) > 0 {
			t.Fatal("not replaced although others do not reach it either")
		}
		n := len(h.asked)
		h.run(time.Hour)
		if len(h.asked) != n || !h.Lost(5) {
			t.Error("asks again about one that is replaced")
		}
		h.live = append(h.live, 5)
		if h.run(time.Second); h.Lost(5) {
			t.Error("replaced after its return")
		}
	}
}

// Who says nothing does not say that it is down.
func TestHealerTakesSilenceForNothing(t *testing.T) {
	h := newHealing()
	if h.run(time.Hour); h.Lost(5) || len(h.Unconfirmed()) > 0 {
		t.Fatal("replaced on nobody's word")
	}
	h.late = true
	h.run(time.Minute)
	n := len(h.asked)
	if h.run(time.Hour); len(h.asked) != n || h.Lost(5) {
		t.Error("asks again while an answer is outstanding")
	}
}

// A confirmation is good for half of the time to heal after.
func TestHealerConfirmationGrowsOld(t *testing.T) {
	for _, c := range []struct {
		away time.Duration
		lost bool
	}{{29 * time.Second, true}, {31 * time.Second, false}} {
		h := newHealing()
		h.late = true
		h.run(time.Minute)
		h.live = []view.NodeID{2} // no majority when the answer comes
		h.look()
		h.Heard(h.at, 5, down)
		h.run(c.away)
		h.live = []view.NodeID{2, 3, 4}
		h.at++
		if h.look(); h.Lost(5) != c.lost {
			t.Errorf("by a confirmation of %v ago: %v", c.away, h.Lost(5))
		}
	}
}

// An answer that comes after the return of whom it is about counts for nothing.
func TestHealerAnswerComesTooLate(t *testing.T) {
	h := newHealing()
	h.late = true
	h.run(time.Minute)
	h.live = append(h.live, 5)
	h.run(time.Second)
	h.Heard(h.at, 5, down)
	h.live, h.late, h.word = h.live[:3], false, reached
	if h.run(10 * time.Minute); h.Lost(5) {
		t.Error("replaced on the word of before its return")
	}
}

// All who are down are asked about, in turn.
func TestHealerAsksAboutAll(t *testing.T) {
	h := newHealing()
	h.live, h.word = []view.NodeID{2, 3}, reached
	h.run(10 * time.Minute)
	a := len(slices.DeleteFunc(slices.Clone(h.asked), func(id view.NodeID) bool { return id != 4 }))
	if b := len(h.asked) - a; a == 0 || a-b > 1 || b-a > 1 {
		t.Errorf("asked about one %d times, about the other %d times", a, b)
	}
}
