package watch

// What a ring holds at most. The bytes are those of keys and items, with what an entry
// takes besides.
const (
	RingEntries = 64 << 10
	RingBytes   = 16 << 20
)

// entryBytes is what an entry takes beside its key and its item.
const entryBytes = 96

// Kind is what has happened to a key at a store.
type Kind uint8

// Kinds of entries.
const (
	Changed Kind = iota // the record is another one now
	Ended               // the record is as it was, and the last of its values has ended by its TTL
	Gone                // there is no record any more although nothing had deleted it
)

// Entry is one change of one key at a store.
type Entry struct {
	Bucket uint64
	Shard  int
	Key    string
	Item   []byte // as it travels; nil: it is too large to be kept, and must be read
	Kind   Kind
}

// KeptItem is how large an item may be to be kept with a change. A larger one is read when
// it is asked for.
const KeptItem = 4 << 10

// NewEntry is a change of a record. The item is not copied, and is not to be changed.
func NewEntry(bucket uint64, shard int, key string, item []byte, kind Kind) Entry {
	e := Entry{Bucket: bucket, Shard: shard, Key: key, Kind: kind}
	if len(item) <= KeptItem {
		e.Item = item
	}
	return e
}

func (e *Entry) size() int { return len(e.Key) + len(e.Item) + entryBytes }

// Ring holds the last changes of a store, numbered from 1. Make one with NewRing.
type Ring struct {
	most, mostBytes int

	entries []Entry // of which number n is at n % len
	first   uint64  // number of the oldest one, if there is any
	head    uint64  // number of the last one
	bytes   int
}

// NewRing returns an empty ring with room for so many entries and bytes. One entry is kept
// in any case.
func NewRing(entries, bytes int) *Ring { return &Ring{most: entries, mostBytes: bytes} }

// Head is the number of the last change; 0: there was none.
func (r *Ring) Head() uint64 { return r.head }

// Append adds a change, and forgets the oldest ones for which there is no room any more.
func (r *Ring) Append(e Entry) {
	if n := r.countEntries(); n == len(r.entries) && n < r.most {
		r.growTo(min(max(2*n, 64), r.most))
	}
	for n := r.countEntries(); n > 0 && (n == len(r.entries) || r.bytes+e.size() > r.mostBytes); n-- {
		r.forgetOldest()
	}
	r.head++
	if r.first == 0 {
		r.first = r.head
	}
	*r.entryAt(r.head) = e
	r.bytes += e.size()
}

// maxSince is how many changes AppendEnds looks through.
const maxSince = 4096

// AppendEnds adds ends of values that were read when the head was since, but for those of
// keys that have changed after that: an end never lies behind a newer change. It adds
// nothing, and returns false, if it cannot tell any more, or if so much has changed that to
// look through it would keep others waiting.
func (r *Ring) AppendEnds(all []Entry, since uint64) bool {
	if !r.Has(since) || r.head-since > maxSince {
		return false
	}
	type key struct {
		bucket uint64
		key    string
	}
	changed := make(map[key]bool)
	for number := since + 1; number <= r.head; number++ {
		e := r.entryAt(number)
		changed[key{e.Bucket, e.Key}] = true
	}
	for i := range all {
		if !changed[key{all[i].Bucket, all[i].Key}] {
			r.Append(all[i])
		}
	}
	return true
}

// Has tells whether all that came behind a number is there still.
func (r *Ring) Has(after uint64) bool {
	return after <= r.head && (after == r.head || r.countEntries() > 0 && after+1 >= r.first)
}

// Entry returns the change of a number, which Has must have said to be there. It is shared.
func (r *Ring) Entry(number uint64) *Entry { return r.entryAt(number) }

func (r *Ring) countEntries() int {
	if r.first == 0 {
		return 0
	}
	return int(r.head + 1 - r.first)
}

func (r *Ring) entryAt(number uint64) *Entry { return &r.entries[number%uint64(len(r.entries))] }

func (r *Ring) forgetOldest() {
	e := r.entryAt(r.first)
	r.bytes -= e.size()
	*e = Entry{}
	r.first++
}

func (r *Ring) growTo(n int) {
	was := Ring{entries: r.entries}
	r.entries = make([]Entry, n)
	for i := range uint64(r.countEntries()) {
		*r.entryAt(r.first + i) = *was.entryAt(r.first + i)
	}
}
