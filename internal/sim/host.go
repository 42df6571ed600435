package sim

import (
	"time"

	"github.com/skeinmesh/skein/replica/version"
)

// Host is one machine: a place in the network, a disk, a clock, and perhaps a
// running process.
type Host struct {
	World *World
	Index int
	Disk  *Disk
	// Machine changes when the machine is started anew, not when only the
	// process is.
	Machine [16]byte
	// Gone hosts are not started any more.
	Gone bool

	program Program
	process Process // nil: down
	life    uint64  // counts starts; timers of earlier lives do not fire
	skew    time.Duration
}

// AddHost adds a host that is down, with an empty disk and a right clock.
func (w *World) AddHost(program Program) *Host {
	h := &Host{World: w, Index: len(w.Hosts), program: program}
	h.Disk = newDisk(h)
	h.newMachine()
	w.Hosts = append(w.Hosts, h)
	w.Net.growTo(len(w.Hosts))
	return h
}

func (h *Host) newMachine() {
	for i := range h.Machine {
		h.Machine[i] = byte(h.World.Rand.Uint32())
	}
}

// Up tells whether the process runs.
func (h *Host) Up() bool { return h.process != nil }

// Process returns the running process, nil if the host is down.
func (h *Host) Process() Process { return h.process }

// Start runs the program.
func (h *Host) Start() {
	if h.process == nil && !h.Gone {
		h.World.Logf("host %d starts", h.Index)
		h.life++
		h.process = h.program(h)
	}
}

// Crash ends the process at once. What the disk has not synced is lost, but
// for a random number of its oldest batches.
func (h *Host) Crash() {
	if h.process != nil {
		h.World.Logf("host %d crashes", h.Index)
		h.process = nil
		h.life++
		h.Disk.dropUnsynced()
	}
}

// Reboot crashes the whole machine; Start is up to the caller.
func (h *Host) Reboot() {
	h.Crash()
	h.newMachine()
}

// Now returns the reading of a clock that never goes back.
func (h *Host) Now() time.Duration { return h.World.now }

// SetSkew makes the wall clock wrong by d.
func (h *Host) SetSkew(d time.Duration) {
	h.World.Logf("host %d: wall clock is off by %v", h.Index, d)
	h.skew = d
}

// Wall returns the wall clock's reading.
func (h *Host) Wall() version.HLC {
	return version.At(Epoch.Millis() + (h.World.now + h.skew).Milliseconds())
}

// After runs fn when d has passed, unless the process has ended by then.
func (h *Host) After(d time.Duration, fn func()) {
	life := h.life
	h.World.After(d, func() {
		if h.life == life && h.process != nil {
			fn()
		}
	})
}

// Send sends a message to another host; it may arrive late, twice or never.
func (h *Host) Send(to *Host, msg any) { h.World.Net.sendMessage(h, to, msg) }
