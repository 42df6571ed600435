package backup

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/retain"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/slice"
)

const (
	// segmentBytes is how much is collected before it is sealed.
	segmentBytes = 2 << 20
	// goneInSection is how many keys that are gone one section names.
	goneInSection = 100_000
	// mostRecord is how large a record may be to be backed up: an object has room for it.
	mostRecord = 14 << 20
)

// Done tells of one backup that was made.
type Done struct {
	Segments int   // put
	Bytes    int64 // put, the manifest included
	Slices   int   // that this node leads, and sources
	Changed  int   // of them
	Records  int   // written
	// NotReady is how many slices could not be read, as this node was catching up; TooLarge how
	// many records cannot be backed up, as their concurrent values have grown too large together.
	NotReady, TooLarge int
	// Failed says which slices could not be read whole, which sources broke off, and which of their
	// files were left out: what an earlier backup has of them stays. Nil: none.
	Failed error
}

// lacksSome tells whether the backup lacks slices, records or files.
func (d *Done) lacksSome() bool { return d.NotReady > 0 || d.TooLarge > 0 || d.Failed != nil }

// backupRun makes one backup.
type backupRun struct {
	mesh   view.MeshID
	node   view.NodeID
	policy *Policy
	tier   Tier
	sealer *sealer
	key    ed25519.PrivateKey
	chain  *chain
	store  Store
	begun  time.Time
	keep   time.Duration
	rate   int64      // bytes per second; zero: any
	since  time.Time  // when rate began to count
	tell   func(Done) // progress
	enter  func(ctx context.Context, name string, sum [32]byte)

	done     Done
	led      []retain.Slice
	whole    map[retain.Slice]bool // of led
	known    map[sliceKey]int      // in the inventory before
	touched  map[sliceKey]bool
	segments []wire.SegmentRef // named by the manifest before, then those that are put
	buckets  [][]byte
	slices   []wire.SliceRef

	open  wire.Segment // what is collected
	size  int
	items []byte // room for its items
	plain []byte // and for its bytes
}

type sliceKey struct {
	def   string
	shard int
}

// makeBackup backs up what has changed. The state is saved when the manifest is made, and again when it
// is at the tier.
//
// Why this order: what the manifest names is there before the manifest. The state that it describes is
// saved before it is put, with the manifest itself: a node that dies in between puts the same bytes
// again, not another manifest of the same number.
func (r *backupRun) makeBackup(ctx context.Context) (Done, error) {
	if err := r.checkChain(ctx); err != nil {
		return r.done, err
	}
	if err := r.putPending(ctx); err != nil {
		return r.done, err
	}
	before := &r.chain.inventory
	r.known, r.touched, r.whole = make(map[sliceKey]int), make(map[sliceKey]bool), make(map[retain.Slice]bool)
	for i := range before.Slices {
		ref := &before.Slices[i]
		r.known[sliceKey{string(before.Buckets[ref.Bucket]), ref.Shard}] = i
	}
	r.segments = slices.Clone(r.chain.state.Segments)
	exportErr := r.store.Export(ctx, func(s slice.Slice) (func(*slice.Record) error, error) { return r.beginSlice(ctx, s) })
	if ctx.Err() != nil || errors.Is(exportErr, errPut) {
		return r.done, errors.Join(ctx.Err(), exportErr)
	}
	failed, err := r.backUpSources(ctx)
	if err != nil {
		return r.done, err
	}
	r.done.Failed = errors.Join(exportErr, failed)
	if err := r.closeSegment(ctx); err != nil {
		return r.done, err
	}
	for i := range before.Slices { // what others lead now, or what could not be read
		if ref := before.Slices[i]; !r.touched[sliceKey{string(before.Buckets[ref.Bucket]), ref.Shard}] {
			r.addSlice(before.Buckets[ref.Bucket], ref)
		}
	}
	if err := r.writeManifest(); err != nil {
		return r.done, err
	}
	return r.done, r.putPending(ctx)
}

