package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// errShortLog: a peer does not remember all that was purged since this store
// last took part.
var errShortLog = errors.New("replica: the peer's log of purges does not reach back far enough")

// follow brings this store up to date with the purges that it has heard of.
func (s *Store) followRounds(ctx context.Context) {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.records.CatchUps.Kick:
		case <-retry.C:
		}
		for {
			shard, peer, ok := s.records.CatchUps.TakeNext()
			if !ok || ctx.Err() != nil {
				break
			}
			var err error
			if peer == 0 {
				err = s.finishPurge(ctx, shard)
			} else if s.homes.Now().InMesh[peer] {
				err = s.catchUp(ctx, peer, shard)
			}
			if err != nil && ctx.Err() == nil {
				s.log.Debug("not caught up with a purge", "shard", shard, "peer", peer, "error", err)
			}
		}
	}
}

// errMoved: this store has taken part in a purge while it read a peer's log.
var errMoved = errors.New("replica: another purge meanwhile")

// catchUp takes in what a peer knows of the purges of a shard.
func (s *Store) catchUp(ctx context.Context, peer view.NodeID, shard int) error {
	mine := s.records.SyncedStanding(shard)
	req := wire.LogRequest{Shard: shard, Stamp: keep.WireStamp(mine.Stamp), From: wire.Round(mine.From)}
	read := purge.Reading{Asked: mine}
	for {
		answer, err := s.askPeer(ctx, peer, wire.MethodLog, wire.AppendLogRequest(nil, &req))
		if err != nil {
			return err
		}
		page, err := wire.DecodeLogReply(answer)
		if err != nil {
			return err
		}
		read.Page(keep.StampOf(page.Stamp), purge.Round(page.From))
		if err := s.takeLog(ctx, shard, &page); err != nil {
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
	b := s.records.CatchUps
	if err := s.caughtUp(ctx, shard, read); err != nil {
		if errors.Is(err, errMoved) {
			b.Behind(shard, peer)
		}
		return err
	}
	b.Committed(shard)
	switch s.records.SyncedStanding(shard).Outcome(read) {
	case purge.UpToDate:
		s.searches.forgetSearch(shard)
		return nil
	case purge.Nearer:
		s.searches.forgetSearch(shard)
		b.Behind(shard, peer)
		return errMoved
	}
	return s.noteShortLog(ctx, shard, peer)
}

// takeLog makes dead here what the log says was purged.
func (s *Store) takeLog(ctx context.Context, shard int, page *wire.LogReply) error {
	if len(page.Entries) == 0 {
		return nil
	}
	return s.records.Update(ctx, "catch up with a purge", func(tx keep.Tx) error {
		next := tx.Standing(shard)
		for i := range page.Entries {
			e := &page.Entries[i]
			next = next.Log(purge.Round(e.Round))
			at := s.homes.LocateKey(e.Bucket, e.Key)
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
			got, err := tx.Writer().Absorb(old.Local, b.CatchUp(old.Item), s.currentDate())
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
func (s *Store) caughtUp(ctx context.Context, shard int, read purge.Reading) error {
	return s.records.Update(ctx, "catch up with a purge", func(tx keep.Tx) error {
		next, ok := tx.Standing(shard).CaughtUp(read)
		if !ok {
			return errMoved
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
func (s *Store) noteShortLog(ctx context.Context, shard int, peer view.NodeID) error {
	if !s.searches.noteShort(shard, peer, s.id, s.homes.Now().Members) {
		return errShortLog
	}
	return s.setAside(ctx, shard)
}

// setAside gives up the records of a shard of which nobody can tell any more
// whether they were purged; see purge.Keep. They stay on disk, under keys of
// their own, for an operator who wants them.
func (s *Store) setAside(ctx context.Context, shard int) error {
	begun := false
	err := s.records.Update(ctx, "give up old data", func(tx keep.Tx) error {
		var next purge.Standing
		next, begun = tx.Standing(shard).GiveUp()
		return tx.Move(shard, next)
	})
	if err != nil || !begun {
		return err
	}
	n, sought := s.setAsideAll(ctx, shard)
	s.stats.aside.Add(uint64(n))
	s.log.Error("data older than anybody's log of purges was set aside: it may have been deleted", "shard", shard, "records", n)
	err = s.records.Update(context.WithoutCancel(ctx), "give up old data", func(tx keep.Tx) error {
		return tx.Move(shard, tx.Standing(shard).GaveUp(sought == nil))
	})
	return errors.Join(sought, err)
}

func (s *Store) setAsideAll(ctx context.Context, shard int) (n int, err error) {
	all, err := s.records.ListHeld(ctx)
	if err != nil {
		return n, err
	}
	for _, at := range all {
		if at.Shard != shard {
			continue
		}
		marks, _, err := s.records.ListMarks(ctx, at, "", false, nil, 0)
		if err != nil {
			return n, err
		}
		for part := range slices.Chunk(marks, keep.PageKeys) {
			gone, err := s.setAsidePage(ctx, at, part)
			if err != nil {
				return n, err
			}
			n += gone
		}
	}
	return n, nil
}

func (s *Store) setAsidePage(ctx context.Context, at layout.Slice, page []replicate.Mark) (n int, err error) {
	err = s.records.Update(ctx, "set old data aside", func(tx keep.Tx) error {
		if n = 0; !tx.Standing(at.Shard).GivesUp() {
			return errMoved // somebody's log was found: not all was gone through
		}
		for _, m := range page {
			p := s.homes.LocateKey(at.Bucket, m.Key)
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

// syncStamps has this store catch up with the purges that a peer knows of, and
// the peer with those that it lacks.
func (s *Store) syncStamps(ctx context.Context, peer view.NodeID) error {
	answer, err := s.askPeer(ctx, peer, wire.MethodStamps, wire.AppendStampsRequest(nil, &wire.StampsRequest{Sum: s.records.StampSum()}))
	if err != nil {
		return err
	}
	m, err := wire.DecodeStampsReply(answer)
	if err != nil {
		return err
	}
	theirs := make(map[int]purge.Stamp, len(m.Stamps))
	for _, st := range m.Stamps {
		if st.Shard >= s.shards {
			return fmt.Errorf("replica: shard %d of %d", st.Shard, s.shards)
		}
		theirs[st.Shard] = keep.StampOf(st.Stamp)
	}
	var errs []error
	for shard := range s.shards {
		mine := s.records.SyncedStamp(shard)
		if m.Same {
			theirs[shard] = mine
		}
		if mine.Asks(theirs[shard]) {
			if err := s.catchUp(ctx, peer, shard); err != nil && !errors.Is(err, errShortLog) {
				errs = append(errs, err)
				break
			}
		}
	}
	return errors.Join(errs...)
}

// serveStamps tells this store's stamps, and whether it could acknowledge a
// round.
func (s *Store) serveStamps(_ context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeStampsRequest(req)
	if err != nil {
		return nil, err
	}
	reply := wire.StampsReply{Able: m.Members == s.homes.Now().Storing, Trusted: s.clocks.Trusted()}
	reply.Same = m.Sum != 0 && m.Sum == s.records.StampSum()
	add := func(shard int) {
		if st := s.records.SyncedStamp(shard); st != (purge.Stamp{}) {
			reply.Stamps = append(reply.Stamps, wire.ShardStamp{Shard: shard, Stamp: keep.WireStamp(st)})
		}
	}
	switch {
	case reply.Same:
	case len(m.Shards) == 0:
		for shard := range s.shards {
			add(shard)
		}
	default:
		for _, shard := range m.Shards {
			if shard < s.shards {
				add(shard)
			}
		}
	}
	return wire.AppendStampsReply(nil, &reply), nil
}
