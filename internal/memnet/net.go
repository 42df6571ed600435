// Package memnet is a network in memory for tests. Whole meshes of real code
// run on it, also in testing/synctest bubbles: it uses package time, keeps no
// goroutine of its own, and never holds its lock while it waits.
//
// A Net joins machines, each known by one address. Host returns the network
// of the process that runs on a machine; streams behave like TCP (ordered,
// buffered up to a window, deadlines, resets), packets like UDP (lost when
// the path says so or a receive queue is full). Faults are directed at
// machines or at one direction between two machines.
//
// What it leaves out: a stream resumes the moment a cut heals, unless Backoff is
// on, where TCP may back off for up to two minutes more; acknowledgements travel
// without delay.
package memnet

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// Path tells how one direction between two machines behaves. The zero Path is
// perfect: no delay, nothing lost.
type Path struct {
	Delay     time.Duration // added to every packet and to every piece of a stream
	Jitter    time.Duration // up to this much on top, drawn anew each time; streams keep their order
	Loss      float64       // chance, 0 to 1, that a packet vanishes; a stream pays with a retransmission time-out instead
	Duplicate float64       // chance that a packet arrives twice
	Reorder   float64       // chance that a packet is held back so that later ones overtake it
	MTU       int           // packets with a longer payload vanish; 0 is no limit
}

// Stats counts what a Net has carried since New.
type Stats struct {
	Packets     uint64 // packets handed to a receive queue, duplicates included
	PacketBytes uint64 // their payload
	Dropped     uint64 // packets lost to a fault, a full queue or a closed port
	StreamBytes uint64 // payload of streams that arrived
}

// Net is a network of machines. It is safe for concurrent use.
type Net struct {
	mu       sync.Mutex // guards everything below and the state of every socket; never held over a wait
	rng      *rand.Rand
	machines map[netip.Addr]*machine
	common   Path
	paths    map[route]Path
	cuts     map[route]bool
	parked   map[*pipe]bool // streams with something to carry over a blocked route
	backoff  bool           // streams that were blocked resume when TCP would try again
	events   events
	stats    Stats
	closed   bool
}

// route is one direction between two machines.
type route struct{ from, to netip.Addr }

func newRoute(from, to netip.Addr) route { return route{plainAddr(from), plainAddr(to)} }

// plainAddr is the form in which addresses are compared: an address is one
// machine, however it was written.
func plainAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// New returns an empty network. The seed decides about loss, jitter and the
// like; goroutine scheduling stays out of its reach, so equal seeds give
// similar runs, not equal ones.
func New(seed uint64) *Net {
	return &Net{
		rng:      rand.New(rand.NewPCG(seed, 0x736b65696e)),
		machines: map[netip.Addr]*machine{},
		paths:    map[route]Path{},
		cuts:     map[route]bool{},
		parked:   map[*pipe]bool{},
	}
}

// Host returns the network of the process on the machine with this address,
// and makes the machine if there is none yet. After Kill it returns the
// network of a new process; the handle of the killed one stays dead.
func (n *Net) Host(addr netip.Addr) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := n.machines[plainAddr(addr)]
	if m == nil {
		m = newMachine(n, plainAddr(addr))
		n.machines[plainAddr(addr)] = m
	}
	if m.process == nil {
		m.process = &Host{net: n, machine: m}
	}
	return m.process
}

// SetPaths makes every direction between any two machines behave like p and
// forgets what SetPath said before.
func (n *Net) SetPaths(p Path) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.common = p
	clear(n.paths)
}

// SetPath sets how the direction from one machine to another behaves.
func (n *Net) SetPath(from, to netip.Addr, p Path) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paths[newRoute(from, to)] = p
}

// Cut blocks one direction: packets vanish, streams wait until Heal, and so
// do dials, which need both directions.
func (n *Net) Cut(from, to netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[newRoute(from, to)] = true
}

