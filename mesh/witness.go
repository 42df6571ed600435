package mesh

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/detect"
	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// methodReach asks a node which members it reaches directly.
const methodReach = "mesh/reach"

// maxProbes is how many members a node probes at once because others ask.
const maxProbes = 8

// Confirm asks whether a member is down or only out of reach from here. This
// node tries it directly, whatever it takes it for, and asks two others, drawn
// anew each time from those in contact: storing ones first, of different zones
// as far as possible. Those try it, too, unless they have just heard it or have
// given it up after direct attempts of their own. The member is confirmed to be
// down when three nodes failed to reach it, or all that are in contact where
// those are fewer, and none reached it. A node that is in contact with nobody
// confirms by its own word alone: what may not happen on both sides of a cut
// needs a majority beside that.
//
// It takes some seconds at most. Nodes of releases that do not know the
// question count as not asked. The error is ErrNoMember, ErrInContact for this
// node itself, ErrClosed or that of ctx.
func (n *Node) Confirm(ctx context.Context, id view.NodeID) (view.Witnesses, error) {
	return n.prober.confirm(ctx, id)
}

// prober finds out who is reached: for the detector, for who asks here, and for others
// that ask.
type prober struct {
	*ground
	inbox     *inbox
	refusals  *refusals
	call      callPeer
	questions chan question
	slots     chan struct{} // full when no more members may be probed for others
}

// confirm is Node.Confirm.
func (p *prober) confirm(ctx context.Context, id view.NodeID) (view.Witnesses, error) {
	v := p.views.Get()
	switch m, ok := v.Member(id); {
	case p.hasStopped():
		return view.Witnesses{}, ErrClosed
	case id == p.id:
		return view.Witnesses{}, fmt.Errorf("%w: it is this node", ErrInContact)
	case !ok || m.Status.Gone():
		return view.Witnesses{}, fmt.Errorf("%w: %v", ErrNoMember, id)
	}
	asking, cancel := context.WithTimeout(ctx, p.pace.dial)
	defer cancel()
	defer context.AfterFunc(p.work.Context(), cancel)()

	peers, need := detect.Jury(v, id, rand.New(rand.NewPCG(random64(), random64())))
	heard := make([]testimony, len(peers)+1)
	var all sync.WaitGroup
	for i, peer := range peers {
		all.Go(func() { heard[i+1] = p.askWitness(asking, peer, id) })
	}
	heard[0] = testimony{by: p.id, reach: p.tryReach(asking, id)}
	all.Wait()
	switch {
	case p.hasStopped():
		return view.Witnesses{}, ErrClosed
	case ctx.Err() != nil:
		return view.Witnesses{}, ctx.Err()
	}
	return countWitnesses(need, heard), nil
}

// probeMember asks a member for a sign of life.
func (p *prober) probeMember(ctx context.Context, id view.NodeID) {
	if p.probeOnce(ctx, id) != nil {
		p.inbox.tellWatcher(detect.ProbeFailed, id)
	}
}

// probeOnce probes a member, whether the detector has asked for that or not: of a
// failure it is not told.
func (p *prober) probeOnce(ctx context.Context, id view.NodeID) error {
	ctx, cancel := context.WithTimeout(ctx, p.pace.detect.ProbeWait(p.link.RoundTrip(id)))
	defer cancel()
	res, err := p.link.Probe(ctx, id)
	if err != nil {
		p.refusals.heedRefusal(id, err)
		return err
	}
	p.inbox.putEvent(event{Event: detect.Event{Kind: detect.ProbeOK, ID: id}, rtt: res.RTT})
	return nil
}

// testimony is one node's word on whether it reaches a member.
type testimony struct {
	by    view.NodeID
	reach wire.Reach
	err   error // of asking it
}

