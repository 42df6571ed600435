package wire

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

const (
	recordVersion = 1
	maxHints      = 1 << 10 // targets a record may wait for
)

// Record is what a store keeps of a key: the item as it travels, and what is
// known only here. A store has exactly one record per key.
type Record struct {
	Item  []byte        // see AppendItem
	Mine  version.Actor // the birth under which this store writes the key, zero for none; never replicated
	Home  bool          // the store is a home of the key, or was one and has not handed over yet
	Hints []view.NodeID // stores it is kept for until they have it, sorted
}

func (r *Record) codeFields(c *codec) {
	c.codeVersion(recordVersion)
	c.codeOwnActor(&r.Mine)
	c.codeFlag(&r.Home)
	c.codeNodeIDs(&r.Hints, maxHints)
	if !slices.IsSorted(r.Hints) {
		c.failWith("hint targets not in order")
	}
	c.codeBytes(&r.Item, math.MaxInt)
}

// AppendRecord appends the encoding of r.
func AppendRecord(dst []byte, r Record) []byte { return appendFields(dst, &r, (*Record).codeFields) }

// DecodeRecord reads what AppendRecord wrote. Item lies in data.
func DecodeRecord(data []byte) (Record, error) {
	return readFields(data, "record", (*Record).codeFields)
}

// codeOwnActor describes a birth, or that there is none.
func (c *codec) codeOwnActor(a *version.Actor) {
	n := 3
	if *a == (version.Actor{}) {
		n = 0
	}
	switch c.codeArrayLen(&n, 3); n {
	case 0:
	case 3:
		c.codeActor(a)
	default:
		c.failWith("part of a birth")
	}
}

const metaVersion = 1

// WriterMeta is what a store remembers beside its records to be able to go
// on with its session after a restart.
type WriterMeta struct {
	Store   uint64
	Session uint64
	Seq     uint32
	Machine [16]byte
	Relaxed bool
	Ceiling version.HLC
}

func (m *WriterMeta) codeFields(c *codec) {
	c.codeVersion(metaVersion)
	c.codeWide(&m.Store)
	c.codeWide(&m.Session)
	codeBounded(c, &m.Seq, math.MaxUint32)
	c.codeFixed(m.Machine[:])
	c.codeFlag(&m.Relaxed)
	c.codeDate(&m.Ceiling)
}

// AppendWriterMeta appends the encoding of m.
func AppendWriterMeta(dst []byte, m WriterMeta) []byte {
	return appendFields(dst, &m, (*WriterMeta).codeFields)
}

// DecodeWriterMeta reads what AppendWriterMeta wrote.
func DecodeWriterMeta(data []byte) (WriterMeta, error) {
	return readFields(data, "session", (*WriterMeta).codeFields)
}

// ScrubState is how far a store is in reading all its records again.
type ScrubState struct {
	Ran    uint64 // nanoseconds of running time since the last pass began
	Cursor []byte // the next record to read; empty: no pass is under way
}

func (s *ScrubState) codeFields(c *codec) {
	c.codeVersion(metaVersion)
	c.codeNumber(&s.Ran)
	c.codeOwnBytes(&s.Cursor, MaxKey+64)
}

// AppendScrubState appends the encoding of s.
func AppendScrubState(dst []byte, s ScrubState) []byte {
	return appendFields(dst, &s, (*ScrubState).codeFields)
}

// DecodeScrubState reads what AppendScrubState wrote.
func DecodeScrubState(data []byte) (ScrubState, error) {
	return readFields(data, "scrub", (*ScrubState).codeFields)
}

// PurgeWait is for how long a store has waited for others to purge.
type PurgeWait struct {
	Ran uint64 // nanoseconds of running time
}

func (w *PurgeWait) codeFields(c *codec) {
	c.codeVersion(metaVersion)
	c.codeNumber(&w.Ran)
}

// AppendPurgeWait appends the encoding of w.
func AppendPurgeWait(dst []byte, w PurgeWait) []byte {
	return appendFields(dst, &w, (*PurgeWait).codeFields)
}

// DecodePurgeWait reads what AppendPurgeWait wrote.
func DecodePurgeWait(data []byte) (PurgeWait, error) {
	return readFields(data, "purge wait", (*PurgeWait).codeFields)
}

// The keys of a store. Numbers are big-endian, so that a shard, a bucket
// within it and the hints for one target are each a range.
const (
	keyMeta   = 'm'
	keyRecord = 'd'
	keyIndex  = 'x'
	keyLog    = 'p'
	keyAside  = 'a'
)

