package partition

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/elect"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/storage/file"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// elections are those that this node knows of.
type elections struct {
	*ground
	voters   *voters
	renewals *renewals
	works    sync.WaitGroup // what Lead was given

	mu       sync.Mutex
	byName   map[Election]*election
	standing int // how many of them this node stands for
}

func newElections(g *ground, v *voters) *elections {
	return &elections{ground: g, voters: v, renewals: newRenewals(g), byName: map[Election]*election{}}
}

// openElection returns the election of that name, which begins with what this node has
// written down of it, if there are fewer than limit.
func (t *elections) openElection(name Election, limit int) (*election, error) {
	if err := validateElection(name); err != nil {
		return nil, err
	}
	if e := t.findElection(name); e != nil {
		return e, nil
	}
	e := &election{
		of: t, name: name, slots: file.NewSlots(t.cfg.fs, t.statePath(name)), inbox: make(chan func()), saves: make(chan elect.Durable, 1),
		firstSaveTried: make(chan struct{}), fieldBell: notify.NewBell(), ended: make(chan struct{}), refs: map[uint64]chan elect.Answer{},
	}
	d, err := t.readState(e.slots, name)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.byName[name]; e != nil {
		return e, nil // and what was read may be old
	}
	if len(t.byName) >= limit {
		return nil, fmt.Errorf("%w: %s is one too many, %d are the most", ErrElection, name, limit)
	}
	e.machine = elect.New(t.id, t.cfg.Pace.electParams(), d, t.cfg.clock.Boot(), rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())))
	if t.group.Go(e.saveStates); !t.group.Go(e.runMachine) {
		close(e.ended)
		return nil, ErrClosed
	}
	t.byName[name] = e
	return e, nil
}

// findElection returns an election if this node knows of it.
func (t *elections) findElection(name Election) *election {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byName[name]
}

// statePath is where the state of an election is kept. Names are hashed, for they
// may be anything.
func (t *elections) statePath(name Election) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte{byte(name.Scope)})
	_, _ = h.Write([]byte(name.Name))
	return filepath.Join(t.dir, "election-"+hex.EncodeToString(h.Sum(nil)))
}

func (t *elections) readState(slots *file.Slots, name Election) (elect.Durable, error) {
	data, err := slots.Read()
	if errors.Is(err, fs.ErrNotExist) {
		return elect.Durable{}, nil
	}
	var s wire.ElectState
	if err == nil {
		s, err = wire.DecodeElectState(data)
	}
	if err == nil && fromWire(s.Election) != name {
		err = fmt.Errorf("it is that of %s", fromWire(s.Election))
	}
	if err != nil {
		return elect.Durable{}, fmt.Errorf("%w: %s: %w", ErrDisk, name, err)
	}
	return elect.Durable{Max: s.Max, Grant: s.Grant, Lease: s.Lease}, nil
}

// knownElections returns the elections that this node knows of, sorted.
func (t *elections) knownElections() []*election {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(maps.Values(t.byName), func(a, b *election) int {
		return cmp.Or(cmp.Compare(a.name.Name, b.name.Name), cmp.Compare(a.name.Scope, b.name.Scope))
	})
}

// wakeElections has all elections look at the scene.
func (t *elections) wakeElections() {
	for _, e := range t.knownElections() {
		e.fieldBell.Ring()
	}
}

// highestClaim returns the highest token that a node in the component says it leads
// with.
func (t *elections) highestClaim(name Election) token.Token {
	s := t.scene.Load()
	if s == nil {
		return token.Token{}
	}
	f := s.electionField(name)
	return f.Leader(0)
}

// fieldOf returns what an election may know of the others; nil: nothing yet.
func (t *elections) fieldOf(name Election) *elect.Field {
	s := t.scene.Load()
	if s == nil {
		return nil
	}
	f := s.electionField(name)
	f.Electorate, f.Electors = t.voters.electorateOf(name.Scope, s.view, s.component)
	return &f
}

// takePlace counts one election more that this node stands for, if it may.
func (t *elections) takePlace() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.standing == maxStanding {
		return false
	}
	t.standing++
	return true
}

func (t *elections) freePlace() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.standing--
}

