package partition

import (
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// hear has n take notices in as from a peer.
func hear(t *testing.T, n *notices, said ...wire.Notice) {
	t.Helper()
	if err := n.Take(t.Context(), 2, said); err != nil {
		t.Fatal(err)
	}
}

// What a fault makes of notices silences nobody and takes no room: none of a node
// that is not in the roster, or of a life that it does not know of.
func TestFaultyNoticesAreNotTaken(t *testing.T) {
	v := view.View{Self: 1, Members: []view.Member{
		{ID: 1, Status: view.Active, Boot: 3}, {ID: 2, Status: view.Active, Boot: 5}, {ID: 3, Status: view.Left, Boot: 5},
	}}
	now := time.Duration(0)
	n := newNotices(&ground{id: 1}, 3, func() time.Duration { return now }, func() view.View { return v })
	n.changeOwn(func(*wire.Notice) {})
	for name, bad := range map[string]wire.Notice{
		"a stranger's":    {Node: 9, Boot: 1, Seq: 1},
		"one who left":    {Node: 3, Boot: 5, Seq: 1},
		"a later life":    {Node: 2, Boot: 6, Seq: 1},
		"the last of all": {Node: 2, Boot: 5, Seq: 1<<64 - 1},
	} {
		hear(t, n, bad)
		if _, ok := n.allNotices()[bad.Node]; ok {
			t.Errorf("%s is taken", name)
		}
	}
	now = time.Second
	hear(t, n, wire.Notice{Node: 2, Boot: 5, Seq: 7, Score: 1})
	if got := n.allNotices()[2]; got.Seq != 7 || got.at != time.Second {
		t.Errorf("a good one: %+v", got)
	}
}

// Whatever others hold of a node, it has the last word.
func TestOwnNoticeHasTheLastWord(t *testing.T) {
	v := view.View{Self: 1, Members: []view.Member{{ID: 1, Status: view.Active, Boot: 3}}}
	now := time.Duration(0)
	n := newNotices(&ground{id: 1}, 3, func() time.Duration { return now }, func() view.View { return v })
	n.changeOwn(func(n *wire.Notice) { n.Score = 1 })
	n.TakeNews()
	hear(t, n, wire.Notice{Node: 1, Boot: 3, Seq: 1, Score: 1}, wire.Notice{Node: 1, Boot: 2, Seq: 70})
	if got := n.TakeNews(); len(got) != 0 {
		t.Errorf("an echo, and what it said in an earlier life: %+v", got)
	}
	now = time.Minute
	hear(t, n, wire.Notice{Node: 1, Boot: 3, Seq: 70, Score: 999})
	got := n.TakeNews()
	if len(got) != 1 || got[0].Seq != 71 || got[0].Score != 1 || got[0].Up != time.Minute {
		t.Errorf("one that it has not made: %+v", got)
	}
	n.changeOwn(func(n *wire.Notice) { n.Score = 2 })
	if got := n.TakeNews(); len(got) != 1 || got[0].Seq != 72 || got[0].Score != 2 {
		t.Errorf("the next: %+v", got)
	}
}

// What a node said before it was restarted counts no more.
func TestClaimOfAnEarlierLife(t *testing.T) {
	name := Election{Name: "x"}
	said := heardNotice{Notice: wire.Notice{Node: 2, Boot: 5, Seq: 1, Standing: []wire.Stand{{Election: toWire(name)}}, Leads: []wire.Claim{{Election: toWire(name), Term: 4}}}}
	s := &scene{self: 1, within: map[view.NodeID]bool{1: true, 2: true}, notices: map[view.NodeID]heardNotice{2: said}}
	for boot, want := range map[uint64]int{5: 1, 6: 0} {
		s.view = view.View{Self: 1, Members: []view.Member{{ID: 2, State: view.Alive, Boot: boot}}}
		if f := s.electionField(name); len(f.Claims) != want || len(f.Standing) != want {
			t.Errorf("boot %d: %+v", boot, f)
		}
	}
}

// Voters that others have fixed come before those that this node names if they bear
// these names, one that was evicted too; no node makes itself or strangers the voters. They
// need not store, if most of them do or this node names them.
// A name that two bear names nobody.
func TestVotersOfOthersComeFirst(t *testing.T) {
	v := view.View{Self: 1, Members: []view.Member{
		{ID: 1, Name: "a", Status: view.Active, Storing: true}, {ID: 2, Name: "b", Status: view.Active, Storing: true},
		{ID: 3, Name: "c", Status: view.Active, Storing: true}, {ID: 4, Name: "c", Status: view.Active, Storing: true},
		{ID: 5, Name: "camera", Status: view.Active}, {ID: 6, Name: "e", Status: view.Evicted, Storing: true},
	}}
	fixed := wire.Voters{Version: votersVersion, IDs: []view.NodeID{2, 3}}
	says := func(ids ...view.NodeID) map[view.NodeID]heardNotice {
		return map[view.NodeID]heardNotice{2: {Notice: wire.Notice{Node: 2, Voters: wire.Voters{Version: votersVersion, IDs: ids}}}}
	}
	others := says(fixed.IDs...)
	for name, c := range map[string]struct {
		names []string
		told  map[view.NodeID]heardNotice
		ready bool
		want  []view.NodeID
	}{
		"its own":         {[]string{"a", "b"}, nil, true, []view.NodeID{1, 2}},
		"too soon":        {[]string{"a", "b"}, nil, false, nil},
		"those of others": {nil, others, true, fixed.IDs},
		"by the names":    {[]string{"b", "c"}, others, true, fixed.IDs},
		"other names":     {[]string{"a", "b"}, others, true, []view.NodeID{1, 2}},
		"one of three":    {[]string{"a", "b", "e"}, says(2), true, nil},
		"itself only":     {nil, says(5), true, nil},
		"with one other":  {nil, says(2, 5), true, nil},
		"a witness":       {nil, says(1, 2, 5), true, []view.NodeID{1, 2, 5}},
		"its own witness": {[]string{"a", "b", "camera"}, nil, true, []view.NodeID{1, 2, 5}},
		"a named witness": {[]string{"a", "camera"}, says(1, 5), true, []view.NodeID{1, 5}},
		"a witness only":  {[]string{"a", "b", "camera"}, says(5), true, []view.NodeID{1, 2, 5}},
		"a stranger":      {nil, says(9), true, nil},
		"and a stranger":  {nil, says(1, 2, 9), true, nil},
		"one who left":    {[]string{"a", "e"}, says(1, 6), true, []view.NodeID{1, 6}},
		"two bear a name": {[]string{"a", "c"}, nil, true, nil},
		"nobody bears it": {[]string{"a", "d"}, nil, true, nil},
	} {
		g := &ground{cfg: Config{Voters: c.names, fs: vfs.NewMem()}.withDefaults(), id: 1, group: lifecycle.NewGroup(t.Context()), lookBell: make(chan struct{}, 1)}
		g.ready.Store(c.ready)
		g.log = g.cfg.Logger
		voters := &voters{ground: g}
		voters.learnVoters(v, c.told)
		g.group.Close()
		if got := voters.knownVoters().IDs; !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// Of those gone for long views say nothing. What they have said is forgotten, and
// what one said that is not in this view yet is kept.
func TestNoticesOfThoseWhoAreReduced(t *testing.T) {
	member := func(id view.NodeID) view.Member { return view.Member{ID: id, Status: view.Active, Boot: 1} }
	before := view.View{Self: 1, Members: []view.Member{member(1), member(2)}}
	now := view.View{Self: 1, Members: []view.Member{member(1), member(2), member(3)}}
	n := newNotices(&ground{id: 1}, 1, func() time.Duration { return 0 }, func() view.View { return now })
	w := &watcher{ground: n.ground, notices: n, view: before}
	hear(t, n, wire.Notice{Node: 2, Boot: 1, Seq: 1}, wire.Notice{Node: 3, Boot: 1, Seq: 1})
	w.takeView(before)
	if len(n.allNotices()) != 2 {
		t.Errorf("one whose member was not seen yet is forgotten: %+v", n.allNotices())
	}
	w.takeView(view.View{Self: 1, Members: []view.Member{member(1), member(3)}})
	if all := n.allNotices(); len(all) != 1 || all[3].Seq != 1 {
		t.Errorf("kept %+v", all)
	}
}
