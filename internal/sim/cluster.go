package sim

import (
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
)

// Cluster is a model mesh of stores over a World: who belongs to it is known
// to all, who is alive each store judges for itself.
type Cluster struct {
	World  *World
	Stores int
	Homes  int // copies of an item
	Units  int // shards
	// Pace makes the stores' background work that many times rarer; 0: 1.
	Pace time.Duration

	members  []view.NodeID // by slot: the store with the name of that number
	slots    map[*Host]int
	evicted  map[view.NodeID]bool // stores whose name has gone to a new one
	oracle   *Oracle
	doubt    float64 // how often a store errs about whether another is alive
	distrust bool    // stores take a new session at every start
	moved    int     // records pushed by anti-entropy
}

// NewCluster returns a cluster of stores that are not started yet.
func NewCluster(w *World, stores, homes, units int) *Cluster {
	c := &Cluster{World: w, Stores: stores, Homes: homes, Units: units, slots: map[*Host]int{}, evicted: map[view.NodeID]bool{}}
	c.oracle = newOracle(c)
	for slot := range stores {
		h := w.AddHost(c.start)
		c.slots[h] = slot
		c.members = append(c.members, 0)
		c.mintID(h)
	}
	return c
}

// Start starts every host that is down.
func (c *Cluster) Start() {
	for _, h := range c.World.Hosts {
		h.Start()
	}
}

// mintID gives the host's empty disk a name. The new store follows the one
// that had the host's slot before.
func (c *Cluster) mintID(h *Host) view.NodeID {
	if slot, ok := c.slots[h]; ok && !h.Up() && c.members[slot] != 0 && h.life <= 1 {
		return c.members[slot] // named when the cluster was made
	}
	id := view.NodeID(c.World.Rand.Uint64() | 1)
	if slot, ok := c.slots[h]; ok {
		if old := c.members[slot]; old != 0 {
			c.evicted[old] = true
		}
		c.members[slot] = id
	}
	return id
}

func storeOn(h *Host) (*store, bool) {
	s, ok := h.process.(*store)
	return s, ok && s != nil
}

// resolve returns the host of a store as seen from another: one that can be
// reached, if there are two.
func (c *Cluster) resolve(from *Host, id view.NodeID) *Host {
	var found *Host
	for _, h := range c.World.Hosts {
		if s, ok := storeOn(h); ok {
			if s.who.ID != id {
				continue
			}
		} else if v, err := h.Disk.Get(keyIdentity); err != nil || v.(identity).ID != id {
			continue
		}
		if found == nil || !c.World.Net.Reaches(from, found) {
			found = h
		}
	}
	return found
}

func (c *Cluster) unit(key string) int {
	f := fnv.New32a()
	f.Write([]byte(key))
	return int(f.Sum32() % uint32(c.Units))
}

// order returns the homes of a unit, then the stand-ins.
func (c *Cluster) order(unit int) []view.NodeID {
	n := len(c.members)
	out := make([]view.NodeID, 0, n)
	for i := range n {
		out = append(out, c.members[(unit+i)%n])
	}
	return out
}

// shared lists the units of which both stores are homes.
func (c *Cluster) shared(a, b view.NodeID) []int {
	var out []int
	for u := range c.Units {
		homes := c.order(u)[:c.Homes]
		if slices.Contains(homes, a) && slices.Contains(homes, b) {
			out = append(out, u)
		}
	}
	return out
}

// Quiesce ends all faults and lets the cluster run until the clients are done,
// every home of every key holds the same, and no hint is left.
func (c *Cluster) Quiesce(loads ...*Workload) {
	c.doubt = 0
	net := &c.World.Net
	net.Loss, net.Duplicate = 0, 0
	net.Heal()
	for _, h := range c.World.Hosts {
		h.Disk.Sync = 0
		h.Start()
	}
	for range 180 {
		c.World.Run(time.Second)
		if c.World.Err() != nil {
			return
		}
		busy := slices.ContainsFunc(loads, func(l *Workload) bool { return l.finished < l.Clients })
		if !busy && c.difference() == "" {
			return
		}
	}
	c.World.Logf("%v", c)
	c.World.Fail("not equal after 180 s without faults: %s", c.difference())
}

// difference names something that must still change before all is equal.
func (c *Cluster) difference() string {
	for _, h := range c.World.Hosts {
		s, ok := storeOn(h)
		if !ok {
			continue
		}
		if len(h.Disk.pending) > 0 {
			return "a sync is under way"
		}
		for _, k := range h.Disk.Keys(keyRecord) {
			v, err := h.Disk.Get(k)
			key := k[len(keyRecord):]
			homes := c.order(c.unit(key))[:c.Homes]
			if err != nil {
				if slices.Contains(homes, s.who.ID) {
					return k + ": damaged"
				}
				continue
			}
			rec := v.(replicate.Record)
			if len(rec.Hints) > 0 {
				return k + ": hints"
			}
			for _, id := range homes {
				other, ok := storeOn(c.resolve(h, id))
				if !ok || !other.record(key).Equal(rec.Item) {
					return k + ": differs"
				}
			}
		}
	}
	return ""
}

// String draws the state for a person.
func (c *Cluster) String() string {
	out := fmt.Sprintln("members", c.members)
	for _, h := range c.World.Hosts {
		out += fmt.Sprintf("host %d up %v\n", h.Index, h.Up())
		for _, k := range h.Disk.Keys("") {
			v, err := h.Disk.Get(k)
			out += fmt.Sprintf("  %s %+v %v\n", k, v, err)
		}
	}
	return out
}
