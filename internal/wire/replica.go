package wire

import (
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
	"github.com/skeinmesh/skein/replica/version"
)

// Names of the calls between stores. They are part of the protocol.
const (
	MethodMerge  = "replica.merge"  // MergeRequest -> MergeReply
	MethodRead   = "replica.read"   // ReadRequest -> ReadReply
	MethodPut    = "replica.put"    // PutRequest -> PutReply
	MethodClock  = "replica.clock"  // nothing -> PutReply, of which only Clock counts
	MethodDigest = "replica.digest" // DigestRequest -> DigestReply
	MethodList   = "replica.list"   // ListRequest -> ListReply
)

const (
	replicaVersion = 1
	// fencedVersion is that of writes that show a token, and of what is said of one that
	// showed a lower one than was seen.
	fencedVersion = 2
	// fencedReplyVersion is that of an answer that tells of higher tokens.
	fencedReplyVersion = 3
	maxBatch           = 1 << 14  // keys in one message
	maxMessage         = 64 << 20 // bytes of an item inside a message
)

// Every message begins with its format version; then come its fields in the
// order of the struct, lists flattened into one array. Byte slices of decoded
// messages lie in the message.

// Offer is an item on its way to a store.
type Offer struct {
	Bucket uint64
	Key    string
	For    view.NodeID // store the item is to be kept for; 0: for the receiver itself
	Item   []byte      // see AppendItem
	Stamp  Stamp       // of the store where Item was read, when it was
}

// MergeRequest asks to merge items and to answer once they are synced.
type MergeRequest struct {
	Wall   int64 // sender's clock, ms since 1970
	Offers []Offer
}

// Code tells how a request ended. Those that a receiver does not know are faults all
// the same.
type Code uint64

const (
	CodeOK Code = iota
	CodeOverloaded
	CodeUnknownBucket
	CodeStorage   // the store has failed
	CodeFull      // the store's disk is full
	CodeDegraded  // done, on fewer stores than asked
	CodeNotStored // for another reason
	CodeSiblings  // too many concurrent values
	CodeClock     // the store's clock is off
	CodeLate      // the request came after its deadline
	CodeConflict  // another bucket has the id
	CodeFenced    // a later leader has written the key
)

// maxCode leaves room for codes of later releases.
const maxCode = 1<<16 - 1

// MergeReply answers MergeRequest. CodeOK: the receiver durably holds items
// at least as new as all that were offered, but for those that are Stale.
type MergeReply struct {
	Code  Code
	Wall  int64 // receiver's clock, ms since 1970
	Stale []int // offers, by their place, that were read before a round the receiver has acknowledged
	// Fenced are offers of keys that a later leader has written there than any that the item
	// knows. They are merged all the same.
	Fenced []FencedOffer
}

// FencedOffer is one of them, by its place.
type FencedOffer struct {
	Place int
	Token token.Token // of the later leader
}

// Lookup names a key and what the asker already has of it.
type Lookup struct {
	Bucket uint64
	Key    string
	Known  uint64 // hash of the asker's item, 0: none
}

// ReadRequest asks for items.
type ReadRequest struct{ Keys []Lookup }

// Found tells what a store knows of a key.
type Found uint64

const (
	Absent  Found = iota // the store is in sync and has no record
	Present              // Item holds it
	Same                 // as Present, and equal to what the asker named as Known
	Nothing              // no record, which proves nothing: the store is syncing or lost it
	foundEnd
)

// Lookedup is the answer to one Lookup.
type Lookedup struct {
	Found Found
	Item  []byte
	Stamp Stamp // of the store when it read Item
}

// ReadReply answers ReadRequest, in its order. It may stop early when it
// grows too big; the rest must be asked again.
type ReadReply struct {
	Wall  int64
	Items []Lookedup
}

// PutRequest asks a home to coordinate a write.
type PutRequest struct {
	Bucket     uint64
	Key        string
	Value      []byte
	Tomb       bool
	Informed   bool            // Ctx and HLC hold what the client had seen; else a blind write
	Ctx        version.Context // see Informed
	HLC        version.HLC
	Level      int64
	MinDurable uint64
	TTL        uint64      // ms from now, 0: for ever
	By         Clock       // when it is too late to commit the write, by the receiver's clock
	Token      token.Token // of the leader who writes; no lower than any that Ctx has seen
}

// Clock is a reading of a store's own clock, which counts from some moment
// and goes on while the machine is suspended. Readings of different runs of a
// store do not compare.
type Clock struct {
	Run     uint64 // random, per opening of the store
	Reading uint64 // us
}

