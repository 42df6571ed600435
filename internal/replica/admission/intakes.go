package admission

import (
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/mesh/view"
)

// So many bytes of writes are always let in: hundreds of small ones.
const (
	leastOwn     = 1 << 20
	leastForward = 256 << 10 // for each store that is to coordinate them
)

// Intakes bound the writes under way by what peers and disks get done: those that
// this store coordinates, and those that it has other stores coordinate, for each
// of them. A write has its place until its client is answered. What copies come
// after that tells how much may be let in, but one store that does not answer must
// not have the writes refused for which the others do. All methods may be used concurrently.
type Intakes struct {
	target time.Duration
	most   int64

	mu  sync.Mutex
	own *replicate.Intake
	to  map[view.NodeID]*replicate.Intake
}

// NewIntakes has writes wait for others no longer than a tenth of the time after which
// a store counts as silent, so that none does only because it has much to do.
func NewIntakes(ackTimeout time.Duration, most int64) *Intakes {
	target := ackTimeout / 10
	return &Intakes{target: target, most: most, own: replicate.NewIntake(target, leastOwn, most), to: make(map[view.NodeID]*replicate.Intake)}
}

// Pass is the place of one write in an intake. The zero Pass has none.
type Pass struct {
	in                     *replicate.Intake // nil: all is over
	bytes                  int64
	begun                  time.Duration
	answered, busy, isLate bool
}

// AdmitPass takes a place for a write that this store is to coordinate, or that to is
// to, if it is not zero. It reports false if there is no room.
func (i *Intakes) AdmitPass(p *Pass, to view.NodeID, bytes int, now time.Duration) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	in := i.intakeOf(to)
	if !in.Begin(int64(bytes)) {
		return false
	}
	*p = Pass{in: in, bytes: int64(bytes), begun: now}
	return true
}

// AdmitAll is AdmitPass for a batch: it returns how many writes, from the first on,
// have a place.
func (i *Intakes) AdmitAll(passes []*Pass, to view.NodeID, sizes []int64, now time.Duration) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	in := i.intakeOf(to)
	n := in.BeginAll(sizes)
	for k, p := range passes[:n] {
		*p = Pass{in: in, bytes: sizes[k], begun: now}
	}
	return n
}

// intakeOf needs mu.
func (i *Intakes) intakeOf(to view.NodeID) *replicate.Intake {
	if to == 0 {
		return i.own
	}
	in := i.to[to]
	if in == nil {
		in = replicate.NewIntake(i.target, leastForward, i.most)
		i.to[to] = in
	}
	return in
}

// MarkLate notes that a part of the write was refused or not done in time.
func (i *Intakes) MarkLate(p *Pass) {
	i.mu.Lock()
	p.isLate = true
	i.mu.Unlock()
}

// ReleasePass gives the place back: the client is answered.
func (i *Intakes) ReleasePass(p *Pass) {
	i.mu.Lock()
	p.leaveIntake()
	i.mu.Unlock()
}

func (p *Pass) leaveIntake() {
	if p.in != nil && !p.answered {
		p.answered, p.busy = true, p.in.Leave(p.bytes)
	}
}

// FinishPass takes note that all copies of the write are answered for.
func (i *Intakes) FinishPass(p *Pass, now time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if p.leaveIntake(); p.in != nil {
		p.in.Learn(p.bytes, p.begun, now, p.isLate, p.busy)
		p.in = nil
	}
}

// VoidPass gives the place back when nothing came of the write.
func (i *Intakes) VoidPass(p *Pass) {
	i.mu.Lock()
	defer i.mu.Unlock()
	p.leaveIntake()
	p.in = nil
}

// ForgetStores drops what was learned of stores that do not belong to the mesh any more.
func (i *Intakes) ForgetStores(belongs func(view.NodeID) bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for id := range i.to {
		if !belongs(id) {
			delete(i.to, id)
		}
	}
}
