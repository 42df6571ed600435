package roster

import (
	"testing"

	"github.com/skeinmesh/skein/mesh/view"
)

func TestHear(t *testing.T) {
	r := with(t, Roster{}, plain(1, "a"), plain(2, "b"))
	said := func(change func(*Entry)) Roster {
		e := plain(2, "b")
		change(&e)
		return with(t, Roster{}, e)
	}
	evicted := func(e *Entry) { e.Status = view.Evicted }
	for name, c := range map[string]struct {
		from  view.NodeID
		said  Roster
		alive bool
		doubt bool
		take  bool // merged as it was said
	}{
		"one that runs is evicted":         {1, said(evicted), true, true, false},
		"one that is down":                 {1, said(evicted), false, false, true},
		"it has left, by itself":           {2, said(func(e *Entry) { e.Status = view.Left }), true, false, true},
		"it is leaving, by another":        {1, said(func(e *Entry) { e.Status = view.Leaving }), true, true, false},
		"a later life of one that runs":    {1, said(func(e *Entry) { e.Boot++ }), true, true, false},
		"another life of one that runs":    {1, said(func(e *Entry) { e.Instance++ }), true, true, false},
		"a later life of one that is down": {1, said(func(e *Entry) { e.Boot++ }), false, false, true},
		"a life out of all reason":         {1, said(func(e *Entry) { e.Boot = 1 << 63 }), false, false, false},
		"no news":                          {1, said(func(e *Entry) { e.Boot-- }), true, false, true},
		"another address":                  {1, said(func(e *Entry) { e.Weight, e.HLC = 3, 9 }), true, false, true},
		"a relic of one that runs":         {1, relicsOf(2, 1), true, true, false},
		"a relic of one that is down":      {1, relicsOf(2, 1), false, false, true},
		"its own relic":                    {2, relicsOf(2, 1), true, false, true},
		"relics of strangers":              {1, relicsOf(3, 2), true, false, true},
		"a newcomer":                       {1, with(t, Roster{}, plain(3, "c")), true, false, true},
	} {
		take, doubts := r.Hear(c.from, c.said, func(view.NodeID) bool { return c.alive })
		if (len(doubts) > 0) != c.doubt || same(take, c.said) != c.take {
			t.Errorf("%s: taken %+v, in doubt %+v", name, take, doubts)
		}
		if m := merge(r, take); !c.take && !same(m, r) {
			t.Errorf("%s: %+v became %+v", name, r, m)
		}
	}
}

func TestBelieve(t *testing.T) {
	camera, gone := plain(4, "d"), plain(5, "e")
	camera.Storing, gone.Status = false, view.Evicted
	r := with(t, Roster{}, plain(1, "a"), plain(2, "b"), plain(3, "c"), camera, gone)
	for name, c := range map[string]struct {
		by      []view.NodeID
		against int
		want    bool
	}{
		"nobody":                        {nil, 0, false},
		"one, and nobody else is there": {[]view.NodeID{2}, 0, true},
		"one, another says otherwise":   {[]view.NodeID{2}, 1, false},
		"two, another says otherwise":   {[]view.NodeID{2, 3}, 1, true},
		"those that store nothing":      {[]view.NodeID{4, 5, 99}, 0, false},
		"itself":                        {[]view.NodeID{1}, 0, false},
		"one that stores, and a camera": {[]view.NodeID{2, 4}, 1, false},
	} {
		if got := r.Believe(1, c.by, c.against); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
