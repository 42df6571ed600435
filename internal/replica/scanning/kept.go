package scanning

import (
	"sync"
	"time"
)

// Of a scan whose next page may be asked for the order is kept. To find the place in each
// of some hundred shards again for every page would cost more than to read the page. What
// was read ahead is as old as the order, so it is not used for long, and let go of after
// twice as long.
const (
	keptOrdersAtMost = 4
	keptFor          = 5 * time.Second
)

// keptOrders are the orders of scans between two of their pages. Its methods may be used
// concurrently.
type keptOrders struct {
	mu      sync.Mutex
	byScan  map[uint64]*order
	tidying bool
}

// takeOrder takes an order out; nil if there is none.
func (k *keptOrders) takeOrder(scan uint64) *order {
	k.mu.Lock()
	defer k.mu.Unlock()
	o := k.byScan[scan]
	delete(k.byScan, scan)
	return o
}

// putOrder keeps an order in the place of the oldest one.
func (k *keptOrders) putOrder(scan uint64, o *order) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byScan == nil {
		k.byScan = make(map[uint64]*order)
	}
	if len(k.byScan) >= keptOrdersAtMost {
		oldest := scan
		for other, kept := range k.byScan {
			if old, ok := k.byScan[oldest]; !ok || kept.begun.Before(old.begun) {
				oldest = other
			}
		}
		delete(k.byScan, oldest)
	}
	k.byScan[scan] = o
}

// beginTidying tells whether the caller is to have dropOld called from now on.
func (k *keptOrders) beginTidying() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	begins := !k.tidying
	k.tidying = true
	return begins
}

// dropOld lets go of what is too old to be read on in. It returns whether something is
// left, and ends the tidying otherwise.
func (k *keptOrders) dropOld() (left bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for scan, o := range k.byScan {
		if o.isOld() {
			delete(k.byScan, scan)
		}
	}
	k.tidying = len(k.byScan) > 0
	return k.tidying
}
