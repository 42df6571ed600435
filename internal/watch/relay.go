package watch

import "slices"

// What a relay holds at most: see Ring.
const (
	RelayEntries = 4 << 10
	RelayBytes   = 4 << 20
)

// leastUse is the part of what a relay carries that must be told: else it is not worth it.
const leastUse = 8

// mostFull is how many answers in a row may be full. The store's ring has room for 64 of them.
const mostFull = 8

// Relay holds the last changes that one store has told of, of all keys of a bucket in some
// shards, and decides whose polls can be answered from it instead. Positions are the store's.
// It relays plain changes alone. Of all else that a store says, a watch hears from the store
// itself:
//
//	the store's last answer         what the relay holds
//	------------------------------  ----------------------------------------------
//	changes, or none                these and those before, in the shards asked for
//	came behind no position         what comes behind that answer
//	refuses or doubts a shard       nothing until an answer is plain
//	has forgotten something         nothing until an answer is plain
//	there was none                  nothing until there is one
//
// Make one with NewRelay.
type Relay struct {
	most, mostBytes int

	shards  []bool   // that are asked for
	at      Position // up to which the store has answered
	holds   bool     // its last answer was plain
	after   uint64   // all that came behind it is here
	entries []Found
	bytes   int

	carried, told int // since IsWasted looked
	carriedBytes  int
	full          int // answers in a row behind which there was more
}

// NewRelay returns a relay with room for so many entries and bytes. One entry is kept in any
// case.
func NewRelay(entries, bytes int) *Relay { return &Relay{most: entries, mostBytes: bytes} }

// Restart forgets where the store has come to: what comes behind its next answer is held.
func (r *Relay) Restart() {
	r.Fail()
	r.at, r.carried, r.carriedBytes, r.told, r.full = Position{}, 0, 0, 0, 0
}

// AsksFor tells whether Ask was last told of just these shards.
func (r *Relay) AsksFor(shards []bool) bool { return slices.Equal(r.shards, shards) }

// Ask returns behind what the store is to be asked next, for these shards.
func (r *Relay) Ask(shards []bool) Position {
	if !includes(r.shards, shards) {
		r.forgetEntries()
		r.after = r.at.Seq
	}
	r.shards = slices.Clone(shards)
	return r.at
}

// Take takes in the store's answer to what Ask has said. Changes must be in order, and no more
// than the answer is of.
func (r *Relay) Take(a Answer, changes []Found) {
	switch {
	case a.Forgotten || len(a.Refused)+len(a.Doubtful) > 0:
		r.Fail()
	case a.At.Epoch != r.at.Epoch:
		r.forgetEntries()
		r.holds, r.after = true, a.At.Seq
	case !r.holds:
		r.holds, r.after = true, r.at.Seq
	}
	if r.at = a.At; len(changes) == 0 || a.Pause > 0 {
		r.full = 0
	} else {
		r.full++
	}
	if !r.holds {
		return
	}
	for i := range changes {
		r.appendChange(&changes[i])
	}
}

// Fail takes in that the store has not answered.
func (r *Relay) Fail() {
	r.forgetEntries()
	r.holds = false
}

func (r *Relay) forgetEntries() { r.entries, r.bytes = nil, 0 }

func (r *Relay) appendChange(c *Found) {
	r.entries = append(r.entries, *c)
	r.bytes += c.size()
	r.carried++
	r.carriedBytes += c.size()
	for len(r.entries) > r.most || r.bytes > r.mostBytes && len(r.entries) > 1 {
		oldest := &r.entries[0]
		r.bytes -= oldest.size()
		r.after = oldest.Number
		*oldest = Found{}
		r.entries = r.entries[1:]
	}
}

// Holds tells whether the relay answers a poll from a position for some shards: what the
// store would say is what Behind returns, and what it will say next comes here.
func (r *Relay) Holds(at Position, shards []bool) bool {
	return r.holds && at.Epoch == r.at.Epoch && at.Seq >= r.after && includes(r.shards, shards)
}

// IsPlain tells whether the store's last answer was.
func (r *Relay) IsPlain() bool { return r.holds }

// Head is up to where the store has answered.
func (r *Relay) Head() uint64 { return r.at.Seq }

// Behind returns the changes behind a number of which Holds is true. They are shared, and
// valid until the next one is taken in.
func (r *Relay) Behind(seq uint64) []Found {
	i, _ := slices.BinarySearchFunc(r.entries, seq, func(c Found, seq uint64) int {
		if c.Number <= seq {
			return -1
		}
		return 1
	})
	return r.entries[i:]
}

// NoteTold takes in how many changes were told.
func (r *Relay) NoteTold(n int) { r.told += n }

// IsWasted tells that hardly any of what was carried was told to anybody, or that the store
// has changes faster than one at a time asks for them: watches that ask for their own each
// keep up with more.
func (r *Relay) IsWasted() bool {
	if r.full >= mostFull {
		return true
	}
	if r.carried < r.most && r.carriedBytes < leastUse*r.mostBytes {
		return false
	}
	wasted := r.told < r.carried/leastUse
	r.carried, r.carriedBytes, r.told = 0, 0, 0
	return wasted
}

// includes tells whether a set of shards has all of another one.
func includes(all, some []bool) bool {
	for shard, is := range some {
		if is && (shard >= len(all) || !all[shard]) {
			return false
		}
	}
	return true
}
