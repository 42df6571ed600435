package merging

import (
	"context"
	"errors"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/replica/clocks"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// MergerOptions say what is merged into. All fields must be set.
type MergerOptions struct {
	Self    view.NodeID
	Group   *lifecycle.Group
	Gate    *admission.Gate
	Homes   *layout.Homes
	Records *keep.Records
	Clocks  *clocks.Clocks // learns the clocks of those that offer
	Clock   *clock.Clock   // which they are told
}

// Merger takes in what other stores offer. All methods may be used concurrently.
type Merger struct{ opts MergerOptions }

// NewMerger returns a merger that waits to be asked.
func NewMerger(opts MergerOptions) *Merger { return &Merger{opts} }

// ServeMerge answers when what was offered is synced, and does not wait for that.
func (m *Merger) ServeMerge(ctx context.Context, from view.NodeID, req []byte, answer func([]byte, error)) {
	offered, err := wire.DecodeMergeRequest(req)
	if err != nil {
		answer(nil, err)
		return
	}
	wall := m.opts.Clock.Wall().UnixMilli()
	m.opts.Clocks.Learn(from, offered.Wall)
	reply := func(code wire.Code, stale []int, fenced []wire.FencedOffer) []byte {
		return wire.AppendMergeReply(make([]byte, 0, 16), wire.MergeReply{Code: code, Wall: wall, Stale: stale, Fenced: fenced})
	}
	tookIn, ok := m.opts.Gate.Taking.Enter()
	if !ok {
		answer(reply(wire.CodeNotStored, nil, nil), nil)
		return
	}
	if !m.opts.Gate.Peers.MakeRoom(len(req)) {
		tookIn()
		answer(reply(wire.CodeOverloaded, nil, nil), nil)
		return
	}
	in, definitions, err := m.decodeOffers(from, offered.Offers)
	if err != nil {
		m.opts.Gate.Peers.ReleaseBytes(len(req))
		tookIn()
		answer(nil, err)
		return
	}
	// The acknowledgements of one sync leave together, as the writes do.
	leave := m.opts.Gate.Ops.Stay()
	done := func(stale []int, fenced []wire.FencedOffer, err error) {
		m.opts.Gate.Peers.ReleaseBytes(len(req))
		tookIn()
		switch {
		case err == nil:
			answer(reply(wire.CodeOK, stale, fenced), nil)
		case ctx.Err() != nil:
			answer(nil, err)
		default:
			answer(reply(wire.CodeStorage, nil, nil), nil)
		}
		leave()
	}
	err = storage.ErrBusy
	if !definitions {
		err = m.opts.Records.AcceptLater(in, done)
	}
	if errors.Is(err, storage.ErrBusy) {
		err = m.mergeAside(ctx, in, done)
	}
	if err != nil {
		done(nil, nil, err)
	}
}

// mergeAside has a goroutine of its own wait until there is room to merge. Requests that are
// not answered are bounded by the mesh, and so are these.
func (m *Merger) mergeAside(ctx context.Context, in []keep.Arrival, done func([]int, []wire.FencedOffer, error)) error {
	if !m.opts.Group.Go(func(context.Context) {
		out, err := m.opts.Records.AcceptAll(ctx, in)
		stale, fenced := listOdd(out)
		done(stale, fenced, err)
	}) {
		return keep.ErrClosed
	}
	return nil
}

// listOdd lists the arrivals, by their place, that were too old, and those of keys that a later
// leader has written here.
func listOdd(out []keep.Merged) (stale []int, fenced []wire.FencedOffer) {
	for i := range out {
		if out[i].Stale {
			stale = append(stale, i)
		}
		if f := out[i].Fence; !f.IsZero() {
			fenced = append(fenced, wire.FencedOffer{Place: i, Token: f})
		}
	}
	return stale, fenced
}

// decodeOffers decodes what a peer offers; definitions tells whether buckets'
// definitions are among it.
func (m *Merger) decodeOffers(from view.NodeID, offers []wire.Offer) (in []keep.Arrival, definitions bool, err error) {
	in = make([]keep.Arrival, len(offers))
	for i := range offers {
		o := &offers[i]
		in[i] = keep.Arrival{At: m.opts.Homes.LocateKey(o.Bucket, o.Key), Raw: o.Item, Stamp: keep.StampOf(o.Stamp), From: from}
		if o.For != m.opts.Self {
			in[i].Role = replicate.Role{For: o.For}
		}
		if in[i].Item, err = wire.DecodeItem(o.Item); err != nil {
			return nil, false, err
		}
		definitions = definitions || o.Bucket == layout.SystemBucket
	}
	return in, definitions, nil
}
