package epidemic

import (
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
)

// word is an entry whose content follows from its key and version, as where each version
// of a key is made once.
type word struct {
	key, version, content uint64
}

func said(key, version uint64) word { return word{key, version, key*1000 + version} }

func words(own uint64) *Table[uint64, uint64, word] {
	return New(Rule[uint64, uint64, word]{
		Sum: func(w word) wire.KeySum[uint64, uint64] {
			return wire.KeySum[uint64, uint64]{Key: w.key, Version: w.version}
		},
		Newer: func(v, than uint64) bool { return v > than },
		Append: func(dst []byte, s wire.KeySum[uint64, uint64]) []byte {
			return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, s.Key), s.Version)
		},
		Mine:  func(key uint64) bool { return key == own },
		Renew: func(_ time.Duration, _, told word) word { return said(told.key, told.version+1) },
	})
}

const nobody = 1 << 40 // the own key of a table that has none

func everybody(wire.KeySum[uint64, uint64]) bool { return true }

func randomWords(r *rand.Rand) (out []word) {
	for range r.IntN(12) {
		out = append(out, said(r.Uint64N(8), r.Uint64N(6)))
	}
	return out
}

func holding(lists ...[]word) map[uint64]Held[word] {
	t := words(nobody)
	for _, list := range lists {
		t.Hear(0, list, everybody)
	}
	return t.All()
}

// merged takes all of b into a table that holds all of a.
func merged(a, b map[uint64]Held[word]) map[uint64]Held[word] {
	list := func(m map[uint64]Held[word]) (out []word) {
		for _, h := range m {
			out = append(out, h.Entry)
		}
		return out
	}
	return holding(list(a), list(b))
}

func TestTablesMergeAlikeInAnyOrder(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		a, b, c := holding(randomWords(r)), holding(randomWords(r)), holding(randomWords(r))
		for law, pair := range map[string][2]map[uint64]Held[word]{
			"commutative": {merged(a, b), merged(b, a)},
			"associative": {merged(merged(a, b), c), merged(a, merged(b, c))},
			"idempotent":  {merged(a, a), a},
		} {
			if !reflect.DeepEqual(pair[0], pair[1]) {
				t.Fatalf("seed %d: merge is not %s: %v and %v", seed, law, pair[0], pair[1])
			}
		}
	}
}

func TestNothingOlderReplacesNewer(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 2))
		x := words(3)
		for range 20 {
			was := x.All()
			if r.IntN(2) == 0 {
				x.Put(0, said(r.Uint64N(8), r.Uint64N(6)))
			} else {
				x.Hear(0, randomWords(r), everybody)
			}
			for key, h := range was {
				if now, ok := x.Get(key); !ok || now.Entry.version < h.Entry.version {
					t.Fatalf("seed %d: %v became %v", seed, h.Entry, now.Entry)
				}
			}
		}
	}
}

// exchange does what two nodes do: one asks with its digest, and where the other has
// another one they swap. It returns how many messages that took.
func exchange(a, b *Table[uint64, uint64, word]) (messages int) {
	if a.Digest() == b.Digest() {
		return 2
	}
	swap := a.Missing(b.Sums())
	b.Hear(0, swap.Have, everybody)
	a.Hear(0, b.Some(swap.Want), everybody)
	return 4
}

func TestOneExchangeMakesTablesEqual(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 3))
		a, b := words(nobody), words(nobody)
		a.Hear(0, randomWords(r), everybody)
		b.Hear(0, randomWords(r), everybody)
		if n := exchange(a, b); n > 4 || !reflect.DeepEqual(a.All(), b.All()) || a.Digest() != b.Digest() {
			t.Fatalf("seed %d: %v and %v after %d messages", seed, a.All(), b.All(), n)
		}
		if n := exchange(a, b); n != 2 {
			t.Fatalf("seed %d: equal tables took %d messages", seed, n)
		}
	}
}

// Only what one side lacks moves: nothing that both have alike, and nothing older.
func TestExchangeMovesOnlyWhatIsMissing(t *testing.T) {
	a, b := words(nobody), words(nobody)
	a.Hear(0, []word{said(1, 1), said(2, 5), said(3, 1), said(4, 1)}, everybody)
	b.Hear(0, []word{said(1, 1), said(2, 4), said(3, 2), said(5, 1)}, everybody)
	want := wire.TableSwap[uint64, word]{Have: []word{said(2, 5), said(4, 1)}, Want: []uint64{3, 5}}
	if got := a.Missing(b.Sums()); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if have, ask := Compare(a.Sums(), b.Sums(), func(v, than uint64) bool { return v != than }); !reflect.DeepEqual(have, []uint64{2, 3, 4}) || !reflect.DeepEqual(ask, []uint64{2, 3, 5}) {
		t.Errorf("where versions have no order: hands over %v, asks for %v", have, ask)
	}
}

