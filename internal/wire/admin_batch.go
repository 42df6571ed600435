package wire

import "github.com/skeinmesh/skein/partition/token"

// Names of the calls by which a program that is no node reads or writes many keys.
const (
	MethodAdminGetMany    = "admin/get-many"    // AdminBatch -> AdminItems
	MethodAdminPutMany    = "admin/put-many"    // AdminBatch -> AdminResults
	MethodAdminDeleteMany = "admin/delete-many" // AdminBatch -> AdminResults
)

// AdminBatch names keys by the name of their bucket. Whatever a method has no use for is
// zero.
type AdminBatch struct {
	Bucket     string
	Level      int64
	MinDurable int64
	Token      token.Token // of the leader who writes
	Entries    []AdminKey
}

// AdminKey is one of them; see AdminRequest.
type AdminKey struct {
	Key     string
	Context []byte // what the client has seen
	TTL     int64
	Value   []byte
}

// AdminResults answers a batch of writes: with one result for each, or none if all were
// refused.
type AdminResults struct {
	AdminOutcome
	Results []AdminResult
}

// AdminItems answers a batch of reads: with an item for each of the first of them. The rest
// is to be asked for again.
type AdminItems struct {
	AdminOutcome
	Items []AdminItem
}

func (m *AdminBatch) codeFields(c *codec) {
	fenced := c.codeEitherVersion(adminVersion, adminFencedVersion, !m.Token.IsZero())
	c.codeText(&m.Bucket, maxName)
	codeSigned(c, &m.Level)
	codeSigned(c, &m.MinDurable)
	if fenced {
		c.codeTokenOfLead(&m.Token)
	}
	c.factor = looseFactor
	for i := range codeList(c, &m.Entries, 4, MaxMany) {
		e := &m.Entries[i]
		c.codeText(&e.Key, MaxKey)
		c.codeBytes(&e.Context, maxAdminContext)
		codeSigned(c, &e.TTL)
		c.codeBytes(&e.Value, MaxValue)
	}
}

// AppendAdminBatch appends the encoding of m.
//
//	version=1, bucket, level, min durable, array of: key, context, ttl, value
//
// In version 2 term and node of the token stand before the array.
func AppendAdminBatch(dst []byte, m *AdminBatch) []byte {
	return appendFields(dst, m, (*AdminBatch).codeFields)
}

// DecodeAdminBatch reads what AppendAdminBatch wrote.
func DecodeAdminBatch(data []byte) (AdminBatch, error) {
	return readFields(data, "admin batch", (*AdminBatch).codeFields)
}

func (m *AdminResults) codeFields(c *codec) {
	c.codeVersion(adminVersion)
	m.outcomeFields(c)
	c.factor = looseFactor
	for i := range codeList(c, &m.Results, 11, MaxMany) {
		m.Results[i].resultFields(c)
	}
}

// AppendAdminResults appends the encoding of m.
//
//	version=1, faults, text, array of what is in an AdminResult behind its version
func AppendAdminResults(dst []byte, m *AdminResults) []byte {
	return appendFields(dst, m, (*AdminResults).codeFields)
}

// DecodeAdminResults reads what AppendAdminResults wrote.
func DecodeAdminResults(data []byte) (AdminResults, error) {
	return readFields(data, "admin results", (*AdminResults).codeFields)
}

func (m *AdminItems) codeFields(c *codec) {
	c.codeVersion(adminVersion)
	m.outcomeFields(c)
	c.factor = looseFactor
	for i := range codeList(c, &m.Items, 6, MaxMany) {
		m.Items[i].itemFields(c)
	}
}

// AppendAdminItems appends the encoding of m.
//
//	version=1, faults, text, array of what is in an AdminItem behind its version
func AppendAdminItems(dst []byte, m *AdminItems) []byte {
	return appendFields(dst, m, (*AdminItems).codeFields)
}

// DecodeAdminItems reads what AppendAdminItems wrote.
func DecodeAdminItems(data []byte) (AdminItems, error) {
	return readFields(data, "admin items", (*AdminItems).codeFields)
}
