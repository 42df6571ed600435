package keep

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

const (
	lapseEvery = time.Minute
	lapseFull  = 5 * time.Second        // the same, while the disk is full: it is what makes room
	lapseBytes = 1 << 20                // of records that are read for one update, about
	lapsePause = 200 * time.Millisecond // between two updates, for clients' writes
)

// lapses is how far a store is with writing down what has ended; see purge.Lapse.
type lapses struct {
	waitsSince atomic.Int64  // uptime from which on something had ended and could not be written down; 0: nothing
	lapsed     atomic.Uint64 // values, since the store was opened
}

// KeepLapsing writes down about once a minute which values have ended, so that their bytes
// go, until ctx ends. What has ended less than MaxSkew ago may not have for others; and
// nothing has as long as the clock here is not vouched for.
func (rs *Records) KeepLapsing(ctx context.Context) {
	for {
		every := lapseEvery
		if rs.disk.IsTight() {
			every = lapseFull
		}
		if !clock.Sleep(ctx, clock.Jitter(every)) {
			return
		}
		if err := rs.lapseAll(ctx); err != nil && ctx.Err() == nil {
			rs.log.Debug("what has ended is written down later", "error", err)
		}
	}
}

// lapseAll is one pass over all that has ended.
func (rs *Records) lapseAll(ctx context.Context) error {
	by, vouched := rs.clocks.Ended()
	lower, upper := expiredRange(by)
	for {
		page, next, err := rs.listExpired(ctx, lower, upper)
		if err != nil {
			return err
		}
		if waits := len(page) > 0 && !vouched; !waits {
			rs.lapses.waitsSince.Store(0)
		} else {
			rs.lapses.waitsSince.CompareAndSwap(0, int64(max(rs.opts.Uptime(), 1)))
			return nil
		}
		if len(page) == 0 {
			return nil
		}
		if err := rs.lapsePage(ctx, page, by); err != nil || next == nil {
			return err
		}
		lower = next
		clock.Sleep(ctx, lapsePause)
	}
}

// expiredRange is where the index tells of values that have ended by then, and of which
// that is not written down: of what is known to be dead it says no time.
func expiredRange(by version.HLC) (lower, upper []byte) {
	lower, _ = wire.IndexRange(wire.IndexGrave, 1)
	_, upper = wire.IndexRange(wire.IndexGrave, view.NodeID(max(by, 1)))
	return lower, upper
}

// listExpired lists so many of them as make one update, and where the rest begins; nil:
// there is none.
func (rs *Records) listExpired(ctx context.Context, lower, upper []byte) (page []layout.Place, next []byte, err error) {
	size := 0
	err = rs.disk.Scan(ctx, lower, upper, func(k, _ []byte) error {
		if len(page) == PageKeys || size >= lapseBytes {
			next = slices.Clone(k)
			return ErrStop
		}
		_, record, _ := wire.ParseIndexKey(k)
		at, ok := layout.PlaceOf(slices.Clone(record))
		if !ok {
			return nil
		}
		rec, err := rs.Load(ctx, at)
		size += len(rec.Raw)
		page = append(page, at)
		return err
	})
	if errors.Is(err, ErrStop) {
		err = nil
	}
	return page, next, err
}

// lapsePage writes down what has ended of some records.
func (rs *Records) lapsePage(ctx context.Context, page []layout.Place, by version.HLC) error {
	lapsed := 0
	err := rs.Update(ctx, "write down what has ended", func(tx Tx) error {
		lapsed = 0
		for _, at := range page {
			old, err := tx.Load(at)
			if err != nil {
				return err
			}
			r, n := old.Record, 0
			if r.Item, n = purge.Lapse(r.Item, by); n == 0 {
				continue
			}
			lapsed += n
			if err := tx.Save(at, old, r, wire.AppendItem(nil, &r.Item)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		rs.lapses.lapsed.Add(uint64(lapsed))
	}
	return err
}

// Expired is what values take here that have ended, and of which that cannot be written
// down yet.
type Expired struct {
	Records int
	Bytes   int64
	// Waits is for how long none could be, in running time, as the clock is not vouched
	// for. Zero: they have ended only just.
	Waits time.Duration
}

// Bounds of what CountExpired reads.
const (
	mostCounted      = 10_000 // records
	mostCountedBytes = 16 << 20
)

// CountExpired counts what has ended, up to mostCounted records or mostCountedBytes.
func (rs *Records) CountExpired(ctx context.Context) (e Expired, err error) {
	lower, upper := expiredRange(rs.clocks.Early())
	err = rs.disk.Scan(ctx, lower, upper, func(k, _ []byte) error {
		if e.Records == mostCounted || e.Bytes >= mostCountedBytes {
			return ErrStop
		}
		_, record, _ := wire.ParseIndexKey(k)
		value, err := rs.disk.Get(ctx, record)
		if err == nil {
			e.Records++
			e.Bytes += int64(len(record) + len(value))
		}
		return nil
	})
	if since := rs.lapses.waitsSince.Load(); since != 0 {
		e.Waits = rs.opts.Uptime() - time.Duration(since)
	}
	if errors.Is(err, ErrStop) {
		err = nil
	}
	return e, err
}

// Lapsed counts the values of which it was written down that they have ended, since the
// store was opened.
func (rs *Records) Lapsed() uint64 { return rs.lapses.lapsed.Load() }
