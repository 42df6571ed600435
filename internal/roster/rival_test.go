package roster

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

// Whatever two rivals know of each other, and however long their hellos take within the
// bound, never do both give way; one does where somebody has admitted either, or where one
// has run longer for long enough.
func TestRivalsNeverBothYield(t *testing.T) {
	const delay = 3 * time.Second
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		ran := time.Duration(rng.Int64N(int64(12*time.Second))) - 6*time.Second // by how much the second has run longer
		a := Rivalry{
			Admitted: rng.IntN(2) == 0, OtherAdmitted: rng.IntN(2) == 0, Prevails: rng.IntN(2) == 0, Delay: delay,
			Lead: ran - time.Duration(rng.Int64N(int64(delay)+1)),
		}
		b := Rivalry{
			Admitted: a.OtherAdmitted, OtherAdmitted: a.Admitted, Prevails: !a.Prevails, Delay: delay,
			Lead: -ran - time.Duration(rng.Int64N(int64(delay)+1)),
		}
		if a.Yields() && b.Yields() {
			t.Fatalf("both give way: %+v and %+v", a, b)
		}
		if (a.Admitted || b.Admitted) && a.Yields() == b.Yields() {
			t.Fatalf("both go on, though others have decided: %+v and %+v", a, b)
		}
	}
	long, short := Rivalry{Delay: delay, Lead: -time.Minute, Prevails: false}, Rivalry{Delay: delay, Lead: time.Minute - delay, Prevails: true}
	if long.Yields() || !short.Yields() {
		t.Error("the longer run does not go on")
	}
}

func TestJudgeLife(t *testing.T) {
	known := Entry{Boot: 7, Instance: 50}
	for name, c := range map[string]struct {
		boot, instance uint64
		admitted, runs bool
		want           error
	}{
		"the same life":                         {7, 50, false, true, nil},
		"an earlier boot":                       {6, 90, false, false, ErrOldBoot},
		"an earlier boot that was admitted":     {6, 90, true, false, ErrOldBoot},
		"a restart":                             {8, 1, false, false, nil},
		"a later copy beside the original":      {8, 1, false, true, ErrClone},
		"another process of the same boot":      {7, 60, false, false, ErrOldBoot},
		"the same, beside the original":         {7, 60, false, true, ErrClone},
		"a higher claim from elsewhere":         {8, 1, true, true, nil},
		"a higher instance from elsewhere":      {7, 60, true, true, nil},
		"a lower instance from elsewhere":       {7, 40, true, true, ErrOldBoot},
		"a lower instance, the other has ended": {7, 40, true, false, ErrOldBoot},
	} {
		e := Entry{Boot: c.boot, Instance: c.instance}
		ask, err := JudgeLife(e, known, c.admitted)
		if ask {
			err = JudgeUnmet(e, known, c.runs)
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if ask, err := JudgeLife(Entry{Boot: 1}, Entry{}, false); ask || err != nil {
		t.Errorf("a node of which nothing is known: %v, %v", ask, err)
	}
}
