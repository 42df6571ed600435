package former

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/purging"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
	"github.com/skeinmesh/skein/replica/version"
)

// OldRecord is a record of a backup.
type OldRecord struct {
	Key  string
	Item version.Item
	// Gone is what is known to have been purged of the key after it was read. Stamp is where its
	// store stood then, or later, as far as Gone names all; zero: in another mesh. Whole says
	// that nobody is known to have purged anything after that. It counts where this mesh cannot
	// tell: it is another one, or has lost its memory.
	Gone  version.Item
	Whole bool
	Stamp purge.Stamp
}

// Taken is what became of records of a backup.
type Taken struct {
	Brought int   // what was not in the mesh is at more than half of the homes now
	Refused []int // which may have been deleted since, or cannot be merged
}

// logsKept is how many logs of purges are remembered from one call to the next, and for how
// long.
const (
	logsKept = 1024
	logsLast = time.Minute
)

// recalled remembers logs of purges between calls. A log that is out of date does no harm:
// what is brought carries its stamp, and is refused by a store that has acknowledged more.
type recalled struct {
	mu   sync.Mutex
	all  map[recallKey]purgedSince
	till time.Time
}

type recallKey struct {
	shard int
	since purge.Round
}

func (r *recalled) findLog(k recallKey) (log purgedSince, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().After(r.till) {
		r.all = nil
	}
	log, ok = r.all[k]
	return log, ok
}

func (r *recalled) rememberLog(k recallKey, log purgedSince) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil || len(r.all) >= logsKept {
		r.all, r.till = make(map[recallKey]purgedSince), time.Now().Add(logsLast)
	}
	r.all[k] = log
}

func (r *recalled) forgetAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = nil
}

// ErrNotStoring says that a node that stores nothing cannot take in records.
var ErrNotStoring = errors.New("replica: this node stores nothing: take records in at one that does")

// TakeRecords takes in records of a backup, all of one bucket: what the mesh lacks of them is
// synced at more than half of the homes of each when it returns nil. After an error some may have
// been taken in; to do it again does no harm.
func (im *Importer) TakeRecords(ctx context.Context, b *layout.Bucket, in []OldRecord) (out Taken, err error) {
	if im.disk == nil {
		return out, ErrNotStoring
	}
	for range importTries {
		t := takingRecords{Importer: im, bucket: b, in: in, lay: im.homes.Now()}
		out, err = t.takeAll(ctx)
		if !errors.Is(err, keep.ErrStale) && !errors.Is(err, purging.ErrMoved) {
			return out, err
		}
		im.recalled.forgetAll()
	}
	return out, err
}

// takingRecords is one try.
type takingRecords struct {
	*Importer
	bucket *layout.Bucket
	in     []OldRecord
	lay    *layout.Layout

	at    []layout.Place
	known []version.Item
	told  []int // how many homes have said what they hold
	log   []purgedSince
	from  []bool // another mesh, or another life of this one
}

func (t *takingRecords) takeAll(ctx context.Context) (out Taken, err error) {
	if t.opts.Taking.IsShut() {
		return out, errLeaving
	}
	t.at, t.known, t.told = make([]layout.Place, len(t.in)), make([]version.Item, len(t.in)), make([]int, len(t.in))
	byHome := make(map[view.NodeID][]int)
	for i := range t.in {
		t.at[i] = t.homes.LocateKey(t.bucket.ID, t.in[i].Key)
		for _, id := range t.homesOf(i) {
			byHome[id] = append(byHome[id], i)
		}
	}
	if err := t.recallLogs(ctx); err != nil {
		return out, err
	}
	if err := t.askHomes(ctx, byHome); err != nil {
		return out, err
	}
	bring := make(map[int]keep.Stamped)
	for i, r := range t.in {
		log := t.log[i]
		if t.from[i] {
			r.Item = withoutTokens(r.Item)
		}
		got := purge.Old{
			Item: r.Item, Known: t.known[i], Gone: version.Merge(r.Gone, log.buried[string(t.at[i].Record)]), Whole: (r.Whole || !t.from[i]) && log.whole,
		}.Import(nil)
		one := keep.Stamped{At: t.at[i], Stamp: log.stamp}
		one.Rec.Item, one.Rec.Raw = got.Bring, wire.AppendItem(nil, &got.Bring)
		// A dot that names another write in the mesh than in the backup cannot be merged.
		tooLarge := !got.Bring.Unknown() && t.carrier.TooLarge(one)
		if got.Refused || len(got.Anew) > 0 || tooLarge {
			out.Refused = append(out.Refused, i)
		}
		if !got.Bring.Unknown() && !tooLarge {
			bring[i] = one
		}
	}
	out.Brought = len(bring)
	return out, t.bringAll(ctx, byHome, bring)
}

func (t *takingRecords) homesOf(i int) []view.NodeID {
	r := t.lay.RouteOf(t.bucket, t.at[i].Shard)
	return r.Order[:r.Homes]
}

