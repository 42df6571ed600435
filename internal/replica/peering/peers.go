// Package peering is how a store talks to its peers: who is silent lately, who must
// answer soon and how long that is waited for, the time left for a request in the words
// of the receiver's clock, and the lanes on which many small requests share a call.
// What is said to a peer, and what follows from its answer, is not known here.
package peering

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Caller calls a node of the mesh and waits for its answer.
type Caller interface {
	Call(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error)
}

// Options describe the peers of one store. All fields must be set.
type Options struct {
	Self     view.NodeID
	Mesh     Caller
	Group    *lifecycle.Group // of the goroutines that outlast a call
	Patience replicate.Patience
	Boot     func() time.Duration // this machine's boot clock
}

// Peers are the other nodes as one store meets them. All methods may be used
// concurrently.
type Peers struct {
	opts Options

	Silence    *Silence
	Deadlines  *Deadlines
	RoundTrips *RoundTrips
	Buffers    Buffers // for requests
}

// NewPeers returns peers of which nothing is known yet.
func NewPeers(opts Options) *Peers {
	p := &Peers{opts: opts, Silence: NewSilence(opts.Patience.Remember())}
	p.Deadlines = &Deadlines{ask: p.Ask, readBoot: opts.Boot, opening: rand.Uint64() | 1, peers: make(map[view.NodeID]peerClock)}
	p.RoundTrips = &RoundTrips{opts: &p.opts, peers: make(map[view.NodeID]roundTrip)}
	return p
}

// mayOutliveClose is how long a call may go on at most once the store is being closed.
const mayOutliveClose = time.Second

// Ask calls a store that must answer soon, or counts as silent. When nothing
// comes for a while it is asked whether it is there, and so are the others that may
// be turned to: of several that are silent, as in a cut, each would cost as much time
// as the first. A store that is there has more time, for what it does is not to be
// done twice. until ends the call in any case.
func (p *Peers) Ask(ctx context.Context, to view.NodeID, method string, req []byte, until time.Time, others []view.NodeID) ([]byte, error) {
	answer, err := p.callWatched(ctx, to, method, req, until, others)
	if err == nil || ctx.Err() == nil && time.Now().Before(until) {
		p.Silence.Note(to, err == nil)
	}
	return answer, err
}

// AskBulk is Ask for what may take long at a store that does well, as reading much: no
// store counts as silent for it, but one that does not say either that it is there.
func (p *Peers) AskBulk(ctx context.Context, to view.NodeID, method string, req []byte, until time.Time, others []view.NodeID) ([]byte, error) {
	return p.callWatched(ctx, to, method, req, until, others)
}

// callWatched calls a store, and asks whether it is there when nothing comes for a while.
func (p *Peers) callWatched(ctx context.Context, to view.NodeID, method string, req []byte, until time.Time, others []view.NodeID) ([]byte, error) {
	end := time.Now().Add(p.opts.Patience.Answer())
	if until.Before(end) {
		end = until
	}
	call, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	silent := make(chan struct{})
	// Most calls end before this, and so before a Close has to end them.
	care := min(p.opts.Patience.Silent(), mayOutliveClose)
	look := time.AfterFunc(care, func() {
		if !p.opts.Group.Go(func(ctx context.Context) {
			defer context.AfterFunc(ctx, cancel)()
			if clock.Sleep(call, p.opts.Patience.Silent()-care) && !p.callRoll(ctx, to, others) {
				close(silent)
				cancel()
			}
			<-call.Done()
		}) {
			cancel()
		}
	})
	defer look.Stop()
	answer, err := p.opts.Mesh.Call(call, to, method, req)
	select {
	case <-silent:
		if err != nil {
			err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
		}
	default:
	}
	return answer, err
}

// callRoll asks stores whether they are there, notes those that are silent, and
// tells whether the first one is not.
func (p *Peers) callRoll(ctx context.Context, first view.NodeID, others []view.NodeID) (there bool) {
	var all sync.WaitGroup
	for _, id := range others {
		if id != p.opts.Self {
			all.Go(func() { p.isThere(ctx, id) })
		}
	}
	there = p.isThere(ctx, first)
	all.Wait()
	return there
}

// isThere waits for any sign of life of a store, and asks for one unless somebody
// else has just done so.
func (p *Peers) isThere(ctx context.Context, id view.NodeID) bool {
	heard, first := p.Silence.beginListen(id)
	defer p.Silence.endListen(id, heard)
	wait, cancel := context.WithTimeout(ctx, p.opts.Patience.Silent())
	defer cancel()
	if first {
		p.opts.Group.Go(func(ctx context.Context) {
			call, cancel := context.WithTimeout(ctx, p.opts.Patience.Silent())
			defer cancel()
			if _, err := p.opts.Mesh.Call(call, id, wire.MethodClock, nil); err == nil {
				p.Silence.Note(id, true)
			}
		})
	}
	select {
	case <-heard:
		return true
	case <-wait.Done():
		if ctx.Err() == nil {
			p.Silence.Note(id, false)
		}
		return false
	}
}

// Answers tells whether a store answers a short question soon. No other sign of life
// counts: a link may carry what that one says, and nothing of what this one does.
func (p *Peers) Answers(ctx context.Context, id view.NodeID) bool {
	call, cancel := context.WithTimeout(ctx, p.opts.Patience.Probe())
	defer cancel()
	_, err := p.opts.Mesh.Call(call, id, wire.MethodClock, nil)
	if err == nil || ctx.Err() == nil {
		p.Silence.Note(id, err == nil)
	}
	return err == nil
}

// LongWait is for how long an answer is waited for that may take long: digests may have to
// be built first.
const LongWait = 30 * time.Second

// AskLong calls a store and waits LongWait for its answer. A store does not count as silent
// for it.
func (p *Peers) AskLong(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error) {
	return p.AskWithin(ctx, to, method, req, LongWait)
}

// AskWithin is AskLong with a wait of its own.
func (p *Peers) AskWithin(ctx context.Context, to view.NodeID, method string, req []byte, wait time.Duration) ([]byte, error) {
	call, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return p.opts.Mesh.Call(call, to, method, req)
}
