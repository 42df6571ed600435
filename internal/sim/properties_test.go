package sim

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/replica/version"
)

// The oracle checks every property in every run; the tests below differ in
// what they do to the cluster.

func TestF1_03_DotsAreUnique(t *testing.T) {
	seeds(t, 200, func(w *World) {
		c := NewCluster(w, 3, 3, 1)
		c.distrust = w.Chance(0.2)
		run(c, Workload{Clients: 3, Keys: 1, Ops: 16, Blind: 0.6, Deletes: 0.1},
			Faults{Crash: 4, Reboot: 1, SlowDisk: 1, Cut: 1, Heal: 2, Damage: 3, Lose: 6, NewDisk: 1})
	})
}

func TestF1_04_ConvergedValuesEqualTheOracle(t *testing.T) {
	seeds(t, 150, func(w *World) {
		c := NewCluster(w, 4, 3, 2)
		run(c, Workload{Clients: 4, Keys: 2, Ops: 12, Blind: 0.3, Deletes: 0.2},
			Faults{Crash: 2, Cut: 2, Split: 3, Heal: 3, Skew: 1})
	})
}

func TestF1_05_NoAckedWriteLost(t *testing.T) { seeds(t, 250, everything) }

// All kinds of change to who belongs to the mesh, while clients write and
// delete and deletes are purged.
func TestF1_06_DeletedStaysDeleted(t *testing.T) { seeds(t, 200, func(w *World) { membership(w) }) }

// With -long, 5 000 seeds.
func TestLongMembership(t *testing.T) {
	var mu sync.Mutex
	all := map[string]int{}
	n := 0
	seeds(t, 50, func(w *World) {
		c := membership(w)
		mu.Lock()
		defer mu.Unlock()
		n++
		for what, times := range c.events {
			all[what] += times
		}
		all["round committed"] += c.oracle.commits
		all["tomb purged"] += c.purged
		all["record handed over"] += c.dropped
		if c.oracle.commits > 0 {
			all["run with a purge"]++
		}
	})
	t.Logf("%d runs: %v", n, all)
	// What is to be survived must happen, and often.
	for _, what := range []string{"write acked", "delete acked", "join", "leave", "evict", "disk lost", "old disk", "round committed", "tomb purged", "record handed over"} {
		if *seed == 0 && all[what] < n/10 {
			t.Errorf("%s: %d times in %d runs", what, all[what], n)
		}
	}
}

func membership(w *World) *Cluster {
	c := NewCluster(w, 3+w.Rand.IntN(3), 3, 2)
	c.Purge = 400 * time.Millisecond
	c.Heal = 2 * time.Second
	run(c, Workload{Clients: 4, Keys: 4, Ops: 14, Blind: 0.4, Deletes: 0.4, MinDur: 1 + w.Rand.IntN(2)}, Faults{
		Crash: 3, Reboot: 1, Cut: 1, Split: 1, Heal: 4, Skew: 1, SlowDisk: 1, Damage: 1, Lose: 1,
		NewDisk: 1, Join: 2, Leave: 1, Evict: 1, OldDisk: 1,
	})
	return c
}

// changing is membership without faults that make a store forget.
func changing(w *World) *Cluster {
	c := NewCluster(w, 3+w.Rand.IntN(3), 3, 2)
	c.Purge, c.Heal = 300*time.Millisecond, 2*time.Second
	run(c, Workload{Clients: 4, Keys: 4, Ops: 14, Blind: 0.4, Deletes: 0.5, MinDur: 1 + w.Rand.IntN(2)}, Faults{
		Crash: 3, Reboot: 1, Cut: 2, Split: 2, Heal: 5, SlowDisk: 1, Join: 2, Leave: 2, Evict: 1,
	})
	return c
}

