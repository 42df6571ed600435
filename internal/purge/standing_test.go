package purge

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/skeinmesh/skein/mesh/view"
)

// shard is a store in the rounds of a shard, against a model in which round n has
// purged one key of its own. All others are asked in every round; the store is
// not, so that it has to catch up.
type shard struct {
	r *rand.Rand
	Standing
	rounds  uint64          // so many there are
	log     map[uint64]bool // rounds of which the store has the entry
	alive   map[uint64]bool // rounds whose key the store holds as it was before
	found   map[uint64]bool // those that were seen when it began to set aside
	reading []*reading
	did     string
	ends    [3]int // by outcome of what was read
}

// reading is a peer's log on its way.
type reading struct {
	Reading
	peer Standing
	left []uint64 // rounds whose entries are yet to come
}

func round(n uint64) Round {
	if n == 0 {
		return Round{}
	}
	return Round{Counter: n, Proposer: 1}
}

func newShard(seed uint64) *shard {
	h := &shard{r: rand.New(rand.NewPCG(seed, 1)), log: map[uint64]bool{}, alive: map[uint64]bool{}}
	h.rounds = 1 + h.r.Uint64N(8)
	if h.r.IntN(2) == 0 {
		for n := range h.rounds {
			h.alive[n+1] = true
		}
		h.Filled = true
	}
	return h
}

func (h *shard) some(upTo uint64) uint64 { return h.r.Uint64N(upTo + 1) }

// begin asks a peer for its log.
func (h *shard) begin() {
	acked := h.some(h.rounds)
	peer := Standing{Stamp: Stamp{Acked: round(acked), Committed: round(h.some(acked))}, From: round(h.some(acked))}
	p := &reading{Reading: Reading{Asked: h.Standing}, peer: peer}
	if peer.Tells(h.Stamp, h.From) {
		for n := peer.From.Counter + 1; n <= acked; n++ {
			p.left = append(p.left, n)
		}
		h.r.Shuffle(len(p.left), func(i, j int) { p.left[i], p.left[j] = p.left[j], p.left[i] })
	}
	h.reading = append(h.reading, p)
	h.did = fmt.Sprintf("asks a peer at %v, whole after %v", peer.Stamp.Acked, peer.From)
}

// page takes in some of a log, and all of it at last.
func (h *shard) page() {
	if len(h.reading) == 0 {
		return
	}
	i := h.r.IntN(len(h.reading))
	p := h.reading[i]
	if upTo := h.some(p.peer.Stamp.Acked.Counter); h.r.IntN(6) == 0 && len(p.left) > 0 {
		p.peer = p.peer.Lose(round(upTo))
		var left []uint64
		for _, n := range p.left {
			if n > upTo {
				left = append(left, n)
			}
		}
		p.left = left
	}
	if acked := p.peer.Stamp.Acked.Counter; p.begun && h.r.IntN(6) == 0 {
		for p.peer.Stamp.Acked = round(max(acked, h.some(h.rounds))); acked < p.peer.Stamp.Acked.Counter; acked++ {
			if h.r.IntN(2) == 0 { // else it is before what was read already
				p.left = append(p.left, acked+1)
			}
		}
	}
	n := h.r.IntN(len(p.left) + 1)
	p.Page(p.peer.Stamp, p.peer.From)
	for _, e := range p.left[:n] {
		h.log[e] = true
		delete(h.alive, e)
		h.Standing = h.Log(round(e))
	}
	p.left = p.left[n:]
	if h.did = fmt.Sprintf("takes in %d entries", n); len(p.left) > 0 {
		return
	}
	var ok bool
	h.Standing, ok = h.CaughtUp(p.Reading)
	h.reading = append(h.reading[:i:i], h.reading[i+1:]...)
	if ok {
		h.ends[h.Outcome(p.Reading)]++
	}
	h.did = fmt.Sprintf("has read a log of %v, whole after %v: %v", p.Theirs, p.From, ok)
}

// arrive takes in an item of each of some keys, read at one peer.
func (h *shard) arrive() {
	acked := h.some(h.rounds)
	in := Stamp{Acked: round(acked), Committed: round(h.some(acked))}
	next, _, ok := h.Admit(in)
	h.did = fmt.Sprintf("gets what was read at %v: %v", in, ok)
	amends := next.Amends(in)
	if h.Standing = next; !ok {
		return
	}
	for n := acked + 1; n <= h.rounds; n++ {
		if h.r.IntN(2) == 0 && !(amends && h.log[n]) {
			h.alive[n] = true
			h.Filled = true
		}
	}
}

