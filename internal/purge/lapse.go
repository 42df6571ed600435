package purge

import (
	"slices"

	"github.com/skeinmesh/skein/replica/version"
)

// Lapse writes down which values of an item have ended by some time: their dots name
// tombs from then on, which carry no value. n is how many there were; the item stays
// untouched.
//
// A store may do so by itself, and others later or never, by these rules:
//
//   - by is a time that has passed whichever clock of the mesh is right, within MaxSkew:
//     what has lapsed reads as deleted to everybody, also where a clock is set back.
//   - Context and dots stay, and digests are made of these alone. So homes are equal
//     whoever of them has written it down.
//   - Merge prefers a tomb to the value of the same dot. So it stays written down
//     wherever the two meet, and a copy that still carries the value brings nothing back.
//   - A round may purge it like any other tomb: to say so takes no clock any more.
func Lapse(it version.Item, by version.HLC) (out version.Item, n int) {
	out = it
	for i := range it.Sibs {
		if s := &it.Sibs[i]; s.Flags&version.Tomb != 0 || !s.Deleted(by) {
			continue
		}
		if n++; n == 1 {
			out.Sibs = slices.Clone(it.Sibs)
		}
		out.Sibs[i].Flags |= version.Tomb
		out.Sibs[i].Value = nil
	}
	return out, n
}
