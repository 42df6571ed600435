package roster

import "time"

// Two processes may claim one NodeID: a restarted node beside its old life, a
// copied disk beside the original. Each side of a hello compares the claim
// (Boot, Instance) with the highest that the roster holds, and asks the
// address known so far whether that life still runs.
//
//   - It does, and the newcomer was never admitted anywhere: the newcomer is
//     a copy, and is refused. The running one is not disturbed.
//   - It does, and the newcomer was admitted on another side of a cut: the
//     higher claim wins on both sides alike. The other hears of it through
//     the roster and stops.
//   - It does not: a higher claim is a restart. A lower one, or another
//     Instance of the same Boot, is a disk rolled back or copied.

// JudgeLife compares the life that e claims with the one known of that node, where e was
// admitted by others or not. The error is nil or ErrOldBoot. If ask is true that depends on
// whether the life that is known still runs: see JudgeUnmet.
func JudgeLife(e, known Entry, admitted bool) (ask bool, err error) {
	switch {
	case known.Boot == 0 || e.Boot == known.Boot && e.Instance == known.Instance:
		return false, nil
	case e.Boot < known.Boot:
		return false, ErrOldBoot
	case admitted && (e.Boot > known.Boot || e.Instance > known.Instance):
		return false, nil // whether the other has stopped already or not: both were admitted, and this one goes on
	case admitted:
		return false, ErrOldBoot
	}
	return true, nil
}

// JudgeUnmet is the rest of JudgeLife, once it is known whether the other life runs. The
// error is nil, ErrOldBoot or ErrClone.
func JudgeUnmet(e, known Entry, runs bool) error {
	switch {
	case runs:
		return ErrClone
	case e.Boot > known.Boot:
		return nil
	}
	return ErrOldBoot
}

// IsLater tells whether e is a later life of its node than other.
func (e Entry) IsLater(other Entry) bool {
	return e.Boot > other.Boot || e.Boot == other.Boot && e.Instance > other.Instance
}

// Rivalry is between a process and another that claims its NodeID or its name, as that
// process sees it when the other says hello.
type Rivalry struct {
	Admitted, OtherAdmitted bool          // by others
	Prevails                bool          // this one goes on where nothing else decides; both agree on that
	Lead                    time.Duration // by how much the other had run longer when it said so
	Delay                   time.Duration // how long a hello may take
}

// Yields tells whether this process gives way. One that others have admitted goes before
// one that nobody knows. Among those admitted the one that prevails goes on, among the
// unknown the longer run. Each end sees itself run longer by the time that the hello took,
// so where the two are close both want to go on, and the one that does not prevail obeys;
// never do both give way.
func (r Rivalry) Yields() bool {
	switch {
	case r.Admitted != r.OtherAdmitted:
		return r.OtherAdmitted
	case r.Admitted:
		return !r.Prevails
	case r.Prevails:
		return r.Lead > 2*r.Delay
	}
	return r.Lead > -r.Delay
}
