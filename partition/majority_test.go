package partition

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/skeinmesh/skein/partition/token"
)

// reigns notes the tokens with which anybody leads an election of majority scope,
// and that no two do at once.
type reigns struct {
	tokens []token.Token
	faults []string
	halt   chan struct{}
	all    sync.WaitGroup
}

func (w *world) reigns(name Election) *reigns {
	r := &reigns{halt: make(chan struct{})}
	r.all.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-r.halt:
				return
			case <-tick.C:
				r.look(w, name)
			}
		}
	})
	return r
}

func (r *reigns) look(w *world, name Election) {
	var now []token.Token
	for _, b := range w.boxes {
		if t := b.token(name); !t.IsZero() {
			now = append(now, t)
		}
	}
	if len(now) > 1 {
		r.faults = append(r.faults, fmt.Sprintf("%v lead at once", now))
	}
	for _, t := range now {
		if n := len(r.tokens); n == 0 || r.tokens[n-1] != t {
			if n > 0 && !r.tokens[n-1].Less(t) {
				r.faults = append(r.faults, fmt.Sprintf("%v leads after %v", t, r.tokens[n-1]))
			}
			r.tokens = append(r.tokens, t)
		}
	}
}

func (r *reigns) end(t *testing.T) {
	t.Helper()
	close(r.halt)
	r.all.Wait()
	for _, f := range r.faults[:min(len(r.faults), 10)] {
		t.Error(f)
	}
}

// byMajority has all elect the leader by majority of some voters.
func byMajority(voters ...string) func(int, *Config) {
	return func(_ int, c *Config) { c.Scope, c.Voters = ScopeMajority, voters }
}

var fiveVoters = []string{"node-0", "node-1", "node-2", "node-3", "node-4"}

// Of a mesh that is cut, 20 times, only the side with most of the voters has a
// leader, and each leader has a higher token than the one before.
func TestMajorityLeads(t *testing.T) {
	t.Parallel()
	inWorld(t, 5, lan, byMajority(fiveVoters...), func(w *world) {
		r := w.reigns(w.boxes[0].part.leaderOf())
		const seed = 6
		rng := rand.New(rand.NewPCG(seed, 0))
		moved := 0
		for range 20 {
			before := w.agreed(w.boxes...)
			mixed := slices.Clone(w.boxes)
			rng.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
			most, rest := mixed[:3], mixed[3:]
			w.net.Partition(w.addrs(most...), w.addrs(rest...))
			time.Sleep(lan.pace.Lease + time.Second)
			for range 300 {
				if slices.ContainsFunc(rest, (*box).leads) || !slices.ContainsFunc(most, (*box).leads) {
					w.dump()
					t.Fatalf("in a cut with %s, %s and %s on one side, others lead or none of them", most[0].mesh.Name, most[1].mesh.Name, most[2].mesh.Name)
				}
				time.Sleep(100 * time.Millisecond)
			}
			if w.agreed(most...) != before {
				moved++
			}
			w.until(time.Second, "no leader is shown where there is none", func() bool {
				return !slices.ContainsFunc(rest, func(b *box) bool { return !b.part.Status().Leader.Token.IsZero() })
			})
			w.net.HealAll()
			w.until(time.Minute, "all see all again", w.whole)
			w.leader(3*time.Second, w.boxes...)
			time.Sleep(lan.pace.Settle + time.Duration(rng.Int64N(int64(5*time.Second))))
		}
		r.end(t)
		t.Logf("of 20 cuts %d changed the leader; %d tokens", moved, len(r.tokens))
		if moved == 0 || len(r.tokens) <= moved {
			t.Error("no cut has changed the leader")
		}
	})
}