// Whatever others hold of a key, its owner has the last word, and two exchanges bring it
// to whoever was told otherwise.
func TestOwnerHasTheLastWord(t *testing.T) {
	own, other := words(7), words(nobody)
	own.Put(0, said(7, 2))
	own.News()
	own.Hear(0, []word{said(7, 1), said(7, 2)}, everybody)
	if news := own.News(); len(news) != 0 {
		t.Errorf("an echo is news: %v", news)
	}
	other.Hear(0, []word{said(7, 40)}, everybody)
	if swap := own.Missing(other.Sums()); len(swap.Want) != 0 {
		t.Errorf("it asks for its own word: %v", swap.Want)
	}
	exchange(other, own)
	exchange(own, other)
	for _, x := range []*Table[uint64, uint64, word]{own, other} {
		if h, _ := x.Get(7); h.Entry != said(7, 41) {
			t.Errorf("%+v holds", h.Entry)
		}
	}
	if news := own.News(); len(news) != 1 || news[0] != said(7, 41) {
		t.Errorf("news %v", news)
	}
}

func TestNewsAreHandedOnOnce(t *testing.T) {
	x := words(nobody)
	x.Hear(time.Second, []word{said(2, 1), said(1, 1), said(2, 3), said(2, 2)}, everybody)
	if news := x.News(); !reflect.DeepEqual(news, []word{said(1, 1), said(2, 3)}) {
		t.Errorf("%v", news)
	}
	if news := x.News(); len(news) != 0 {
		t.Errorf("again: %v", news)
	}
	if h, _ := x.Get(2); h.At != time.Second {
		t.Errorf("it came at %v", h.At)
	}
	x.Hear(0, []word{said(3, 1)}, everybody)
	x.Forget(func(key uint64) bool { return key == 3 })
	if _, ok := x.Get(3); ok || len(x.News()) != 0 {
		t.Error("one that is gone is handed on")
	}
}

// What is not believed is not taken in, and of one message a decoder keeps one entry of
// each key that is.
func TestSieveKeepsWhatIsBelievedOnce(t *testing.T) {
	x := words(nobody)
	believe := func(s wire.KeySum[uint64, uint64]) bool { return s.Key < 3 && s.Version < 100 }
	x.Put(0, said(1, 5))
	x.News()
	kept := map[uint64]uint64{}
	keep := x.Sieve(believe)
	for _, s := range []wire.KeySum[uint64, uint64]{{Key: 1, Version: 5}, {Key: 1, Version: 6}, {Key: 1, Version: 7}, {Key: 2, Version: 100}, {Key: 2, Version: 9}, {Key: 3, Version: 1}} {
		if keep(s) {
			kept[s.Key] += s.Version
		}
	}
	if !maps.Equal(kept, map[uint64]uint64{1: 6, 2: 9}) {
		t.Errorf("kept %v", kept)
	}
	if x.Hear(0, []word{said(3, 1), said(2, 100), said(1, 4)}, believe) || len(x.News()) != 0 {
		t.Errorf("taken in: %v", x.All())
	}
	if got := x.Some([]uint64{1, 1, 9, 1}); len(got) != 1 {
		t.Errorf("asked often for one, gave %v", got)
	}
}

// Of many entries that come in together nobody is told, but for this node's own word,
// which comes first among all news.
func TestManyAreNotHandedOn(t *testing.T) {
	x := words(7)
	x.Hear(0, []word{said(2, 1)}, everybody)
	x.HearMany(0, []word{said(1, 1), said(2, 2), said(7, 3)}, everybody)
	if news := x.News(); !reflect.DeepEqual(news, []word{said(7, 4), said(2, 2)}) {
		t.Errorf("%v", news)
	}
	if h, _ := x.Get(1); h.Entry != said(1, 1) {
		t.Errorf("%v is held", h.Entry)
	}
}

// The digest is of what is held now, whatever came and went since it was asked for last.
func TestDigestIsOfWhatIsHeld(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 4))
		x := words(nobody)
		for range 20 {
			switch r.IntN(4) {
			case 0:
				x.Put(0, said(r.Uint64N(8), r.Uint64N(6)))
			case 1:
				x.HearMany(0, randomWords(r), everybody)
			case 2:
				x.Drop(r.Uint64N(8))
			default:
				key := r.Uint64N(8)
				x.Forget(func(k uint64) bool { return k == key })
			}
			anew := words(nobody)
			for _, h := range x.All() {
				anew.Put(0, h.Entry)
			}
			if x.Digest() != anew.Digest() {
				t.Fatalf("seed %d: another digest than of %v", seed, x.Sums())
			}
		}
	}
}
