package replica

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
	"github.com/skeinmesh/skein/replica/version"
)

const (
	purgeKeys  = 1024      // tombs in one go
	purgeBytes = 256 << 10 // their bytes

	// Every so many passes a store proposes what it holds of the shards that
	// others lead, too: a home that came in the middle of a round may hold a
	// tomb that the lead has let go of.
	strayEvery = 8
)

// purger proposes to purge the tombs of the shards that this store leads.
type purger struct {
	s      *Store
	after  []byte // of the index of graves: where the next pass begins, so that those that cannot be purged do not keep out the rest
	passes int

	waiting purgeWait
}

func (p *purger) keepPurging(ctx context.Context) {
	every := p.s.cfg.PurgeEvery
	p.waiting.loadState(ctx, p.s)
	for {
		timer := time.NewTimer(clock.Jitter(every))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if err := p.purgeShards(ctx); err != nil && ctx.Err() == nil {
			p.s.log.Debug("nothing purged", "error", err)
		}
	}
}

// purgeShards does one round of each shard in which there is something to purge.
func (p *purger) purgeShards(ctx context.Context) error {
	lay := p.s.homes.Now()
	if missing := p.listUnreachable(lay); len(missing) > 0 {
		n, _, err := p.s.records.CountDead(ctx, 1)
		if err != nil {
			return err
		}
		if n == 0 {
			return p.waiting.clearBlocked(ctx, p.s)
		}
		return errors.Join(
			fmt.Errorf("%w: %d members are not in contact", ErrUnavailable, len(missing)), p.waiting.noteBlocked(ctx, p.s, missing))
	}
	p.passes++
	graves, err := p.findGraves(ctx, lay, purgeKeys)
	if err != nil {
		return err
	}
	if len(graves) == 0 {
		return p.waiting.clearBlocked(ctx, p.s)
	}
	told, trusted, unable, err := p.askMembers(ctx, lay, graves)
	if err != nil {
		if ctx.Err() == nil {
			err = errors.Join(err, p.waiting.noteBlocked(ctx, p.s, []view.NodeID{unable}))
		}
		return err
	}
	if err := p.waiting.clearBlocked(ctx, p.s); err != nil {
		return err
	}
	proposals, err := p.proposeRounds(ctx, lay, graves, told, trusted)
	if err != nil || len(proposals) == 0 {
		return err
	}
	over, err := p.gatherAcks(ctx, lay, proposals)
	if err != nil || len(over) == 0 {
		return err
	}
	p.tellCommitted(ctx, lay, over)
	return p.s.commitRounds(ctx, over)
}

// grave is a record of which nothing is alive, by the clock here.
type grave struct {
	at    layout.Place
	known bool // all of it are tombs
}

// findGraves looks for so many records to purge, by shard.
func (p *purger) findGraves(ctx context.Context, lay *layout.Layout, want int) (map[int][]grave, error) {
	s := p.s
	strays := p.passes%strayEvery == strayEvery-1
	// What has expired only just may not have for others.
	now := s.currentDate().Add(-2 * s.cfg.MaxSkew.Milliseconds())
	out := make(map[int][]grave)
	n := 0
	lower, _ := wire.IndexRange(wire.IndexGrave, 0)
	_, upper := wire.IndexRange(wire.IndexGrave, view.NodeID(max(now, 1)))
	look := func(k, _ []byte) error {
		_, record, _ := wire.ParseIndexKey(k)
		at, ok := layout.PlaceOf(slices.Clone(record))
		if !ok {
			return nil
		}
		b := s.buckets.FindByID(at.Bucket)
		if b == nil || !strays && lay.RouteOf(b, at.Shard).Lead != s.id {
			return nil
		}
		if n == want {
			return keep.ErrStop
		}
		n++
		p.after = append(append(p.after[:0], k...), 0)
		rec, err := s.records.Load(ctx, at)
		if err != nil {
			return err
		}
		if dead, known := rec.Grave(now); dead {
			out[at.Shard] = append(out[at.Shard], grave{at, known})
		}
		return nil
	}
	begin := max(string(lower), min(string(p.after), string(upper)))
	err := s.disk.Scan(ctx, []byte(begin), upper, look)
	if err == nil && n < want && begin > string(lower) {
		err = s.disk.Scan(ctx, lower, []byte(begin), look)
	}
	if errors.Is(err, keep.ErrStop) {
		err = nil
	}
	return out, err
}

// listUnreachable lists the members that must acknowledge and are not in contact.
func (p *purger) listUnreachable(lay *layout.Layout) (out []view.NodeID) {
	for _, id := range lay.Members {
		if id != p.s.id && !lay.InMesh[id] {
			out = append(out, id)
		}
	}
	return out
}

