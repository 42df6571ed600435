package purge

import (
	"maps"
	"slices"

	"github.com/skeinmesh/skein/mesh/view"
)

// Memory is what the members remember, together, of what was purged of a shard since an
// old store stood there.
type Memory int

// What they may remember.
const (
	MemoryUnheard Memory = iota // no member could be asked
	MemoryBehind                // some have yet to hear of rounds: they are to be asked again later
	MemoryAway                  // those in contact do not remember all of it, and others are away
	MemoryKnown                 // Best remembers all of it, or nobody ever will
)

// Recall finds the member that remembers what was purged of a shard. Only who knows of
// all rounds that any of the members knows of can tell: another one's log may reach back
// as far, and lack the last of them.
type Recall struct {
	Best view.NodeID // whose log counts, so far; zero: nobody's

	ask    []view.NodeID // in their order
	told   int           // of them
	whole  bool          // Best remembers all of it
	met    bool          // members are in contact
	behind bool          // some of those have yet to hear of a round
	away   bool          // and others are not in contact
}

// NewRecall begins with where the members in contact stand in the shard, and whether there
// are others.
func NewRecall(stand map[view.NodeID]Stamp, away bool) *Recall {
	r := &Recall{met: len(stand) > 0, away: away}
	var top Stamp
	for _, m := range stand {
		top = top.Latest(m)
	}
	for _, id := range slices.Sorted(maps.Keys(stand)) {
		if stand[id].Acked.Before(top.Acked) {
			r.behind = true
		} else {
			r.ask = append(r.ask, id)
		}
	}
	return r
}

// Next returns whose log is to be read now. ok is false when there is nothing more to ask.
func (r *Recall) Next() (id view.NodeID, ok bool) {
	if r.whole || r.told == len(r.ask) {
		return 0, false
	}
	return r.ask[r.told], true
}

// Told takes in whether the log of Next reaches back to where the old store stood. It tells
// whether that member is Best now.
func (r *Recall) Told(whole bool) (best bool) {
	id := r.ask[r.told]
	r.told++
	if best = r.Best == 0 || whole; best {
		r.Best, r.whole = id, whole
	}
	return best
}

// Verdict tells, when there is nothing more to ask, what is remembered. What nobody
// remembers must not be brought back, but nothing is given up before everybody was asked.
func (r *Recall) Verdict() Memory {
	switch {
	case r.whole:
		return MemoryKnown
	case !r.met:
		return MemoryUnheard
	case r.Best == 0 || r.behind:
		return MemoryBehind
	case r.away:
		return MemoryAway
	}
	return MemoryKnown
}
