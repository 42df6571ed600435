package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// handOver brings what this store is not to keep to the homes, by the layout
// given, and lets go of what all of them hold. One that fails is left out for
// the rest of the pass: a home that hangs must not hold up what others are to
// get. leaving is for a store that goes for good.
func (s *Store) handOver(ctx context.Context, lay *layout.Layout, leaving bool) error {
	select {
	case s.progress.turn <- struct{}{}:
		defer func() { <-s.progress.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	all, unknown, err := s.records.ListStrays(ctx, lay)
	if err != nil {
		return s.records.WrapError("hand over", err)
	}
	s.entropy.NoteStrays(len(all) > 0 || unknown > 0 || leaving)
	before := s.stats.dropped.Load()
	var first error
	failed := 0
	fail := func(err error) {
		if failed++; first == nil {
			first = err
		}
	}
	if unknown > 0 {
		fail(fmt.Errorf("replica: %d shards: %w", unknown, errUnknownBucket))
	}
	s.progress.beginHandover(len(all))
	defer s.progress.endHandover()
	pass := &handoverPass{lay: lay, leaving: leaving, without: make(map[view.NodeID]bool)}
	for _, at := range all {
		if err := s.handOff(ctx, pass, at); err != nil {
			fail(fmt.Errorf("replica: hand over shard %d: %w", at.Shard, err))
			if ctx.Err() != nil || errors.Is(err, ErrStorageFull) {
				break // nothing can be let go of here
			}
		}
		s.progress.countHanded()
	}
	if s.stats.dropped.Load() > before {
		s.entropy.LookLater() // what was written meanwhile is still here
	}
	if failed > 1 {
		return fmt.Errorf("%w (and %d more)", first, failed-1)
	}
	return first
}

// handoverPass is one pass over what is to be handed over.
type handoverPass struct {
	lay     *layout.Layout
	leaving bool
	without map[view.NodeID]bool // homes that have failed in it
}

func (p *handoverPass) isInReach(id view.NodeID) bool { return p.lay.InMesh[id] && !p.without[id] }

// handOff drives the core that hands over one slice.
func (s *Store) handOff(ctx context.Context, pass *handoverPass, at layout.Slice) error {
	rt := pass.lay.RouteOf(s.buckets.FindByID(at.Bucket), at.Shard)
	homes := rt.Order[:rt.Homes]
	core := replicate.NewHandoff(homes, pass.isInReach, keep.PageKeys)
	if !core.Any() {
		return s.handleNoHome(ctx, pass, at)
	}
	state, err := s.handedState(ctx, pass, at, homes)
	if err != nil || !core.All() && s.progress.isUnchanged(at, state) {
		return err // those that are there have it all; the rest is down
	}
	for {
		step := core.Step()
		if step.Kind == replicate.HandoffDone {
			break
		}
		if err := s.handStep(ctx, pass, at, core, step); err != nil {
			if step.To != 0 && !errors.Is(err, errNotBrought) {
				pass.without[step.To] = true
			}
			return err
		}
	}
	moved, gone := core.Moved()
	s.stats.moved.Add(uint64(moved))
	s.stats.dropped.Add(uint64(gone))
	if core.Refused() {
		return errRosters
	}
	if down := slices.DeleteFunc(slices.Clone(homes), pass.isInReach); pass.leaving && len(down) > 0 {
		// Where all others are homes there is nobody else to keep it.
		if err := s.standIn(ctx, pass, at, down); err != nil && !errors.Is(err, errNobody) {
			return err
		}
	}
	s.progress.noteBrought(at, state)
	return nil
}

func (s *Store) handStep(ctx context.Context, pass *handoverPass, at layout.Slice, core *replicate.Handoff, step replicate.HandoffStep) error {
	switch step.Kind {
	case replicate.HandoffList:
		marks, last, err := s.records.ListFormerMarks(ctx, at, step.After, step.First)
		if err == nil {
			core.Listed(marks, last)
		}
		return err
	case replicate.HandoffCover:
		there, err := s.askCover(ctx, pass.lay, at, step)
		if err == nil {
			core.Covered(there.Missing, !there.Refused)
		}
		return err
	case replicate.HandoffPush:
		page, err := s.records.ReadRecords(ctx, at, step.Keys)
		if err == nil {
			err = s.bringRecords(ctx, step.To, page, len(step.Keys))
		}
		if err == nil {
			core.Pushed(len(step.Keys))
		}
		return err
	case replicate.HandoffDrop:
		n, err := s.records.DropHomeRoles(ctx, pass.lay, at, step.Marks)
		if pass.leaving && errors.Is(err, ErrStorageFull) {
			n, err = 0, nil // it goes with the node
		}
		if err == nil {
			core.Dropped(n)
		}
		return err
	}
	return fmt.Errorf("replica: hand over: step %d", step.Kind)
}

// handoverState is what was here of a slice, and who of its homes was there, when it
// was brought to them.
type handoverState struct {
	roster  uint64
	total   reconcile.Digest
	live    uint64
	leaving bool // for good: it is with those who stand in for the others, too
	unknown bool // what was here
}

func (s *Store) handedState(ctx context.Context, pass *handoverPass, at layout.Slice, homes []view.NodeID) (h handoverState, err error) {
	h.roster, h.leaving = pass.lay.Roster, pass.leaving
	for i, id := range homes {
		if pass.isInReach(id) {
			h.live |= 1 << i
		}
	}
	h.total, err = s.records.Digest(ctx, []layout.Slice{at})
	if errors.Is(err, storage.ErrStorageFull) {
		h.unknown, err = true, nil // a digest cannot be built just now
	}
	return h, err
}

// errRosters: a peer knows another roster, so what it says of homes does not
// count here. One of the two will hear of the other's soon.
var errRosters = errors.New("replica: the rosters differ")

// askCover asks a home which records it does not hold as they are here.
func (s *Store) askCover(ctx context.Context, lay *layout.Layout, at layout.Slice, step replicate.HandoffStep) (m wire.CoverReply, err error) {
	req := wire.CoverRequest{Bucket: at.Bucket, Shard: at.Shard, Roster: lay.Roster, Marks: make([]wire.Mark, len(step.Marks))}
	size := 0
	for i, m := range step.Marks {
		req.Marks[i] = wire.Mark(m)
		size += len(m.Key) + 16
	}
	if err := s.pace.waitForBytes(ctx, size); err != nil {
		return m, err
	}
	answer, err := s.askPeer(ctx, step.To, wire.MethodCover, wire.AppendCoverRequest(nil, &req))
	if err != nil {
		return m, err
	}
	return wire.DecodeCoverReply(answer)
}

// serveCover tells which of the asker's records this home does not hold as they
// are there.
func (s *Store) serveCover(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeCoverRequest(req)
	if err != nil {
		return nil, err
	}
	at, lay := layout.Slice{Bucket: m.Bucket, Shard: m.Shard}, s.homes.Now()
	b := s.buckets.FindByID(m.Bucket)
	home := b != nil && m.Shard < s.homes.ShardsOf(b) && lay.RouteOf(b, m.Shard).IsHome(s.id)
	// This store may have been about to let go of the records itself, by an
	// older roster: after an update of its own it is seen that they are gone.
	if err := s.disk.Look(ctx, func(*storage.Tx) error { return nil }); err != nil {
		return nil, s.records.WrapError("vouch", err)
	}
	reply := wire.CoverReply{Refused: s.gate.taking.IsShut() || !replicate.MayVouch(m.Roster, lay.Roster, home)}
	for i, k := range m.Marks {
		rec, err := s.records.Load(ctx, s.homes.LocateKey(at.Bucket, k.Key))
		if err != nil {
			return nil, err
		}
		if rec.Unknown() || !rec.Home || s.records.VersionOf(at.Shard, rec.Item) != k.Hash {
			reply.Missing = append(reply.Missing, i)
		}
	}
	return wire.AppendCoverReply(nil, &reply), nil
}

// bringRecords sends so many records to a home, all of them or it fails: what was not
// brought must not be let go of.
func (s *Store) bringRecords(ctx context.Context, home view.NodeID, page []keep.Stamped, want int) error {
	if len(page) < want || slices.ContainsFunc(page, s.tooLargeToSend) {
		return errNotBrought
	}
	return s.pushRecords(ctx, home, page)
}

// errNotBrought: records are damaged, have gone meanwhile, or cannot be sent.
var errNotBrought = errors.New("replica: not all records could be brought to a home")

// pushRecords sends records to a store in pieces that fit into a request.
func (s *Store) pushRecords(ctx context.Context, peer view.NodeID, page []keep.Stamped) error {
	for len(page) > 0 {
		n := s.pieceOf(page)
		if err := s.transferRecords(ctx, peer, 0, page[:n]); err != nil {
			return err
		}
		page = page[n:]
	}
	return nil
}

// pieceOf is how many of the records go in one request.
func (s *Store) pieceOf(page []keep.Stamped) (n int) {
	for size := 0; n < len(page); n++ {
		if size += len(page[n].Rec.Raw); n > 0 && size > s.pace.pieceBytes() {
			break
		}
	}
	return n
}

// serveHeld tells what this store holds that it is not to keep, and where it
// may vouch for what is not there.
func (s *Store) serveHeld(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	if _, err := wire.DecodeHeldRequest(req); err != nil {
		return nil, err
	}
	lay := s.homes.Now()
	all, _, err := s.records.ListStrays(ctx, lay)
	if err != nil {
		return nil, err
	}
	reply := wire.HeldReply{Roster: lay.Roster}
	for _, at := range all {
		reply.Leftover = append(reply.Leftover, wire.Held{Bucket: at.Bucket, Shard: at.Shard})
	}
	for _, b := range s.buckets.ListAll() {
		reply.Seasoned = append(reply.Seasoned, wire.SeasonedIn{Bucket: b.ID, Shards: b.SeasonedBits(s.homes.ShardsOf(b))})
	}
	return wire.AppendHeldReply(nil, &reply), nil
}
