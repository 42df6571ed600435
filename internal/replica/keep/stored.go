package keep

import (
	"context"
	"errors"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/version"
)

// ErrStale: an item was read before a purge in which its receiver has taken
// part. This store has to catch up, and to read it again.
var ErrStale = errors.New("replica: read before a purge")

// ItemOf reads the item out of a stored record. Its values lie in data.
func ItemOf(data []byte) (version.Item, error) {
	rec, err := wire.DecodeRecord(data)
	if err != nil {
		return version.Item{}, err
	}
	return wire.DecodeItem(rec.Item)
}

// PageKeys is how many records are moved in one call in the background.
const PageKeys = 256

// ErrStop ends a scan.
var ErrStop = errors.New("stop")

// Stamped is a record that is kept for a store.
type Stamped struct {
	At    layout.Place
	Rec   Stored
	Stamp purge.Stamp // with which it was read
}

// Stored is a record with the bytes of its item.
type Stored struct {
	replicate.Record
	Raw []byte // encoding of the item
	// Damaged: there was a record that does not read. The store knows nothing of the
	// key, and the digest cannot be corrected for what it was.
	Damaged bool
}

// DecodeStored reads a record. A record that does not read is a damaged one.
func DecodeStored(value []byte, err error) (Stored, error) {
	if errors.Is(err, storage.ErrNotFound) {
		return Stored{}, nil
	}
	if err == nil {
		var rec wire.Record
		if rec, err = wire.DecodeRecord(value); err == nil {
			var it version.Item
			if it, err = wire.DecodeItem(rec.Item); err == nil {
				r := Stored{Raw: rec.Item}
				r.Item, r.Mine, r.Home, r.Hints = it, rec.Mine, rec.Home, rec.Hints
				return r, nil
			}
		}
	}
	if errors.Is(err, storage.ErrCorrupt) || errors.Is(err, wire.ErrMalformed) {
		return Stored{Damaged: true}, nil
	}
	return Stored{}, err
}

// Load reads a record outside of an update: synced data only.
func (rs *Records) Load(ctx context.Context, at layout.Place) (Stored, error) {
	return DecodeStored(rs.disk.Get(ctx, at.Record))
}
