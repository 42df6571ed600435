package roster

import (
	"fmt"

	"github.com/skeinmesh/skein/internal/wire"
)

// Encode returns the roster as wire.AppendRoster writes it, for disk and
// peers alike. Equal rosters give equal bytes.
func Encode(r Roster) []byte { return wire.AppendRoster(nil, r.Members(), r.relics) }

// Decode reads what Encode wrote, on this node or another.
func Decode(b []byte) (Roster, error) {
	in, relics, err := wire.DecodeRoster(b)
	if err != nil {
		return Roster{}, fmt.Errorf("roster: %w", err)
	}
	r, err := FromMembers(in)
	if err != nil {
		return Roster{}, err
	}
	reduced, err := FromRelics(relics)
	if err != nil {
		return Roster{}, err
	}
	return Roster{entries: withoutRelics(r.entries, relics), relics: reduced.relics}, nil
}

// Members returns the entries as they travel, sorted by ID.
func (r Roster) Members() []wire.Member {
	out := make([]wire.Member, len(r.entries))
	for i, e := range r.entries {
		out[i] = wire.Member(e)
	}
	return out
}

// FromMembers returns the roster that holds exactly the members of a list
// sorted by ID. One member that Validate refuses makes all of it ErrInvalid:
// who sends one is not to be believed in the others.
func FromMembers(in []wire.Member) (Roster, error) {
	if len(in) > Limit {
		return Roster{}, fmt.Errorf("%w: %d entries", ErrFull, len(in))
	}
	out := make([]Entry, len(in))
	for i, m := range in {
		out[i] = Entry(m).canonical()
		if err := out[i].Validate(); err != nil {
			return Roster{}, fmt.Errorf("entry %d: %w", i, err)
		}
		if i > 0 && out[i].ID <= out[i-1].ID {
			return Roster{}, fmt.Errorf("%w: entry %d is out of order", ErrInvalid, i)
		}
	}
	return Roster{entries: out}, nil
}
