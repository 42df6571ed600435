package replica

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/mesh/view"
)

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
	// Problems are what an operator should look at, in words. None: all is well.
	Problems []string
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
	for _, id := range slices.Sorted(func(yield func(view.NodeID) bool) {
		for id := range h.Synced {
			if !yield(id) {
				return
			}
		}
	}) {
		fmt.Fprintf(&b, ", equal with %v %v ago", id, h.Synced[id].Round(time.Second))
	}
	return b.String()
}

// Health tells how the store is doing. It goes through an index of what is kept
// for others, so it is not for every second. The error is ErrClosed, ErrStorage
// or that of ctx; beside ErrStorage, Problems says what to do.
func (s *Store) Health(ctx context.Context) (Health, error) {
	st, err := s.Status(ctx)
	if errors.Is(err, ErrStorage) {
		h := Health{Status: st}
		h.Problems = s.problems(&h, s.layout.Load())
		return h, err
	} else if err != nil && !errors.Is(err, storage.ErrCorrupt) {
		return Health{}, err
	}
	unread := err != nil
	leave, ok := s.gate.ops.Enter()
	if !ok {
		return Health{}, ErrClosed
	}
	defer leave()
	h := Health{Status: st}
	if s.disk == nil {
		h.Problems = s.problems(&h, s.layout.Load())
		return h, nil
	}
	lay := s.layout.Load()
	former := make(map[slice]bool)
	syncing, hints, err := s.syncing(ctx, lay)
	if unread = unread || errors.Is(err, storage.ErrCorrupt); err != nil && !unread {
		return h, s.diskError("health", err)
	}
	h.Syncing = len(syncing)
	left, _, err := s.leftover(ctx, lay)
	if unread = unread || errors.Is(err, storage.ErrCorrupt); err != nil && !unread {
		return h, s.diskError("health", err)
	}
	for _, at := range left {
		former[at] = true
	}
	h.Leftover, h.HandingOver = len(left), s.progress.left()
	h.SetAside = s.stats.aside.Load()
	if h.PurgeBlocked, err = s.purger.waiting.blocked(ctx, s); err != nil {
		return h, s.diskError("health", err)
	}
	for _, id := range lay.members {
		if lay.lost[id] {
			h.Lost = append(h.Lost, id)
		}
	}
	for _, b := range s.buckets.list() {
		for shard := range s.shardsOf(b) {
			at := slice{b.id, shard}
			if sh := s.shardHealth(lay, b, at); sh.Role != "" || hints[at] > 0 || former[at] {
				if sh.Hints, sh.Syncing = hints[at], syncing[at]; sh.Role == "" {
					sh.Role = "former home"
				}
				h.Shards = append(h.Shards, sh)
			}
		}
	}
	h.Problems = s.problems(&h, lay)
	if unread {
		h.Problems = append(h.Problems, "a part of the disk does not read just now, so not all that lies here was counted: look again in a minute")
	}
	return h, nil
}

func (s *Store) shardHealth(lay *layout, b *bucket, at slice) ShardHealth {
	rt := lay.route(b, at.shard)
	h := ShardHealth{Bucket: b.def.Name, Shard: at.shard, Homes: slices.Clone(rt.order[:rt.homes])}
	switch {
	case rt.isHome(s.id):
		h.Role = "home"
	case lay.keeps(b, at.shard, s.id):
		h.Role = "stand-in"
	}
	for _, id := range lay.keepers(rt) {
		if id == s.id || lay.inMesh[id] {
			h.Copies++
		}
		if ago, ok := s.synced.ago(b.id, id, s.since()); ok && id != s.id && h.Role != "" {
			if h.Synced == nil {
				h.Synced = make(map[view.NodeID]time.Duration)
			}
			h.Synced[id] = ago
		}
	}
	return h
}

