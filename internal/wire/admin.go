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

func (p *packer) lines(lines []string) {
	p.array(len(lines))
	for _, l := range lines {
		p.string(l[:min(len(l), maxAdminText)])
	}
}

func (u *unpacker) lines() (out []string) {
	out = listOf[string](u, u.array(1<<20))
	for range cap(out) {
		if u.err != nil {
			return nil
		}
		out = append(out, u.string(maxAdminText))
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
	return pack(dst, func(p *packer) { p.uint(adminStatusVersion) })
}

// AppendHealthWish does so for AdminHealth.
func AppendHealthWish(dst []byte) []byte {
	return pack(dst, func(p *packer) { p.uint(adminHealthVersion) })
}

// DecodeWish reads what AppendStatusWish or AppendHealthWish wrote. Clients of earlier
// releases send nothing, and know version 1.
func DecodeWish(data []byte) (version uint64, err error) {
	if len(data) == 0 {
		return 1, nil
	}
	err = unpack(data, "wish", func(u *unpacker) { version = u.uint() })
	return version, err
}

// AppendAdminRequest appends the encoding of m.
//
//	version=1, bucket, key, context, level, min durable, ttl, value
func AppendAdminRequest(dst []byte, m *AdminRequest) []byte {
	return pack(dst, func(p *packer) {
		p.uint(adminVersion)
		p.string(m.Bucket)
		p.string(m.Key)
		p.bytes(m.Context)
		p.int(m.Level)
		p.int(m.MinDurable)
		p.int(m.TTL)
		p.bytes(m.Value)
	})
}

// DecodeAdminRequest reads what AppendAdminRequest wrote.
func DecodeAdminRequest(data []byte) (m AdminRequest, err error) {
	err = unpack(data, "admin request", func(u *unpacker) {
		u.version(adminVersion)
		m.Bucket = u.string(maxName)
		m.Key = u.string(MaxKey)
		m.Context = u.bytes(maxAdminContext)
		m.Level = u.int()
		m.MinDurable = u.int()
		m.TTL = u.int()
		m.Value = u.bytes(MaxValue)
	})
	return m, err
}

func (p *packer) outcome(o AdminOutcome) {
	p.uint(uint64(o.Faults))
	p.string(o.Text)
}

func (u *unpacker) outcome() AdminOutcome {
	o := AdminOutcome{Faults: AdminFault(u.uint()), Text: u.string(maxAdminText)}
	if o.Faults == 0 && o.Text != "" {
		u.fail("text without a fault")
	}
	return o
}

// AppendAdminItem appends the encoding of m.
//
//	version=1, faults, text, context, replies, array of values, last
func AppendAdminItem(dst []byte, m *AdminItem) []byte {
	return pack(dst, func(p *packer) {
		p.uint(adminVersion)
		p.outcome(m.AdminOutcome)
		p.bytes(m.Context)
		p.uint(m.Replies)
		p.array(len(m.Values))
		for _, v := range m.Values {
			p.bytes(v)
		}
		p.uint(uint64(m.Last))
	})
}

// DecodeAdminItem reads what AppendAdminItem wrote.
func DecodeAdminItem(data []byte) (m AdminItem, err error) {
	err = unpack(data, "admin item", func(u *unpacker) {
		u.version(adminVersion)
		m.AdminOutcome = u.outcome()
		m.Context = u.bytes(maxAdminContext)
		m.Replies = u.uint()
		for range u.array(MaxSiblings) {
			if u.err != nil {
				return
			}
			m.Values = append(m.Values, u.bytes(MaxValue))
		}
		m.Last = int(u.uintMax(uint64(len(m.Values))))
	})
	return m, err
}

// AppendAdminResult appends the encoding of m.
//
//	version=1, faults, text, context, durable, homes, hinted, dot, array of
//	dots covered
func AppendAdminResult(dst []byte, m *AdminResult) []byte {
	return pack(dst, func(p *packer) {
		p.uint(adminVersion)
		p.outcome(m.AdminOutcome)
		p.bytes(m.Context)
		p.uint(m.Durable)
		p.uint(m.Homes)
		p.uint(m.Hinted)
		p.dot(m.Dot)
		p.array(len(m.Covered))
		for _, d := range m.Covered {
			p.dot(d)
		}
	})
}

// DecodeAdminResult reads what AppendAdminResult wrote.
func DecodeAdminResult(data []byte) (m AdminResult, err error) {
	err = unpack(data, "admin result", func(u *unpacker) {
		u.version(adminVersion)
		m.AdminOutcome = u.outcome()
		m.Context = u.bytes(maxAdminContext)
		m.Durable = u.uint()
		m.Homes = u.uint()
		m.Hinted = u.uint()
		m.Dot = u.dot()
		for range u.array(MaxSiblings) {
			if u.err != nil {
				return
			}
			m.Covered = append(m.Covered, u.dot())
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
	return pack(dst, func(p *packer) {
		if m.Outbox == nil {
			p.uint(adminVersion)
		} else {
			p.uint(adminStatusVersion)
		}
		p.outcome(m.AdminOutcome)
		for _, n := range []uint64{m.Hints, m.Syncing, m.Delivered, m.Repaired, m.Compared, m.Moved} {
			p.uint(n)
		}
		if o := m.Outbox; o != nil {
			for _, n := range []uint64{o.Ops, o.Bytes, o.Oldest, o.Delivered, o.Dropped} {
				p.uint(n)
			}
			p.string(o.Error)
		}
	})
}

// DecodeAdminStatus reads what AppendAdminStatus wrote.
func DecodeAdminStatus(data []byte) (m AdminStatus, err error) {
	err = unpack(data, "admin status", func(u *unpacker) {
		version := u.version(adminStatusVersion)
		m.AdminOutcome = u.outcome()
		for _, n := range []*uint64{&m.Hints, &m.Syncing, &m.Delivered, &m.Repaired, &m.Compared, &m.Moved} {
			*n = u.uint()
		}
		if version == adminVersion {
			return
		}
		o := &OutboxStatus{}
		for _, n := range []*uint64{&o.Ops, &o.Bytes, &o.Oldest, &o.Delivered, &o.Dropped} {
			*n = u.uint()
		}
		o.Error, m.Outbox = u.string(maxAdminText), o
	})
	return m, err
}
