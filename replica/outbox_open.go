package replica

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
)

// The least that storage takes: nodes that store nothing are the weak ones.
const (
	outboxMemTable = 256 << 10
	outboxCache    = 1 << 20
)

func metaOutbox() []byte { return wire.MetaKey("outbox") }

// openOutbox opens the outbox of a node that stores nothing.
func (s *Store) openOutbox(ctx context.Context) error {
	dir := filepath.Join(s.mesh.Dir(), "outbox")
	if s.cfg.OutboxBytes < 0 {
		if _, err := s.cfg.fs.Stat(dir); err == nil {
			s.log.Warn("the outbox is switched off; what an earlier run has left in it is not delivered", "dir", dir)
		}
		return nil
	}
	o := &outbox{
		s: s, kick: notify.NewBell(), landed: make(chan struct{}),
		core:  replicate.NewOutbox(s.cfg.OutboxBytes, s.cfg.OutboxAge, outboxParallel),
		known: make(map[replicate.OutboxKey]footing), done: make(map[uint64]footing),
	}
	err := o.open(dir)
	if err == nil {
		if err = o.load(ctx); err != nil {
			err = errors.Join(err, o.disk.Close())
		}
	}
	switch {
	case errors.Is(err, storage.ErrLocked):
		return fmt.Errorf("%w: outbox: %w", ErrLocked, err)
	case errors.Is(err, storage.ErrNewerFormat), errors.Is(err, wire.ErrNewerVersion):
		return fmt.Errorf("%w: outbox: %w", ErrNewerFormat, err)
	case err != nil:
		return fmt.Errorf("replica: open outbox: %w", err)
	}
	s.outbox = o
	return nil
}

// open opens the disk. An outbox that is damaged as a whole is set aside: the
// node must go on, if without what was in it.
func (o *outbox) open(dir string) error {
	err := o.openDisk(dir)
	if !errors.Is(err, storage.ErrCorrupt) {
		return err
	}
	fsys, aside := o.s.cfg.fs, dir+".damaged"
	o.s.log.Error("the outbox is damaged and set aside; what waited in it is not delivered", "dir", aside, "error", err)
	if err := fsys.RemoveAll(aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := fsys.Rename(dir, aside); err != nil {
		return err
	}
	return o.openDisk(dir)
}

// openDisk opens the directory.
func (o *outbox) openDisk(dir string) (err error) {
	cfg := &o.s.cfg
	reserve := cfg.ReserveBytes
	if reserve == 0 {
		reserve = -1 // zero means something else to storage
	}
	o.disk, err = storage.Open(storage.Options{
		FS: cfg.fs, Dir: dir, CacheBytes: outboxCache, MemTableBytes: outboxMemTable, Reserve: reserve, Logger: o.s.log,
		OnCorrupt: func(key []byte, _ error) {
			o.mu.Lock()
			o.damaged = append(o.damaged, key)
			o.mu.Unlock()
		},
	})
	return err
}

// load takes in what an earlier run has left. What is damaged is left out.
func (o *outbox) load(ctx context.Context) error {
	meta, err := o.disk.Get(ctx, metaOutbox())
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
		o.restore(seq, &rec)
		return nil
	})
	if errors.Is(err, storage.ErrCorrupt) {
		// What follows cannot be read. New operations must not be taken for it.
		o.s.log.Error("a part of the outbox cannot be read; what waited there is not delivered", "error", err)
		o.core.StartAfter(o.core.Last() + 1<<32)
		err = nil
	}
	if err != nil {
		return err
	}
	return o.clear(ctx, bad)
}

func (o *outbox) restore(seq uint64, rec *wire.OutboxOp) {
	bucket := bucketID(wire.AppendBucketDef(nil, &rec.Bucket))
	accepted := time.Duration(rec.Accepted) * time.Millisecond
	o.base = max(o.base, accepted)
	o.core.Restore(replicate.OutboxOp{
		Seq: seq, Key: replicate.OutboxKey{Bucket: bucket, Key: rec.Key}, Priority: int(rec.Priority),
		Bytes: sizeOf(rec), Accepted: accepted, Follows: rec.Follows,
	})
}

// clear counts records that do not read, and deletes them so that they are
// counted once.
func (o *outbox) clear(ctx context.Context, bad [][]byte) error {
	o.mu.Lock()
	bad = append(bad, o.damaged...)
	o.damaged = nil
	bad = slices.DeleteFunc(bad, func(key []byte) bool {
		seq, ok := wire.ParseOutboxKey(key)
		o.core.StartAfter(seq)
		return !ok
	})
	o.drop(len(bad))
	o.mu.Unlock()
	if len(bad) == 0 {
		return nil
	}
	o.s.log.Error("operations in the outbox are damaged and cannot be delivered", "number", len(bad))
	err := o.disk.Update(ctx, func(tx *storage.Tx) error {
		for _, key := range bad {
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		o.s.log.Warn("damaged operations stay in the outbox until the next start", "error", err)
	}
	return nil
}