// checkChain looks whether all segments are there that the next manifest may name, and begins a new
// chain if not: the tier was exchanged or emptied. A node that may only put cannot look.
func (r *backupRun) checkChain(ctx context.Context) error {
	c := r.chain
	if len(c.state.Segments) == 0 {
		return nil
	}
	there := make(map[[16]byte]bool)
	for o, err := range r.tier.List(ctx, chainPrefix(r.mesh, r.node, c.state.Chain)) {
		if errors.Is(err, ErrDenied) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: look what is there: %w", errPut, err)
		}
		if id, ok := parseObject(o.Name); ok && id.point.Seq == 0 {
			there[id.segment] = true
		}
	}
	for i := range c.state.Segments {
		if !there[c.state.Segments[i].Name] {
			return c.startAnew()
		}
	}
	return nil
}

// selects tells whether the policy is about a bucket.
func (r *backupRun) selects(bucket string) bool {
	return len(r.policy.Buckets)+len(r.policy.Sources) == 0 || slices.Contains(r.policy.Buckets, bucket)
}

// leadSlice notes that this node is to back up a slice.
func (r *backupRun) leadSlice(s slice.Slice) {
	r.done.Slices++
	r.led = append(r.led, sliceName(s))
}

func sliceName(s slice.Slice) retain.Slice {
	return retain.Slice{Bucket: string(s.Def), Shard: uint32(s.Shard)}
}

// addSlice puts a slice into the inventory of this backup.
func (r *backupRun) addSlice(def []byte, ref wire.SliceRef) {
	ref.Bucket = slices.IndexFunc(r.buckets, func(b []byte) bool { return bytes.Equal(b, def) })
	if ref.Bucket < 0 {
		ref.Bucket = len(r.buckets)
		r.buckets = append(r.buckets, def)
	}
	r.slices = append(r.slices, ref)
}

// sliceRun is the backup of one slice.
type sliceRun struct {
	r      *backupRun
	s      slice.Slice
	ref    wire.SliceRef // as it will be
	base   bool
	source bool // it is made of files
	lacks  bool // records
	seen   seenVersions
	bytes  uint64
	first  int // segment, in those of this run
	at     int // section in the segment that is open; -1: none
}

func (r *backupRun) beginSlice(ctx context.Context, s slice.Slice) (func(*slice.Record) error, error) {
	if !r.selects(s.Bucket) {
		return nil, nil
	}
	r.leadSlice(s)
	if s.Err != nil {
		r.done.NotReady++
		return nil, nil
	}
	key := sliceKey{string(s.Def), s.Shard}
	digest := [3]uint64{binary.BigEndian.Uint64(s.Digest[:]), binary.BigEndian.Uint64(s.Digest[8:]), xxhash.Sum64(s.Origin)}
	if i, ok := r.known[key]; ok {
		ref := r.chain.inventory.Slices[i]
		// Where the same records are there after purges some may have come and gone.
		if digest == [3]uint64{ref.Key, ref.Version, ref.Origin} {
			r.touched[key] = true
			r.whole[sliceName(s)] = true
			r.addSlice(s.Def, ref)
			return nil, nil
		}
	}
	x := r.openSlice(s)
	x.ref.Key, x.ref.Version, x.ref.Origin = digest[0], digest[1], digest[2]
	return func(rec *slice.Record) error {
		if rec == nil {
			return x.endSlice(ctx)
		}
		return x.addRecord(ctx, rec)
	}, nil
}

// openSlice begins a base of a slice, or a delta of what the chain holds of it.
func (r *backupRun) openSlice(s slice.Slice) *sliceRun {
	x := &sliceRun{r: r, s: s, base: true, first: len(r.segments), at: -1}
	if i, ok := r.known[sliceKey{string(s.Def), s.Shard}]; ok {
		listed := false
		x.ref = r.chain.inventory.Slices[i]
		x.seen.before, listed = r.chain.readList(x.ref.List)
		chunks := retain.Chunks{Base: int64(x.ref.Base)}
		for _, n := range x.ref.Deltas {
			if n > 0 {
				chunks.Deltas = append(chunks.Deltas, int64(n))
			} else {
				chunks.Empty++
			}
		}
		x.base = chunks.NeedsBase(listed)
	}
	if x.base {
		x.seen.before, x.ref = nil, wire.SliceRef{Shard: s.Shard}
	}
	x.ref.Records, x.ref.Segments, x.ref.Deltas = 0, slices.Clone(x.ref.Segments), slices.Clone(x.ref.Deltas)
	return x
}

