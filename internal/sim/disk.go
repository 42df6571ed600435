package sim

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
)

// Errors of a Disk.
var (
	ErrNotFound = errors.New("sim: no such record")
	ErrCorrupt  = errors.New("sim: damaged record")
)

// Disk is a host's store of records, any values that are not changed once
// written. Updates run one after the other and see each other's writes at
// once; readers see a write when it is synced, as in the real store.
type Disk struct {
	// Sync is how long a sync takes at least; 0: 300 us. It takes up to twice
	// as long.
	Sync time.Duration

	host    *Host
	latest  map[string]any
	synced  map[string]any
	pending []*batch
	until   time.Duration // end of the last sync under way
}

type batch struct {
	writes map[string]any // nil value: deleted
	done   func(synced bool)
}

type damaged struct{}

func newDisk(h *Host) *Disk {
	return &Disk{host: h, latest: map[string]any{}, synced: map[string]any{}}
}

// Tx is an update's view of the disk.
type Tx struct {
	disk  *Disk
	batch *batch
}

// Get returns the record as the last update left it.
func (tx *Tx) Get(key string) (any, error) {
	if v, ok := tx.batch.writes[key]; ok {
		if v == nil {
			return nil, ErrNotFound
		}
		return v, nil
	}
	return lookup(tx.disk.latest, key)
}

// Set writes a record.
func (tx *Tx) Set(key string, value any) { tx.batch.writes[key] = value }

// Delete removes a record.
func (tx *Tx) Delete(key string) { tx.batch.writes[key] = nil }

func lookup(m map[string]any, key string) (any, error) {
	v, ok := m[key]
	if !ok {
		return nil, ErrNotFound
	}
	if _, bad := v.(damaged); bad {
		return nil, ErrCorrupt
	}
	return v, nil
}

// Get returns a record. Nothing is shown before it is synced.
func (d *Disk) Get(key string) (any, error) { return lookup(d.synced, key) }

// Keys lists the synced records whose key begins with prefix, sorted.
func (d *Disk) Keys(prefix string) []string {
	var out []string
	for k := range d.synced {
		if strings.HasPrefix(k, prefix) {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// Update runs fn. If fn fails it leaves nothing, and its error is returned at
// once. Otherwise done is called once, when all that was written up to and
// including fn is synced, or when a crash has ended the hope for that.
func (d *Disk) Update(fn func(tx *Tx) error, done func(synced bool)) error {
	b := &batch{writes: map[string]any{}, done: done}
	if err := fn(&Tx{d, b}); err != nil {
		return err
	}
	applyWrites(d.latest, b.writes)
	d.pending = append(d.pending, b)
	took := d.Sync
	if took == 0 {
		took = 300 * time.Microsecond
	}
	w := d.host.World
	d.until = max(d.until, w.now+w.Between(took, 2*took))
	w.After(d.until-w.now, func() {
		if len(d.pending) > 0 && d.pending[0] == b {
			d.pending = d.pending[1:]
			d.finishSync(b)
		}
	})
	return nil
}

func (d *Disk) finishSync(b *batch) {
	applyWrites(d.synced, b.writes)
	if b.done != nil {
		b.done(true)
	}
}

func applyWrites(m, writes map[string]any) {
	for k, v := range writes {
		if v == nil {
			delete(m, k)
		} else {
			m[k] = v
		}
	}
}

// dropUnsynced keeps a random number of the oldest unsynced batches: what a log had
// got out before its sync returned.
func (d *Disk) dropUnsynced() {
	keep := d.host.World.Rand.IntN(len(d.pending) + 1)
	for i, b := range d.pending {
		if i < keep {
			applyWrites(d.synced, b.writes)
		}
		if b.done != nil {
			b.done(i < keep)
		}
	}
	d.pending, d.until = nil, 0
	d.latest = maps.Clone(d.synced)
}

// Corrupt damages a synced record: it reads as ErrCorrupt until it is written
// again. A record that is being written is spared.
func (d *Disk) Corrupt(key string) {
	if d.isSettled(key) {
		d.host.World.Logf("host %d: record %s is damaged", d.host.Index, key)
		d.latest[key], d.synced[key] = damaged{}, damaged{}
	}
}

// Lose makes a synced record vanish without a trace. A record that is being
// written is spared.
func (d *Disk) Lose(key string) {
	if d.isSettled(key) {
		d.host.World.Logf("host %d: record %s is lost", d.host.Index, key)
		delete(d.latest, key)
		delete(d.synced, key)
	}
}

func (d *Disk) isSettled(key string) bool {
	for _, b := range d.pending {
		if _, ok := b.writes[key]; ok {
			return false
		}
	}
	_, ok := d.synced[key]
	return ok
}

// Image returns a copy of what is synced.
func (d *Disk) Image() map[string]any { return maps.Clone(d.synced) }

// Restore puts an image in the place of everything. The host must be down.
func (d *Disk) Restore(image map[string]any) {
	d.host.World.Logf("host %d: disk image with %d records", d.host.Index, len(image))
	d.synced, d.latest = map[string]any{}, map[string]any{}
	maps.Copy(d.synced, image)
	maps.Copy(d.latest, image)
}
