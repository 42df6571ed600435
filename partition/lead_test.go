package partition

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeinmesh/skein/partition/token"
)

var job = Election{Name: "job"}

// stand is a call of Lead. Its work goes on until its context ends, or until it is
// told to return by itself.
type stand struct {
	cancel context.CancelFunc
	home   chan struct{} // closed: the work returns
	slow   time.Duration // that it takes to return when its context has ended
	works  atomic.Int32  // how many run now
	token  atomic.Pointer[token.Token]
	done   chan struct{} // Lead has returned
	err    error         // of Lead, when done
	left   int32         // how many works ran when Lead returned
}

func (b *box) stand(name Election) *stand {
	ctx, cancel := context.WithCancel(context.Background())
	s := &stand{cancel: cancel, home: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.err = b.part.Lead(ctx, name, func(ctx context.Context, t token.Token) {
			s.token.Store(&t)
			s.works.Add(1)
			if b.w.working.Add(1) > 1 {
				b.w.together.Store(true)
			}
			defer s.works.Add(-1)
			defer b.w.working.Add(-1)
			select {
			case <-ctx.Done():
				time.Sleep(s.slow)
			case <-s.home:
			}
		})
		s.left = s.works.Load()
	}()
	return s
}

func (b *box) standsFor(name Election) bool {
	e := b.election(name)
	if e == nil {
		return false
	}
	_, stands := e.standing()
	return stands
}

// wait returns what Lead has returned, which it must within a limit.
func (s *stand) wait(t *testing.T, limit time.Duration) error {
	t.Helper()
	select {
	case <-s.done:
	case <-time.After(limit):
		t.Fatalf("Lead has not returned within %v", limit)
	}
	if s.left != 0 {
		t.Error("Lead has returned while work ran")
	}
	return s.err
}

// stands has all boxes stand, and returns the one that works, and its stand.
func (w *world) stands(name Election) (leader *box, of map[*box]*stand) {
	w.t.Helper()
	of = map[*box]*stand{}
	for _, b := range w.boxes {
		of[b] = b.stand(name)
	}
	return w.atWork(of, 10*time.Second), of
}

// atWork waits until one works.
func (w *world) atWork(of map[*box]*stand, limit time.Duration) (one *box) {
	w.t.Helper()
	w.until(limit, "one works", func() bool {
		for b, s := range of {
			if s.works.Load() > 0 && b.leadsIn(job) {
				one = b
			}
		}
		return one != nil
	})
	return one
}

func (w *world) oneAtATime() {
	w.t.Helper()
	if w.together.Load() {
		w.t.Error("two have worked at the same time")
	}
}

func (w *world) sendHome(of map[*box]*stand) {
	for _, s := range of {
		s.cancel()
	}
	for _, s := range of {
		<-s.done
	}
}

// Work that returns by itself gives the lead to another without delay; that of a
// call whose context ends is waited for.
func TestLeadEnds(t *testing.T) {
	t.Parallel()
	inWorld(t, 3, lan, nil, func(w *world) {
		first, of := w.stands(job)
		defer w.sendHome(of)
		defer w.oneAtATime()
		close(of[first].home)
		if err := of[first].wait(t, time.Second); err != nil {
			t.Errorf("after work that was done Lead returned %v", err)
		}
		begin := *of[first].token.Load()
		delete(of, first)
		second := w.atWork(of, 500*time.Millisecond)
		if now := *of[second].token.Load(); !begin.Less(now) {
			t.Errorf("the token was %v and is %v", begin, now)
		}

		of[second].slow = 100 * time.Millisecond
		of[second].cancel()
		if err := of[second].wait(t, time.Second); !errors.Is(err, context.Canceled) {
			t.Errorf("after its context has ended Lead returned %v", err)
		}
		delete(of, second)
		w.atWork(of, 500*time.Millisecond)

		// Who stands no more may stand again.
		again := second.stand(job)
		defer w.sendHome(map[*box]*stand{second: again})
		w.until(5*time.Second, "it is known to stand", func() bool { return second.standsFor(job) })
	})
}

