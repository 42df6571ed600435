package wire

import (
	"github.com/skeinmesh/skein/partition/token"
	"github.com/skeinmesh/skein/replica/version"
)

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
	// adminFencedVersion is that of a write that shows a token.
	adminFencedVersion = 2
	maxAdminText       = 1 << 12
	maxAdminContext    = 1 << 20
	maxAdminLines      = 1 << 20
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
	Token      token.Token // of the leader who writes
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
	AdminBadScan
	AdminBadWatch
	AdminTooSlow
	AdminBadBatch
	AdminBehind // what was seen
	AdminFenced
	AdminNotStoring
)

// codeLine describes a text for people, which is cut where it is too long to be read.
func (c *codec) codeLine(s *string) {
	if c.reading {
		c.codeText(s, maxAdminText)
	} else {
		c.writeText((*s)[:min(len(*s), maxAdminText)])
	}
}

func (c *codec) codeLines(list *[]string, limit int) {
	for i := range codeList(c, list, 1, limit) {
		c.codeLine(&(*list)[i])
	}
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
func AppendStatusWish(dst []byte) []byte { return append(dst, adminStatusVersion) }

// AppendHealthWish does so for AdminHealth.
func AppendHealthWish(dst []byte) []byte { return append(dst, adminHealthVersion) }

// DecodeWish reads what AppendStatusWish or AppendHealthWish wrote. Clients of earlier
// releases send nothing, and know version 1.
func DecodeWish(data []byte) (version uint64, err error) {
	if len(data) == 0 {
		return 1, nil
	}
	return readFields(data, "wish", func(version *uint64, c *codec) { c.codeNumber(version) })
}

func (m *AdminRequest) codeFields(c *codec) {
	fenced := c.codeEitherVersion(adminVersion, adminFencedVersion, !m.Token.IsZero())
	c.codeText(&m.Bucket, maxName)
	c.codeText(&m.Key, MaxKey)
	c.codeBytes(&m.Context, maxAdminContext)
	codeSigned(c, &m.Level)
	codeSigned(c, &m.MinDurable)
	codeSigned(c, &m.TTL)
	c.codeBytes(&m.Value, MaxValue)
	if fenced {
		c.codeTokenOfLead(&m.Token)
	}
}

// AppendAdminRequest appends the encoding of m.
func AppendAdminRequest(dst []byte, m *AdminRequest) []byte {
	return appendFields(dst, m, (*AdminRequest).codeFields)
}

// DecodeAdminRequest reads what AppendAdminRequest wrote.
func DecodeAdminRequest(data []byte) (AdminRequest, error) {
	return readFields(data, "admin request", (*AdminRequest).codeFields)
}

func (o *AdminOutcome) outcomeFields(c *codec) {
	c.codeNumber((*uint64)(&o.Faults))
	c.codeText(&o.Text, maxAdminText)
	if o.Faults == 0 && o.Text != "" {
		c.failWith("text without a fault")
	}
}

func (m *AdminItem) codeFields(c *codec) {
	c.codeVersion(adminVersion)
	m.itemFields(c)
}

func (m *AdminItem) itemFields(c *codec) {
	m.outcomeFields(c)
	c.codeBytes(&m.Context, maxAdminContext)
	c.codeNumber(&m.Replies)
	c.factor = looseFactor
	for i := range codeList(c, &m.Values, 1, MaxSiblings) {
		c.codeBytes(&m.Values[i], MaxValue)
	}
	codeBounded(c, &m.Last, uint64(len(m.Values)))
}

// AppendAdminItem appends the encoding of m.
func AppendAdminItem(dst []byte, m *AdminItem) []byte {
	return appendFields(dst, m, (*AdminItem).codeFields)
}

// DecodeAdminItem reads what AppendAdminItem wrote.
func DecodeAdminItem(data []byte) (AdminItem, error) {
	return readFields(data, "admin item", (*AdminItem).codeFields)
}

func (m *AdminResult) codeFields(c *codec) {
	c.codeVersion(adminVersion)
	m.resultFields(c)
}

func (m *AdminResult) resultFields(c *codec) {
	m.outcomeFields(c)
	c.codeBytes(&m.Context, maxAdminContext)
	c.codeNumber(&m.Durable)
	c.codeNumber(&m.Homes)
	c.codeNumber(&m.Hinted)
	c.codeDot(&m.Dot)
	c.codeDots(&m.Covered)
}

// AppendAdminResult appends the encoding of m.
func AppendAdminResult(dst []byte, m *AdminResult) []byte {
	return appendFields(dst, m, (*AdminResult).codeFields)
}

// DecodeAdminResult reads what AppendAdminResult wrote.
func DecodeAdminResult(data []byte) (AdminResult, error) {
	return readFields(data, "admin result", (*AdminResult).codeFields)
}

func (m *AdminStatus) codeFields(c *codec) {
	outbox := c.codeEitherVersion(adminVersion, adminStatusVersion, m.Outbox != nil)
	m.outcomeFields(c)
	for _, n := range []*uint64{&m.Hints, &m.Syncing, &m.Delivered, &m.Repaired, &m.Compared, &m.Moved} {
		c.codeNumber(n)
	}
	if !outbox {
		return
	}
	if c.reading {
		m.Outbox = &OutboxStatus{}
	}
	o := m.Outbox
	for _, n := range []*uint64{&o.Ops, &o.Bytes, &o.Oldest, &o.Delivered, &o.Dropped} {
		c.codeNumber(n)
	}
	c.codeText(&o.Error, maxAdminText)
}

// AppendAdminStatus appends the encoding of m.
func AppendAdminStatus(dst []byte, m *AdminStatus) []byte {
	return appendFields(dst, m, (*AdminStatus).codeFields)
}

// DecodeAdminStatus reads what AppendAdminStatus wrote.
func DecodeAdminStatus(data []byte) (AdminStatus, error) {
	return readFields(data, "admin status", (*AdminStatus).codeFields)
}
