package replica

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
	"github.com/skeinmesh/skein/mesh/view"
)

// formerOutbox is what waits in the outbox of a node that stored nothing under a
// former identity, and stores now. The next identity of a node that stores
// nothing goes on with it as its own.
type formerOutbox struct {
	dir string

	mu       sync.Mutex
	bad      int    // operations that do not read
	problem  string // why it does not get on
	unusable bool   // and will not
	finished bool
}

// findOutbox looks for one that belongs to a former identity in this mesh.
func (s *Store) findOutbox() (*formerOutbox, error) {
	fsys, dir := s.cfg.fs, s.mesh.Dir()
	box := &formerOutbox{dir: fsys.PathJoin(dir, outboxName)}
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
		if id, err := wire.DecodeIdentity(data); err == nil && !id.Storing && id.Mesh == s.mesh.View().Mesh {
			return box, nil
		}
	}
	box.unusable, box.problem = true, "nobody can tell to which mesh it belongs"
	return box, nil
}

func metaDelivered(seq uint64) []byte {
	return wire.MetaKey(importPrefix + outboxName + "/" + strconv.FormatUint(seq, 10))
}

// takeOutbox delivers what waits, as the outbox would have.
func (im *imports) takeOutbox(ctx context.Context, box *formerOutbox) (err error) {
	defer func() {
		box.mu.Lock()
		defer box.mu.Unlock()
		if box.problem = ""; err != nil && ctx.Err() == nil {
			box.problem, box.unusable = err.Error(), errors.Is(err, errNever)
		}
	}()
	lay := im.s.homes.Now()
	if len(lay.Placed) > 1 && !slices.ContainsFunc(lay.Placed, lay.Live) {
		return errFewHomes
	}
	disk, err := storage.Open(storage.Options{
		FS: im.s.cfg.fs, Dir: box.dir, ReadOnly: true, CacheBytes: outbox.Cache, MemTableBytes: outbox.MemTable,
	})
	switch {
	case errors.Is(err, storage.ErrNewerFormat):
		return fmt.Errorf("%w: a newer release wrote it", errNever)
	case errors.Is(err, storage.ErrCorrupt):
		return fmt.Errorf("%w: it is damaged as a whole (%w)", errNever, err)
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
	if err := discardFormer(im.s.cfg.fs, box.dir); err != nil {
		return err
	}
	im.mu.Lock()
	im.outbox = nil
	all := slices.Clone(im.all)
	im.mu.Unlock()
	return im.s.forgetImports(ctx, all)
}

// deliverFormer goes through the operations in their order. One that is refused
// does not hold up those of other keys. bad is how many do not read.
func (im *imports) deliverFormer(ctx context.Context, disk *storage.Store) (bad int, err error) {
	var first error
	held := make(map[string]bool) // keys of which an operation was not delivered
	seen := make(map[uint64]reconcile.Seen)
	lower, upper := wire.OutboxRange()
	err = disk.Scan(ctx, lower, upper, func(k, v []byte) error {
		seq, ok := wire.ParseOutboxKey(k)
		rec, err := wire.DecodeOutboxOp(slices.Clone(v))
		if errors.Is(err, wire.ErrNewerVersion) {
			return fmt.Errorf("%w: a newer release wrote it", errNever)
		}
		if !ok || err != nil {
			bad++
			return nil
		}
		if _, err := im.s.disk.Get(ctx, metaDelivered(seq)); err == nil {
			return nil
		} else if !errors.Is(err, storage.ErrNotFound) {
			return im.s.records.WrapError("import", err)
		}
		at := im.s.homes.LocateKey(layout.BucketID(wire.AppendBucketDef(nil, &rec.Bucket)), rec.Key)
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

// deliverOp makes one operation a write of this store, as outboxStores.Deliver does.
func (im *imports) deliverOp(ctx context.Context, seq uint64, rec *wire.OutboxOp, seen map[uint64]reconcile.Seen) error {
	known, err := im.s.buckets.AddDefinition(rec.Bucket)
	if err != nil {
		return fmt.Errorf("%w: %w", errNever, err)
	}
	b := &Bucket{s: im.s, b: known}
	all := reconcile.Seen{Ctx: rec.Ctx, HLC: rec.HLC}.Join(seen[rec.Follows])
	q, err := b.newRequest(rec.Key, reconcile.Write{Seen: &all, Value: rec.Value, Tomb: rec.Tomb, TTL: int64(rec.TTL)}, Level(rec.Level), int(rec.MinDurable))
	if err != nil {
		return err
	}
	if err := im.s.carrier.Pace.WaitForBytes(ctx, len(rec.Value)); err != nil {
		return err
	}
	out, err := im.s.routeWrite(ctx, q)
	if err != nil && !errors.Is(err, ErrDegraded) {
		return err
	}
	seen[seq] = out.seen
	return im.s.records.Update(ctx, "note what was delivered", func(tx keep.Tx) error { return tx.Set(metaDelivered(seq), nil) })
}

// reportStatus tells an operator how far it is.
func (box *formerOutbox) reportStatus(h *Health, add func(view.Problem)) {
	box.mu.Lock()
	defer box.mu.Unlock()
	switch {
	case box.unusable:
		add(view.Problem{Kind: view.ProblemFormerOutboxKept, Where: []string{box.dir}, Text: box.problem})
	case !box.finished:
		h.Importing++
		if box.problem != "" {
			add(view.Problem{Kind: view.ProblemFormerOutboxWaits, Where: []string{box.dir}, Text: box.problem})
		}
	case box.bad > 0:
		add(view.Problem{Kind: view.ProblemFormerOutboxUnread, Where: []string{box.dir}, Count: box.bad})
	}
}