// A node stands once for an election, under a name that is in order.
func TestLeadRefuses(t *testing.T) {
	t.Parallel()
	inWorld(t, 1, lan, nil, func(w *world) {
		_, of := w.stands(job)
		defer w.sendHome(of)
		for _, name := range []Election{job, {}, {Name: string(make([]byte, 65))}, {Name: "x", Scope: 9}, w.boxes[0].part.leaderOf()} {
			if err := w.boxes[0].stand(name).wait(t, time.Second); !errors.Is(err, ErrElection) {
				t.Errorf("of %q, scope %d: Lead returned %v", name.Name, name.Scope, err)
			}
		}
		if w.atWork(of, 0) == nil {
			t.Error("the first call has lost the lead")
		}
	})
}

// Close ends work, waits for it, and lets another node have the lead at once.
func TestCloseEndsWork(t *testing.T) {
	t.Parallel()
	inWorld(t, 3, lan, nil, func(w *world) {
		leader, of := w.stands(job)
		defer w.sendHome(of)
		defer w.oneAtATime()
		of[leader].slow = 150 * time.Millisecond
		begin := time.Now()
		if err := leader.part.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if took := time.Since(begin); of[leader].works.Load() > 0 || took < of[leader].slow || took > 500*time.Millisecond {
			t.Errorf("Close returned after %v while %d works ran", took, of[leader].works.Load())
		}
		if err := of[leader].wait(t, time.Second); !errors.Is(err, ErrClosed) {
			t.Errorf("Lead returned %v", err)
		}
		delete(of, leader)
		w.atWork(of, 500*time.Millisecond)
		if err := leader.stand(Election{Name: "other"}).wait(t, time.Second); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close Lead returned %v", err)
		}
	})
}

// What the context of work promises: it ends before another's begins, though the
// leader is cut off and hears of nothing.
func TestWorkEndsBeforeAnotherBegins(t *testing.T) {
	t.Parallel()
	inWorld(t, 3, lan, nil, func(w *world) {
		leader, of := w.stands(job)
		defer w.sendHome(of)
		defer w.oneAtATime()
		w.net.Silence(leader.addr)
		begin := time.Now()
		var stopped, started time.Duration
		for stopped == 0 || started == 0 {
			for b, s := range of {
				switch at := time.Since(begin); {
				case at > 10*time.Second:
					t.Fatalf("stopped after %v, another started after %v", stopped, started)
				case b == leader && stopped == 0 && s.works.Load() == 0:
					stopped = at
				case b != leader && started == 0 && s.works.Load() > 0:
					started = at
				}
			}
			time.Sleep(time.Millisecond)
		}
		if started < stopped+lan.pace.Guard || started > lan.pace.Lease+time.Second {
			t.Errorf("stopped after %v, another started after %v", stopped, started)
		}
	})
}

// Tokens are checked by what is known here: the own one by its lease, another's by
// the highest seen.
func TestCheckAndGuard(t *testing.T) {
	t.Parallel()
	inWorld(t, 3, lan, nil, func(w *world) {
		name := w.boxes[0].part.leaderOf()
		first := w.agreed(w.boxes...)
		w.net.Silence(first.addr)
		w.leader(10*time.Second, w.without(first)...)
		w.net.Restore(first.addr)
		w.until(time.Minute, "all see all again", w.whole)
		time.Sleep(lan.pace.Settle + 2*lan.pace.Lease)
		leader := w.leader(time.Second, w.boxes...)
		other := w.without(leader)[0]
		now := leader.token(name)
		for _, c := range []struct {
			what  string
			at    *box
			token token.Token
			want  error
		}{
			{"the leader's at the leader", leader, now, nil},
			{"the leader's elsewhere", other, now, nil},
			{"none", leader, token.Token{}, ErrFenced},
			{"none, elsewhere", other, token.Token{}, ErrFenced},
			{"a later one that it never had", leader, token.Token{Term: now.Term + 1, Node: now.Node}, ErrNotLeader},
			{"an earlier leader's at the leader", leader, token.Token{Term: now.Term - 1, Node: other.node.ID()}, ErrFenced},
			{"an earlier one elsewhere", other, token.Token{Term: now.Term - 1, Node: now.Node}, ErrFenced},
			{"one of its own that it never had", other, token.Token{Term: now.Term + 1, Node: other.node.ID()}, ErrNotLeader},
			{"one before the leadership began", leader, token.Token{Term: leader.election(name).firstTerm() - 1, Node: now.Node}, ErrNotLeader},
		} {
			if err := c.at.part.Check(name, c.token); !errors.Is(err, c.want) {
				t.Errorf("%s, %v where %v leads: %v", c.what, c.token, now, err)
			}
		}
		guards(t, w, leader, other, now)
	})
}

