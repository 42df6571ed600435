package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/retain"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/slice"
)

const (
	importRecords = 1024
	importBytes   = 4 << 20
	// cachedSegments is how many bytes of segments a restore holds in memory.
	cachedSegments = 48 << 20
	mostFaults     = 1000
	// mostPoints is how many points of a chain are tried until one reads.
	mostPoints = 8
	clockError = 24 * time.Hour
	// importTries is how often some records are tried again, while homes are away.
	importTries = 6
	firstWait   = time.Second
	lastWait    = 30 * time.Second
)

// RestoreConfig says what to restore, from where, and into what. Target, Tiers and Identities are
// required.
type RestoreConfig struct {
	// Target is the store of a storing node: of the same mesh, or of another one, of any size and
	// number of shards.
	Target Target
	// Tiers are where backups are, the nearest first.
	Tiers []NamedTier
	// Identities open them, as age writes them ("AGE-SECRET-KEY-1...").
	Identities []string
	// From is the mesh of which backups are restored. Zero: the only one there is.
	From view.MeshID
	// Signers are the keys whose manifests count, see Backup.Key. Empty: anybody's who can write
	// at the tiers.
	Signers [][32]byte
	// By is up to when backups count. Zero: all.
	By time.Time
	// Policies, Buckets, Prefix and Keys say what is restored. Empty: everything.
	Policies, Buckets []string
	Prefix            string
	Keys              []string
	// Progress is told how far it is, now and then. It must return soon. Nil: nobody is.
	Progress func(Restored)
	// Resume remembers what was brought, for a restore into the same mesh that is broken off and begun
	// anew. Nil: that reads all again. PutBack has no use for it.
	Resume Resume
}

// Restored tells what came of a restore.
type Restored struct {
	Slices, OfSlices int
	Passed           int // of Slices: which an earlier try had brought, see RestoreConfig.Resume
	Records          int // looked at; those of several backups count several times
	Brought          int // which had something that the mesh lacked
	Bytes            int64
	// Refused are records that may have been deleted since, or do not fit to what the mesh has.
	// The first thousand are listed.
	Refused      []RefusedRecord
	RefusedInAll int
	// Faults are objects that do not read, or are not as they were put. What they hold was
	// taken from other tiers, or from older backups, unless Lost says otherwise.
	Faults []error
	// Lost are slices of which no backup could be read whole, or that could not be brought, by
	// the words of why.
	Lost []error
	// Unpinned says at which tiers nothing can be put that keeps Prune from deleting what is read, and why.
	Unpinned []error
}

// RefusedRecord is one that was not taken in.
type RefusedRecord struct{ Bucket, Key string }

// Restore brings what was backed up into a mesh, as Import does: nothing becomes older than it
// is, and no delete is undone. It may be ended and begun anew at any time, while the mesh works, purges
// and loses nodes: what cannot be brought as too few homes are in contact is tried again for a minute.
// It returns what it has done so far beside any error; the error is ErrConfig, ErrNoBackup,
// ErrManyMeshes, ErrNoIdentity, or that of ctx.
//
// Restored.Lost and Refused are no errors: read them.
func Restore(ctx context.Context, cfg RestoreConfig) (Restored, error) {
	var missing error
	if cfg.Target == nil {
		missing = errors.New("no Target")
	}
	r, err := beginRestore(ctx, &cfg, missing)
	if err != nil {
		return Restored{}, err
	}
	err = r.restoreAll(ctx, r.restoreUnlessDone)
	return r.out, err
}

// beginRestore reads what there is, unless the configuration is at fault, or something is missing. The
// pins stay until restoreAll has ended.
func beginRestore(ctx context.Context, cfg *RestoreConfig, missing error) (*restore, error) {
	ids, err := parseIdentities(cfg.Identities)
	if len(ids) == 0 && err == nil {
		err = errors.New("no identity")
	}
	if len(cfg.Tiers) == 0 {
		err = errors.Join(err, errors.New("no tier"))
	}
	if err = errors.Join(err, missing); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c, err := listCatalog(ctx, cfg.Tiers, cfg.From)
	if err != nil {
		return nil, err
	}
	pins := putPins(ctx, c)
	if err := c.readPoints(ctx); err != nil {
		pins.removeAll()
		return nil, err
	}
	r := &restore{cfg: cfg, ids: ids, catalog: c, pins: pins, inventories: make(map[retain.Place]*wire.Inventory)}
	r.cache.most = cachedSegments
	return r, nil
}

