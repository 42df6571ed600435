package purging

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	purgeKeys  = 1024      // tombs in one go
	purgeBytes = 256 << 10 // their bytes

	// Every so many passes a store proposes what it holds of the shards that
	// others lead, too: a home that came in the middle of a round may hold a
	// tomb that the lead has let go of.
	strayEvery = 8
)

// KeepPurging proposes to purge, about once in every period, until ctx ends.
func (pg *Purger) KeepPurging(ctx context.Context) {
	every := pg.opts.Every
	pg.loadWait(ctx)
	for {
		timer := time.NewTimer(clock.Jitter(every))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if err := pg.PurgeShards(ctx); err != nil && ctx.Err() == nil {
			pg.log.Debug("nothing purged", "error", err)
		}
	}
}

// errAway: members that must acknowledge are not in contact.
var errAway = errors.New("replica: members are not in contact")

// PurgeShards does one round of each shard in which there is something to purge.
func (pg *Purger) PurgeShards(ctx context.Context) error {
	lay := pg.homes.Now()
	if missing := pg.listUnreachable(lay); len(missing) > 0 {
		n, _, err := pg.records.CountDead(ctx, 1)
		if err != nil {
			return err
		}
		if n == 0 {
			return pg.clearBlocked(ctx)
		}
		return errors.Join(
			fmt.Errorf("%w: %d", errAway, len(missing)), pg.noteBlocked(ctx, missing))
	}
	pg.passes++
	graves, err := pg.findGraves(ctx, lay, purgeKeys)
	if err != nil {
		return err
	}
	if len(graves) == 0 {
		return pg.clearBlocked(ctx)
	}
	told, unable, err := pg.askMembers(ctx, lay, graves)
	if err != nil {
		if ctx.Err() == nil {
			err = errors.Join(err, pg.noteBlocked(ctx, []view.NodeID{unable}))
		}
		return err
	}
	if err := pg.clearBlocked(ctx); err != nil {
		return err
	}
	proposals, err := pg.proposeRounds(ctx, lay, graves, told)
	if err != nil || len(proposals) == 0 {
		return err
	}
	over, err := pg.gatherAcks(ctx, lay, proposals)
	if err != nil || len(over) == 0 {
		return err
	}
	pg.tellCommitted(ctx, lay, over)
	return pg.commitRounds(ctx, over)
}

// findGraves looks for so many records to purge, by shard: of whatever has ended it is
// written down that it has, see keep.Records.KeepLapsing.
func (pg *Purger) findGraves(ctx context.Context, lay *layout.Layout, want int) (map[int][]layout.Place, error) {
	strays := pg.passes%strayEvery == strayEvery-1
	out := make(map[int][]layout.Place)
	n := 0
	lower, upper := wire.IndexRange(wire.IndexGrave, 0)
	look := func(k, v []byte) error {
		_, record, _ := wire.ParseIndexKey(k)
		at, ok := layout.PlaceOf(slices.Clone(record))
		if !ok || keep.IsForOthers(v) {
			return nil
		}
		b := pg.homes.Buckets.FindByID(at.Bucket)
		if b == nil || !strays && lay.RouteOf(b, at.Shard).Lead != pg.id {
			return nil
		}
		if n == want {
			return keep.ErrStop
		}
		n++
		pg.after = append(append(pg.after[:0], k...), 0)
		rec, err := pg.records.Load(ctx, at)
		if err != nil {
			return err
		}
		if _, known := rec.Grave(0); known {
			out[at.Shard] = append(out[at.Shard], at)
		}
		return nil
	}
	begin := max(string(lower), min(string(pg.after), string(upper)))
	err := pg.disk.Scan(ctx, []byte(begin), upper, look)
	if err == nil && n < want && begin > string(lower) {
		err = pg.disk.Scan(ctx, lower, []byte(begin), look)
	}
	if errors.Is(err, keep.ErrStop) {
		err = nil
	}
	return out, err
}

// listUnreachable lists the members that must acknowledge and are not in contact.
func (pg *Purger) listUnreachable(lay *layout.Layout) (out []view.NodeID) {
	for _, id := range lay.Members {
		if id != pg.id && !lay.InMesh[id] {
			out = append(out, id)
		}
	}
	return out
}