func (x *sliceRun) addRecord(ctx context.Context, rec *slice.Record) error {
	if !rec.Purged && !x.source && !strings.HasPrefix(rec.Key, x.r.policy.Prefix) {
		return nil // what was purged goes whole: a log with holes would vouch for too much
	}
	if len(rec.Item) > mostRecord {
		x.r.done.TooLarge++
		x.lacks = true
		x.seen.keepVersion(rec.Key)
		return nil
	}
	if !rec.Purged {
		x.ref.Records++
	}
	if !x.seen.addVersion(rec.Key, rec.Purged, rec.Version) {
		return nil
	}
	size := len(rec.Key) + len(rec.Item) + 8
	if x.r.size > 0 && x.r.size+size > segmentBytes {
		if err := x.r.closeSegment(ctx); err != nil {
			return err
		}
		x.at = -1
	}
	section := x.openSection()
	section.Records = append(section.Records, wire.BackupRecord{Purged: rec.Purged, Key: rec.Key, Item: x.r.keepItem(rec.Item)})
	x.r.size += size
	x.bytes += uint64(size)
	x.r.done.Records++
	return nil
}

// keepItem copies an item for as long as the segment is open.
func (r *backupRun) keepItem(item []byte) []byte {
	if cap(r.items) == 0 {
		r.items = make([]byte, 0, segmentBytes)
	}
	if len(r.items)+len(item) > cap(r.items) {
		return bytes.Clone(item) // the only one, and large
	}
	begin := len(r.items)
	r.items = append(r.items, item...)
	return r.items[begin:len(r.items):len(r.items)]
}

// openSection returns where the slice is written to.
func (x *sliceRun) openSection() *wire.Section {
	if x.at < 0 {
		x.at = len(x.r.open.Sections)
		x.r.open.Sections = append(x.r.open.Sections, wire.Section{Def: x.s.Def, Origin: x.s.Origin})
		x.r.size += len(x.s.Def) + len(x.s.Origin) + 16
	}
	return &x.r.open.Sections[x.at]
}

// endSlice notes what was written of the slice. A delta of nothing is written, too, where the
// slice has changed: with where its store stands now.
func (x *sliceRun) endSlice(ctx context.Context) error {
	x.r.whole[sliceName(x.s)] = !x.lacks
	if x.lacks {
		x.ref.Key, x.ref.Version, x.ref.Origin = 0, 0, 0 // it is read again, and told again
	}
	gone := x.seen.endList()
	if x.source && !x.base && x.bytes == 0 && len(gone) == 0 {
		x.r.touched[sliceKey{string(x.s.Def), x.s.Shard}] = true
		x.r.addSlice(x.s.Def, x.ref)
		return nil
	}
	for {
		n := min(len(gone), goneInSection)
		section := x.openSection()
		section.Gone = append(section.Gone, gone[:n]...)
		x.r.size += 9 * n
		x.bytes += uint64(9 * n)
		if gone = gone[n:]; len(gone) == 0 {
			break
		}
		if err := x.r.closeSegment(ctx); err != nil {
			return err
		}
		x.at = -1
	}
	var err error
	if x.ref.List, err = x.r.chain.saveList(x.seen.now); err != nil {
		return fmt.Errorf("%w: %w", errPut, err)
	}
	if x.base {
		x.ref.Base = x.bytes
	} else {
		x.ref.Deltas = append(x.ref.Deltas, x.bytes)
	}
	for i := x.first; i <= len(x.r.segments); i++ { // the last one is open
		x.ref.Segments = append(x.ref.Segments, i)
	}
	x.r.touched[sliceKey{string(x.s.Def), x.s.Shard}] = true
	x.r.addSlice(x.s.Def, x.ref)
	x.r.done.Changed++
	if x.r.size > segmentBytes {
		return x.r.closeSegment(ctx)
	}
	return nil
}