// problems puts into words what an operator should look at.
func (s *Store) problems(h *Health, lay *layout) (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if s.disk != nil {
		if err := s.disk.Err(); err != nil {
			say("the disk has failed, nothing is written here any more: replace it and start the node with an empty directory under the same name (%v)", err)
		} else {
			s.diskProblems(s.disk.Stats(), say)
		}
	}
	s.clockProblems(say)
	if m, ok := s.mesh.View().Member(s.id); ok && m.Status == view.Leaving {
		say("this node is leaving for good and has %d shards still to hand over, %d copies for others among them: have it leave again if nobody waits for that", h.Leftover, h.Hints)
	}
	out = append(out, s.mesh.View().Problems...)
	s.imports.status(h, say)
	s.fewCopies(h, lay, say)
	s.inquests.problems(say)
	if len(h.Lost) > 0 {
		say("%s was down for so long that other nodes make the copies it held: bring it back, or evict it if it will not return", s.names(h.Lost))
	}
	if h.Syncing > 0 {
		say("%d shards are catching up here: take no other node out before that is done", h.Syncing)
	}
	if h.PurgeBlocked != nil {
		say("deletes cannot be forgotten for %v and take %d bytes: bring %s back, or evict what will not return", h.PurgeBlocked.For.Round(time.Hour), h.PurgeBlocked.Bytes, s.names(h.PurgeBlocked.Missing))
	}
	if h.SetAside > 0 {
		say("%d records were set aside: they are older than anybody's memory of what was deleted", h.SetAside)
	}
	if h.OutboxError != "" || h.OutboxOldest >= longWait {
		say("%d writes of %d bytes wait in the outbox of this node, on no other disk, the oldest for %v: %s", h.OutboxOps, h.OutboxBytes,
			h.OutboxOldest.Round(time.Second), cmp.Or(h.OutboxError, "they are being delivered"))
	}
	if h.OutboxDropped > 0 {
		say("%d writes that waited here were given up, for age or for lack of room", h.OutboxDropped)
	}
	return out
}

// diskProblems tells what is wrong with a disk that works on.
func (s *Store) diskProblems(st storage.Stats, say func(string, ...any)) {
	if st.Full {
		say("the disk is full, writes are refused here while reads go on: make room, or take the node out of service")
	}
	if st.Damaged > 0 {
		say("%d files of the store are damaged and cannot be mended here, what reads is served: start the node with an empty directory under the same name, the other nodes will fill it", st.Damaged)
	}
	if st.GivenUp > 0 {
		say("%d parts of the disk did not read and were given up, their other homes bring the records back: replace the disk if that happens again; what had no other home is lost", st.GivenUp)
	}
	if n := s.stats.lostHints.Load(); n > 0 {
		say("%d copies kept for nodes that were down are among them", n)
	}
}

// fewCopies tells of shards with fewer copies in contact than they should have,
// and what becomes of that.
func (s *Store) fewCopies(h *Health, lay *layout, say func(string, ...any)) {
	few := 0
	var down []view.NodeID
	for i := range h.Shards {
		sh := &h.Shards[i]
		if sh.Role != "home" || sh.Copies >= len(sh.Homes) {
			continue
		}
		few++
		for _, id := range sh.Homes {
			if id != s.id && !lay.inMesh[id] && !slices.Contains(down, id) {
				down = append(down, id)
			}
		}
	}
	if few == 0 {
		return
	}
	met := 0
	for _, id := range lay.members {
		if id == s.id || lay.inMesh[id] {
			met++
		}
	}
	then := fmt.Sprintf("after %v copies are made elsewhere", s.cfg.HealAfter)
	switch {
	case s.cfg.HealAfter < 0:
		then = "HealAfter says never to make them elsewhere"
	case !replicate.MayHeal(met, len(lay.members), s.forced.on.Load()):
		then = fmt.Sprintf("none are made elsewhere, for only %d of %d storing nodes are in contact: mend the network, or force this side to heal (ForceHeal)", met, len(lay.members))
	}
	slices.Sort(down)
	say("%d shards have fewer copies in contact than they should, %s; %s", few, s.missing(s.mesh.View(), down), then)
}

// missing says what is the matter with nodes that are not in contact. One that
// others reach is not down: it is there, through them.
func (s *Store) missing(v view.View, ids []view.NodeID) string {
	var down, cut, lost []view.NodeID
	for _, id := range ids {
		switch m, _ := v.Member(id); {
		case !m.Unreachable:
			down = append(down, id)
		case s.contactOf(v.Members, m) == brokenLink:
			cut = append(cut, id)
		default:
			lost = append(lost, id)
		}
	}
	var out []string
	if len(down) > 0 {
		out = append(out, s.names(down)+" is down: bring it back")
	}
	if len(cut) > 0 {
		out = append(out, "others reach "+s.names(cut)+" and this node does not: mend the link between them, or open the port of one where both are behind NAT")
	}
	if len(lost) > 0 {
		out = append(out, s.names(lost)+" does not answer")
	}
	return strings.Join(out, ", ")
}

// names lists nodes by the names that people know them by.
func (s *Store) names(ids []view.NodeID) string {
	v := s.mesh.View()
	var b strings.Builder
	for i, id := range ids {
		if i > 0 {
			b.WriteString(", ")
		}
		if m, ok := v.Member(id); ok && m.Name != "" {
			fmt.Fprintf(&b, "%s (%v)", m.Name, id)
		} else {
			fmt.Fprint(&b, id)
		}
	}
	return b.String()
}
