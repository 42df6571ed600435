package layout

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

const (
	shards    = 16
	healAfter = time.Minute
)

// viewOf is a view of storing members 1 to n in zones of their own, of which some are down.
func viewOf(n int, down ...view.NodeID) view.View {
	v := view.View{Self: 1, Roster: uint64(n), Storing: [16]byte{byte(n)}}
	for id := view.NodeID(1); id <= view.NodeID(n); id++ {
		m := view.Member{ID: id, Name: id.String(), Zone: id.String(), Weight: 1, Storing: true, State: view.Alive}
		if slices.Contains(down, id) {
			m.State = view.Failed
		}
		v.Members = append(v.Members, m)
	}
	return v
}

// newHomes are the homes as member 1 of n sees them, with a bucket of three copies.
func newHomes(t *testing.T, n int, change ...func(*Options)) (*Homes, *Bucket) {
	t.Helper()
	opts := Options{Self: 1, Shards: shards, Stores: true, Silence: peering.NewSilence(time.Minute), HealAfter: healAfter, Log: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&opts)
	}
	h, err := New(opts, viewOf(n))
	if err != nil {
		t.Fatal(err)
	}
	b, err := h.Buckets.AddDefinition(wire.BucketDef{Name: "b", Copies: 3})
	if err != nil {
		t.Fatal(err)
	}
	return h, b
}

