package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
)

// remove deletes a key at a host.
func (c *Cluster) remove(h *Host, key string) {
	if s, ok := storeOn(h); ok {
		s.routePut(putRequest{Key: key, Write: reconcile.Write{Tomb: true}, Level: replicate.Quorum}, func(r putReply) {
			if r.Err == nil && !r.Nothing {
				c.oracle.noteAck(r.Dot, r.Result)
			}
		})
	}
}

// purgeAll lets every store try to purge until all tombs are gone.
func (c *Cluster) purgeAll() (gone bool) {
	for range 60 {
		for _, h := range c.World.Hosts {
			if s, ok := storeOn(h); ok {
				s.purgeUnit()
			}
		}
		c.World.Run(200 * time.Millisecond)
		left := 0
		for _, h := range c.World.Hosts {
			left += len(h.Disk.Keys(keyRecord))
		}
		if left == 0 {
			return true
		}
	}
	return false
}

// doomed is a cluster of three homes and a stand-in, of which the first home is
// down when a value is written: the stand-in keeps it.
func doomed(w *World) (c *Cluster, homes []*Host, standIn *Host) {
	c = NewCluster(w, 4, 3, 1)
	c.Start()
	w.Run(3 * time.Second)
	for i, id := range c.placementOf(0) {
		if h := c.resolve(w.Hosts[0], id); i < 3 {
			homes = append(homes, h)
		} else {
			standIn = h
		}
	}
	homes[2].Crash()
	w.Run(time.Second)
	c.write(homes[0], "k", "v1", replicate.Sloppy(3))
	w.Run(time.Second)
	if s, _ := storeOn(standIn); s.record("k").Unknown() {
		w.Fail("the stand-in keeps nothing")
	}
	return c, homes, standIn
}

// One home is down; a value is written, a stand-in keeps it for that home; it is
// deleted, the tomb reaches all homes and is purged; then the stand-in delivers.
func TestF2_01_DoomstoneOfAHint(t *testing.T) {
	seeds(t, 60, func(w *World) {
		c, homes, standIn := doomed(w)
		// The stand-in is cut off with what it keeps until after the purge. It is a
		// member, so without its word nothing is purged.
		w.Net.Split(func(h *Host) bool { return h == standIn })
		homes[2].Start()
		w.Run(time.Second)
		c.remove(homes[0], "k")
		w.Run(3 * time.Second)
		for range 20 {
			for _, h := range homes {
				s, _ := storeOn(h)
				s.purgeUnit()
			}
			w.Run(200 * time.Millisecond)
		}
		if c.purged != 0 {
			w.Fail("purged without a member that keeps the value")
		}
		// It is given up for good, so the purge goes on without it; and comes back.
		c.Evict(homes[0], c.members[standIn.Index])
		w.Run(time.Second)
		for range 40 {
			for _, h := range homes {
				s, _ := storeOn(h)
				s.purgeUnit()
			}
			w.Run(200 * time.Millisecond)
		}
		// Of two rounds at once the later may bring the tomb back to a home that
		// has purged it, to purge it again.
		for _, h := range homes {
			if s, _ := storeOn(h); !s.record("k").Unknown() || c.purged < 3 {
				w.Fail("host %d still keeps the tomb, %d copies of three are purged", h.Index, c.purged)
			}
		}
		c.Quiesce()
		for _, h := range w.Hosts {
			if got := values(h, "k"); len(got) > 0 {
				w.Fail("host %d holds %v", h.Index, got)
			}
		}
		c.oracle.Verify()
	})
}

