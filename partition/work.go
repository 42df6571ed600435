package partition

import (
	"context"
	"fmt"
	"sync"

	"github.com/skeinmesh/skein/internal/elect"
	"github.com/skeinmesh/skein/partition/token"
)

// beginWork starts the work. What it is told about its leadership must be there by
// then.
func (e *election) beginWork(t token.Token) {
	e.publishState()
	w := e.currentWork
	if w == nil || w.quitting {
		e.noteStopped(w)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	w.cancel, w.over = cancel, over
	e.of.works.Go(func() {
		w.do(ctx, t)
		quit := ctx.Err() == nil
		cancel()
		close(over)
		e.postStep(func() {
			w.cancel, w.quitting = nil, w.quitting || quit
			if !w.finishing {
				e.noteStopped(w)
			}
		})
	})
}

// endWork has the work stop. If none runs it has.
func (e *election) endWork() {
	if w := e.currentWork; w != nil && w.cancel != nil {
		w.cancel()
		return
	}
	e.noteStopped(e.currentWork)
}

// noteStopped notes that the work has ended, by itself or because it had to.
func (e *election) noteStopped(w *work) {
	e.performEffects(e.machine.Stand(e.bootTime(), w != nil && !w.quitting))
	effects := e.machine.Drained(e.bootTime())
	e.publishState() // before others hear that they may lead
	e.performEffects(effects)
	if w != nil && w.quitting {
		e.dropWork(w)
	}
}

// beginStanding makes w the work of this election.
func (e *election) beginStanding(ctx context.Context, w *work) error {
	if err := e.claimWork(w); err != nil {
		return err
	}
	e.of.leadsBell.Ring()
	err := e.runStep(ctx, func() {
		e.currentWork = w
		if w.quitting = e.of.leaving.Load(); w.quitting {
			e.dropWork(w)
			return
		}
		e.performEffects(e.machine.Stand(e.bootTime(), true))
	})
	if err != nil {
		e.clearWork(w)
	}
	return err
}

// claimWork notes what this node stands for the election with, if it may.
func (e *election) claimWork(w *work) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.of.leaving.Load():
		return ErrClosed
	case e.work != nil:
		return fmt.Errorf("%w: this node stands for %s already", ErrElection, e.name)
	case !e.of.takePlace():
		return fmt.Errorf("%w: %s is one too many to stand for, %d are the most", ErrElection, e.name, maxStanding)
	}
	e.work = w
	return nil
}

// clearWork notes that nobody stands for it here any more.
func (e *election) clearWork(w *work) {
	e.mu.Lock()
	e.work = nil
	e.mu.Unlock()
	e.of.freePlace()
	close(w.gone)
	e.of.leadsBell.Ring()
}

// standing tells whether this node stands, and how much it is preferred.
func (e *election) standing() (preference uint32, stands bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.preference, e.work != nil
}

// quitWork has w end, and Lead return when it has.
func (e *election) quitWork(w *work) {
	if e.currentWork != w {
		return
	}
	w.quitting = true
	e.performEffects(e.machine.Stand(e.bootTime(), false))
	if e.currentWork == w && w.cancel == nil {
		e.dropWork(w)
	}
}

func (e *election) dropWork(w *work) {
	if e.currentWork != w {
		return
	}
	e.currentWork = nil
	e.clearWork(w)
}

// takeStepsUntil goes on with steps of others: the work that is waited for may take one.
func (e *election) takeStepsUntil(over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		case step := <-e.inbox:
			step()
			e.publishState()
		}
	}
}

// finishWork ends the work, waits for it, and gives back what was granted: others need
// not wait for the lease to end.
func (e *election) finishWork() {
	w := e.currentWork
	if w != nil {
		w.quitting, w.finishing = true, true
		if w.cancel != nil {
			w.cancel()
			e.takeStepsUntil(w.over)
		}
	}
	now := e.bootTime()
	effects := e.machine.Stand(now, false)
	effects = append(effects, e.machine.Drained(now)...)
	e.mu.Lock() // before others hear that they may lead
	e.leadToken, e.leadEnds, e.holder = token.Token{}, 0, token.Token{}
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
		e.dropWork(w)
	}
}