// PutReply answers PutRequest.
type PutReply struct {
	Code    Code
	Text    string        // of the error, when Code is not CodeOK
	Clock   Clock         // of the receiver
	Durable uint64        // stores that have synced the write
	Homes   uint64        // homes among them
	Hinted  uint64        // dead homes another store keeps it for
	Dot     version.Dot   // the write's id
	Covered []version.Dot // live values, deletes included, that the write replaced
	Ctx     version.Context
	HLC     version.HLC
	Fence   token.Token // with CodeFenced alone: the higher one that was seen
}

// AllShards is above the number of every shard.
const AllShards = 1<<16 - 1

// Sum is the digest of all records of a bucket in a shard.
type Sum struct {
	Bucket uint64
	Shard  int
	Digest [16]byte
}

// DigestRequest shows the sender's digests.
type DigestRequest struct{ Sums []Sum }

// DigestReply names the digests that differ from the receiver's, by their
// place in the request.
type DigestReply struct{ Differ []int }

// ListRequest asks what a store holds of a bucket in a shard, in key order.
type ListRequest struct {
	Bucket uint64
	Shard  int
	After  string // only keys greater than this
	From   bool   // false: from the start, After does not count
}

// Mark is a key and the hash of its item.
type Mark struct {
	Key  string
	Hash uint64
}

// ListReply is one page.
type ListReply struct {
	Marks []Mark
	More  bool
}

func (m *MergeRequest) codeFields(c *codec) {
	var table stampTable
	for i := range m.Offers {
		table.addStamp(m.Offers[i].Stamp)
	}
	stamped := table.version(c)
	codeSigned(c, &m.Wall)
	if stamped {
		table.codeFields(c)
	}
	for i := range codeList(c, &m.Offers, table.width(4), maxBatch) {
		o := &m.Offers[i]
		c.codeWide(&o.Bucket)
		c.codeText(&o.Key, MaxKey)
		c.codeNumber((*uint64)(&o.For))
		c.codeBytes(&o.Item, maxMessage)
		table.stampNumber(&o.Stamp, c)
	}
}

// AppendMergeRequest appends the encoding of m.
func AppendMergeRequest(dst []byte, m *MergeRequest) []byte {
	return appendFields(dst, m, (*MergeRequest).codeFields)
}

// DecodeMergeRequest reads what AppendMergeRequest wrote.
func DecodeMergeRequest(data []byte) (MergeRequest, error) {
	return readFields(data, "merge request", (*MergeRequest).codeFields)
}

func (m *MergeReply) codeFields(c *codec) {
	format := uint64(replicaVersion)
	switch {
	case len(m.Fenced) > 0:
		format = fencedReplyVersion
	case len(m.Stale) > 0:
		format = stampedVersion
	}
	c.codeVersionUpTo(&format, fencedReplyVersion)
	codeBounded(c, &m.Code, maxCode)
	codeSigned(c, &m.Wall)
	if format == replicaVersion {
		return
	}
	c.codePlaces(&m.Stale, maxBatch)
	if format == fencedReplyVersion {
		c.codeFencedOffers(&m.Fenced)
	} else if len(m.Stale) == 0 {
		c.failWith("nothing stale in an answer that speaks of it")
	}
}

// codeFencedOffers describes at least one of them, in the order of their places.
func (c *codec) codeFencedOffers(list *[]FencedOffer) {
	n := codeList(c, list, 3, maxBatch)
	if n == 0 {
		c.failWith("nothing fenced in an answer that speaks of it")
	}
	for i := range n {
		f := &(*list)[i]
		codeBounded(c, &f.Place, maxBatch)
		if c.codeTokenOfLead(&f.Token); i > 0 && (*list)[i-1].Place >= f.Place {
			c.failWith("places not in order at %d", i)
		}
	}
}

// AppendMergeReply appends the encoding of m.
func AppendMergeReply(dst []byte, m MergeReply) []byte {
	return appendFields(dst, &m, (*MergeReply).codeFields)
}

// DecodeMergeReply reads what AppendMergeReply wrote.
func DecodeMergeReply(data []byte) (MergeReply, error) {
	return readFields(data, "merge reply", (*MergeReply).codeFields)
}

func (m *ReadRequest) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	for i := range codeList(c, &m.Keys, 3, maxBatch) {
		c.codeWide(&m.Keys[i].Bucket)
		c.codeText(&m.Keys[i].Key, MaxKey)
		c.codeNumber(&m.Keys[i].Known)
	}
}