// recallLogs finds out, of each record, what was purged of its shard since its store stood there.
func (t *takingRecords) recallLogs(ctx context.Context) error {
	t.log, t.from = make([]purgedSince, len(t.in)), make([]bool, len(t.in))
	var tops *memberStampMap
	for i := range t.in {
		log, err := t.recallLog(ctx, t.at[i].Shard, t.in[i].Stamp, &tops)
		if err != nil {
			return err
		}
		t.from[i] = t.in[i].Stamp == purge.Stamp{}
		if log.stamp.Acked.Before(t.in[i].Stamp.Acked) {
			// No member stands where the record was read: the mesh was made anew, under the same
			// secret and name. Its rounds are others.
			t.from[i] = true
			if log, err = t.recallLog(ctx, t.at[i].Shard, purge.Stamp{}, &tops); err != nil {
				return err
			}
		}
		t.log[i] = log
	}
	return nil
}

// recallLog finds out what was purged of a shard since a store stood at a stamp.
func (t *takingRecords) recallLog(ctx context.Context, shard int, since purge.Stamp, tops **memberStampMap) (log purgedSince, err error) {
	k := recallKey{shard, since.Acked}
	log, ok := t.recalled.findLog(k)
	if ok {
		return log, nil
	}
	if *tops == nil {
		m := t.memberStamps(ctx)
		*tops = &m
	}
	if log, err = t.purgedSince(ctx, shard, since, **tops); err == nil {
		t.recalled.rememberLog(k, log)
	}
	return log, err
}

// withoutTokens is an item as nobody's who leads: terms of another mesh would keep leaders of this
// one from writing.
func withoutTokens(it version.Item) version.Item {
	it.Sibs = slices.Clone(it.Sibs)
	for i := range it.Sibs {
		it.Sibs[i].Token = token.Token{}
	}
	return it
}

// askHomes gathers what homes hold of the records: more than half of those of each have to say.
func (t *takingRecords) askHomes(ctx context.Context, byHome map[view.NodeID][]int) error {
	var errs []error
	for id, of := range byHome {
		if id != t.id && !t.lay.InMesh[id] {
			errs = append(errs, fmt.Errorf("%s is away", t.namesOf([]view.NodeID{id})))
			continue
		}
		asked := make([]wire.Lookup, len(of))
		for j, i := range of {
			asked[j] = wire.Lookup{Bucket: t.bucket.ID, Key: t.in[i].Key, Known: t.records.VersionOf(t.at[i].Shard, t.in[i].Item)}
		}
		items, err := t.askHome(ctx, id, asked)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for j, i := range of {
			if err := t.learnAnswer(i, items[j]); err != nil {
				return err
			}
		}
	}
	for i := range t.in {
		if t.told[i] <= len(t.homesOf(i))/2 {
			return errors.Join(append([]error{errFewHomes}, errs...)...)
		}
	}
	return nil
}

// learnAnswer takes in what one home says of a record. One that does not read there, or that it
// cannot vouch for, is not known there: what is brought is merged with it.
func (t *takingRecords) learnAnswer(i int, l wire.Lookedup) error {
	switch l.Found {
	case wire.Same:
		t.known[i] = version.Merge(t.known[i], t.in[i].Item)
	case wire.Present:
		it, err := wire.DecodeItem(l.Item)
		if err != nil {
			return err
		}
		t.known[i] = version.Merge(t.known[i], it)
	}
	t.told[i]++
	return nil
}

// bringAll has each record synced at more than half of its homes.
func (t *takingRecords) bringAll(ctx context.Context, byHome map[view.NodeID][]int, bring map[int]keep.Stamped) error {
	if len(bring) == 0 {
		return nil
	}
	synced := make(map[int]int, len(bring))
	var errs []error
	for id, of := range byHome {
		var page []keep.Stamped
		var which []int
		for _, i := range of {
			if one, ok := bring[i]; ok {
				page, which = append(page, one), append(which, i)
			}
		}
		if len(page) == 0 || id != t.id && !t.lay.InMesh[id] {
			continue // it gets them from the others
		}
		var err error
		if id == t.id {
			err = t.acceptAll(ctx, page)
		} else {
			err = t.carrier.PushRecords(ctx, id, page)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, i := range which {
			synced[i]++
		}
	}
	for i := range bring {
		if synced[i] <= len(t.homesOf(i))/2 {
			return errors.Join(append([]error{errFewHomes}, errs...)...)
		}
	}
	return nil
}

// acceptAll merges records at this store, as a home of them.
func (t *takingRecords) acceptAll(ctx context.Context, page []keep.Stamped) error {
	for part := range slices.Chunk(page, keep.PageKeys) {
		in := make([]keep.Arrival, len(part))
		for j, k := range part {
			in[j] = keep.Arrival{At: k.At, Item: k.Rec.Item, Raw: k.Rec.Raw, Stamp: k.Stamp}
		}
		got, err := t.records.AcceptAll(ctx, in)
		if err == nil && slices.ContainsFunc(got, func(m keep.Merged) bool { return m.Stale }) {
			err = keep.ErrStale
		}
		if err != nil {
			return err
		}
	}
	return nil
}
