package purge

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/skeinmesh/skein/replica/version"
)

func TestImportRules(t *testing.T) {
	old := value(1, 1)
	again := value(2, 1)
	again.HLC, again.Sibs[0].HLC = 9, 9
	dead := tomb(1, 2)
	dead.HLC = 7
	twin := value(1, 2) // the same dot as the tomb's
	late := value(1, 2)
	late.HLC, late.Sibs[0].HLC = 8, 8
	both := version.Merge(old, again)
	all := func(a version.Actor) bool { return a.Store == 1 }
	alive := func(it version.Item) string {
		s := ""
		for i := range it.Sibs {
			if it.Sibs[i].Flags&version.Tomb == 0 {
				s += fmt.Sprintf("%d.%d ", it.Sibs[i].Dot.A.Store, it.Sibs[i].Dot.N)
			}
		}
		return s
	}
	for name, c := range map[string]struct {
		old     Old
		doubted func(version.Actor) bool
		bring   string // what of it is alive
		nothing bool   // nothing at all is brought
		anew    int
		refused bool
	}{
		"absent, nothing purged":                 {old: Old{Item: old, Whole: true}, bring: "1.1 "},
		"absent, purged":                         {old: Old{Item: old, Gone: dead, Whole: true}, nothing: true},
		"absent, purged, and written apart":      {old: Old{Item: both, Gone: dead, Whole: true}, bring: "2.1 "},
		"absent, nobody remembers":               {old: Old{Item: old}, nothing: true, refused: true},
		"absent, a tomb, nobody remembers":       {old: Old{Item: dead}},
		"present":                                {old: Old{Item: old, Known: old}, nothing: true},
		"present as a tomb":                      {old: Old{Item: old, Known: dead}, nothing: true},
		"created anew":                           {old: Old{Item: old, Known: again, Gone: dead, Whole: true}, nothing: true},
		"created anew, nobody remembers":         {old: Old{Item: old, Known: again}, nothing: true, refused: true},
		"a part is known, nobody remembers":      {old: Old{Item: both, Known: old}, nothing: true, refused: true},
		"in doubt, absent":                       {old: Old{Item: old, Whole: true}, doubted: all, nothing: true, anew: 1},
		"in doubt, absent, nobody remembers":     {old: Old{Item: old}, doubted: all, nothing: true, refused: true},
		"in doubt, the mesh's own":               {old: Old{Item: old, Known: old, Whole: true}, doubted: all, nothing: true},
		"in doubt, another's dot":                {old: Old{Item: late, Known: twin, Whole: true}, doubted: all, nothing: true, anew: 1},
		"in doubt, dead":                         {old: Old{Item: old, Known: dead, Whole: true}, doubted: all, nothing: true},
		"in doubt, purged":                       {old: Old{Item: old, Gone: dead, Whole: true}, doubted: all, nothing: true},
		"in doubt, later than what killed a dot": {old: Old{Item: late, Known: tomb(1, 3), Whole: true}, doubted: all, nothing: true, anew: 1},
		"not told of, but another's dot":         {old: Old{Item: late, Known: twin, Whole: true}, nothing: true, anew: 1},
		"not told of, but later than the dead":   {old: Old{Item: late, Known: tomb(1, 3), Whole: true}, nothing: true, anew: 1},
		"a sibling in doubt":                     {old: Old{Item: both, Whole: true}, doubted: all, bring: "2.1 ", anew: 1},
	} {
		got := c.old.Import(c.doubted)
		if alive(got.Bring) != c.bring || got.Bring.Unknown() != c.nothing || len(got.Anew) != c.anew || got.Refused != c.refused {
			t.Errorf("%s: %+v", name, got)
		}
		if err := got.Bring.Check(); err != nil && !got.Bring.Unknown() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReaches(t *testing.T) {
	m := Stamp{Acked: Round{3, 1}}
	for _, c := range []struct {
		acked, from Round
		want        bool
	}{
		{Round{3, 1}, Round{3, 1}, true},
		{Round{2, 9}, Round{9, 1}, true},
		{Round{4, 1}, Round{3, 1}, true},
		{Round{4, 1}, Round{3, 2}, false},
		{Round{4, 1}, Round{}, true},
	} {
		if got := m.Reaches(Stamp{Acked: c.acked}, c.from); got != c.want {
			t.Errorf("a log from %v to %v reaches back to %v: %v", c.from, c.acked, m.Acked, got)
		}
	}
	top := Stamp{Acked: Round{3, 1}}.Latest(Stamp{Acked: Round{1, 1}, Committed: Round{4, 1}})
	if top != (Stamp{Acked: Round{4, 1}, Committed: Round{4, 1}}) {
		t.Errorf("latest is %v", top)
	}
}

// past is the history of one key as a dumb model has it: every write knows by
// number which writes it has replaced. There are no contexts in it.
type past struct {
	r      *rand.Rand
	clock  version.HLC
	writes []deed
}

type deed struct {
	dot      version.Dot
	tomb     bool
	replaced map[int]bool
}

// copyOf is what one place holds: the item of the protocol, and the numbers of
// the writes that the model says are there.
type copyOf struct {
	item version.Item
	sees map[int]bool // all writes that it has heard of
}

func (p *past) write(c *copyOf, a version.Actor) {
	p.clock++
	d := deed{dot: version.Dot{A: a, N: c.item.Ctx.Get(a) + 1}, tomb: p.r.IntN(3) == 0, replaced: map[int]bool{}}
	next := version.Item{HLC: p.clock, Ctx: c.item.Ctx.With(a, d.dot.N)}
	blind := p.r.IntN(4) == 0 // has seen nothing of what other stores wrote
	for _, s := range c.item.Sibs {
		if blind && s.Dot.A != a {
			next.Sibs = append(next.Sibs, s)
			continue
		}
		d.replaced[p.number(s)] = true
	}
	s := version.Sibling{Dot: d.dot, HLC: p.clock, Value: []byte(fmt.Sprint(len(p.writes)))}
	if d.tomb {
		s.Flags = version.Tomb
	}
	next.Sibs = append(next.Sibs, s)
	slices.SortFunc(next.Sibs, func(a, b version.Sibling) int { return a.Dot.Compare(b.Dot) })
	c.item, c.sees[len(p.writes)] = next, true
	p.writes = append(p.writes, d)
}

// number reads which write a sibling is from its value, which tombs have here,
// too.
func (p *past) number(s version.Sibling) (n int) {
	_, _ = fmt.Sscan(string(s.Value), &n)
	return n
}

// alive lists the values among some writes that none of them has replaced.
func (p *past) alive(sees ...map[int]bool) map[int]bool {
	out := map[int]bool{}
	for _, all := range sees {
		for n := range all {
			out[n] = true
		}
	}
	replaced := map[int]bool{}
	for n := range out {
		for o := range p.writes[n].replaced {
			replaced[o] = true
		}
	}
	for n := range out {
		if replaced[n] || p.writes[n].tomb {
			delete(out, n)
		}
	}
	return out
}

func (c *copyOf) clone() *copyOf {
	out := &copyOf{item: c.item, sees: map[int]bool{}}
	for n := range c.sees {
		out.sees[n] = true
	}
	return out
}

// TestF1_26_ImportAgainstADumbModel has old copies of a key, of any age, come back
// into a mesh that has gone on, and has purged: what is alive then is what no
// write replaced, whoever made it; where nobody remembers, nothing comes back, and
// what may be missing is refused, never dropped. Where the old store was cloned
// and both copies went on, no dot ever names two writes.
func TestF1_26_ImportAgainstADumbModel(t *testing.T) {
	refused, anew, purged, twins := 0, 0, 0, 0
	for seed := range uint64(40_000) {
		p := &past{r: rand.New(rand.NewPCG(seed, 26)), clock: 1}
		seq := uint32(1)
		actor := func(store uint64) version.Actor { return version.Actor{Store: store, Session: 1, Seq: seq} }
		mesh := &copyOf{sees: map[int]bool{}}
		for range p.r.IntN(4) {
			p.write(mesh, actor(1+p.r.Uint64N(3)))
		}
		old := mesh.clone()
		rolled := p.r.IntN(3) == 0
		var gone version.Item
		whole := true
		// Both sides go on. A rolled-back store 1 writes on both.
		steps := p.r.IntN(6)
		for range steps {
			p.write(mesh, actor(2+p.r.Uint64N(2)))
			if rolled && p.r.IntN(2) == 0 {
				p.write(mesh, actor(1))
			}
			if dead, _ := Grave(mesh.item, 0); dead && p.r.IntN(2) == 0 {
				gone = version.Merge(gone, mesh.item)
				mesh.item = version.Item{}
				purged++
				seq++ // who has no record begins a birth
				if p.r.IntN(4) == 0 {
					gone, whole = version.Item{}, false // and the log is trimmed
				}
			}
		}
		seq = 1
		// What the old store wrote apart is dated later than all of that.
		for range p.r.IntN(3) {
			p.write(old, actor(1))
		}
		o := Old{Item: old.item, Known: mesh.item, Gone: gone, Whole: whole}
		var doubted func(version.Actor) bool
		if rolled {
			twins++
			doubted = func(a version.Actor) bool { return a.Store == 1 }
		}
		got := o.Import(doubted)
		after := version.Merge(mesh.item, got.Bring)
		for _, s := range got.Anew {
			anew++
			s.Dot = version.Dot{A: actor(9), N: after.Ctx.Get(actor(9)) + 1}
			after = version.Merge(after, version.Item{Ctx: after.Ctx.With(s.Dot.A, s.Dot.N), HLC: max(after.HLC, s.HLC), Sibs: append(slices.Clone(after.Sibs), s)})
		}
		checkImport(t, p, seed, mesh, old, after, got, rolled)
		if got.Refused {
			refused++
			if whole {
				t.Fatalf("seed %d: refused although all is remembered", seed)
			}
		}
		if t.Failed() {
			return
		}
	}
	if refused < 100 || anew < 100 || purged < 100 || twins < 100 {
		t.Errorf("too little was tried: %d refused, %d anew, %d purged, %d clones", refused, anew, purged, twins)
	}
}

func checkImport(t *testing.T, p *past, seed uint64, mesh, old *copyOf, after version.Item, got Import, rolled bool) {
	t.Helper()
	is := map[int]bool{}
	for i := range after.Sibs {
		s := after.Sibs[i]
		n := p.number(s)
		if s.Flags&version.Tomb == 0 {
			if is[n] && !rolled {
				t.Errorf("seed %d: write %d is there twice", seed, n)
			}
			is[n] = true
		}
		if w := p.writes[n]; s.Dot.A.Store != 9 && w.dot != s.Dot {
			t.Errorf("seed %d: dot %v names write %d, which is %v", seed, s.Dot, n, w.dot)
		}
	}
	want := p.alive(mesh.sees, old.sees)
	for n := range is {
		// A clone's own deletes and overwrites of what the mesh holds as well count
		// for nothing: what they had replaced may show beside them.
		if !want[n] && !(rolled && p.alive(mesh.sees)[n]) {
			t.Errorf("seed %d: write %d is back", seed, n)
		}
	}
	for n := range want {
		if !is[n] && !got.Refused {
			t.Errorf("seed %d: write %d is lost", seed, n)
		}
	}
	if got.Refused {
		for n := range p.alive(mesh.sees) {
			if want[n] && !is[n] {
				t.Errorf("seed %d: write %d of the mesh is lost", seed, n)
			}
		}
	}
}
