package wire

import (
	"slices"

	"github.com/skeinmesh/skein/partition/token"
	"github.com/skeinmesh/skein/replica/version"
)

// MethodPutMany has a home coordinate many writes: PutManyRequest -> PutManyReply.
const MethodPutMany = "replica.put.many"

// MaxMany bounds the writes, or the keys, of a batch.
const MaxMany = 1024

// PutManyRequest asks a store to coordinate writes of one bucket, those of one key in
// their order.
type PutManyRequest struct {
	Bucket     uint64
	Level      int64
	MinDurable uint64
	By         Clock       // as in PutRequest
	Token      token.Token // as in PutRequest, of all of them
	Puts       []ManyPut
}

// ManyPut is one of them; see PutRequest.
type ManyPut struct {
	Key      string
	Tomb     bool
	Informed bool
	Ctx      version.Context
	HLC      version.HLC
	TTL      uint64
	Value    []byte
}

// PutManyReply answers PutManyRequest.
type PutManyReply struct {
	Code  Code // with which all of it was refused; CodeOK: see Done
	Text  string
	Clock Clock      // of the receiver
	Done  []ManyDone // in the order of the request
}

// ManyDone is what became of one write; see PutReply.
type ManyDone struct {
	Code                   Code
	Text                   string
	Durable, Homes, Hinted uint64
	Dot                    version.Dot
	Covered                []version.Dot
	Ctx                    version.Context
	HLC                    version.HLC
	Fence                  token.Token
}

func (m *PutManyRequest) codeFields(c *codec) {
	fenced := c.codeEitherVersion(replicaVersion, fencedVersion, !m.Token.IsZero())
	c.codeWide(&m.Bucket)
	codeSigned(c, &m.Level)
	c.codeNumber(&m.MinDurable)
	m.By.codeFields(c)
	if fenced {
		c.codeTokenOfLead(&m.Token)
	}
	c.factor = looseFactor
	for i := range codeList(c, &m.Puts, 9, MaxMany) {
		p := &m.Puts[i]
		c.codeText(&p.Key, MaxKey)
		c.codeFlag(&p.Tomb)
		c.codeFlag(&p.Informed)
		c.codeContext(&p.Ctx, &p.HLC)
		c.codeNumber(&p.TTL)
		c.codeBytes(&p.Value, MaxValue)
		if p.Tomb && len(p.Value) != 0 {
			c.failWith("delete with a value")
		}
		if !p.Informed && (p.Ctx != nil || p.HLC != 0) {
			c.failWith("blind write with a context")
		}
	}
}

// AppendPutManyRequest appends the encoding of m.
//
//	version=1, bucket, level, min durable, by (run, reading), array of: key, delete,
//	informed, context (as in an item), ttl, value
//
// In version 2 term and node of the token stand before the array.
func AppendPutManyRequest(dst []byte, m *PutManyRequest) []byte {
	return appendFields(dst, m, (*PutManyRequest).codeFields)
}

// DecodePutManyRequest reads what AppendPutManyRequest wrote.
func DecodePutManyRequest(data []byte) (PutManyRequest, error) {
	return readFields(data, "put many request", (*PutManyRequest).codeFields)
}

func (m *PutManyReply) codeFields(c *codec) {
	isFenced := func(d ManyDone) bool { return d.Code == CodeFenced }
	fields, fenced := 13, c.codeEitherVersion(replicaVersion, fencedVersion, slices.ContainsFunc(m.Done, isFenced))
	if fenced {
		fields += 2
	}
	codeBounded(c, &m.Code, maxCode)
	c.codeText(&m.Text, 1<<12)
	m.Clock.codeFields(c)
	c.factor = looseFactor
	for i := range codeList(c, &m.Done, fields, MaxMany) {
		d := &m.Done[i]
		codeBounded(c, &d.Code, maxCode)
		c.codeText(&d.Text, 1<<12)
		c.codeNumber(&d.Durable)
		c.codeNumber(&d.Homes)
		c.codeNumber(&d.Hinted)
		c.codeDot(&d.Dot)
		c.codeDots(&d.Covered)
		c.codeContext(&d.Ctx, &d.HLC)
		if fenced {
			c.codeToken(&d.Fence)
		}
		if isFenced(*d) == d.Fence.IsZero() {
			c.failWith("a token of one who was not in the way, or none of one who was")
		}
	}
	if fenced && !slices.ContainsFunc(m.Done, isFenced) {
		c.failWith("nothing fenced in an answer that speaks of it")
	}
	if m.Code != CodeOK && len(m.Done) > 0 {
		c.failWith("results of what was refused")
	}
}

// AppendPutManyReply appends the encoding of m.
//
//	version=1, code, text, clock (run, reading), array of: code, text, durable, homes,
//	hinted, dot, array of covered dots, context (as in an item)
//
// In version 2 term and node of a token stand behind each context, zeros for none.
func AppendPutManyReply(dst []byte, m *PutManyReply) []byte {
	return appendFields(dst, m, (*PutManyReply).codeFields)
}

// DecodePutManyReply reads what AppendPutManyReply wrote.
func DecodePutManyReply(data []byte) (PutManyReply, error) {
	return readFields(data, "put many reply", (*PutManyReply).codeFields)
}
