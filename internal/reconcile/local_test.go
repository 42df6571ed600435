package reconcile

import (
	"errors"
	"fmt"
	"testing"

	"github.com/skeinmesh/skein/replica/version"
)

func open(store uint64, meta *Meta) Writer {
	return Open(Start{Store: store, Meta: meta, Random: store * 1000, TrustDisk: true})
}

func put(t *testing.T, w *Writer, l Local, p Write) Wrote {
	t.Helper()
	out, err := w.Put(l, p, now2026)
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Local.Check(); err != nil {
		t.Fatal(err)
	}
	return out
}

func absorb(t *testing.T, w *Writer, l Local, in version.Item) Absorbed {
	t.Helper()
	out, err := w.Absorb(l, in, now2026)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func value(s string) Write { return Write{Value: []byte(s)} }

func TestPutCoversWhatWasSeen(t *testing.T) {
	w := open(1, nil)
	first := put(t, &w, Local{}, value("a"))
	if first.Meta == nil || first.Dot.N != 1 {
		t.Fatalf("first write of a birth: %+v", first)
	}
	seen := SeenOf(first.Local.Item)
	blind := put(t, &w, first.Local, value("b"))
	if len(blind.Covered) != 1 || len(blind.Local.Sibs) != 1 || blind.Dot != (version.Dot{A: first.Dot.A, N: 2}) {
		t.Fatalf("blind write: %+v", blind)
	}
	if blind.Meta != nil {
		t.Fatalf("meta without a new birth or ceiling: %+v", blind.Meta)
	}
	stale := put(t, &w, blind.Local, Write{Seen: &seen, Value: []byte("c")})
	if len(stale.Covered) != 0 || len(stale.Local.Sibs) != 2 {
		t.Fatalf("write with an old context: %+v", stale)
	}
	empty := put(t, &w, stale.Local, Write{Seen: &Seen{}, Tomb: true})
	if len(empty.Local.Sibs) != 3 {
		t.Fatalf("write with an empty context: %+v", empty)
	}
	if len(Live(empty.Local.Item, now2026)) != 2 {
		t.Fatal("a tomb must hide next to concurrent values")
	}
	if _, ok := Last(empty.Local.Item, now2026); ok {
		t.Fatal("the tomb is the last write")
	}
}

func TestF1_08_SiblingLimit(t *testing.T) {
	w := open(1, nil)
	var l Local
	for i := range MaxSiblings {
		l = put(t, &w, l, Write{Seen: &Seen{}, Value: []byte{byte(i)}}).Local
	}
	if _, err := w.Put(l, Write{Seen: &Seen{}}, now2026); !errors.Is(err, ErrSiblingLimit) {
		t.Fatalf("sibling %d: %v", MaxSiblings+1, err)
	}
	one := Seen{Ctx: version.Context{{A: l.Sibs[0].Dot.A, N: 1}}}
	l = put(t, &w, l, Write{Seen: &one}).Local
	seen := SeenOf(l.Item)
	if l = put(t, &w, l, Write{Seen: &seen}).Local; len(l.Sibs) != 1 {
		t.Fatalf("%d siblings after a write that saw all", len(l.Sibs))
	}
}

func TestAmnesiaStartsABirth(t *testing.T) {
	a, b := open(1, nil), open(2, nil)
	v1 := put(t, &a, Local{}, value("1"))
	v2 := put(t, &a, v1.Local, value("2"))
	peer := absorb(t, &b, Local{}, v2.Local.Item)

	// The record is lost, and comes back from the peer without its birth.
	back := absorb(t, &a, Local{}, peer.Local.Item)
	if back.Local.Mine != (version.Actor{}) {
		t.Fatal("a birth came in from elsewhere")
	}
	if w := put(t, &a, back.Local, value("3")); w.Dot.A == v1.Dot.A {
		t.Fatalf("dot %v of a birth whose last dot is not known", w.Dot)
	}

	// The record is rolled back; a client knows more than it.
	seen := SeenOf(v2.Local.Item)
	if w := put(t, &a, v1.Local, Write{Seen: &seen}); w.Dot.A == v1.Dot.A {
		t.Fatalf("dot %v, although the client has seen a later one", w.Dot)
	}

	// The record is rolled back; a peer knows more than it.
	if got := absorb(t, &a, v1.Local, peer.Local.Item); got.Local.Mine != (version.Actor{}) || !got.Changed {
		t.Fatalf("kept a birth that was rolled back: %+v", got)
	}
	if got := absorb(t, &a, v2.Local, v1.Local.Item); got.Local.Mine != v1.Dot.A || got.Changed || !got.Behind {
		t.Fatalf("an older item: %+v", got)
	}
}

func TestUnknownOwnBirthEndsTheSession(t *testing.T) {
	old := open(1, nil)
	wrote := put(t, &old, Local{}, value("1"))
	next := put(t, &old, Local{}, value("2"))
	rolled := open(1, wrote.Meta)
	session := rolled.Session()
	if session != old.Session() {
		t.Fatal("a trusted disk must keep its session")
	}
	got := absorb(t, &rolled, Local{}, next.Local.Item)
	if rolled.Session() == session {
		t.Fatal("the store met a birth of its own that it does not know, and went on")
	}
	if w := put(t, &rolled, got.Local, value("3")); w.Dot.A.Session == session {
		t.Fatalf("dot %v of the old session", w.Dot)
	}
}

func TestSessions(t *testing.T) {
	w := open(1, nil)
	l := put(t, &w, Local{}, value("1"))
	meta := *l.Meta
	strict := Start{Store: 1, Meta: &meta, Random: 5, TrustDisk: true}
	relaxed := meta
	relaxed.Relaxed = true
	for name, c := range map[string]struct {
		start Start
		keeps bool
	}{
		"strict":           {strict, true},
		"no meta":          {Start{Store: 1, Random: 5, TrustDisk: true}, false},
		"disk not trusted": {Start{Store: 1, Meta: &meta, Random: 5}, false},
		"other machine":    {Start{Store: 1, Meta: &meta, Random: 5, TrustDisk: true, Machine: [16]byte{1}}, false},
		"other store":      {Start{Store: 2, Meta: &meta, Random: 5, TrustDisk: true}, false},
		"relaxed, unclean": {Start{Store: 1, Meta: &relaxed, Random: 5, TrustDisk: true, Relaxed: true}, false},
		"relaxed, clean":   {Start{Store: 1, Meta: &relaxed, Random: 5, TrustDisk: true, Relaxed: true, Clean: true}, true},
		"turns relaxed":    {Start{Store: 1, Meta: &meta, Random: 5, TrustDisk: true, Relaxed: true}, false},
	} {
		n := Open(c.start)
		if keeps := n.Session() == meta.Session; keeps != c.keeps {
			t.Errorf("%s: session kept is %v", name, keeps)
		}
		wrote := put(t, &n, l.Local, value("2"))
		if again := wrote.Dot.A == l.Dot.A; again != c.keeps {
			t.Errorf("%s: birth continued is %v", name, again)
		}
		fresh := put(t, &n, Local{}, value("3"))
		if fresh.Dot.A == l.Dot.A {
			t.Errorf("%s: birth %v minted twice", name, fresh.Dot.A)
		}
	}
	if w.meta.Seq = 1<<32 - 1; put(t, &w, Local{}, value("x")).Dot.A.Session == meta.Session {
		t.Error("a session with more births than it has numbers")
	}
}

func TestMetaTravelsWithTheFirstRecord(t *testing.T) {
	w := open(1, nil)
	for i := range 5 {
		out := put(t, &w, Local{}, value("x"))
		if out.Meta == nil || out.Meta.Seq != uint32(i+1) || out.Meta.Seq != out.Dot.A.Seq {
			t.Fatalf("birth %d: %+v", i, out.Meta)
		}
		if again := put(t, &w, out.Local, value("y")); again.Meta != nil {
			t.Fatalf("second write: %+v", again.Meta)
		}
	}
	// A copy that was not kept leaves no trace: its meta was not stored.
	copied := w
	lost := put(t, &copied, Local{}, value("x"))
	if out := put(t, &w, Local{}, value("x")); out.Meta == nil || *out.Meta != *lost.Meta {
		t.Fatalf("%+v, %+v", out.Meta, lost.Meta)
	}
}

func TestExpiryReadsAsTomb(t *testing.T) {
	w := open(1, nil)
	out := put(t, &w, Local{}, Write{Value: []byte("x"), TTL: 1000})
	it := out.Local.Item
	if _, ok := Last(it, now2026); !ok || len(Live(it, now2026)) != 1 {
		t.Fatal("expired at once")
	}
	late := now2026.Add(1000)
	if _, ok := Last(it, late); ok || Live(it, late) != nil {
		t.Fatal("not expired")
	}
	if _, err := w.Put(Local{}, Write{TTL: -1}, now2026); !errors.Is(err, ErrTTL) {
		t.Fatalf("negative: %v", err)
	}
	// A wrong clock hides the value, it does not end it.
	if _, ok := Last(it, version.At(4291747200000)); ok {
		t.Fatal("shown in 2106")
	}
	if _, ok := Last(it, now2026); !ok {
		t.Fatal("still hidden after the clock was put right")
	}
}

func TestImportCoversNothing(t *testing.T) {
	w := open(1, nil)
	l := put(t, &w, Local{}, value("a")).Local
	other := version.Sibling{Dot: l.Sibs[0].Dot, HLC: 7, Value: []byte("b")}
	out := w.Import(l, other)
	if len(out.Local.Sibs) != 2 || out.Dot == other.Dot || out.Local.Check() != nil {
		t.Fatalf("%+v", out)
	}
	if s := out.Local.Sibling(out.Dot); s.HLC != 7 || string(s.Value) != "b" {
		t.Fatalf("imported as %+v", s)
	}
}

// Last-writer-wins must not decide before causality: c covers b and is dated
// before both others (protocol A.3).
func TestF1_12_OldDateCoversNewDate(t *testing.T) {
	d := func(store uint64) version.Dot {
		return version.Dot{A: version.Actor{Store: store, Session: 1, Seq: 1}, N: 1}
	}
	sib := func(store uint64, h version.HLC) version.Sibling {
		return version.Sibling{Dot: d(store), HLC: h, Value: fmt.Append(nil, store)}
	}
	ctx := func(stores ...uint64) (c version.Context) {
		for _, s := range stores {
			c = c.With(d(s).A, 1)
		}
		return c
	}
	x := version.Item{Ctx: ctx(1, 2), HLC: 20, Sibs: []version.Sibling{sib(1, 10), sib(2, 20)}}
	y := version.Item{Ctx: ctx(2, 3), HLC: 20, Sibs: []version.Sibling{sib(3, 5)}}
	m := version.Merge(x, y)
	if len(m.Sibs) != 2 {
		t.Fatalf("merge keeps %v", m.Sibs)
	}
	if s, ok := Last(m, now2026); !ok || s.Dot != d(1) {
		t.Fatalf("last write is %v", s)
	}
}

// A clock in 2106 has written the key; whoever writes over it is dated later
// still, or last-writer-wins would show the old value wherever both meet.
func TestF1_12_DatedAboveWhatItCovers(t *testing.T) {
	w, far := open(1, nil), open(2, nil)
	wrong, err := far.Put(Local{}, value("2106"), version.At(4291747200000))
	if err != nil {
		t.Fatal(err)
	}
	over := put(t, &w, Local{Item: wrong.Local.Item}, value("now"))
	seen := SeenOf(wrong.Local.Item)
	apart := put(t, &w, Local{}, Write{Seen: &seen, Value: []byte("now")})
	for _, out := range []Wrote{over, apart} {
		if got := out.Local.Sibling(out.Dot).HLC; got <= wrong.Local.HLC {
			t.Errorf("dated %d over %d", got, wrong.Local.HLC)
		}
	}
}

func TestMalformedIsRefused(t *testing.T) {
	w := open(1, nil)
	bad := version.Item{Ctx: version.Context{{A: version.Actor{Store: 1}, N: 0}}}
	if _, err := w.Absorb(Local{}, bad, now2026); !errors.Is(err, version.ErrMalformed) {
		t.Fatal(err)
	}
	if _, err := w.Put(Local{}, Write{Seen: &Seen{Ctx: bad.Ctx}}, now2026); !errors.Is(err, version.ErrMalformed) {
		t.Fatal(err)
	}
	if _, err := w.Put(Local{}, Write{Seen: &Seen{HLC: version.Limit}}, now2026); !errors.Is(err, ErrDate) {
		t.Fatal(err)
	}
}

func BenchmarkPut(b *testing.B) {
	w := open(1, nil)
	l, val := Local{}, make([]byte, 1024)
	b.ReportAllocs()
	for b.Loop() {
		out, err := w.Put(l, Write{Value: val}, now2026)
		if err != nil {
			b.Fatal(err)
		}
		l = out.Local
	}
}

func BenchmarkAbsorb(b *testing.B) {
	x, y := open(1, nil), open(2, nil)
	first, _ := x.Put(Local{}, value("a"), now2026)
	next, _ := x.Put(first.Local, value("b"), now2026)
	at := Local{Item: first.Local.Item}
	b.ReportAllocs()
	for b.Loop() {
		if out, err := y.Absorb(at, next.Local.Item, now2026); err != nil || !out.Changed {
			b.Fatal(err)
		}
	}
}

func BenchmarkElement(b *testing.B) {
	w := open(1, nil)
	out, _ := w.Put(Local{}, value("a"), now2026)
	h, key := NewHasher([16]byte{1}), []byte("sensors/line-3/temperature")
	b.ReportAllocs()
	for b.Loop() {
		h.Element(key, out.Local.Item)
	}
}

// What a put tells its client must not cover values that it was never shown:
// given back, it would delete them.
func TestPutTellsNoMoreThanWasSeen(t *testing.T) {
	w := open(1, nil)
	mine := put(t, &w, Local{}, Write{Seen: &Seen{}, Value: []byte("mine")})
	other := put(t, &w, mine.Local, Write{Seen: &Seen{}, Value: []byte("other")})
	for name, out := range map[string]Wrote{
		"same birth":  put(t, &w, other.Local, Write{Seen: &mine.Seen, Value: []byte("mine again")}),
		"other birth": put(t, &w, Local{Item: other.Local.Item}, Write{Seen: &mine.Seen, Value: []byte("mine again")}),
	} {
		if out.Seen.Ctx.Covers(other.Dot) || !out.Seen.Ctx.Covers(mine.Dot) {
			t.Errorf("%s: client has seen %v", name, out.Seen)
		}
		next := put(t, &w, out.Local, Write{Seen: &out.Seen, Value: []byte("once more")})
		if next.Local.Sibling(other.Dot) == nil {
			t.Errorf("%s: a value was replaced unseen", name)
		}
	}
	all := SeenOf(other.Local.Item)
	if out := put(t, &w, other.Local, Write{Seen: &all}); !out.Seen.Ctx.Covers(out.Dot) || !out.Seen.Ctx.Includes(all.Ctx) {
		t.Errorf("after replacing all: %v", out.Seen)
	}
}
