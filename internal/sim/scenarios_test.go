package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/replica/version"
)

// writes puts a value and returns the reply, which is filled in later.
func (c *Cluster) write(h *Host, key, value string, level replicate.Level) *putReply {
	out := &putReply{}
	if s, ok := storeOn(h); ok {
		s.routePut(putRequest{Key: key, Write: reconcile.Write{Value: []byte(value)}, Level: level}, func(r putReply) {
			if *out = r; r.Err == nil {
				c.oracle.noteAck(r.Dot, r.Result)
			}
		})
	}
	return out
}

// values lists what is live of a key on a host.
func values(h *Host, key string) (out []string) {
	if s, ok := storeOn(h); ok {
		for _, v := range reconcile.Live(s.record(key).Item, h.Wall()) {
			out = append(out, string(v.Value))
		}
	}
	return out
}

// A writes (a,1), (a,2); B has both, C only the first. A loses the record,
// takes C's item and coordinates a write. B must not take it for (a,2).
func TestF2_02_AmnesiacCoordinator(t *testing.T) {
	a := reconcile.Open(reconcile.Start{Store: 1, Random: 1, TrustDisk: true})
	b := reconcile.Open(reconcile.Start{Store: 2, Random: 2, TrustDisk: true})
	put := func(l reconcile.Local, v string) reconcile.Local {
		out, err := a.Put(l, reconcile.Write{Value: []byte(v)}, Epoch)
		if err != nil {
			t.Fatal(err)
		}
		return out.Local
	}
	absorb := func(w *reconcile.Writer, l reconcile.Local, it version.Item) reconcile.Local {
		out, err := w.Absorb(l, it, Epoch)
		if err != nil {
			t.Fatal(err)
		}
		return out.Local
	}
	first := put(reconcile.Local{}, "1")
	second := put(first, "2")
	atB := absorb(&b, reconcile.Local{}, second.Item)
	again := put(absorb(&a, reconcile.Local{}, first.Item), "3")
	atB = absorb(&b, atB, again.Item)
	got := map[string]bool{}
	for _, s := range atB.Sibs {
		got[string(s.Value)] = true
	}
	if !got["3"] || !got["2"] {
		t.Fatalf("B holds %v; the acked write of the amnesiac store is gone", atB.Sibs)
	}
}

// The coordinator crashes at every moment around the sync of its write, and
// starts again without it.
func TestF2_03_CrashBetweenSyncs(t *testing.T) {
	seeds(t, 200, func(w *World) {
		c := NewCluster(w, 3, 3, 1)
		c.Start()
		a := w.Hosts[0]
		a.Disk.Sync = 5 * time.Millisecond
		c.write(a, "k", "0", replicate.Quorum)
		w.Run(100 * time.Millisecond)
		for i := range 4 {
			c.write(a, "k", fmt.Sprint("lost ", i), replicate.One)
			w.Run(w.Between(0, 14*time.Millisecond))
			a.Crash()
			w.Run(w.Between(0, 5*time.Millisecond))
			a.Start()
			c.write(a, "k", fmt.Sprint("next ", i), replicate.One)
			w.Run(w.Between(0, 30*time.Millisecond))
		}
		c.Quiesce()
		c.oracle.Verify()
	})
}

// A store dies with its disk and comes back empty under its old name. It is a
// new store: what only the others have is not called absent on its word.
func TestF2_04_NewDiskOldName(t *testing.T) {
	seeds(t, 100, func(w *World) {
		c := NewCluster(w, 3, 3, 1)
		c.Start()
		w.Run(5 * time.Second)
		x, y, z := w.Hosts[0], w.Hosts[1], w.Hosts[2]
		z.Crash()
		w.Run(time.Second)
		done := c.write(x, "k", "v", replicate.Quorum)
		w.Run(time.Second)
		if done.Dot.N == 0 || done.Result.Homes != 2 {
			w.Fail("write with one home down: %+v", done)
			return
		}
		old := c.members[0]
		c.oracle.destroyedCopies["k"]++
		x.Crash()
		x.Disk.Restore(nil)
		y.Crash()
		x.Start()
		z.Start()
		w.Run(time.Second)
		if c.members[0] == old {
			w.Fail("an empty disk was given the identity of the lost one")
		}
		asked := 0
		for _, h := range []*Host{x, z} {
			s, _ := storeOn(h)
			s.readAndRepair("k", replicate.Quorum, false, func(r replicate.ReadResult) {
				if asked++; !r.Found() && r.Err == nil {
					w.Fail("host %d: an empty store and one that was away vouch that the value is absent", h.Index)
				}
			})
		}
		w.Run(5 * time.Second)
		y.Start()
		c.Quiesce()
		c.oracle.Verify()
		if got := values(x, "k"); w.Err() == nil && (len(got) != 1 || got[0] != "v" || asked != 2) {
			w.Fail("the new store holds %v after %d reads", got, asked)
		}
	})
}

