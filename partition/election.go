package partition

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/elect"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/storage/file"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// Methods of elections.
const (
	methodAsk  = "partition/ask"
	methodBack = "partition/back"
)

const (
	// maxStanding is how many elections a node stands for at most: its notice
	// holds so many. maxAsked is how many it knows of because others have asked: they
	// leave room for its own.
	maxStanding = wire.MaxElections
	maxAsked    = 3 * maxStanding
	// farewell is for how long, when all ends, grants are given back at most.
	farewell = time.Second
)

// election runs the step machine of one election. Its goroutine alone touches the
// machine; another one waits for the disk.
type election struct {
	of    *elections
	name  Election
	slots *file.Slots // keep's own, but for the first reading

	inbox          chan func()        // steps of others
	saves          chan elect.Durable // capacity 1: to be saved; one at a time
	firstSaveTried chan struct{}      // closed when saving was first tried
	fieldBell      notify.Bell        // what is known of the others has changed
	ended          chan struct{}      // the goroutine has returned

	mu          sync.Mutex // the fields below
	leadToken   token.Token
	startTerm   uint64        // term that the leadership began with
	leadEnds    time.Duration // while lead is not zero
	handedOver  bool          // the same: the leader before has given it to this node
	holder      token.Token   // whose unexpired grant there is
	grantEnds   time.Duration // when it ends
	work        *work         // who stands for it; nil: nobody
	preference  uint32        // how much this node is preferred
	problemText string        // what is wrong here, or why nobody leads

	// The goroutine's own.
	machine     *elect.Election
	currentWork *work // is work, but for a moment
	refs        map[uint64]chan elect.Answer
	ref         uint64
	fault       error         // of the last try to save
	vainSince   time.Duration // since when there have been words; 0: there are none
	vainLogged  bool          // that they last was logged
	tried       sync.Once     // saving was
}

// work is what a call of Lead has done while this node leads.
type work struct {
	do   func(ctx context.Context, t token.Token)
	gone chan struct{} // closed when Lead is to return

	// The election's goroutine's own.
	cancel    context.CancelFunc // of the run of do; nil: it does not run
	over      chan struct{}      // closed when that run has ended
	quitting  bool               // do is not to run again
	finishing bool               // the Partition closes: finishWork sees to what follows
}

// Election names an election, and Scope says among whom it has one leader.
type (
	Election = token.Election
	Scope    = token.Scope
)

// The scopes of package token.
const (
	ScopeComponent = token.ScopeComponent
	ScopeMajority  = token.ScopeMajority
)

func toWire(e Election) wire.Election { return wire.Election{Name: e.Name, Scope: uint8(e.Scope)} }

func fromWire(e wire.Election) Election { return Election{Name: e.Name, Scope: Scope(e.Scope)} }

func validateElection(e Election) error {
	if e.Name == "" || len(e.Name) > wire.MaxElectionName || e.Scope > ScopeMajority {
		return fmt.Errorf("%w: name of %d bytes, scope %d", ErrElection, len(e.Name), e.Scope)
	}
	return nil
}

// runStep has the election's goroutine take a step, and waits for it.
func (e *election) runStep(ctx context.Context, step func()) error {
	done := make(chan struct{})
	select {
	case e.inbox <- func() { step(); close(done) }:
	case <-e.ended:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	<-done
	return nil
}

// postStep has the election's goroutine take a step some time.
func (e *election) postStep(step func()) {
	select {
	case e.inbox <- step:
	case <-e.ended:
	}
}

func (e *election) bootTime() time.Duration { return e.of.cfg.clock.Boot() }

func (e *election) runMachine(ctx context.Context) {
	defer close(e.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			e.finishWork()
			return
		case step := <-e.inbox:
			step()
		case <-e.fieldBell:
			if f := e.of.fieldOf(e.name); f != nil {
				e.performEffects(e.machine.Look(e.bootTime(), *f))
			}
		case <-timer.C:
			e.performEffects(e.machine.Tick(e.bootTime()))
		}
		e.publishState()
		next := e.machine.Next()
		if next == elect.Never {
			timer.Stop()
			continue
		}
		timer.Reset(max(next-e.bootTime(), 0))
	}
}