func guards(t *testing.T, w *world, leader, other *box, now token.Token) {
	t.Helper()
	name := leader.part.leaderOf()
	ctx := context.Background()
	ran := 0
	run := func(err error) func(context.Context) error {
		return func(ctx context.Context) error {
			ran++
			if until, ok := ctx.Deadline(); !ok || time.Until(until) > lan.pace.Lease || time.Until(until) <= 0 {
				t.Errorf("an action's context ends at %v: %v", until, ok)
			}
			return err
		}
	}
	bad := errors.New("bad")
	if err := leader.part.Guard(ctx, name, now, run(nil)); err != nil || ran != 1 {
		t.Errorf("of %d runs: %v", ran, err)
	}
	if err := leader.part.Guard(ctx, name, now, run(bad)); err != bad || ran != 2 {
		t.Errorf("of %d runs, the last of which went wrong: %v", ran, err)
	}
	if err := other.part.Guard(ctx, name, now, run(nil)); !errors.Is(err, ErrNotLeader) || ran != 2 {
		t.Errorf("another's token: %v, %d runs", err, ran)
	}
	old := token.Token{Term: now.Term + 7, Node: now.Node}
	if err := leader.part.Guard(ctx, name, old, run(nil)); !errors.Is(err, ErrNotLeader) || ran != 2 {
		t.Errorf("a token that does not lead: %v, %d runs", err, ran)
	}
	w.net.Silence(leader.addr)
	begin := time.Now()
	err := leader.part.Guard(ctx, name, now, func(ctx context.Context) error {
		<-ctx.Done()
		return bad
	})
	if took := time.Since(begin); !errors.Is(err, ErrUnsure) || !errors.Is(err, ErrNotLeader) || !errors.Is(err, bad) || took > lan.pace.Lease {
		t.Errorf("an action during which the leader was cut off: %v after %v", err, took)
	}
}

// A Fence remembers the highest token, across restarts if it is told.
func TestFence(t *testing.T) {
	var f Fence
	steps := []struct {
		token token.Token
		ok    bool
	}{
		{token.Token{Term: 3, Node: 5}, true}, {token.Token{Term: 3, Node: 5}, true}, {token.Token{Term: 3, Node: 4}, false},
		{token.Token{Term: 2, Node: 9}, false}, {token.Token{Term: 3, Node: 6}, true}, {token.Token{Term: 3, Node: 5}, false},
		{token.Token{Term: 4, Node: 1}, true}, {token.Token{}, false},
	}
	for i, s := range steps {
		if err := f.Admit(s.token); (err == nil) != s.ok || err != nil && !errors.Is(err, ErrFenced) {
			t.Errorf("step %d, %v: %v", i, s.token, err)
		}
	}
	if g := NewFence(f.High()); g.Admit(token.Token{Term: 3, Node: 9}) == nil || g.High() != (token.Token{Term: 4, Node: 1}) {
		t.Error("a fence that was told the highest token does not hold")
	}
}

// sleep lets a machine stand still for d, as one that is suspended, or whose
// hypervisor halts it: nothing gets in or out and its boot clock does not move.
// Then the other nodes have gone on, and nothing has been heard of it yet.
func (b *box) sleep(d time.Duration) {
	const tick = 5 * time.Millisecond
	b.w.net.Stall(b.addr, d+time.Second)
	for range int(d / tick) {
		time.Sleep(tick)
		b.clock.Suspend(-tick)
	}
}

// A leader that slept, by a clock that went on, knows at once that its time is
// over. One whose clocks all stood still does not, and the resource refuses it.
func TestF2_10_SuspendedLeader_Mesh(t *testing.T) {
	t.Parallel()
	for what, counted := range map[string]bool{"suspended": true, "halted": false} {
		t.Run(what, func(t *testing.T) {
			inWorld(t, 5, lan, nil, func(w *world) {
				name := w.boxes[0].part.leaderOf()
				leader := w.agreed(w.boxes...)
				rest := w.without(leader)
				old := leader.token(name)
				const d = 40 * time.Second
				leader.sleep(d)
				next := w.agreed(rest...)
				if next == nil {
					w.dump()
					t.Fatal("nobody leads while the leader sleeps")
				}
				resource := NewFence(old)
				if err := resource.Admit(next.token(name)); err != nil {
					t.Errorf("the next leader is refused: %v", err)
				}
				if counted {
					leader.clock.Suspend(d)
				}
				if err := leader.part.Check(name, old); counted != errors.Is(err, ErrNotLeader) {
					t.Errorf("as it wakes up: %v", err)
				}
				if err := resource.Admit(old); !errors.Is(err, ErrFenced) {
					t.Errorf("the resource: %v", err)
				}
				if err := next.part.Check(name, old); !errors.Is(err, ErrFenced) {
					t.Errorf("the next leader, of the old token: %v", err)
				}
				w.until(time.Minute, "all follow the next leader", func() bool { return w.agreed(w.boxes...) == next })
				if err := leader.part.Check(name, old); !errors.Is(err, ErrNotLeader) {
					t.Errorf("when it has heard of the next: %v", err)
				}
			})
		})
	}
}

