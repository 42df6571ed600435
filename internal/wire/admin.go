package wire

import "github.com/skeinmesh/skein/replica/version"

// Names of the calls by which a program that is no node uses a store. They
// are part of the protocol.
const (
	MethodAdminGet    = "admin/get"    // AdminRequest -> AdminItem
	MethodAdminPut    = "admin/put"    // AdminRequest -> AdminResult
	MethodAdminDelete = "admin/delete" // AdminRequest -> AdminResult
	MethodAdminStatus = "admin/status" // nothing, or what AppendStatusWish wrote -> AdminStatus
	MethodAdminHealth = "admin/health" // nothing, or what AppendHealthWish wrote -> AdminHealth
)

const (
	adminVersion = 1
	// adminStatusVersion is that of a status with an outbox.
	adminStatusVersion = 2
	// adminHealthVersion is that of a health as structure.
	adminHealthVersion = 2
	maxAdminText       = 1 << 12
	maxAdminContext    = 1 << 20
)

// AdminRequest names a key by the name of its bucket. Whatever a method has
// no use for is zero.
type AdminRequest struct {
	Bucket     string
	Key        string
	Context    []byte // see AppendContext; empty: none
	Level      int64
	MinDurable int64
	TTL        int64 // nanoseconds, 0: as the bucket says, negative: for ever
	Value      []byte
}

// AdminFault is a reason for which a request failed, or did not do all that
// was asked for. Several may be true at once, so each is one bit.
type AdminFault uint64

const (
	AdminOther AdminFault = 1 << iota // only the text tells
	AdminNotFound
	AdminDegraded
	AdminNoBucket
	AdminConflict // of bucket definitions
	AdminUnavailable
	AdminTooLarge
	AdminBadContext
	AdminSiblings
	AdminClock
	AdminOverloaded
	AdminFull
	AdminStorage
	AdminClosed
	AdminDeadline
	AdminOutbox // full
)

func (p *packer) writeLines(lines []string) {
	p.writeArrayLen(len(lines))
	for _, l := range lines {
		p.writeString(l[:min(len(l), maxAdminText)])
	}
}

func (u *unpacker) readLines() (out []string) {
	out = listOf[string](u, u.readArrayLen(1<<20))
	for range cap(out) {
		if u.err != nil {
			return nil
		}
		out = append(out, u.readString(maxAdminText))
	}
	return out
}

// AdminOutcome tells how a request ended. Bits that a receiver does not know
// are faults all the same.
type AdminOutcome struct {
	Faults AdminFault
	Text   string // for people, at most 4 KiB; empty without faults
}

// AdminItem answers a get.
type AdminItem struct {
	AdminOutcome
	Context []byte // of what was read; empty: nothing could be read
	Replies uint64
	Values  [][]byte
	Last    int // which of Values the last writer left, counted from 1; 0: it deleted
}

// AdminResult answers a put or a delete.
type AdminResult struct {
	AdminOutcome
	Context []byte // of what was written; empty: nothing is known to be
	Durable uint64
	Homes   uint64
	Hinted  uint64
	Dot     version.Dot
	Covered []version.Dot
}

// AdminStatus tells how a store is doing.
type AdminStatus struct {
	AdminOutcome
	Hints, Syncing                       uint64
	Delivered, Repaired, Compared, Moved uint64

	// Outbox is what waits in a node that stores nothing. Who knows version 1
	// only gets none.
	Outbox *OutboxStatus
}

// OutboxStatus tells what waits in a node to be delivered.
type OutboxStatus struct {
	Ops, Bytes         uint64
	Oldest             uint64 // milliseconds
	Delivered, Dropped uint64
	Error              string
}

// AppendStatusWish appends the version of AdminStatus that a client knows. Nodes
// of earlier releases do not look at it, and answer with version 1.
func AppendStatusWish(dst []byte) []byte {
	return appendPacked(dst, func(p *packer) { p.writeUint(adminStatusVersion) })
}

// AppendHealthWish does so for AdminHealth.
func AppendHealthWish(dst []byte) []byte {
	return appendPacked(dst, func(p *packer) { p.writeUint(adminHealthVersion) })
}

// DecodeWish reads what AppendStatusWish or AppendHealthWish wrote. Clients of earlier
// releases send nothing, and know version 1.
func DecodeWish(data []byte) (version uint64, err error) {
	if len(data) == 0 {
		return 1, nil
	}
	err = unpackWhole(data, "wish", func(u *unpacker) { version = u.readUint() })
	return version, err
}

// AppendAdminRequest appends the encoding of m.
//
//	version=1, bucket, key, context, level, min durable, ttl, value
func AppendAdminRequest(dst []byte, m *AdminRequest) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(adminVersion)
		p.writeString(m.Bucket)
		p.writeString(m.Key)
		p.writeBytes(m.Context)
		p.writeInt(m.Level)
		p.writeInt(m.MinDurable)
		p.writeInt(m.TTL)
		p.writeBytes(m.Value)
	})
}

