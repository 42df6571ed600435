package replica

import (
	"errors"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
)

// buriedAt reads what was purged of a key; ok is false if that is nothing, or
// does not read.
func buriedAt(value []byte, err error) (b purge.Buried, ok bool, _ error) {
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrCorrupt) {
		return b, false, nil
	}
	if err != nil {
		return b, false, err
	}
	m, err := wire.DecodeBuried(value)
	if err != nil {
		return b, false, nil
	}
	b, err = decodeBuried(m)
	return b, err == nil, nil
}

func decodeBuried(m wire.Buried) (b purge.Buried, err error) {
	b.Round, b.Over = purge.Round(m.Round), m.Over
	if b.Tomb, err = wire.DecodeItem(m.Tomb); err != nil {
		return b, err
	}
	b.All = b.Tomb
	if len(m.All) > 0 {
		b.All, err = wire.DecodeItem(m.All)
	}
	return b, err
}

func encodeBuried(b purge.Buried) wire.Buried {
	m := wire.Buried{Round: wire.Round(b.Round), Over: b.Over, Tomb: wire.AppendItem(nil, &b.Tomb)}
	if !b.All.Equal(b.Tomb) {
		m.All = wire.AppendItem(nil, &b.All)
	}
	return m
}

// logPurged is part of an update: it notes what was purged of a key. The log has lost
// something of rounds up to the one that it returns.
func (s *Store) logPurged(tx *storage.Tx, at layout.Place, b purge.Buried) (lost purge.Round, err error) {
	key := wire.LogKey(at.Record)
	old, ok, err := buriedAt(tx.Get(key))
	if err != nil {
		return lost, err
	}
	if ok {
		b, lost = old.Join(b).Bound(old.Round)
	}
	m := encodeBuried(b)
	return lost, tx.Set(key, wire.AppendBuried(nil, &m))
}

// stripPurged is part of an update: an item that was read before rounds of which the
// log here speaks, while this store is catching up with them, is taken in
// without what they have purged.
func (s *Store) stripPurged(tx *storage.Tx, in *arrival) error {
	if !s.rounds.current[in.at.Shard].Amends(in.stamp) {
		return nil
	}
	b, ok, err := buriedAt(tx.Get(wire.LogKey(in.at.Record)))
	if err != nil || !ok {
		return err
	}
	if it := b.Amend(in.stamp, in.item); !it.Equal(in.item) {
		in.item, in.raw = it, wire.AppendItem(nil, &it)
	}
	return nil
}

// isPurged tells, in an update, whether an item offered where there is no record
// is only what was purged there.
func (s *Store) isPurged(tx *storage.Tx, in *arrival) (bool, error) {
	if !s.rounds.current[in.at.Shard].Remembers(in.item) {
		return false, nil
	}
	b, ok, err := buriedAt(tx.Get(wire.LogKey(in.at.Record)))
	return ok && b.Nothing(in.item), err
}
