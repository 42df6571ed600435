package sim

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// Cluster is a model mesh of stores over a World. Who belongs to it each store
// learns from the others, and who is alive it judges for itself.
type Cluster struct {
	World  *World
	Stores int
	Homes  int // copies of an item
	Units  int // shards
	// Pace makes the stores' background work that many times rarer; 0: 1.
	Pace time.Duration
	// Heal is after what observed downtime of a home others make copies in its
	// place; 0: never.
	Heal time.Duration
	// LogKept is how many entries a log of purges remembers of a unit; 0: all.
	LogKept int
	// Purge is how often a store tries to purge tombs; 0: never.
	Purge time.Duration
	// Lapse is how often a store writes down what has ended; 0: never. Writes are dated
	// by the clocks of all then.
	Lapse time.Duration
	// Steady is how long a clock must have gone on without a step before something ends
	// for good by it.
	Steady time.Duration
	// MaxSkew is by how much clocks may differ; 0: reconcile.DefaultMaxSkew.
	MaxSkew time.Duration

	members []view.NodeID // by slot: the store with the name of that number
	slots   map[*Host]int
	seeds   roster.Roster // what a new store is told of who belongs to the mesh
	oracle  *Oracle

	doubt    float64        // how often a store errs about whether another is alive
	distrust bool           // stores take a new session at every start
	moved    int            // records pushed by anti-entropy
	sketched int            // sketches compared
	purged   int            // tombs purged, counted once per store
	dropped  int            // records let go after a hand-off
	events   map[string]int // what was done to it, by name
}

// NewCluster returns a cluster of stores that are not started yet and know of
// each other.
func NewCluster(w *World, stores, homes, units int) *Cluster {
	c := &Cluster{World: w, Stores: stores, Homes: homes, Units: units, slots: map[*Host]int{}, events: map[string]int{}}
	c.oracle = newOracle(c)
	for range stores {
		c.AddHost()
	}
	for slot := range c.members {
		c.members[slot] = view.NodeID(w.Rand.Uint64() | 1)
		c.seeds = c.seedsWith(c.rosterEntry(slot, 0))
	}
	return c
}

// AddHost adds a host that is down, has an empty disk and will join when it is
// started.
func (c *Cluster) AddHost() *Host {
	h := c.World.AddHost(c.startStore)
	c.slots[h] = len(c.members)
	c.members = append(c.members, 0)
	return h
}

// rosterEntry describes the store in a slot.
func (c *Cluster) rosterEntry(slot int, predecessor view.NodeID) roster.Entry {
	return roster.Entry{
		ID: c.members[slot], Name: fmt.Sprintf("s%02d", slot), Weight: 1, Storing: true, Status: view.Active,
		Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(slot)}), 1), HLC: 1, Predecessor: predecessor,
	}
}

// seedsWith returns the seeds with one more entry.
func (c *Cluster) seedsWith(e roster.Entry) roster.Roster {
	next, _, err := c.seeds.With(e)
	if err != nil {
		c.World.Fail("roster: %v", err)
	}
	return next
}

// roster is all that is known of the membership on any disk that is there.
func (c *Cluster) roster() (whole roster.Roster) {
	for _, h := range c.World.Hosts {
		if h.Gone {
			continue
		}
		if v, err := h.Disk.Get(keyRoster); err == nil {
			whole, _, _ = whole.Merge(v.(roster.Roster))
		}
	}
	return whole
}

// Start starts every host that is down.
func (c *Cluster) Start() {
	for _, h := range c.World.Hosts {
		h.Start()
	}
}

// mintID gives the host's empty disk a name. The new store follows the one
// that had the host's slot before. A host without a slot gets a name that
// nobody has had.
func (c *Cluster) mintID(h *Host) roster.Roster {
	slot, ok := c.slots[h]
	if !ok {
		slot = len(c.members)
		c.slots[h] = slot
		c.members = append(c.members, 0)
	}
	old := c.members[slot]
	if old != 0 && h.life <= 1 && !h.Up() {
		return c.seeds // named when the cluster was made
	}
	c.members[slot] = view.NodeID(c.World.Rand.Uint64() | 1)
	e := c.rosterEntry(slot, 0)
	e.Predecessor, _ = c.roster().Predecessor(e.ID, e.Name)
	return c.seedsWith(e)
}

func storeOn(h *Host) (*store, bool) {
	if h == nil {
		return nil, false
	}
	s, ok := h.process.(*store)
	return s, ok && s != nil
}