const (
	// IndexHint marks index entries of records kept for another store.
	IndexHint = 'h'
	// IndexGrave marks those of records of which nothing is alive, or will be
	// from a time on, which stands in the place of the target. The value is 1 where
	// the record is kept for others alone, else empty.
	IndexGrave = 'g'
)

// LogKey returns the key of what was purged of a record, given its key.
func LogKey(record []byte) []byte {
	k := slices.Clone(record)
	k[0] = keyLog
	return k
}

// AsideKey returns the key under which a record is set aside, given its key.
func AsideKey(record []byte) []byte {
	k := slices.Clone(record)
	k[0] = keyAside
	return k
}

// LogRange returns the bounds of all that was purged of a shard.
func LogRange(shard int) (lower, upper []byte) {
	lower = binary.BigEndian.AppendUint16([]byte{keyLog}, uint16(shard))
	return lower, After(lower)
}

// ParseLogKey takes the key of what was purged of a record apart.
func ParseLogKey(k []byte) (shard int, bucket uint64, key string, ok bool) {
	if len(k) == 0 || k[0] != keyLog {
		return 0, 0, "", false
	}
	record := slices.Clone(k)
	record[0] = keyRecord
	return ParseRecordKey(record)
}

// MetaKey returns the key of a fact about the store itself.
func MetaKey(name string) []byte { return append([]byte{keyMeta}, name...) }

// RecordKey returns the key of the record of key in bucket.
func RecordKey(shard int, bucket uint64, key string) []byte {
	return append(RecordPrefix(shard, bucket, len(key)), key...)
}

// RecordPrefix returns what the keys of all records of bucket in shard begin
// with, with room for extra bytes more.
func RecordPrefix(shard int, bucket uint64, extra int) []byte {
	b := make([]byte, 0, 11+extra)
	b = append(b, keyRecord)
	b = binary.BigEndian.AppendUint16(b, uint16(shard))
	return binary.BigEndian.AppendUint64(b, bucket)
}

// RecordRange returns the bounds of all records.
func RecordRange() (lower, upper []byte) { return []byte{keyRecord}, []byte{keyRecord + 1} }

// NextShard returns where the records of the shard behind that of a key begin.
// The key may be cut short.
func NextShard(k []byte) []byte {
	var shard [2]byte
	copy(shard[:], k[min(len(k), 1):])
	return After(append([]byte{keyRecord}, shard[:]...))
}

// ParseRecordKey takes a record's key apart.
func ParseRecordKey(k []byte) (shard int, bucket uint64, key string, ok bool) {
	if len(k) < 11 || k[0] != keyRecord {
		return 0, 0, "", false
	}
	return int(binary.BigEndian.Uint16(k[1:])), binary.BigEndian.Uint64(k[3:]), string(k[11:]), true
}

// IndexKey returns the key of the index entry that points from (kind, target)
// to a record, given the record's key.
func IndexKey(kind byte, target view.NodeID, record []byte) []byte {
	b := make([]byte, 0, 10+len(record)-1)
	b = append(b, keyIndex, kind)
	b = binary.BigEndian.AppendUint64(b, uint64(target))
	return append(b, record[1:]...)
}

// IndexRange returns the bounds of the index entries of kind: those of one
// target, or all when target is 0.
func IndexRange(kind byte, target view.NodeID) (lower, upper []byte) {
	lower = []byte{keyIndex, kind}
	if target == 0 {
		return lower, []byte{keyIndex, kind + 1}
	}
	lower = binary.BigEndian.AppendUint64(lower, uint64(target))
	return lower, After(lower)
}

// IndexBounds returns the bounds of all index entries.
func IndexBounds() (lower, upper []byte) { return []byte{keyIndex}, []byte{keyIndex + 1} }

// ParseIndexKey returns the target of an index entry and the key of the
// record it points to.
func ParseIndexKey(k []byte) (target view.NodeID, record []byte, ok bool) {
	if len(k) < 20 || k[0] != keyIndex {
		return 0, nil, false
	}
	record = make([]byte, 0, len(k)-9)
	record = append(record, keyRecord)
	return view.NodeID(binary.BigEndian.Uint64(k[2:])), append(record, k[10:]...), true
}

// After returns the first key after all keys that begin with prefix, nil when
// there is none.
func After(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			up := slices.Clone(prefix[:i+1])
			up[i]++
			return up
		}
	}
	return nil
}
