package partition

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/partition/token"
)

// candidates returns what a box shows of who stands for an election.
func (b *box) candidates(name Election) []Candidate {
	for _, l := range b.part.Status().Elections {
		if l.Election == name {
			return l.Candidates
		}
	}
	return nil
}

func (b *box) prefer(name Election, preference uint32) {
	b.w.t.Helper()
	if err := b.part.Prefer(name, preference); err != nil {
		b.w.t.Error(err)
	}
}

// showsCandidates waits until all boxes show the same candidates.
func (w *world) showsCandidates(name Election, want map[*box]uint32) {
	w.t.Helper()
	var all []Candidate
	for b, preference := range want {
		all = append(all, Candidate{Node: b.node.ID(), Preference: preference})
	}
	slices.SortFunc(all, func(a, b Candidate) int { return cmp.Compare(a.Node, b.Node) })
	w.until(time.Second, "all know who stands", func() bool {
		return !slices.ContainsFunc(w.boxes, func(b *box) bool { return !slices.Equal(b.candidates(name), all) })
	})
}

// Who is preferred leads, one that is preferred more later on is handed the lead after Hold, and when it is lost the next one leads. All see that at once, whether it was said
// before Lead or after.
func TestPreferredLeads(t *testing.T) {
	t.Parallel()
	inWorld(t, 3, lan, nil, func(w *world) {
		a, b, c := w.boxes[0], w.boxes[1], w.boxes[2]
		a.prefer(job, 1<<31)
		_, of := w.stands(job)
		defer w.sendHome(of)
		defer w.oneAtATime()
		heard := b.part.WatchStanding(w.t.Context())
		<-heard // at once
		b.prefer(job, 7)
		for stands := false; !stands; {
			<-heard
			_, candidates := b.part.Standing(job)
			stands = slices.Contains(candidates, token.Candidate{Node: b.node.ID(), Preference: 7})
		}
		w.until(lan.pace.Hold+time.Second, "the preferred one works", func() bool { return of[a].works.Load() > 0 })
		w.showsCandidates(job, map[*box]uint32{a: 1 << 31, b: 7, c: 0})
		for i := range uint32(8) { // each is told for itself: one may be told by chance
			c.prefer(job, 1<<31+1+i)
			w.showsCandidates(job, map[*box]uint32{a: 1 << 31, b: 7, c: 1<<31 + 1 + i})
		}
		took := w.until(lan.pace.Hold+time.Second, "the preferred one works", func() bool { return of[c].works.Load() > 0 })
		w.until(time.Second, "another sees who leads", func() bool {
			leader, _ := b.part.Standing(job)
			return leader.Node == c.node.ID()
		})
		if took < lan.pace.Hold-time.Second {
			t.Errorf("it was handed the lead after %v", took)
		}
		c.kill()
		of[c].cancel()
		w.until(3*time.Second, "the next one works", func() bool { return of[a].works.Load() > 0 })
		a.prefer(job, 0)
		w.until(2*lan.pace.Hold, "the last one works", func() bool { return of[b].works.Load() > 0 })
	})
}

// A lead is handed over by hand at once, when its work has ended, to whom it is said.
func TestHandOverByHand(t *testing.T) {
	t.Parallel()
	inWorld(t, 5, lan, nil, func(w *world) {
		leader, of := w.stands(job)
		defer w.sendHome(of)
		defer w.oneAtATime()
		time.Sleep(lan.pace.Settle + 2*lan.pace.Lease)
		if leader.part.HandedOver(job) {
			t.Error("the first leader has it by a hand-over")
		}
		of[leader].slow = 150 * time.Millisecond
		for _, next := range w.without(leader) {
			if err := next.part.HandOver(job, leader.node.ID()); !errors.Is(err, ErrNotLeader) {
				t.Errorf("by one that does not lead: %v", err)
			}
			begin, old := time.Now(), leader.token(job)
			if err := leader.part.HandOver(job, next.node.ID()); err != nil {
				t.Fatal(err)
			}
			if err := leader.part.HandOver(job, 0); !errors.Is(err, ErrNotLeader) {
				t.Errorf("while its work ends: %v", err)
			}
			w.until(500*time.Millisecond, "the nominee works", func() bool { return of[next].works.Load() > 0 })
			if now := *of[next].token.Load(); !old.Less(now) {
				t.Errorf("the token was %v and is %v", old, now)
			}
			if !next.part.HandedOver(job) || leader.part.HandedOver(job) {
				t.Error("it is not known who has it by a hand-over")
			}
			t.Logf("taken over after %v", time.Since(begin))
			if !leader.standsFor(job) {
				t.Error("who has handed over does not stand any more")
			}
			leader = next
			time.Sleep(time.Second)
		}
		if err := leader.part.HandOver(job, 0); err != nil {
			t.Error(err)
		}
		w.until(time.Second, "its work has ended", func() bool { return of[leader].works.Load() == 0 })
		w.atWork(of, 500*time.Millisecond)
	})
}