// AppendReadRequest appends the encoding of m.
func AppendReadRequest(dst []byte, m *ReadRequest) []byte {
	return appendFields(dst, m, (*ReadRequest).codeFields)
}

// DecodeReadRequest reads what AppendReadRequest wrote.
func DecodeReadRequest(data []byte) (ReadRequest, error) {
	return readFields(data, "read request", (*ReadRequest).codeFields)
}

func (m *ReadReply) codeFields(c *codec) {
	var table stampTable
	for i := range m.Items {
		table.addStamp(m.Items[i].Stamp)
	}
	stamped := table.version(c)
	codeSigned(c, &m.Wall)
	if stamped {
		table.codeFields(c)
	}
	c.factor = looseFactor
	for i := range codeList(c, &m.Items, table.width(2), maxBatch) {
		l := &m.Items[i]
		codeBounded(c, &l.Found, uint64(foundEnd)-1)
		c.codeBytes(&l.Item, maxMessage)
		if (l.Found == Present) != (len(l.Item) != 0) {
			c.failWith("item %d is present without bytes, or bytes are there without it", i)
		}
		table.stampNumber(&l.Stamp, c)
	}
}

// AppendReadReply appends the encoding of m.
func AppendReadReply(dst []byte, m *ReadReply) []byte {
	return appendFields(dst, m, (*ReadReply).codeFields)
}

// DecodeReadReply reads what AppendReadReply wrote.
func DecodeReadReply(data []byte) (ReadReply, error) {
	return readFields(data, "read reply", (*ReadReply).codeFields)
}

func (m *DigestRequest) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	for i := range codeList(c, &m.Sums, 3, maxBatch) {
		c.codeWide(&m.Sums[i].Bucket)
		c.codeShard(&m.Sums[i].Shard)
		c.codeFixed(m.Sums[i].Digest[:])
	}
}

// AppendDigestRequest appends the encoding of m.
func AppendDigestRequest(dst []byte, m *DigestRequest) []byte {
	return appendFields(dst, m, (*DigestRequest).codeFields)
}

// DecodeDigestRequest reads what AppendDigestRequest wrote.
func DecodeDigestRequest(data []byte) (DigestRequest, error) {
	return readFields(data, "digest request", (*DigestRequest).codeFields)
}

func (m *DigestReply) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	for i := range codeList(c, &m.Differ, 1, maxBatch) {
		codeBounded(c, &m.Differ[i], maxBatch)
	}
}

// AppendDigestReply appends the encoding of m.
func AppendDigestReply(dst []byte, m *DigestReply) []byte {
	return appendFields(dst, m, (*DigestReply).codeFields)
}

// DecodeDigestReply reads what AppendDigestReply wrote.
func DecodeDigestReply(data []byte) (DigestReply, error) {
	return readFields(data, "digest reply", (*DigestReply).codeFields)
}

func (m *ListRequest) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	c.codeWide(&m.Bucket)
	c.codeShard(&m.Shard)
	c.codeText(&m.After, MaxKey)
	c.codeFlag(&m.From)
}

// AppendListRequest appends the encoding of m.
func AppendListRequest(dst []byte, m *ListRequest) []byte {
	return appendFields(dst, m, (*ListRequest).codeFields)
}

// DecodeListRequest reads what AppendListRequest wrote.
func DecodeListRequest(data []byte) (ListRequest, error) {
	return readFields(data, "list request", (*ListRequest).codeFields)
}

func (m *ListReply) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	c.codeMarks(&m.Marks)
	c.codeFlag(&m.More)
}

// AppendListReply appends the encoding of m.
func AppendListReply(dst []byte, m *ListReply) []byte {
	return appendFields(dst, m, (*ListReply).codeFields)
}

// DecodeListReply reads what AppendListReply wrote.
func DecodeListReply(data []byte) (ListReply, error) {
	return readFields(data, "list reply", (*ListReply).codeFields)
}

// codeMarks describes marks in the order of their keys.
func (c *codec) codeMarks(list *[]Mark) {
	for i := range codeList(c, list, 2, maxBatch) {
		m := &(*list)[i]
		c.codeText(&m.Key, MaxKey)
		c.codeWide(&m.Hash)
		if i > 0 && (*list)[i-1].Key >= m.Key {
			c.failWith("keys not in order at %d", i)
		}
	}
}

func (c *codec) codeShard(n *int) { codeBounded(c, n, 1<<16-1) }
