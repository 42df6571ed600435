package wire

import "github.com/skeinmesh/skein/mesh/view"

// Names of the calls by which a program that is no node publishes and subscribes. They are
// part of the protocol.
const (
	MethodAdminPublish   = "admin/publish"   // AdminPublish -> nothing
	MethodAdminSubscribe = "admin/subscribe" // AdminSubscribe -> AdminMessages
)

// MostAdminMessages is how many messages one answer holds.
const MostAdminMessages = 128

// AdminPublish is what a node is to publish.
type AdminPublish struct {
	Topic   string
	Payload []byte
}

// AdminSubscribe begins a subscription, or asks for the next messages of one that was
// begun: the node keeps it for a while.
type AdminSubscribe struct {
	Session uint64 // that AdminMessages has named; 0: begin one
	End     bool   // it is not asked for any more
	Topic   string // of the one to begin
}

// AdminMessages answers AdminSubscribe. The first answer names the subscription alone.
type AdminMessages struct {
	Session  uint64
	Messages []AdminMessage
}

// AdminMessage is what a node has published.
type AdminMessage struct {
	From    view.NodeID
	Payload []byte
	Lost    uint64 // how many were dropped just before it
}

func (m *AdminPublish) codeFields(c *codec) {
	c.codeVersion(adminVersion)
	c.codeText(&m.Topic, MaxTopic)
	c.codeBytes(&m.Payload, MaxPayload)
}

// AppendAdminPublish appends the encoding of m.
//
//	version=1, topic, payload
func AppendAdminPublish(dst []byte, m *AdminPublish) []byte {
	return appendFields(dst, m, (*AdminPublish).codeFields)
}

// DecodeAdminPublish reads what AppendAdminPublish wrote. Its payload is a part of data.
func DecodeAdminPublish(data []byte) (AdminPublish, error) {
	return readFields(data, "admin publish", (*AdminPublish).codeFields)
}

func (m *AdminSubscribe) codeFields(c *codec) {
	c.codeVersion(adminVersion)
	c.codeWide(&m.Session)
	c.codeFlag(&m.End)
	c.codeText(&m.Topic, MaxTopic)
}

// AppendAdminSubscribe appends the encoding of m.
//
//	version=1, session, end, topic
func AppendAdminSubscribe(dst []byte, m *AdminSubscribe) []byte {
	return appendFields(dst, m, (*AdminSubscribe).codeFields)
}

// DecodeAdminSubscribe reads what AppendAdminSubscribe wrote.
func DecodeAdminSubscribe(data []byte) (AdminSubscribe, error) {
	return readFields(data, "admin subscribe", (*AdminSubscribe).codeFields)
}

func (m *AdminMessages) codeFields(c *codec) {
	c.codeVersion(adminVersion)
	c.codeWide(&m.Session)
	for i := range codeList(c, &m.Messages, 3, MostAdminMessages) {
		e := &m.Messages[i]
		c.codeNodeID(&e.From)
		c.codeBytes(&e.Payload, MaxPayload)
		c.codeNumber(&e.Lost)
	}
}

// AppendAdminMessages appends the encoding of m.
//
//	version=1, session, array of: node, payload, lost
func AppendAdminMessages(dst []byte, m *AdminMessages) []byte {
	return appendFields(dst, m, (*AdminMessages).codeFields)
}

// DecodeAdminMessages reads what AppendAdminMessages wrote. The payloads are parts of data.
func DecodeAdminMessages(data []byte) (AdminMessages, error) {
	return readFields(data, "admin messages", (*AdminMessages).codeFields)
}
