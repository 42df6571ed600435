package purging

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// ErrShortLog: a peer does not remember all that was purged since this store
// last took part.
var ErrShortLog = errors.New("replica: the peer's log of purges does not reach back far enough")

// FollowRounds brings this store up to date with the purges that it has heard of, until
// ctx ends.
func (pg *Purger) FollowRounds(ctx context.Context) {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pg.records.CatchUps.Kick:
		case <-retry.C:
		}
		for {
			shard, peer, ok := pg.records.CatchUps.TakeNext()
			if !ok || ctx.Err() != nil {
				break
			}
			var err error
			if peer == 0 {
				err = pg.finishPurge(ctx, shard)
			} else if pg.homes.Now().InMesh[peer] {
				err = pg.CatchUp(ctx, peer, shard)
			}
			if err != nil && ctx.Err() == nil {
				pg.log.Debug("not caught up with a purge", "shard", shard, "peer", peer, "error", err)
			}
		}
	}
}

// ErrMoved: this store has taken part in a purge while it read a peer's log.
var ErrMoved = errors.New("replica: another purge meanwhile")

// CatchUp takes in what a peer knows of the purges of a shard.
func (pg *Purger) CatchUp(ctx context.Context, peer view.NodeID, shard int) error {
	mine := pg.records.SyncedStanding(shard)
	req := wire.LogRequest{Shard: shard, Stamp: keep.WireStamp(mine.Stamp), From: wire.Round(mine.From)}
	read := purge.Reading{Asked: mine}
	for {
		answer, err := pg.opts.Ask(ctx, peer, wire.MethodLog, wire.AppendLogRequest(nil, &req))
		if err != nil {
			return err
		}
		page, err := wire.DecodeLogReply(answer)
		if err != nil {
			return err
		}
		read.Page(keep.StampOf(page.Stamp), purge.Round(page.From))
		if err := pg.takeLog(ctx, shard, &page); err != nil {
			return err
		}
		if !page.More {
			break
		}
		if len(page.Entries) == 0 {
			return fmt.Errorf("replica: empty page of a log: %w", wire.ErrMalformed)
		}
		last := page.Entries[len(page.Entries)-1]
		req.Bucket, req.Key, req.More = last.Bucket, last.Key, true
	}
	b := pg.records.CatchUps
	if err := pg.caughtUp(ctx, shard, read); err != nil {
		if errors.Is(err, ErrMoved) {
			b.Behind(shard, peer)
		}
		return err
	}
	b.Committed(shard)
	switch pg.records.SyncedStanding(shard).Outcome(read) {
	case purge.UpToDate:
		pg.searches.forgetSearch(shard)
		return nil
	case purge.Nearer:
		pg.searches.forgetSearch(shard)
		b.Behind(shard, peer)
		return ErrMoved
	}
	return pg.noteShortLog(ctx, shard, peer)
}

// takeLog makes dead here what the log says was purged.
func (pg *Purger) takeLog(ctx context.Context, shard int, page *wire.LogReply) error {
	if len(page.Entries) == 0 {
		return nil
	}
	return pg.records.Update(ctx, "catch up with a purge", func(tx keep.Tx) error {
		next := tx.Standing(shard)
		for i := range page.Entries {
			e := &page.Entries[i]
			next = next.Log(purge.Round(e.Round))
			at := pg.homes.LocateKey(e.Bucket, e.Key)
			b, err := keep.DecodeBuried(e.Buried)
			if err != nil || at.Shard != shard {
				return fmt.Errorf("replica: log of purges: entry %d is of shard %d, not %d: %w", i, at.Shard, shard, errors.Join(err, wire.ErrMalformed))
			}
			lost, err := tx.LogPurged(at, b)
			if err != nil {
				return err
			}
			next = next.Lose(lost)
			old, err := tx.Load(at)
			if err != nil {
				return err
			}
			if old.Unknown() {
				continue
			}
			got, err := tx.Writer().Absorb(old.Local, b.CatchUp(old.Item), pg.clocks.Now())
			if err != nil {
				return err
			}
			r := old.Record
			r.Local = got.Local
			switch {
			case b.Drop(r.Item):
				r = replicate.Record{}
			case !got.Changed:
				continue
			}
			if err := tx.Save(at, old, r, wire.AppendItem(nil, &r.Item)); err != nil {
				return err
			}
		}
		return tx.Move(shard, next)
	})
}

// caughtUp moves the stamp of a shard to what a peer had when the reading of
// its log began.
func (pg *Purger) caughtUp(ctx context.Context, shard int, read purge.Reading) error {
	return pg.records.Update(ctx, "catch up with a purge", func(tx keep.Tx) error {
		next, ok := tx.Standing(shard).CaughtUp(read)
		if !ok {
			return ErrMoved
		}
		return tx.Move(shard, next)
	})
}

// searches are for whose log reaches back to where this store stands, by shard.
type searches struct {
	mu      sync.Mutex
	byShard map[int]*purge.Search
}

// forgetSearch forgets who could not help this store to catch up: it has come nearer to
// what they remember.
func (a *searches) forgetSearch(shard int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.byShard, shard)
}

// noteShort notes that a peer's log is too short, and tells whether that of everybody is.
func (a *searches) noteShort(shard int, peer, self view.NodeID, members []view.NodeID) (nobody bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byShard == nil {
		a.byShard = make(map[int]*purge.Search)
	}
	if a.byShard[shard] == nil {
		a.byShard[shard] = new(purge.Search)
	}
	return a.byShard[shard].Short(peer, self, members)
}

// noteShortLog notes that a peer cannot help this store to catch up. When nobody can,
// what cannot be vouched for is set aside.
func (pg *Purger) noteShortLog(ctx context.Context, shard int, peer view.NodeID) error {
	if !pg.searches.noteShort(shard, peer, pg.id, pg.homes.Now().Members) {
		return ErrShortLog
	}
	return pg.setAside(ctx, shard)
}

// SyncStamps has this store catch up with the purges that a peer knows of, and
// the peer with those that it lacks.
func (pg *Purger) SyncStamps(ctx context.Context, peer view.NodeID) error {
	answer, err := pg.opts.Ask(ctx, peer, wire.MethodStamps, wire.AppendStampsRequest(nil, &wire.StampsRequest{Sum: pg.records.StampSum()}))
	if err != nil {
		return err
	}
	m, err := wire.DecodeStampsReply(answer)
	if err != nil {
		return err
	}
	theirs := make(map[int]purge.Stamp, len(m.Stamps))
	for _, st := range m.Stamps {
		if st.Shard >= pg.shards {
			return fmt.Errorf("replica: shard %d of %d", st.Shard, pg.shards)
		}
		theirs[st.Shard] = keep.StampOf(st.Stamp)
	}
	var errs []error
	for shard := range pg.shards {
		mine := pg.records.SyncedStamp(shard)
		if m.Same {
			theirs[shard] = mine
		}
		if mine.Asks(theirs[shard]) {
			if err := pg.CatchUp(ctx, peer, shard); err != nil && !errors.Is(err, ErrShortLog) {
				errs = append(errs, err)
				break
			}
		}
	}
	return errors.Join(errs...)
}
