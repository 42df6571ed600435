package backup

import (
	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/version"
)

// told is what one section tells of the purges of its shard: where its store stood, and from which
// round on it knows all that was purged.
type told struct {
	origin []byte
	at     purge.Stamp
	from   purge.Round
}

func readTold(origin []byte) (t told, err error) {
	o, err := wire.DecodeOrigin(origin)
	t.origin, t.from = origin, purge.Round(o.From)
	t.at = purge.Stamp{Acked: purge.Round(o.Stamp.Acked), Committed: purge.Round(o.Stamp.Committed)}
	return t, err
}

// lineage is what all that was backed up of a slice tells of its purges.
type lineage struct {
	gone map[string][][]byte // by key: what was purged of it
	all  []told
	torn bool // some of what was backed up does not read
}

// addSection takes in a section.
func (l *lineage) addSection(s *wire.Section) error {
	t, err := readTold(s.Origin)
	if err != nil {
		return err
	}
	l.all = append(l.all, t)
	for i := range s.Records {
		if r := &s.Records[i]; r.Purged {
			l.gone[r.Key] = append(l.gone[r.Key], r.Item)
		}
	}
	return nil
}

// liftRecord returns the latest place in the rounds up to which everything is known that was
// purged since a record was read where origin says: by each step to a log that reaches back to
// where the step before has ended. It is origin itself where nobody knows more.
func (l *lineage) liftRecord(origin told) told {
	for moved := true; moved; {
		moved = false
		for _, t := range l.all {
			if origin.at.Acked.Before(t.at.Acked) && origin.at.Reaches(t.at, t.from) {
				origin, moved = t, true
			}
		}
	}
	return origin
}

// latest is where the store stood that has acknowledged most.
func (l *lineage) latest() (top told) {
	for _, t := range l.all {
		if top.origin == nil || top.at.Acked.Before(t.at.Acked) {
			top = t
		}
	}
	return top
}

// reachesEnd tells whether all is known that was purged after a record was read where at says: the
// rounds end with the latest backup, as far as anybody knows.
func (l *lineage) reachesEnd(at told) bool {
	top := l.latest()
	return !l.torn && at.at.Reaches(top.at, top.from)
}

// itemOf is what was there of a key, of what chains have of it. refused says that some value of it may
// have been deleted by then, and nobody remembers.
func (l *lineage) itemOf(key string, chains []map[string]oldItem) (it version.Item, refused bool, err error) {
	for _, gone := range l.gone[key] {
		g, err := wire.DecodeItem(gone)
		if err != nil {
			return it, false, err
		}
		it = version.Merge(it, g)
	}
	var unsure []version.Item
	for _, items := range chains {
		old, ok := items[key]
		if !ok {
			continue
		}
		o, err := wire.DecodeItem(old.item)
		if err != nil {
			return it, false, err
		}
		if l.reachesEnd(l.liftRecord(old.at)) {
			it = version.Merge(it, o)
		} else {
			unsure = append(unsure, o)
		}
	}
	for _, o := range unsure {
		got := purge.Old{Item: o, Known: it}.Import(nil)
		refused = refused || got.Refused || len(got.Anew) > 0
		it = version.Merge(it, got.Bring)
	}
	return it, refused, nil
}
