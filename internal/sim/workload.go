package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/partition/token"
	"github.com/skeinmesh/skein/replica/version"
)

// Workload is a set of clients, each of which does one thing after the other
// through random stores.
type Workload struct {
	Clients int
	Keys    int
	Ops     int // per client
	Blind   float64
	Deletes float64
	Expires float64           // of values: those that live for some seconds
	Levels  []replicate.Level // of puts; nil: all kinds
	MinDur  int
	Leads   bool // writes show tokens, not always that of who leads
	Steady  bool // homes stay homes and lose nothing: F1.25 holds of acks, too

	leads    leads
	cluster  *Cluster
	through  []*Host // stores that clients use
	finished int     // clients
	degraded int
	acked    int
	refused  int
}

var allLevels = []replicate.Level{replicate.One, replicate.Quorum, replicate.Sloppy(2), replicate.Sloppy(3)}

// Go starts the clients. They use the given hosts, or all.
func (l *Workload) Go(c *Cluster, through ...*Host) {
	l.cluster, l.through = c, through
	l.leads = leads{terms: map[string]uint64{}, acked: map[string]token.Token{}}
	if through == nil {
		l.through = c.World.Hosts
	}
	if l.Levels == nil {
		l.Levels = allLevels
	}
	for i := range l.Clients {
		l.client(i, l.Ops)
	}
}

// client does its next operation, or finds no store and tries again later.
func (l *Workload) client(id, left int) {
	w := l.cluster.World
	if left == 0 {
		l.finished++
		return
	}
	w.After(w.Between(0, 200*time.Millisecond), func() {
		s, ok := storeOn(l.through[w.Rand.IntN(len(l.through))])
		if !ok {
			l.client(id, left-1)
			return
		}
		over := false
		next := func() {
			if !over {
				over = true
				l.client(id, left-1)
			}
		}
		w.After(4*time.Second, next)
		l.runOperation(s, fmt.Sprintf("k%d", w.Rand.IntN(l.Keys)), fmt.Sprintf("%d.%d", id, left), next)
	})
}

func (l *Workload) runOperation(s *store, key, value string, next func()) {
	w := l.cluster.World
	p := putRequest{Key: key, Level: l.Levels[w.Rand.IntN(len(l.Levels))], MinDurable: l.MinDur}
	if p.Write.Tomb = w.Chance(l.Deletes); !p.Write.Tomb {
		p.Write.Value = []byte(value)
		if l.Expires > 0 && w.Chance(l.Expires) {
			p.Write.TTL = w.Between(time.Second, 6*time.Second).Milliseconds()
		}
	}
	if l.Leads {
		p.Write.Token = l.leads.nextToken(w, key)
	}
	if w.Chance(l.Blind) {
		l.putAndCount(s, p, next)
		return
	}
	s.readAndRepair(key, allLevels[w.Rand.IntN(3)], false, func(r replicate.ReadResult) {
		l.cluster.oracle.checkRead(key, r.Item, s.host.Wall())
		seen := reconcile.SeenOf(r.Item)
		p.Write.Seen = &seen
		l.putAndCount(s, p, next)
	})
}

func (l *Workload) putAndCount(s *store, p putRequest, next func()) {
	told, high := map[version.Dot]bool{}, l.leads.acked[p.Key]
	s.routePut(p, func(r putReply) {
		switch {
		case r.Err != nil:
			if l.refused++; errors.Is(r.Err, reconcile.ErrFenced) {
				l.leads.former++
			}
		case errors.Is(r.Result.Err, reconcile.ErrFenced):
			l.leads.former++
		case !r.Nothing && !told[r.Dot]:
			told[r.Dot] = true
			l.cluster.oracle.noteAck(r.Dot, r.Result)
			if l.Steady {
				l.leads.noteFencedAck(l.cluster, &p, high, r.Result)
			}
			if p.Write.Tomb {
				l.cluster.events["delete acked"]++
			} else {
				l.cluster.events["write acked"]++
			}
			if l.acked++; r.Result.Err != nil {
				l.degraded++
			}
		}
		next()
	})
}

// Faults makes bad things happen, each kind with a weight.
type Faults struct {
	Crash, Reboot, Cut, Split, Heal, Skew, SlowDisk int
	Damage, Lose, NewDisk                           int
	Join, Leave, Evict, OldDisk, LoseLog            int
	Clocks                                          int // are set to any time within days
}

// Go lets one fault happen after the other for the given time.
func (f Faults) Go(c *Cluster, d time.Duration) {
	end := c.World.Now() + d
	var next func()
	next = func() {
		if c.World.Now() < end {
			f.injectOne(c)
			c.World.After(c.World.Between(50*time.Millisecond, 900*time.Millisecond), next)
		}
	}
	next()
}

