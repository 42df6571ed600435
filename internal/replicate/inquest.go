package replicate

import (
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// inquest is what other nodes said of a store that is down here for long enough
// to be replaced. The word of one store alone, however long it holds, may be that
// of a bad link (protocol E.1).
type inquest struct {
	answer     view.Witnesses // the last answer; zero: none yet
	answeredAt time.Duration  // when it came
	next       time.Duration  // not to be asked before
	pause      time.Duration
}

// Ask names a store of which others are to be asked now whether they reach it,
// as of the last Look. Until the answer is Heard it names no other.
func (h *Healer) Ask() (id view.NodeID, ok bool) {
	if h.asking {
		return 0, false
	}
	var first *inquest
	for _, d := range h.due {
		q := h.inquests[d]
		if q.next <= h.last && (first == nil || q.next < first.next) {
			id, first = d, q
		}
	}
	h.asking = first != nil
	return id, h.asking
}

// Heard takes in, at a time, what Ask asked for; zero when nothing was to be
// learnt. Who is not confirmed is asked about again, after pauses that grow.
func (h *Healer) Heard(now time.Duration, id view.NodeID, w view.Witnesses) {
	h.asking = false
	q := h.inquests[id]
	if q == nil {
		return // it is back, or gone
	}
	q.answer, q.answeredAt = w, now
	if w.Confirmed {
		q.pause = 0
	} else {
		q.pause = min(max(2*q.pause, h.after/16), h.after/2)
	}
	q.next = now + q.pause
}

// isConfirmed tells whether others have just said that they do not reach a store
// either. What they said a while ago is not to be built on.
func (h *Healer) isConfirmed(id view.NodeID) bool {
	q := h.inquests[id]
	return q != nil && q.answer.Confirmed && h.last-q.answeredAt <= h.after/2
}

// Unconfirmed returns what others said of the stores that would be replaced if
// they had confirmed that these are down.
func (h *Healer) Unconfirmed() map[view.NodeID]view.Witnesses {
	var out map[view.NodeID]view.Witnesses
	for _, id := range h.due {
		if q := h.inquests[id]; q.answer.Asked > 0 {
			if out == nil {
				out = map[view.NodeID]view.Witnesses{}
			}
			out[id] = q.answer
		}
	}
	return out
}
