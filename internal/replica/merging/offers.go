// Package merging brings items from one store to another, which merges them with what it has.
package merging

import (
	"context"
	"fmt"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/replica/clocks"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// Options say how items are offered. All fields must be set.
type Options struct {
	Mesh       peering.Caller
	Group      *lifecycle.Group
	Peers      *peering.Peers
	Clocks     *clocks.Clocks // learns the clocks of those that answer
	Clock      *clock.Clock   // which they are told
	Faults     wire.Faults    // what they answer with
	AckTimeout time.Duration  // see replica.Config
	Room       int            // bytes that may wait for each store
}

// Offers offers items to other stores. All methods may be used concurrently.
type Offers struct {
	opts Options

	// Lanes carries what must not wait for an answer.
	Lanes *peering.Lanes[wire.Offer, Answer]
}

// NewOffers returns lanes in which nothing waits.
func NewOffers(opts Options) *Offers {
	o := &Offers{opts: opts}
	o.Lanes = peering.NewLanes(peering.LaneOptions[wire.Offer, Answer]{
		Group: opts.Group, Silence: opts.Peers.Silence, Limit: opts.AckTimeout, Room: opts.Room, Call: o.SendOffers,
		Size: func(o wire.Offer) int { return len(o.Item) + len(o.Key) + 64 },
	})
	return o
}

// Answer is what a store says to an item that is offered.
type Answer struct {
	Stale bool        // it has taken part in a purge that the item's store had not
	Fence token.Token // of a later leader than the item knows, who has written the key there
}

// SendOffers offers items to a store, and returns what it says to each of them.
func (o *Offers) SendOffers(ctx context.Context, to view.NodeID, offers []wire.Offer) ([]Answer, error) {
	size := 32
	for i := range offers {
		size += len(offers[i].Item) + len(offers[i].Key) + 32
	}
	buf := o.opts.Peers.Buffers.TakeBuffer(size)
	*buf = wire.AppendMergeRequest(*buf, &wire.MergeRequest{Wall: o.opts.Clock.Wall().UnixMilli(), Offers: offers})
	answer, err := o.opts.Mesh.Call(ctx, to, wire.MethodMerge, *buf)
	o.opts.Peers.Buffers.ReturnBuffer(buf)
	if err != nil {
		return nil, err
	}
	m, err := wire.DecodeMergeReply(answer)
	if err != nil {
		return nil, err
	}
	o.opts.Clocks.Learn(to, m.Wall)
	if m.Code != wire.CodeOK {
		return nil, fmt.Errorf("replica: %v did not store: %w: %w", to, peering.ErrRefused, o.opts.Faults.FromCode(m.Code, ""))
	}
	out := make([]Answer, len(offers))
	for _, i := range m.Stale {
		if i < len(out) {
			out[i].Stale = true
		}
	}
	for _, f := range m.Fenced {
		if f.Place < len(out) {
			out[f.Place].Fence = f.Token
		}
	}
	return out, nil
}

// OfferItems is SendOffers for items in the background. It returns those, by their place,
// that were too old.
func (o *Offers) OfferItems(ctx context.Context, to view.NodeID, offers []wire.Offer) (stale []int, err error) {
	got, err := o.SendOffers(ctx, to, offers)
	for i := range got {
		if got[i].Stale {
			stale = append(stale, i)
		}
	}
	return stale, err
}