// forgetful is a cluster whose logs of purges are short and get lost, and whose
// stores are rolled back and given up: many catch up, and some in vain.
func forgetful(w *World) *Cluster {
	c := NewCluster(w, 4+w.Rand.IntN(2), 3, 1)
	c.Purge, c.Heal = 200*time.Millisecond, 2*time.Second
	c.LogKept = 1 + w.Rand.IntN(3)
	run(c, Workload{Clients: 5, Keys: 6, Ops: 16, Blind: 0.4, Deletes: 0.5}, Faults{
		Crash: 2, Split: 2, Heal: 5, SlowDisk: 1, Join: 2, Leave: 1, Evict: 2, OldDisk: 4, LoseLog: 3,
	})
	return c
}

// Stores catch up from logs that are trimmed and lost meanwhile. When nobody's
// reaches back, what may have been purged is set aside. There are no more seeds
// with -long: in one run of some hundred two stores stand behind a round of which
// no log tells any more and which is not known to be committed. They wait for the
// operator (protocol A.7), for whom there is no model here.
func TestF1_06_ShortLogs(t *testing.T) {
	var mu sync.Mutex
	all := map[string]int{}
	n := 0
	someSeeds(t, 60, func(w *World) {
		c := forgetful(w)
		mu.Lock()
		defer mu.Unlock()
		n++
		for what, times := range c.events {
			all[what] += times
		}
	})
	t.Logf("%d runs: %v", n, all)
	for _, what := range []string{"log page", "log trimmed", "log lost", "unit set aside", "caught up in vain"} {
		if *seed == 0 && all[what] < n/20 {
			t.Errorf("%s: %d times in %d runs", what, all[what], n)
		}
	}
}

func TestF1_09_PurgedOnlyWhenAllHaveAcknowledged(t *testing.T) {
	var commits atomic.Int64
	seeds(t, 100, func(w *World) { commits.Add(int64(changing(w).oracle.commits)) })
	if commits.Load() == 0 {
		t.Fatal("nothing was purged")
	}
}

// The oracle fails a run in which a store takes in what was read before a round
// that it has acknowledged.
func TestF1_10_NothingOlderThanTheRound(t *testing.T) {
	seeds(t, 100, func(w *World) { changing(w) })
}

// The oracle fails a run in which a store lets go of what a home lacks.
func TestF1_15_NothingGoesBeforeAllHomesHaveIt(t *testing.T) {
	var dropped atomic.Int64
	seeds(t, 100, func(w *World) { dropped.Add(int64(changing(w).dropped)) })
	if dropped.Load() == 0 {
		t.Fatal("nothing was handed over")
	}
}

func TestF1_07_HomesAreEqualAfterAntiEntropy(t *testing.T) {
	var sketched atomic.Int64
	seeds(t, 80, func(w *World) {
		c := NewCluster(w, 5, 3, 3)
		run(c, Workload{Clients: 5, Keys: 12, Ops: 14, Blind: 0.5, Deletes: 0.1},
			Faults{Split: 4, Heal: 2, Lose: 4, Damage: 3, Crash: 1})
		sketched.Add(int64(c.sketched))
	})
	if sketched.Load() == 0 {
		t.Fatal("no sketch was compared")
	}
}

// Clients that each write what they read before keep at most one sibling each
// at every store, whatever the network does. A write that did not reach a
// quorum may be missed by its own client's next read, and stay beside it.
func TestF1_08_SiblingsAtMostWriters(t *testing.T) {
	const clients = 3
	seeds(t, 100, func(w *World) {
		c := NewCluster(w, 4, 3, 1)
		w.Net.Loss = 0.03
		c.Start()
		w.Run(4 * time.Second)
		writes, missed := 0, 0
		var turn func(own reconcile.Seen)
		turn = func(own reconcile.Seen) {
			s, _ := storeOn(w.Hosts[w.Rand.IntN(4)])
			s.readAndRepair("k", replicate.Quorum, false, func(r replicate.ReadResult) {
				if r.Err != nil {
					w.After(50*time.Millisecond, func() { turn(own) })
					return
				}
				seen := reconcile.Seen{Ctx: own.Ctx.Join(r.Item.Ctx), HLC: max(own.HLC, r.Item.HLC)}
				p := putRequest{Key: "k", Level: replicate.Quorum, Write: reconcile.Write{Seen: &seen, Value: []byte{1}}}
				s.coordinatePut(p, func(got putReply) {
					if got.Err != nil {
						w.Fail("%v", got.Err)
						return
					}
					if writes++; got.Result.Err != nil {
						missed++
					}
					w.After(w.Between(0, 300*time.Millisecond), func() { turn(got.Seen) })
				})
			})
		}
		for range clients {
			turn(reconcile.Seen{})
		}
		Faults{Cut: 2, Split: 2, Heal: 3, Skew: 1}.Go(c, 8*time.Second)
		for range 200 {
			w.Run(50 * time.Millisecond)
			for _, h := range w.Hosts {
				s, _ := storeOn(h)
				if n := len(s.record("k").Sibs); n > clients+missed {
					w.Fail("F1.8: host %d has %d siblings of %d writers", h.Index, n, clients)
				}
			}
		}
		if w.Err() == nil && writes < 2*clients {
			w.Fail("hardly anything was written")
		}
	})
}