// askMembers hears from every member whether it could acknowledge, and its stamps. It
// names the one that is not able to.
func (p *purger) askMembers(ctx context.Context, lay *layout.Layout, graves map[int][]grave) (told map[int][]purge.Stamp, trusted bool, unable view.NodeID, err error) {
	s := p.s
	req := wire.StampsRequest{Members: lay.Storing}
	for shard := range graves {
		req.Shards = append(req.Shards, shard)
	}
	slices.Sort(req.Shards)
	told, trusted = make(map[int][]purge.Stamp), s.clocks.Trusted()
	for _, id := range lay.Members {
		if id == s.id {
			continue
		}
		answer, err := s.askPeer(ctx, id, wire.MethodStamps, wire.AppendStampsRequest(nil, &req))
		if err != nil {
			return nil, false, id, err
		}
		m, err := wire.DecodeStampsReply(answer)
		if err != nil {
			return nil, false, id, err
		}
		if !m.Able {
			return nil, false, id, fmt.Errorf("replica: %v: %w", id, purge.ErrMembers)
		}
		trusted = trusted && m.Trusted
		for _, st := range m.Stamps {
			if theirs := keep.StampOf(st.Stamp); st.Shard < s.shards {
				told[st.Shard] = append(told[st.Shard], theirs)
				if s.records.SyncedStamp(st.Shard).Behind(theirs) {
					s.records.CatchUps.Behind(st.Shard, id)
				}
			}
		}
	}
	return told, trusted, 0, nil
}

// proposeRounds makes the proposals and acknowledges them here.
func (p *purger) proposeRounds(ctx context.Context, lay *layout.Layout, graves map[int][]grave, told map[int][]purge.Stamp, trusted bool) (out []purge.Proposal, err error) {
	s := p.s
	size := 0
	for shard, all := range graves {
		round, stamp, err := s.records.SyncedStamp(shard).Next(s.id, told[shard]...)
		if err != nil {
			continue // the member that knows more was noted
		}
		o := purge.Proposal{Shard: shard, Round: round, Stamp: stamp}
		for _, g := range all {
			if !g.known && !trusted || size > purgeBytes {
				continue
			}
			rec, err := s.records.Load(ctx, g.at)
			if err != nil {
				return nil, err
			}
			if rec.Unknown() {
				continue
			}
			it := purge.Blank(rec.Item)
			size += wire.ItemSize(&it) + len(g.at.Key)
			o.Batch = append(o.Batch, purge.Tomb{Bucket: g.at.Bucket, Key: g.at.Key, Item: it})
		}
		if len(o.Batch) > 0 {
			out = append(out, o)
		}
	}
	acked, _, err := s.acknowledgeRounds(ctx, lay.Storing, out)
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
func (p *purger) gatherAcks(ctx context.Context, lay *layout.Layout, proposals []purge.Proposal) ([]wire.ShardRound, error) {
	s := p.s
	attempts := make([]*purge.Attempt, len(proposals))
	req := wire.ProposeRequest{Members: lay.Storing}
	for i := range proposals {
		o := &proposals[i]
		attempts[i] = purge.NewAttempt(lay.Members)
		attempts[i].Acked(s.id)
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
		if id == s.id {
			continue
		}
		answer, err := s.askPeer(ctx, id, wire.MethodPropose, data)
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
func (p *purger) tellCommitted(ctx context.Context, lay *layout.Layout, over []wire.ShardRound) {
	data := wire.AppendCommitRequest(nil, &wire.CommitRequest{Rounds: over})
	for _, id := range lay.Members {
		if id == p.s.id {
			continue
		}
		if _, err := p.s.askPeer(ctx, id, wire.MethodCommit, data); err != nil && ctx.Err() == nil {
			p.s.log.Debug("purge not told", "peer", id, "error", err)
		}
	}
}

// servePropose acknowledges rounds.
func (s *Store) servePropose(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeProposeRequest(req)
	if err != nil {
		return nil, err
	}
	proposals := make([]purge.Proposal, len(m.Proposals))
	for i, o := range m.Proposals {
		if o.Shard >= s.shards {
			return nil, fmt.Errorf("replica: shard %d of %d", o.Shard, s.shards)
		}
		p := purge.Proposal{Shard: o.Shard, Round: purge.Round(o.Round), Stamp: keep.StampOf(o.Stamp), Batch: make([]purge.Tomb, len(o.Tombs))}
		for j, t := range o.Tombs {
			var it version.Item
			if it, err = wire.DecodeItem(t.Item); err != nil {
				return nil, err
			}
			p.Batch[j] = purge.Tomb{Bucket: t.Bucket, Key: t.Key, Item: it}
		}
		proposals[i] = p
	}
	acked, behind, err := s.acknowledgeRounds(ctx, m.Members, proposals)
	if err != nil {
		return nil, err
	}
	for _, shard := range behind {
		s.records.CatchUps.Behind(shard, from)
	}
	return wire.AppendProposeReply(nil, &wire.ProposeReply{Acked: acked}), nil
}

// serveCommit lets go of what all members have acknowledged.
func (s *Store) serveCommit(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeCommitRequest(req)
	if err != nil {
		return nil, err
	}
	return nil, s.commitRounds(ctx, m.Rounds)
}