// One gateway boots in 1970, another in 2106.
func TestF2_06_RolledBackClock(t *testing.T) {
	seeds(t, 40, func(w *World) {
		c := NewCluster(w, 4, 3, 4)
		right := w.Hosts[:2]
		w.Hosts[2].SetSkew(skews[len(skews)-2])
		w.Hosts[3].SetSkew(skews[len(skews)-1])
		c.Start()
		s, _ := storeOn(right[0])
		s.coordinatePut(putRequest{Key: "ttl", Level: replicate.Sloppy(3), Write: reconcile.Write{Value: []byte("short"), TTL: 3_600_000}}, func(r putReply) {
			c.oracle.noteAck(r.Dot, r.Result)
		})
		w.Run(time.Second)
		w.Net.Split(func(h *Host) bool { return h.Index < 2 })
		w.Run(2 * time.Second)
		const keys = 6
		for i := range 2 * keys {
			for _, h := range w.Hosts {
				hs, _ := storeOn(h)
				hs.coordinatePut(putRequest{Key: fmt.Sprint("k", i%keys), Level: replicate.One, Write: reconcile.Write{Value: fmt.Append(nil, i, h.Index)}}, func(putReply) {})
			}
			w.Run(time.Second)
		}
		w.Net.Heal()
		w.Run(10 * time.Second)
		// A write by a right clock over what 2106 has written still counts.
		for i := range keys {
			c.write(right[0], fmt.Sprint("k", i), "after", replicate.Quorum)
		}
		w.Run(10 * time.Second)
		for _, h := range right {
			hs, _ := storeOn(h)
			if clock := hs.writer.Clock(); clock.Now(h.Wall()) > h.Wall().Add(reconcile.DefaultMaxSkew) {
				w.Fail("host %d: a wrong date has moved the clock to %d", h.Index, clock.Now(h.Wall()).Millis())
			}
			for i := range keys {
				it := hs.record(fmt.Sprint("k", i)).Item
				if sib, ok := reconcile.Last(it, h.Wall()); !it.Unknown() && (!ok || string(sib.Value) != "after") {
					w.Fail("host %d: the last write of k%d is %v", h.Index, i, sib)
				}
			}
		}
		w.Hosts[2].SetSkew(0)
		w.Hosts[3].SetSkew(0)
		c.Quiesce()
		c.oracle.Verify()
		shown := 0
		for _, h := range w.Hosts {
			shown += len(values(h, "ttl"))
		}
		if w.Err() == nil && shown != c.Homes {
			w.Fail("clocks put right, %d homes show the item with a time to live", shown)
		}
	})
}

// All gateways are off for a month and then started one a minute. Each serves
// from its first second; nothing is dropped on the way.
func TestF2_07_MonthInTheDark(t *testing.T) {
	seeds(t, 3, func(w *World) {
		const stores = 20
		c := NewCluster(w, stores, 3, 7)
		c.Pace = 8
		c.Start()
		load := Workload{Clients: 6, Keys: 20, Ops: 8, Blind: 0.7, MinDur: 2}
		load.Go(c)
		w.Run(3 * time.Second)
		for _, h := range w.Hosts {
			h.Reboot()
		}
		w.Run(30 * 24 * time.Hour)
		served := 0
		for _, i := range w.Rand.Perm(stores) {
			h := w.Hosts[i]
			before := len(h.Disk.Keys(keyRecord))
			h.Start()
			put := c.write(h, fmt.Sprint("dawn", i), "here", replicate.One)
			read := false
			s, _ := storeOn(h)
			s.readAndRepair(fmt.Sprint("dawn", i), replicate.One, false, func(r replicate.ReadResult) { read = true })
			w.Run(10 * time.Second)
			if put.Dot.N == 0 || !read {
				w.Fail("host %d of the dark cluster does not serve: %+v, read %v", i, *put, read)
				return
			}
			served++
			if after := len(h.Disk.Keys(keyRecord)); after < before && served == 1 {
				w.Fail("host %d, alone, dropped %d of %d records", i, before-after, before)
			}
			w.Run(50 * time.Second)
		}
		c.Quiesce()
		c.oracle.Verify()
	})
}

