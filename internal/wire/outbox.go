package wire

import (
	"encoding/binary"
	"math"

	"github.com/skeinmesh/skein/partition/token"
	"github.com/skeinmesh/skein/replica/version"
)

const (
	outboxVersion = 1
	// fencedOpVersion is that of an operation that shows a token.
	fencedOpVersion = 2
)

// OutboxOp is a put or a delete that waits, at a node that stores nothing,
// until it can be handed to one that does.
type OutboxOp struct {
	Bucket     BucketDef // whole: after a restart there may be nobody to ask
	Key        string
	Priority   int64
	Accepted   uint64 // when, in milliseconds that the node has run
	Follows    uint64 // number of the operation that was under delivery and that this one has seen
	Tomb       bool   // delete; Value is empty
	Ctx        version.Context
	HLC        version.HLC
	Level      int64  // 0: what is usual for the bucket
	MinDurable uint64 // 0: what is usual for the bucket
	TTL        uint64 // milliseconds from delivery on, 0: for ever
	Value      []byte
	Token      token.Token // of the leader who writes; no lower than any that Ctx has seen
}

func (m *OutboxOp) codeFields(c *codec) {
	fenced := c.codeEitherVersion(outboxVersion, fencedOpVersion, !m.Token.IsZero())
	c.codeBucketDef(&m.Bucket)
	c.codeText(&m.Key, MaxKey)
	codeSigned(c, &m.Priority)
	c.codeNumber(&m.Accepted)
	c.codeNumber(&m.Follows)
	c.codeFlag(&m.Tomb)
	c.codeContext(&m.Ctx, &m.HLC)
	codeSigned(c, &m.Level)
	c.codeNumber(&m.MinDurable)
	c.codeNumber(&m.TTL)
	c.codeBytes(&m.Value, MaxValue)
	if fenced {
		c.codeTokenOfLead(&m.Token)
	}
	if m.Tomb && len(m.Value) != 0 {
		c.failWith("delete with a value")
	}
}

// codeBucketDef describes a definition with its own version, as a byte string.
func (c *codec) codeBucketDef(d *BucketDef) {
	if !c.reading {
		c.writeBytes(AppendBucketDef(nil, d))
		return
	}
	def := c.readBytes(math.MaxInt)
	if c.err != nil {
		return
	}
	var err error
	if *d, err = DecodeBucketDef(def); err != nil {
		c.refuse(err)
	}
}

// AppendOutboxOp appends the encoding of m.
func AppendOutboxOp(dst []byte, m *OutboxOp) []byte {
	return appendFields(dst, m, (*OutboxOp).codeFields)
}

// DecodeOutboxOp reads what AppendOutboxOp wrote. Value lies in data.
func DecodeOutboxOp(data []byte) (OutboxOp, error) {
	return readFields(data, "outbox operation", (*OutboxOp).codeFields)
}

// OutboxMeta is what an outbox remembers beside its operations.
type OutboxMeta struct {
	Ran uint64 // milliseconds that the node has run at least
}

func (m *OutboxMeta) codeFields(c *codec) {
	c.codeVersion(outboxVersion)
	c.codeNumber(&m.Ran)
}

// AppendOutboxMeta appends the encoding of m.
func AppendOutboxMeta(dst []byte, m OutboxMeta) []byte {
	return appendFields(dst, &m, (*OutboxMeta).codeFields)
}

// DecodeOutboxMeta reads what AppendOutboxMeta wrote.
func DecodeOutboxMeta(data []byte) (OutboxMeta, error) {
	return readFields(data, "outbox", (*OutboxMeta).codeFields)
}

const keyOutbox = 'o'

// OutboxKey returns the key of an operation by its number, in the order of
// acceptance.
func OutboxKey(seq uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{keyOutbox}, seq)
}

// ParseOutboxKey returns the number of an operation.
func ParseOutboxKey(k []byte) (seq uint64, ok bool) {
	if len(k) != 9 || k[0] != keyOutbox {
		return 0, false
	}
	return binary.BigEndian.Uint64(k[1:]), true
}

// OutboxRange returns the bounds of all operations.
func OutboxRange() (lower, upper []byte) { return []byte{keyOutbox}, []byte{keyOutbox + 1} }
