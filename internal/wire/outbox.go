package wire

import (
	"encoding/binary"

	"github.com/skeinmesh/skein/replica/version"
)

const outboxVersion = 1

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
}

// AppendOutboxOp appends the encoding of m.
//
//	version=1, bucket definition (bytes), key, priority, accepted, follows,
//	tomb, context, level, min durable, ttl, value
func AppendOutboxOp(dst []byte, m *OutboxOp) []byte {
	def := AppendBucketDef(nil, &m.Bucket)
	return appendPacked(dst, func(p *packer) {
		p.writeUint(outboxVersion)
		p.writeBytes(def)
		p.writeString(m.Key)
		p.writeInt(m.Priority)
		p.writeUint(m.Accepted)
		p.writeUint(m.Follows)
		p.writeBool(m.Tomb)
		p.writeContext(m.Ctx, m.HLC)
		p.writeInt(m.Level)
		p.writeUint(m.MinDurable)
		p.writeUint(m.TTL)
		p.writeBytes(m.Value)
	})
}

// DecodeOutboxOp reads what AppendOutboxOp wrote. Value lies in data.
func DecodeOutboxOp(data []byte) (m OutboxOp, err error) {
	var def []byte
	err = unpackWhole(data, "outbox operation", func(u *unpacker) {
		u.readVersion(outboxVersion)
		def = u.readBytes(len(data))
		m.Key = u.readString(MaxKey)
		m.Priority = u.readInt()
		m.Accepted = u.readUint()
		m.Follows = u.readUint()
		m.Tomb = u.readBool()
		m.Ctx, m.HLC = u.readContext()
		m.Level = u.readInt()
		m.MinDurable = u.readUint()
		m.TTL = u.readUint()
		m.Value = u.readBytes(MaxValue)
		if m.Tomb && len(m.Value) != 0 {
			u.failWith("delete with a value")
		}
	})
	if err == nil {
		m.Bucket, err = DecodeBucketDef(def)
	}
	return m, err
}

// OutboxMeta is what an outbox remembers beside its operations.
type OutboxMeta struct {
	Ran uint64 // milliseconds that the node has run at least
}

// AppendOutboxMeta appends the encoding of m: version=1, ran.
func AppendOutboxMeta(dst []byte, m OutboxMeta) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(outboxVersion)
		p.writeUint(m.Ran)
	})
}

// DecodeOutboxMeta reads what AppendOutboxMeta wrote.
func DecodeOutboxMeta(data []byte) (m OutboxMeta, err error) {
	err = unpackWhole(data, "outbox", func(u *unpacker) {
		u.readVersion(outboxVersion)
		m.Ran = u.readUint()
	})
	return m, err
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