// A lead that is let lapse ends its work at once, and nobody leads before its lease has ended
// by itself; then somebody does.
func TestLeadIsLetLapse(t *testing.T) {
	t.Parallel()
	inWorld(t, 5, lan, nil, func(w *world) {
		leader, of := w.stands(job)
		defer w.sendHome(of)
		time.Sleep(lan.pace.Settle + 2*lan.pace.Lease)
		if err := w.without(leader)[0].part.LetLapse(job); !errors.Is(err, ErrNotLeader) {
			t.Errorf("by one that does not lead: %v", err)
		}
		old, left, err := leader.part.Lease(job)
		if err != nil || old != leader.token(job) || left <= lan.pace.Renew || left > lan.pace.Lease-lan.pace.Guard {
			t.Errorf("a lease of %v with %v: %v", left, old, err)
		}
		begin := time.Now()
		if err := leader.part.LetLapse(job); err != nil {
			t.Fatal(err)
		}
		w.until(100*time.Millisecond, "its work has ended", func() bool { return of[leader].works.Load() == 0 })
		for time.Since(begin) < left-time.Millisecond {
			if w.working.Load() > 0 {
				t.Fatalf("one works after %v, under a lease of %v", time.Since(begin), left)
			}
			if got, rest, err := leader.part.Lease(job); err != nil || got != old || rest < left-time.Since(begin) {
				t.Fatalf("after %v of %v: %v left with %v, %v", time.Since(begin), left, rest, got, err)
			}
			time.Sleep(5 * time.Millisecond)
		}
		w.atWork(of, lan.pace.Guard+time.Second)
		if !leader.standsFor(job) {
			t.Error("who let its lead lapse does not stand any more")
		}
		if _, left, err := leader.part.Lease(Election{Name: "other"}); left != 0 || !errors.Is(err, ErrNotLeader) {
			t.Errorf("what it does not lead: %v left, %v", left, err)
		}
	})
}

// Work that cannot be stopped lets its lead lapse when it is told to end, also when that is
// because the Partition closes: nothing is given back.
func TestLapseWhileClosing(t *testing.T) {
	t.Parallel()
	inWorld(t, 3, lan, nil, func(w *world) {
		b, began := w.boxes[0], make(chan struct{})
		b.prefer(job, 1)
		done := make(chan struct{})
		var left time.Duration
		go func() {
			defer close(done)
			_ = b.part.Lead(context.Background(), job, func(ctx context.Context, _ token.Token) {
				close(began)
				<-ctx.Done()
				if err := b.part.LetLapse(job); err != nil {
					t.Error(err)
				}
				_, left, _ = b.part.Lease(job)
			})
		}()
		<-began
		time.Sleep(lan.pace.Settle + 2*lan.pace.Lease)
		other := w.boxes[1].stand(job)
		defer w.sendHome(map[*box]*stand{w.boxes[1]: other})
		time.Sleep(time.Second)
		begin := time.Now()
		if err := b.part.Close(); err != nil {
			t.Error(err)
		}
		<-done
		if took := time.Since(begin); took > 1100*time.Millisecond || left <= lan.pace.Renew {
			t.Errorf("it is closed after %v, %v of the lease were left", took, left)
		}
		took := w.until(5*time.Second, "another works", func() bool { return other.works.Load() > 0 })
		if after := time.Since(begin); after < left {
			t.Errorf("another works after %v (%v since then), under a lease of %v", after, took, left)
		}
	})
}
