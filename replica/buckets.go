package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
)

// openedBuckets are the configurations with which this node's program has opened its
// buckets. The zero value is empty. All methods may be used concurrently.
type openedBuckets struct {
	mu   sync.Mutex
	byID map[uint64]BucketConfig
}

// noteOpened remembers a configuration in the place of an earlier one.
func (o *openedBuckets) noteOpened(id uint64, cfg BucketConfig) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.byID == nil {
		o.byID = make(map[uint64]BucketConfig)
	}
	o.byID[id] = cfg
}

// configOf is by what a client's operation on a bucket goes: as the program has opened
// it, for the program reads what the client writes. Of a bucket that it has not opened
// nothing is known but what the formats have room for.
func (o *openedBuckets) configOf(id uint64) BucketConfig {
	o.mu.Lock()
	defer o.mu.Unlock()
	if cfg, ok := o.byID[id]; ok {
		return cfg
	}
	return BucketConfig{MaxKey: wire.MaxKey, MaxValue: wire.MaxValue}
}

// checkName refuses the name of a new bucket that could not be shown or typed.
func checkName(name string) error {
	bad := func(c rune) bool { return !unicode.IsPrint(c) }
	if !utf8.ValidString(name) || strings.ContainsFunc(name, bad) {
		return fmt.Errorf("%w: the name %q is not all printable characters", ErrBadBucket, name)
	}
	return nil
}

// handleNewBucket has everybody who must begin to see to a bucket that has become known.
func (s *Store) handleNewBucket(b *layout.Bucket) {
	s.records.FollowBucket(b)
	s.entropy.DoubtAll()
	s.carrier.Hints.WakeDelivery()
}

// publishDefinition makes the definition of b known to the mesh, or finds that it is. It
// fails with ErrBucketConflict when the name means something else; too tells
// whether it then means b as well.
func (s *Store) publishDefinition(ctx context.Context, b *layout.Bucket) (too bool, err error) {
	sys := s.buckets.System()
	at := s.homes.LocateKey(layout.SystemBucket, b.Def.Name)
	lay := s.homes.Now()
	read, err := s.reader.ReadByPlan(ctx, sys, at, s.homes.MakePlan(lay, lay.RouteOf(sys, at.Shard)), replicate.One, false)
	if err != nil {
		return false, err
	}
	in := s.buckets.LearnDefinitions(b.Def.Name, read.Item, s.clocks.Early())
	switch {
	case len(in) == 1 && in[0].ID == b.ID:
		return true, nil
	case len(in) > 0:
		return slices.Contains(in, s.buckets.FindByID(b.ID)), fmt.Errorf("%w: %q: %s", ErrBucketConflict, b.Def.Name, layout.DescribeDifference(b, in))
	}
	// An older version may have defined such a bucket, which stays open.
	if err := checkName(b.Def.Name); err != nil {
		return false, err
	}
	if _, err := s.buckets.IDOf(&b.Def); err != nil {
		return false, err
	}
	seen := reconcile.SeenOf(read.Item)
	_, err = s.router.RouteWrite(ctx, s.router.NewDefinition(b, at, &seen))
	if errors.Is(err, ErrBucketConflict) {
		return false, err
	}
	if errors.Is(err, ErrDegraded) || errors.Is(err, ErrUnavailable) {
		// It will be told to each store that turns out not to know it.
		err = nil
	}
	return true, err
}