// DecodeAdminRequest reads what AppendAdminRequest wrote.
func DecodeAdminRequest(data []byte) (m AdminRequest, err error) {
	err = unpackWhole(data, "admin request", func(u *unpacker) {
		u.readVersion(adminVersion)
		m.Bucket = u.readString(maxName)
		m.Key = u.readString(MaxKey)
		m.Context = u.readBytes(maxAdminContext)
		m.Level = u.readInt()
		m.MinDurable = u.readInt()
		m.TTL = u.readInt()
		m.Value = u.readBytes(MaxValue)
	})
	return m, err
}

func (p *packer) writeOutcome(o AdminOutcome) {
	p.writeUint(uint64(o.Faults))
	p.writeString(o.Text)
}

func (u *unpacker) readOutcome() AdminOutcome {
	o := AdminOutcome{Faults: AdminFault(u.readUint()), Text: u.readString(maxAdminText)}
	if o.Faults == 0 && o.Text != "" {
		u.failWith("text without a fault")
	}
	return o
}

// AppendAdminItem appends the encoding of m.
//
//	version=1, faults, text, context, replies, array of values, last
func AppendAdminItem(dst []byte, m *AdminItem) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(adminVersion)
		p.writeOutcome(m.AdminOutcome)
		p.writeBytes(m.Context)
		p.writeUint(m.Replies)
		p.writeArrayLen(len(m.Values))
		for _, v := range m.Values {
			p.writeBytes(v)
		}
		p.writeUint(uint64(m.Last))
	})
}

// DecodeAdminItem reads what AppendAdminItem wrote.
func DecodeAdminItem(data []byte) (m AdminItem, err error) {
	err = unpackWhole(data, "admin item", func(u *unpacker) {
		u.readVersion(adminVersion)
		m.AdminOutcome = u.readOutcome()
		m.Context = u.readBytes(maxAdminContext)
		m.Replies = u.readUint()
		for range u.readArrayLen(MaxSiblings) {
			if u.err != nil {
				return
			}
			m.Values = append(m.Values, u.readBytes(MaxValue))
		}
		m.Last = int(u.readUintMax(uint64(len(m.Values))))
	})
	return m, err
}

// AppendAdminResult appends the encoding of m.
//
//	version=1, faults, text, context, durable, homes, hinted, dot, array of
//	dots covered
func AppendAdminResult(dst []byte, m *AdminResult) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(adminVersion)
		p.writeOutcome(m.AdminOutcome)
		p.writeBytes(m.Context)
		p.writeUint(m.Durable)
		p.writeUint(m.Homes)
		p.writeUint(m.Hinted)
		p.writeDot(m.Dot)
		p.writeArrayLen(len(m.Covered))
		for _, d := range m.Covered {
			p.writeDot(d)
		}
	})
}

// DecodeAdminResult reads what AppendAdminResult wrote.
func DecodeAdminResult(data []byte) (m AdminResult, err error) {
	err = unpackWhole(data, "admin result", func(u *unpacker) {
		u.readVersion(adminVersion)
		m.AdminOutcome = u.readOutcome()
		m.Context = u.readBytes(maxAdminContext)
		m.Durable = u.readUint()
		m.Homes = u.readUint()
		m.Hinted = u.readUint()
		m.Dot = u.readDot()
		for range u.readArrayLen(MaxSiblings) {
			if u.err != nil {
				return
			}
			m.Covered = append(m.Covered, u.readDot())
		}
	})
	return m, err
}

// AppendAdminStatus appends the encoding of m.
//
//	version=1, faults, text, hints, syncing, delivered, repaired, compared,
//	moved; with an outbox version=2, and behind that: its operations, bytes,
//	milliseconds of the oldest, delivered, dropped, error
func AppendAdminStatus(dst []byte, m *AdminStatus) []byte {
	return appendPacked(dst, func(p *packer) {
		if m.Outbox == nil {
			p.writeUint(adminVersion)
		} else {
			p.writeUint(adminStatusVersion)
		}
		p.writeOutcome(m.AdminOutcome)
		for _, n := range []uint64{m.Hints, m.Syncing, m.Delivered, m.Repaired, m.Compared, m.Moved} {
			p.writeUint(n)
		}
		if o := m.Outbox; o != nil {
			for _, n := range []uint64{o.Ops, o.Bytes, o.Oldest, o.Delivered, o.Dropped} {
				p.writeUint(n)
			}
			p.writeString(o.Error)
		}
	})
}

// DecodeAdminStatus reads what AppendAdminStatus wrote.
func DecodeAdminStatus(data []byte) (m AdminStatus, err error) {
	err = unpackWhole(data, "admin status", func(u *unpacker) {
		version := u.readVersion(adminStatusVersion)
		m.AdminOutcome = u.readOutcome()
		for _, n := range []*uint64{&m.Hints, &m.Syncing, &m.Delivered, &m.Repaired, &m.Compared, &m.Moved} {
			*n = u.readUint()
		}
		if version == adminVersion {
			return
		}
		o := &OutboxStatus{}
		for _, n := range []*uint64{&o.Ops, &o.Bytes, &o.Oldest, &o.Delivered, &o.Dropped} {
			*n = u.readUint()
		}
		o.Error, m.Outbox = u.readString(maxAdminText), o
	})
	return m, err
}
