package layout

import (
	"encoding/binary"

	"github.com/skeinmesh/skein/mesh/view"
)

// CannotVouch tells whether this store is a home where it cannot vouch for what is
// not there.
func (h *Homes) CannotVouch(lay *Layout) bool {
	for _, b := range h.Buckets.ListAll() {
		for shard := range h.ShardsOf(b) {
			if lay.RouteOf(b, shard).IsHome(h.opts.Self) && !b.ProvesAbsence(shard) {
				return true
			}
		}
	}
	return false
}

// FollowBucket has the verdicts of a bucket follow the layout. settled tells in which shards
// this store had caught up when it was last open. It returns whether a shard became ready,
// of which a note is to be taken: see NoteSettled.
func (h *Homes) FollowBucket(b *Bucket, settled func(shard int) bool) (lay *Layout, changed bool) {
	h.following.Lock()
	defer h.following.Unlock()
	lay = h.Now()
	b.followRoster(h.opts.Shards, func(shard int) bool {
		return shard < h.ShardsOf(b) && lay.RouteOf(b, shard).IsHome(h.opts.Self)
	}, settled)
	for shard := range h.ShardsOf(b) {
		rt := lay.RouteOf(b, shard)
		changed = b.updateVerdict(shard, h.opts.Self, rt.Order[:rt.Homes], lay.Members) || changed
	}
	return lay, changed
}

// Losses counts the losses so far: what is compared by a number of them proves nothing of
// what was here before the next.
func (h *Homes) Losses() uint64 { return h.losses.Load() }

// NoteEqual notes that slices of one bucket were made equal with a peer, under the roster
// and with the losses then, and of which the peer said that it is a seasoned home. It
// returns what FollowBucket does.
func (h *Homes) NoteEqual(then *Layout, losses uint64, peer view.NodeID, at []Slice, seasoned []byte) (lay *Layout, changed bool) {
	b := h.Buckets.FindByID(at[0].Bucket)
	h.following.Lock()
	defer h.following.Unlock()
	lay = h.Now()
	if lay.Roster != then.Roster || losses != h.losses.Load() {
		return lay, false // other homes count now, or what was here then may be gone
	}
	for _, a := range at {
		rt := lay.RouteOf(b, a.Shard)
		b.noteEqual(a.Shard, peer, hasBit(seasoned, a.Shard))
		changed = b.updateVerdict(a.Shard, h.opts.Self, rt.Order[:rt.Homes], lay.Members) || changed
	}
	return lay, changed
}

// NoteLoss has slices begin anew of which records are gone, nobody knows which. It
// returns the layout by which the notes are to be taken of what is settled now.
func (h *Homes) NoteLoss(lost func(at Slice) bool) *Layout {
	h.following.Lock()
	defer h.following.Unlock()
	h.losses.Add(1)
	for _, b := range h.Buckets.ListAll() {
		for shard := range h.ShardsOf(b) {
			if lost(Slice{b.ID, shard}) {
				b.restartShard(shard)
			}
		}
	}
	return h.Now()
}

// SettledNote is what is written down of where this store has caught up by a layout.
func (b *Bucket) SettledNote(lay *Layout) []byte {
	return append(binary.BigEndian.AppendUint64(nil, lay.Roster), b.settledBits()...)
}

// ReadSettled reads such a note, nil if there is none. Where this store had not caught up,
// or homes have changed since, it is as good as new.
func (h *Homes) ReadSettled(note []byte) (settled func(shard int) bool) {
	if len(note) < 8 || binary.BigEndian.Uint64(note) != h.Now().Roster {
		return func(int) bool { return false }
	}
	return func(shard int) bool { return hasBit(note[8:], shard) }
}
