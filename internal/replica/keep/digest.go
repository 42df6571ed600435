package keep

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// digests holds one sum per slice in memory. A sum is built from storage when
// it is first asked for and follows every commit from then on.
type digests struct {
	hashers  []reconcile.Hasher // by shard
	building chan struct{}      // holds a token while sums are built

	mu   sync.Mutex
	sums map[layout.Slice]*sum
}

type sum struct {
	built bool
	total reconcile.Digest
	keys  int
	// While a sum is built: what commits made of keys since the building
	// began. Whatever the scan saw of them does not count.
	later map[string]*reconcile.Element // nil element: the record is gone
}

func newDigests(mesh view.MeshID, shards int) (*digests, error) {
	d := &digests{hashers: make([]reconcile.Hasher, shards), building: make(chan struct{}, 1), sums: make(map[layout.Slice]*sum)}
	for i := range d.hashers {
		info := string(binary.BigEndian.AppendUint16([]byte("skein digest "), uint16(i)))
		key, err := hkdf.Key(sha256.New, mesh[:], nil, info, 16)
		if err != nil {
			return nil, fmt.Errorf("replica: digest key: %w", err)
		}
		d.hashers[i] = reconcile.NewHasher([16]byte(key))
	}
	return d, nil
}

// applyChange follows a record from before to after; Unknown items stand for no
// record. It runs on the committing goroutine, as the last thing of an update
// that will be kept.
func (d *digests) applyChange(at layout.Slice, key string, before, after version.Item) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sums[at]
	if s == nil {
		return
	}
	h := d.hashers[at.Shard]
	k := h.Key([]byte(key))
	if s.later != nil {
		var e *reconcile.Element
		if !after.Unknown() {
			e = &reconcile.Element{Key: k, Version: h.Version(after)}
		}
		s.later[key] = e
		return
	}
	if !before.Unknown() {
		s.total.Remove(reconcile.Element{Key: k, Version: h.Version(before)})
		s.keys--
	}
	if !after.Unknown() {
		s.total.Add(reconcile.Element{Key: k, Version: h.Version(after)})
		s.keys++
	}
}

// ForgetDigest drops a sum that can no longer be trusted, because a record changed
// in a way that no commit told of. It will be built anew.
func (d *digests) ForgetDigest(at layout.Slice) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.sums, at)
}

// BuiltDigest returns the sum of a slice if it is built.
func (d *digests) BuiltDigest(at layout.Slice) (total reconcile.Digest, keys int, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sums[at]
	if s == nil || !s.built {
		return reconcile.Digest{}, 0, false
	}
	return s.total, s.keys, true
}

// CountKeys returns how many records each of the slices has, by the sums that are
// built.
func (d *digests) CountKeys(at []layout.Slice) []int {
	out := make([]int, len(at))
	for i, a := range at {
		_, out[i], _ = d.BuiltDigest(a)
	}
	return out
}

// HashBytes returns the n-th byte of the hash of each slice's sum, by the sums that
// are built.
func (d *digests) HashBytes(at []layout.Slice, n int) []byte {
	out := make([]byte, len(at))
	for i, a := range at {
		total, _, _ := d.BuiltDigest(a)
		out[i] = byte(reconcile.Element(total).Fingerprint() >> (8 * n))
	}
	return out
}

// AwaitTurn waits until nobody else reads records for digests or sketches. Each turn
// needs a done.
func (d *digests) AwaitTurn(ctx context.Context) error {
	select {
	case d.building <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *digests) EndTurn() { <-d.building }

// buildSums makes the sums of the slices available.
//
// It begins at a batch boundary: all that was committed before the boundary
// is seen by the scan, all that is committed after it notes its key in later.
func (d *digests) buildSums(ctx context.Context, disk *storage.Store, at []layout.Slice) error {
	if err := d.AwaitTurn(ctx); err != nil {
		return err
	}
	defer d.EndTurn()
	unbuilt, err := d.beginBuild(ctx, disk, at)
	for i, a := range unbuilt {
		var seen map[string]reconcile.Element
		if err == nil {
			seen, err = d.collectElements(ctx, disk, a)
		}
		if err != nil {
			for _, rest := range unbuilt[i:] {
				d.ForgetDigest(rest)
			}
			return err
		}
		d.finishSum(a, seen)
	}
	return err
}

// beginBuild has commits note what they change from the next batch on, and returns
// the slices that are to be built.
func (d *digests) beginBuild(ctx context.Context, disk *storage.Store, at []layout.Slice) (unbuilt []layout.Slice, err error) {
	err = disk.Look(ctx, func(*storage.Tx) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, a := range at {
			if s := d.sums[a]; s == nil || !s.built {
				d.sums[a] = &sum{later: make(map[string]*reconcile.Element)}
				unbuilt = append(unbuilt, a)
			}
		}
		return nil
	})
	return unbuilt, err
}

// collectElements reads the elements of a slice from storage.
func (d *digests) collectElements(ctx context.Context, disk *storage.Store, at layout.Slice) (map[string]reconcile.Element, error) {
	seen := make(map[string]reconcile.Element)
	lower := wire.RecordPrefix(at.Shard, at.Bucket, 0)
	err := disk.Scan(ctx, lower, wire.After(lower), func(k, v []byte) error {
		_, _, key, _ := wire.ParseRecordKey(k)
		if it, err := ItemOf(v); err == nil {
			seen[key] = d.hashers[at.Shard].Element([]byte(key), it)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("replica: digest of shard %d: %w", at.Shard, err)
	}
	return seen, nil
}

// finishSum adds up what was seen and what commits have made of it since begin.
func (d *digests) finishSum(at layout.Slice, seen map[string]reconcile.Element) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sums[at]
	if s == nil || s.later == nil {
		return // forgotten while it was built: the next who asks builds it
	}
	for key, e := range s.later {
		if delete(seen, key); e != nil {
			seen[key] = *e
		}
	}
	for _, e := range seen {
		s.total.Add(e)
	}
	s.keys, s.later, s.built = len(seen), nil, true
}

// Digest is the digest over slices; what is not built yet is built.
func (rs *Records) Digest(ctx context.Context, at []layout.Slice) (reconcile.Digest, error) {
	var total reconcile.Digest
	var missing []layout.Slice
	for _, a := range at {
		if d, _, ok := rs.digests.BuiltDigest(a); ok {
			total.Key += d.Key
			total.Version += d.Version
		} else {
			missing = append(missing, a)
		}
	}
	if len(missing) == 0 {
		return total, nil
	}
	if err := rs.digests.buildSums(ctx, rs.disk, missing); err != nil {
		return total, err
	}
	for _, a := range missing {
		d, _, _ := rs.digests.BuiltDigest(a) // one that was forgotten meanwhile differs, which is all right
		total.Key += d.Key
		total.Version += d.Version
	}
	return total, nil
}

// VersionOf is the hash of an item in a shard by which stores compare records.
func (d *digests) VersionOf(shard int, it version.Item) uint64 { return d.hashers[shard].Version(it) }

// ElementOf is what a record adds to the digest of its shard.
func (d *digests) ElementOf(shard int, key []byte, it version.Item) reconcile.Element {
	return d.hashers[shard].Element(key, it)
}
