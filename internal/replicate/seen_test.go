package replicate

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// Whatever stores know, answer or fail, a read that is to cover what was seen ends with
// that as soon as a store that replies has it, and not before all others have replied or
// failed where none has; what is missing is exactly what no reply covers.
func TestReadCoversWhatWasSeen(t *testing.T) {
	for seed := range uint64(2000) {
		chance := rand.New(rand.NewPCG(seed, 3))
		stores := 1 + chance.IntN(9)
		plan := Plan{Self: view.NodeID(1 + chance.IntN(stores)), Homes: 1 + chance.IntN(min(stores, 5)), Live: func(view.NodeID) bool { return true }}
		for i := range stores {
			plan.Order = append(plan.Order, view.NodeID(i+1))
		}
		chance.Shuffle(stores, func(i, j int) { plan.Order[i], plan.Order[j] = plan.Order[j], plan.Order[i] })
		holds := make(map[view.NodeID]version.Item)
		fails := make(map[view.NodeID]bool)
		syncing := make(map[view.NodeID]bool)
		for _, id := range plan.Order {
			var dots []uint64
			for d := uint64(1); d <= 3; d++ {
				if chance.IntN(4) == 0 {
					dots = append(dots, d)
				}
			}
			holds[id], fails[id], syncing[id] = item(dots...), chance.IntN(6) == 0, chance.IntN(6) == 0
		}
		seen := item(uint64(1+chance.IntN(3)), uint64(1+chance.IntN(3))).Ctx
		op := NewRead(plan, []Level{One, Quorum, Sloppy(2)}[chance.IntN(3)], false, 0)
		op.Cover(seen)
		asked := op.Start(0)
		var merged version.Context
		replied, due, done := map[view.NodeID]bool{}, slices.Clone(asked), len(asked) == 0
		for !done {
			if len(due) == 0 {
				t.Fatalf("seed %d: it waits for nobody", seed)
			}
			i := chance.IntN(len(due))
			id := due[i]
			due = slices.Delete(due, i, i+1)
			var more []view.NodeID
			if fails[id] {
				more, done = op.Failed(id, 1)
			} else {
				r := Reply{From: id, Know: Absent, Syncing: syncing[id] || !plan.IsHome(id)}
				if !holds[id].Unknown() {
					r.Know, r.Item = Present, holds[id]
				}
				merged, replied[id] = merged.Join(holds[id].Ctx), true
				more, done = op.Replied(r, 1)
			}
			due, asked = append(due, more...), append(asked, more...)
		}
		r := op.Result()
		var missing []version.Dot
		for _, e := range seen {
			if !merged.Covers(version.Dot(e)) {
				missing = append(missing, version.Dot(e))
			}
		}
		if !slices.Equal(missing, r.Missing) {
			t.Fatalf("seed %d: missing %v, want %v", seed, r.Missing, missing)
		}
		if len(missing) > 0 && len(asked) != stores {
			t.Fatalf("seed %d: %d of %d stores were asked, and %v is missing", seed, len(asked), stores, missing)
		}
		all := len(missing) > 0
		for _, id := range plan.Order {
			all = all && replied[id] && (!plan.IsHome(id) || !syncing[id])
		}
		if r.HeardAll != all {
			t.Fatalf("seed %d: heard all: %v", seed, r.HeardAll)
		}
	}
}

// A read that asks nobody for more than its level does ends as it always did.
func TestReadWithNothingSeen(t *testing.T) {
	op := NewRead(plan5(1), One, false, 0)
	op.Cover(nil)
	if got := ids(op.Start(0)); got != "[1 2]" {
		t.Errorf("asks %s", got)
	}
	if more, done := op.Replied(Reply{From: 1, Know: Present, Item: item(1)}, 1); len(more) != 0 || !done {
		t.Errorf("goes on with %v", more)
	}
	if r := op.Result(); r.Err != nil || r.Missing != nil || r.HeardAll {
		t.Errorf("%+v", r)
	}
}

// Attempts come more and more seldom, until the time is over. Two after one another to
// which all stores have replied are conclusive, one is not.
func TestPursuit(t *testing.T) {
	missing := func(all bool) *ReadResult {
		return &ReadResult{Missing: []version.Dot{{N: 1}}, HeardAll: all}
	}
	p := NewPursuit(10*time.Second, time.Second)
	if _, ok := p.Next(&ReadResult{}, false, 0); ok {
		t.Error("goes on although nothing is missing")
	}
	var now, last time.Duration
	n := 0
	for {
		wait, ok := p.Next(missing(false), false, now)
		if !ok {
			break
		}
		if wait < last || wait > 500*time.Millisecond || wait == 0 {
			t.Errorf("attempt %d waits %v after %v", n, wait, last)
		}
		now, last = now+wait, wait
		n++
	}
	if now > 10*time.Second || now < 9*time.Second || n > 40 {
		t.Errorf("%d attempts until %v", n, now)
	}
	p = NewPursuit(10*time.Second, time.Second)
	for i, all := range []bool{true, false, true} {
		if _, ok := p.Next(missing(all), false, 0); !ok {
			t.Errorf("attempt %d was the last", i)
		}
	}
	r := missing(true)
	if _, ok := p.Next(r, false, 0); ok || r.Missing != nil {
		t.Errorf("goes on, or misses %v, after all have replied twice", r.Missing)
	}
	if _, ok := p.Next(&ReadResult{}, true, 0); !ok {
		t.Error("does not wait for what waits to be written")
	}
}
