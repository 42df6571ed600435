package partition

import (
	"context"
	"fmt"
	"sync"

	"github.com/skeinmesh/skein/internal/elect"
	"github.com/skeinmesh/skein/partition/token"
)

// begin starts the work. What it is told about its leadership must be there by
// then.
func (e *election) begin(t token.Token) {
	e.show()
	w := e.stands
	if w == nil || w.quit {
		e.stopped(w)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	w.cancel, w.over = cancel, over
	e.p.works.Go(func() {
		w.do(ctx, t)
		quit := ctx.Err() == nil
		cancel()
		close(over)
		e.tell(func() {
			w.cancel, w.quit = nil, w.quit || quit
			e.stopped(w)
		})
	})
}

// end has the work stop. If none runs it has.
func (e *election) end() {
	if w := e.stands; w != nil && w.cancel != nil {
		w.cancel()
		return
	}
	e.stopped(e.stands)
}

// stopped notes that the work has ended, by itself or because it had to.
func (e *election) stopped(w *work) {
	e.perform(e.machine.Stand(e.now(), w != nil && !w.quit))
	effects := e.machine.Drained(e.now())
	e.show() // before others hear that they may lead
	e.perform(effects)
	if w != nil && w.quit {
		e.leave(w)
	}
}

// stand makes w the work of this election.
func (e *election) stand(ctx context.Context, w *work) error {
	if err := e.takeOn(w); err != nil {
		return err
	}
	e.p.leads.Ring()
	err := e.do(ctx, func() {
		e.stands = w
		if w.quit = e.p.leaving.Load(); w.quit {
			e.leave(w)
			return
		}
		e.perform(e.machine.Stand(e.now(), true))
	})
	if err != nil {
		e.unwork(w)
	}
	return err
}

// takeOn notes what this node stands for the election with, if it may.
func (e *election) takeOn(w *work) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.p.leaving.Load():
		return ErrClosed
	case e.work != nil:
		return fmt.Errorf("%w: this node stands for %s already", ErrElection, e.name)
	case !e.p.takePlace():
		return fmt.Errorf("%w: %s is one too many to stand for, %d are the most", ErrElection, e.name, maxStanding)
	}
	e.work = w
	return nil
}

// unwork notes that nobody stands for it here any more.
func (e *election) unwork(w *work) {
	e.mu.Lock()
	e.work = nil
	e.mu.Unlock()
	e.p.freePlace()
	close(w.gone)
	e.p.leads.Ring()
}

// takePlace counts one election more that this node stands for, if it may.
func (p *Partition) takePlace() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.standing == maxStanding {
		return false
	}
	p.standing++
	return true
}

func (p *Partition) freePlace() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.standing--
}

func (e *election) standing() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.work != nil
}

// quit has w end, and Lead return when it has.
func (e *election) quit(w *work) {
	if e.stands != w {
		return
	}
	w.quit = true
	e.perform(e.machine.Stand(e.now(), false))
	if e.stands == w && w.cancel == nil {
		e.leave(w)
	}
}

func (e *election) leave(w *work) {
	if e.stands != w {
		return
	}
	e.stands = nil
	e.unwork(w)
}

// finish ends the work, waits for it, and gives back what was granted: others need
// not wait for the lease to end.
func (e *election) finish() {
	w := e.stands
	if w != nil {
		w.quit = true
		if w.cancel != nil {
			w.cancel()
			<-w.over
		}
	}
	now := e.now()
	effects := e.machine.Stand(now, false)
	effects = append(effects, e.machine.Drained(now)...)
	e.mu.Lock() // before others hear that they may lead
	e.lead, e.until, e.holder = token.Token{}, 0, token.Token{}
	e.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	var all sync.WaitGroup
	for _, eff := range effects {
		if eff.Action == elect.GiveBack {
			all.Go(func() { e.giveBack(ctx, eff) })
		}
	}
	all.Wait()
	if w != nil {
		e.leave(w)
	}
}
