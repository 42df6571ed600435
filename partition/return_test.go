package partition

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// A node that comes and goes leads itself whenever it is alone, with ever higher
// tokens. The work of all the others goes on all the same, and what both have acted
// upon, with the higher tokens seen, takes the others' again.
func TestReturnOfOneCostsTheOthersNothing(t *testing.T) {
	t.Parallel()
	for name, pr := range map[string]profile{"LAN": lan, "WAN": wan} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, 5, pr, nil, func(w *world) { returns(w, pr) })
		})
	}
}

func returns(w *world, pr profile) {
	t := w.t
	_, of := w.stands(job)
	defer w.sendHome(of)
	time.Sleep(pr.pace.Settle + 2*pr.pace.Lease)
	leader := w.atWork(of, time.Second)
	first := *of[leader].token.Load()
	began := leader.election(job).firstTerm()
	alone := w.boxes[0]
	if leader == alone {
		alone = w.boxes[1]
	}
	rest := w.without(alone)
	var resource Fence
	admit := func(b *box) {
		t.Helper()
		tok, err := b.part.Token(job)
		if err == nil {
			err = resource.Admit(tok)
		}
		if err != nil {
			w.dump()
			t.Fatalf("%s: %v", b.mesh.Name, err)
		}
	}
	outdone := 0
	for range 5 {
		w.net.Partition(w.addrs(alone), w.addrs(rest...))
		w.until(2*time.Minute, "the one alone leads", func() bool { return alone.leadsIn(job) })
		admit(leader)
		if _, err := rest[0].part.Token(job); rest[0] != leader && !errors.Is(err, ErrNotLeader) {
			t.Errorf("the token of one that does not lead: %v", err)
		}
		time.Sleep(pr.pace.Settle + 2*pr.pace.Lease)
		if leader.token(job).Less(alone.token(job)) {
			outdone++
		}
		admit(alone)
		w.net.HealAll()
		w.until(2*time.Minute, "the one that was alone leads no more", func() bool {
			for _, b := range rest {
				if l := b.leadership(job); l.Token.Node != leader.node.ID() || l.Here != (b == leader) {
					t.Fatalf("%s says that %+v leads, not %s", b.mesh.Name, l, leader.mesh.Name)
				}
			}
			return w.whole() && !alone.leadsIn(job)
		})
		admit(leader)
		time.Sleep(pr.pace.Settle + 2*pr.pace.Lease)
		admit(leader)
		if e := leader.election(job); !leader.leadsIn(job) || e.firstTerm() != began || of[leader].works.Load() != 1 || *of[leader].token.Load() != first {
			w.dump()
			t.Fatalf("the work of %s has not gone on", leader.mesh.Name)
		}
	}
	if outdone < 2 {
		t.Errorf("the one alone had the higher token only %d times", outdone)
	}
	if err := resource.Admit(first); !errors.Is(err, ErrFenced) {
		t.Errorf("the token that the work began with: %v", err)
	}
	if err := leader.part.Check(job, first); err != nil {
		t.Errorf("by the leader's own lease: %v", err)
	}
}

// leadership is what a box says of an election.
func (b *box) leadership(name Election) Leadership {
	all := b.part.Status().Elections
	return all[slices.IndexFunc(all, func(l Leadership) bool { return l.Election == name })]
}

// A node names whom it has granted among those who claim to lead, for as long as the
// grant holds, and then the one with the highest token.
func TestNamesTheLeaderThatItFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newElections(&ground{id: 1, cfg: Config{clock: clock.Simulated(0)}}, nil)
		s := &scene{self: 1, within: map[view.NodeID]bool{1: true, 2: true, 3: true, 4: true}, notices: map[view.NodeID]heardNotice{}}
		claims := func(id view.NodeID, term uint64) {
			s.view.Members = append(s.view.Members, view.Member{ID: id})
			s.notices[id] = heardNotice{Notice: wire.Notice{Node: id, Leads: []wire.Claim{{Election: toWire(job), Term: term}}}}
		}
		claims(2, 9)
		claims(3, 5)
		claims(4, 6)
		names := func(want token.Token) {
			t.Helper()
			if l := all.leadership(s, job); l.Token != want || l.Here || l.Election != job {
				t.Errorf("%+v, want %v", l, want)
			}
		}
		names(token.Token{Term: 9, Node: 2})
		e := &election{of: all, name: job, holder: token.Token{Term: 4, Node: 3}}
		e.grantEnds = e.bootTime() + 2*time.Second
		all.byName[job] = e
		time.Sleep(2*time.Second - 1)
		names(token.Token{Term: 5, Node: 3})
		time.Sleep(time.Nanosecond)
		names(token.Token{Term: 9, Node: 2})
	})
}
