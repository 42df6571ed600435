package purging

import (
	"context"
	"errors"
	"slices"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
)

// setAside gives up the records of a shard of which nobody can tell any more
// whether they were purged; see purge.Keep. They stay on disk, under keys of
// their own, for an operator who wants them.
func (pg *Purger) setAside(ctx context.Context, shard int) error {
	begun := false
	err := pg.records.Update(ctx, "give up old data", func(tx keep.Tx) error {
		var next purge.Standing
		next, begun = tx.Standing(shard).GiveUp()
		return tx.Move(shard, next)
	})
	if err != nil || !begun {
		return err
	}
	n, sought := pg.setAsideAll(ctx, shard)
	pg.aside.Add(uint64(n))
	pg.log.Error("data older than anybody's log of purges was set aside: it may have been deleted", "shard", shard, "records", n)
	err = pg.records.Update(context.WithoutCancel(ctx), "give up old data", func(tx keep.Tx) error {
		return tx.Move(shard, tx.Standing(shard).GaveUp(sought == nil))
	})
	return errors.Join(sought, err)
}

func (pg *Purger) setAsideAll(ctx context.Context, shard int) (n int, err error) {
	all, err := pg.records.ListHeld(ctx)
	if err != nil {
		return n, err
	}
	for _, at := range all {
		if at.Shard != shard {
			continue
		}
		marks, _, err := pg.records.ListMarks(ctx, at, "", false, nil, 0)
		if err != nil {
			return n, err
		}
		for part := range slices.Chunk(marks, keep.PageKeys) {
			gone, err := pg.setAsidePage(ctx, at, part)
			if err != nil {
				return n, err
			}
			n += gone
		}
	}
	return n, nil
}

func (pg *Purger) setAsidePage(ctx context.Context, at layout.Slice, page []replicate.Mark) (n int, err error) {
	err = pg.records.Update(ctx, "set old data aside", func(tx keep.Tx) error {
		if n = 0; !tx.Standing(at.Shard).GivesUp() {
			return ErrMoved // somebody's log was found: not all was gone through
		}
		for _, m := range page {
			p := pg.homes.LocateKey(at.Bucket, m.Key)
			old, err := tx.Load(p)
			if err != nil {
				return err
			}
			if old.Unknown() {
				continue
			}
			r := old.Record
			r.Item = purge.Keep(old.Item, tx.Writer().Current)
			if r.Item.Equal(old.Item) {
				continue
			}
			if err := tx.NeedRoom(); err != nil {
				return err
			}
			if err := tx.Set(wire.AsideKey(p.Record), wire.AppendRecord(nil, wire.Record{Item: old.Raw, Home: old.Home, Hints: old.Hints})); err != nil {
				return err
			}
			if r.Item.Unknown() {
				r = replicate.Record{}
			}
			if err := tx.Save(p, old, r, wire.AppendItem(nil, &r.Item)); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}
