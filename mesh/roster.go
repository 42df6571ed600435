package mesh

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// batchPause is the least time between two writes of the roster, so that a burst
// of news costs one write of flash, not one each. A roster is written and digested
// whole: where members are thousands, as many changes must not cost as many times
// all of it.
func batchPause(entries int) time.Duration {
	return max(100*time.Millisecond, time.Duration(entries)*50*time.Microsecond)
}

// book keeps the roster: every change is on disk before anybody sees it
// (protocol B.1), the node itself included.
type book struct {
	write   func(roster.Roster) error
	alive   func(view.NodeID) bool // as far as this node knows
	log     *slog.Logger
	changes chan change
	closed  chan struct{} // run has returned
	fresh   func() bool   // there is more to write than the roster says; may be nil
	excess  func()        // called when others say of more nodes than are taken in that they are gone; may be nil
	current atomic.Pointer[snapshot]
	watch   *notify.Value[*snapshot]

	began  time.Time
	mu     sync.Mutex
	ration *roster.Ration // guarded by mu
}

// snapshot is a roster that is on disk, with its digests.
type snapshot struct {
	roster.Roster
	sum     uint64   // of all it says
	digest  uint64   // of what placement depends on
	storing [16]byte // of the storing members
	once    sync.Once
	entries []wire.EntrySum // see sums
}

func newSnapshot(r roster.Roster) *snapshot {
	return &snapshot{Roster: r, sum: r.Sum(), digest: r.Digest(), storing: r.StoringDigest()}
}

// entrySums returns the digest of every entry, sorted by id. Nobody may change it.
func (s *snapshot) entrySums() []wire.EntrySum {
	s.once.Do(func() {
		for e := range s.All() {
			s.entries = append(s.entries, wire.EntrySum{Key: e.ID, Version: e.Sum()})
		}
	})
	return s.entries
}

// change is a step that moves the roster up. done, of capacity 1, gets nil
// when the result is on disk.
type change struct {
	step func(roster.Roster) (roster.Roster, error)
	done chan error
}

func newBook(r roster.Roster, write func(roster.Roster) error, alive func(view.NodeID) bool, log *slog.Logger) *book {
	b := &book{write: write, alive: alive, log: log, changes: make(chan change, 64), closed: make(chan struct{}), ration: roster.NewRation(r), began: time.Now()}
	s := newSnapshot(r)
	b.current.Store(s)
	b.watch = notify.New(s)
	return b
}

// snapshot returns the roster as it is on disk.
func (b *book) snapshot() *snapshot { return b.current.Load() }

// updateRoster performs step on the latest roster and returns when the result is
// on disk and in use. Steps are performed one after the other, by one
// goroutine, and may be performed together with others as one write.
func (b *book) updateRoster(ctx context.Context, step func(roster.Roster) (roster.Roster, error)) error {
	c := change{step, make(chan error, 1)}
	select {
	case b.changes <- c:
	case <-b.closed:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-c.done:
		return err
	case <-b.closed:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// mergeRationed takes in what a peer says, within the ration.
func (b *book) mergeRationed(ctx context.Context, said roster.Roster) error {
	return b.mergeAs(ctx, said, func(r roster.Roster) roster.Roster {
		b.mu.Lock()
		in, refused := b.ration.Take(time.Since(b.began), r, said)
		b.mu.Unlock()
		if refused > 0 && b.excess != nil {
			b.excess()
		}
		return in
	})
}

// noteMet notes that a member was heard.
func (b *book) noteMet() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ration.Meet(time.Since(b.began))
}

func (b *book) mergeAs(ctx context.Context, said roster.Roster, within func(roster.Roster) roster.Roster) error {
	if said.Len() == 0 && len(said.Relics()) == 0 {
		return nil
	}
	return b.updateRoster(ctx, func(r roster.Roster) (roster.Roster, error) {
		in := within(r)
		merged, _, refused := r.Merge(in)
		if refused > 0 {
			b.log.Debug("no room in the roster for what a member says", "refused", refused)
		}
		merged, evicted := merged.Settle(b.alive)
		for _, id := range evicted {
			b.log.Warn("node is evicted: a new disk took over its name", "member", id)
		}
		return merged, nil
	})
}

// performChanges performs changes until ctx ends.
func (b *book) performChanges(ctx context.Context) {
	defer b.watch.Close()
	defer close(b.closed)
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-b.changes:
			b.performBatch(c)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(batchPause(b.snapshot().Len())):
		}
	}
}

// performBatch performs c and all changes that wait behind it, and writes once.
func (b *book) performBatch(c change) {
	next := b.snapshot().Roster
	var done []chan error
	for more := true; more; {
		if r, err := c.step(next); err != nil {
			c.done <- err
		} else {
			next = r
			done = append(done, c.done)
		}
		select {
		case c = <-b.changes:
		default:
			more = false
		}
	}
	err := b.adoptRoster(next)
	for _, d := range done {
		d <- err
	}
}

// adoptRoster makes next the roster in use once it is on disk. Where it is in use already
// nobody waits for the disk: what else is to be kept is tried again with the next change.
func (b *book) adoptRoster(next roster.Roster) error {
	next = next.Reduce()
	s := newSnapshot(next)
	if s.sum == b.snapshot().sum {
		if b.fresh != nil && b.fresh() {
			err := b.write(next)
			if err != nil {
				b.log.Debug("where else members were is not written", "error", err)
			}
		}
		return nil
	}
	if err := b.write(next); err != nil {
		b.log.Error("roster could not be written; news of other nodes is not used", "error", err)
		return err
	}
	b.current.Store(s)
	b.watch.Set(s)
	return nil
}

// nameOf returns the name of a node for people, or its id.
func (s *snapshot) nameOf(id view.NodeID) string {
	if e, ok := s.Get(id); ok && e.Name != "" {
		return e.Name
	}
	return id.String()
}

// latestBoot is the latest boot of a node that this one has admitted or heard of.
func (b *book) latestBoot(id view.NodeID) uint64 {
	e, _ := b.snapshot().Get(id)
	return e.Boot
}

// belongs tells whether a node may be said to live: it is not gone. Gossip asks for
// nodes of the roster only, a hello may come from any.
func (b *book) belongs(id view.NodeID) bool {
	e, ok := b.snapshot().Get(id)
	return !ok || !e.Status.Gone()
}

// isInRoster tells whether the roster holds a node, gone or not.
func (b *book) isInRoster(id view.NodeID) bool {
	_, ok := b.snapshot().Get(id)
	return ok
}

// isKnownLife tells whether e says nothing new: it is the life that is known.
func (b *book) isKnownLife(e roster.Entry) bool {
	known, ok := b.snapshot().Get(e.ID)
	return ok && known.Boot == e.Boot && known.Instance == e.Instance && known.HLC >= e.HLC && !known.Status.Gone()
}

// knowsOthers tells whether the roster holds any member that is not gone but one.
func (b *book) knowsOthers(self view.NodeID) bool {
	for e := range b.snapshot().All() {
		if e.ID != self && !e.Status.Gone() {
			return true
		}
	}
	return false
}