// A leader whose disk is full leads on, though the component changes and no new term can
// be written down. When it is lost others lead, and it stands all the time: when there
// is room it takes part again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	inWorld(t, 5, lan, nil, func(w *world) {
		leader, of := w.stands(job)
		defer w.sendHome(of)
		time.Sleep(lan.pace.Settle + 2*lan.pace.Lease) // all follow its term
		before := leader.token(job)
		leader.full.Store(true)
		lost := w.without(leader)[0]
		lost.kill()
		for range 60 {
			time.Sleep(time.Second)
			if !leader.leadsIn(job) {
				t.Fatal("renewals write nothing, and yet a full disk cost the lead")
			}
		}
		w.net.Partition(w.addrs(leader), w.addrs(w.without(leader)...))
		w.until(lan.pace.Lease+time.Second, "it leads no more", func() bool { return !leader.leadsIn(job) })
		time.Sleep(20 * time.Second)
		w.net.HealAll()
		next := w.atWork(of, lan.pace.Lease+time.Second)
		if now := next.token(job); next == leader || !before.Less(now) {
			t.Errorf("the token was %v and is %v", before, now)
		}
		leader.full.Store(false)
		lost.start()
		w.until(time.Minute, "all see all again", w.whole)
		if !leader.standsFor(job) {
			t.Error("it does not stand any more")
		}
		time.Sleep(lan.pace.Settle + 2*lan.pace.Lease + time.Minute)
		// It votes again: with it three are a majority of five.
		away := slices.DeleteFunc(w.without(leader), func(b *box) bool { return b == next })[:1]
		w.net.Partition(w.addrs(append(away, next)...), w.addrs(slices.DeleteFunc(slices.Clone(w.boxes), func(b *box) bool { return b == next || b == away[0] })...))
		delete(of, next)
		w.atWork(of, 5*time.Second)
	})
}

// After all nodes were started anew terms go on where they were.
func TestTermsOutliveRestarts(t *testing.T) {
	t.Parallel()
	inWorld(t, 3, lan, nil, func(w *world) {
		name := w.boxes[0].part.leaderOf()
		high := w.agreed(w.boxes...).token(name)
		for range 5 {
			for _, b := range w.boxes {
				b.kill()
			}
			for _, b := range w.boxes {
				b.start()
			}
			w.until(time.Minute, "all see all again", w.whole)
			now := w.leader(20*time.Second, w.boxes...).token(name)
			if !high.Less(now) {
				t.Fatalf("the token was %v, and after a restart it is %v", high, now)
			}
			high = now
		}
	})
}

// Many work at the same time without being in each other's way.
func TestManyElections(t *testing.T) {
	t.Parallel()
	inWorld(t, 3, lan, nil, func(w *world) {
		var all sync.WaitGroup
		var stands []*stand
		names := []Election{{Name: "a", Scope: ScopeComponent}, {Name: "b", Scope: ScopeComponent}, {Name: "c", Scope: ScopeComponent}, {Name: "a", Scope: ScopeMajority}}
		for _, name := range names {
			for _, b := range w.boxes {
				stands = append(stands, b.stand(name))
			}
		}
		time.Sleep(10 * time.Second)
		for _, name := range names {
			leads := 0
			for _, b := range w.boxes {
				if b.leadsIn(name) {
					leads++
				}
			}
			want := 1
			if name.Scope == ScopeMajority {
				want = 0 // no voters were named
			}
			if leads != want {
				t.Errorf("%d nodes lead %v", leads, name)
			}
		}
		for _, s := range stands {
			s.cancel()
			all.Go(func() { <-s.done })
		}
		all.Wait()
	})
}