// It is voters that count, not nodes: with two of three voters the smaller side
// leads.
func TestFewNodesWithMostVotersLead(t *testing.T) {
	t.Parallel()
	inWorld(t, 5, lan, byMajority("node-0", "node-1", "node-2"), func(w *world) {
		few, many := w.boxes[:2], w.boxes[2:]
		w.net.Partition(w.addrs(few...), w.addrs(many...))
		time.Sleep(lan.pace.Lease)
		w.leader(10*time.Second, few...)
		for range 300 {
			if slices.ContainsFunc(many, (*box).leads) || !slices.ContainsFunc(few, (*box).leads) {
				w.dump()
				t.Fatal("the side with most nodes leads, or none does")
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}

// The voters outlive restarts of all nodes, though nobody names them any more, and
// a voter that was started again votes.
func TestVotersAreKept(t *testing.T) {
	t.Parallel()
	restarted := false
	named := byMajority(fiveVoters...)
	config := func(i int, c *Config) {
		named(i, c)
		if restarted || i != 0 {
			c.Voters = nil // it spreads from one
		}
	}
	inWorld(t, 5, lan, config, func(w *world) {
		voters := w.ids(w.boxes...)
		know := func() bool {
			return !slices.ContainsFunc(w.boxes, func(b *box) bool { return !slices.Equal(b.part.Status().Voters, voters) })
		}
		w.until(time.Minute, "all know the voters", know)
		before := w.agreed(w.boxes...).token(w.boxes[0].part.leaderOf())
		restarted = true
		for _, b := range w.boxes {
			b.kill()
		}
		for _, b := range w.boxes {
			b.start()
			if got := b.part.voters.knownVoters().IDs; !slices.Equal(got, voters) {
				t.Fatalf("the voters are %v after a restart, not %v", got, voters)
			}
		}
		w.until(time.Minute, "all see all again", w.whole)
		leader := w.leader(20*time.Second, w.boxes...)
		if after := leader.token(leader.part.leaderOf()); !before.Less(after) {
			t.Errorf("after all nodes were started again the token is %v, before it was %v", after, before)
		}

		// Three of five are a majority only if the one that was restarted votes.
		others := w.without(leader)
		others[0].kill()
		time.Sleep(5 * time.Second)
		others[0].start()
		w.until(time.Minute, "it is back", w.whole)
		time.Sleep(lan.pace.Settle + lan.pace.Lease)
		w.net.Partition(w.addrs(leader, others[3]), w.addrs(others[:3]...))
		time.Sleep(lan.pace.Lease)
		w.leader(10*time.Second, others[:3]...)
	})
}

// Two gateways and a witness that stores nothing make three voters: with one gateway lost
// the other leads, and the witness alone makes nobody a leader.
func TestWitnessVotes(t *testing.T) {
	t.Parallel()
	plc := Election{Name: "plc", Scope: ScopeMajority}
	named := func(_ int, c *Config) { c.Voters = []string{"node-0", "node-1", "node-2"} }
	dir := t.TempDir()
	inWorld(t, 2, lan, named, func(w *world) {
		witness := w.add(dir, lan, func(c *Config) { named(2, c) })
		witness.mesh.Storing = false
		witness.start()
		w.until(time.Minute, "all see all", w.whole)
		of := map[*box]*stand{}
		for _, b := range w.boxes[:2] {
			of[b] = b.stand(plc)
		}
		defer w.sendHome(of)
		works := func(b *box) bool { return of[b].works.Load() > 0 }
		first, second := w.boxes[0], w.boxes[1]
		w.until(10*time.Second, "a gateway works", func() bool { return works(first) || works(second) })
		if works(second) {
			first, second = second, first
		}
		w.net.Silence(first.addr)
		w.until(lan.pace.Lease+time.Second, "the other one works, with the witness", func() bool { return works(second) })
		w.net.Silence(witness.addr)
		w.until(lan.pace.Lease, "alone it does not", func() bool { return !works(second) })
		time.Sleep(time.Minute)
		if works(first) || works(second) {
			t.Error("one works without another voter")
		}
		w.net.Restore(first.addr)
		w.net.Restore(witness.addr)
		w.until(2*time.Minute, "one works again", func() bool { return works(first) || works(second) })
		w.oneAtATime()
	})
}