// Heal undoes Cut for one direction.
func (n *Net) Heal(from, to netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.cuts, newRoute(from, to))
	n.unparkStreams()
}

// Partition cuts both directions between every two machines that stand in
// different groups. Machines named in no group keep all their routes.
func (n *Net) Partition(groups ...[]netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, group := range groups {
		for _, other := range groups[i+1:] {
			for _, a := range group {
				for _, b := range other {
					n.cuts[newRoute(a, b)] = true
					n.cuts[newRoute(b, a)] = true
				}
			}
		}
	}
}

// HealAll undoes every Cut and Partition.
func (n *Net) HealAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cuts)
	n.unparkStreams()
}

// Backoff makes streams that a cut has stopped go on, once it has healed, when TCP
// tries again: 0.2, 0.6, 1.4, 3, 6.2, 12.6 s and so on after it first did, in the
// end every two minutes (RFC 6298).
func (n *Net) Backoff(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.backoff = on
}

// Silence takes the power off a machine: nothing gets in or out, nobody is
// told. What runs on it in this test program runs on, cut off. Loopback on
// the machine still works.
func (n *Net) Silence(addr netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if m := n.machines[plainAddr(addr)]; m != nil {
		m.silent = true
	}
}

// Restore undoes Silence. To bring a machine back with nothing left of its
// old process, call Kill first: its peers then meet resets.
func (n *Net) Restore(addr netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if m := n.machines[plainAddr(addr)]; m != nil {
		m.silent = false
	}
	n.unparkStreams()
}

// Stall freezes the process on a machine for d, as starvation or SIGSTOP
// would: it reads nothing, neither packets nor streams, and what it sends
// leaves when the stall is over. Its kernel goes on: receive buffers fill, and
// dials to its listeners succeed. Deadlines run out as usual.
func (n *Net) Stall(addr netip.Addr, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := n.machines[plainAddr(addr)]
	if m == nil || n.closed {
		return
	}
	until := time.Now().Add(d)
	if until.After(m.stalledUntil) {
		m.stalledUntil = until
		n.scheduleAt(until, m.wakeSockets)
	}
}

// Kill ends the process on a machine as SIGKILL does: its sockets close, its
// peers see their connections reset and its ports refuse. Everything the
// killed process still tries through its Host fails with net.ErrClosed. A
// reset that cannot get through now is delivered after the heal.
func (n *Net) Kill(addr netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if m := n.machines[plainAddr(addr)]; m != nil {
		m.killProcess()
	}
}

// Stats returns the counters.
func (n *Net) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stats
}

// Close ends the network: every socket closes and nothing is carried any
// more. No timer and no goroutine of the Net is left when it returns.
func (n *Net) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range n.machines {
		m.killProcess()
	}
	n.closed = true
	n.events.stopTimer()
	clear(n.parked)
	return nil
}

// blocked tells whether nothing gets from a to b now.
func (n *Net) blocked(a, b *machine) bool {
	return a != b && (a.silent || b.silent || n.cuts[route{a.addr, b.addr}])
}

// pathBetween returns how the direction from a to b behaves; loopback is perfect.
func (n *Net) pathBetween(a, b *machine) Path {
	if a == b {
		return Path{}
	}
	if p, ok := n.paths[route{a.addr, b.addr}]; ok {
		return p
	}
	return n.common
}

// drawTransit draws the time one packet or piece of a stream takes.
func (n *Net) drawTransit(p Path) time.Duration {
	if p.Jitter <= 0 {
		return p.Delay
	}
	return p.Delay + time.Duration(n.rng.Int64N(int64(p.Jitter)+1))
}

// drawChance draws an event of probability p.
func (n *Net) drawChance(p float64) bool { return p > 0 && n.rng.Float64() < p }

// unparkStreams lets every waiting stream try again.
func (n *Net) unparkStreams() {
	waiting := maps.Clone(n.parked)
	clear(n.parked)
	for p := range waiting {
		p.acknowledge(0)
		p.pumpPieces()
	}
}