// errPut: the backup cannot go on.
var errPut = errors.New("backup")

// closeSegment seals what is collected, and puts it.
func (r *backupRun) closeSegment(ctx context.Context) error {
	if len(r.open.Sections) == 0 {
		return nil
	}
	r.plain = wire.AppendSegment(slices.Grow(r.plain[:0], r.size+r.size/16), &r.open)
	data, err := r.sealer.sealBytes(r.plain)
	if err != nil {
		return fmt.Errorf("%w: %w", errPut, err)
	}
	ref := wire.SegmentRef{Size: uint64(len(data)), Sum: sha256.Sum256(data)}
	if _, err := rand.Read(ref.Name[:]); err != nil {
		return fmt.Errorf("%w: %w", errPut, err)
	}
	if err := r.waitForRate(ctx); err != nil {
		return err
	}
	if err := r.tier.Put(ctx, segmentName(r.mesh, r.node, r.chain.state.Chain, ref.Name), data); err != nil {
		return fmt.Errorf("%w: put a segment: %w", errPut, err)
	}
	r.segments = append(r.segments, ref)
	r.open, r.size, r.items = wire.Segment{}, 0, r.items[:0]
	r.done.Segments++
	r.done.Bytes += int64(len(data))
	r.tell(r.done)
	return nil
}

// waitForRate waits until what was put is no more than the rate allows.
func (r *backupRun) waitForRate(ctx context.Context) error {
	if r.rate <= 0 {
		return nil
	}
	due := time.Duration(float64(r.done.Bytes) / float64(r.rate) * float64(time.Second))
	if !clock.Sleep(ctx, due-time.Since(r.since)) {
		return fmt.Errorf("%w: %w", errPut, ctx.Err())
	}
	return nil
}

// writeManifest names what is at the tier now, and saves the state.
func (r *backupRun) writeManifest() error {
	used := make(map[int]int)
	var named []wire.SegmentRef
	for i := range r.slices {
		for j, n := range r.slices[i].Segments {
			if _, ok := used[n]; !ok {
				used[n] = len(named)
				named = append(named, r.segments[n])
			}
			r.slices[i].Segments[j] = used[n]
		}
	}
	slices.SortFunc(r.slices, func(a, b wire.SliceRef) int {
		return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), cmp.Compare(a.Shard, b.Shard))
	})
	c := r.chain
	next := wire.Inventory{Buckets: r.buckets, Slices: r.slices}
	inventory, err := r.sealer.sealBytes(wire.AppendInventory(nil, &next))
	if err != nil {
		return fmt.Errorf("%w: %w", errPut, err)
	}
	m := wire.Manifest{
		Mesh: r.mesh, Node: r.node, Chain: c.state.Chain, Sequence: c.state.Sequence + 1, Previous: c.state.Hash, Time: r.begun,
		Policy: r.policy.Name, Keep: r.keep, Partial: r.done.lacksSome(), Segments: named, Inventory: inventory,
	}
	state := c.state
	state.Pending = signManifest(&m, r.key)
	state.Sequence, state.Hash, state.Segments = m.Sequence, sha256.Sum256(state.Pending), named
	if err := c.replaceState(state, next); err != nil {
		return err
	}
	return c.dropLists()
}

// putPending puts the last manifest, if that is not known to be done.
func (r *backupRun) putPending(ctx context.Context) error {
	c := r.chain
	if len(c.state.Pending) == 0 {
		return nil
	}
	name := manifestName(r.mesh, retain.PointID{Node: r.node, Chain: c.state.Chain, Seq: c.state.Sequence})
	if err := r.tier.Put(ctx, name, c.state.Pending); err != nil {
		return fmt.Errorf("%w: put the manifest: %w", errPut, err)
	}
	r.done.Bytes += int64(len(c.state.Pending))
	r.enter(ctx, name, c.state.Hash) // before it is forgotten that it was put
	state := c.state
	state.Pending = nil
	return c.replaceState(state, c.inventory)
}