func (f Faults) injectOne(c *Cluster) {
	w := c.World
	h := w.Hosts[w.Rand.IntN(len(w.Hosts))]
	other := w.Hosts[w.Rand.IntN(len(w.Hosts))]
	back := func() { w.After(w.Between(0, 3*time.Second), h.Start) }
	acts := []struct {
		weight int
		do     func()
	}{
		{f.Crash, func() { h.Crash(); back() }},
		{f.Reboot, func() { h.Reboot(); back() }},
		{f.Cut, func() {
			w.Logf("cut %d -> %d", h.Index, other.Index)
			w.Net.Cut(h, other)
		}},
		{f.Split, func() {
			side := w.Rand.Uint64()
			w.Logf("split %b", side&(1<<len(w.Hosts)-1))
			w.Net.Split(func(h *Host) bool { return side>>h.Index&1 == 1 })
		}},
		{f.Heal, w.Net.Heal},
		{f.Skew, func() { h.SetSkew(skews[w.Rand.IntN(len(skews))]) }},
		{f.Clocks, func() {
			if h.SetSkew(0); w.Chance(0.7) {
				h.SetSkew(w.Between(0, 96*time.Hour) - 48*time.Hour)
			}
		}},
		{f.SlowDisk, func() {
			h.Disk.Sync = time.Duration(w.Rand.IntN(2)) * 700 * time.Millisecond
			w.Logf("host %d: a sync takes %v", h.Index, h.Disk.Sync)
		}},
		{f.Damage, func() { destroy(c, h, (*Disk).Corrupt) }},
		{f.Lose, func() { destroy(c, h, (*Disk).Lose) }},
		{f.NewDisk, func() { newDiskOldName(c, h); back() }},
		{f.Join, func() {
			if len(w.Hosts) < c.Stores+3 {
				c.AddHost().Start()
				c.events["join"]++
			}
		}},
		{f.Leave, func() {
			if c.spareStores() > 0 {
				c.Leave(h)
				c.events["leave"]++
			}
		}},
		{f.Evict, func() {
			if slot, ok := c.slots[other]; ok && h != other && !other.Gone && c.spareStores() > 0 {
				c.Evict(h, c.members[slot])
				c.events["evict"]++
			}
		}},
		{f.OldDisk, func() { oldDisk(c, h) }},
		{f.LoseLog, func() {
			if s, ok := storeOn(h); ok {
				s.loseLog(w.Rand.IntN(c.Units))
			}
		}},
	}
	total := 0
	for _, a := range acts {
		total += a.weight
	}
	pick := w.Rand.IntN(total)
	for _, a := range acts {
		if pick -= a.weight; pick < 0 {
			a.do()
			return
		}
	}
}

// Wrong clocks: no battery, so 1970; 2106; and the common kinds.
var skews = []time.Duration{
	0, 0, 30 * time.Second, -30 * time.Second, time.Hour, -48 * time.Hour,
	-time.Duration(Epoch.Millis()) * time.Millisecond,
	time.Duration(4291747200000-Epoch.Millis()) * time.Millisecond,
}

// destroy ruins one record, if what it knows is known elsewhere.
func destroy(c *Cluster, h *Host, how func(*Disk, string)) {
	keys := h.Disk.Keys(keyRecord)
	if len(keys) == 0 {
		return
	}
	k := keys[c.World.Rand.IntN(len(keys))]
	if key := k[len(keyRecord):]; c.oracle.mayDestroy(h, key) {
		c.oracle.destroyedCopies[key]++
		c.oracle.destroyed = true
		c.events["record lost"]++
		how(h.Disk, k)
	}
}

// spareStores is how many stores may go before items have fewer copies.
func (c *Cluster) spareStores() int { return len(c.roster().Placed()) - c.Homes }

// oldDisk takes an image of a host's disk now, and puts it back later, if all
// that is on the disk then is known elsewhere.
func oldDisk(c *Cluster, h *Host) {
	w := c.World
	image := h.Disk.Image()
	w.After(w.Between(time.Second, 5*time.Second), func() {
		if h.Gone || image[keyIdentity] == nil {
			return
		}
		h.Reboot()
		keys := h.Disk.Keys(keyRecord)
		for _, k := range keys {
			if !c.oracle.mayDestroy(h, k[len(keyRecord):]) {
				h.Start()
				return
			}
		}
		for _, k := range keys {
			c.oracle.destroyedCopies[k[len(keyRecord):]]++
		}
		c.oracle.restored = true
		c.events["old disk"]++
		h.Disk.Restore(image)
		h.Start()
	})
}

// newDiskOldName replaces the disk of a host that has crashed, if what was on
// it is known elsewhere.
func newDiskOldName(c *Cluster, h *Host) {
	h.Crash()
	keys := h.Disk.Keys(keyRecord)
	for _, k := range keys {
		if !c.oracle.mayDestroy(h, k[len(keyRecord):]) {
			return
		}
	}
	for _, k := range keys {
		c.oracle.destroyedCopies[k[len(keyRecord):]]++
	}
	c.oracle.destroyed = true
	c.World.Logf("host %d gets an empty disk", h.Index)
	c.events["disk lost"]++
	h.Disk.Restore(nil)
}
