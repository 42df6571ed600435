// Package sim runs pure cores in one thread, from one seed: time, network,
// disks, clocks and crashes are all decided by a single random source, so a
// seed names a run for ever. It is used by tests only.
//
// A World has Hosts. A host runs a Program, which gets its events through
// Process and reaches the world only through its Host: messages, timers, a
// disk, a wall clock that may be wrong. A crash throws the process away,
// together with its timers and whatever its disk had not synced. To put a
// core under test, write the thinnest Process that drives it.
package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/skeinmesh/skein/replica/version"
)

// Epoch is what a right wall clock shows at the start of a run.
var Epoch = version.At(1767225600000) // 2026-01-01

// Process is a running program.
type Process interface {
	// Receive takes a message from another host.
	Receive(from *Host, msg any)
}

// Program starts a process on a host: at first, and after every crash. All
// that it knows from before is on the host's disk.
type Program func(h *Host) Process

// World is one run.
type World struct {
	Rand  *rand.Rand
	Net   Net
	Hosts []*Host

	now    time.Duration
	queue  events
	serial uint64
	trace  *strings.Builder
	faults []string
}

// NewWorld returns an empty world that replays from seed.
func NewWorld(seed uint64) *World {
	w := &World{Rand: rand.New(rand.NewPCG(seed, seed^0x5851f42d4c957f2d))}
	w.Net.world = w
	return w
}

// Trace keeps a log of what happens, for a run that is looked at by a person.
func (w *World) Trace() { w.trace = &strings.Builder{} }

// Logf adds a line to the trace.
func (w *World) Logf(format string, args ...any) {
	if w.trace != nil {
		fmt.Fprintf(w.trace, "%9.3f ", w.now.Seconds())
		fmt.Fprintf(w.trace, format, args...)
		w.trace.WriteByte('\n')
	}
}

// Log returns the trace.
func (w *World) Log() string {
	if w.trace == nil {
		return ""
	}
	return w.trace.String()
}

// Fail records that a property does not hold.
func (w *World) Fail(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf("at %.3f s: ", w.now.Seconds())+fmt.Sprintf(format, args...))
	w.Logf("FAULT "+format, args...)
}

// Err returns the first fault, if any.
func (w *World) Err() error {
	if len(w.faults) == 0 {
		return nil
	}
	return fmt.Errorf("%s (%d faults)", w.faults[0], len(w.faults))
}

// Now returns the time since the start of the run.
func (w *World) Now() time.Duration { return w.now }

// Chance tells true with probability p.
func (w *World) Chance(p float64) bool { return w.Rand.Float64() < p }

// Between returns a random duration in [lo, hi).
func (w *World) Between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(w.Rand.Int64N(int64(hi-lo)))
}

// After runs fn when d has passed.
func (w *World) After(d time.Duration, fn func()) {
	w.serial++
	heap.Push(&w.queue, event{w.now + d, w.serial, fn})
}

// Run lets d pass, or stops at the first fault.
func (w *World) Run(d time.Duration) {
	end := w.now + d
	for len(w.queue) > 0 && w.queue[0].at <= end && len(w.faults) == 0 {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.fn()
	}
	w.now = end
}

type event struct {
	at     time.Duration
	serial uint64 // events of one time run in the order they were made
	fn     func()
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].serial < q[j].serial
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*q = old[:len(old)-1]
	return e
}
