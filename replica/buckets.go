package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// systemBucket is the id of the bucket whose items define all others. Its
// keys are names, its values definitions. All of it lies in shard 0, and every
// storing node is a home of it.
const systemBucket = 1

// buckets knows the definitions of all buckets that have come here.
type buckets struct {
	s   *Store
	all atomic.Pointer[map[uint64]*bucket]

	mu        sync.Mutex
	conflicts map[string]bool // names defined in two ways
}

func newBuckets(s *Store) *buckets {
	r := &buckets{s: s, conflicts: make(map[string]bool)}
	all := map[uint64]*bucket{systemBucket: {id: systemBucket, system: true, def: wire.BucketDef{Siblings: true}}}
	r.all.Store(&all)
	return r
}

func (r *buckets) findByID(id uint64) *bucket { return (*r.all.Load())[id] }

func (r *buckets) system() *bucket { return r.findByID(systemBucket) }

// listAll returns all buckets, the system bucket first, the rest by id.
func (r *buckets) listAll() []*bucket {
	all := *r.all.Load()
	out := make([]*bucket, 0, len(all))
	for _, id := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[id])
	}
	return out
}

// bucketID hashes all that never changes of a bucket.
func bucketID(def []byte) uint64 {
	id := xxhash.Sum64(def)
	if id <= systemBucket {
		id += systemBucket + 1
	}
	return id
}

// addDefinition makes a definition known here and returns its bucket. It fails with
// ErrBucketConflict when another definition has the id: that is a hash for which
// a name can be computed, and who knows one must not get at another bucket's data
// by it.
func (r *buckets) addDefinition(def wire.BucketDef) (*bucket, error) {
	r.mu.Lock()
	id, err := r.definitionID(&def)
	b := r.findByID(id)
	added := b == nil
	if err != nil {
		r.mu.Unlock()
		return nil, err
	}
	if added {
		b = &bucket{id: id, def: def}
		all := maps.Clone(*r.all.Load())
		all[id] = b
		r.all.Store(&all)
	}
	r.mu.Unlock()
	if added && r.s.disk != nil {
		r.s.followBucket(b)
		r.s.entropy.DoubtAll()
		r.s.hints.wakeDelivery()
	}
	return b, nil
}

// definitionID returns the id of a definition, unless another one has it.
func (r *buckets) definitionID(def *wire.BucketDef) (uint64, error) {
	text := wire.AppendBucketDef(nil, def)
	id := bucketID(text)
	if b := r.findByID(id); b != nil && !bytes.Equal(wire.AppendBucketDef(nil, &b.def), text) {
		return id, fmt.Errorf("%w: %q would be bucket %016x, which is %q", ErrBucketConflict, def.Name, id, b.def.Name)
	}
	return id, nil
}

// checkDefinition tells why a write to the system bucket may not define what it says.
func (r *buckets) checkDefinition(w *reconcile.Write) error {
	if w.Tomb {
		return nil
	}
	def, err := wire.DecodeBucketDef(w.Value)
	if err != nil {
		return fmt.Errorf("replica: bucket definition: %w", err)
	}
	_, err = r.definitionID(&def)
	return err
}

// checkName refuses the name of a new bucket that could not be shown or typed.
func checkName(name string) error {
	bad := func(c rune) bool { return !unicode.IsPrint(c) }
	if !utf8.ValidString(name) || strings.ContainsFunc(name, bad) {
		return fmt.Errorf("%w: the name %q is not all printable characters", ErrBadBucket, name)
	}
	return nil
}

// hasConflict tells whether a name is defined in two ways.
func (r *buckets) hasConflict(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conflicts[name]
}

// learnDefinitions takes in what the system bucket says of a name and returns the
// definitions in force.
func (r *buckets) learnDefinitions(name string, it version.Item) []*bucket {
	var out []*bucket
	for _, sib := range reconcile.Live(it, r.s.clocks.Early()) {
		def, err := wire.DecodeBucketDef(sib.Value)
		if err != nil || def.Name != name {
			r.s.log.Error("bucket definition does not read", "bucket", name, "error", err)
			continue
		}
		b, err := r.addDefinition(def)
		if err != nil {
			r.s.log.Error("bucket definition is not taken in", "bucket", name, "error", err)
		} else if !slices.Contains(out, b) {
			out = append(out, b)
		}
	}
	r.mu.Lock()
	was := r.conflicts[name]
	r.conflicts[name] = was || len(out) > 1 // definitions never go away; one answer may lack some
	r.mu.Unlock()
	if len(out) > 1 && !was {
		r.s.log.Error("bucket is defined in two ways; both keep their data", "bucket", name)
	}
	return out
}

// loadDefinitions reads all definitions that are stored here.
func (r *buckets) loadDefinitions(ctx context.Context) error {
	items := make(map[string]version.Item)
	lower := wire.RecordPrefix(0, systemBucket, 0)
	err := r.s.disk.Scan(ctx, lower, wire.After(lower), func(k, v []byte) error {
		_, _, name, _ := wire.ParseRecordKey(k)
		if it, err := itemOf(slices.Clone(v)); err == nil {
			items[name] = it
		}
		return nil
	})
	for name, it := range items {
		r.learnDefinitions(name, it)
	}
	return r.s.diskError("read the buckets", err)
}

// publishDefinition makes the definition of b known to the mesh, or finds that it is. It
// fails with ErrBucketConflict when the name means something else; too tells
// whether it then means b as well.
func (r *buckets) publishDefinition(ctx context.Context, b *bucket) (too bool, err error) {
	sys := r.system()
	at := r.s.locateKey(systemBucket, b.def.Name)
	lay := r.s.layout.Load()
	read, err := r.s.readByPlan(ctx, sys, at, r.s.makePlan(lay, lay.routeOf(sys, at.shard)), replicate.One, false)
	if err != nil {
		return false, err
	}
	in := r.learnDefinitions(b.def.Name, read.Item)
	switch {
	case len(in) == 1 && in[0].id == b.id:
		return true, nil
	case len(in) > 0:
		return slices.Contains(in, r.findByID(b.id)), fmt.Errorf("%w: %q", ErrBucketConflict, b.def.Name)
	}
	// An older version may have defined such a bucket, which stays open.
	if err := checkName(b.def.Name); err != nil {
		return false, err
	}
	if _, err := r.definitionID(&b.def); err != nil {
		return false, err
	}
	seen := reconcile.SeenOf(read.Item)
	_, err = r.s.routeWrite(ctx, r.newDefinitionWrite(b, at, &seen))
	if errors.Is(err, ErrBucketConflict) {
		return false, err
	}
	if errors.Is(err, ErrDegraded) || errors.Is(err, ErrUnavailable) {
		// It will be told to each store that turns out not to know it.
		err = nil
	}
	return true, err
}

func (r *buckets) newDefinitionWrite(b *bucket, at place, seen *reconcile.Seen) *request {
	return &request{
		bucket: r.system(), at: at, level: replicate.DefaultLevel, durable: 1,
		write: reconcile.Write{Seen: seen, Value: wire.AppendBucketDef(nil, &b.def)},
	}
}

// sendDefinition tells a store the definition of b, until a time.
func (s *Store) sendDefinition(ctx context.Context, to view.NodeID, b *bucket, until time.Time) error {
	if b.system {
		return errUnknownBucket
	}
	at := s.locateKey(systemBucket, b.def.Name)
	q := s.buckets.newDefinitionWrite(b, at, &reconcile.Seen{})
	q.until = until
	_, err := s.forwardWrite(ctx, to, q, nil)
	if errors.Is(err, ErrDegraded) {
		return nil
	}
	return err
}
