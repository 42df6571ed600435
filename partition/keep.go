package partition

import (
	"context"
	"time"

	"github.com/skeinmesh/skein/internal/elect"
	"github.com/skeinmesh/skein/internal/wire"
)

// vainLeases is for how many leases somebody stands in vain before it is logged why.
const vainLeases = 10

// saveStates saves what the election's goroutine hands it, beside that goroutine: a leader
// renews its lease while slow flash saves.
func (e *election) saveStates(context.Context) {
	for {
		select {
		case <-e.ended:
			return
		case d := <-e.saves:
			err := e.saveState(d)
			e.postStep(func() { e.noteSaved(err) })
		}
	}
}

func (e *election) saveState(d elect.Durable) error {
	data := wire.AppendElectState(nil, wire.ElectState{Election: toWire(e.name), Max: d.Max, Grant: d.Grant, Lease: d.Lease})
	return e.slots.Write(data)
}

// noteSaved tells the machine how saving has ended. It tries again by itself, so that is
// logged once.
func (e *election) noteSaved(err error) {
	switch {
	case err != nil && e.fault == nil:
		e.of.log.Error("election state cannot be saved: this node promises nothing until it can, and tries again", "election", e.name.String(), "error", err)
	case err == nil && e.fault != nil:
		e.of.log.Info("election state is saved again", "election", e.name.String())
	}
	e.fault = err
	e.performEffects(e.machine.Saved(e.bootTime(), err == nil))
	e.tried.Do(func() { close(e.firstSaveTried) })
}

// awaitDisk waits until what was read of a new election is saved, for a moment: it
// promises nothing before.
func (e *election) awaitDisk(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, e.of.cfg.Pace.Lease/4)
	defer cancel()
	select {
	case <-e.firstSaveTried:
	case <-e.ended:
	case <-ctx.Done():
	}
}

// describeHindrance says in words what is wrong here, or why nobody leads.
func (e *election) describeHindrance() string {
	words := ""
	if e.name.Scope == ScopeMajority {
		words = e.of.voters.describeFault()
	}
	if e.fault != nil {
		return "this node cannot save its promises, and so gives none: " + e.fault.Error()
	}
	if obstacle := e.machine.Obstacle(e.bootTime()); obstacle != "" && words == "" {
		words = obstacle
	}
	return words
}

// logHindrance logs once why nobody leads, when somebody has stood in vain for long.
func (e *election) logHindrance(words string) {
	if words == "" || e.currentWork == nil {
		e.vainSince, e.vainLogged = 0, false
		return
	}
	now := e.bootTime()
	if e.vainSince == 0 {
		e.vainSince = now
	}
	if !e.vainLogged && e.fault == nil && now-e.vainSince >= vainLeases*e.of.cfg.Pace.Lease {
		e.vainLogged = true
		e.of.log.Warn("nobody leads", "election", e.name.String(), "for", (now - e.vainSince).Round(time.Second).String(), "why", words)
	}
}

// lastProblem returns what hindrance said at the last step.
func (e *election) lastProblem() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.problemText
}