// A disk image is booted on a second machine on the other side of a cut. Both
// copies write. They run in different sessions, because a session ends when
// the machine changes, so no dot is given out twice. Once they are in contact
// at least one is refused under the shared name, and goes on as a new store
// with all its data.
func TestF2_13_CloneOnAnotherMachine(t *testing.T) {
	seeds(t, 100, func(w *World) {
		c := NewCluster(w, 4, 3, 1)
		cloned(c, w, w.AddHost(c.startStore))
		c.oracle.Verify()
	})
}

// The same without any sign of it: a virtual machine resumed twice from one
// snapshot. The two copies share a session and give out the same dots; nobody
// can tell before they meet. What is promised then: writes that had not been
// replicated under a shared dot are written again as new dots, so both copies'
// own writes are there afterwards.
func TestF2_13_CloneOfARunningMachine(t *testing.T) {
	seeds(t, 100, func(w *World) {
		c := NewCluster(w, 4, 3, 1)
		c.oracle.cloned = true
		twin := w.AddHost(c.startStore)
		twin.Machine = w.Hosts[0].Machine
		cloned(c, w, twin)
	})
}

// cloned boots a copy of host 0 on the twin, behind a cut, with nobody else
// there, so that neither copy's later writes are replicated.
func cloned(c *Cluster, w *World, twin *Host) {
	a := w.Hosts[0]
	for _, h := range w.Hosts[:4] {
		h.Start()
	}
	w.Run(3 * time.Second)
	for i := range 3 {
		c.write(a, fmt.Sprint("k", i), "before", replicate.Sloppy(3))
	}
	w.Run(2 * time.Second)
	a.Crash()
	twin.Disk.Restore(a.Disk.Image())
	w.Net.Split(func(h *Host) bool { return h == a || h == twin })
	w.Net.Cut(a, twin)
	w.Net.Cut(twin, a)
	a.Start()
	twin.Start()
	w.Run(2 * time.Second)
	name := c.members[0]
	for i := range 4 {
		for _, h := range []*Host{a, twin} {
			r := c.write(h, fmt.Sprint("k", i), fmt.Sprintf("%d by %d", i, h.Index), replicate.One)
			w.Run(w.Between(2*time.Second, 3*time.Second))
			if r.Dot.N == 0 {
				w.Fail("host %d does not serve alone: %+v", h.Index, *r)
				return
			}
		}
	}
	c.Quiesce()
	if w.Err() != nil {
		return
	}
	first, _ := storeOn(a)
	second, _ := storeOn(twin)
	if first.self.ID == second.self.ID || first.self.ID != name && second.self.ID != name && c.members[0] == name {
		w.Fail("stores %v and %v, which were %v", first.self.ID, second.self.ID, name)
	}
	for i := range 4 {
		got := map[string]bool{}
		home := c.resolve(a, c.homesOf(fmt.Sprint("k", i))[0])
		for _, v := range values(home, fmt.Sprint("k", i)) {
			got[v] = true
		}
		for _, h := range []*Host{a, twin} {
			if v := fmt.Sprintf("%d by %d", i, h.Index); !got[v] {
				w.Fail("k%d: %q is gone, there is %v", i, v, got)
			}
		}
	}
}

// A disk is rolled back to an older image and the store started alone.
func TestF2_13_RolledBackDisk(t *testing.T) {
	seeds(t, 100, func(w *World) {
		c := NewCluster(w, 4, 3, 1)
		c.Start()
		w.Run(3 * time.Second)
		a := w.Hosts[0]
		c.write(a, "k", "1", replicate.Sloppy(3))
		w.Run(time.Second)
		image := a.Disk.Image()
		a.Crash()
		a.Start()
		for i := range 3 {
			c.write(a, "k", fmt.Sprint(i+2), replicate.Sloppy(3))
			w.Run(time.Second)
		}
		c.oracle.destroyedCopies["k"]++
		a.Reboot()
		a.Disk.Restore(image)
		w.Net.Split(func(h *Host) bool { return h == a })
		a.Start()
		w.Run(2 * time.Second)
		alone := c.write(a, "k", "alone", replicate.One)
		w.Run(3 * time.Second)
		old := c.members[0]
		c.Quiesce()
		c.oracle.Verify()
		if w.Err() == nil && (c.members[0] == old || alone.Dot.N == 0) {
			w.Fail("the store goes on under the name of its future: %v", alone)
		}
	})
}
