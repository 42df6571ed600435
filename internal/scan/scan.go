package scan

import (
	"cmp"
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// Plan says whom records can be asked of now.
type Plan struct {
	Shards []Shard       // by number
	Stores []view.NodeID // all that can be asked. Of a shard of which one is no home what it lacks proves nothing
}

// Shard says whom a shard's records are asked of.
type Shard struct {
	Homes []view.NodeID // those of the stores that are homes, in the order in which to turn to them
	Need  int           // homes that must be asked, and vouch for what they lack
}

// Ask is a question for one page.
type Ask struct {
	ID     uint64 // never 0
	To     view.NodeID
	Shards Shards
	Within Bounds
}

// Record is what a store has of one key.
type Record struct {
	Key     string
	Shard   int
	Item    []byte // as it travels; not looked at here
	Damaged bool   // there is a record that does not read: the store knows nothing of the key
}

// Page answers an Ask with the records of its shards, in order.
type Page struct {
	Records []Record
	More    bool   // the page ends at UpTo, for there was no room for more
	UpTo    string // a key; all records up to it, itself included, are in the page
	Vouched Shards // those of which what is not in the page is unknown in the mesh, as far as the store can tell
}

// Found is what the stores that were asked have of one key.
type Found struct {
	Key     string
	Shard   int
	Copies  [][]byte // different ones; none if each one is damaged
	Replies int      // stores that answered for the key
	// Damaged tells that a store has a record of the key that does not read. The copies
	// are too few then: what they lack may be in that one alone. The key must be read
	// again by itself.
	Damaged bool
	// Disputed tells that one store has the key and another vouches that it is unknown.
	// Pages are read one after the other, so the first may be from before a delete of
	// which the second was read after it was purged. If the copies show a value the key
	// must be read again by itself.
	Disputed bool
}

// State tells whether there is a next key.
type State uint8

// What Next can say.
const (
	Waiting State = iota // for pages
	Settled              // Found is the next key
	Ended                // there is none
)

// Scan reads the keys of one bucket within bounds. Make one with New.
type Scan struct {
	within   Bounds // what is not settled yet
	patience time.Duration
	shards   []shardState
	stores   []view.NodeID
	sources  []*source                     // sorted by node
	failed   map[view.NodeID]time.Duration // until when a store that failed is not turned to
	lastID   uint64
	gaps     []int         // to be told
	retryAt  time.Duration // when stores that failed are tried again for shards that lack homes; 0: none does
	heard    bool          // a page has come
	moved    bool          // a key has been settled
}

type shardState struct {
	Shard
	told bool // it is a gap, and that was said
}

// source is one store that is asked for some shards.
type source struct {
	to       view.NodeID
	shards   Shards
	unproven Shards // of which it has said that what it lacks proves nothing
	whole    Shards // of which it was asked for everything
	within   Bounds // what it was not asked for yet
	asking   uint64 // the question under way; 0: none
	page     []Record
	next     []Record // the page behind that one
	empty    int      // pages in a row without a record of these shards
	done     bool     // nothing is left to ask it for
}

// mostEmpty is how many pages in a row may hold nothing that was asked for, and have more
// behind them. An honest store has one when it turns out, while it reads, that it may not
// show a shard. More of them would hold a scan up for ever.
const mostEmpty = 8

// New begins a scan. A store that failed is left alone for patience, then it may be
// turned to again.
func New(within Bounds, plan Plan, patience, now time.Duration) *Scan {
	s := &Scan{within: within, patience: patience, shards: make([]shardState, len(plan.Shards)), failed: make(map[view.NodeID]time.Duration)}
	s.Replan(plan, now)
	return s
}

// Replan takes in new homes of the shards, and who can be asked.
func (s *Scan) Replan(plan Plan, now time.Duration) {
	for i := range s.shards {
		s.shards[i].Shard = plan.Shards[i]
	}
	s.stores = plan.Stores
	s.sources = slices.DeleteFunc(s.sources, func(src *source) bool { return !slices.Contains(s.stores, src.to) })
	s.assignShards(now)
}

// Asks returns the questions to be sent now.
func (s *Scan) Asks(now time.Duration) (out []Ask) {
	if s.retryAt != 0 && now >= s.retryAt {
		s.assignShards(now)
	}
	for _, src := range s.sources {
		if src.asking != 0 || src.done || len(src.next) > 0 {
			continue
		}
		s.lastID++
		src.asking = s.lastID
		out = append(out, Ask{ID: src.asking, To: src.to, Shards: slices.Clone(src.shards), Within: src.within})
	}
	return out
}

// Paged takes in the answer to a question. A page that is not what was asked for is no
// answer.
func (s *Scan) Paged(id uint64, p Page, now time.Duration) {
	src := s.sourceAsked(id)
	if src == nil {
		return
	}
	if !src.within.AcceptsPage(p) {
		s.Failed(id, now)
		return
	}
	wanted := slices.DeleteFunc(p.Records, func(r Record) bool { return !src.shards.Has(r.Shard) })
	if src.empty++; len(wanted) > 0 || !p.More {
		src.empty = 0
	}
	if src.empty > mostEmpty {
		s.Failed(id, now)
		return
	}
	src.asking, src.next, s.heard = 0, wanted, true
	src.turnPage()
	if p.More {
		src.within = src.within.Beyond(p.UpTo)
	}
	src.done = !p.More || src.within.Empty()
	news := false
	for i := range s.shards {
		if src.shards.Has(i) && !p.Vouched.Has(i) && !src.unproven.Has(i) {
			src.unproven.Add(i)
			news = true
		}
	}
	if news {
		s.assignShards(now)
	}
}

// AcceptsPage tells whether a page can be the answer to a question within the bounds: its
// keys are, they are in order, and it gets on.
func (b Bounds) AcceptsPage(p Page) bool {
	for i := range p.Records {
		key := p.Records[i].Key
		if !b.Has(key) || i > 0 && !b.Precedes(p.Records[i-1].Key, key) || p.More && b.Precedes(p.UpTo, key) {
			return false
		}
	}
	return !p.More || b.Has(p.UpTo)
}

// Failed reports that a question is not answered.
func (s *Scan) Failed(id uint64, now time.Duration) {
	src := s.sourceAsked(id)
	if src == nil {
		return
	}
	s.failed[src.to] = now + s.patience
	s.sources = slices.DeleteFunc(s.sources, func(other *source) bool { return other == src })
	s.assignShards(now)
}

func (s *Scan) sourceAsked(id uint64) *source {
	i := slices.IndexFunc(s.sources, func(src *source) bool { return src.asking == id })
	if i < 0 || id == 0 {
		return nil
	}
	return s.sources[i]
}

// turnPage makes the next page the one that is read, if that has been.
func (src *source) turnPage() {
	if len(src.page) == 0 {
		src.page, src.next = src.next, nil
	}
}

// Next returns the next key once it is settled.
func (s *Scan) Next() (Found, State) {
	var least *Record
	for _, src := range s.sources {
		if len(src.page) == 0 {
			if src.done {
				continue
			}
			return Found{}, Waiting
		}
		if r := &src.page[0]; least == nil || s.within.Precedes(r.Key, least.Key) {
			least = r
		}
	}
	if least == nil {
		return Found{}, Ended
	}
	return s.settleKey(least.Key, least.Shard), Settled
}

// settleKey takes the records of a key, which is the first of all.
func (s *Scan) settleKey(key string, shard int) Found {
	f := Found{Key: key, Shard: shard}
	absent := 0
	for _, src := range s.sources {
		switch {
		case len(src.page) > 0 && src.page[0].Key == key:
			r := src.page[0]
			src.page[0] = Record{} // copied records are held no longer, others with their page
			src.page = src.page[1:]
			src.turnPage()
			if r.Damaged {
				f.Damaged = true
				continue
			}
			f.Replies++
			if !slices.ContainsFunc(f.Copies, func(c []byte) bool { return string(c) == string(r.Item) }) {
				f.Copies = append(f.Copies, r.Item)
			}
		case src.shards.Has(shard) && s.vouches(src, shard):
			f.Replies++
			absent++
		}
	}
	f.Disputed = absent > 0
	s.moved = true
	s.within = s.within.Beyond(key)
	return f
}

// vouches tells whether what a source lacks of a shard is unknown in the mesh, as far as
// a home can tell.
func (s *Scan) vouches(src *source, shard int) bool {
	return !src.unproven.Has(shard) && slices.Contains(s.shards[shard].Homes, src.to)
}

// Rest returns what is not settled yet.
func (s *Scan) Rest() Bounds { return s.within }

// ReadWhole tells whether a store was asked for a shard all the time, and has not failed.
func (s *Scan) ReadWhole(id view.NodeID, shard int) bool {
	return slices.ContainsFunc(s.sources, func(src *source) bool { return src.to == id && src.whole.Has(shard) })
}

// Gaps returns the shards, each once in a scan, for which too few homes could be asked
// to be sure of what comes from here on.
func (s *Scan) Gaps() []int {
	gaps := s.gaps
	s.gaps = nil
	return gaps
}

// HasGaps tells whether Gaps would return any.
func (s *Scan) HasGaps() bool { return len(s.gaps) > 0 }

// Reached tells whether any store has answered.
func (s *Scan) Reached() bool { return s.heard }

// NoteGap makes a shard a gap from here on: what its copies could not decide was not
// decided by reading a key again either.
func (s *Scan) NoteGap(shard int) {
	if sh := &s.shards[shard]; !sh.told {
		sh.told = true
		s.gaps = append(s.gaps, shard)
	}
}

// assignShards sees to it that enough homes are asked for each shard.
func (s *Scan) assignShards(now time.Duration) {
	s.retryAt = 0
	for i := range s.shards {
		if !s.assignShard(i, now) {
			s.retryAt = max(now+s.patience, 1)
		}
	}
}

// assignShard tells whether enough homes are asked for a shard.
func (s *Scan) assignShard(shard int, now time.Duration) bool {
	sh := &s.shards[shard]
	have := 0
	for _, src := range s.sources {
		if src.shards.Has(shard) && s.vouches(src, shard) {
			have++
		}
	}
	for _, id := range sh.Homes {
		if have < sh.Need && s.addSource(id, shard, now) {
			have++
		}
	}
	if have >= sh.Need {
		return true
	}
	for _, id := range s.stores {
		s.addSource(id, shard, now)
	}
	s.NoteGap(shard)
	return false
}

// addSource has a store asked for one shard more, for all that is not settled. It
// reports false if the store is asked for that already, or has failed lately.
func (s *Scan) addSource(id view.NodeID, shard int, now time.Duration) bool {
	if now < s.failed[id] {
		return false
	}
	i, found := slices.BinarySearchFunc(s.sources, id, func(src *source, id view.NodeID) int { return cmp.Compare(src.to, id) })
	if !found {
		n := len(s.shards)
		s.sources = slices.Insert(s.sources, i, &source{to: id, shards: NewShards(n), unproven: NewShards(n), whole: NewShards(n)})
	}
	src := s.sources[i]
	if src.shards.Has(shard) {
		return false
	}
	src.shards.Add(shard)
	if !s.moved {
		src.whole.Add(shard)
	}
	// Its other shards are asked for once more: a store has one place in the order of
	// keys, so that no more than two pages of it are held.
	src.asking, src.page, src.next = 0, nil, nil
	src.within, src.done = s.within, s.within.Empty()
	return true
}
