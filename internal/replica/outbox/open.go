package outbox

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
)

// The least that storage takes: nodes that store nothing are the weak ones.
const (
	MemTable = 256 << 10
	Cache    = 1 << 20
)

func runTimeKey() []byte { return wire.MetaKey("outbox") }

// Open opens an outbox and takes in what an earlier run has left. bucketOf returns the
// id of the bucket that a definition is of. An outbox that is damaged as a whole is set
// aside beside its directory: the node must go on, if without what was in it. The error
// is one of storage or wire.ErrNewerVersion.
func Open(ctx context.Context, opts Options, bucketOf func(*wire.BucketDef) uint64) (*Outbox, error) {
	o := &Outbox{
		opts: opts, wake: notify.NewBell(), landed: make(chan struct{}),
		core:  replicate.NewOutbox(opts.Bytes, opts.Age, Parallel),
		known: make(map[Key]footing), done: make(map[uint64]footing),
	}
	if err := o.openDisk(); err != nil {
		return nil, err
	}
	if err := o.loadWaiting(ctx, bucketOf); err != nil {
		return nil, errors.Join(err, o.disk.Close())
	}
	return o, nil
}

// openDisk opens the directory, or an empty one in the place of what is damaged as a
// whole.
func (o *Outbox) openDisk() error {
	err := o.openDir()
	if !errors.Is(err, storage.ErrCorrupt) {
		return err
	}
	fsys, dir, aside := o.opts.FS, o.opts.Dir, o.opts.Dir+".damaged"
	o.opts.Log.Error("the outbox is damaged and set aside; what waited in it is not delivered", "dir", aside, "error", err)
	if err := fsys.RemoveAll(aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := fsys.Rename(dir, aside); err != nil {
		return err
	}
	return o.openDir()
}

func (o *Outbox) openDir() (err error) {
	o.disk, err = storage.Open(storage.Options{
		FS: o.opts.FS, Dir: o.opts.Dir, CacheBytes: Cache, MemTableBytes: MemTable, Reserve: o.opts.Reserve, OnSync: o.opts.OnSync, Logger: o.opts.Log,
		OnCorrupt: func(key []byte, _ error) {
			o.mu.Lock()
			o.damaged = append(o.damaged, key)
			o.mu.Unlock()
		},
	})
	return err
}

// loadWaiting takes in what an earlier run has left. What is damaged is left out.
func (o *Outbox) loadWaiting(ctx context.Context, bucketOf func(*wire.BucketDef) uint64) error {
	meta, err := o.disk.Get(ctx, runTimeKey())
	if err == nil {
		var m wire.OutboxMeta
		if m, err = wire.DecodeOutboxMeta(meta); err == nil {
			o.base = time.Duration(m.Ran) * time.Millisecond
		}
	}
	if errors.Is(err, wire.ErrNewerVersion) {
		return err
	}
	lower, upper := wire.OutboxRange()
	var bad [][]byte
	err = o.disk.Scan(ctx, lower, upper, func(k, v []byte) error {
		seq, ok := wire.ParseOutboxKey(k)
		rec, err := wire.DecodeOutboxOp(v)
		if errors.Is(err, wire.ErrNewerVersion) {
			return err
		}
		if !ok || err != nil {
			bad = append(bad, slices.Clone(k))
			return nil
		}
		o.restoreOp(seq, bucketOf(&rec.Bucket), &rec)
		return nil
	})
	if errors.Is(err, storage.ErrCorrupt) {
		// What follows cannot be read. New operations must not be taken for it.
		o.opts.Log.Error("a part of the outbox cannot be read; what waited there is not delivered", "error", err)
		o.core.StartAfter(o.core.Last() + 1<<32)
		err = nil
	}
	if err != nil {
		return err
	}
	o.dropDamaged(ctx, bad)
	return nil
}

func (o *Outbox) restoreOp(seq, bucket uint64, rec *wire.OutboxOp) {
	accepted := time.Duration(rec.Accepted) * time.Millisecond
	o.base = max(o.base, accepted)
	o.core.Restore(replicate.OutboxOp{
		Seq: seq, Key: Key{Bucket: bucket, Key: rec.Key}, Priority: int(rec.Priority),
		Bytes: sizeOf(rec), Accepted: accepted, Follows: rec.Follows, Token: rec.Token,
	})
}

// dropDamaged counts records that do not read, and deletes them so that they are
// counted once.
func (o *Outbox) dropDamaged(ctx context.Context, bad [][]byte) {
	o.mu.Lock()
	bad = append(bad, o.damaged...)
	o.damaged = nil
	bad = slices.DeleteFunc(bad, func(key []byte) bool {
		seq, ok := wire.ParseOutboxKey(key)
		o.core.StartAfter(seq)
		return !ok
	})
	o.countDropped(len(bad))
	o.mu.Unlock()
	if len(bad) == 0 {
		return
	}
	o.opts.Log.Error("operations in the outbox are damaged and cannot be delivered", "number", len(bad))
	err := o.disk.Update(ctx, func(tx *storage.Tx) error {
		for _, key := range bad {
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		o.opts.Log.Warn("damaged operations stay in the outbox until the next start", "error", err)
	}
}
