package replica

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/replica/antientropy"
	"github.com/skeinmesh/skein/internal/replica/clocks"
	"github.com/skeinmesh/skein/internal/replica/comparing"
	"github.com/skeinmesh/skein/internal/replica/exporting"
	"github.com/skeinmesh/skein/internal/replica/former"
	"github.com/skeinmesh/skein/internal/replica/handover"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/merging"
	"github.com/skeinmesh/skein/internal/replica/outbox"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replica/purging"
	"github.com/skeinmesh/skein/internal/replica/reading"
	"github.com/skeinmesh/skein/internal/replica/routing"
	"github.com/skeinmesh/skein/internal/replica/scanning"
	"github.com/skeinmesh/skein/internal/replica/watching"
	"github.com/skeinmesh/skein/internal/replica/witness"
	"github.com/skeinmesh/skein/internal/replica/writing"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Store is a node's part in keeping the mesh's items: those it is a home of
// on its own disk, all others through the nodes that hold them. All methods
// may be used concurrently.
type Store struct {
	cfg     Config
	mesh    Mesh
	log     *slog.Logger
	id      view.NodeID
	dir     string
	shards  int
	started time.Time
	seal    wire.ContextKey // of contexts that go through clients

	group *lifecycle.Group
	gate  *admission.Gate
	disk  *storage.Store // nil on a node that stores nothing
	close sync.Once
	err   error // of closing

	outbox *outbox.Outbox // nil on a node that stores, or wants none

	homes       *layout.Homes
	buckets     *layout.Buckets // those that homes knows
	opened      openedBuckets
	records     *keep.Records // nil on a node that stores nothing
	peering     *peering.Peers
	patience    replicate.Patience
	clocks      *clocks.Clocks
	intakes     *admission.Intakes
	offers      *merging.Offers
	merger      *merging.Merger // nil on a node that stores nothing
	questions   *reading.Questions
	reader      *reading.Reader
	coordinator *writing.Coordinator // nil on a node that stores nothing
	router      *routing.Router
	pages       *scanning.Pages // nil on a node that stores nothing
	feed        *watching.Feed  // nil on a node that stores nothing
	watches     *watching.Watches
	sessions    watchSessions
	repairs     *reading.Repairs
	carrier     *handover.Carrier   // nil on a node that stores nothing
	comparer    *comparing.Comparer // nil on a node that stores nothing
	entropy     *antientropy.Comparisons
	purging     *purging.Purger // nil on a node that stores nothing
	former      *former.Importer
	exporter    *exporting.Exporter // nil on a node that stores nothing
	look        notify.Bell         // has the watching goroutine look at who is down
	inquests    *witness.Inquests
	meters      *meters
}

// handleLoss has what the disk gives up made up for; see storage.OnLost.
func (s *Store) handleLoss(tx *storage.Tx, lower, upper []byte) (then func(), err error) {
	lower, upper = bytes.Clone(lower), bytes.Clone(upper)
	synced, err := s.records.NoteLoss(tx, lower, upper)
	if err != nil {
		return nil, err
	}
	return func() {
		synced()
		s.group.Go(func(ctx context.Context) {
			if s.records.SeeToLoss(ctx, lower, upper) {
				s.carrier.Hints.WakeDelivery()
			}
		})
		s.entropy.Moved()
	}, nil
}

// startServing begins to serve and to follow the mesh.
func (s *Store) startServing(ctx context.Context) error {
	if s.disk != nil {
		s.pages = s.newPages()
	}
	s.watches = s.newWatches()
	if err := errors.Join(s.registerHandlers(), adminDesk{s}.registerHandlers()); err != nil {
		return err
	}
	if s.disk != nil {
		for _, b := range s.buckets.ListAll() {
			s.records.FollowBucket(b)
		}
		s.mesh.OnLeave(s.leaveMesh)
		s.group.Go(s.feed.KeepTelling)
		s.group.Go(s.reader.KeepRepairing)
		s.group.Go(s.carrier.Hints.KeepDelivering)
		s.group.Go(s.entropy.KeepEqual)
		s.group.Go(s.purging.FollowRounds)
		s.group.Go(s.purging.KeepPurging)
		s.group.Go(s.inquests.KeepAsking)
		s.group.Go(s.records.KeepLapsing)
		s.group.Go(func(ctx context.Context) { s.records.KeepScrubbing(ctx, s.cfg.ScrubEvery) })
		s.group.Go(func(ctx context.Context) { s.disk.Mend(ctx, s.handleLoss) })
		s.group.Go(func(ctx context.Context) {
			if s.records.RestoreIndex(ctx) {
				s.carrier.Hints.WakeDelivery()
			}
		})
		s.group.Go(s.former.KeepImporting)
		s.carrier.Hints.MarkOwed(s.homes.PeersInContact()...) // before they are looked through for the first time
		s.entropy.Moved()
	}
	if s.outbox != nil {
		s.group.Go(s.outbox.DeliverWaiting)
	}
	s.group.Go(s.watchViews)
	return nil
}

