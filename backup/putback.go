package backup

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/retain"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/slice"
	"github.com/skeinmesh/skein/replica/version"
)

const (
	// putBackKeys and putBackBytes are how much is compared with what is there at a time.
	putBackKeys  = 256
	putBackBytes = 2 << 20
)

// PutBackConfig says what to put back. Values, Buckets, Tiers and Identities are required, and
// there is no Target.
type PutBackConfig struct {
	RestoreConfig
	// Values is the mesh.
	Values Values
	// Decide is told of each key that is another one than it was, and says whether the old value
	// is to be written. It must return soon. Nil: none is.
	Decide func(Change) bool
}

// Change is what putting back would do to a key.
type Change struct {
	Bucket, Key string
	Now         Presence
	// OldBytes and NowBytes are the sizes of what would be written, and of what is there.
	OldBytes, NowBytes int
	// Seen stands for what is there: it is equal as long as nobody writes the key.
	Seen []byte
}

// Presence is whether there is a value.
type Presence uint8

// What can be there.
const (
	Present Presence = iota // another value: it would be overwritten
	Deleted                 // a delete: it would be undone
	Missing                 // nothing is known, as of a delete that was forgotten
)

func (p Presence) String() string {
	switch p {
	case Present:
		return "present"
	case Deleted:
		return "deleted"
	}
	return "missing"
}

// PutBackResult tells what came of it. Of Restored, Brought is how many keys were written; Records are
// keys. The lists hold the first thousand.
type PutBackResult struct {
	Restored
	Changes   int // of which Decide was told
	Unchanged int // keys that are as they were
	Lapsed    int // keys whose lifetime has ended since: they are not written
	// Raced are keys that somebody else has written at the same moment. Nothing is lost: both
	// values are kept, and readers see both, or the later one, by the policy of the bucket.
	Raced      []RefusedRecord
	RacedInAll int
	// Failed says which keys could not be read or written.
	Failed      []error
	FailedInAll int
}

// PutBack writes old values anew, in the place of what is there: it undoes what was overwritten or
// deleted by mistake. It takes what was there at the time RestoreConfig.By, or in the newest backup,
// of the buckets, prefix and keys that are named, and asks Decide for each that differs.
// Each write replaces what the read just before has seen and nothing else.
//
// What was not there then stays as it is: nothing is deleted. A value that was to end is written with
// what is left of its lifetime by the clock of this machine. What may have been deleted by then, and nobody
// remembers, is in Refused. Keys that leaders have written under a token are in Failed.
//
// Broken off and begun anew it finds what it has written unchanged. The error is as that of Restore.
func PutBack(ctx context.Context, cfg PutBackConfig) (PutBackResult, error) {
	var missing error
	if cfg.Values == nil {
		missing = errors.New("no Values")
	}
	if len(cfg.Buckets) == 0 {
		missing = errors.Join(missing, errors.New("no bucket is named"))
	}
	r, err := beginRestore(ctx, &cfg.RestoreConfig, missing)
	if err != nil {
		return PutBackResult{}, err
	}
	p := putBack{restore: r, cfg: &cfg, now: time.Now()}
	err = r.restoreAll(ctx, p.putBackSlice)
	p.out.Restored = r.out
	return p.out, err
}

// putBack is one PutBack.
type putBack struct {
	*restore
	cfg *PutBackConfig
	now time.Time
	out PutBackResult
}

// putBackSlice puts back what any node has backed up of a slice.
func (p *putBack) putBackSlice(ctx context.Context, s retain.Slice, choices []retain.Choice) error {
	chains, line, err := p.readSlice(ctx, choices)
	if err != nil {
		return err
	}
	def, err := wire.DecodeBucketDef([]byte(s.Bucket))
	if err != nil {
		return err
	}
	keys := make(map[string]bool)
	for _, items := range chains {
		for key := range items {
			if p.selects(key) {
				keys[key] = true
			}
		}
	}
	var page []slice.Anew
	size := 0
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		p.restore.out.Records++
		it, refused, err := line.itemOf(key, chains)
		switch {
		case err != nil:
			p.addFailed(def.Name, key, err)
			continue
		case refused:
			p.addRefused(def.Name, key)
			continue
		}
		old, ok := p.valuesOf(it, def.Siblings)
		if !ok {
			continue
		}
		old.Key = key
		page = append(page, old)
		for _, v := range old.Values {
			size += len(v)
		}
		if len(page) == putBackKeys || size >= putBackBytes {
			if err := p.putBackPage(ctx, &def, page); err != nil {
				return err
			}
			page, size = nil, 0
		}
	}
	return p.putBackPage(ctx, &def, page)
}