// restore is one restore.
type restore struct {
	cfg         *RestoreConfig
	ids         []age.Identity
	catalog     *catalog
	pins        *pins
	source      string // files of this source are restored; empty: buckets are
	inventories map[retain.Place]*wire.Inventory
	cache       segmentCache
	out         Restored
}

// restoreAll has take see each slice.
func (r *restore) restoreAll(ctx context.Context, take func(context.Context, retain.Slice, []retain.Choice) error) error {
	defer func() { r.out.Unpinned = r.pins.removeAll() }()
	r.out.Faults = slices.Concat(r.catalog.faults, r.catalog.chainFaults(time.Now()), r.catalog.refuseSigners(r.cfg.Signers))
	if err := r.openInventories(ctx); err != nil {
		return err
	}
	points := slices.DeleteFunc(slices.Clone(r.catalog.points), func(p retain.Point) bool { return len(p.Slices) == 0 })
	if len(points) == 0 {
		return fmt.Errorf("%w that was made by then: %d manifests were looked at", ErrNoBackup, len(r.catalog.points))
	}
	choices := retain.ChoosePoints(points, r.cfg.By, time.Now())
	bySlice := make(map[retain.Slice][]retain.Choice)
	for _, c := range choices {
		bySlice[c.Slice] = append(bySlice[c.Slice], c)
	}
	order := slices.SortedFunc(maps.Keys(bySlice), func(a, b retain.Slice) int {
		return cmp.Or(strings.Compare(a.Bucket, b.Bucket), cmp.Compare(a.Shard, b.Shard))
	})
	r.out.OfSlices = len(order)
	for _, s := range order {
		if err := take(ctx, s, bySlice[s]); err != nil {
			return err
		}
		if r.out.Slices++; r.cfg.Progress != nil {
			r.cfg.Progress(r.out)
		}
	}
	return nil
}

// openInventories reads what the newest point of each chain by the time asked for holds, and the
// points before it until one reads.
func (r *restore) openInventories(ctx context.Context) error {
	type chainID struct {
		tier  int
		node  view.NodeID
		chain uint64
	}
	opened := make(map[chainID]int)
	all := r.catalog.points
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(all[b].Seq, all[a].Seq) })
	tried, wrong := 0, 0
	for _, i := range order {
		p := &all[i]
		of := chainID{p.Tier, p.Node, p.Chain}
		when := p.Time
		if d := p.Put.Sub(when); !p.Put.IsZero() && (d < -clockError || d > clockError) {
			when = p.Put
		}
		late := !r.cfg.By.IsZero() && when.After(r.cfg.By)
		// Some of each chain: the newest one, and those to fall back to.
		if p.Fault != nil || late || opened[of] >= mostPoints || len(r.cfg.Policies) > 0 && !slices.Contains(r.cfg.Policies, p.Policy) {
			continue
		}
		at := retain.Place{Tier: p.Tier, PointID: p.PointID}
		inv, err := r.openInventory(at)
		tried++
		if err != nil {
			if errors.Is(err, ErrNoIdentity) {
				wrong++
			}
			r.addFault(fmt.Errorf("tier %s: manifest %s: %w", r.catalog.tiers[p.Tier].Name, p.PointID, err))
			continue
		}
		opened[of]++
		r.inventories[at] = inv
		for j := range inv.Slices {
			def := inv.Buckets[inv.Slices[j].Bucket]
			if r.wantsSlice(def) {
				p.Slices = append(p.Slices, retain.Slice{Bucket: string(def), Shard: uint32(inv.Slices[j].Shard)})
			}
		}
	}
	if tried > 0 && wrong == tried {
		return fmt.Errorf("%w: %d manifests were tried", ErrNoIdentity, tried)
	}
	return ctx.Err()
}

// wantsSlice tells whether a slice is to be restored, by its definition.
func (r *restore) wantsSlice(def []byte) bool {
	if r.source != "" {
		return string(def) == string(sourceDef(r.source))
	}
	d, err := wire.DecodeBucketDef(def)
	return err == nil && (len(r.cfg.Buckets) == 0 || slices.Contains(r.cfg.Buckets, d.Name))
}