// lose forgets entries, of rounds that are known or of any.
func (h *shard) lose() {
	upTo, known := h.rounds, h.r.IntN(2) == 0
	if known {
		if upTo = h.some(h.rounds); upTo == 0 {
			return
		}
		h.Standing = h.Lose(round(upTo))
	} else {
		h.Standing = h.LoseAny()
	}
	for n := range upTo {
		if h.r.IntN(2) == 0 {
			delete(h.log, n+1)
		}
	}
	h.did = fmt.Sprintf("loses entries up to %d, known %v", upTo, known)
}

// acknowledge takes part in a new round.
func (h *shard) acknowledge() {
	n := h.rounds + 1
	next, err := h.Acknowledge(&Proposal{Round: round(n), Stamp: Stamp{Acked: round(h.rounds)}}, [16]byte{}, 0, true)
	if err != nil {
		return
	}
	h.rounds, h.Standing = n, next
	h.log[n] = true
	h.did = fmt.Sprint("acknowledges ", n)
}

// giveUp sets aside what it cannot vouch for, or ends that.
func (h *shard) giveUp() {
	if h.Aside {
		all := h.r.IntN(3) > 0 && h.GivesUp()
		if all {
			for n := range h.found {
				delete(h.alive, n)
			}
		}
		h.Standing = h.GaveUp(all)
		h.did = fmt.Sprint("has set aside, all: ", all)
		return
	}
	h.Standing, _ = h.GiveUp()
	h.found = maps.Clone(h.alive)
	h.did = "begins to set aside"
}

// restart keeps what is on disk.
func (h *shard) restart() {
	h.reading = nil
	h.Standing = Standing{Stamp: h.Stamp, From: h.From, Logged: h.Logged, Filled: len(h.alive) > 0}
	h.did = "restarts"
}

// check: a store that stands at a round holds nothing older than what that and
// those before it have purged, and its log names all of those after From.
func (h *shard) check() error {
	for n := range h.alive {
		if n <= h.Stamp.Acked.Counter {
			return fmt.Errorf("it stands at %v and holds what round %d has purged", h.Stamp.Acked, n)
		}
	}
	for n := h.From.Counter + 1; n <= h.Stamp.Acked.Counter; n++ {
		if !h.log[n] {
			return fmt.Errorf("its log is whole after %v, up to %v, and lacks round %d", h.From, h.Stamp.Acked, n)
		}
	}
	return nil
}

