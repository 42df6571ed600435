package watch

import (
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

var (
	long = flag.Bool("long", false, "run 20 000 schedules")
	seed = flag.Uint64("seed", 0, "run this schedule only, and print what happens")
)

type tally struct{ schedules, told, gaps, resumed, forgotten, ended, swept, slow, goneOn, doubts int }

// TestF1_29_EveryWatcherSeesTheLastState has watchers follow keys that are written, deleted,
// purged and end while stores are killed, cut off, restarted, let in and taken out. In the
// end every watcher knows the last state of every key that has changed since it began, or
// of all if it has asked for what is present. No state that it is told lies before one that
// it was told, and nothing is told twice.
func TestF1_29_EveryWatcherSeesTheLastState(t *testing.T) {
	first, last := uint64(1), uint64(1000)
	if *long {
		last = 20_000
	}
	if *seed != 0 {
		first, last = *seed, *seed
	}
	var sum tally
	for n := first; n <= last && !t.Failed(); n++ {
		runSchedule(t, n, &sum)
	}
	t.Logf("%+v", sum)
	if s := sum.schedules; *seed == 0 && !t.Failed() && (sum.told < 100*s || sum.gaps < 10*s || sum.resumed < 2*s || sum.forgotten < 2*s || sum.ended < 2*s || sum.swept < s/20 || sum.slow < s || sum.goneOn < s) {
		t.Errorf("hardly anything has happened: %+v", sum)
	}
}

// modelWatcher is one who watches, and what he was told.
type modelWatcher struct {
	m       *model
	core    *Watch
	notes   *Notes
	present bool
	lazy    bool // he may not read for long
	polls   []modelPoll
	filling *modelFill
	first   bool // the first fill of present values is not done
	resumed bool

	view map[string]State
	told map[string][]version.Context
	gap  [modelShards]bool
	open bool
	// since is when all shards were current for the first time.
	since time.Duration
}

type modelPoll struct {
	Poll
	read   bool
	answer Answer
	page   Page
	kept   map[uint64]version.Item // by number: those of the page that need not be read
}

// modelFill reads shards key by key.
type modelFill struct {
	shards map[int][]view.NodeID // whom it asks
	whole  map[int]bool
	left   []string
	came   []State
	judged bool
	swept  []modelVerdict // that are not told yet
}

// modelVerdict is what homes say of a key by itself.
type modelVerdict struct {
	State
	it version.Item
}

func newModelWatcher(m *model, present bool) *modelWatcher {
	w := &modelWatcher{m: m, present: present, first: present, open: true, notes: NewNotes(), view: make(map[string]State), told: make(map[string][]version.Context), since: -1}
	w.core = New(Options{Shards: modelShards, Beat: modelBeat, Patience: modelPatience, Present: present}, m.plan(), m.now)
	return w
}

// resume is another run of the program, with the cursor of the last one.
func (w *modelWatcher) resume() {
	from := placesOf(w.core)
	w.m.say("resumes from %+v", from)
	w.core = New(Options{Shards: modelShards, Beat: modelBeat, Patience: modelPatience, From: from}, w.m.plan(), w.m.now)
	w.notes, w.polls, w.filling, w.first, w.resumed = NewNotes(), nil, nil, false, true
	w.told, w.gap, w.open = make(map[string][]version.Context), [modelShards]bool{}, true
	w.m.sum.resumed++
}

// tell is what reaches the program.
func (w *modelWatcher) tell(s State) {
	w.m.sum.told++
	w.m.say("told %+v", s)
	for _, c := range w.told[s.Key] {
		if c.Includes(s.Ctx) && !(s.Ctx.Includes(c) && !s.Live && w.view[s.Key].Live) {
			w.m.t.Errorf("%q goes back to %v, was told %v", s.Key, s.Ctx, c)
		}
	}
	if old, known := w.view[s.Key]; known && !old.Live && !s.Live && len(w.told[s.Key]) > 0 {
		w.m.t.Errorf("the end of %q is told twice", s.Key)
	}
	w.told[s.Key], w.view[s.Key] = append(w.told[s.Key], s.Ctx), s
}

func (w *modelWatcher) tellMarks() {
	for _, mark := range w.core.Marks() {
		for _, shard := range mark.Shards {
			if w.gap[shard] == mark.Gap && mark.Gap {
				w.m.t.Errorf("the gap of shard %d is told twice", shard)
			}
			if w.gap[shard] = mark.Gap; mark.Gap {
				w.m.sum.gaps++
			}
		}
		w.m.say("mark %+v", mark)
		w.open = mark.Open > 0
		if !w.open && w.since < 0 {
			w.since = w.m.now
		}
	}
}

func (w *modelWatcher) stateOf(key string, it version.Item) State {
	return State{Key: key, Shard: modelShard(key), Ctx: it.Ctx, Live: w.m.isLive(it), Due: w.m.dueOf(it)}
}

// step lets something get on.
func (w *modelWatcher) step() {
	m := w.m
	for _, p := range w.core.Polls(m.now) {
		m.say("poll %+v", p)
		w.polls = append(w.polls, modelPoll{Poll: p})
	}
	if fills := w.core.Fills(m.now); len(fills) > 0 {
		w.beginFill(fills)
	}
	if w.filling != nil && m.rng.IntN(2) == 0 {
		w.goOnFilling()
	}
	if len(w.polls) > 0 && !(w.lazy && m.rng.IntN(12) > 0) {
		i := m.rng.IntN(len(w.polls))
		if w.answerPoll(&w.polls[i]) {
			w.polls = slices.Delete(w.polls, i, i+1)
		}
	}
	if m.rng.IntN(40) == 0 {
		for s, ok := w.notes.TakeEnded(version.At(m.now.Milliseconds())); ok; s, ok = w.notes.TakeEnded(version.At(m.now.Milliseconds())) {
			w.tell(s)
		}
	}
	w.tellMarks()
	if w.core.IsTooSlow() {
		m.sum.slow++
		w.resume()
	}
}

// answerPoll reads a poll at its store, and later tells what was read.
func (w *modelWatcher) answerPoll(p *modelPoll) (done bool) {
	m := w.m
	n := m.nodes[p.To-1]
	if !isUp(n) {
		if m.rng.IntN(4) > 0 {
			return false
		}
		w.core.Failed(p.ID, m.now)
		return true
	}
	if !p.read {
		p.read = true
		p.answer.Pause = time.Duration(m.rng.IntN(2)) * time.Millisecond
		p.answer.At = Position{n.epoch, n.ring.Head()}
		switch {
		case p.At.Epoch == 0:
		case p.At.Epoch != n.epoch || !n.ring.Has(p.At.Seq):
			p.answer.Forgotten = true
			m.sum.forgotten++
		default:
			if p.At.Seq < n.ring.Head() && w.core.sourceAsked(p.ID) != nil && w.core.sourceAsked(p.ID).broken {
				m.sum.goneOn++
			}
			w.readEntries(p, n)
		}
		return false
	}
	if p.answer.At.Epoch != n.epoch {
		w.core.Failed(p.ID, m.now) // it was restarted meanwhile
		return true
	}
	entries := w.loadEntries(p, n)
	m.say("poll %d answered: %+v", p.ID, p.answer)
	for _, s := range entries {
		if w.core.Follows(p.ID, s.Shard) && w.notes.Admit(s, false) {
			w.tell(s)
		}
	}
	w.core.Answered(p.ID, p.answer, m.now)
	return true
}

func (w *modelWatcher) readEntries(p *modelPoll, n *modelNode) {
	p.kept = make(map[uint64]version.Item)
	for seq := p.At.Seq + 1; seq <= n.ring.Head(); seq++ {
		if e := n.ring.Entry(seq); p.Shards[e.Shard] {
			p.page.Add(e, seq)
		}
		if it, kept := n.kept[seq]; kept {
			p.kept[seq] = it
		}
		if p.answer.At.Seq = seq; w.m.rng.IntN(6) == 0 {
			break // no more room
		}
	}
}

// loadEntries reads what was too large to be kept, later than what changed was found.
func (w *modelWatcher) loadEntries(p *modelPoll, n *modelNode) (entries []State) {
	for i := range p.page.Found {
		e := &p.page.Found[i]
		it, kept := p.kept[e.Number]
		if !kept {
			it = n.data[e.Key]
		}
		switch {
		case e.Superseded:
		case it.Unknown():
			p.answer.Doubtful = append(p.answer.Doubtful, e.Shard)
			w.m.sum.doubts++
		default:
			s := w.stateOf(e.Key, it)
			if e.Kind == Ended && !s.Live {
				w.m.sum.ended++
			}
			entries = append(entries, s)
		}
	}
	return entries
}

// beginFill chooses whom to read: the source, and as many homes as prove that a key is unknown.
func (w *modelWatcher) beginFill(fills []Fill) {
	m := w.m
	f := &modelFill{shards: make(map[int][]view.NodeID), whole: make(map[int]bool)}
	for _, one := range fills {
		ask := []view.NodeID{one.Source}
		vouch := 0
		for _, n := range m.homes(one.Shard) {
			if n.id != one.Source && isUp(n) && len(ask) < min(2, m.copies) {
				ask = append(ask, n.id)
			}
			if slices.Contains(ask, n.id) && n.seasoned[one.Shard] {
				vouch++
			}
		}
		f.shards[one.Shard], f.whole[one.Shard] = ask, vouch >= min(2, m.copies)
	}
	for i := range modelKeys {
		if key := modelKey(i); f.shards[modelShard(key)] != nil {
			f.left = append(f.left, key)
		}
	}
	m.say("fill of %v", f.shards)
	w.filling = f
	w.notes.BeginFill()
}

// goOnFilling reads a few keys, and tells of some that were read before.
func (w *modelWatcher) goOnFilling() {
	m, f := w.m, w.filling
	for range min(len(f.left), 1+m.rng.IntN(6)) {
		key := f.left[0]
		f.left = f.left[1:]
		var it version.Item
		for _, id := range f.shards[modelShard(key)] {
			if n := m.nodes[id-1]; isUp(n) {
				it = version.Merge(it, n.data[key])
			} else {
				f.whole[modelShard(key)] = false
			}
		}
		if !it.Unknown() {
			f.came = append(f.came, w.stateOf(key, it))
		}
	}
	for range min(len(f.came), m.rng.IntN(6)) {
		s := f.came[0]
		f.came = f.came[1:]
		if w.notes.Admit(s, w.first) {
			w.tell(s)
		}
	}
	if len(f.left)+len(f.came) > 0 {
		return
	}
	if !f.judged {
		f.judged = true
		w.sweep()
		return
	}
	w.tellSwept()
	w.filling, w.first = nil, false
	m.say("filled %v", f.whole)
	w.core.Filled(func(shard int) bool { return f.whole[shard] }, m.now)
}

// sweep reads by themselves what a fill did not meet.
func (w *modelWatcher) sweep() {
	m, f := w.m, w.filling
	for _, s := range w.notes.Sweep(func(shard int) bool { return f.whole[shard] }) {
		v := modelVerdict{State: s}
		for _, n := range m.homes(s.Shard) {
			if isUp(n) {
				v.it = version.Merge(v.it, n.data[s.Key])
			} else {
				f.whole[s.Shard] = false
			}
		}
		f.swept = append(f.swept, v)
	}
}

// tellSwept tells later of what the sweep has read.
func (w *modelWatcher) tellSwept() {
	m, f := w.m, w.filling
	for _, v := range f.swept {
		switch {
		case !v.it.Unknown():
			if found := w.stateOf(v.Key, v.it); w.notes.Admit(found, false) {
				w.tell(found)
			}
		case f.whole[v.Shard] && w.notes.Forget(v.Key):
			m.sum.swept++
			delete(w.told, v.Key)
			v.Live = false
			w.view[v.Key] = v.State
			m.say("swept %q", v.Key)
		}
	}
}

func runSchedule(t *testing.T, n uint64, sum *tally) {
	m := &model{t: t, rng: rand.New(rand.NewPCG(n, 14)), copies: 1 + int(n%3), now: time.Second, sum: sum, wrote: make(map[string]time.Duration)}
	sum.schedules++
	defer func() {
		if t.Failed() || *seed != 0 {
			t.Logf("schedule %d; to try it again: go test ./internal/watch -run %s -seed %d\n%s", n, t.Name(), n, strings.Join(m.log, "\n"))
		}
	}()
	for range 3 + m.rng.IntN(3) {
		m.addNode().heard = true
	}
	for _, n := range m.nodes {
		for shard := range modelShards {
			n.seasoned[shard] = m.isHome(n, shard)
		}
	}
	for i := range modelKeys {
		m.write(modelKey(i), m.rng.IntN(5) == 0)
	}
	for i := range 3 {
		w := newModelWatcher(m, i > 0)
		w.lazy = i == 2
		m.who = append(m.who, w)
	}
	for range 600 {
		m.goOn(true)
	}
	for _, n := range m.nodes {
		if n.member && isOut(n) {
			m.bringBack(n)
		}
	}
	for range 2 {
		for _, n := range m.nodes {
			m.season(n)
		}
	}
	m.replan()
	for range 500 {
		m.goOn(false)
	}
	for i, w := range m.who {
		w.verify(i)
	}
}

func (m *model) goOn(wild bool) {
	m.now += time.Millisecond / 2
	if wild && m.rng.IntN(30) == 0 {
		m.disturb()
	}
	if wild && m.rng.IntN(4) == 0 {
		key := modelKey(m.rng.IntN(modelKeys))
		switch p := m.rng.IntN(8); {
		case p < 2:
			m.write(key, true)
		case p < 4:
			m.purge(key)
		default:
			m.write(key, false)
		}
	}
	if m.rng.IntN(8) == 0 {
		m.endValues()
	}
	for _, w := range m.who {
		w.lazy = w.lazy && wild
		if w.step(); wild && m.rng.IntN(600) == 0 {
			w.resume()
		}
	}
}

// verify compares what a watcher knows with what there is.
func (w *modelWatcher) verify(number int) {
	m := w.m
	if w.open || len(w.gap) == 0 || w.since < 0 {
		m.t.Errorf("watcher %d is not current at the end: %v", number, w.gap)
		return
	}
	for i := range modelKeys {
		key := modelKey(i)
		it := m.truth(key)
		got, known := w.view[key]
		switch {
		case !known && m.isLive(it) && (w.present || m.wrote[key] > w.since):
			m.t.Errorf("watcher %d knows nothing of %q: %+v", number, key, it)
		case !known:
		case got.Live != m.isLive(it) && it.Unknown() && w.resumed:
			// It was purged while the program did not run: it is told of the gap.
		case got.Live != m.isLive(it):
			m.t.Errorf("watcher %d takes %q for live: %v, it is %+v", number, key, got.Live, it)
		case got.Live && !it.Ctx.Includes(got.Ctx), got.Live && !got.Ctx.Includes(it.Ctx):
			m.t.Errorf("watcher %d knows %v of %q, there is %v", number, got.Ctx, key, it.Ctx)
		}
	}
}
