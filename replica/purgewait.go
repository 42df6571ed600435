package replica

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

// PurgeBlocked says that deletes cannot be forgotten because members that must
// acknowledge it have not been there, or not been able to, for long. They are to
// be brought back, or given up for good.
type PurgeBlocked struct {
	Missing []view.NodeID
	// For is for how long this node has waited while it ran, restarts or not.
	For time.Duration
	// Bytes is the size of the records that this node keeps for nothing else.
	Bytes int64
}

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

// loadState goes on where the last run of the store has ended.
func (w *purgeWait) loadState(ctx context.Context, s *Store) {
	data, err := s.disk.Get(ctx, metaPurgeWait())
	if err != nil {
		return
	}
	if m, err := wire.DecodePurgeWait(data); err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.waits, w.waited, w.seen, w.noted = true, time.Duration(min(m.Ran, 1<<62)), s.uptime(), s.uptime()
	}
}

// noteBlocked notes that a purge cannot be done, and whose fault that is.
func (w *purgeWait) noteBlocked(ctx context.Context, s *Store, missing []view.NodeID) error {
	w.mu.Lock()
	now := s.uptime()
	begins := !w.waits
	if !begins {
		w.waited += now - w.seen
	}
	w.waits, w.seen, w.missing = true, now, missing
	if !w.told && w.waited >= purgePatience {
		w.told = true
		s.log.Warn("deletes cannot be forgotten: members that have to acknowledge it were not there, or not able to, for a week; bring them back or give them up for good", "missing", missing)
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
	return s.records.Update(ctx, "note for how long a purge waits", func(tx keep.Tx) error { return tx.Set(metaPurgeWait(), note) })
}

// clearBlocked notes that nothing waits.
func (w *purgeWait) clearBlocked(ctx context.Context, s *Store) error {
	w.mu.Lock()
	noted := w.waits
	w.waits, w.waited, w.missing, w.told = false, 0, nil, false
	w.mu.Unlock()
	if !noted {
		return nil
	}
	return s.records.Update(ctx, "note that no purge waits", func(tx keep.Tx) error { return tx.Delete(metaPurgeWait()) })
}

// describeBlocked tells what an operator has to know, nil if nothing.
func (w *purgeWait) describeBlocked(ctx context.Context, s *Store) (*PurgeBlocked, error) {
	w.mu.Lock()
	ran, missing := w.waited+s.uptime()-w.seen, slices.Clone(w.missing)
	waits := w.waits && ran >= purgePatience && len(missing) > 0
	w.mu.Unlock()
	if !waits {
		return nil, nil
	}
	_, bytes, err := s.records.CountDead(ctx, 0)
	return &PurgeBlocked{Missing: missing, For: ran, Bytes: bytes}, err
}