// resolve returns the host of a store as seen from another: one that can be
// reached, if there are two.
func (c *Cluster) resolve(from *Host, id view.NodeID) *Host {
	var found *Host
	for _, h := range c.World.Hosts {
		if s, ok := storeOn(h); ok {
			if s.self.ID != id {
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

func (c *Cluster) unitOf(key string) int {
	f := fnv.New32a()
	f.Write([]byte(key))
	return int(f.Sum32() % uint32(c.Units))
}

// placementOf returns the homes of a unit, then the stand-ins, by the roster that is
// known somewhere.
func (c *Cluster) placementOf(unit int) []view.NodeID { return rankMembers(c.roster(), unit) }

// rankMembers ranks the storing members for a unit by rendezvous hash of their names.
func rankMembers(r roster.Roster, unit int) []view.NodeID {
	type ranked struct {
		id   view.NodeID
		rank uint64
	}
	var all []ranked
	for _, e := range r.Placed() {
		f := fnv.New64a()
		fmt.Fprint(f, e.Name, unit)
		rank := f.Sum64()
		rank = (rank ^ rank>>33) * 0xff51afd7ed558ccd
		all = append(all, ranked{e.ID, rank ^ rank>>33})
	}
	slices.SortFunc(all, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(a.id, b.id))
	})
	out := make([]view.NodeID, len(all))
	for i := range all {
		out[i] = all[i].id
	}
	return out
}

// homesOf returns the homes of a key by the roster that is known somewhere.
func (c *Cluster) homesOf(key string) []view.NodeID {
	all := c.placementOf(c.unitOf(key))
	return all[:min(c.Homes, len(all))]
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
		c.evictGhosts()
		busy := slices.ContainsFunc(loads, func(l *Workload) bool { return l.finished < l.Clients })
		if !busy && c.difference() == "" {
			return
		}
	}
	c.World.Logf("%v", c)
	c.World.Fail("not equal after 180 s without faults: %s", c.difference())
}

// evictGhosts is what an operator does: to give up members that are not there
// any more, because nobody has heard them leave, or because their disk was lost
// twice and its last owner knew of one of the two only.
func (c *Cluster) evictGhosts() {
	for _, e := range c.roster().Storing() {
		if h := c.resolve(c.World.Hosts[0], e.ID); h == nil || h.Gone {
			for _, by := range c.World.Hosts {
				c.Evict(by, e.ID)
			}
		}
	}
}

// difference names something that must still change before all is equal.
func (c *Cluster) difference() string {
	whole := c.roster()
	for _, h := range c.World.Hosts {
		s, ok := storeOn(h)
		if !ok || s.stopped {
			continue
		}
		if len(h.Disk.pending) > 0 {
			return "a sync is under way"
		}
		if s.roster.Sum() != whole.Sum() {
			return fmt.Sprintf("host %d: roster", h.Index)
		}
		for _, k := range h.Disk.Keys(keyRecord) {
			v, err := h.Disk.Get(k)
			key := k[len(keyRecord):]
			homes := c.homesOf(key)
			if err != nil {
				if slices.Contains(homes, s.self.ID) {
					return k + ": damaged"
				}
				continue
			}
			rec := v.(replicate.Record)
			if len(rec.Hints) > 0 {
				return k + ": hints"
			}
			if !slices.Contains(homes, s.self.ID) {
				return k + ": kept by a store that is no home"
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
	var out strings.Builder
	short := func(id uint64) string { return fmt.Sprintf("%04x", id&0xffff) }
	draw := func(it version.Item) {
		for _, e := range it.Ctx {
			fmt.Fprintf(&out, " %s.%d:%d", short(e.A.Store), e.A.Seq, e.N)
		}
		for _, sib := range it.Sibs {
			fmt.Fprintf(&out, " [%s.%d:%d %q]", short(sib.Dot.A.Store), sib.Dot.A.Seq, sib.Dot.N, sib.Value)
		}
	}
	for _, h := range c.World.Hosts {
		fmt.Fprintf(&out, "host %d up %v\n", h.Index, h.Up())
		for _, k := range h.Disk.Keys("") {
			fmt.Fprintf(&out, "  %s", k)
			v, err := h.Disk.Get(k)
			switch v := v.(type) {
			case replicate.Record:
				fmt.Fprintf(&out, " home %v, for %v:", v.Home, v.Hints)
				draw(v.Item)
			case logged:
				fmt.Fprintf(&out, " round %v:", v.Round)
				draw(v.Tomb)
			case roster.Roster:
				for _, e := range v.Entries() {
					fmt.Fprintf(&out, " %s %s %v", e.Name, short(uint64(e.ID)), e.Status)
				}
			default:
				fmt.Fprintf(&out, " %+v %v", v, err)
			}
			out.WriteByte('\n')
		}
		if s, ok := storeOn(h); ok {
			for u := range c.Units {
				fmt.Fprintf(&out, "  unit %d: home %v, keeps %v, ready %v\n", u, s.homeOf[u], s.keepsUnit(s.self.ID, u), s.isReady(u))
			}
		}
	}
	return out.String()
}
