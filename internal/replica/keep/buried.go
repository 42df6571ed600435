package keep

import (
	"errors"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
)

// BuriedAt reads what was purged of a key; ok is false if that is nothing, or
// does not read.
func BuriedAt(value []byte, err error) (b purge.Buried, ok bool, _ error) {
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
	b, err = DecodeBuried(m)
	return b, err == nil, nil
}

// DecodeBuried reads what a log of purges says of a key.
func DecodeBuried(m wire.Buried) (b purge.Buried, err error) {
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

// encodeBuried is the reverse.
func encodeBuried(b purge.Buried) wire.Buried {
	m := wire.Buried{Round: wire.Round(b.Round), Over: b.Over, Tomb: wire.AppendItem(nil, &b.Tomb)}
	if !b.All.Equal(b.Tomb) {
		m.All = wire.AppendItem(nil, &b.All)
	}
	return m
}

// Buried reads what the log says was purged of a key; ok is false if that is nothing.
func (tx Tx) Buried(at layout.Place) (b purge.Buried, ok bool, err error) {
	return BuriedAt(tx.Get(wire.LogKey(at.Record)))
}

// SetBuried writes what the log says of a key.
func (tx Tx) SetBuried(at layout.Place, b purge.Buried) error {
	m := encodeBuried(b)
	return tx.Set(wire.LogKey(at.Record), wire.AppendBuried(nil, &m))
}

// LogPurged notes what was purged of a key. The log has lost something of rounds up to
// the one that it returns.
func (tx Tx) LogPurged(at layout.Place, b purge.Buried) (lost purge.Round, err error) {
	old, ok, err := tx.Buried(at)
	if err != nil {
		return lost, err
	}
	if ok {
		b, lost = old.Join(b).Bound(old.Round)
	}
	return lost, tx.SetBuried(at, b)
}

// stripPurged: an item that was read before rounds of which the
// log here speaks, while this store is catching up with them, is taken in
// without what they have purged.
func (tx Tx) stripPurged(in *Arrival) error {
	if !tx.Standing(in.At.Shard).Amends(in.Stamp) {
		return nil
	}
	b, ok, err := tx.Buried(in.At)
	if err != nil || !ok {
		return err
	}
	if it := b.Amend(in.Stamp, in.Item); !it.Equal(in.Item) || !sameTombs(it, in.Item) {
		in.Item, in.Raw = it, wire.AppendItem(nil, &it)
	}
	return nil
}

// isPurged tells, in an update, whether an item offered where there is no record
// is only what was purged there.
func (tx Tx) isPurged(in *Arrival) (bool, error) {
	if !tx.Standing(in.At.Shard).Remembers(in.Item) {
		return false, nil
	}
	b, ok, err := tx.Buried(in.At)
	return ok && b.Nothing(in.Item), err
}
