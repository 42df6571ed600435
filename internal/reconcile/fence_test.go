package reconcile

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
	"github.com/skeinmesh/skein/replica/version"
)

func TestCheckFence(t *testing.T) {
	low, high := token.Token{Term: 5, Node: 9}, token.Token{Term: 6, Node: 1}
	for _, c := range []struct {
		shown, seen token.Token
		refused     bool
	}{
		{token.Token{}, token.Token{}, false}, {low, token.Token{}, false}, {low, low, false}, {high, low, false},
		{low, high, true}, {token.Token{}, low, true},
	} {
		err := CheckFence(c.shown, c.seen)
		var f *Fenced
		switch {
		case !c.refused && err != nil, c.refused && !errors.Is(err, ErrFenced):
			t.Errorf("%v after %v: %v", c.shown, c.seen, err)
		case c.refused && (!errors.As(err, &f) || f.Seen != c.seen || f.Shown != c.shown):
			t.Errorf("%v after %v is told as %+v", c.shown, c.seen, f)
		}
	}
}

// fenceModel knows the token of each write, and of what a client has seen.
type fenceModel struct {
	t      *testing.T
	tokens map[version.Dot]token.Token
	seen   []Seen
}

// highest is the highest token of all writes that a context covers.
func (m *fenceModel) highest(ctx version.Context) (high token.Token) {
	for d, t := range m.tokens {
		if ctx.Covers(d) {
			high = higher(high, t)
		}
	}
	return high
}

func (m *fenceModel) put(w *Writer, l Local, p Write) Local {
	m.t.Helper()
	fence := m.highest(l.Ctx)
	if p.Seen != nil {
		fence = higher(fence, higher(p.Seen.Fence, m.highest(p.Seen.Ctx)))
	}
	out, err := w.Put(l, p, now2026)
	var f *Fenced
	switch refused := p.Token.Less(fence); {
	case errors.Is(err, ErrSiblingLimit):
		return l
	case refused != errors.Is(err, ErrFenced):
		m.t.Fatalf("a put with %v where %v was seen: %v", p.Token, fence, err)
	case refused && (!errors.As(err, &f) || f.Seen != fence):
		m.t.Fatalf("%v instead of %v", err, fence)
	case refused:
		return l
	}
	m.tokens[out.Dot] = p.Token
	for _, d := range out.Covered {
		if p.Token.Less(m.tokens[d]) {
			m.t.Fatalf("%v with %v replaces %v with %v", out.Dot, p.Token, d, m.tokens[d])
		}
	}
	m.seen = append(m.seen, out.Seen, SeenOf(out.Local.Item))
	return out.Local
}

// check compares what an item says of tokens with all that was written.
func (m *fenceModel) check(it version.Item) {
	m.t.Helper()
	high := m.highest(it.Ctx)
	if got := it.Fence(); got != high {
		m.t.Fatalf("the fence is %v, and the highest token written %v:\n%v", got, high, it)
	}
	last, ok := Last(it, now2026)
	if !ok && len(it.Sibs) > 0 { // a tomb: it counts as well
		for i := range it.Sibs {
			if s := &it.Sibs[i]; s.Token == high && s.Flags&version.Tomb != 0 {
				return
			}
		}
		m.t.Fatalf("deleted, by no leader of %v: %v", high, it)
	}
	if ok && last.Token != high {
		m.t.Fatalf("shows a value of %v, and %v has written, too", last.Token, high)
	}
	for _, s := range m.seen {
		if s.Fence.Less(m.highest(s.Ctx)) {
			m.t.Fatalf("who has seen %v does not know %v", s.Ctx, m.highest(s.Ctx))
		}
	}
}

// Leaders and former leaders write one key through stores that know much or little of each
// other, blind or with what anybody has seen. Whatever meets whatever, in any order, the
// highest token of all that an item knows of is told by what is left of it.
func TestF1_25_NoLowerTokenReplacesAHigherOne(t *testing.T) {
	r := rand.New(rand.NewPCG(25, 1))
	refused := 0
	for range 3000 {
		m := &fenceModel{t: t, tokens: map[version.Dot]token.Token{}}
		writers := []Writer{open(1, nil), open(2, nil), open(3, nil)}
		locals := make([]Local, len(writers))
		for range 12 {
			i := r.IntN(len(writers))
			if r.IntN(3) == 0 {
				in := locals[r.IntN(len(locals))].Item
				locals[i] = absorb(t, &writers[i], locals[i], in).Local
				m.check(locals[i].Item)
				continue
			}
			p := Write{Value: []byte{1}, Tomb: r.IntN(5) == 0}
			if n := r.IntN(4); n > 0 {
				p.Token = token.Token{Term: uint64(n), Node: view.NodeID(1 + r.IntN(2))}
			}
			if len(m.seen) > 0 && r.IntN(2) == 0 {
				s := m.seen[r.IntN(len(m.seen))]
				if r.IntN(3) == 0 {
					s = s.Join(m.seen[r.IntN(len(m.seen))])
				}
				p.Seen = &s
			}
			before := len(m.tokens)
			if locals[i] = m.put(&writers[i], locals[i], p); len(m.tokens) == before {
				refused++
			}
			m.check(locals[i].Item)
		}
	}
	if refused < 1000 {
		t.Errorf("%d writes were refused", refused)
	}
}

// The clock of a former leader is ahead, and nobody had told it of the later one.
func TestLastLooksAtTokensBeforeDates(t *testing.T) {
	a, b := open(1, nil), open(2, nil)
	former, later := token.Token{Term: 5, Node: 9}, token.Token{Term: 6, Node: 1}
	second := put(t, &b, Local{}, Write{Value: []byte("later"), Token: later})
	out, err := a.Put(Local{}, Write{Value: []byte("former"), Token: former}, now2026.Add(1000))
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range []version.Item{version.Merge(out.Local.Item, second.Local.Item), version.Merge(second.Local.Item, out.Local.Item)} {
		if s, ok := Last(it, now2026); !ok || string(s.Value) != "later" {
			t.Errorf("shows %v", s)
		}
		if n := len(Live(it, now2026)); n != 2 {
			t.Errorf("%d concurrent values", n)
		}
	}
	gone := put(t, &b, second.Local, Write{Tomb: true, Token: later})
	if s, ok := Last(version.Merge(out.Local.Item, gone.Local.Item), now2026); ok {
		t.Errorf("a delete of the later leader gives way to %v", s)
	}
}

// The end of a TTL ends the value and not the fence.
func TestEndedValueKeepsTheFence(t *testing.T) {
	w := open(1, nil)
	lead := token.Token{Term: 5, Node: 9}
	l := put(t, &w, Local{}, Write{Value: []byte("x"), TTL: 1000, Token: lead}).Local
	if _, err := w.Put(l, Write{Value: []byte("y"), Token: token.Token{Term: 4, Node: 9}}, now2026.Add(100_000)); !errors.Is(err, ErrFenced) {
		t.Errorf("after the end: %v", err)
	}
}
