package watch

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const relayShards = 3

// relayedStore has changes in all shards. Those without a key are deletes that nobody knows.
type relayedStore struct {
	epoch   uint64
	first   uint64 // all behind it is known
	changes []Found
	refused []bool
}

func (s *relayedStore) head() uint64 { return s.first + uint64(len(s.changes)) }

// between returns what has changed up to a number.
func (s *relayedStore) between(after, upTo uint64, shards []bool) (told, gone []Found) {
	for _, c := range s.changes {
		switch {
		case c.Number <= after || c.Number > upTo || !shards[c.Shard]:
		case c.Kind == Gone:
			gone = append(gone, c)
		default:
			told = append(told, c)
		}
	}
	return told, gone
}

// answer answers as a store does, up to a number.
func (s *relayedStore) answer(from Position, upTo uint64, shards []bool) (a Answer, told []Found) {
	a.At = Position{s.epoch, s.head()}
	if from.Epoch != s.epoch || from.Seq < s.first {
		a.Forgotten = from.Epoch != 0
		return a, nil
	}
	a.At.Seq = max(from.Seq, upTo)
	told, gone := s.between(from.Seq, a.At.Seq, shards)
	for _, c := range gone {
		a.Doubtful = append(a.Doubtful, c.Shard)
	}
	for shard, is := range s.refused {
		if is && shards[shard] {
			a.Refused = append(a.Refused, shard)
		}
	}
	told = slices.DeleteFunc(told, func(c Found) bool { return s.refused[c.Shard] })
	return a, told
}

func someShards(rng *rand.Rand) []bool {
	out := make([]bool, relayShards)
	out[rng.IntN(relayShards)] = true
	for shard := range out {
		out[shard] = out[shard] || rng.IntN(2) == 0
	}
	return out
}

// Whatever a store answers, what a relay says of a position is what the store would have said
// when it answered last, and was no more than changes.
func TestRelaySaysWhatTheStoreWouldSay(t *testing.T) {
	served, refused := 0, 0
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := &relayedStore{epoch: 1, refused: make([]bool, relayShards)}
		r := NewRelay(6, 1<<20)
		shards := someShards(rng)
		var refusedThen []bool // when it answered last
		asked := 0
		for range 60 {
			switch p := rng.IntN(20); {
			case p < 8:
				kind := Changed
				if rng.IntN(12) == 0 {
					kind = Gone
				}
				n := s.head() + 1
				s.changes = append(s.changes, Found{Number: n, Entry: Entry{Shard: rng.IntN(relayShards), Key: fmt.Sprint(n), Kind: kind}})
			case p == 8 && rng.IntN(3) == 0:
				*s = relayedStore{epoch: s.epoch + 1, refused: s.refused}
			case p == 9 && len(s.changes) > 10:
				s.first, s.changes = s.first+5, s.changes[5:]
			case p == 10:
				s.refused[rng.IntN(relayShards)] = rng.IntN(3) == 0
			case p == 11 && rng.IntN(3) == 0:
				r.Fail()
				asked = 0
			case p == 12:
				shards = someShards(rng)
			default:
				at := r.Ask(shards)
				a, told := s.answer(at, min(s.head(), at.Seq+uint64(rng.IntN(8))), shards)
				r.Take(a, told)
				if refusedThen = slices.Clone(s.refused); at.Epoch == 0 {
					clear(refusedThen) // a store that is asked where it stands says no more
				}
				if asked++; len(a.Refused)+len(a.Doubtful) > 0 || a.Forgotten {
					asked = 0
				}
				if asked > 0 && !r.Holds(a.At, shards) {
					t.Fatalf("seed %d: what the store has just said is not held", seed)
				}
			}
			at := Position{s.epoch, s.first + uint64(rng.IntN(len(s.changes)+2))}
			if rng.IntN(8) == 0 {
				at.Epoch--
			}
			wants := someShards(rng)
			if !r.Holds(at, wants) {
				continue
			}
			served++
			upTo := max(r.Head(), at.Seq)
			told, gone := s.between(at.Seq, upTo, wants)
			if at.Epoch != s.epoch { // its numbers are those of a former life, and the relay does not know yet
				continue
			}
			got := slices.DeleteFunc(slices.Clone(r.Behind(at.Seq)), func(c Found) bool { return !wants[c.Shard] })
			same := slices.EqualFunc(got, told, func(a, b Found) bool { return a.Number == b.Number && a.Key == b.Key })
			if at.Seq >= s.first && (!same || len(gone) > 0) {
				t.Fatalf("seed %d: behind %v it says %v, the store says %v and that %v went", seed, at, got, told, gone)
			}
			for shard, is := range refusedThen {
				if is && wants[shard] {
					t.Fatalf("seed %d: shard %d is refused, and it says %v", seed, shard, got)
				}
				if is {
					refused++
				}
			}
		}
	}
	if served < 10000 || refused < 100 {
		t.Errorf("%d polls were answered, %d beside a refusal", served, refused)
	}
}