// ownElections returns what this node stands for and leads, sorted.
func (t *elections) ownElections() (standing []wire.Stand, leads []wire.Claim) {
	for _, e := range t.knownElections() {
		if preference, stands := e.standing(); stands {
			standing = append(standing, wire.Stand{Election: toWire(e.name), Preference: preference})
		}
		if lead := e.leadingToken(); !lead.IsZero() {
			leads = append(leads, wire.Claim{Election: toWire(e.name), Term: lead.Term})
		}
	}
	return standing, leads
}

// leadership tells who leads an election: this node by its lease, another by its
// word.
func (t *elections) leadership(s *scene, name Election) Leadership {
	l := Leadership{Election: name, Candidates: s.candidates(name)}
	var follows view.NodeID
	if e := t.findElection(name); e != nil {
		l.Problem = e.lastProblem()
		if l.Token = e.leadingToken(); !l.Token.IsZero() {
			l.Here = true
			return l
		}
		follows = e.followedNode()
	}
	f := s.electionField(name)
	l.Token = f.Leader(follows)
	return l
}

// serveAsk answers a candidate, or a leader.
func (t *elections) serveAsk(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	a, err := wire.DecodeElectAsk(req)
	if err != nil {
		return nil, err
	}
	e, err := t.openElection(fromWire(a.Election), maxAsked)
	if err != nil {
		return nil, err
	}
	e.awaitDisk(ctx)
	ans, err := e.answerAsk(ctx, from, elect.Ask{
		Term: a.Term, Renew: a.Renew, Electorate: a.Electorate, Lease: a.Lease, Score: elect.Score(a.Score),
	})
	if err != nil {
		return nil, err
	}
	return wire.AppendElectAnswer(nil, wire.ElectAnswer{Reason: uint64(ans.Reason), Max: ans.Max, Wait: ans.Wait, Holder: ans.Holder}), nil
}

// serveBack takes back what this node had granted.
func (t *elections) serveBack(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	b, err := wire.DecodeElectBack(req)
	if err != nil {
		return nil, err
	}
	e := t.findElection(fromWire(b.Election))
	if e == nil {
		return nil, nil // nothing was granted since this node was started
	}
	return nil, e.runStep(ctx, func() { e.performEffects(e.machine.Returned(e.bootTime(), from, b.Term, b.Nominee)) })
}

// serveRenewals answers a leader. What needs the disk is left to a request of its own.
func (t *elections) serveRenewals(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	m, err := wire.DecodeElectRenewals(req)
	if err != nil {
		return nil, err
	}
	answer := wire.ElectRenewed{Granted: make([]bool, len(m.List))}
	for i, asked := range m.List {
		if e := t.findElection(fromWire(asked.Election)); e != nil && e.hasTriedDisk() {
			answer.Granted[i], err = e.renewAtOnce(ctx, from, elect.Ask{Term: asked.Term, Renew: true, Lease: m.Lease})
			if err != nil {
				return nil, err
			}
		}
	}
	return wire.AppendElectRenewed(nil, answer), nil
}

// resignAll has this node stand for nothing any more, and waits until it leads
// nothing: it leaves the mesh. It goes on to vote for as long as it is here.
func (t *elections) resignAll(ctx context.Context) error {
	t.leaving.Store(true)
	for _, e := range t.knownElections() {
		e.mu.Lock()
		w := e.work
		e.mu.Unlock()
		if w == nil {
			continue
		}
		e.postStep(func() { e.quitWork(w) })
		select {
		case <-w.gone:
		case <-ctx.Done():
			return fmt.Errorf("partition: leave: the work of %s has not ended: %w", e.name, ctx.Err())
		}
	}
	return nil
}

// resign has the machine end this node's lead in one of the ways that there are.
func (t *elections) resign(election Election, how func(*elect.Election, time.Duration) ([]elect.Effect, bool)) error {
	e, err := t.openElection(election, maxAsked+maxStanding)
	if err != nil {
		return err
	}
	led := false
	err = e.runStep(context.Background(), func() {
		effects, ok := how(e.machine, e.bootTime())
		led = ok
		e.performEffects(effects)
	})
	if err == nil && !led {
		err = fmt.Errorf("%w of %s", ErrNotLeader, election)
	}
	return err
}
