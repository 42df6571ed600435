package layout

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/version"
)

// ErrBucketConflict: a name is defined in two ways, or two definitions have one id.
var ErrBucketConflict = errors.New("replica: bucket is defined in two ways")

// Buckets knows the definitions of all buckets that have come here.
type Buckets struct {
	added func(b *Bucket) // nil: nobody is told
	log   *slog.Logger
	all   atomic.Pointer[map[uint64]*Bucket]

	mu        sync.Mutex
	conflicts map[string]bool // names defined in two ways
}

func newBuckets(added func(*Bucket), log *slog.Logger) *Buckets {
	r := &Buckets{added: added, log: log, conflicts: make(map[string]bool)}
	all := map[uint64]*Bucket{SystemBucket: {ID: SystemBucket, System: true, Def: wire.BucketDef{Siblings: true}}}
	r.all.Store(&all)
	return r
}

// FindByID returns a bucket, nil if its definition has not come here.
func (r *Buckets) FindByID(id uint64) *Bucket { return (*r.all.Load())[id] }

// System returns the bucket whose items define all others.
func (r *Buckets) System() *Bucket { return r.FindByID(SystemBucket) }

// ListAll returns all buckets, the system bucket first, the rest by id.
func (r *Buckets) ListAll() []*Bucket {
	all := *r.all.Load()
	out := make([]*Bucket, 0, len(all))
	for _, id := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[id])
	}
	return out
}

// AddDefinition makes a definition known here and returns its bucket. It fails with
// ErrBucketConflict when another definition has the id: that is a hash for which
// a name can be computed, and who knows one must not get at another bucket's data
// by it.
func (r *Buckets) AddDefinition(def wire.BucketDef) (*Bucket, error) {
	r.mu.Lock()
	id, err := r.IDOf(&def)
	b := r.FindByID(id)
	added := b == nil
	if err != nil {
		r.mu.Unlock()
		return nil, err
	}
	if added {
		b = &Bucket{ID: id, Def: def}
		all := maps.Clone(*r.all.Load())
		all[id] = b
		r.all.Store(&all)
	}
	r.mu.Unlock()
	if added && r.added != nil {
		r.added(b)
	}
	return b, nil
}

// IDOf returns the id of a definition, unless another one has it.
func (r *Buckets) IDOf(def *wire.BucketDef) (uint64, error) {
	text := wire.AppendBucketDef(nil, def)
	id := BucketID(text)
	if b := r.FindByID(id); b != nil && !bytes.Equal(wire.AppendBucketDef(nil, &b.Def), text) {
		return id, fmt.Errorf("%w: %q would be bucket %016x, which is %q", ErrBucketConflict, def.Name, id, b.Def.Name)
	}
	return id, nil
}

// CheckDefinition tells why a write to the system bucket may not define what it says.
func (r *Buckets) CheckDefinition(w *reconcile.Write) error {
	if w.Tomb {
		return nil
	}
	def, err := wire.DecodeBucketDef(w.Value)
	if err != nil {
		return fmt.Errorf("replica: bucket definition: %w", err)
	}
	_, err = r.IDOf(&def)
	return err
}

// HasConflict tells whether a name is defined in two ways.
func (r *Buckets) HasConflict(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conflicts[name]
}

// LearnDefinitions takes in what the system bucket says of a name, read at a date, and
// returns the definitions in force.
func (r *Buckets) LearnDefinitions(name string, it version.Item, now version.HLC) []*Bucket {
	var out []*Bucket
	for _, sib := range reconcile.Live(it, now) {
		def, err := wire.DecodeBucketDef(sib.Value)
		if err != nil || def.Name != name {
			r.log.Error("bucket definition does not read", "bucket", name, "error", err)
			continue
		}
		b, err := r.AddDefinition(def)
		if err != nil {
			r.log.Error("bucket definition is not taken in", "bucket", name, "error", err)
		} else if !slices.Contains(out, b) {
			out = append(out, b)
		}
	}
	r.mu.Lock()
	was := r.conflicts[name]
	r.conflicts[name] = was || len(out) > 1 // definitions never go away; one answer may lack some
	r.mu.Unlock()
	if len(out) > 1 && !was {
		r.log.Error("bucket is defined in two ways; both keep their data", "bucket", name)
	}
	return out
}
