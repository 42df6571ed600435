package mesh

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/link"
	"github.com/skeinmesh/skein/internal/roster"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// allSee tells whether all running nodes see these tags and capabilities of a member.
func (w *world) allSee(id view.NodeID, tags map[string]string, capabilities ...string) bool {
	for _, n := range w.running() {
		m, _ := n.View().Member(id)
		if !maps.Equal(m.Tags, tags) || !slices.Equal(m.Capabilities, capabilities) {
			return false
		}
	}
	return true
}

// tagged is one tag.
func tagged(value string) map[string]string { return map[string]string{"role": value} }

// Tags of the Config come with the mesh, SetTags within a second or two, and those of a
// node that is down are told to one that starts anew.
func TestTagsComeToAll(t *testing.T) {
	bubble(t, 5, func(t *testing.T, w *world) {
		w.boxes[3].cfg.Tags, w.boxes[3].cfg.Capabilities = tagged("press"), []string{"plc", "camera"}
		w.form(10 * time.Second)
		id := w.boxes[3].node.ID()
		w.eventually(6*time.Second, "all see the tags of the Config", func() bool { return w.allSee(id, tagged("press"), "camera", "plc") })

		mine := tagged("spare")
		if err := w.boxes[3].node.SetTags(mine, []string{"plc"}); err != nil {
			t.Fatal(err)
		}
		mine["role"] = "changed by the caller"
		took := w.eventually(3*time.Second, "all see what SetTags says", func() bool { return w.allSee(id, tagged("spare"), "plc") })
		t.Logf("SetTags came to all within %v", took)
		_ = w.boxes[3].node.SetTags(tagged("spare"), []string{"plc"})
		time.Sleep(10 * time.Second)
		if h := w.boxes[0].node.traits.Get(id).Entry; h.Seq>>32 != 2 {
			t.Errorf("saying the same again made %d versions", h.Seq)
		}

		for _, n := range w.running() {
			m, _ := n.View().Member(id)
			m.Tags["role"], m.Capabilities[0] = "changed by a program", "" // which it must not
		}
		w.boxes[3].kill()
		w.boxes[1].kill()
		w.boxes[1].start()
		w.eventually(10*time.Second, "a restarted node hears the tags of one that is down", func() bool {
			m, _ := w.boxes[1].node.View().Member(id)
			return maps.Equal(m.Tags, tagged("spare")) && slices.Equal(m.Capabilities, []string{"plc"})
		})
	})
}

// A node that was restarted has the tags of its Config, whatever it said before.
func TestTagsOfTheLatestLife(t *testing.T) {
	bubble(t, 3, func(t *testing.T, w *world) {
		b := w.boxes[1]
		b.cfg.Tags = tagged("old")
		w.form(10 * time.Second)
		id := b.node.ID()
		for _, role := range []string{"a", "b", "c"} {
			if err := b.node.SetTags(tagged(role), nil); err != nil {
				t.Fatal(err)
			}
		}
		w.eventually(10*time.Second, "the last of several calls counts", func() bool { return w.allSee(id, tagged("c")) })
		b.kill()
		b.cfg.Tags, b.cfg.Capabilities = nil, []string{"new"}
		b.start()
		w.eventually(10*time.Second, "those of the new Config count", func() bool { return w.allSee(id, nil, "new") })
		if err := b.node.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.eventually(10*time.Second, "nothing is held of one that is gone", func() bool {
			return w.boxes[0].node.traits.Get(id).Entry.Node == 0 && w.boxes[2].node.traits.Get(id).Entry.Node == 0
		})
	})
}

// Both sides of a cut set tags; when it has healed all see the newest of each.
func TestTagsAcrossACut(t *testing.T) {
	bubble(t, 6, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		var left, right []netip.Addr
		for i, b := range w.boxes {
			if i < 3 {
				left = append(left, b.addr)
			} else {
				right = append(right, b.addr)
			}
		}
		a, b := w.boxes[0].node, w.boxes[5].node
		if err := errors.Join(a.SetTags(tagged("before"), nil), b.SetTags(tagged("before"), nil)); err != nil {
			t.Fatal(err)
		}
		w.eventually(10*time.Second, "tags come to all", func() bool { return w.allSee(a.ID(), tagged("before")) && w.allSee(b.ID(), tagged("before")) })
		w.net.Partition(left, right)
		if err := errors.Join(a.SetTags(tagged("left"), nil), a.SetTags(tagged("left again"), nil), b.SetTags(tagged("right"), nil)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if m, _ := w.boxes[3].node.View().Member(a.ID()); !maps.Equal(m.Tags, tagged("before")) {
			t.Errorf("across the cut %v", m.Tags)
		}
		w.net.HealAll()
		w.eventually(2*time.Minute, "the newest of both sides", func() bool {
			return w.allSee(a.ID(), tagged("left again")) && w.allSee(b.ID(), tagged("right"))
		})
	})
}

