package lifecycle

import (
	"sync"
	"sync/atomic"
	"testing"
)

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestGateWaitsForAllWithin(t *testing.T) {
	g := NewGate()
	leave, ok := g.Enter()
	if !ok {
		t.Fatal("an open gate refuses")
	}
	stays := g.Stay()
	empty := g.Shut()
	if _, ok := g.Enter(); ok || !g.IsShut() {
		t.Error("a shut gate lets in")
	}
	leave()
	if isClosed(empty) {
		t.Error("empty with one within")
	}
	more := g.Stay()
	stays()
	if isClosed(empty) {
		t.Error("one that stays does not count")
	}
	more()
	if !isClosed(empty) || !isClosed(g.Shut()) {
		t.Error("all have left")
	}
	if _, ok := g.Enter(); ok {
		t.Error("let in afterwards")
	}
}

func TestGateOpensAgain(t *testing.T) {
	g := NewGate()
	if !isClosed(g.Shut()) {
		t.Error("nobody is within")
	}
	g.Open()
	leave, ok := g.Enter()
	if !ok || g.IsShut() {
		t.Fatal("an open gate refuses")
	}
	if empty := g.Shut(); isClosed(empty) {
		t.Error("what was empty before it was opened is empty still")
	} else if leave(); !isClosed(empty) {
		t.Error("all have left")
	}
}

// Whoever was let in has left when a shut gate is empty, however many enter meanwhile.
func TestEnterRacesShut(t *testing.T) {
	for range 300 {
		g := NewGate()
		var within atomic.Int64
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for {
					leave, ok := g.Enter()
					if !ok {
						return
					}
					within.Add(1)
					within.Add(-1)
					leave()
				}
			})
		}
		<-g.Shut()
		if n := within.Load(); n != 0 {
			t.Fatalf("%d within", n)
		}
		all.Wait()
	}
}

func TestGateAllocatesNothing(t *testing.T) {
	g := NewGate()
	if n := testing.AllocsPerRun(100, func() {
		leave, _ := g.Enter()
		leave()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