func (r *restore) openInventory(at retain.Place) (*wire.Inventory, error) {
	m := r.catalog.manifests[at]
	plain, err := unsealBytes(m.Inventory, r.ids, wire.MaxSegment)
	if err != nil {
		return nil, err
	}
	inv, err := wire.DecodeInventory(plain)
	return &inv, err
}

func (r *restore) addFault(err error) {
	if len(r.out.Faults) < mostFaults {
		r.out.Faults = append(r.out.Faults, err)
	}
}

// oldItem is what one chain has of a key in the end.
type oldItem struct {
	item []byte
	at   told
}

// readSlice reads what any node has backed up of a slice, by chains, and what all of it tells of purges.
func (r *restore) readSlice(ctx context.Context, choices []retain.Choice) (chains []map[string]oldItem, line lineage, err error) {
	line.gone = make(map[string][][]byte)
	lost := len(r.out.Lost)
	for _, c := range choices {
		items, err := r.readChoice(ctx, c, &line)
		if ctx.Err() != nil {
			return nil, line, ctx.Err()
		}
		if err != nil {
			d, _ := wire.DecodeBucketDef([]byte(c.Slice.Bucket))
			r.out.Lost = append(r.out.Lost, fmt.Errorf("bucket %q, shard %d, by node %v, policy %s: %w", d.Name, c.Slice.Shard, c.Node, c.Policy, err))
			continue
		}
		chains = append(chains, items)
	}
	// What does not read might know of deletes.
	line.torn = len(r.out.Lost) > lost
	return chains, line, nil
}

// restoreSlice brings what any node has backed up of a slice.
func (r *restore) restoreSlice(ctx context.Context, s retain.Slice, choices []retain.Choice) error {
	chains, line, err := r.readSlice(ctx, choices)
	if err != nil {
		return err
	}
	// The newest first, so that nothing is shown that a later one deletes.
	slices.SortStableFunc(chains, func(a, b map[string]oldItem) int { return placeOf(b).Compare(placeOf(a)) })
	for _, items := range chains {
		err := r.importItems(ctx, s, items, &line)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			d, _ := wire.DecodeBucketDef([]byte(s.Bucket))
			r.out.Lost = append(r.out.Lost, fmt.Errorf("bucket %q, shard %d: import: %w", d.Name, s.Shard, err))
		}
	}
	return nil
}

// placeOf is where the store stood that has read what a chain has of a slice.
func placeOf(items map[string]oldItem) purge.Round {
	for _, it := range items {
		return it.at.at.Acked
	}
	return purge.Round{}
}

// readChoice reads a slice from the first point that reads whole.
func (r *restore) readChoice(ctx context.Context, c retain.Choice, line *lineage) (map[string]oldItem, error) {
	var errs []error
	for _, at := range c.Points {
		sections, err := r.readSections(ctx, at, c.Slice)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			err = fmt.Errorf("tier %s, %s: %w", r.catalog.tiers[at.Tier].Name, at.PointID, err)
			errs = append(errs, err)
			r.addFault(err)
			continue
		}
		items := make(map[string]oldItem)
		byHash := make(map[uint64]string)
		for _, s := range sections {
			if err := line.addSection(s); err != nil {
				return nil, err
			}
			at, _ := readTold(s.Origin)
			for _, h := range s.Gone {
				delete(items, byHash[h])
			}
			for i := range s.Records {
				if rec := &s.Records[i]; !rec.Purged {
					items[rec.Key] = oldItem{rec.Item, at}
					byHash[hashOfKey(rec.Key)] = rec.Key
				}
			}
		}
		// What was backed up earlier was still there when the last section was read.
		if n := len(sections); n > 0 {
			last, _ := readTold(sections[n-1].Origin)
			for key, it := range items {
				it.at = last
				items[key] = it
			}
		}
		return items, nil
	}
	return nil, errors.Join(errs...)
}