// watchViews follows the mesh until it is gone.
func (s *Store) watchViews(ctx context.Context) {
	views := s.mesh.Watch(ctx)
	look := time.NewTicker(min(max(s.cfg.HealAfter/8, time.Second), time.Minute))
	defer look.Stop()
	s.group.Go(s.clocks.AskMissing)
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			s.lookAgain()
			s.clocks.AskOne()
		case <-s.look:
			s.lookAgain()
		case a := <-s.inquests.Answers():
			s.homes.Heard(s.uptime(), a.ID, a.Witnesses)
			s.lookAgain()
		case <-s.mesh.Done():
			s.haltOperations()
			return
		case v, ok := <-views:
			if !ok {
				views = nil
				continue
			}
			s.applyView(v)
		}
	}
}

// applyView takes in a view.
func (s *Store) applyView(v view.View) {
	c, err := s.homes.Apply(v, s.uptime())
	if err != nil {
		s.log.Error("view not usable", "error", err)
		return
	}
	if s.disk != nil {
		s.inquests.AskNext()
	}
	lay := c.Now
	belongs := func(id view.NodeID) bool { _, belongs := lay.InMesh[id]; return belongs }
	s.clocks.Follow(lay.InMesh, lay.Members)
	s.intakes.ForgetStores(belongs)
	s.peering.RoundTrips.Forget(belongs)
	for _, id := range c.Back {
		s.peering.Silence.Note(id, true)
	}
	if len(c.Back) > 0 {
		s.group.Go(s.clocks.AskMissing)
	}
	if s.outbox != nil {
		s.resumeOutbox(lay, c.Back)
	}
	if s.disk == nil {
		return
	}
	s.entropy.EndWith(c.Lost)
	if c.Healed && !c.Roster {
		s.entropy.Moved()
	}
	if c.Roster {
		for _, b := range s.buckets.ListAll() {
			s.records.FollowBucket(b)
		}
		s.entropy.Forget(belongs)
		s.entropy.Moved()
	}
	if len(c.Back) > 0 {
		s.entropy.LookForStrays()
		s.entropy.Doubt(c.Back...)
		s.carrier.Hints.MarkOwed(c.Back...)
		s.former.RetryNow()
	}
	if len(c.Back) > 0 || c.Roster {
		s.carrier.Hints.WakeDelivery()
	}
}

// haltOperations ends all operations and does not wait. Those that are answered later
// have nobody who could take them back from a committer that is held up: it has
// to let go of them.
func (s *Store) haltOperations() {
	s.gate.Ops.Shut()
	s.group.Cancel()
	if s.disk != nil {
		s.disk.Refuse()
	}
}

// Close ends all operations, which return ErrClosed, waits for them and for everything
// in the background, and closes the data. The mesh node goes on without it, but cannot
// leave for good any more. Whatever goes on, and whoever is silent, Close returns
// within two seconds beyond what the disk takes for what it is at.
func (s *Store) Close() error {
	s.close.Do(func() {
		s.haltOperations()
		<-s.gate.Ops.Empty()
		s.group.Close()
		if s.disk != nil {
			s.err = s.disk.Close()
		}
		if s.outbox != nil {
			s.err = s.outbox.Close()
		}
	})
	return s.err
}

// noteMissed notes that a store has not got a write that is synced here, or has not said that
// it did: it lacks that until it is delivered, or found by a comparison. For one that is
// out of contact its return will tell.
func (s *Store) noteMissed(by view.NodeID) {
	if s.disk != nil && s.homes.IsPeer(by) {
		s.carrier.Hints.MarkOwed(by)
		s.entropy.Missed(by)
	}
}

func (s *Store) uptime() time.Duration { return time.Since(s.started) }
