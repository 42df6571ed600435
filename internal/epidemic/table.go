package epidemic

import (
	"cmp"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
)

// Rule is what a Table is told of its entries. See the documentation of the package.
type Rule[K cmp.Ordered, V, E any] struct {
	Sum    func(e E) wire.KeySum[K, V]
	Newer  func(v, than V) bool
	Append func(dst []byte, s wire.KeySum[K, V]) []byte

	Mine  func(key K) bool                        // nil: this node has the last word on no key
	Renew func(now time.Duration, held, told E) E // held is zero if there is none
}

// Held is an entry, and when it came by this node's run time.
type Held[E any] struct {
	Entry E
	At    time.Duration
}

// Table holds the newest entry of each key. It is not safe for concurrent use.
type Table[K cmp.Ordered, V, E any] struct {
	rule     Rule[K, V, E]
	held     map[K]Held[E] // changed by Put and Drop alone
	fresh    map[K]bool    // to be handed on
	digest   uint64
	digested bool // digest is of what is held
}

// New returns an empty table.
func New[K cmp.Ordered, V, E any](rule Rule[K, V, E]) *Table[K, V, E] {
	return &Table[K, V, E]{rule: rule, held: map[K]Held[E]{}, fresh: map[K]bool{}}
}

// Lacks tells whether an entry of that version would be news.
func (t *Table[K, V, E]) Lacks(s wire.KeySum[K, V]) bool {
	h, ok := t.held[s.Key]
	return !ok || t.rule.Newer(s.Version, t.rule.Sum(h.Entry).Version)
}

// Put takes e in if it is news, and tells whether it was.
func (t *Table[K, V, E]) Put(now time.Duration, e E) bool {
	s := t.rule.Sum(e)
	if !t.Lacks(s) {
		return false
	}
	t.held[s.Key], t.fresh[s.Key] = Held[E]{e, now}, true
	t.digested = false
	return true
}

// Hear takes in what a peer says, as far as it is news and believed, and tells whether
// anything was. Of what is this node's own word it says something newer still itself.
func (t *Table[K, V, E]) Hear(now time.Duration, said []E, believe func(wire.KeySum[K, V]) bool) (heard bool) {
	return t.takeIn(now, said, believe, func(K) bool { return true })
}

// HearMany is Hear of a part of many entries: of those this node's own word alone is
// handed on.
func (t *Table[K, V, E]) HearMany(now time.Duration, said []E, believe func(wire.KeySum[K, V]) bool) (heard bool) {
	return t.takeIn(now, said, believe, t.isOwnKey)
}

func (t *Table[K, V, E]) takeIn(now time.Duration, said []E, believe func(wire.KeySum[K, V]) bool, handOn func(K) bool) (heard bool) {
	for _, e := range said {
		s := t.rule.Sum(e)
		if !believe(s) || !t.Lacks(s) {
			continue
		}
		if t.isOwnKey(s.Key) {
			e = t.rule.Renew(now, t.held[s.Key].Entry, e)
		}
		was := t.fresh[s.Key]
		heard = t.Put(now, e) || heard
		if !was && !handOn(s.Key) {
			delete(t.fresh, s.Key)
		}
	}
	return heard
}

// Sieve returns what a decoder is to keep of one message: what Hear would take in, and
// one entry of each key. So a message takes no more memory than there are keys that are
// believed.
func (t *Table[K, V, E]) Sieve(believe func(wire.KeySum[K, V]) bool) func(wire.KeySum[K, V]) bool {
	kept := map[K]bool{}
	return func(s wire.KeySum[K, V]) bool {
		if kept[s.Key] || !believe(s) || !t.Lacks(s) {
			return false
		}
		kept[s.Key] = true
		return true
	}
}

// Get returns what is held of a key.
func (t *Table[K, V, E]) Get(key K) (Held[E], bool) {
	h, ok := t.held[key]
	return h, ok
}

// All returns what is held of each key.
func (t *Table[K, V, E]) All() map[K]Held[E] { return maps.Clone(t.held) }

// Some returns the entries of some keys, each once.
func (t *Table[K, V, E]) Some(keys []K) (out []E) {
	given := map[K]bool{}
	for _, key := range keys {
		if h, ok := t.held[key]; ok && !given[key] {
			given[key] = true
			out = append(out, h.Entry)
		}
	}
	return out
}

// Forget drops the entries of keys that are gone. A peer that holds one still may bring
// it back, unless it is not believed any more.
func (t *Table[K, V, E]) Forget(gone func(K) bool) {
	for key := range t.held {
		if gone(key) {
			t.Drop(key)
		}
	}
}

// Drop drops the entry of a key: see Forget.
func (t *Table[K, V, E]) Drop(key K) {
	delete(t.held, key)
	t.digested = false
}

// News returns what is to be handed on, once: this node's own word first, the others
// sorted by key.
func (t *Table[K, V, E]) News() []E {
	keys := slices.Sorted(maps.Keys(t.fresh))
	clear(t.fresh)
	slices.SortStableFunc(keys, func(a, b K) int {
		switch own := t.isOwnKey(a); {
		case own == t.isOwnKey(b):
			return 0
		case own:
			return -1
		}
		return 1
	})
	return t.Some(keys)
}

// Sums returns the sums of all that is held, sorted by key.
func (t *Table[K, V, E]) Sums() []wire.KeySum[K, V] {
	out := make([]wire.KeySum[K, V], 0, len(t.held))
	for _, key := range slices.Sorted(maps.Keys(t.held)) {
		out = append(out, t.rule.Sum(t.held[key].Entry))
	}
	return out
}

// Digest is of all Sums.
func (t *Table[K, V, E]) Digest() uint64 {
	if !t.digested {
		h := fnv.New64a()
		var b []byte
		for _, s := range t.Sums() {
			b = t.rule.Append(b[:0], s)
			h.Write(b)
		}
		t.digest, t.digested = h.Sum64(), true
	}
	return t.digest
}

// Missing returns what a peer with such sums lacks, and which of its entries are newer.
func (t *Table[K, V, E]) Missing(theirs []wire.KeySum[K, V]) wire.TableSwap[K, E] {
	have, want := Compare(t.Sums(), theirs, t.rule.Newer)
	return wire.TableSwap[K, E]{Have: t.Some(have), Want: slices.DeleteFunc(want, t.isOwnKey)}
}

func (t *Table[K, V, E]) isOwnKey(key K) bool { return t.rule.Mine != nil && t.rule.Mine(key) }

// Compare returns which keys a peer with such sums lacks or has older, and which are
// lacking or older here, sorted. Where versions do not tell which of two is newer, as
// digests of entries that merge, newer has to say so of both: then both move.
func Compare[K cmp.Ordered, V any](mine, theirs []wire.KeySum[K, V], newer func(v, than V) bool) (have, want []K) {
	told := make(map[K]V, len(theirs))
	for _, s := range theirs {
		told[s.Key] = s.Version
	}
	for _, s := range mine {
		v, known := told[s.Key]
		if !known || newer(s.Version, v) {
			have = append(have, s.Key)
		}
		if !newer(v, s.Version) {
			delete(told, s.Key)
		}
	}
	return have, slices.Sorted(maps.Keys(told))
}
