package partition

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/elect"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// methodRenew asks a voter for all renewals that are due there. Earlier releases do not know
// it.
const methodRenew = "partition/renew"

const (
	// maxRenewalBytes is how much of renewals goes into one message, which is to be a packet.
	maxRenewalBytes = 1000
	// singlyFor is for how long a voter that did not understand is asked one by one.
	singlyFor = 30 * time.Second
)

// renewals gathers what this node's elections ask of each voter at about the same time: all
// that it leads is renewed together, see elect.
type renewals struct {
	*ground

	mu      sync.Mutex
	waiting map[view.NodeID][]renewal
	singly  map[view.NodeID]time.Duration // until when, by this node's run time
}

// renewal is what one election asks.
type renewal struct {
	of  *election
	eff elect.Effect
}

func newRenewals(g *ground) *renewals {
	return &renewals{ground: g, waiting: map[view.NodeID][]renewal{}, singly: map[view.NodeID]time.Duration{}}
}

// gatherFor is for how long renewals wait for company: much less than a round trip.
func (r *renewals) gatherFor() time.Duration { return r.cfg.Pace.Pause / 20 }

// addRenewal has a renewal go to its voter in a moment. It does not wait.
func (r *renewals) addRenewal(e *election, eff elect.Effect) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := append(r.waiting[eff.To], renewal{e, eff})
	r.waiting[eff.To] = list
	if len(list) == 1 {
		r.group.Go(func(ctx context.Context) {
			if clock.Sleep(ctx, r.gatherFor()) {
				r.sendWaiting(ctx, eff.To)
			}
		})
	}
}

// sendWaiting sends what waits for one voter.
func (r *renewals) sendWaiting(ctx context.Context, to view.NodeID) {
	list, singly := r.takeWaiting(to)
	if len(list) == 1 || singly {
		r.sendSingly(list)
		return
	}
	slices.SortFunc(list, func(a, b renewal) int {
		return cmp.Or(cmp.Compare(a.of.name.Name, b.of.name.Name), cmp.Compare(a.of.name.Scope, b.of.name.Scope))
	})
	for len(list) > 0 {
		n, size := 0, 0
		for n < min(len(list), wire.MaxElections) && (n == 0 || size < maxRenewalBytes) {
			size += len(list[n].of.name.Name) + 8
			n++
		}
		part := list[:n]
		list = list[n:]
		r.group.Go(func(ctx context.Context) { r.sendTogether(ctx, to, part) })
	}
}

func (r *renewals) takeWaiting(to view.NodeID) (list []renewal, singly bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list = r.waiting[to]
	delete(r.waiting, to)
	until, told := r.singly[to]
	if singly = told && r.uptime() < until; !singly {
		delete(r.singly, to)
	}
	return list, singly
}

func (r *renewals) sendSingly(list []renewal) {
	for _, w := range list {
		r.group.Go(func(ctx context.Context) { w.of.sendAsk(ctx, w.eff) })
	}
}

// sendTogether asks for several renewals at once. Those that the voter does not grant at once
// are asked for by themselves, and so are all where it does not understand.
func (r *renewals) sendTogether(ctx context.Context, to view.NodeID, list []renewal) {
	m := wire.ElectRenewals{Lease: list[0].eff.Ask.Lease}
	for _, w := range list {
		m.List = append(m.List, wire.Renewal{Election: toWire(w.of.name), Term: w.eff.Ask.Term})
	}
	begun := r.uptime()
	b, err := r.callPeer(ctx, to, methodRenew, wire.AppendElectRenewals(nil, m))
	if err != nil && r.uptime()-begun >= r.cfg.Pace.Renew {
		return // no answer: the next renewals are due
	}
	var answer wire.ElectRenewed
	if err == nil {
		answer, err = wire.DecodeElectRenewed(b)
	}
	if err != nil || len(answer.Granted) != len(list) {
		r.mu.Lock()
		r.singly[to] = r.uptime() + singlyFor
		r.mu.Unlock()
		r.sendSingly(list)
		return
	}
	for i, w := range list {
		if !answer.Granted[i] {
			r.sendSingly(list[i : i+1])
			continue
		}
		w.of.postStep(func() {
			e := w.of
			e.performEffects(e.machine.Answered(e.bootTime(), to, w.eff.Ask, w.eff.Sent, elect.Answer{Reason: elect.Granted, Max: w.eff.Ask.Term}))
		})
	}
}

// renewAtOnce tells whether the machine renews a grant without waiting for the disk. If it
// would, it decides all the same, and answers whoever asks again.
func (e *election) renewAtOnce(ctx context.Context, from view.NodeID, a elect.Ask) (granted bool, err error) {
	answered := make(chan elect.Answer, 1)
	err = e.runStep(ctx, func() {
		e.ref++
		e.refs[e.ref] = answered
		e.performEffects(e.machine.Asked(e.bootTime(), from, a, e.ref))
		select {
		case ans := <-answered:
			granted = ans.Reason == elect.Granted
		default:
		}
	})
	return granted, err
}

// hasTriedDisk tells whether what was read of a new election was saved, or could not be.
func (e *election) hasTriedDisk() bool {
	select {
	case <-e.firstSaveTried:
		return true
	default:
		return false
	}
}
