package wire

import "github.com/skeinmesh/skein/replica/version"

func (m *PutRequest) fields(c *codec) {
	c.formatVersion(replicaVersion)
	c.wide(&m.Bucket)
	c.text(&m.Key, MaxKey)
	c.flag(&m.Tomb)
	c.flag(&m.Informed)
	c.context(&m.Ctx, &m.HLC)
	signed(c, &m.Level)
	c.number(&m.MinDurable)
	c.number(&m.TTL)
	m.By.fields(c)
	c.bytes(&m.Value, MaxValue)
	if m.Tomb && len(m.Value) != 0 {
		c.failWith("delete with a value")
	}
	if !m.Informed && (m.Ctx != nil || m.HLC != 0) {
		c.failWith("blind write with a context")
	}
}

// AppendPutRequest appends the encoding of m.
func AppendPutRequest(dst []byte, m *PutRequest) []byte {
	return appendFields(dst, m, (*PutRequest).fields)
}

// DecodePutRequest reads what AppendPutRequest wrote.
func DecodePutRequest(data []byte) (PutRequest, error) {
	return readFields(data, "put request", (*PutRequest).fields)
}

func (m *PutReply) fields(c *codec) {
	c.formatVersion(replicaVersion)
	bounded(c, &m.Code, maxCode)
	c.text(&m.Text, 1<<12)
	m.Clock.fields(c)
	c.number(&m.Durable)
	c.number(&m.Homes)
	c.number(&m.Hinted)
	c.dotFields(&m.Dot)
	c.dots(&m.Covered)
	c.context(&m.Ctx, &m.HLC)
}

// AppendPutReply appends the encoding of m.
func AppendPutReply(dst []byte, m *PutReply) []byte {
	return appendFields(dst, m, (*PutReply).fields)
}

// DecodePutReply reads what AppendPutReply wrote.
func DecodePutReply(data []byte) (PutReply, error) {
	return readFields(data, "put reply", (*PutReply).fields)
}

func (k *Clock) fields(c *codec) {
	c.wide(&k.Run)
	c.number(&k.Reading)
}

// dots describes ids of values of one key.
func (c *codec) dots(list *[]version.Dot) {
	for i := range listOf(c, list, 1, MaxSiblings) {
		c.dotFields(&(*list)[i])
	}
}
