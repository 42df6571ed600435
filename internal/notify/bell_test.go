package notify

import "testing"

func TestBellRingsOnce(t *testing.T) {
	b := NewBell()
	heard := func() bool {
		select {
		case <-b:
			return true
		default:
			return false
		}
	}
	if heard() {
		t.Error("it has rung by itself")
	}
	b.Ring()
	b.Ring() // nobody listens, and it does not block
	if !heard() || heard() {
		t.Error("two rings are not one")
	}
}
