package purging

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	purgePatience = 7 * 24 * time.Hour
	purgeNote     = time.Hour // of waiting, between two notes of how long that was
)

// purgeWait is how long a store has waited for others to purge, in running time
// that outlives a restart: a box that is switched off every evening, too, says
// after a week what it waits for.
type purgeWait struct {
	mu      sync.Mutex
	waits   bool
	waited  time.Duration // up to seen
	seen    time.Duration // uptime()
	noted   time.Duration // uptime(), when ran was last written down
	missing []view.NodeID // who has to acknowledge, and is not there or not able to
	told    bool          // the operator was
}

func metaPurgeWait() []byte { return wire.MetaKey("purge-wait") }

// loadWait goes on where the last run of the store has ended.
func (pg *Purger) loadWait(ctx context.Context) {
	w := &pg.waiting
	data, err := pg.disk.Get(ctx, metaPurgeWait())
	if err != nil {
		return
	}
	if m, err := wire.DecodePurgeWait(data); err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.waits, w.waited, w.seen, w.noted = true, time.Duration(min(m.Ran, 1<<62)), pg.opts.Uptime(), pg.opts.Uptime()
	}
}

// noteBlocked notes that a purge cannot be done, and whose fault that is.
func (pg *Purger) noteBlocked(ctx context.Context, missing []view.NodeID) error {
	w := &pg.waiting
	w.mu.Lock()
	now := pg.opts.Uptime()
	begins := !w.waits
	if !begins {
		w.waited += now - w.seen
	}
	w.waits, w.seen, w.missing = true, now, missing
	if !w.told && w.waited >= purgePatience {
		w.told = true
		pg.log.Warn("deletes cannot be forgotten: members that have to acknowledge it were not there, or not able to, for a week; bring them back or give them up for good", "missing", missing)
	}
	due := begins || now-w.noted >= purgeNote
	if due {
		w.noted = now
	}
	note := wire.AppendPurgeWait(nil, wire.PurgeWait{Ran: uint64(w.waited)})
	w.mu.Unlock()
	if !due {
		return nil
	}
	return pg.records.Update(ctx, "note for how long a purge waits", func(tx keep.Tx) error { return tx.Set(metaPurgeWait(), note) })
}

// clearBlocked notes that nothing waits.
func (pg *Purger) clearBlocked(ctx context.Context) error {
	w := &pg.waiting
	w.mu.Lock()
	noted := w.waits
	w.waits, w.waited, w.missing, w.told = false, 0, nil, false
	w.mu.Unlock()
	if !noted {
		return nil
	}
	return pg.records.Update(ctx, "note that no purge waits", func(tx keep.Tx) error { return tx.Delete(metaPurgeWait()) })
}

// Blocked is why deletes cannot be forgotten.
type Blocked struct {
	Missing []view.NodeID
	For     time.Duration // in running time
	Bytes   int64         // of the records that are kept for nothing else
}

// DescribeBlocked tells what an operator has to know; ok is false if nothing waits, or not
// for a week. To count bytes reads each record that is kept for nothing else.
func (pg *Purger) DescribeBlocked(ctx context.Context, countBytes bool) (b Blocked, ok bool, err error) {
	w := &pg.waiting
	w.mu.Lock()
	b.For, b.Missing = w.waited+pg.opts.Uptime()-w.seen, slices.Clone(w.missing)
	ok = w.waits && b.For >= purgePatience && len(b.Missing) > 0
	w.mu.Unlock()
	if ok && countBytes {
		_, b.Bytes, err = pg.records.CountDead(ctx, 0)
	}
	return b, ok, err
}