// What two of three homes have acked is found by every read, although one of
// them loses or damages its record at any time.
func TestF1_11_DamageNeverHidesAValue(t *testing.T) {
	seeds(t, 150, func(w *World) {
		c := NewCluster(w, 3+w.Rand.IntN(2), 3, 1)
		c.Start()
		w.Run(5 * time.Second) // every home is in sync
		known := map[string]version.Dot{}
		misses := 0
		for i := range 12 {
			s, _ := storeOn(w.Hosts[w.Rand.IntN(len(w.Hosts))])
			key := fmt.Sprint("k", w.Rand.IntN(2))
			s.routePut(putRequest{Key: key, Level: replicate.Quorum, Write: reconcile.Write{Value: []byte{byte(i)}}}, func(r putReply) {
				if c.oracle.noteAck(r.Dot, r.Result); r.Result.Err == nil {
					known[key] = r.Dot
				}
			})
			w.Run(w.Between(0, 30*time.Millisecond))
			c.damageOne()
			w.Run(w.Between(0, 30*time.Millisecond))
			reader, _ := storeOn(w.Hosts[w.Rand.IntN(len(w.Hosts))])
			level := []replicate.Level{replicate.One, replicate.Quorum}[w.Rand.IntN(2)]
			want, ok := known[key]
			reader.readAndRepair(key, level, false, func(r replicate.ReadResult) {
				if !ok {
					return
				}
				if misses++; !r.Found() && r.Err == nil {
					w.Fail("F1.11: host %d reads %s as absent", reader.host.Index, key)
				}
				if level == replicate.Quorum && r.Err == nil && !r.Item.Ctx.Covers(want) {
					w.Fail("F1.11: host %d reads %s without %v", reader.host.Index, key, want)
				}
			})
			w.Run(w.Between(0, 400*time.Millisecond))
		}
		if c.Quiesce(); w.Err() == nil && misses == 0 {
			w.Fail("nothing was read")
		}
		c.oracle.Verify()
	})
}

// damageOne damages or loses one record at one home, if all other homes have
// what it says.
func (c *Cluster) damageOne() {
	h := c.World.Hosts[c.World.Rand.IntN(3)]
	for _, k := range h.Disk.Keys(keyRecord) {
		key, whole := k[len(keyRecord):], true
		s, _ := storeOn(h)
		for _, id := range c.placementOf(c.unitOf(key))[:c.Homes] {
			other, _ := storeOn(c.resolve(h, id))
			whole = whole && other.record(key).Dominates(s.record(key).Item) && len(other.host.Disk.pending) == 0
		}
		if whole {
			c.oracle.destroyedCopies[key]++
			if c.World.Chance(0.5) {
				h.Disk.Corrupt(k)
			} else {
				h.Disk.Lose(k)
			}
			return
		}
	}
}