// Whatever order things come in: nothing that was purged is vouched for, and no
// log is called whole that is not.
func TestStandingAgainstADumbModel(t *testing.T) {
	var ends [3]int
	for seed := range uint64(4000) {
		h := newShard(seed)
		var done []string
		for range 40 {
			h.did = ""
			switch h.r.IntN(12) {
			case 0, 1:
				h.begin()
			case 2, 3, 4, 5:
				h.page()
			case 6, 7:
				h.arrive()
			case 8:
				h.lose()
			case 9:
				h.acknowledge()
			case 10:
				h.giveUp()
			case 11:
				if h.r.IntN(4) == 0 {
					h.restart()
				}
			}
			if h.did != "" {
				done = append(done, fmt.Sprintf("%s: %+v", h.did, h.Standing))
			}
			if err := h.check(); err != nil {
				for _, d := range done {
					t.Log(d)
				}
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		for i, n := range h.ends {
			ends[i] += n
		}
	}
	if ends[UpToDate] == 0 || ends[Nearer] == 0 || ends[Short] == 0 {
		t.Errorf("hardly anything happens: %v", ends)
	}
}

func TestAdmit(t *testing.T) {
	at := func(acked, committed uint64) Stamp { return Stamp{Acked: round(acked), Committed: round(committed)} }
	cases := map[string]struct {
		m    Standing
		in   Stamp
		next Standing
		news News
		ok   bool
	}{
		"the same round":                {Standing{Stamp: at(2, 1), Filled: true}, at(2, 1), Standing{Stamp: at(2, 1), Filled: true}, News{}, true},
		"the same, both lag":            {Standing{Stamp: at(1, 2), Filled: true}, at(1, 2), Standing{Stamp: at(1, 2), Filled: true}, News{}, true},
		"read before a round":           {Standing{Stamp: at(2, 1), Filled: true}, at(1, 1), Standing{Stamp: at(2, 1), Filled: true}, News{}, false},
		"a later round":                 {Standing{Stamp: at(1, 1), Filled: true}, at(2, 1), Standing{Stamp: at(1, 1), Filled: true}, News{}, true},
		"a round is committed":          {Standing{Stamp: at(2, 1), Filled: true}, at(2, 2), Standing{Stamp: at(2, 2), Filled: true}, News{Finish: true}, true},
		"one that was missed":           {Standing{Stamp: at(1, 1), Filled: true}, at(2, 2), Standing{Stamp: at(1, 2), Filled: true}, News{CatchUp: true, Finish: true}, true},
		"nothing here to catch up with": {Standing{}, at(2, 1), Standing{Stamp: at(2, 1), From: round(2)}, News{CatchUp: true, Finish: true}, true},
		"records are being set aside":   {Standing{Stamp: at(1, 2), Filled: true, Aside: true}, at(3, 3), Standing{Stamp: at(1, 2), Filled: true, Aside: true}, News{}, false},
	}
	for name, c := range cases {
		if next, news, ok := c.m.Admit(c.in); next != c.next || news != c.news || ok != c.ok {
			t.Errorf("%s: %+v, %+v, %v", name, next, news, ok)
		}
	}
}

func TestTells(t *testing.T) {
	m := Standing{Stamp: Stamp{Acked: round(5), Committed: round(4)}, From: round(2)}
	for _, c := range []struct {
		asker Stamp
		from  Round
		want  bool
	}{
		{m.Stamp, round(2), false},
		{m.Stamp, round(1), false},
		{m.Stamp, round(3), true}, // it may give more of its log to others then
		{Stamp{Acked: round(4), Committed: round(4)}, round(2), true},
		{Stamp{Acked: round(5), Committed: round(3)}, round(2), true},
		{Stamp{Acked: round(6), Committed: round(6)}, round(2), false},
	} {
		if got := m.Tells(c.asker, c.from); got != c.want {
			t.Errorf("%v whole after %v: %v", c.asker, c.from, got)
		}
	}
}

// A newcomer's log is worth what that is which it has read.
func TestNewcomersLog(t *testing.T) {
	r := Reading{}
	r.Page(Stamp{Acked: round(5), Committed: round(5)}, round(1))
	m, ok := Standing{}.CaughtUp(r)
	if want := (Standing{Stamp: r.Theirs, From: round(1)}); !ok || m != want {
		t.Errorf("%+v, %v, want %+v", m, ok, want)
	}
}

func TestSearch(t *testing.T) {
	var s Search
	members := []view.NodeID{1, 2, 3}
	first, again := s.Short(2, 1, members), s.Short(2, 1, members)
	if first || again || !s.Short(3, 1, members) {
		t.Error("nobody can help when all others could not, no sooner")
	}
	if s.Short(3, 1, members) {
		t.Error("the search does not begin anew")
	}
}

func TestTrim(t *testing.T) {
	all := []Round{round(3), round(1), round(2), round(2)}
	for keep, want := range []Round{round(3), round(2), round(2), round(1)} {
		if upTo, ok := Trim(all, keep); !ok || upTo != want {
			t.Errorf("of %v, to keep %d: up to %v, %v", all, keep, upTo, ok)
		}
	}
	if _, ok := Trim(all, 4); ok || all[0] != round(3) {
		t.Errorf("forgets what there is room for; %v", all)
	}
}

func TestTakesTombs(t *testing.T) {
	over := Buried{}.Bury(round(1), tomb(1, 2)).Hear(Stamp{Committed: round(1)})
	for name, c := range map[string]struct {
		b                   Buried
		held, damaged, home bool
		want                bool
	}{
		"what it holds":                     {Buried{}, true, false, false, true},
		"what it holds, purged before":      {over, true, false, true, true},
		"a stand-in without it":             {Buried{}, false, false, false, false},
		"a home without it":                 {Buried{}, false, false, true, true},
		"a home that has purged it":         {over, false, false, true, false},
		"a home whose record is damaged":    {over, false, true, true, true},
		"a stand-in with a damaged record":  {Buried{}, false, true, false, false},
		"a home with an open round of it":   {Buried{}.Bury(round(1), tomb(1, 2)), false, false, true, true},
		"a home that has purged less of it": {Buried{}.Bury(round(1), tomb(1, 1)).Hear(Stamp{Committed: round(1)}), false, false, true, true},
	} {
		if got := c.b.Takes(tomb(1, 2), c.held, c.damaged, c.home); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestAmend(t *testing.T) {
	b := Buried{}.Bury(round(2), tomb(1, 2))
	if it := b.Amend(Stamp{Acked: round(1)}, value(1, 1)); len(it.Sibs) != 1 || !it.Equal(tomb(1, 2)) {
		t.Errorf("read before the round: %v", it)
	}
	if it := b.Amend(Stamp{Acked: round(2)}, value(1, 3)); !it.Equal(value(1, 3)) {
		t.Errorf("read after the round: %v", it)
	}
	if !(Standing{Logged: round(2)}).Amends(Stamp{Acked: round(1)}) || (Standing{Logged: round(2)}).Amends(Stamp{Acked: round(2)}) {
		t.Error("amends")
	}
	m := Standing{Stamp: Stamp{Acked: round(1)}}
	if !m.Remembers(tomb(1, 1)) || m.Remembers(value(1, 1)) || (Standing{}).Remembers(tomb(1, 1)) {
		t.Error("remembers")
	}
}

func TestOutcome(t *testing.T) {
	at := func(acked, committed uint64) Standing {
		return Standing{Stamp: Stamp{Acked: round(acked), Committed: round(committed)}}
	}
	for name, c := range map[string]struct {
		now, asked Standing
		theirs     uint64 // last round of the peer
		want       Outcome
	}{
		"all there is":                            {at(2, 2), at(1, 2), 2, UpToDate},
		"the peer lags itself":                    {at(2, 2), at(2, 2), 1, UpToDate},
		"another reading has helped":              {at(2, 3), at(1, 3), 1, Nearer},
		"a log too short":                         {at(1, 3), at(1, 3), 3, Short},
		"too short, it is committed":              {at(1, 3), at(1, 1), 3, Short},
		"a peer that lags as much":                {at(1, 3), at(1, 3), 1, Short},
		"too short for one that may be":           {at(1, 1), at(1, 1), 3, Short},
		"nearer to one that may be":               {at(2, 1), at(1, 1), 3, Nearer},
		"who stands no further":                   {at(1, 1), at(1, 1), 1, UpToDate},
		"a witness, although others know of more": {Standing{Stamp: at(1, 1).Stamp, Missed: round(3)}, at(1, 1), 1, UpToDate},
	} {
		r := Reading{Asked: c.asked, Theirs: Stamp{Acked: round(c.theirs)}}
		if got := c.now.Outcome(r); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Two that lag as much ask each other: each has to know that the other cannot help.
func TestAsks(t *testing.T) {
	at := func(acked, committed uint64) Stamp { return Stamp{Acked: round(acked), Committed: round(committed)} }
	for _, c := range []struct {
		mine, theirs Stamp
		want         bool
	}{
		{at(2, 2), at(2, 2), false},
		{at(2, 1), at(3, 1), true},
		{at(3, 1), at(2, 1), true},
		{at(3, 2), at(3, 1), true},
		{at(1, 2), at(1, 2), true},
	} {
		if got := c.mine.Asks(c.theirs); got != c.want {
			t.Errorf("%v, %v: %v", c.mine, c.theirs, got)
		}
	}
}

func TestGiveUp(t *testing.T) {
	m := Standing{Stamp: Stamp{Acked: round(1), Committed: round(2)}, Filled: true}
	begun, ok := m.GiveUp()
	if !ok || !begun.GivesUp() {
		t.Fatalf("not begun: %+v", begun)
	}
	if _, again := begun.GiveUp(); again {
		t.Error("begun twice")
	}
	if done := begun.GaveUp(true); done.Stamp.Acked != round(2) || done.From != round(2) || done.Aside {
		t.Errorf("at the end: %+v", done)
	}
	begun.Stamp.Acked = round(3) // somebody's log was found
	if begun.GivesUp() || begun.GaveUp(true).Stamp != begun.Stamp {
		t.Error("goes on although it has caught up")
	}
	m = Standing{Stamp: Stamp{Acked: round(1), Committed: round(1)}, Filled: true, Missed: round(3)}
	if begun, ok = m.GiveUp(); !ok || begun.GaveUp(true).Stamp.Acked != round(3) {
		t.Errorf("a round that may be committed: %+v", begun)
	}
	if _, ok := begun.GaveUp(true).GiveUp(); ok {
		t.Error("begins although nothing is missing")
	}
}
