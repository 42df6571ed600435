package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/witness"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/mesh/view"
)

// expiredWait is for how long nothing that has expired could go before an operator should
// hear of it. An only store waits for an hour after each start.
const expiredWait = 2 * time.Hour

// longWait is for how long writes wait in an outbox that delivers before an operator
// should hear of it.
const longWait = time.Minute

// Health is how a store is doing, shard by shard, for an operator.
type Health struct {
	Status

	// Shards are those that this store has a part in, by bucket and number.
	Shards []ShardHealth
	// Leftover is how many shards lie here, counted per bucket, that this store
	// is not to keep, or not any more: what it keeps for homes that were down is
	// among them. They go when their homes hold them.
	Leftover int
	// HandingOver is how many of them the hand-over that is under way has still
	// to look at.
	HandingOver int
	// Lost are the nodes that were down for so long that their copies are made
	// elsewhere.
	Lost []view.NodeID
	// SetAside is how many records were set aside since the store was opened,
	// because nobody remembers any more whether they were deleted.
	SetAside uint64
	// Importing is how many shards of what former identities of this node have
	// left in its data directory are still to be taken in: 1 at least, until
	// all that can be is.
	Importing int
	// ImportRefused is how many records of that stay where they are, because
	// nobody remembers whether they were deleted.
	ImportRefused int
	// PurgeBlocked says why deletes cannot be forgotten; nil if they can, or
	// have waited for less than a week.
	PurgeBlocked *PurgeBlocked
	// Expired is what values take here whose TTL has ended and whose bytes are not
	// given back yet.
	Expired Expired
	// Problems are what an operator should look at. None: all is well.
	Problems []view.Problem

	unread bool // a part of the disk was not read
}

// PurgeBlocked says that deletes cannot be forgotten because members that must
// acknowledge it have not been there, or not been able to, for long. They are to
// be brought back, or given up for good.
type PurgeBlocked struct {
	Missing []view.NodeID
	// For is for how long this node has waited while it ran, restarts or not.
	For time.Duration
	// Bytes is the size of the records that this node keeps for nothing else.
	Bytes int64
}

// Expired is what values take whose TTL has ended: their bytes go MaxSkew and a minute
// later, in the order in which they ended and 5 MiB a second at the most, unless nobody
// vouches for this node's clock.
type Expired struct {
	// Records are those in which there are such values: up to 10 000, or to 16 MiB.
	Records int
	// Bytes is their size.
	Bytes int64
	// Waits is for how long none has gone because nobody vouches for the clock, in
	// running time since the store was opened. Zero: the clock is vouched for.
	Waits time.Duration
}

// ShardHealth is how one shard of a bucket is doing, as one store sees it.
type ShardHealth struct {
	Bucket string // name; empty for the definitions of all buckets
	Shard  int
	// Role is the part that this store has: home, stand-in (it keeps a copy in
	// the place of a home that is lost) or former home.
	Role string
	// Homes are the nodes that should hold it, dead ones included.
	Homes []view.NodeID
	// Copies is how many homes and stand-ins are in contact, this store
	// included. Whether they have all of it, Synced tells, and their own Health.
	Copies int
	// Syncing says that the homes in contact are not known to be equal, see
	// Status.Syncing.
	Syncing bool
	// Hints is how many copies are kept here for homes that were down.
	Hints int
	// Synced is how long ago this store was last made equal with each of the
	// other keepers. Who is missing was not, since this store was opened.
	Synced map[view.NodeID]time.Duration
}

