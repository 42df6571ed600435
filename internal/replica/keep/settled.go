package keep

import (
	"context"
	"fmt"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// NoteEqual notes that slices of one bucket were made equal with a peer, under
// the roster and with the losses then, and of which the peer said that it is a
// seasoned home.
func (rs *Records) NoteEqual(ctx context.Context, then *layout.Layout, losses uint64, peer view.NodeID, at []layout.Slice, seasoned []byte) {
	if lay, changed := rs.homes.NoteEqual(then, losses, peer, at, seasoned); changed {
		rs.saveSettled(ctx, lay, rs.buckets.FindByID(at[0].Bucket))
	}
}

func metaSettled(b *layout.Bucket) []byte { return wire.MetaKey(fmt.Sprintf("settled/%016x", b.ID)) }

// loadSettled returns in which shards of b this store had caught up when it
// last took note. Where it had not, it is as good as new.
func (rs *Records) loadSettled(b *layout.Bucket) func(shard int) bool {
	note, err := rs.disk.Get(rs.group.Context(), metaSettled(b))
	if err != nil {
		note = nil
	}
	return rs.homes.ReadSettled(note)
}

// saveSettled takes note of where this store has caught up. To lose the note
// costs time, never data, so an error is only logged.
func (rs *Records) saveSettled(ctx context.Context, lay *layout.Layout, b *layout.Bucket) {
	err := rs.Update(ctx, "note where the store has caught up", func(tx Tx) error {
		// Not before: what is lost meanwhile must not come back as caught up.
		return tx.Set(metaSettled(b), b.SettledNote(lay))
	})
	if err != nil && ctx.Err() == nil {
		rs.log.Warn("cannot note where the store has caught up", "error", err)
	}
}

// FollowBucket tells a bucket's readiness which shards are this store's.
func (rs *Records) FollowBucket(b *layout.Bucket) {
	if lay, changed := rs.homes.FollowBucket(b, rs.loadSettled(b)); changed {
		rs.saveSettled(rs.group.Context(), lay, b)
	}
}
