package keep

import (
	"context"
	"errors"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/watch"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// Watchers want to know which records change.
type Watchers interface {
	// Wanted tells whether anybody wants to know.
	Wanted() bool
	// Stage is told of a change that is not synced yet, on the committing goroutine.
	Stage(e watch.Entry)
}

// shareItem returns the encoding of an item of that size, which ends the record that was
// written last, in the bytes that the store keeps of it.
func (tx Tx) shareItem(at layout.Place, size int) ([]byte, error) {
	record, err := tx.Get(at.Record)
	if err != nil {
		return nil, err
	}
	return record[len(record)-size:], nil
}

// stageChanges tells those who watch what an update has done, to be shown once it is synced.
func (rs *Records) stageChanges() {
	now := rs.clocks.Now()
	for i := range rs.changes {
		c := &rs.changes[i]
		switch {
		case !c.after.Unknown() && (c.unknown || !c.after.Equal(c.before)):
			rs.opts.Watchers.Stage(watch.NewEntry(c.at.Bucket, c.at.Shard, c.at.Key, c.raw, watch.Changed))
		case c.after.Unknown() && c.home && isAlive(c.before, now):
			rs.opts.Watchers.Stage(watch.NewEntry(c.at.Bucket, c.at.Shard, c.at.Key, nil, watch.Gone))
		}
	}
}

// isAlive tells whether a record cannot have been purged.
func isAlive(it version.Item, now version.HLC) bool {
	due, ends := purge.Due(it)
	return !it.Unknown() && (!ends || due > now)
}

// LoadItem reads an item as it travels; nil if there is none that reads.
func (rs *Records) LoadItem(ctx context.Context, at layout.Place) ([]byte, error) {
	rec, err := rs.Load(ctx, at)
	if err != nil || rec.Unknown() {
		return nil, err
	}
	return rec.Raw, nil
}

// EndsFrom is where ListEnded begins to list what ends after a date.
func EndsFrom(date version.HLC) []byte {
	lower, _ := wire.IndexRange(wire.IndexGrave, view.NodeID(date)+1)
	return lower
}

// ListEnded lists records of which the last value has ended by a TTL, in order of that, up
// to a date and a number, from a place in that order on. It returns the next place.
func (rs *Records) ListEnded(ctx context.Context, from []byte, upTo version.HLC, limit int, each func(at layout.Place, item []byte)) (next []byte, err error) {
	_, upper := wire.IndexRange(wire.IndexGrave, view.NodeID(upTo))
	next = from
	err = rs.disk.Scan(ctx, from, upper, func(k, _ []byte) error {
		next = append(append(make([]byte, 0, len(k)+1), k...), 0)
		_, record, _ := wire.ParseIndexKey(k)
		at, ok := layout.PlaceOf(record)
		if !ok {
			return nil
		}
		rec, err := rs.Load(ctx, at)
		if err != nil {
			return err
		}
		if due, ends := purge.Due(rec.Item); ends && due <= upTo && hasValue(rec.Item) {
			each(at, rec.Raw)
		}
		if limit--; limit <= 0 {
			return ErrStop
		}
		return nil
	})
	if errors.Is(err, ErrStop) {
		err = nil
	}
	return next, err
}

// hasValue tells whether an item is more than tombs.
func hasValue(it version.Item) bool {
	for i := range it.Sibs {
		if it.Sibs[i].Flags&version.Tomb == 0 {
			return true
		}
	}
	return false
}
