package replicate

import (
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// tryNow tells whom to try, 0 for nobody.
func tryNow(d *Doubts, now time.Duration) (view.NodeID, uint64) {
	id, event, _ := d.Try(now, func(id view.NodeID) bool { return id < 10 })
	return id, event
}

func TestDoubtsAreTriedMoreAndMoreSeldom(t *testing.T) {
	d := Doubts{First: time.Second, Last: 4 * time.Second}
	d.Raise(1, 0)
	d.Raise(11, 0) // out of contact
	now := time.Duration(0)
	for i, wait := range []time.Duration{0, 1, 2, 4, 4} {
		now += wait * time.Second
		if id, _ := tryNow(&d, now-1); id != 0 {
			t.Errorf("try %d came early", i)
		}
		if id, _ := tryNow(&d, now); id != 1 {
			t.Errorf("try %d at %v: %v", i, now, id)
		}
	}
	d.Miss(1, now) // no reason to hurry
	if due, _ := d.Due(func(view.NodeID) bool { return true }); due != 0 {
		t.Errorf("who is out of contact is due at %v", due)
	}
	if due, ok := d.Due(func(id view.NodeID) bool { return id == 1 }); !ok || due != now+4*time.Second {
		t.Errorf("due at %v", due)
	}
	d.TryBy(1, now+5*time.Second)
	d.TryBy(3, 0) // about whom there is no doubt
	if due, _ := d.Due(func(id view.NodeID) bool { return id == 1 }); due != now+4*time.Second {
		t.Errorf("by 5s means at %v", due-now)
	}
	d.TryBy(1, now+3*time.Second)
	if due, _ := d.Due(func(id view.NodeID) bool { return id == 1 }); due != now+3*time.Second {
		t.Errorf("by 3s means at %v", due-now)
	}
	d.Raise(2, now)
	if id, _ := tryNow(&d, now); id != 2 {
		t.Error("one that does not become equal holds up another")
	}
	d.Raise(1, now)
	if id, _ := tryNow(&d, now); id != 1 {
		t.Error("an event is no reason to hurry")
	}
	if due, _ := d.Due(func(id view.NodeID) bool { return id == 1 }); due != now+time.Second {
		t.Errorf("after an event the next try is at %v", due)
	}
}

func TestDoubtsEndWithWhatATryHasShown(t *testing.T) {
	d := Doubts{First: time.Second, Last: time.Minute}
	d.Raise(1, 0)
	_, event := tryNow(&d, 0)
	d.Miss(1, 0) // while it is tried
	if d.Settle(1, event) || !d.Has(1) {
		t.Error("a try has settled what happened during it")
	}
	if id, _ := tryNow(&d, 500*time.Millisecond); id != 0 {
		t.Error("tried again at once")
	}
	_, event = tryNow(&d, time.Second)
	if !d.Settle(1, event) || d.Has(1) {
		t.Error("not settled")
	}
	d.Miss(2, 0)
	if id, _ := tryNow(&d, 0); id != 0 {
		t.Error("a miss is tried at once: what is kept for the peer is on its way")
	}
	if d.Forget(func(view.NodeID) bool { return false }); len(d.Events()) > 0 {
		t.Error("who is gone is not forgotten")
	}
}
