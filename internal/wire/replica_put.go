package wire

import "github.com/skeinmesh/skein/replica/version"

func (m *PutRequest) codeFields(c *codec) {
	fenced := c.codeEitherVersion(replicaVersion, fencedVersion, !m.Token.IsZero())
	c.codeWide(&m.Bucket)
	c.codeText(&m.Key, MaxKey)
	c.codeFlag(&m.Tomb)
	c.codeFlag(&m.Informed)
	c.codeContext(&m.Ctx, &m.HLC)
	codeSigned(c, &m.Level)
	c.codeNumber(&m.MinDurable)
	c.codeNumber(&m.TTL)
	m.By.codeFields(c)
	c.codeBytes(&m.Value, MaxValue)
	if fenced {
		c.codeTokenOfLead(&m.Token)
	}
	if m.Tomb && len(m.Value) != 0 {
		c.failWith("delete with a value")
	}
	if !m.Informed && (m.Ctx != nil || m.HLC != 0) {
		c.failWith("blind write with a context")
	}
}

// AppendPutRequest appends the encoding of m.
func AppendPutRequest(dst []byte, m *PutRequest) []byte {
	return appendFields(dst, m, (*PutRequest).codeFields)
}

// DecodePutRequest reads what AppendPutRequest wrote.
func DecodePutRequest(data []byte) (PutRequest, error) {
	return readFields(data, "put request", (*PutRequest).codeFields)
}

func (m *PutReply) codeFields(c *codec) {
	fenced := c.codeEitherVersion(replicaVersion, fencedVersion, m.Code == CodeFenced)
	codeBounded(c, &m.Code, maxCode)
	c.codeText(&m.Text, 1<<12)
	m.Clock.codeFields(c)
	c.codeNumber(&m.Durable)
	c.codeNumber(&m.Homes)
	c.codeNumber(&m.Hinted)
	c.codeDot(&m.Dot)
	c.codeDots(&m.Covered)
	c.codeContext(&m.Ctx, &m.HLC)
	if fenced {
		c.codeTokenOfLead(&m.Fence)
	}
	if fenced != (m.Code == CodeFenced) {
		c.failWith("a token of one who was not in the way, or none of one who was")
	}
}

// AppendPutReply appends the encoding of m.
func AppendPutReply(dst []byte, m *PutReply) []byte {
	return appendFields(dst, m, (*PutReply).codeFields)
}

// DecodePutReply reads what AppendPutReply wrote.
func DecodePutReply(data []byte) (PutReply, error) {
	return readFields(data, "put reply", (*PutReply).codeFields)
}

func (k *Clock) codeFields(c *codec) {
	c.codeWide(&k.Run)
	c.codeNumber(&k.Reading)
}

// codeDots describes ids of values of one key.
func (c *codec) codeDots(list *[]version.Dot) {
	for i := range codeList(c, list, 1, MaxSiblings) {
		c.codeDot(&(*list)[i])
	}
}
