// Package version holds the values of replicated items: per-key dotted
// version vector sets (Preguica, Baquero, Almeida et al., 2010 and 2012; the
// actor here is a birth, see Actor) and their merge. It is values only.
//
// An item is the function dot -> status on the chain unseen < live < dead: a
// dot is live if a sibling carries it, dead if the context covers it and no
// sibling carries it. Merge is the pointwise maximum, hence commutative,
// associative and idempotent. A value disappears only when a write that had
// seen it replaced it.
package version

import (
	"cmp"
	"fmt"

	"github.com/skeinmesh/skein/partition/token"
)

// Actor is one birth: a store starting to write one key. A new birth is
// minted whenever the store cannot prove that it still knows the last dot it
// gave to the key, so no dot is ever used twice.
type Actor struct {
	Store   uint64 // NodeID of the store
	Session uint64 // random, per opening of the store
	Seq     uint32 // counter within the session
}

// Compare orders actors by (Store, Session, Seq).
func (a Actor) Compare(b Actor) int {
	switch {
	case a.Store != b.Store:
		return cmp.Compare(a.Store, b.Store)
	case a.Session != b.Session:
		return cmp.Compare(a.Session, b.Session)
	}
	return cmp.Compare(a.Seq, b.Seq)
}

// Dot is a write's id: the N-th write of a birth, N from 1, contiguous.
type Dot struct {
	A Actor
	N uint64
}

// Compare orders dots by (A, N).
func (d Dot) Compare(e Dot) int {
	if c := d.A.Compare(e.A); c != 0 {
		return c
	}
	return cmp.Compare(d.N, e.N)
}

// String returns the store and the session in hexadecimal digits, the counters in
// decimal ones: store-session-seq.n. It is nothing for the zero dot.
func (d Dot) String() string {
	if d == (Dot{}) {
		return ""
	}
	return fmt.Sprintf("%016x-%016x-%d.%d", d.A.Store, d.A.Session, d.A.Seq, d.N)
}

// MarshalText returns what String does: as numbers in JSON ids would be rounded by all
// who read numbers as floats, browsers among them.
func (d Dot) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText returned.
func (d *Dot) UnmarshalText(text []byte) error {
	var read Dot
	if len(text) > 0 {
		if _, err := fmt.Sscanf(string(text), "%16x-%16x-%d.%d", &read.A.Store, &read.A.Session, &read.A.Seq, &read.N); err != nil || read.String() != string(text) {
			return fmt.Errorf("version: %.80q is not the id of a write", text)
		}
	}
	*d = read
	return nil
}

// HLC is a hybrid logical clock reading (Kulkarni et al., 2014): 48 bits of
// milliseconds since 1970 above 16 bits of counter. It breaks ties between
// concurrent writes and dates expiry; it never decides what may be dropped.
type HLC uint64

// Limit bounds every reading: no item may be dated at or after the year
// 10000. Clocks are read as if they stopped a year before, so that counting
// on from the latest possible reading stays below Limit.
const Limit = HLC(253402300800000 << 16)

const lastMillis = 253370764800000 // 9999-01-01

// At returns the reading of a physical clock that shows millis milliseconds
// since 1970, counter 0. Times before 1970 read as 1970, times after the
// first day of 9999 as that day.
func At(millis int64) HLC { return HLC(min(max(millis, 0), lastMillis)) << 16 }

// Add returns the reading millis milliseconds later, at most the latest that
// At returns, or earlier if millis is negative, at least 0.
func (h HLC) Add(millis int64) HLC {
	if m := min(max(millis, -lastMillis), lastMillis); h < Limit {
		return At(h.Millis()+m) | h&0xffff
	}
	return h
}

// Millis returns the physical part in milliseconds since 1970.
func (h HLC) Millis() int64 { return int64(h >> 16) }

// Tomb flags a sibling as the record of a delete.
const Tomb uint8 = 1 << 0

// Sibling is one of a key's concurrent values, or the record of a delete.
type Sibling struct {
	Dot    Dot
	HLC    HLC
	Flags  uint8
	Expire HLC // 0: never; from then on the same dot reads as a tomb
	Value  []byte
	// Token is that of the leader who has written it, zero for none. Whatever a write
	// replaces has no higher one.
	Token token.Token
}

// Deleted tells whether the sibling reads as a delete at time now.
func (s *Sibling) Deleted(now HLC) bool {
	return s.Flags&Tomb != 0 || s.Expire != 0 && s.Expire <= now
}

// Entry is one line of a Context: the dots 1..N of birth A were seen.
type Entry struct {
	A Actor
	N uint64
}

// Context is what a write or a record has seen, sorted by actor, each actor
// once, N > 0. It is downward closed. The zero value has seen nothing.
type Context []Entry

// Item is a key's replicated record.
type Item struct {
	Ctx  Context
	HLC  HLC       // highest seen under Ctx
	Sibs []Sibling // sorted by dot; every dot is covered by Ctx
}
