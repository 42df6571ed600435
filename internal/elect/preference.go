package elect

import "math/bits"

// A score with a preference has the highest bit, which no other has; then come the
// preference and what is left of the score: an exponent, and as many of its highest bits. No
// score that Worth makes needs more.
const (
	preferred    = Score(1) << 63
	scoreBits    = 31
	mantissaBits = 25
)

// Prefer returns the score of a node that is preferred so much for an election. Of two
// nodes the one that is preferred more is better, by any amount; of equal ones the scores
// decide, as they do where nobody is preferred, which is 0. Who must not lead is not
// preferred.
func (s Score) Prefer(preference uint32) Score {
	s = min(s, preferred-1) // it may come from a peer
	if preference == 0 || s == 0 {
		return s
	}
	exponent := max(bits.Len64(uint64(s))-mantissaBits, 0)
	return preferred | Score(preference)<<scoreBits | Score(exponent)<<mantissaBits | s>>exponent
}

// splitPreference returns the two that Prefer has joined.
func (s Score) splitPreference() (preference uint32, score Score) {
	if s < preferred {
		return 0, s
	}
	exponent := s >> mantissaBits & (1<<(scoreBits-mantissaBits) - 1)
	return uint32(s >> scoreBits), s & (1<<mantissaBits - 1) << exponent
}

// Beats tells whether a is better than b: preferred more, or, of equal ones, better by more
// than the margin of 15 % that keeps an incumbent in its place.
func Beats(a, b Score) bool {
	more, above := a.splitPreference()
	less, below := b.splitPreference()
	if more != less {
		return more > less
	}
	return above > below && above-below > scorePercent(below, 15)
}