// valuesOf is what readers saw of an item then: one value, or all where they see siblings. ok is
// false where they saw none, or where none would be left by now.
func (p *putBack) valuesOf(it version.Item, siblings bool) (old slice.Anew, ok bool) {
	then := version.At(cmp.Or(p.cfg.By, p.now).UnixMilli())
	now := version.At(p.now.UnixMilli())
	var seen []version.Sibling
	if last, ok := reconcile.Last(it, then); siblings {
		seen = reconcile.Live(it, then)
	} else if ok {
		seen = []version.Sibling{*last}
	}
	for i := range seen {
		s := &seen[i]
		if s.Deleted(now) {
			continue
		}
		ttl := time.Duration(0)
		if s.Expire != 0 {
			ttl = max(time.Duration(s.Expire.Millis()-p.now.UnixMilli())*time.Millisecond, time.Millisecond)
		}
		old.Values, old.TTL = append(old.Values, s.Value), append(old.TTL, ttl)
	}
	if len(seen) > 0 && len(old.Values) == 0 {
		p.out.Lapsed++
	}
	return old, len(old.Values) > 0
}

// putBackPage compares old values with what is there, and writes those that Decide says.
func (p *putBack) putBackPage(ctx context.Context, def *wire.BucketDef, page []slice.Anew) error {
	if len(page) == 0 {
		return nil
	}
	keys := make([]string, len(page))
	for i := range page {
		keys[i] = page[i].Key
	}
	is, err := p.cfg.Values.ReadValues(ctx, def.Name, keys)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil && len(is) != len(keys) {
		err = errors.New("not all keys were read")
	}
	var write []slice.Anew
	for i := range page {
		old := &page[i]
		if err := errorOfRead(is, i, err); err != nil {
			p.addFailed(def.Name, old.Key, err)
			continue
		}
		c, changed := compareValues(old, &is[i], def.Siblings)
		if !changed {
			p.out.Unchanged++
			continue
		}
		c.Bucket, c.Key = def.Name, old.Key
		if p.out.Changes++; p.cfg.Decide != nil && p.cfg.Decide(c) {
			old.Seen = is[i].Seen
			write = append(write, *old)
		}
	}
	if len(write) == 0 {
		return nil
	}
	for i, w := range p.cfg.Values.WriteValues(ctx, def.Name, write) {
		switch {
		case w.Err != nil:
			p.addFailed(def.Name, write[i].Key, w.Err)
			continue
		case w.Raced:
			if p.out.RacedInAll++; len(p.out.Raced) < mostFaults {
				p.out.Raced = append(p.out.Raced, RefusedRecord{def.Name, write[i].Key})
			}
		}
		p.restore.out.Brought++
	}
	return ctx.Err()
}

// errorOfRead is why the i-th key is not known; all says why none is.
func errorOfRead(is []slice.Current, i int, all error) error {
	if all != nil {
		return all
	}
	return is[i].Err
}

// compareValues tells what writing old values would do to what is there, unless they are.
func compareValues(old *slice.Anew, is *slice.Current, siblings bool) (c Change, changed bool) {
	shown := is.All
	if !siblings {
		shown = nil
		if is.Live {
			shown = [][]byte{is.Last}
		}
	}
	for _, v := range old.Values {
		c.OldBytes += len(v)
	}
	for _, v := range shown {
		c.NowBytes += len(v)
	}
	c.Seen = bytes.Clone(is.Seen)
	switch {
	case len(shown) > 0:
		c.Now = Present
	case is.Known:
		c.Now = Deleted
	default:
		c.Now = Missing
	}
	return c, !slice.SameValues(old.Values, shown)
}

func (p *putBack) addFailed(bucket, key string, err error) {
	if p.out.FailedInAll++; len(p.out.Failed) < mostFaults {
		p.out.Failed = append(p.out.Failed, fmt.Errorf("bucket %q, key %q: %w", bucket, key, err))
	}
}

func (p *putBack) addRefused(bucket, key string) {
	out := &p.restore.out
	if out.RefusedInAll++; len(out.Refused) < mostFaults {
		out.Refused = append(out.Refused, RefusedRecord{bucket, key})
	}
}
