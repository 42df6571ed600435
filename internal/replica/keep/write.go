package keep

import (
	"errors"
	"fmt"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
)

// ErrUninformed: the write would be based on nothing although this store
// cannot tell that there is nothing.
var ErrUninformed = errors.New("record unknown here")

// Terms say on what missing knowledge a write may be based, and when it is
// too late for it.
type Terms struct {
	Nothing bool          // no record, for a write that is no delete
	Damage  bool          // a damaged record, or a delete of no record
	By      time.Duration // by the boot clock; 0: no time is too late
}

// maxItem bounds the concurrent values of a key: an item travels whole, in
// one request.
const maxItem = 32 << 20

// Written is what became of a client's write: decoded, as it is sent, and the
// stamp that it is sent with.
type Written struct {
	reconcile.Wrote
	Raw   []byte // encoding of the item
	Stamp purge.Stamp
}

// CommitWrite begins to apply a client's write here. Once that is synced, or
// has failed, the committing goroutine calls then.
func (rs *Records) CommitWrite(start Starter, at layout.Place, w reconcile.Write, roles []replicate.Role, on Terms, then func(wrote Written, err error)) (storage.Started, error) {
	var wrote Written
	return rs.startUpdate(start, "write", func(tx Tx) error {
		old, err := tx.Load(at)
		if err != nil {
			return err
		}
		if on.By != 0 && rs.opts.Boot() > on.By {
			return peering.ErrLate
		}
		if old.Unknown() && !on.Damage && (!on.Nothing || old.Damaged || w.Tomb) {
			return ErrUninformed
		}
		now, late, corrects := rs.clocks.ForWrite()
		if w.Late = late; corrects {
			tx.Writer().Correct(now)
		}
		var r replicate.Record
		if r, wrote.Wrote, err = old.Commit(tx.Writer(), w, now, roles); err != nil {
			return err
		}
		if wire.ItemSize(&r.Item) > maxItem && len(r.Sibs) > 1 {
			return fmt.Errorf("%w: %d values, %d bytes", ErrSiblingLimit, len(r.Sibs), wire.ItemSize(&r.Item))
		}
		wrote.Raw = wire.AppendItem(make([]byte, 0, wire.ItemSize(&r.Item)), &r.Item)
		wrote.Stamp = tx.Standing(at.Shard).Stamp
		if err := tx.SaveMeta(wrote.Meta); err != nil {
			return err
		}
		return tx.Save(at, old, r, wrote.Raw)
	}, func(err error) { then(wrote, err) })
}

// SaveMeta writes the mark of the session that a new birth has moved; nil: none has.
func (tx Tx) SaveMeta(m *reconcile.Meta) error {
	if m == nil {
		return nil
	}
	return tx.Set(metaSession(), wire.AppendWriterMeta(nil, wire.WriterMeta(*m)))
}
