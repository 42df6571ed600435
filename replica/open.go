package replica

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/replica/antientropy"
	"github.com/skeinmesh/skein/internal/replica/comparing"
	"github.com/skeinmesh/skein/internal/replica/exporting"
	"github.com/skeinmesh/skein/internal/replica/former"
	"github.com/skeinmesh/skein/internal/replica/handover"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/merging"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replica/purging"
	"github.com/skeinmesh/skein/internal/replica/reading"
	"github.com/skeinmesh/skein/internal/replica/routing"
	"github.com/skeinmesh/skein/internal/replica/witness"
	"github.com/skeinmesh/skein/internal/replica/writing"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

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
	s.openLanes(storing)
	if storing {
		if err := s.openDisk(ctx); err != nil {
			s.group.Close()
			return nil, err
		}
	} else if err := s.openOutbox(ctx); err != nil {
		s.group.Close()
		return nil, err
	}
	s.openCoordination(storing)
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

// openLanes makes the ways to other stores, and what works in the background.
func (s *Store) openLanes(storing bool) {
	s.repairs = reading.NewRepairs()
	s.entropy = antientropy.New(antientropy.Options{Work: equalizing{s}, Every: s.cfg.SyncEvery, Now: s.uptime, Log: s.log})
	s.inquests, s.look = witness.NewInquests(s.homes, s.mesh, s.log), notify.NewBell()
	s.intakes = admission.NewIntakes(s.cfg.AckTimeout, s.cfg.MaxPendingBytes/4)
	room := int(s.cfg.MaxPendingBytes / 2)
	s.clocks = s.newClocks(storing)
	s.offers = merging.NewOffers(merging.Options{
		Mesh: s.mesh, Group: s.group, Peers: s.peering, Clocks: s.clocks, Clock: s.cfg.clock, Faults: faults, AckTimeout: s.cfg.AckTimeout, Room: room,
	})
	s.questions = reading.NewQuestions(reading.QuestionOptions{
		Mesh: s.mesh, Group: s.group, Peers: s.peering, Clocks: s.clocks, AckTimeout: s.cfg.AckTimeout, Room: room,
	})
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
	s.exporter = exporting.New(exporting.Options{
		Self: s.id, Mesh: s.mesh.View().Mesh, Records: s.records, Disk: s.disk, Homes: s.homes, Pace: s.carrier.Pace,
	})
	return s.records.Open(ctx)
}

// openCoordination makes what reads and writes keys.
func (s *Store) openCoordination(storing bool) {
	s.reader = reading.New(reading.Options{
		Self: s.id, Homes: s.homes, Records: s.records, Peers: s.peering, Questions: s.questions, Offers: s.offers, Repairs: s.repairs,
		Clock: s.cfg.clock, AckTimeout: s.cfg.AckTimeout, Uptime: s.uptime, Log: s.log,
	})
	if storing {
		s.coordinator = writing.New(writing.Options{
			Self: s.id, Group: s.group, Gate: s.gate, Intakes: s.intakes, Homes: s.homes, Records: s.records, Disk: s.disk, Clocks: s.clocks,
			Peers: s.peering, Offers: s.offers, Reader: s.reader, Purging: s.purging, Missed: s.noteMissed, Faults: faults,
			Patience: s.patience, AckTimeout: s.cfg.AckTimeout, Uptime: s.uptime, Log: s.log,
		})
	}
	s.router = routing.New(routing.Options{
		Self: s.id, Group: s.group, Intakes: s.intakes, Homes: s.homes, Peers: s.peering, Local: s.coordinator, Faults: faults,
		Patience: s.patience, Uptime: s.uptime,
	})
}
