package watch

import (
	"fmt"
	"testing"

	"github.com/skeinmesh/skein/replica/version"
)

// seenOf is a context of births, and how many writes of each were seen.
func seenOf(births ...uint64) (c version.Context) {
	for i, n := range births {
		if n > 0 {
			c = c.With(version.Actor{Store: uint64(i + 1), Session: 1, Seq: 1}, n)
		}
	}
	return c
}

func liveState(key string, births ...uint64) State {
	return State{Key: key, Ctx: seenOf(births...), Live: true}
}

func deadState(key string, births ...uint64) State { return State{Key: key, Ctx: seenOf(births...)} }

func TestNotesTellWhatIsNew(t *testing.T) {
	for _, c := range []struct {
		name   string
		states []State
		told   string // y or n for each
	}{
		{"forward", []State{liveState("k", 1), liveState("k", 2), deadState("k", 3), liveState("k", 4)}, "yyyy"},
		{"back", []State{liveState("k", 2), liveState("k", 1), deadState("k", 1)}, "ynn"},
		{"again", []State{liveState("k", 2), liveState("k", 2)}, "yn"},
		{"ends, once", []State{liveState("k", 2), deadState("k", 2), deadState("k", 2), liveState("k", 2)}, "yynn"},
		{"gone already", []State{deadState("k", 1), deadState("k", 2), liveState("k", 3)}, "yny"},
		{"beside", []State{liveState("k", 1), liveState("k", 0, 1), liveState("k", 1, 1)}, "yyy"},
		{"beside and back", []State{liveState("k", 1), liveState("k", 0, 1), liveState("k", 1), liveState("k", 0, 1)}, "yynn"},
		{"merged and back", []State{liveState("k", 1), liveState("k", 1, 1), liveState("k", 0, 1)}, "yyn"},
	} {
		ns := NewNotes()
		for i, s := range c.states {
			if got := ns.Admit(s, false); got != (c.told[i] == 'y') {
				t.Errorf("%s: state %d is told: %v", c.name, i, got)
			}
		}
	}
	if ns := NewNotes(); ns.Admit(deadState("k", 1), true) || len(ns.byKey) != 0 {
		t.Error("the end of what nobody knew is told")
	}
}

func TestSweepFindsWhatAFillDidNotMeet(t *testing.T) {
	ns := NewNotes()
	for _, key := range []string{"met", "older", "gone", "dead", "elsewhere"} {
		s := liveState(key, 2)
		s.Live = key != "dead"
		if key == "elsewhere" {
			s.Shard = 1
		}
		ns.Admit(s, false)
	}
	ns.BeginFill()
	ns.Admit(liveState("met", 2), false)
	ns.Admit(liveState("older", 1), false) // it is there, if not as it was told
	ns.Admit(liveState("new", 1), false)
	got := ns.Sweep(func(shard int) bool { return shard == 0 })
	if len(got) != 1 || got[0].Key != "gone" {
		t.Fatalf("swept %+v", got)
	}
	if !ns.Forget("gone") || ns.Forget("gone") {
		t.Error("that a key is gone is not told, or told twice")
	}
	if !ns.Admit(liveState("gone", 2), false) {
		t.Error("what comes to light again is not told")
	}
}

// What comes of a key while it is read by itself is newer than what that finds.
func TestSweptKeyThatIsMetMeanwhileIsThere(t *testing.T) {
	for name, meanwhile := range map[string]State{"put": liveState("k", 3), "met": liveState("k", 2), "deleted": deadState("k", 3)} {
		ns := NewNotes()
		ns.Admit(liveState("k", 2), false)
		ns.BeginFill()
		if len(ns.Sweep(func(int) bool { return true })) != 1 {
			t.Fatal("it is not swept")
		}
		ns.Admit(meanwhile, false)
		if ns.Forget("k") || ns.byKey["k"] == nil {
			t.Errorf("%s: what was found before is told behind it", name)
		}
	}
	ns := NewNotes()
	ns.Admit(State{Key: "k", Ctx: seenOf(1), Live: true, Due: 5}, false)
	ns.BeginFill()
	if _, ended := ns.TakeEnded(5); !ended || ns.Forget("k") {
		t.Error("its end is told twice")
	}
}

// listNotes returns the notes in their order, the one told last first.
func (ns *Notes) listNotes() (out []*note) {
	for n := ns.order.behind; n != &ns.order; n = n.behind {
		out = append(out, n)
	}
	return out
}

func TestNotesAreBounded(t *testing.T) {
	ns := NewNotes()
	for i := range MostNotes + 10 {
		ns.Admit(liveState(fmt.Sprint(i), 1), false)
	}
	if len(ns.byKey) != MostNotes || len(ns.listNotes()) != MostNotes || ns.byKey["9"] != nil || ns.byKey["10"] == nil {
		t.Errorf("%d notes", len(ns.byKey))
	}
	ns.Admit(liveState("10", 2), false)
	if ns.Admit(liveState("more", 1), false); ns.byKey["10"] == nil || ns.byKey["11"] != nil {
		t.Error("the key told last is forgotten first")
	}
	for i := range 3000 {
		ns.Admit(liveState(fmt.Sprintf("%d%010000d", i, 0), 1, 1, 1), false)
	}
	sum := 0
	for _, n := range ns.listNotes() {
		sum += n.size()
	}
	if sum != ns.bytes || sum > MostNoteBytes {
		t.Errorf("%d bytes, counted %d", sum, ns.bytes)
	}
}

func TestEndsAreTakenInOrderAndOnce(t *testing.T) {
	ns := NewNotes()
	ends := func(key string, n uint64, due version.HLC) State {
		s := liveState(key, n)
		s.Due = due
		return s
	}
	for _, s := range []State{ends("later", 1, 30), ends("b", 1, 20), ends("a", 1, 10), ends("renewed", 1, 5), ends("renewed", 2, 40), ends("deleted", 1, 6), deadState("deleted", 2), ends("told", 1, 7)} {
		ns.Admit(s, false)
	}
	told := ends("told", 1, 7)
	told.Live = false
	if !ns.Admit(told, false) {
		t.Fatal("an end that a store tells of is no news")
	}
	for _, want := range []string{"a", "b", ""} {
		if s, ok := ns.TakeEnded(29); s.Key != want || ok != (want != "") || s.Live {
			t.Errorf("%+v ends, want %q", s, want)
		}
	}
	again := ends("a", 1, 10)
	again.Live = false
	if ns.Admit(again, false) {
		t.Error("an end is told twice")
	}
	for i := range 5 * MostNotes {
		ns.Admit(ends("renewed", uint64(i+3), version.HLC(100+i)), false)
	}
	if len(ns.ends) > 2*MostNotes {
		t.Errorf("%d ends of 7 keys are held", len(ns.ends))
	}
	if s, ok := ns.TakeEnded(1 << 40); !ok || s.Key != "later" {
		t.Errorf("%+v ends", s)
	}
	if s, ok := ns.TakeEnded(1 << 40); !ok || s.Key != "renewed" {
		t.Errorf("%+v ends", s)
	}
}
