package wire

import (
	"github.com/skeinmesh/skein/mesh/view"
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
	maxBatch       = 1 << 14  // keys in one message
	maxMessage     = 64 << 20 // bytes of an item inside a message
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
)

// maxCode leaves room for codes of later releases.
const maxCode = 1<<16 - 1

// MergeReply answers MergeRequest. CodeOK: the receiver durably holds items
// at least as new as all that were offered, but for those that are Stale.
type MergeReply struct {
	Code  Code
	Wall  int64 // receiver's clock, ms since 1970
	Stale []int // offers, by their place, that were read before a round the receiver has acknowledged
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
	TTL        uint64 // ms from now, 0: for ever
	By         Clock  // when it is too late to commit the write, by the receiver's clock
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

// AppendMergeRequest appends the encoding of m.
func AppendMergeRequest(dst []byte, m *MergeRequest) []byte {
	var table stampTable
	for i := range m.Offers {
		table.addStamp(m.Offers[i].Stamp)
	}
	return appendPacked(dst, func(p *packer) {
		p.writeUint(table.messageVersion())
		p.writeInt(m.Wall)
		p.writeStampTable(&table)
		p.writeArrayLen(len(m.Offers) * table.recordWidth(4))
		for i := range m.Offers {
			o := &m.Offers[i]
			p.writeID(o.Bucket)
			p.writeString(o.Key)
			p.writeUint(uint64(o.For))
			p.writeBytes(o.Item)
			p.writeStampNumber(&table, o.Stamp)
		}
	})
}

// DecodeMergeRequest reads what AppendMergeRequest wrote.
func DecodeMergeRequest(data []byte) (m MergeRequest, err error) {
	err = unpackWhole(data, "merge request", func(u *unpacker) {
		v := u.readVersion(stampedVersion)
		m.Wall = u.readInt()
		table := u.readStampTable(v)
		m.Offers = listOf[Offer](u, u.readListLen(stampedWidth(4, table)))
		for range cap(m.Offers) {
			m.Offers = append(m.Offers, Offer{Bucket: u.readUint(), Key: u.readString(MaxKey), For: view.NodeID(u.readUint()), Item: u.readBytes(maxMessage), Stamp: u.readStampNumber(table)})
		}
	})
	return m, err
}

// readListLen reads the length of a flattened list of records of width fields.
func (u *unpacker) readListLen(width int) int {
	n := u.readArrayLen(maxBatch * width)
	if n%width != 0 {
		u.failWith("part of a record")
		return 0
	}
	return n / width
}

// AppendMergeReply appends the encoding of m.
func AppendMergeReply(dst []byte, m MergeReply) []byte {
	return appendPacked(dst, func(p *packer) {
		if len(m.Stale) == 0 {
			p.writeUint(replicaVersion)
		} else {
			p.writeUint(stampedVersion)
		}
		p.writeUint(uint64(m.Code))
		p.writeInt(m.Wall)
		if len(m.Stale) > 0 {
			p.writeNumbers(m.Stale)
		}
	})
}

// DecodeMergeReply reads what AppendMergeReply wrote.
func DecodeMergeReply(data []byte) (m MergeReply, err error) {
	err = unpackWhole(data, "merge reply", func(u *unpacker) {
		v := u.readVersion(stampedVersion)
		m.Code = u.readCode()
		m.Wall = u.readInt()
		if v == stampedVersion {
			if m.Stale = u.readNumbers(maxBatch); len(m.Stale) == 0 {
				u.failWith("nothing stale in an answer that speaks of it")
			}
		}
	})
	return m, err
}

func (u *unpacker) readCode() Code { return Code(u.readUintMax(maxCode)) }

// AppendReadRequest appends the encoding of m.
func AppendReadRequest(dst []byte, m *ReadRequest) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeArrayLen(len(m.Keys) * 3)
		for i := range m.Keys {
			p.writeID(m.Keys[i].Bucket)
			p.writeString(m.Keys[i].Key)
			p.writeUint(m.Keys[i].Known)
		}
	})
}

// DecodeReadRequest reads what AppendReadRequest wrote.
func DecodeReadRequest(data []byte) (m ReadRequest, err error) {
	err = unpackWhole(data, "read request", func(u *unpacker) {
		u.readVersion(replicaVersion)
		m.Keys = listOf[Lookup](u, u.readListLen(3))
		for range cap(m.Keys) {
			m.Keys = append(m.Keys, Lookup{Bucket: u.readUint(), Key: u.readString(MaxKey), Known: u.readUint()})
		}
	})
	return m, err
}