func apply(t *testing.T, h *Homes, v view.View, now time.Duration) Change {
	t.Helper()
	c, err := h.Apply(v, now)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ownShard is a shard of which member 1 is a home.
func ownShard(t *testing.T, h *Homes, b *Bucket) int {
	t.Helper()
	for shard := range shards {
		if h.IsHome(Slice{b.ID, shard}) {
			return shard
		}
	}
	t.Fatal("a home of nothing")
	return 0
}

func none(int) bool { return false }

// A view tells who has come, who has gone out of contact, and whether homes have moved.
// All homes stay the same as long as the roster does, whoever is in contact.
func TestViewsAreFollowed(t *testing.T) {
	h, b := newHomes(t, 4)
	before := h.Now()
	c := apply(t, h, viewOf(4, 3), time.Second)
	if c.Roster || c.Healed || len(c.Back) > 0 || !slices.Equal(c.Lost, []view.NodeID{3}) || c.Now != h.Now() {
		t.Errorf("3 goes down: %+v", c)
	}
	for shard := range shards {
		if !slices.Equal(before.RouteOf(b, shard).Order, h.Now().RouteOf(b, shard).Order) {
			t.Errorf("homes of shard %d have moved", shard)
		}
	}
	if h.IsPeer(3) || !h.IsPeer(2) || h.IsPeer(1) || !slices.Equal(h.PeersInContact(), []view.NodeID{2, 4}) {
		t.Errorf("in contact: %v", h.PeersInContact())
	}
	c = apply(t, h, viewOf(5), 2*time.Second)
	if !c.Roster || len(c.Lost) > 0 || !slices.Equal(slices.Sorted(slices.Values(c.Back)), []view.NodeID{3, 5}) {
		t.Errorf("3 is back, 5 is new: %+v", c)
	}
	moved := 0
	for shard := range shards {
		if slices.Contains(h.Now().RouteOf(b, shard).Order[:3], 5) {
			moved++
		}
	}
	if moved == 0 {
		t.Error("the new one is a home of nothing")
	}
}

// Members that are away must still agree to a purge; those that are gone need not.
func TestWhoMustAgree(t *testing.T) {
	v := viewOf(4, 2)
	v.Members[2].Status, v.Members[3].Status = view.Leaving, view.Left
	lay, err := makeLayout(nil, v, shards, 0)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(lay.Members, []view.NodeID{1, 2, 3}) || !slices.Equal(lay.Placed, []view.NodeID{1, 2}) || lay.Live(2) || !lay.Live(3) || lay.Live(4) {
		t.Errorf("%+v", lay)
	}
}

// Who leaves hands over by a layout without it. What was worked out for the one roster
// does not count for the other.
func TestLayoutWithoutTheLeaving(t *testing.T) {
	h, b := newHomes(t, 4)
	shard := ownShard(t, h, b)
	lay, err := h.LayoutWithout(viewOf(4))
	if err != nil {
		t.Fatal(err)
	}
	if rt := lay.RouteOf(b, shard); rt.IsHome(1) || rt.Homes != 3 || lay.Roster == h.Now().Roster {
		t.Errorf("homes without it: %+v", rt)
	}
	if !h.Now().RouteOf(b, shard).IsHome(1) || !h.Keeps(Slice{b.ID, shard}) {
		t.Error("it is no home any more although it has not left")
	}
}

// Copies are made elsewhere after a time, and once others do not reach the store either.
func TestLostHomeIsReplaced(t *testing.T) {
	h, b := newHomes(t, 4)
	var at Slice
	for shard := range shards {
		if rt := h.Now().RouteOf(b, shard); !rt.IsHome(1) && rt.IsHome(4) {
			at = Slice{b.ID, shard}
		}
	}
	if at.Bucket == 0 || h.Keeps(at) {
		t.Fatalf("no shard to take over: %v", at)
	}
	apply(t, h, viewOf(4, 4), 0)
	healed := false
	for now := time.Duration(0); now < 2*healAfter; now += healAfter / 8 {
		healed = h.LookAgain(now) || healed
		if id, ok := h.NextInquest(); ok {
			if healed || id != 4 {
				t.Errorf("healed %v before %v is asked about", healed, id)
			}
			h.Heard(now, id, view.Witnesses{Need: 3, Asked: 3, Failed: 3, Confirmed: true})
		}
	}
	if !healed || !h.Keeps(at) || h.IsHome(at) {
		t.Errorf("healed %v, keeps it %v", healed, h.Keeps(at))
	}
	if c := apply(t, h, viewOf(4), 2*healAfter); !c.Healed || h.Keeps(at) {
		t.Errorf("kept although its home is back: %+v", c)
	}
}

// What cannot be told is kept: nothing is dropped on a guess.
func TestUnknownBucketIsKept(t *testing.T) {
	h, _ := newHomes(t, 4)
	if at := (Slice{99, 1}); !h.IsHome(at) || !h.Keeps(at) {
		t.Error("a record of an unknown bucket would be let go of")
	}
}

// Silent stores are left out as long as there are others, and are tried last.
func TestSilentStoresComeLast(t *testing.T) {
	h, b := newHomes(t, 5)
	rt := h.Now().RouteOf(b, ownShard(t, h, b))
	silent := rt.Order[:rt.Homes][0]
	if silent == 1 {
		silent = rt.Order[1]
	}
	h.opts.Silence.Note(silent, false)
	if plan := h.MakePlan(h.Now(), rt); plan.Live(silent) {
		t.Error("a silent home is planned with although there are others")
	}
	loud := view.NodeID(0) // beside this store itself
	for _, id := range slices.Backward(rt.Order) {
		if id != 1 && loud == 0 {
			loud = id
		} else if id != 1 {
			h.opts.Silence.Note(id, false)
		}
	}
	h.opts.Silence.Note(loud, true)
	plan := h.MakePlan(h.Now(), rt)
	if !plan.Live(silent) {
		t.Error("too few are left to plan with")
	}
	all := h.OrderCoordinators(plan, rt)
	if last := slices.IndexFunc(all, h.opts.Silence.Has); last < 0 || slices.ContainsFunc(all[last:], func(id view.NodeID) bool { return !h.opts.Silence.Has(id) }) {
		t.Errorf("tried in the order %v, all but 1 and %v are silent", all, loud)
	}
}

// A home proves nothing by what it lacks until it is equal with enough others; what was
// compared under another roster, or before a loss, does not count.
func TestVouching(t *testing.T) {
	h, b := newHomes(t, 3)
	shard := ownShard(t, h, b)
	at, all := []Slice{{b.ID, shard}}, []byte{0xff, 0xff}
	h.FollowBucket(b, none)
	if b.ProvesAbsence(shard) || !h.CannotVouch(h.Now()) {
		t.Fatal("vouches from the start")
	}
	h.NoteEqual(h.Now(), h.Losses(), 2, at, all)
	then := h.Now()
	if _, changed := h.NoteEqual(then, h.Losses(), 3, at, all); !changed || !b.ProvesAbsence(shard) {
		t.Fatal("equal with all others, and vouches for nothing")
	}
	note := b.SettledNote(h.Now())
	losses := h.Losses()
	h.NoteLoss(func(lost Slice) bool { return lost == at[0] })
	if b.ProvesAbsence(shard) || hasBit(b.SeasonedBits(shards), shard) {
		t.Error("vouches for what it has lost")
	}
	for _, peer := range []view.NodeID{2, 3} {
		if h.NoteEqual(then, losses, peer, at, all); b.ProvesAbsence(shard) {
			t.Error("a comparison from before the loss counts")
		}
	}
	if h.ReadSettled(b.SettledNote(h.Now()))(shard) {
		t.Error("a restart would make up for the loss")
	}
	if !h.ReadSettled(note)(shard) || h.ReadSettled(nil)(shard) {
		t.Error("the note does not tell what it was made of")
	}
	apply(t, h, viewOf(4), 0)
	if h.ReadSettled(note)(shard) {
		t.Error("a note of another roster counts")
	}
	for _, peer := range []view.NodeID{2, 3, 4} {
		if h.NoteEqual(then, h.Losses(), peer, at, all); b.ProvesAbsence(shard) {
			t.Error("a comparison under another roster counts")
		}
	}
}

// Where more homes count than were asked, a home vouches no more until it has asked them.
func TestVouchingEndsWithMoreHomes(t *testing.T) {
	h, b := newHomes(t, 2)
	shard := ownShard(t, h, b)
	at, all := []Slice{{b.ID, shard}}, []byte{0xff, 0xff}
	h.FollowBucket(b, none)
	if h.NoteEqual(h.Now(), h.Losses(), 2, at, all); !b.ProvesAbsence(shard) {
		t.Fatal("equal with the only other home, and vouches for nothing")
	}
	apply(t, h, viewOf(3), 0)
	if h.FollowBucket(b, none); b.ProvesAbsence(shard) {
		t.Fatal("vouches for what one of three homes has")
	}
	if h.NoteEqual(h.Now(), h.Losses(), 3, at, all); !b.ProvesAbsence(shard) {
		t.Fatal("equal with all others, and vouches for nothing")
	}
}

// A bucket's id opens only its own data, and a name in two ways is told of.
func TestDefinitions(t *testing.T) {
	var told []string
	h, b := newHomes(t, 3, func(o *Options) { o.Added = func(b *Bucket) { told = append(told, b.Def.Name) } })
	computed := wire.BucketDef{Name: "computed", Copies: 3}
	c, err := h.Buckets.AddDefinition(computed)
	if err != nil {
		t.Fatal(err)
	}
	c.Def.Name = "policy" // as if its hash were that of the other
	if _, err := h.Buckets.AddDefinition(computed); !errors.Is(err, ErrBucketConflict) {
		t.Errorf("the other's bucket is opened: %v", err)
	}
	if err := h.Buckets.CheckDefinition(&reconcile.Write{Value: wire.AppendBucketDef(nil, &computed)}); !errors.Is(err, ErrBucketConflict) {
		t.Errorf("may be written: %v", err)
	}
	var it version.Item
	for i, def := range []wire.BucketDef{b.Def, {Name: "b", Copies: 2}, {Name: "else", Copies: 2}} {
		dot := version.Dot{A: version.Actor{Store: uint64(i) + 1, Session: 1, Seq: 1}, N: 1}
		it.Sibs = append(it.Sibs, version.Sibling{Dot: dot, HLC: 1, Value: wire.AppendBucketDef(nil, &def)})
	}
	if h.Buckets.HasConflict("b") {
		t.Error("a conflict before there is one")
	}
	if in := h.Buckets.LearnDefinitions("b", it, 0); len(in) != 2 || in[0] != b || !h.Buckets.HasConflict("b") {
		t.Errorf("in force: %v, conflict %v", in, h.Buckets.HasConflict("b"))
	}
	if !slices.Equal(told, []string{"b", "computed", "b"}) {
		t.Errorf("told of %v", told)
	}
	if all := h.Buckets.ListAll(); len(all) != 4 || all[0] != h.Buckets.System() {
		t.Errorf("%d buckets, or not in their order", len(all))
	}
}