// publishState lets others see what has come of a step.
func (e *election) publishState() {
	now := e.bootTime()
	lead, until, ok := e.machine.Leading(now)
	if !ok {
		lead = token.Token{}
	}
	holder, lapses, held := e.machine.Holder(now)
	if !held {
		holder = token.Token{}
	}
	words := e.describeHindrance()
	e.logHindrance(words)
	e.mu.Lock()
	changed := e.leadToken != lead || e.holder != holder || e.problemText != words
	if e.leadToken.IsZero() {
		e.startTerm = lead.Term
	}
	e.leadToken, e.leadEnds, e.holder, e.grantEnds = lead, until, holder, lapses
	e.handedOver = e.machine.HandedOver()
	e.problemText = words
	e.mu.Unlock()
	if changed {
		e.of.leadsBell.Ring()
	}
}

// leadingToken returns the token with which this node leads now, by a clock that goes
// on while the machine sleeps; zero for none.
func (e *election) leadingToken() token.Token {
	t, _ := e.currentLease()
	return t
}

// currentLease returns the token with which this node leads now, zero for none, and for how
// long it leads if nothing renews its lease.
func (e *election) currentLease() (token.Token, time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	left := e.leadEnds - e.bootTime()
	if left <= 0 {
		return token.Token{}, 0
	}
	return e.leadToken, left
}

// followedNode returns whose unexpired grant this node keeps now; 0 for nobody's.
func (e *election) followedNode() view.NodeID {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.bootTime() >= e.grantEnds {
		return 0
	}
	return e.holder.Node
}

// performEffects does what the machine asks for, in order. Nothing in it waits.
func (e *election) performEffects(effects []elect.Effect) {
	for _, eff := range effects {
		switch eff.Action {
		case elect.Save:
			e.saves <- eff.Durable // there is room: no other is under way
		case elect.Reply:
			e.refs[eff.Ref] <- eff.Answer // there is room: one is all it gets
			delete(e.refs, eff.Ref)
		case elect.Send:
			if eff.Renews {
				e.of.renewals.addRenewal(e, eff)
				continue
			}
			e.of.group.Go(func(ctx context.Context) { e.sendAsk(ctx, eff) })
		case elect.GiveBack:
			e.of.group.Go(func(ctx context.Context) { e.giveBack(ctx, eff) })
		case elect.Lead:
			e.of.log.Info("this node leads", "election", e.name.String(), "token", eff.Token.String())
			e.beginWork(eff.Token)
		case elect.Renamed:
			e.of.log.Info("this node leads on", "election", e.name.String(), "token", eff.Token.String())
		case elect.Stop:
			e.of.log.Info("this node leads no more", "election", e.name.String(), "token", eff.Token.String(), "why", eff.Why.String())
			e.endWork()
		}
	}
}

// sendAsk brings a request to a voter and its answer back.
func (e *election) sendAsk(ctx context.Context, eff elect.Effect) {
	a := eff.Ask
	req := wire.AppendElectAsk(nil, wire.ElectAsk{
		Election: toWire(e.name), Term: a.Term, Renew: a.Renew, Electorate: a.Electorate, Lease: a.Lease, Score: uint64(a.Score),
	})
	b, err := e.of.callPeer(ctx, eff.To, methodAsk, req)
	if err != nil {
		e.postStep(func() { e.performEffects(e.machine.Unanswered(e.bootTime(), eff.To, a)) })
		return
	}
	ans, err := wire.DecodeElectAnswer(b)
	if err != nil {
		return
	}
	e.postStep(func() {
		e.performEffects(e.machine.Answered(e.bootTime(), eff.To, a, eff.Sent,
			elect.Answer{Reason: elect.Reason(ans.Reason), Max: ans.Max, Wait: ans.Wait, Holder: ans.Holder}))
	})
}

func (e *election) giveBack(ctx context.Context, eff elect.Effect) {
	req := wire.AppendElectBack(nil, wire.ElectBack{Election: toWire(e.name), Term: eff.Term, Nominee: eff.Nominee})
	_, _ = e.of.callPeer(ctx, eff.To, methodBack, req)
}

// answerAsk returns what the machine answers, which may wait for the disk.
func (e *election) answerAsk(ctx context.Context, from view.NodeID, a elect.Ask) (ans elect.Answer, err error) {
	answered := make(chan elect.Answer, 1)
	err = e.runStep(ctx, func() {
		e.ref++
		e.refs[e.ref] = answered
		e.performEffects(e.machine.Asked(e.bootTime(), from, a, e.ref))
	})
	if err != nil {
		return ans, err
	}
	select {
	case ans = <-answered:
		return ans, nil
	case <-e.ended:
		return ans, ErrClosed
	case <-ctx.Done():
		return ans, ctx.Err()
	}
}