// askWitness asks a peer about a member.
func (p *prober) askWitness(ctx context.Context, peer, id view.NodeID) testimony {
	t := testimony{by: peer}
	b, err := p.call(ctx, peer, methodReach, wire.AppendReachQuery(nil, wire.ReachQuery{IDs: []view.NodeID{id}}))
	if err != nil {
		t.err = err
		return t
	}
	reply, err := wire.DecodeReachReply(b)
	if err == nil && len(reply.Reach) != 1 {
		err = fmt.Errorf("%d answers to one question", len(reply.Reach))
	}
	if t.err = err; err == nil {
		t.reach = reply.Reach[0]
	}
	return t
}

// countWitnesses draws the conclusion.
func countWitnesses(need int, heard []testimony) view.Witnesses {
	w := view.Witnesses{Need: need}
	for _, t := range heard {
		if errors.Is(t.err, ErrNoHandler) {
			continue
		}
		w.Asked++
		switch {
		case t.err != nil:
		case t.reach == wire.Reached:
			w.Reached++
			w.By = append(w.By, t.by)
		case t.reach == wire.NotReached:
			w.Failed++
		}
	}
	slices.Sort(w.By)
	w.Confirmed = detect.Enough(need, w.Failed, w.Reached)
	return w
}

// tryReach probes a member now.
func (p *prober) tryReach(ctx context.Context, id view.NodeID) wire.Reach {
	deadline, bounded := ctx.Deadline()
	hurried := bounded && time.Until(deadline) < p.pace.detect.ProbeTimeout
	err := p.probeOnce(ctx, id)
	return reachOf(err, !hurried && ctx.Err() == nil)
}

// reachOf is what an attempt proves. One that refuses us, or whose hello is
// refused, is there. An attempt for which there was no time, or that this node did
// not make, says nothing.
func reachOf(err error, hadTime bool) wire.Reach {
	var refused *link.RefusedError
	switch {
	case err == nil, errors.As(err, &refused), errors.Is(err, link.ErrNotAccepted):
		return wire.Reached
	case !hadTime, errors.Is(err, link.ErrClosed), errors.Is(err, link.ErrUnknownPeer):
		return wire.ReachUnknown
	}
	return wire.NotReached
}

// question asks the watcher what is known first hand of members.
type question struct {
	ids    []view.NodeID
	answer chan []wire.Reach // capacity 1
}

// answerQuestion answers a question.
func (w *watcher) answerQuestion(ids []view.NodeID) []wire.Reach {
	out := make([]wire.Reach, len(ids))
	for i, id := range ids {
		out[i] = w.detector.Witness(w.uptime(), id)
	}
	return out
}

// answerReach tells another node which members this one reaches: from what it
// knows first hand, and of the others by probing them. It refuses when it is
// busy with probes for others already.
func (p *prober) answerReach(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	query, err := wire.DecodeReachQuery(req)
	if err != nil {
		return nil, err
	}
	q := question{ids: query.IDs, answer: make(chan []wire.Reach, 1)}
	select {
	case p.questions <- q:
	case <-p.done:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	reach := <-q.answer
	var unsure []int
	for i, id := range query.IDs {
		e, ok := p.book.snapshot().Get(id)
		switch {
		case !ok || e.Status.Gone():
			reach[i] = wire.ReachUnknown
		case reach[i] == wire.ReachUnknown:
			unsure = append(unsure, i)
		}
	}
	if err := p.probeMany(len(unsure), func(i int) { reach[unsure[i]] = p.tryReach(ctx, query.IDs[unsure[i]]) }); err != nil {
		return nil, err
	}
	return wire.AppendReachReply(nil, wire.ReachReply{Reach: reach}), nil
}

// probeMany runs so many probes, as many at once as there is room for.
func (p *prober) probeMany(probes int, probe func(i int)) error {
	room := 0
	for free := true; free && room < probes; {
		select {
		case p.slots <- struct{}{}:
			room++
		default:
			free = false
		}
	}
	if room == 0 && probes > 0 {
		return failCall(ErrOverloaded, "too many members are being probed for others")
	}
	var all sync.WaitGroup
	for first := range room {
		all.Go(func() {
			defer func() { <-p.slots }()
			for i := first; i < probes; i += room {
				probe(i)
			}
		})
	}
	all.Wait()
	return nil
}