// A member that hands over what it should not is in contact as ever, and what is right in
// the same message is taken in. What it says of another holds until that one hears of it.
func TestLiesAboutTags(t *testing.T) {
	bubble(t, 3, func(t *testing.T, w *world) {
		w.boxes[2].cfg.Tags = tagged("true")
		w.form(10 * time.Second)
		liar, victim, other := w.boxes[0].node, w.boxes[1].node, w.boxes[2].node
		w.eventually(10*time.Second, "the tags are there", func() bool { return w.allSee(other.ID(), tagged("true")) })
		tell := func(said ...wire.Traits) {
			t.Helper()
			if _, err := liar.link.Call(t.Context(), victim.ID(), methodTraits, wire.AppendTraitsSwap(nil, wire.TraitsSwap{Have: said})); err != nil {
				t.Fatal(err)
			}
		}
		large := map[string]string{}
		for _, key := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"} {
			large[key] = strings.Repeat(key, 250)
		}
		said := func(id view.NodeID, boot, seq uint64, tags map[string]string) wire.Traits {
			return wire.Traits{Node: id, Boot: boot, Seq: (seq - 1) << 32}.SayNext(wire.EncodeTraits(tags, nil))
		}
		tell(said(liar.ID(), 1, 50, large), said(other.ID(), 1, 60, tagged("made up")), said(4711, 1, 1, tagged("nobody")),
			said(other.ID(), 9, 1, tagged("of a life to come")), said(victim.ID(), 1, 7, tagged("of itself")))
		if h := victim.traits.Get(liar.ID()).Entry; h.Seq>>32 != 50 {
			t.Errorf("what is too large to be shown is not held: %+v", h)
		}
		if h := victim.traits.Get(other.ID()).Entry; h.Seq>>32 != 60 {
			t.Errorf("what may be true is not taken in: %+v", h)
		}
		w.eventually(20*time.Second, "each node has the last word on itself", func() bool {
			return w.allSee(other.ID(), tagged("true")) && w.allSee(victim.ID(), nil) && w.allSee(liar.ID(), nil)
		})
		if p := victim.View().Problems; len(p) > 0 {
			t.Errorf("problems %q", p)
		}
		if m, _ := victim.View().Member(liar.ID()); m.State != view.Alive || len(victim.traits.All()) != 3 {
			t.Errorf("the liar is %v, traits %+v", m.State, victim.traits.All())
		}
	})
}

// A node of which somebody has made up the last word there can be says so.
func TestLastNumberOfTags(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		liar, victim := w.boxes[0].node, w.boxes[1].node
		last := wire.Traits{Node: victim.ID(), Boot: 1, Seq: (1<<30 - 2) << 32}.SayNext(wire.EncodeTraits(tagged("made up"), nil))
		if _, err := liar.link.Call(t.Context(), victim.ID(), methodTraits, wire.AppendTraitsSwap(nil, wire.TraitsSwap{Have: []wire.Traits{last}})); err != nil {
			t.Fatal(err)
		}
		says := func(n *Node) bool {
			return slices.ContainsFunc(n.View().Problems, func(p view.Problem) bool { return p.Kind == view.ProblemTagsUnheard })
		}
		w.eventually(3*time.Second, "it says that it is not heard", func() bool { return says(victim) })
		if says(liar) || len(victim.View().Problems) != 1 {
			t.Errorf("problems %q and %q", liar.View().Problems, victim.View().Problems)
		}
		w.boxes[1].kill()
		w.boxes[1].start()
		w.eventually(10*time.Second, "it is heard once it has started anew", func() bool {
			m, _ := liar.View().Member(last.Node)
			return !says(w.boxes[1].node) && len(m.Tags) == 0 && m.Boot == 2
		})
	})
}

