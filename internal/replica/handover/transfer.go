package handover

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// bringRecords sends so many records to a home, all of them or it fails: what was not
// brought must not be let go of.
func (c *Carrier) bringRecords(ctx context.Context, home view.NodeID, page []keep.Stamped, want int) error {
	if len(page) < want || slices.ContainsFunc(page, c.TooLarge) {
		return errNotBrought
	}
	return c.PushRecords(ctx, home, page)
}

// errNotBrought: records are damaged, have gone meanwhile, or cannot be sent.
var errNotBrought = errors.New("replica: not all records could be brought to a home")

// PushRecords sends records to a store in pieces that fit into a request.
func (c *Carrier) PushRecords(ctx context.Context, peer view.NodeID, page []keep.Stamped) error {
	for len(page) > 0 {
		n := c.pieceOf(page)
		if err := c.transferRecords(ctx, peer, 0, page[:n]); err != nil {
			return err
		}
		page = page[n:]
	}
	return nil
}

// pieceOf is how many of the records go in one request.
func (c *Carrier) pieceOf(page []keep.Stamped) (n int) {
	for size := 0; n < len(page); n++ {
		if size += len(page[n].Rec.Raw); n > 0 && size > c.Pace.PieceBytes() {
			break
		}
	}
	return n
}

// TooLarge tells, and logs, that a record's concurrent values have grown
// together, by merging, beyond what one request carries. It stays where it is
// and must not hold up what comes after it. A write that has seen the values
// makes it small again.
func (c *Carrier) TooLarge(k keep.Stamped) bool {
	if len(k.Rec.Raw) <= MaxOffer {
		return false
	}
	c.log.Error("concurrent values are too large to be copied: write the key anew", "key", k.At.Key, "bytes", len(k.Rec.Raw))
	return true
}

// transferRecords sends records to a store in the background, to keep as a home or for
// another store, and waits until it has synced them.
func (c *Carrier) transferRecords(ctx context.Context, to, keepFor view.NodeID, page []keep.Stamped) error {
	if len(page) == 0 {
		return nil
	}
	offers := make([]wire.Offer, len(page))
	size := 0
	for i, k := range page {
		offers[i] = wire.Offer{Bucket: k.At.Bucket, Key: k.At.Key, For: keepFor, Item: k.Rec.Raw, Stamp: keep.WireStamp(k.Stamp)}
		size += len(k.Rec.Raw)
	}
	if err := c.Pace.WaitForBytes(ctx, size); err != nil {
		return err
	}
	call, cancel := context.WithTimeout(ctx, transferWait+time.Duration(size)*time.Second/slowestLink)
	defer cancel()
	begun := time.Now()
	stale, err := c.opts.Offer(call, to, offers)
	if err == nil || errors.Is(call.Err(), context.DeadlineExceeded) {
		c.Pace.adaptPiece(time.Since(begun))
	}
	if err != nil {
		return err
	}
	behind := make(map[int]bool)
	for _, i := range stale {
		behind[page[i].At.Shard] = true
		err = keep.ErrStale
	}
	for shard := range behind {
		if caught := c.purging.CatchUp(ctx, to, shard); caught != nil {
			return caught
		}
	}
	return err
}