// String says it in one line.
func (h ShardHealth) String() string {
	name := h.Bucket
	if name == "" {
		name = "(definitions)"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s shard %d: %s, %d of %d copies in contact", name, h.Shard, h.Role, h.Copies, len(h.Homes))
	if h.Syncing {
		b.WriteString(", catching up")
	}
	if h.Hints > 0 {
		fmt.Fprintf(&b, ", keeps %d for homes that were down", h.Hints)
	}
	for _, id := range slices.Sorted(maps.Keys(h.Synced)) {
		fmt.Fprintf(&b, ", equal with %v %v ago", id, h.Synced[id].Round(time.Second))
	}
	return b.String()
}

// Health tells how the store is doing. It goes through an index of what is kept
// for others, and reads what has expired, so it is not for every second. The error is ErrClosed, ErrStorage
// or that of ctx; beside ErrStorage, Problems says what to do.
func (s *Store) Health(ctx context.Context) (Health, error) { return s.inspectHealth(ctx, true) }

// inspectHealth is Health; without countBytes it reads no record that waits to go.
func (s *Store) inspectHealth(ctx context.Context, countBytes bool) (Health, error) {
	st, syncing, hints, err := s.inspectStatus(ctx)
	if errors.Is(err, ErrStorage) {
		h := Health{Status: st, SetAside: s.purging.Aside()}
		h.Problems = s.listProblems(&h, s.homes.Now())
		return h, err
	} else if err != nil && !errors.Is(err, storage.ErrCorrupt) {
		return Health{}, err
	}
	unread := err != nil
	leave, ok := s.gate.Ops.Enter()
	if !ok {
		return Health{}, ErrClosed
	}
	defer leave()
	h := Health{Status: st}
	if s.disk == nil {
		h.Problems = s.listProblems(&h, s.homes.Now())
		return h, nil
	}
	lay := s.homes.Now()
	former := make(map[layout.Slice]bool)
	left, _, err := s.records.ListStrays(ctx, lay)
	if unread = unread || errors.Is(err, storage.ErrCorrupt); err != nil && !unread {
		return h, s.records.WrapError("health", err)
	}
	for _, at := range left {
		former[at] = true
	}
	h.Leftover, h.HandingOver = len(left), s.carrier.SlicesLeft()
	h.SetAside = s.purging.Aside()
	blocked, waits, err := s.purging.DescribeBlocked(ctx, countBytes)
	if err != nil {
		return h, s.records.WrapError("health", err)
	}
	if waits {
		h.PurgeBlocked = (*PurgeBlocked)(&blocked)
	}
	if countBytes {
		expired, err := s.records.CountExpired(ctx)
		if err != nil {
			return h, s.records.WrapError("health", err)
		}
		h.Expired = Expired(expired)
	}
	for _, id := range lay.Members {
		if lay.Lost[id] {
			h.Lost = append(h.Lost, id)
		}
	}
	for _, b := range s.buckets.ListAll() {
		for shard := range s.homes.ShardsOf(b) {
			at := layout.Slice{Bucket: b.ID, Shard: shard}
			if sh := s.shardHealth(lay, b, at); sh.Role != "" || hints[at] > 0 || former[at] {
				if sh.Hints, sh.Syncing = hints[at], syncing[at]; sh.Role == "" {
					sh.Role = "former home"
				}
				h.Shards = append(h.Shards, sh)
			}
		}
	}
	h.unread = unread
	h.Problems = s.listProblems(&h, lay)
	return h, nil
}

func (s *Store) shardHealth(lay *layout.Layout, b *layout.Bucket, at layout.Slice) ShardHealth {
	rt := lay.RouteOf(b, at.Shard)
	h := ShardHealth{Bucket: b.Def.Name, Shard: at.Shard, Homes: slices.Clone(rt.Order[:rt.Homes])}
	switch {
	case rt.IsHome(s.id):
		h.Role = "home"
	case lay.IsKeeper(b, at.Shard, s.id):
		h.Role = "stand-in"
	}
	for _, id := range lay.ListKeepers(rt) {
		if id == s.id || lay.InMesh[id] {
			h.Copies++
		}
		if ago, ok := s.comparer.SinceSync(b.ID, id); ok && id != s.id && h.Role != "" {
			if h.Synced == nil {
				h.Synced = make(map[view.NodeID]time.Duration)
			}
			h.Synced[id] = ago
		}
	}
	return h
}

// listProblems finds what an operator should look at.
func (s *Store) listProblems(h *Health, lay *layout.Layout) (out []view.Problem) {
	at := witness.Sight{Self: s.id, View: s.mesh.View(), Now: s.cfg.clock.Wall()}
	add := func(p view.Problem) { out = append(out, p) }
	if s.disk != nil {
		if err := s.disk.Err(); err != nil {
			add(view.Problem{Kind: view.ProblemDiskFailed, Text: err.Error()})
		} else {
			reportDisk(s.disk.Stats(), s.records.LostHints(), add)
		}
	}
	s.clockProblems(add)
	if m, ok := at.View.Member(s.id); ok && m.Status == view.Leaving {
		add(view.Problem{Kind: view.ProblemLeaving, Shards: h.Leftover, Count: h.Hints})
	}
	out = append(out, at.View.Problems...)
	reportFormer(s.former.Status(), h, add)
	s.fewCopies(at, h, lay, add)
	at.ReportSilent(add)
	at.ReportUnconfirmed(s.inquests.Unconfirmed(), add)
	if len(h.Lost) > 0 {
		add(view.Problem{Kind: view.ProblemLost, Nodes: at.NameAll(h.Lost)})
	}
	if h.Syncing > 0 {
		add(view.Problem{Kind: view.ProblemSyncing, Shards: h.Syncing})
	}
	if b := h.PurgeBlocked; b != nil {
		add(view.Problem{Kind: view.ProblemPurgeBlocked, For: b.For, Bytes: b.Bytes, Nodes: at.NameAll(b.Missing)})
	}
	if e := h.Expired; e.Waits >= expiredWait && e.Records > 0 {
		add(view.Problem{Kind: view.ProblemExpiredKept, Count: e.Records, Bytes: e.Bytes, For: e.Waits})
	}
	if h.SetAside > 0 {
		add(view.Problem{Kind: view.ProblemSetAside, Count: int(h.SetAside)})
	}
	if h.OutboxError != "" || h.OutboxOldest >= longWait {
		add(view.Problem{Kind: view.ProblemOutboxWaits, Count: h.OutboxOps, Bytes: h.OutboxBytes, For: h.OutboxOldest, Text: h.OutboxError})
	}
	if h.OutboxDropped > 0 {
		add(view.Problem{Kind: view.ProblemOutboxDropped, Count: int(h.OutboxDropped)})
	}
	if h.unread {
		add(view.Problem{Kind: view.ProblemDiskUnread})
	}
	return out
}

// reportDisk tells what is wrong with a disk that works on, and has lost so many hints.
func reportDisk(st storage.Stats, lostHints int, add func(view.Problem)) {
	if st.Full {
		add(view.Problem{Kind: view.ProblemDiskFull})
	}
	if st.Damaged > 0 {
		add(view.Problem{Kind: view.ProblemFilesDamaged, Count: int(st.Damaged)})
	}
	if st.GivenUp > 0 {
		add(view.Problem{Kind: view.ProblemPartsLost, Count: int(st.GivenUp)})
	}
	if lostHints > 0 {
		add(view.Problem{Kind: view.ProblemHintsLost, Count: lostHints})
	}
}

// fewCopies tells of shards with fewer copies in contact than they should have,
// and what becomes of that.
func (s *Store) fewCopies(at witness.Sight, h *Health, lay *layout.Layout, add func(view.Problem)) {
	p := view.Problem{Kind: view.ProblemFewCopies, For: s.cfg.HealAfter}
	var down []view.NodeID
	for i := range h.Shards {
		sh := &h.Shards[i]
		if sh.Role != "home" || sh.Copies >= len(sh.Homes) {
			continue
		}
		p.Shards++
		for _, id := range sh.Homes {
			if id != s.id && !lay.InMesh[id] && !slices.Contains(down, id) {
				down = append(down, id)
			}
		}
	}
	if p.Shards == 0 {
		return
	}
	met := 0
	for _, id := range lay.Members {
		if id == s.id || lay.InMesh[id] {
			met++
		}
	}
	switch {
	case s.cfg.HealAfter < 0:
		p.Kind, p.For = view.ProblemFewCopiesKept, 0
	case !replicate.MayHeal(met, len(lay.Members), s.homes.IsHealForced()):
		p.Kind, p.For, p.Count, p.Of = view.ProblemFewCopiesMinority, 0, met, len(lay.Members)
	}
	slices.Sort(down)
	at.SortAway(&p, down)
	add(p)
}
