package keep

import (
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/purge"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// putFor commits a client's write that lives for some time.
func (c *cellar) putFor(at layout.Place, value string, ttl time.Duration, roles ...replicate.Role) {
	c.t.Helper()
	done := make(chan error, 1)
	write := reconcile.Write{Value: []byte(value), TTL: ttl.Milliseconds()}
	_, err := c.CommitWrite(c.WhenRoom(c.t.Context()), at, write, roles, Terms{Nothing: true}, func(_ Written, err error) { done <- err })
	if err == nil {
		err = <-done
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cellar) load(at layout.Place) Stored {
	c.t.Helper()
	rec, err := c.Load(c.t.Context(), at)
	if err != nil {
		c.t.Fatal(err)
	}
	return rec
}

// What has ended loses its bytes some minutes later, at homes and where it is kept for
// others. Nothing else changes, and digests do not tell.
func TestLapsing(t *testing.T) {
	withCellar(t, 1, func(t *testing.T, c *cellar) {
		c.clocks.Follow(nil, nil)
		c.group.Go(c.KeepLapsing)
		home, hint, lives := c.at("home"), c.at("hint"), c.at("lives")
		time.Sleep(time.Hour)
		large := strings.Repeat("v", 4<<10)
		c.putFor(home, large, time.Minute, replicate.HomeRole)
		c.putFor(hint, large, time.Minute, replicate.Role{For: 9})
		c.putFor(lives, large, time.Hour, replicate.HomeRole)
		was := c.load(home)
		digest, err := c.Digest(t.Context(), []layout.Slice{home.Slice, hint.Slice})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(90 * time.Second)
		if e, err := c.CountExpired(t.Context()); err != nil || e.Records != 2 || e.Bytes < 2*4<<10 || e.Waits != 0 {
			t.Errorf("%+v, %v", e, err)
		}
		if rec := c.load(home); len(rec.Sibs[0].Value) != len(large) {
			t.Error("gone before MaxSkew has passed")
		}
		time.Sleep(2 * time.Minute)
		for _, at := range []layout.Place{home, hint} {
			rec := c.load(at)
			if dead, known := purge.Grave(rec.Item, 0); !dead || !known || rec.Unknown() {
				t.Errorf("%s: %+v", at.Key, rec.Item)
			}
			if now, err := c.Digest(t.Context(), []layout.Slice{home.Slice, hint.Slice}); err != nil || now != digest {
				t.Errorf("the digest was %v and is %v, %v", digest, now, err)
			}
		}
		rec, kept := c.load(home), c.load(hint)
		if !rec.Item.Equal(was.Item) || rec.Mine != was.Mine || !rec.Home || !kept.Hinted(9) {
			t.Errorf("%+v was %+v", rec, was)
		}
		if rec := c.load(lives); len(rec.Sibs[0].Value) != len(large) {
			t.Error("what lives is gone")
		}
		if e, err := c.CountExpired(t.Context()); err != nil || e != (Expired{}) || c.Lapsed() != 2 {
			t.Errorf("%+v, %v; %d", e, err, c.Lapsed())
		}
		if n, _, err := c.CountDead(t.Context(), 0); n != 1 || err != nil {
			t.Errorf("%d to be purged, %v; what is kept for others is not", n, err)
		}
	})
}

// As long as nobody vouches for the clock nothing goes.
func TestNothingLapsesByAClockNobodyKnows(t *testing.T) {
	withCellar(t, 3, func(t *testing.T, c *cellar) {
		c.clocks.Follow(nil, c.homes.Now().Members)
		c.group.Go(c.KeepLapsing)
		at := c.at("k")
		c.putFor(at, "v", time.Minute, replicate.HomeRole)
		time.Sleep(5 * time.Hour)
		if e, err := c.CountExpired(t.Context()); err != nil || e.Records != 1 || e.Waits < 4*time.Hour || len(c.load(at).Sibs[0].Value) == 0 {
			t.Errorf("%+v, %v: %+v", e, err, c.load(at).Item)
		}
		c.clocks.Learn(2, time.Now().UnixMilli())
		c.clocks.Learn(3, time.Now().UnixMilli())
		time.Sleep(2 * time.Minute)
		if e, err := c.CountExpired(t.Context()); err != nil || e != (Expired{}) {
			t.Errorf("%+v, %v", e, err)
		}
	})
}

// More than goes into one update lapses in one pass.
func TestLapsingManyAtOnce(t *testing.T) {
	withCellar(t, 1, func(t *testing.T, c *cellar) {
		c.clocks.Follow(nil, nil)
		time.Sleep(time.Hour)
		const keys = 2*PageKeys + 3
		for i := range keys {
			c.putFor(c.at(strings.Repeat("k", i+1)), "v", time.Minute, replicate.HomeRole)
		}
		time.Sleep(3 * time.Minute)
		if _, ok := c.clocks.Ended(); !ok {
			t.Fatal("the clock is not vouched for")
		}
		begun := time.Now()
		if err := c.lapseAll(t.Context()); err != nil || c.Lapsed() != keys {
			t.Errorf("%d of %d, %v", c.Lapsed(), keys, err)
		}
		if took := time.Since(begun); took < 2*lapsePause {
			t.Errorf("three updates in %v, one after the other", took)
		}
	})
}

// takeIn merges an item that comes from another store.
func (c *cellar) takeIn(at layout.Place, it version.Item, role replicate.Role) {
	c.t.Helper()
	in := Arrival{At: at, Role: role, Item: it, Raw: wire.AppendItem(nil, &it)}
	if _, err := c.AcceptAll(c.t.Context(), []Arrival{in}); err != nil {
		c.t.Fatal(err)
	}
}

// What has ended here comes back with no copy that still carries the value, whatever else
// comes with it.
func TestWhatLapsedStaysSo(t *testing.T) {
	withCellar(t, 1, func(t *testing.T, c *cellar) {
		c.clocks.Follow(nil, nil)
		c.group.Go(c.KeepLapsing)
		time.Sleep(time.Hour)
		role, sibling := c.at("role"), c.at("sibling")
		c.putFor(role, "v", time.Minute, replicate.HomeRole)
		c.putFor(sibling, "v", time.Minute, replicate.HomeRole)
		whole := c.load(role).Item
		dot := version.Dot{A: version.Actor{Store: 7, Session: 7, Seq: 1}, N: 1}
		beside := version.Merge(c.load(sibling).Item, version.Item{
			Ctx: version.Context{{A: dot.A, N: 1}}, HLC: whole.HLC, Sibs: []version.Sibling{{Dot: dot, HLC: whole.HLC, Value: []byte("w")}},
		})
		time.Sleep(5 * time.Minute)
		c.takeIn(role, whole, replicate.Role{For: 9})
		c.takeIn(sibling, beside, replicate.HomeRole)
		for _, at := range []layout.Place{role, sibling} {
			rec := c.load(at)
			for _, s := range rec.Sibs {
				if s.Dot != dot && (len(s.Value) > 0 || s.Flags&version.Tomb == 0) {
					t.Errorf("%s: %q is back", at.Key, s.Value)
				}
			}
		}
		if rec := c.load(role); !rec.Hinted(9) {
			t.Errorf("%+v", rec)
		}
		if rec := c.load(sibling); len(rec.Sibs) != 2 || string(rec.Item.Sibling(dot).Value) != "w" {
			t.Errorf("%+v", rec.Item)
		}
	})
}

// What an earlier release kept for others alone is not in the index. It is once the store
// turns out to be its home.
func TestKeptByAnEarlierRelease(t *testing.T) {
	withCellar(t, 1, func(t *testing.T, c *cellar) {
		c.clocks.Follow(nil, nil)
		time.Sleep(time.Hour)
		at := c.keyOf(true)
		c.putFor(at, "v", time.Minute, replicate.Role{For: 9})
		rec := c.load(at)
		due, _ := purge.Due(rec.Item)
		entry := wire.IndexKey(wire.IndexGrave, view.NodeID(due), at.Record)
		if mark, err := c.disk.Get(t.Context(), entry); err != nil || !IsForOthers(mark) {
			t.Errorf("%v, %v", mark, err)
		}
		if err := c.Update(t.Context(), "as it was", func(tx Tx) error { return tx.Delete(entry) }); err != nil {
			t.Fatal(err)
		}
		if n, err := c.SettleHints(t.Context(), []Settled{{at, 9, rec.Item}}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if mark, err := c.disk.Get(t.Context(), entry); err != nil || IsForOthers(mark) {
			t.Errorf("%v, %v", mark, err)
		}
		time.Sleep(5 * time.Minute)
		if n, _, err := c.CountDead(t.Context(), 0); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if err := c.lapseAll(t.Context()); err != nil || c.Lapsed() != 1 {
			t.Errorf("%d, %v", c.Lapsed(), err)
		}
	})
}

// What takes room for good, and what makes some.
func TestNeedsRoom(t *testing.T) {
	a := version.Actor{Store: 1, Session: 1, Seq: 1}
	sib := func(n uint64, value string) version.Sibling {
		s := version.Sibling{Dot: version.Dot{A: a, N: n}, HLC: 1, Value: []byte(value)}
		if value == "" {
			s.Flags = version.Tomb
		}
		return s
	}
	rec := func(sibs ...version.Sibling) (r replicate.Record) {
		r.Item = version.Item{Ctx: version.Context{{A: a, N: 9}}, HLC: 1, Sibs: sibs}
		return r.Take(replicate.HomeRole)
	}
	for name, c := range map[string]struct {
		old, r replicate.Record
		want   bool
	}{
		"a value":                       {replicate.Record{}, rec(sib(1, "v")), true},
		"a value for another":           {rec(sib(1, "v")), rec(sib(2, "w")), true},
		"a value for a tomb":            {rec(sib(1, "")), rec(sib(2, "w")), true},
		"a tomb":                        {rec(sib(1, "v")), rec(sib(2, "")), false},
		"a tomb of nothing":             {replicate.Record{}, rec(sib(2, "")), false},
		"what is dropped":               {rec(sib(1, "v")), replicate.Record{}, false},
		"roles alone":                   {rec(sib(1, "v")), rec(sib(1, "v")).Take(replicate.Role{For: 9}), true},
		"roles of a tomb":               {rec(sib(1, "")), rec(sib(1, "")).Take(replicate.Role{For: 9}), false},
		"one of two is deleted":         {rec(sib(1, "v"), sib(2, "w")), rec(sib(2, "w"), sib(3, "")), false},
		"one of two is replaced":        {rec(sib(1, "v"), sib(2, "w")), rec(sib(2, "w"), sib(3, "x")), true},
		"a value of which it was known": {rec(sib(1, "")), rec(sib(1, "v")), true},
	} {
		if got := needsRoom(c.old, c.r); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
