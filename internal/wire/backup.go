package wire

import (
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// backupVersion is the version of what backups consist of.
const backupVersion = 1

const (
	// MaxSegment is how many bytes a segment has at most before it is sealed.
	MaxSegment = 15 << 20
	// maxInventory is the same of an inventory, and of a sealed one.
	maxInventory = 15 << 20
	maxOrigin    = 128
	maxDef       = 8 << 10
)

// Origin is where records were read for a backup, and where their store stood in the rounds
// of purges of their shard before it read them.
type Origin struct {
	Mesh  view.MeshID
	Shard int
	Stamp Stamp
	From  Round // the store's log of purges is whole after it
}

func (o *Origin) codeFields(c *codec) {
	c.codeVersion(backupVersion)
	c.codeFixed(o.Mesh[:])
	c.codeShard(&o.Shard)
	o.Stamp.codeFields(c)
	o.From.codeFields(c)
}

// AppendOrigin appends the encoding of o.
func AppendOrigin(dst []byte, o Origin) []byte {
	return appendFields(dst, &o, (*Origin).codeFields)
}

// DecodeOrigin reads what AppendOrigin wrote.
func DecodeOrigin(data []byte) (Origin, error) {
	return readFields(data, "origin of a backup", (*Origin).codeFields)
}

// BackupRecord is one record of a backup.
type BackupRecord struct {
	Purged bool // the item is what was purged of the key, not what is kept of it
	Key    string
	Item   []byte
}

// Section is what a segment holds of one slice.
type Section struct {
	Def     []byte // definition of the bucket
	Origin  []byte
	Records []BackupRecord
	Gone    []uint64 // hashes of keys of which an earlier backup of this chain has records, and the store has none any more
}

// Segment is what one object of a backup holds, before it is sealed.
type Segment struct{ Sections []Section }

func (m *Segment) codeFields(c *codec) {
	c.codeVersion(backupVersion)
	for i := range codeList(c, &m.Sections, 4, 1<<20) {
		s := &m.Sections[i]
		c.codeBytes(&s.Def, maxDef)
		c.codeBytes(&s.Origin, maxOrigin)
		for j := range codeList(c, &s.Records, 3, 1<<24) {
			r := &s.Records[j]
			c.codeFlag(&r.Purged)
			c.codeText(&r.Key, MaxKey)
			c.codeBytes(&r.Item, MaxSegment)
		}
		for j := range codeList(c, &s.Gone, 1, 1<<24) {
			c.codeWide(&s.Gone[j])
		}
	}
}

// AppendSegment appends the encoding of m.
func AppendSegment(dst []byte, m *Segment) []byte {
	return appendFields(dst, m, (*Segment).codeFields)
}

// DecodeSegment reads what AppendSegment wrote. Items lie in data.
func DecodeSegment(data []byte) (Segment, error) {
	return readFields(data, "segment of a backup", (*Segment).codeFields)
}

// SegmentRef names a segment, and how its object must look.
type SegmentRef struct {
	Name [16]byte
	Size uint64
	Sum  [32]byte // SHA-256 of the sealed bytes
}

func (s *SegmentRef) codeFields(c *codec) {
	c.codeFixed(s.Name[:])
	codeBounded(c, &s.Size, 1<<24)
	c.codeFixed(s.Sum[:])
}

// Manifest is what whoever has no key may know of one backup. It names all segments that a
// restore to it needs.
type Manifest struct {
	Mesh      view.MeshID
	Node      view.NodeID
	Chain     uint64
	Sequence  uint64   // in the chain, from 1 on
	Previous  [32]byte // SHA-256 of the signed manifest before; zero for the first
	Time      time.Time
	Policy    string
	Keep      time.Duration // for how long the policy keeps backups at this tier; zero: for ever
	Partial   bool          // some slices, or records, could not be read
	Segments  []SegmentRef
	Inventory []byte // sealed
	Key       [32]byte
}

func (m *Manifest) codeFields(c *codec) {
	c.codeVersion(backupVersion)
	c.codeFixed(m.Mesh[:])
	c.codeNodeID(&m.Node)
	c.codeWide(&m.Chain)
	c.codeNumber(&m.Sequence)
	c.codeFixed(m.Previous[:])
	c.codeMoment(&m.Time)
	c.codeText(&m.Policy, maxName)
	c.codeMillis(&m.Keep)
	c.codeFlag(&m.Partial)
	for i := range codeList(c, &m.Segments, 3, 1<<20) {
		m.Segments[i].codeFields(c)
	}
	c.codeBytes(&m.Inventory, maxInventory)
	c.codeFixed(m.Key[:])
}

// AppendManifest appends the encoding of m.
func AppendManifest(dst []byte, m *Manifest) []byte {
	return appendFields(dst, m, (*Manifest).codeFields)
}

// DecodeManifest reads what AppendManifest wrote.
func DecodeManifest(data []byte) (Manifest, error) {
	return readFields(data, "manifest of a backup", (*Manifest).codeFields)
}

// Signed is a message with the signature of its writer.
type Signed struct {
	Body      []byte
	Signature [64]byte
}

func (m *Signed) codeFields(c *codec) {
	c.codeVersion(backupVersion)
	c.codeBytes(&m.Body, 16<<20)
	c.codeFixed(m.Signature[:])
}

// AppendSigned appends the encoding of m.
func AppendSigned(dst []byte, m *Signed) []byte { return appendFields(dst, m, (*Signed).codeFields) }

// DecodeSigned reads what AppendSigned wrote.
func DecodeSigned(data []byte) (Signed, error) {
	return readFields(data, "signed message", (*Signed).codeFields)
}

// SliceRef tells in which segments a slice lies.
type SliceRef struct {
	Bucket   int // in Inventory.Buckets
	Shard    int
	Key      uint64 // digest of the records, before they were read
	Version  uint64
	Origin   uint64 // hash of where its store stood then
	Records  uint64
	Base     uint64   // bytes of its base
	Deltas   []uint64 // of each delta since
	List     uint64   // hash of the list of versions that the node has kept; 0: none
	Segments []int    // in Manifest.Segments, in the order in which they were written
}

// Inventory is what a manifest names to whoever has a key.
type Inventory struct {
	Buckets [][]byte // definitions
	Slices  []SliceRef
}

func (m *Inventory) codeFields(c *codec) {
	c.factor = looseFactor // most numbers take a byte
	c.codeVersion(backupVersion)
	for i := range codeList(c, &m.Buckets, 1, 1<<20) {
		c.codeBytes(&m.Buckets[i], maxDef)
	}
	for i := range codeList(c, &m.Slices, 10, 1<<22) {
		s := &m.Slices[i]
		codeBounded(c, &s.Bucket, 1<<20)
		c.codeShard(&s.Shard)
		c.codeWide(&s.Key)
		c.codeWide(&s.Version)
		c.codeWide(&s.Origin)
		c.codeNumber(&s.Records)
		c.codeNumber(&s.Base)
		for j := range codeList(c, &s.Deltas, 1, 1<<10) {
			c.codeNumber(&s.Deltas[j])
		}
		c.codeWide(&s.List)
		for j := range codeList(c, &s.Segments, 1, 1<<20) {
			codeBounded(c, &s.Segments[j], 1<<20)
		}
		if s.Bucket >= len(m.Buckets) {
			c.failWith("slice of a bucket that is not named")
		}
	}
}

// AppendInventory appends the encoding of m.
func AppendInventory(dst []byte, m *Inventory) []byte {
	return appendFields(dst, m, (*Inventory).codeFields)
}

// DecodeInventory reads what AppendInventory wrote.
func DecodeInventory(data []byte) (Inventory, error) {
	return readFields(data, "inventory of a backup", (*Inventory).codeFields)
}

// SourceFile is what a backup holds of a file of the application beside its pieces.
type SourceFile struct {
	Size   uint64
	Pieces int
	Sum    [32]byte // SHA-256
}

func (m *SourceFile) codeFields(c *codec) {
	c.codeVersion(backupVersion)
	codeBounded(c, &m.Size, 1<<40)
	codeBounded(c, &m.Pieces, 1<<20)
	c.codeFixed(m.Sum[:])
}

// AppendSourceFile appends the encoding of m.
func AppendSourceFile(dst []byte, m *SourceFile) []byte {
	return appendFields(dst, m, (*SourceFile).codeFields)
}

// DecodeSourceFile reads what AppendSourceFile wrote.
func DecodeSourceFile(data []byte) (SourceFile, error) {
	return readFields(data, "file of a backup", (*SourceFile).codeFields)
}