// readSections returns what a point has of a slice, in the order in which it was written.
func (r *restore) readSections(ctx context.Context, at retain.Place, s retain.Slice) (out []*wire.Section, err error) {
	inv, m := r.inventories[at], r.catalog.manifests[at]
	for i := range inv.Slices {
		ref := &inv.Slices[i]
		if uint32(ref.Shard) != s.Shard || string(inv.Buckets[ref.Bucket]) != s.Bucket {
			continue
		}
		for _, n := range ref.Segments {
			if n >= len(m.Segments) {
				return nil, fmt.Errorf("%w: it names a segment that it does not list", ErrBadManifest)
			}
			seg, err := r.cache.readSegment(ctx, r, at.Tier, &m, &m.Segments[n])
			if err != nil {
				return nil, err
			}
			for j := range seg.Sections {
				if sec := &seg.Sections[j]; string(sec.Def) == s.Bucket {
					if o, err := wire.DecodeOrigin(sec.Origin); err == nil && uint32(o.Shard) == s.Shard {
						out = append(out, sec)
					}
				}
			}
		}
	}
	return out, nil
}

// selects tells whether a key is to be restored.
func (r *restore) selects(key string) bool {
	return strings.HasPrefix(key, r.cfg.Prefix) && (len(r.cfg.Keys) == 0 || slices.Contains(r.cfg.Keys, key))
}

// importItems brings what one chain has of a slice, some at a time.
func (r *restore) importItems(ctx context.Context, s retain.Slice, items map[string]oldItem, line *lineage) error {
	var page []slice.Old
	size := 0
	flush := func() error {
		if len(page) == 0 {
			return nil
		}
		err := r.importPage(ctx, s, page)
		page, size = nil, 0
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(items)) {
		if !r.selects(key) {
			continue
		}
		it := items[key]
		lifted := line.liftRecord(it.at)
		old := slice.Old{Key: key, Item: it.item, Origin: lifted.origin, Gone: line.gone[key], Whole: line.reachesEnd(lifted)}
		page = append(page, old)
		if size += len(it.item); len(page) == importRecords || size >= importBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// importPage brings records, and tries again for a while: too few homes may be in contact.
func (r *restore) importPage(ctx context.Context, s retain.Slice, page []slice.Old) error {
	var got slice.Imported
	var err error
	wait := clock.Backoff{First: firstWait, Last: lastWait}
	for range importTries {
		if got, err = r.cfg.Target.Import(ctx, []byte(s.Bucket), page); err == nil || !clock.Sleep(ctx, wait.Next()) {
			break
		}
	}
	if err != nil {
		return err
	}
	r.out.Records += len(page)
	r.out.Brought += got.Brought
	r.out.RefusedInAll += len(got.Refused)
	for _, i := range got.Refused {
		if len(r.out.Refused) < mostFaults {
			d, _ := wire.DecodeBucketDef([]byte(s.Bucket))
			r.out.Refused = append(r.out.Refused, RefusedRecord{Bucket: d.Name, Key: page[i].Key})
		}
	}
	return nil
}

// segmentCache holds segments that were read lately. The zero value holds none.
type segmentCache struct {
	most, size int
	order      []segmentAt // the oldest first
	all        map[segmentAt]cachedSegment
}

type segmentAt struct {
	tier int
	name [16]byte
}

type cachedSegment struct {
	segment wire.Segment
	size    int
	err     error
}

// readSegment fetches a segment, checks it and opens it, unless it was read lately. One that is
// damaged is not fetched again.
func (c *segmentCache) readSegment(ctx context.Context, r *restore, tier int, m *wire.Manifest, ref *wire.SegmentRef) (*wire.Segment, error) {
	at := segmentAt{tier, ref.Name}
	if got, ok := c.all[at]; ok {
		return &got.segment, got.err
	}
	var got cachedSegment
	data, err := readSegment(ctx, r.catalog.tiers[tier].Tier, m, ref)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r.out.Bytes += int64(len(data))
	var plain []byte
	if err == nil {
		plain, err = unsealBytes(data, r.ids, wire.MaxSegment)
	}
	if err == nil {
		got.segment, err = wire.DecodeSegment(plain)
	}
	if err != nil && !errors.Is(err, ErrNoObject) && !errors.Is(err, ErrChanged) && len(data) == 0 {
		return nil, err // it may come another time
	}
	got.size, got.err = len(plain)+256, err
	for len(c.order) > 0 && c.size+got.size > c.most {
		c.size -= c.all[c.order[0]].size
		delete(c.all, c.order[0])
		c.order = c.order[1:]
	}
	if c.all == nil {
		c.all = make(map[segmentAt]cachedSegment)
	}
	c.all[at], c.order, c.size = got, append(c.order, at), c.size+got.size
	return &got.segment, got.err
}
