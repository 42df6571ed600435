package partition

import (
	"errors"
	"testing"
	"time"
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
	leader, of := w.stands(job)
	defer w.sendHome(of)
	time.Sleep(pr.pace.Settle + 2*pr.pace.Lease)
	leader = w.atWork(of, time.Second)
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
		w.until(2*time.Minute, "the one that was alone leads no more", func() bool { return w.whole() && !alone.leadsIn(job) })
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