// A put at a store whose own record is damaged replaces what the others have.
func TestF1_11_PutOverDamageReplaces(t *testing.T) {
	seeds(t, 30, func(w *World) {
		c := NewCluster(w, 3, 3, 1)
		c.Start()
		w.Run(5 * time.Second)
		var last version.Dot
		lead, _ := storeOn(w.Hosts[0])
		for i := range 3 {
			lead.routePut(putRequest{Key: "k", Level: replicate.Quorum, Write: reconcile.Write{Value: []byte{byte(i)}}}, func(r putReply) { last = r.Dot })
			w.Run(time.Duration(100+w.Rand.IntN(5)) * time.Millisecond)
			if i < 2 {
				w.Hosts[0].Disk.Corrupt(keyRecord + "k")
			}
		}
		c.Quiesce()
		if it := lead.record("k").Item; w.Err() == nil && (len(it.Sibs) != 1 || it.Sibs[0].Dot != last || last.N == 0) {
			w.Fail("after a put over a damaged record: %v", it)
		}
		c.oracle.Verify()
	})
}

func TestF1_12_LastWriteFollowsCausality(t *testing.T) {
	seeds(t, 120, func(w *World) {
		c := NewCluster(w, 3, 3, 1)
		for _, h := range w.Hosts {
			h.SetSkew(skews[w.Rand.IntN(len(skews))])
		}
		run(c, Workload{Clients: 4, Keys: 1, Ops: 14, Blind: 0.2, Deletes: 0.3},
			Faults{Skew: 6, Split: 1, Cut: 1, Heal: 2, Crash: 1})
	})
}

func TestF1_16_HintsAreDeliveredOrKept(t *testing.T) {
	seeds(t, 120, func(w *World) {
		c := NewCluster(w, 4+w.Rand.IntN(3), 3, 3)
		l := run(c, Workload{Clients: 5, Keys: 4, Ops: 12, Blind: 0.5, Deletes: 0.1, MinDur: 2},
			Faults{Crash: 4, Split: 3, Cut: 2, Heal: 2, SlowDisk: 2, NewDisk: 1})
		for _, h := range w.Hosts {
			for _, k := range h.Disk.Keys(keyRecord) {
				if v, err := h.Disk.Get(k); err == nil {
					if rec := v.(replicate.Record); rec.Idle() {
						w.Fail("F1.16: host %d keeps %s for no reason (%d acks)", h.Index, k, l.acked)
					}
				}
			}
		}
	})
}

// The oracle fails a run as soon as an unsynced dot leaves a store. Syncs are
// slow here, and readers many.
func TestF1_21_NothingUnsyncedIsShown(t *testing.T) {
	seeds(t, 120, func(w *World) {
		c := NewCluster(w, 3, 3, 1)
		for _, h := range w.Hosts {
			h.Disk.Sync = w.Between(0, 300*time.Millisecond)
		}
		run(c, Workload{Clients: 6, Keys: 1, Ops: 10, Blind: 0.2},
			Faults{SlowDisk: 3, Crash: 4, Cut: 1, Heal: 1})
	})
}

// Values end while clocks are set to any time, and cuts, crashes and purges go on. For
// good they end only where most clocks say so, homes are equal whoever has written that
// down, and in the end no bytes of them are left.
func TestF1_30_EndedByMostClocks(t *testing.T) {
	var mu sync.Mutex
	lapsed, purged := 0, 0
	seeds(t, 150, func(w *World) {
		c := NewCluster(w, 3+w.Rand.IntN(3), 3, 2)
		c.Lapse, c.Steady, c.MaxSkew = 500*time.Millisecond, 700*time.Millisecond, time.Second
		if w.Chance(0.5) {
			c.Purge = 400 * time.Millisecond
		}
		run(c, Workload{Clients: 4, Keys: 6, Ops: 14, Blind: 0.5, Deletes: 0.1, Expires: 0.6},
			Faults{Crash: 2, Cut: 1, Split: 2, Heal: 3, Clocks: 4, SlowDisk: 1, Damage: 1, Join: 1})
		for _, h := range w.Hosts {
			h.SetSkew(0)
		}
		w.Run(12 * time.Second)
		c.Quiesce()
		c.oracle.Verify()
		c.oracle.checkEnded()
		mu.Lock()
		defer mu.Unlock()
		lapsed += c.events["value lapsed"]
		purged += c.purged
	})
	if *seed == 0 && (lapsed < 500 || purged < 100) {
		t.Errorf("%d values have ended, %d tombs were purged", lapsed, purged)
	}
}
