package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/replica/antientropy"
	"github.com/skeinmesh/skein/internal/replica/clocks"
	"github.com/skeinmesh/skein/internal/replica/comparing"
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
	look        notify.Bell // has the watching goroutine look at who is down
	inquests    *inquests
	meters      *meters
}

// Open opens the store of a running mesh node. On a storing node that is the
// data beside its identity; on another one it is the outbox, and every
// operation goes to nodes that store.
//
// Open does not wait for peers. ctx bounds the opening only.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	s := &Store{cfg: cfg, mesh: cfg.Mesh, log: cfg.Logger.With("node", cfg.Mesh.ID().String()), id: cfg.Mesh.ID(), shards: cfg.Mesh.Shards(), started: time.Now()}
	s.seal, s.meters = cfg.Mesh.Subkey("replica: contexts"), newMeters(s.id)
	s.gate = admission.NewGate(cfg.MaxPending, cfg.MaxPendingBytes)
	s.dir = filepath.Join(cfg.Mesh.Dir(), "store")
	v := s.mesh.View()
	m, ok := v.Member(s.id)
	storing := ok && m.Storing
	s.group = lifecycle.NewGroup(context.WithoutCancel(ctx))
	s.patience = replicate.Patience(cfg.AckTimeout)
	s.peering = peering.NewPeers(peering.Options{Self: s.id, Mesh: s.mesh, Group: s.group, Patience: s.patience, Boot: cfg.clock.Boot})
	if err := s.openHomes(v, storing); err != nil {
		s.group.Close()
		return nil, err
	}
	s.repairs = reading.NewRepairs()
	s.entropy = antientropy.New(antientropy.Options{Work: equalizing{s}, Every: cfg.SyncEvery, Now: s.uptime, Log: s.log})
	s.inquests, s.look = newInquests(s.homes, s.mesh, s.log), notify.NewBell()
	s.intakes = admission.NewIntakes(cfg.AckTimeout, cfg.MaxPendingBytes/4)
	room := int(cfg.MaxPendingBytes / 2)
	s.clocks = s.newClocks(storing)
	s.offers = merging.NewOffers(merging.Options{
		Mesh: s.mesh, Group: s.group, Peers: s.peering, Clocks: s.clocks, Clock: cfg.clock, Faults: faults, AckTimeout: cfg.AckTimeout, Room: room,
	})
	s.questions = reading.NewQuestions(reading.QuestionOptions{
		Mesh: s.mesh, Group: s.group, Peers: s.peering, Clocks: s.clocks, AckTimeout: cfg.AckTimeout, Room: room,
	})
	if storing {
		if err := s.openDisk(ctx); err != nil {
			s.group.Close()
			return nil, err
		}
	} else if err := s.openOutbox(ctx); err != nil {
		s.group.Close()
		return nil, err
	}
	s.reader = reading.New(reading.Options{
		Self: s.id, Homes: s.homes, Records: s.records, Peers: s.peering, Questions: s.questions, Offers: s.offers, Repairs: s.repairs,
		Clock: cfg.clock, AckTimeout: cfg.AckTimeout, Uptime: s.uptime, Log: s.log,
	})
	if storing {
		s.coordinator = writing.New(writing.Options{
			Self: s.id, Group: s.group, Gate: s.gate, Intakes: s.intakes, Homes: s.homes, Records: s.records, Disk: s.disk, Clocks: s.clocks,
			Peers: s.peering, Offers: s.offers, Reader: s.reader, Purging: s.purging, Missed: s.noteMissed, Faults: faults,
			Patience: s.patience, AckTimeout: cfg.AckTimeout, Uptime: s.uptime, Log: s.log,
		})
	}
	s.router = routing.New(routing.Options{
		Self: s.id, Group: s.group, Intakes: s.intakes, Homes: s.homes, Peers: s.peering, Local: s.coordinator, Faults: faults,
		Patience: s.patience, Uptime: s.uptime,
	})
	s.former = former.New(former.Options{
		Self: s.id, FS: cfg.fs, Dir: s.mesh.Dir(), Log: s.log, View: s.mesh.View, Records: s.records, Disk: s.disk, Homes: s.homes,
		Purging: s.purging, Carrier: s.carrier, Peers: s.peering, Taking: s.gate.Taking, Deliver: s.deliverFormer,
	})
	err := s.former.Open(ctx)
	if err == nil {
		err = s.startServing(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// openHomes finds out what belongs where by a first view.
func (s *Store) openHomes(v view.View, storing bool) (err error) {
	opts := layout.Options{Self: s.id, Shards: s.shards, Stores: storing, Silence: s.peering.Silence, HealAfter: s.cfg.HealAfter, Log: s.log}
	if storing {
		opts.Added = s.handleNewBucket
	}
	if s.homes, err = layout.New(opts, v); err != nil {
		return err
	}
	s.buckets = s.homes.Buckets
	return nil
}

// openDisk opens the data and marks it as belonging to this node.
func (s *Store) openDisk(ctx context.Context) error {
	owner, err := keep.ReadOwner(s.cfg.fs, s.dir)
	switch {
	case err == nil && owner.Node != s.id:
		return fmt.Errorf("replica: the data in %s belongs to node %v, this is %v", s.dir, owner.Node, s.id)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("replica: open: %w", err)
	}
	damaged := new(purging.DamagedLog)
	s.feed = s.newFeed()
	s.disk, err = storage.Open(storage.Options{
		FS: s.cfg.fs, Dir: s.dir, CacheBytes: s.cfg.CacheBytes, MemTableBytes: s.cfg.memTable,
		Reserve: s.cfg.ReserveBytes, BlockBytes: s.cfg.block, Logger: s.log,
		OnCorrupt: func(key []byte, _ error) {
			if at, ok := layout.PlaceOf(key); ok {
				s.repairs.EnqueueDamaged(at)
			} else if shard, _, _, ok := wire.ParseLogKey(key); ok {
				damaged.AddKey(shard, key)
			}
		},
		OnSync: func(took time.Duration) {
			s.meters.countSync(took)
			s.feed.Publish()
		},
	})
	switch {
	case errors.Is(err, storage.ErrLocked):
		return fmt.Errorf("%w: %w", ErrLocked, err)
	case errors.Is(err, storage.ErrNewerFormat):
		return fmt.Errorf("%w: %w", ErrNewerFormat, err)
	case err != nil:
		return fmt.Errorf("replica: open: %w", err)
	}
	if !owner.Initialised {
		// From now on an identity without this data is a new node.
		err = keep.WriteOwner(s.cfg.fs, s.dir, wire.Owner{Node: s.id, Initialised: true})
	}
	if err == nil {
		err = s.openRecords(ctx, damaged)
	}
	if errors.Is(err, storage.ErrCorrupt) {
		err = fmt.Errorf("start the node with an empty directory under the same name, the other nodes will fill it: %w", err)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("replica: open: %w", err), s.disk.Close())
	}
	return nil
}

// openRecords opens what the disk keeps of items.
func (s *Store) openRecords(ctx context.Context, damaged *purging.DamagedLog) (err error) {
	s.records, err = keep.New(keep.Options{
		Self: s.id, Mesh: s.mesh.View().Mesh, Shards: s.shards, Disk: s.disk, Dir: s.dir, Homes: s.homes, Clocks: s.clocks, Group: s.group,
		Machine: s.cfg.boot, DistrustDisk: s.cfg.DistrustDisk, MaxSkew: s.cfg.MaxSkew, Boot: s.cfg.clock.Boot, Uptime: s.uptime, Log: s.log,
		Hinted: func() { s.carrier.Hints.ScheduleDelivery() }, Strayed: s.entropy.LookLater, Damaged: s.repairs.EnqueueDamaged, Watchers: s.feed,
	})
	if err != nil {
		return err
	}
	s.purging = purging.New(purging.Options{
		Self: s.id, Shards: s.shards, Records: s.records, Disk: s.disk, Damaged: damaged, Homes: s.homes, Clocks: s.clocks,
		Every: s.cfg.PurgeEvery, Uptime: s.uptime, Log: s.log, Ask: s.peering.AskLong,
	})
	s.carrier = handover.New(handover.Options{
		Self: s.id, Records: s.records, Disk: s.disk, Homes: s.homes, Purging: s.purging, Entropy: s.entropy,
		Pace: handover.NewPace(s.cfg.TransferRate, s.gate.HasPending), Taking: s.gate.Taking, AckTimeout: s.cfg.AckTimeout,
		Uptime: s.uptime, Log: s.log, Ask: s.peering.AskLong, Offer: s.offers.OfferItems,
	})
	s.comparer = comparing.New(comparing.Options{
		Self: s.id, Shards: s.shards, Records: s.records, Disk: s.disk, Homes: s.homes, Purging: s.purging, Carrier: s.carrier,
		Peers: s.peering, Group: s.group, Uptime: s.uptime, Writing: s.gate.HasPending,
	})
	s.merger = merging.NewMerger(merging.MergerOptions{
		Self: s.id, Group: s.group, Gate: s.gate, Homes: s.homes, Records: s.records, Clocks: s.clocks, Clock: s.cfg.clock,
	})
	return s.records.Open(ctx)
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
		s.group.Go(s.inquests.keepAsking)
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
		case a := <-s.inquests.answers:
			s.homes.Heard(s.uptime(), a.id, a.Witnesses)
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
		s.inquests.askNext()
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
	if s.homes.IsPeer(by) {
		s.carrier.Hints.MarkOwed(by)
		s.entropy.Missed(by)
	}
}

func (s *Store) uptime() time.Duration { return time.Since(s.started) }