func TestRelayIsBounded(t *testing.T) {
	all := []bool{true}
	fill := func(entries, bytes, n int) *Relay {
		r := NewRelay(entries, bytes)
		r.Ask(all)
		r.Take(Answer{At: Position{1, 0}}, nil)
		for i := range uint64(n) {
			r.Ask(all)
			r.Take(Answer{At: Position{1, i + 1}}, []Found{{Number: i + 1, Entry: Entry{Key: "k", Item: make([]byte, 1000)}}})
		}
		return r
	}
	for name, c := range map[string]struct{ entries, bytes, want int }{
		"entries": {8, 1 << 20, 8}, "bytes": {1 << 10, 5000, 4}, "one in any case": {8, 10, 1},
	} {
		r := fill(c.entries, c.bytes, 20)
		if n := len(r.Behind(0)); n != c.want || r.Holds(Position{1, uint64(19 - n)}, all) || !r.Holds(Position{1, uint64(20 - n)}, all) || len(r.Behind(20)) != 0 {
			t.Errorf("%s: %d changes are held", name, n)
		}
	}
}

func TestRelayOfWhatNobodyWantsIsWasted(t *testing.T) {
	carry := func(told int) *Relay {
		r := NewRelay(80, 1<<20)
		r.Ask([]bool{true})
		r.Take(Answer{At: Position{1, 0}}, nil)
		for i := range uint64(80) {
			if r.IsWasted() {
				t.Fatalf("wasted after %d", i)
			}
			r.Take(Answer{At: Position{1, i + 1}, Pause: 1}, []Found{{Number: i + 1}})
		}
		r.NoteTold(told)
		return r
	}
	if carry(10).IsWasted() {
		t.Error("an eighth was told")
	}
	r := carry(9)
	if !r.IsWasted() || r.IsWasted() {
		t.Error("less than an eighth was told")
	}
}

func TestRelayIsOfOneEpoch(t *testing.T) {
	all := []bool{true}
	r := NewRelay(8, 1<<20)
	if r.Ask(all); r.Holds(Position{}, all) {
		t.Error("it holds what nobody has told it")
	}
	r.Take(Answer{At: Position{2, 5}}, nil)
	if !r.Holds(Position{2, 5}, all) || r.Holds(Position{1, 5}, all) || r.Holds(Position{2, 4}, all) {
		t.Error("it holds what came before it began")
	}
}

// A store that always has more to say is followed by each watch for itself: one question at
// a time would fall behind until the store has forgotten.
func TestRelayThatCannotKeepUpIsWasted(t *testing.T) {
	all := []bool{true}
	take := func(r *Relay, pauses ...time.Duration) {
		for _, pause := range pauses {
			n := r.Ask(all).Seq + 1
			r.Take(Answer{At: Position{1, n}, Pause: pause}, []Found{{Number: n, Entry: Entry{Key: "k"}}})
			r.NoteTold(1)
		}
	}
	r := NewRelay(1000, 1<<20)
	r.Ask(all)
	r.Take(Answer{At: Position{1, 0}}, nil)
	full := make([]time.Duration, mostFull-1)
	take(r, full...)
	take(r, 1)
	if take(r, full...); r.IsWasted() {
		t.Error("it was up with the store in between")
	}
	if take(r, 0); !r.IsWasted() {
		t.Error("it goes on though the store always has more")
	}
	r.Restart()
	if at := r.Ask(all); at != (Position{}) || r.IsWasted() || r.Holds(Position{1, 30}, all) {
		t.Errorf("it goes on from %v", at)
	}
	r.Take(Answer{At: Position{1, 900}}, nil)
	if !r.Holds(Position{1, 900}, all) || r.Holds(Position{1, 899}, all) {
		t.Error("it holds what it was not told since")
	}
}

func TestRelayKnowsForWhatItAsks(t *testing.T) {
	r := NewRelay(8, 1<<20)
	r.Ask([]bool{true, false})
	for _, c := range []struct {
		shards []bool
		same   bool
	}{{[]bool{true, false}, true}, {[]bool{true, true}, false}, {[]bool{false, false}, false}} {
		if r.AsksFor(c.shards) != c.same {
			t.Errorf("%v: %v", c.shards, !c.same)
		}
	}
}

func TestRelayOfLargeItemsThatNobodyWantsIsWasted(t *testing.T) {
	r := NewRelay(1000, 1<<20)
	r.Ask([]bool{true})
	r.Take(Answer{At: Position{1, 0}}, nil)
	n := uint64(0)
	for n < 900 && !r.IsWasted() {
		n++
		r.Take(Answer{At: Position{1, n}, Pause: 1}, []Found{{Number: n, Entry: Entry{Item: make([]byte, 100<<10)}}})
	}
	if n < 70 || n > 90 {
		t.Errorf("wasted after %d changes of 100 KiB", n)
	}
}