// A read has heard the value from one home, and writes it back to another after
// the delete was purged.
func TestF2_01_DoomstoneOfAReadRepair(t *testing.T) {
	seeds(t, 60, func(w *World) {
		c := NewCluster(w, 4, 3, 1)
		c.Start()
		w.Run(3 * time.Second)
		var reader *store
		for _, h := range w.Hosts {
			if s, _ := storeOn(h); s.self.ID == c.placementOf(0)[3] {
				reader = s
			}
		}
		first := c.resolve(reader.host, c.placementOf(0)[0])
		c.write(first, "k", "v1", replicate.Sloppy(3))
		w.Run(time.Second)
		// What a read through the fourth store merges, and may write back.
		op := replicate.NewRead(reader.planFor("k"), replicate.Quorum, false, 0)
		for _, id := range op.Start(reader.host.Now()) {
			s, _ := storeOn(c.resolve(reader.host, id))
			op.Replied(s.answerRead("k"), reader.host.Now())
		}
		merged, stamp := op.Merged()
		c.remove(first, "k")
		w.Run(time.Second)
		if !c.purgeAll() {
			w.Fail("not purged")
			return
		}
		for _, id := range c.placementOf(0)[:3] {
			reader.sendOffers(id, []offer{{"k", merged, stamp}}, replicate.HomeRole, func(ok bool, got mergeReply) {
				if ok && !got.stale {
					w.Fail("a value that was read before the purge is taken in after it")
				}
			})
		}
		c.Quiesce()
		c.oracle.Verify()
	})
}

// Half of a cluster lets a store in and moves data to it; the other half gives
// up a store of the first and purges. Then they meet: three generations of homes
// hold the same keys.
func TestF2_08_SplitDuringAJoin(t *testing.T) {
	seeds(t, 60, func(w *World) {
		c := NewCluster(w, 6, 3, 3)
		c.Purge, c.Heal = 300*time.Millisecond, time.Second
		c.Start()
		w.Run(3 * time.Second)
		for i := range 6 {
			c.write(w.Hosts[i], fmt.Sprint("k", i), "v", replicate.Quorum)
		}
		w.Run(time.Second)
		joined := c.AddHost()
		left := func(h *Host) bool { return h.Index < 3 || h == joined }
		w.Net.Split(left)
		w.Run(time.Second)
		joined.Start()
		c.Evict(w.Hosts[4], c.members[0])
		for i := range 6 {
			c.remove(w.Hosts[i], fmt.Sprint("k", (i+1)%6))
			c.write(w.Hosts[(i+3)%6], fmt.Sprint("k", i), "w", replicate.Sloppy(2))
			w.Run(w.Between(0, time.Second))
		}
		w.Run(6 * time.Second)
		c.Quiesce()
		c.oracle.Verify()
		if s, ok := storeOn(joined); w.Err() == nil && (!ok || len(joined.Disk.Keys(keyRecord)) == 0 && len(s.roster.Storing()) != 7) {
			w.Fail("the store that joined has no part: %v", c.members)
		}
	})
}

// All gateways are off for a month and are started one a minute: as long as no
// majority is there nothing is purged, nobody is given up, and no copies are
// made in the place of others. All of them serve from their first second.
func TestF2_07_NothingIsDecidedAlone(t *testing.T) {
	seeds(t, 3, func(w *World) {
		const stores = 20
		c := NewCluster(w, stores, 3, 7)
		c.Pace, c.Purge, c.Heal = 8, time.Second, 10*time.Second
		c.Start()
		load := Workload{Clients: 6, Keys: 20, Ops: 8, Blind: 0.7, Deletes: 0.3, MinDur: 2}
		load.Go(c)
		w.Run(3 * time.Second)
		for _, h := range w.Hosts {
			h.Reboot()
		}
		w.Run(30 * 24 * time.Hour)
		purged := c.purged
		for n, i := range w.Rand.Perm(stores) {
			h := w.Hosts[i]
			h.Start()
			put := c.write(h, fmt.Sprint("dawn", i), "here", replicate.One)
			w.Run(time.Minute)
			if put.Dot.N == 0 {
				w.Fail("host %d of the dark cluster does not serve: %+v", i, *put)
				return
			}
			if n+1 == stores {
				break
			}
			if c.purged != purged {
				w.Fail("purged with %d of %d stores", n+1, stores)
			}
			for _, up := range w.Hosts {
				if s, ok := storeOn(up); ok && 2*(n+1) <= stores {
					decidesNothing(w, s, n+1)
				}
			}
		}
		c.Quiesce()
		c.oracle.Verify()
	})
}

func decidesNothing(w *World, s *store, up int) {
	for _, e := range s.roster.Entries() {
		if e.Status != view.Active {
			w.Fail("host %d has taken %v for %v with %d stores", s.host.Index, e.ID, e.Status, up)
		}
		if s.healer.Lost(e.ID) {
			w.Fail("host %d makes copies in the place of %v with %d stores", s.host.Index, e.ID, up)
		}
	}
}
