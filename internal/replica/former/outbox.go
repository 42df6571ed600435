package former

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/outbox"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/storage/file"
	"github.com/skeinmesh/skein/internal/wire"
)

// oldOutbox is what waits in the outbox of a node that stored nothing under a
// former identity, and stores now. The next identity of a node that stores
// nothing goes on with it as its own.
type oldOutbox struct {
	dir string

	mu       sync.Mutex
	bad      int    // operations that do not read
	problem  string // why it does not get on
	unusable bool   // and will not
	finished bool
}

// findOutbox looks for one that belongs to a former identity in this mesh.
func (im *Importer) findOutbox() (*oldOutbox, error) {
	fsys, dir := im.opts.FS, im.opts.Dir
	box := &oldOutbox{dir: fsys.PathJoin(dir, OutboxName)}
	if _, err := fsys.Stat(box.dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return nil, err
	}
	names, err := fsys.List(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if name = fsys.PathBase(name); !strings.HasPrefix(name, wire.RetiredPrefix) {
			continue
		}
		data, err := file.Read(fsys, fsys.PathJoin(dir, name, "identity"))
		if err != nil {
			continue
		}
		if id, err := wire.DecodeIdentity(data); err == nil && !id.Storing && id.Mesh == im.opts.View().Mesh {
			return box, nil
		}
	}
	box.unusable, box.problem = true, "nobody can tell to which mesh it belongs"
	return box, nil
}

// OutboxName names the directory of an outbox in that of its node.
const OutboxName = "outbox"

func metaDelivered(seq uint64) []byte {
	return wire.MetaKey(importPrefix + OutboxName + "/" + strconv.FormatUint(seq, 10))
}

// takeOutbox delivers what waits, as the outbox would have.
func (im *Importer) takeOutbox(ctx context.Context, box *oldOutbox) (err error) {
	defer func() {
		box.mu.Lock()
		defer box.mu.Unlock()
		if box.problem = ""; err != nil && ctx.Err() == nil {
			box.problem, box.unusable = err.Error(), errors.Is(err, ErrNever)
		}
	}()
	lay := im.homes.Now()
	if len(lay.Placed) > 1 && !slices.ContainsFunc(lay.Placed, lay.Live) {
		return errFewHomes
	}
	disk, err := storage.Open(storage.Options{
		FS: im.opts.FS, Dir: box.dir, ReadOnly: true, CacheBytes: outbox.Cache, MemTableBytes: outbox.MemTable,
	})
	switch {
	case errors.Is(err, storage.ErrNewerFormat):
		return fmt.Errorf("%w: a newer release wrote it", ErrNever)
	case errors.Is(err, storage.ErrCorrupt):
		return fmt.Errorf("%w: it is damaged as a whole (%w)", ErrNever, err)
	case err != nil:
		return err
	}
	bad, err := im.deliverFormer(ctx, disk)
	if err = errors.Join(err, disk.Close()); err != nil {
		return err
	}
	box.mu.Lock()
	box.bad, box.finished = bad, true
	box.mu.Unlock()
	if bad > 0 {
		return nil
	}
	if err := discardFormer(im.opts.FS, box.dir); err != nil {
		return err
	}
	im.mu.Lock()
	im.outbox = nil
	all := slices.Clone(im.all)
	im.mu.Unlock()
	return im.forgetNotes(ctx, all)
}

// deliverFormer goes through the operations in their order. One that is refused
// does not hold up those of other keys. bad is how many do not read.
func (im *Importer) deliverFormer(ctx context.Context, disk *storage.Store) (bad int, err error) {
	var first error
	held := make(map[string]bool) // keys of which an operation was not delivered
	seen := make(map[uint64]reconcile.Seen)
	lower, upper := wire.OutboxRange()
	err = disk.Scan(ctx, lower, upper, func(k, v []byte) error {
		seq, ok := wire.ParseOutboxKey(k)
		rec, err := wire.DecodeOutboxOp(slices.Clone(v))
		if errors.Is(err, wire.ErrNewerVersion) {
			return fmt.Errorf("%w: a newer release wrote it", ErrNever)
		}
		if !ok || err != nil {
			bad++
			return nil
		}
		if _, err := im.disk.Get(ctx, metaDelivered(seq)); err == nil {
			return nil
		} else if !errors.Is(err, storage.ErrNotFound) {
			return im.records.WrapError("import", err)
		}
		at := im.homes.LocateKey(layout.BucketID(wire.AppendBucketDef(nil, &rec.Bucket)), rec.Key)
		if !held[string(at.Record)] {
			err = im.deliverOp(ctx, seq, &rec, seen)
		}
		if err != nil {
			held[string(at.Record)] = true
			if first == nil {
				first = err
			}
		}
		return ctx.Err()
	})
	return bad + int(disk.Stats().Corrupt), errors.Join(err, first)
}

// deliverOp makes one operation a write of this node, as the outbox would have.
func (im *Importer) deliverOp(ctx context.Context, seq uint64, rec *wire.OutboxOp, seen map[uint64]reconcile.Seen) error {
	if err := im.carrier.Pace.WaitForBytes(ctx, len(rec.Value)); err != nil {
		return err
	}
	all := reconcile.Seen{Ctx: rec.Ctx, HLC: rec.HLC}.Join(seen[rec.Follows])
	after, err := im.opts.Deliver(ctx, rec, all)
	if errors.Is(err, reconcile.ErrFenced) {
		im.opts.Log.Warn("an operation of a former outbox is given up: a later leader has written its key", "key", rec.Key, "error", err)
		after, err = reconcile.Seen{}, nil
	}
	if err != nil {
		return err
	}
	seen[seq] = after
	return im.records.Update(ctx, "note what was delivered", func(tx keep.Tx) error { return tx.Set(metaDelivered(seq), nil) })
}
