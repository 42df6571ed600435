package merging

import (
	"context"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/replica/clocks"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// newClocks returns clocks of a node that knows no other.
func newClocks(group *lifecycle.Group, c *clock.Clock) *clocks.Clocks {
	return clocks.New(clocks.Options{
		Clock: c, MaxSkew: time.Minute, Votes: true, Group: group, Silence: peering.NewSilence(time.Minute), Patience: replicate.Patience(time.Second),
		Peers: func() []view.NodeID { return nil }, Ask: func(context.Context, view.NodeID) error { return nil },
	})
}

// A store that has handed over, or has no room, says so at once and keeps nothing back of what
// it counts.
func TestWhatIsNotLetInIsRefused(t *testing.T) {
	group := lifecycle.NewGroup(context.Background())
	defer group.Close()
	gate, c := admission.NewGate(1, 1<<20), clock.Simulated(0)
	m := NewMerger(MergerOptions{Self: 1, Group: group, Gate: gate, Clocks: newClocks(group, c), Clock: c})
	offer := func() (code wire.Code) {
		req := wire.AppendMergeRequest(nil, &wire.MergeRequest{Offers: []wire.Offer{{Key: "k"}}})
		m.ServeMerge(t.Context(), 2, req, func(answer []byte, err error) {
			reply, bad := wire.DecodeMergeReply(answer)
			if err != nil || bad != nil {
				t.Errorf("answered %v, %v", err, bad)
			}
			code = reply.Code
		})
		return code
	}
	if !gate.Peers.MakeRoom(1) {
		t.Fatal("no room for one")
	}
	if got := offer(); got != wire.CodeOverloaded {
		t.Errorf("without room: %v", got)
	}
	gate.Peers.ReleaseBytes(1)
	gate.Taking.Shut()
	if got := offer(); got != wire.CodeNotStored {
		t.Errorf("after it has handed over: %v", got)
	}
	<-gate.Taking.Empty()
	if n := gate.Peers.Pending(); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// mesh answers an offer.
type mesh func(req []byte) []byte

func (f mesh) Call(_ context.Context, _ view.NodeID, _ string, req []byte) ([]byte, error) {
	return f(req), nil
}

// An answer names items by their places, and of places that there are not nothing is believed.
func TestAnswersBelongToItems(t *testing.T) {
	group := lifecycle.NewGroup(context.Background())
	defer group.Close()
	c := clock.Simulated(0)
	reply := wire.MergeReply{Stale: []int{1, 7}, Fenced: []wire.FencedOffer{{Place: 2}, {Place: 9}}}
	for i := range reply.Fenced {
		reply.Fenced[i].Token = token.Token{Term: 5, Node: 3}
	}
	o := NewOffers(Options{
		Mesh: mesh(func([]byte) []byte { return wire.AppendMergeReply(nil, reply) }), Group: group, Clocks: newClocks(group, c), Clock: c,
		Peers: peering.NewPeers(peering.Options{Self: 1, Group: group, Patience: replicate.Patience(time.Second), Boot: c.Boot}), AckTimeout: time.Second, Room: 1 << 20,
	})
	got, err := o.SendOffers(t.Context(), 2, make([]wire.Offer, 3))
	if err != nil || len(got) != 3 || got[0] != (Answer{}) || !got[1].Stale || got[2].Stale || got[2].Fence.Term != 5 || !got[1].Fence.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	stale, err := o.OfferItems(t.Context(), 2, make([]wire.Offer, 3))
	if err != nil || len(stale) != 1 || stale[0] != 1 {
		t.Errorf("stale %v, %v", stale, err)
	}
}