// AppendReadReply appends the encoding of m.
func AppendReadReply(dst []byte, m *ReadReply) []byte {
	var table stampTable
	for i := range m.Items {
		table.addStamp(m.Items[i].Stamp)
	}
	return appendPacked(dst, func(p *packer) {
		p.writeUint(table.messageVersion())
		p.writeInt(m.Wall)
		p.writeStampTable(&table)
		p.writeArrayLen(len(m.Items) * table.recordWidth(2))
		for i := range m.Items {
			p.writeUint(uint64(m.Items[i].Found))
			p.writeBytes(m.Items[i].Item)
			p.writeStampNumber(&table, m.Items[i].Stamp)
		}
	})
}

// DecodeReadReply reads what AppendReadReply wrote.
func DecodeReadReply(data []byte) (m ReadReply, err error) {
	err = unpackWhole(data, "read reply", func(u *unpacker) {
		v := u.readVersion(stampedVersion)
		m.Wall = u.readInt()
		table := u.readStampTable(v)
		n := u.readListLen(stampedWidth(2, table))
		if n == 0 {
			return
		}
		m.Items = make([]Lookedup, n)
		for i := range m.Items {
			l := Lookedup{Found: Found(u.readUintMax(uint64(foundEnd) - 1)), Item: u.readBytes(maxMessage)}
			if (l.Found == Present) != (len(l.Item) != 0) {
				u.failWith("item %d is present without bytes, or bytes are there without it", i)
			}
			l.Stamp = u.readStampNumber(table)
			m.Items[i] = l
		}
	})
	return m, err
}

// AppendDigestRequest appends the encoding of m.
func AppendDigestRequest(dst []byte, m *DigestRequest) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeArrayLen(len(m.Sums) * 3)
		for i := range m.Sums {
			p.writeID(m.Sums[i].Bucket)
			p.writeUint(uint64(m.Sums[i].Shard))
			p.writeBytes(m.Sums[i].Digest[:])
		}
	})
}

// DecodeDigestRequest reads what AppendDigestRequest wrote.
func DecodeDigestRequest(data []byte) (m DigestRequest, err error) {
	err = unpackWhole(data, "digest request", func(u *unpacker) {
		u.readVersion(replicaVersion)
		m.Sums = listOf[Sum](u, u.readListLen(3))
		for i := range cap(m.Sums) {
			s := Sum{Bucket: u.readUint(), Shard: u.readShard()}
			if copy(s.Digest[:], u.readBytes(16)) != 16 {
				u.failWith("digest %d is not 16 bytes long", i)
			}
			m.Sums = append(m.Sums, s)
		}
	})
	return m, err
}

func (u *unpacker) readShard() int { return int(u.readUintMax(1<<16 - 1)) }

// AppendDigestReply appends the encoding of m.
func AppendDigestReply(dst []byte, m *DigestReply) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeArrayLen(len(m.Differ))
		for _, i := range m.Differ {
			p.writeUint(uint64(i))
		}
	})
}

// DecodeDigestReply reads what AppendDigestReply wrote.
func DecodeDigestReply(data []byte) (m DigestReply, err error) {
	err = unpackWhole(data, "digest reply", func(u *unpacker) {
		u.readVersion(replicaVersion)
		m.Differ = listOf[int](u, u.readListLen(1))
		for range cap(m.Differ) {
			m.Differ = append(m.Differ, int(u.readUintMax(maxBatch)))
		}
	})
	return m, err
}

// AppendListRequest appends the encoding of m.
func AppendListRequest(dst []byte, m *ListRequest) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeID(m.Bucket)
		p.writeUint(uint64(m.Shard))
		p.writeString(m.After)
		p.writeBool(m.From)
	})
}

// DecodeListRequest reads what AppendListRequest wrote.
func DecodeListRequest(data []byte) (m ListRequest, err error) {
	err = unpackWhole(data, "list request", func(u *unpacker) {
		u.readVersion(replicaVersion)
		m = ListRequest{Bucket: u.readUint(), Shard: u.readShard(), After: u.readString(MaxKey), From: u.readBool()}
	})
	return m, err
}

// AppendListReply appends the encoding of m.
func AppendListReply(dst []byte, m *ListReply) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeArrayLen(len(m.Marks) * 2)
		for i := range m.Marks {
			p.writeString(m.Marks[i].Key)
			p.writeID(m.Marks[i].Hash)
		}
		p.writeBool(m.More)
	})
}

// DecodeListReply reads what AppendListReply wrote.
func DecodeListReply(data []byte) (m ListReply, err error) {
	err = unpackWhole(data, "list reply", func(u *unpacker) {
		u.readVersion(replicaVersion)
		m.Marks = listOf[Mark](u, u.readListLen(2))
		for i := range cap(m.Marks) {
			m.Marks = append(m.Marks, Mark{Key: u.readString(MaxKey), Hash: u.readUint()})
			if i > 0 && m.Marks[i-1].Key >= m.Marks[i].Key {
				u.failWith("keys not in order at %d", i)
			}
		}
		m.More = u.readBool()
	})
	return m, err
}
