package watch

import (
	"maps"
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// silentBeats is after how many beats a source that does not answer is given up.
const silentBeats = 3

// Options describe a watch. All fields must be set, but for Present and From.
type Options struct {
	Shards   int
	Beat     time.Duration // a source answers that often
	Patience time.Duration // how long a source that was given up is left alone
	Present  bool          // what is there is told first
	From     []Place       // by shard, where the watch goes on; nil: it begins now
}

// Plan says who may be followed, by shard, the best one first: homes in contact, or a
// stand-in where there is none.
type Plan [][]view.NodeID

// Poll is a question for what comes behind a position.
type Poll struct {
	ID     uint64 // never 0
	To     view.NodeID
	At     Position      // Epoch 0: the question is where the changes of the store have come to
	Shards []bool        // not to be changed
	Within time.Duration // without an answer by then it has failed
}

// Answer is the answer to a poll.
type Answer struct {
	At        Position // to go on from
	Forgotten bool     // the store has forgotten something in between: At is its head
	Refused   []int    // shards that the store tells nothing of
	Doubtful  []int    // shards of which records went without a delete
	Pause     time.Duration
}

// Mark tells of shards that changes of them may be missing from here on, or no longer are.
type Mark struct {
	Gap    bool
	Shards []int
	Open   int // shards that are not current behind this mark
}

// Watch follows the changes of one bucket. Make one with New.
type Watch struct {
	opts    Options
	shards  []shard
	sources []*source
	failed  map[view.NodeID]time.Duration // until when a store is left alone
	lastID  uint64
	marks   []Mark
	open    int // shards that are not current: each that is to be read anew is one
	loose   int // shards of which nobody is followed
	filling bool
	tooSlow bool
	stands  uint64  // counts what has changed in Stands beside positions
	places  []Place // what Sources returns; nil: that has changed
}

type shard struct {
	follow  []view.NodeID
	source  *source // nil: nobody is followed
	stood   Place   // where it was followed last
	current bool
	gap     bool // that was told, and the end of it was not
	fresh   bool // there is nothing before that a watcher could miss
	fill    fillState
	fillAt  time.Duration                 // not before
	pause   time.Duration                 // behind a fill that has not read it whole
	refused map[view.NodeID]time.Duration // until when a store that has refused it is left alone
}

type fillState uint8

const (
	noFill fillState = iota
	fillWanted
	fillRunning
)

// source is one store that is followed for some shards.
type source struct {
	to      view.NodeID
	at      Position
	shards  []bool
	shared  bool          // with a poll: it is not changed any more
	asking  uint64        // the poll under way; 0: none
	askAt   time.Duration // not before
	since   time.Duration // when the first poll was sent that has had no answer
	failing bool          // a poll has failed since
	broken  bool          // it was out of reach since it answered last
}

// New begins a watch.
func New(opts Options, plan Plan, now time.Duration) *Watch {
	w := &Watch{opts: opts, shards: make([]shard, opts.Shards), failed: make(map[view.NodeID]time.Duration), open: opts.Shards, loose: opts.Shards}
	for i := range w.shards {
		sh := &w.shards[i]
		switch {
		case opts.From == nil:
			sh.fresh = true
			if opts.Present {
				sh.fill = fillWanted
			}
		case opts.From[i].Store == 0:
			w.wantFill(i, now)
		default:
			sh.stood = opts.From[i]
		}
	}
	w.Replan(plan, now)
	return w
}

// Replan takes in who may be followed.
func (w *Watch) Replan(plan Plan, now time.Duration) {
	for i := range w.shards {
		sh := &w.shards[i]
		if !slices.Equal(sh.follow, plan[i]) {
			sh.follow = plan[i]
			if sh.pause > 0 {
				sh.fillAt, sh.pause = now, 0
			}
		}
		if sh.source != nil && !slices.Contains(sh.follow, sh.source.to) {
			w.unfollowShard(i)
		}
	}
	w.assignShards(now)
}

// Polls returns the questions to be sent now.
func (w *Watch) Polls(now time.Duration) (out []Poll) {
	w.assignShards(now)
	for _, src := range w.sources {
		if src.asking != 0 || now < src.askAt {
			continue
		}
		if !src.failing {
			src.since = now
		}
		w.lastID++
		src.asking = w.lastID
		within := max(silentBeats*w.opts.Beat-(now-src.since), w.opts.Beat/2)
		out = append(out, Poll{ID: src.asking, To: src.to, At: src.at, Shards: src.shards, Within: within})
		src.shared = true
	}
	return out
}

// Follows tells whether a poll is under way for a shard: what else comes is not taken.
func (w *Watch) Follows(id uint64, shard int) bool {
	src := w.sourceAsked(id)
	return src != nil && shard >= 0 && shard < len(src.shards) && src.shards[shard]
}

// Answered takes in the answer to a poll.
func (w *Watch) Answered(id uint64, a Answer, now time.Duration) {
	src := w.sourceAsked(id)
	if src == nil {
		return
	}
	if a.Forgotten && src.at.Epoch == a.At.Epoch && src.at.Epoch != 0 && !src.broken {
		w.tooSlow = true
		return
	}
	if a.Forgotten {
		for i := range w.shards {
			if src.shards[i] {
				w.wantFill(i, now)
			}
		}
	}
	if src.at.Epoch != a.At.Epoch {
		w.stands++
	}
	src.at, src.asking, src.askAt, src.failing, src.broken = a.At, 0, now+a.Pause, false, false
	w.places = nil
	for _, i := range a.Doubtful {
		if i < len(src.shards) && src.shards[i] {
			w.wantFill(i, now)
		}
	}
	for _, i := range a.Refused {
		if i < len(src.shards) && src.shards[i] {
			w.shards[i].noteRefusal(src.to, now, now+w.opts.Patience)
			w.unfollowShard(i)
			w.shards[i].stood = Place{} // what it has left out was not told
		}
	}
	w.settleShards(src)
	w.assignShards(now)
}

// Failed reports that a poll was not answered, and when that was clear.
func (w *Watch) Failed(id uint64, at time.Duration) {
	src := w.sourceAsked(id)
	if src == nil {
		return
	}
	src.asking, src.failing, src.broken = 0, true, true
	src.askAt = at + w.opts.Beat/2
	if at-src.since < silentBeats*w.opts.Beat {
		return
	}
	w.failed[src.to] = at + w.opts.Patience
	for i := range w.shards {
		if w.shards[i].source == src {
			w.unfollowShard(i)
		}
	}
	w.assignShards(at)
}

// AskedFrom returns from where a poll asks; false if it was given up.
func (w *Watch) AskedFrom(id uint64) (Place, bool) {
	src := w.sourceAsked(id)
	if src == nil {
		return Place{}, false
	}
	return Place{src.to, src.at}, true
}

func (w *Watch) sourceAsked(id uint64) *source {
	i := slices.IndexFunc(w.sources, func(src *source) bool { return src.asking == id })
	if i < 0 || id == 0 {
		return nil
	}
	return w.sources[i]
}

// settleShards makes those shards of a source current that lack nothing.
func (w *Watch) settleShards(src *source) {
	if w.open == 0 {
		return
	}
	for i := range w.shards {
		if sh := &w.shards[i]; sh.source == src && sh.fill == noFill && !sh.current {
			sh.current, sh.gap = true, false
			w.open--
			w.addMark(false, i)
		}
	}
}

// openGap tells that changes of a shard may be missing.
func (w *Watch) openGap(i int) {
	sh := &w.shards[i]
	if sh.current {
		sh.current = false
		w.open++
	}
	if !sh.gap {
		sh.gap = true
		w.addMark(true, i)
	}
}

func (w *Watch) addMark(gap bool, i int) {
	if n := len(w.marks); n == 0 || w.marks[n-1].Gap != gap {
		w.marks = append(w.marks, Mark{Gap: gap})
	}
	m := &w.marks[len(w.marks)-1]
	m.Shards, m.Open = append(m.Shards, i), w.open
}

// wantFill has a shard read anew.
func (w *Watch) wantFill(i int, now time.Duration) {
	sh := &w.shards[i]
	w.openGap(i)
	sh.fill, sh.fillAt = fillWanted, max(sh.fillAt, now)
	w.stands++
}

// unfollowShard ends to follow the source of a shard.
func (w *Watch) unfollowShard(i int) {
	sh := &w.shards[i]
	src := sh.source
	sh.source, sh.stood = nil, Place{src.to, src.at}
	w.loose++
	w.stands++
	src.setShard(i, false)
	if !slices.Contains(src.shards, true) {
		w.sources = slices.DeleteFunc(w.sources, func(other *source) bool { return other == src })
		w.places = nil
	}
	w.openGap(i)
}

// setShard says whether a shard is followed there.
func (src *source) setShard(i int, follow bool) {
	if src.shared {
		src.shards, src.shared = slices.Clone(src.shards), false
	}
	src.shards[i] = follow
}

// noteRefusal has a store be left alone, and forgets of whom that is over.
func (sh *shard) noteRefusal(id view.NodeID, now, until time.Duration) {
	if sh.refused == nil {
		sh.refused = make(map[view.NodeID]time.Duration)
	}
	maps.DeleteFunc(sh.refused, func(_ view.NodeID, until time.Duration) bool { return now >= until })
	sh.refused[id] = until
}

// assignShards sees to it that each shard has a source, if anybody may be followed.
func (w *Watch) assignShards(now time.Duration) {
	if w.loose == 0 {
		return
	}
	for i := range w.shards {
		sh := &w.shards[i]
		if sh.source != nil {
			continue
		}
		may := func(id view.NodeID) bool { return now >= w.failed[id] && now >= sh.refused[id] }
		at := slices.IndexFunc(sh.follow, may)
		if before := sh.stood.Store; sh.fill == noFill && may(before) && slices.Contains(sh.follow, before) {
			w.followShard(i, before, now) // nothing need be read anew
		} else if at >= 0 {
			w.followShard(i, sh.follow[at], now)
		}
	}
}

// followShard has a store followed for one shard more.
func (w *Watch) followShard(i int, id view.NodeID, now time.Duration) {
	sh := &w.shards[i]
	at := slices.IndexFunc(w.sources, func(src *source) bool { return src.to == id })
	if at < 0 {
		at = len(w.sources)
		src := &source{to: id, shards: make([]bool, len(w.shards)), since: now}
		if sh.stood.Store == id {
			src.at, src.broken = sh.stood.At, true
		}
		w.sources = append(w.sources, src)
		w.places = nil
	}
	src := w.sources[at]
	src.setShard(i, true)
	sh.source = src
	w.loose--
	w.stands++
	// What is on its way is without this shard.
	src.asking, src.askAt = 0, now
	goesOn := sh.stood == Place{id, src.at} && src.at.Epoch != 0
	if !goesOn && !sh.fresh {
		w.wantFill(i, now)
	}
	sh.fresh = false
}

// Fill is a shard to be read anew, and whom it follows: that store must be read, too.
type Fill struct {
	Shard  int
	Source view.NodeID
}

// Fills returns shards to be read anew, all together. There is one such reading at a time.
func (w *Watch) Fills(now time.Duration) (out []Fill) {
	if w.filling || w.open == 0 {
		return nil
	}
	for i := range w.shards {
		if sh := &w.shards[i]; sh.fill == fillWanted && now >= sh.fillAt && sh.source != nil && sh.source.at.Epoch != 0 {
			sh.fill = fillRunning
			out = append(out, Fill{i, sh.source.to})
		}
	}
	w.filling = len(out) > 0
	return out
}

// Filled reports that the reading has ended, and which shards were read whole.
func (w *Watch) Filled(whole func(shard int) bool, now time.Duration) {
	w.filling = false
	w.stands++
	for i := range w.shards {
		sh := &w.shards[i]
		switch {
		case sh.fill != fillRunning:
		case whole(i):
			sh.fill, sh.fillAt, sh.pause = noFill, now+w.opts.Beat, 0
			if sh.source != nil && !sh.source.broken {
				w.settleShards(sh.source)
			}
		default:
			sh.pause = min(max(2*sh.pause, w.opts.Beat), 64*w.opts.Beat)
			sh.fill, sh.fillAt = fillWanted, now+sh.pause
			w.openGap(i)
		}
	}
}

// Marks returns what is to be told of shards, in order.
func (w *Watch) Marks() []Mark {
	marks := w.marks
	w.marks = nil
	return marks
}

// IsTooSlow tells that a source has forgotten what the watcher has not fetched in time.
func (w *Watch) IsTooSlow() bool { return w.tooSlow }

// Due is when there is something to do although nothing has come.
func (w *Watch) Due(now time.Duration) time.Duration {
	due := now + w.opts.Beat
	for _, src := range w.sources {
		if src.asking == 0 {
			due = min(due, src.askAt)
		}
	}
	if !w.filling && w.open > 0 {
		for i := range w.shards {
			if sh := &w.shards[i]; sh.fill == fillWanted && sh.source != nil && sh.source.at.Epoch != 0 {
				due = min(due, sh.fillAt)
			}
		}
	}
	return max(due, now)
}

// Stand is where a watch stands in one shard: behind all that was told.
type Stand struct {
	Place         // nowhere in a shard that lacks something
	Followed bool // the place is where Sources say that its store is
}

// Stands returns where the watch stands, by shard, and a number that grows with every
// change of it but those that Sources tell of.
func (w *Watch) Stands() ([]Stand, uint64) {
	out := make([]Stand, len(w.shards))
	for i := range w.shards {
		switch sh := &w.shards[i]; {
		case sh.fill != noFill:
		case sh.source != nil && sh.source.at.Epoch != 0:
			out[i] = Stand{Place{sh.source.to, sh.source.at}, true}
		case sh.source == nil:
			out[i].Place = sh.stood
		}
	}
	return out, w.stands
}

// StandsNumber is the number that Stands returns.
func (w *Watch) StandsNumber() uint64 { return w.stands }

// Sources returns where the stores stand that are followed. It is not to be changed.
func (w *Watch) Sources() []Place {
	if w.places != nil {
		return w.places
	}
	w.places = make([]Place, len(w.sources))
	for i, src := range w.sources {
		w.places[i] = Place{src.to, src.at}
	}
	return w.places
}
