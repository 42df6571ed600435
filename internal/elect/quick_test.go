package elect

import (
	"math/rand/v2"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// quick is an Election whose disk saves at once: what follows on a Save is part of what
// the step before it hands out.
type quick struct{ *Election }

func newQuick(self view.NodeID, par Params, d Durable, now time.Duration, rng *rand.Rand) quick {
	return quick{New(self, par, d, now, rng)}
}

func (q quick) saved(now time.Duration, out []Effect) []Effect {
	for i := 0; i < len(out); i++ {
		if out[i].Action == Save {
			out = append(out, q.Election.Saved(now, true)...)
		}
	}
	return out
}

func (q quick) Look(now time.Duration, f Field) []Effect {
	return q.saved(now, q.Election.Look(now, f))
}

func (q quick) Stand(now time.Duration, stands bool) []Effect {
	return q.saved(now, q.Election.Stand(now, stands))
}

func (q quick) Tick(now time.Duration) []Effect { return q.saved(now, q.Election.Tick(now)) }

func (q quick) Asked(now time.Duration, from view.NodeID, a Ask) (Answer, []Effect) {
	out := q.saved(now, q.Election.Asked(now, from, a, 1))
	return find(out, Reply).Answer, out
}

func (q quick) Returned(now time.Duration, from view.NodeID, term uint64, nominee view.NodeID) []Effect {
	return q.saved(now, q.Election.Returned(now, from, term, nominee))
}

func (q quick) Answered(now time.Duration, from view.NodeID, a Ask, sent time.Duration, ans Answer) []Effect {
	return q.saved(now, q.Election.Answered(now, from, a, sent, ans))
}

func (q quick) Unanswered(now time.Duration, from view.NodeID, a Ask) []Effect {
	return q.saved(now, q.Election.Unanswered(now, from, a))
}

func (q quick) Drained(now time.Duration) []Effect { return q.saved(now, q.Election.Drained(now)) }
