package partition

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/skeinmesh/skein/partition/token"
)

// Lead stands for an election until ctx ends. Each time this node is chosen, work
// is run with the token of its leadership; the context of work ends before others
// may lead, and work must return soon after: by Pace.Guard at the latest, if what
// it does is not fenced. Until it has returned this node does not lead again.
//
// The token may grow while work runs, and its context does not end for that: a leader
// takes a higher one when nodes come or go, and when it leads on after a cut in which
// others have used higher ones. A Fence that has seen those refuses the token that work
// began with from then on. So work that does not end at once asks Token before each
// action, and shows what that returns.
//
// When work returns before its context has ended it is done: the lead is given
// back and Lead returns nil. Otherwise Lead returns the error of ctx, ErrClosed, or
// ErrElection, when work has returned; ErrClosed, too, when the node leaves the mesh;
// ErrDisk if what was written down of the election before cannot be read. This node may
// be chosen again and again meanwhile. While nobody is, Status says why.
//
// A machine that was suspended runs work on for a moment after it wakes up, though
// another leads by then: check the token before each action that must not be done
// twice, or have a Fence at the resource do so.
func (p *Partition) Lead(ctx context.Context, election Election, work func(ctx context.Context, t token.Token)) error {
	e, err := p.elections.openElection(election, maxAsked+maxStanding)
	if err != nil {
		return err
	}
	return e.standFor(ctx, work)
}

func (e *election) standFor(ctx context.Context, do func(ctx context.Context, t token.Token)) error {
	w := &work{do: do, gone: make(chan struct{})}
	if err := e.beginStanding(ctx, w); err != nil {
		return err
	}
	select {
	case <-w.gone:
	case <-ctx.Done():
		e.postStep(func() { e.quitWork(w) })
		<-w.gone
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case e.of.isClosed() || e.of.leaving.Load():
		return ErrClosed
	}
	return nil
}

// Check tells whether what a token stands for still holds. For a token of this
// node that is: it leads with it, by a clock that goes on while the machine
// sleeps; else the error is ErrNotLeader. For one of another node: no higher one
// is known here; else it is ErrFenced. It is cheap, and may be called before each
// action. A higher token that nobody here has heard of is not known: whatever two
// parts of a cut mesh can both reach needs a Fence of its own.
func (p *Partition) Check(election Election, t token.Token) error {
	e, err := p.elections.openElection(election, maxAsked+maxStanding)
	if err != nil {
		return err
	}
	if t.IsZero() {
		return fmt.Errorf("%w: no token", ErrFenced)
	}
	lead, holder := e.leadingToken(), e.heldGrant()
	if t.Node == p.id {
		if lead.IsZero() || lead.Less(t) || t.Term < e.firstTerm() {
			return fmt.Errorf("%w of %s with %s", ErrNotLeader, election, t)
		}
		return nil
	}
	high := p.elections.highestClaim(election)
	for _, known := range []token.Token{lead, holder} {
		if high.Less(known) {
			high = known
		}
	}
	if t.Less(high) {
		return fmt.Errorf("%w: %s of %s, known is %s", ErrFenced, t, election, high)
	}
	return nil
}

// Token returns the token with which this node leads now, which is what a Fence must
// be shown, by a clock that goes on while the machine sleeps. The error is
// ErrNotLeader if it does not lead. It is as cheap as Check.
func (p *Partition) Token(election Election) (token.Token, error) {
	t, _, err := p.Lease(election)
	return t, err
}

// Guard runs an action under a token of this node, for example a write to a
// bucket: it is not begun when Check fails, its context ends with the lease, and
// when that has ended meanwhile the error is ErrUnsure, beside the action's own.
func (p *Partition) Guard(ctx context.Context, election Election, t token.Token, action func(ctx context.Context) error) error {
	if t.Node != p.id {
		return fmt.Errorf("%w of %s: %s is another node's", ErrNotLeader, election, t)
	}
	if err := p.Check(election, t); err != nil {
		return err
	}
	e, err := p.elections.openElection(election, maxAsked+maxStanding)
	if err != nil {
		return err
	}
	_, left := e.currentLease()
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	err = action(ctx)
	if late := p.Check(election, t); late != nil {
		return errors.Join(fmt.Errorf("%w: %w", ErrUnsure, late), err)
	}
	return err
}

// heldGrant returns whose unexpired grant this node keeps.
func (e *election) heldGrant() token.Token {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.holder
}

// firstTerm is the term with which the present leadership began: its work goes on
// with that token when the leader takes a higher one.
func (e *election) firstTerm() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.startTerm
}

// Fence keeps a resource of this process from leaders whose time is over: it
// remembers the highest token that it was shown. A resource that outlives the
// process keeps High with its data and begins with it. The zero Fence has seen
// none. All methods may be used concurrently.
type Fence struct {
	mu    sync.Mutex
	fence token.Fence
}

// NewFence returns a Fence that has seen a token.
func NewFence(high token.Token) *Fence { return &Fence{fence: token.Fence{High: high}} }

// Admit returns nil if what was asked for with a token may be done, and ErrFenced if
// a higher one was seen before.
func (f *Fence) Admit(t token.Token) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.fence.Admit(t) {
		return fmt.Errorf("%w: %s, seen was %s", ErrFenced, t, f.fence.High)
	}
	return nil
}

// High returns the highest token seen.
func (f *Fence) High() token.Token {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fence.High
}