// However often tags are set, Views of them come about once a second.
func TestViewsOfTagsAreFew(t *testing.T) {
	bubble(t, 3, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		time.Sleep(10 * time.Second)
		var before []uint64
		for _, n := range w.running() {
			before = append(before, n.View().Version)
		}
		for i := range 100 {
			for _, n := range w.running() {
				if err := n.SetTags(tagged(strconv.Itoa(i)), nil); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
		for i, n := range w.running() {
			if made := n.View().Version - before[i]; made < 3 || made > 7 {
				t.Errorf("%d views in 5 s", made)
			}
		}
		w.eventually(3*time.Second, "the last are shown", func() bool {
			return !slices.ContainsFunc(w.running(), func(n *Node) bool { return !w.allSee(n.ID(), tagged("99")) })
		})
	})
}

// Two words of one count, as of a copied node, are noticed, and one of them holds
// everywhere.
func TestTwoWordsOfOneCount(t *testing.T) {
	bubble(t, 3, func(t *testing.T, w *world) {
		w.form(10 * time.Second)
		id := w.boxes[2].node.ID()
		w.boxes[2].kill()
		a, b := w.boxes[0].node, w.boxes[1].node
		for n, role := range map[*Node]string{a: "one", b: "two"} {
			said := wire.Traits{Node: id, Boot: 1, Seq: 7 << 32}.SayNext(wire.EncodeTraits(tagged(role), nil))
			if err := n.traits.Bulk().Take(t.Context(), id, []wire.Traits{said}); err != nil {
				t.Fatal(err)
			}
		}
		w.eventually(20*time.Second, "one of them holds", func() bool { return w.allSee(id, tagged("one")) || w.allSee(id, tagged("two")) })
	})
}

func TestSetTagsRefuses(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		bad := w.boxes[0].cfg
		bad.Tags, bad.Capabilities = map[string]string{"": "\n"}, []string{""}
		if err := bad.Validate(); !errors.Is(err, ErrConfig) || strings.Count(err.Error(), "Tags has") != 2 || !strings.Contains(err.Error(), "Capabilities has") {
			t.Errorf("a bad Config: %v", err)
		}
		n := w.boxes[0].start()
		if err := n.SetTags(bad.Tags, nil); !errors.Is(err, ErrConfig) {
			t.Errorf("bad tags: %v", err)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		if err := n.SetTags(nil, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// A release that knows no tags is told of none, and exchanges rosters as ever.
func TestTagsAndEarlierReleases(t *testing.T) {
	x := newTraits(1, 1, func() time.Duration { return 0 }, nil, func(context.Context, view.NodeID, string, []byte) ([]byte, error) {
		return nil, failCall(ErrNoHandler, methodTraitSums)
	})
	if err := x.compareWith(t.Context(), 2); err != nil {
		t.Error(err)
	}
	x.exchanger.Call = func(context.Context, view.NodeID, string, []byte) ([]byte, error) { return nil, link.ErrUnreachable }
	if err := x.compareWith(t.Context(), 2); !errors.Is(err, link.ErrUnreachable) {
		t.Error(err)
	}
}

// Programs that are no nodes see tags, too.
func TestClientSeesTags(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		w.boxes[0].cfg.AllowAdmin = true
		w.boxes[1].cfg.Tags = tagged("press")
		w.form(10 * time.Second)
		w.eventually(10*time.Second, "tags come to all", func() bool { return w.allSee(w.boxes[1].node.ID(), tagged("press")) })
		c, err := Dial(t.Context(), ClientConfig{
			Addr: w.boxes[0].node.Addr().String(), Secret: testSecret, MeshName: "test", Network: w.net.Host(netip.MustParseAddr("10.9.9.9")),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		m, _ := w.boxes[0].node.View().Member(w.boxes[1].node.ID())
		m.Tags["role"] = "changed by a program"
		v, err := c.View(t.Context())
		if m, _ := v.Member(w.boxes[1].node.ID()); err != nil || !maps.Equal(m.Tags, tagged("press")) {
			t.Errorf("%+v, %v", v, err)
		}
		b, err := c.Call(t.Context(), methodView, nil) // as a client of an early release
		if len(b) == 0 || b[0] != wire.ViewBare || err != nil {
			t.Errorf("%x, %v", b, err)
		}
	})
}

// Of thousands of members with tags a client sees all, and one that takes no such replies
// sees the members.
func TestClientSeesTagsOfThousands(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *world) {
		w.boxes[0].cfg.AllowAdmin = true
		w.form(10 * time.Second)
		n := w.boxes[0].node
		const first, count = 1000, 3000
		if err := n.book.mergeAll(t.Context(), manyEntries(t, first, count, view.Active)); err != nil {
			t.Fatal(err)
		}
		tags := map[string]string{}
		for _, key := range []string{"a", "b", "c", "d", "e", "f", "g"} {
			tags[key] = strings.Repeat(key, 250)
		}
		var said []wire.Traits
		for id := range view.NodeID(count) {
			said = append(said, wire.Traits{Node: first + id}.SayNext(wire.EncodeTraits(tags, nil)))
		}
		if err := n.traits.Take(t.Context(), first, said); err != nil {
			t.Fatal(err)
		}
		w.eventually(5*time.Second, "all are shown", func() bool { m, _ := n.View().Member(first); return maps.Equal(m.Tags, tags) })
		short := func(ctx context.Context, cfg ClientConfig) (*Client, error) { return dialWith(ctx, cfg, 4<<20) }
		for what, c := range map[string]struct {
			dial   func(context.Context, ClientConfig) (*Client, error)
			tagged int
		}{"this release": {Dial, count}, "4 MiB": {short, 0}} {
			cfg := ClientConfig{Addr: n.Addr().String(), Secret: testSecret, MeshName: "test", Network: w.net.Host(netip.MustParseAddr("10.9.9.9"))}
			client, err := c.dial(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			v, err := client.View(t.Context())
			tagged := 0
			for _, m := range v.Members {
				if maps.Equal(m.Tags, tags) {
					tagged++
				}
			}
			if err != nil || len(v.Members) != count+1 || tagged != c.tagged {
				t.Errorf("%s: %d members, %d with tags, %v", what, len(v.Members), tagged, err)
			}
			if err := client.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// throttled carries a stream at 64 kB/s each way.
type throttled struct{ Network }

type slowConn struct{ net.Conn }

func (n throttled) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := n.Network.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return slowConn{c}, nil
}

func (n throttled) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	l, err := n.Network.Listen(ctx, network, address)
	return slowListener{l}, err
}

type slowListener struct{ net.Listener }

func (l slowListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return slowConn{c}, nil
}

func (c slowConn) Write(b []byte) (int, error) {
	time.Sleep(time.Duration(len(b)) * time.Second / 64_000)
	return c.Conn.Write(b)
}

// Over a slow link tags come in part by part, for longer than a comparison of rosters may
// take, and are told to nobody who knows them.
func TestManyTagsOverASlowLink(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *world) {
		for _, b := range w.boxes {
			b.wrap = func(n Network) Network { return throttled{n} }
		}
		w.form(20 * time.Second)
		a, b := w.boxes[0].node, w.boxes[1].node
		const first, count = 1000, 400
		for _, n := range w.running() {
			if err := n.book.mergeAll(t.Context(), manyEntries(t, first, count, view.Active)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second)
		tags := map[string]string{}
		for _, key := range []string{"a", "b", "c", "d", "e", "f", "g"} {
			tags[key] = strings.Repeat(key, 250)
		}
		var said []wire.Traits
		for id := range view.NodeID(count) {
			said = append(said, wire.Traits{Node: first + id}.SayNext(wire.EncodeTraits(tags, nil)))
		}
		if err := a.traits.Bulk().Take(t.Context(), first, said); err != nil {
			t.Fatal(err)
		}
		has := func() int { return len(b.traits.All()) - 2 }
		took := w.eventually(20*time.Second, "some come in", func() bool { return has() > 0 })
		if n := has(); n > count/2 {
			t.Errorf("%d of %d came in at once", n, count)
		}
		told := 0
		took += w.eventually(time.Minute, "all come in", func() bool { told += len(b.traits.TakeNews()); return has() == count })
		t.Logf("%d kB came in within %v", count*len(said[0].Said)/1000, took)
		if told > 0 || took < 2*b.pace.dial {
			t.Errorf("%d of %d are handed on, it took %v", told, count, took)
		}
	})
}

// mergeAll takes in all of what is said, and evicts whom a newcomer replaces.
func (b *book) mergeAll(ctx context.Context, in roster.Roster) error {
	return b.mergeAs(ctx, in, func(roster.Roster) roster.Roster { return in })
}