// askMembers hears from every member whether it could acknowledge, and its stamps. It
// names the one that is not able to.
func (pg *Purger) askMembers(ctx context.Context, lay *layout.Layout, graves map[int][]layout.Place) (told map[int][]purge.Stamp, unable view.NodeID, err error) {
	req := wire.StampsRequest{Members: lay.Storing}
	for shard := range graves {
		req.Shards = append(req.Shards, shard)
	}
	slices.Sort(req.Shards)
	told = make(map[int][]purge.Stamp)
	for _, id := range lay.Members {
		if id == pg.id {
			continue
		}
		answer, err := pg.opts.Ask(ctx, id, wire.MethodStamps, wire.AppendStampsRequest(nil, &req))
		if err != nil {
			return nil, id, err
		}
		m, err := wire.DecodeStampsReply(answer)
		if err != nil {
			return nil, id, err
		}
		if !m.Able {
			return nil, id, fmt.Errorf("replica: %v: %w", id, purge.ErrMembers)
		}
		for _, st := range m.Stamps {
			if theirs := keep.StampOf(st.Stamp); st.Shard < pg.shards {
				told[st.Shard] = append(told[st.Shard], theirs)
				if pg.records.SyncedStamp(st.Shard).Behind(theirs) {
					pg.records.CatchUps.Behind(st.Shard, id)
				}
			}
		}
	}
	return told, 0, nil
}

// proposeRounds makes the proposals and acknowledges them here.
func (pg *Purger) proposeRounds(ctx context.Context, lay *layout.Layout, graves map[int][]layout.Place, told map[int][]purge.Stamp) (out []purge.Proposal, err error) {
	size := 0
	for shard, all := range graves {
		round, stamp, err := pg.records.SyncedStamp(shard).Next(pg.id, told[shard]...)
		if err != nil {
			continue // the member that knows more was noted
		}
		o := purge.Proposal{Shard: shard, Round: round, Stamp: stamp}
		for _, at := range all {
			if size > purgeBytes {
				break
			}
			rec, err := pg.records.Load(ctx, at)
			if err != nil {
				return nil, err
			}
			if _, known := purge.Grave(rec.Item, 0); !known {
				continue // it was written meanwhile
			}
			size += wire.ItemSize(&rec.Item) + len(at.Key)
			o.Batch = append(o.Batch, purge.Tomb{Bucket: at.Bucket, Key: at.Key, Item: rec.Item})
		}
		if len(o.Batch) > 0 {
			out = append(out, o)
		}
	}
	acked, _, err := pg.acknowledgeRounds(ctx, lay.Storing, out)
	if err != nil {
		return nil, err
	}
	own := make([]purge.Proposal, 0, len(acked))
	for _, i := range acked {
		own = append(own, out[i])
	}
	return own, nil
}

// gatherAcks asks all members to acknowledge, and returns the rounds that all have.
func (pg *Purger) gatherAcks(ctx context.Context, lay *layout.Layout, proposals []purge.Proposal) ([]wire.ShardRound, error) {
	attempts := make([]*purge.Attempt, len(proposals))
	req := wire.ProposeRequest{Members: lay.Storing}
	for i := range proposals {
		o := &proposals[i]
		attempts[i] = purge.NewAttempt(lay.Members)
		attempts[i].Acked(pg.id)
		w := wire.Proposal{Shard: o.Shard, Round: wire.Round(o.Round), Stamp: keep.WireStamp(o.Stamp)}
		for j := range o.Batch {
			t := &o.Batch[j]
			w.Tombs = append(w.Tombs, wire.Tomb{Bucket: t.Bucket, Key: t.Key, Item: wire.AppendItem(nil, &t.Item)})
		}
		req.Proposals = append(req.Proposals, w)
	}
	data := wire.AppendProposeRequest(nil, &req)
	var errs []error
	for _, id := range lay.Members {
		if id == pg.id {
			continue
		}
		answer, err := pg.opts.Ask(ctx, id, wire.MethodPropose, data)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		m, err := wire.DecodeProposeReply(answer)
		errs = append(errs, err)
		for _, i := range m.Acked {
			if i < len(attempts) {
				attempts[i].Acked(id)
			}
		}
	}
	var over []wire.ShardRound
	for i, a := range attempts {
		if a.Committed() {
			over = append(over, wire.ShardRound{Shard: proposals[i].Shard, Round: wire.Round(proposals[i].Round)})
		}
	}
	return over, errors.Join(errs...)
}

// tellCommitted says which rounds are committed to all who are there. Who does not hear
// it learns it from the stamps of items.
func (pg *Purger) tellCommitted(ctx context.Context, lay *layout.Layout, over []wire.ShardRound) {
	data := wire.AppendCommitRequest(nil, &wire.CommitRequest{Rounds: over})
	for _, id := range lay.Members {
		if id == pg.id {
			continue
		}
		if _, err := pg.opts.Ask(ctx, id, wire.MethodCommit, data); err != nil && ctx.Err() == nil {
			pg.log.Debug("purge not told", "peer", id, "error", err)
		}
	}
}
