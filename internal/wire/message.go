package wire

import (
	"encoding/binary"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// Limits of what a decoder of messages accepts.
const (
	MaxTopic    = 64      // bytes
	MaxPayload  = 1 << 10 // bytes of what a message carries
	maxSaid     = 2 << 10 // bytes of a message, without its key
	maxMessages = 1 << 16 // keys
)

// messageVersion is the format of one message, and of what tables of them exchange.
const messageVersion = 1

// MessageKey names a message for ever: who published it, in which life, and its number in
// that, 8 bytes each, big-endian. So keys of one node are in the order of publishing.
type MessageKey string

const messageKeySize = 24

// NewMessageKey returns the key of the message of a node with that number.
func NewMessageKey(node view.NodeID, v NoticeVersion) MessageKey {
	b := make([]byte, 0, messageKeySize)
	b = binary.BigEndian.AppendUint64(b, uint64(node))
	b = binary.BigEndian.AppendUint64(b, v.Boot)
	return MessageKey(binary.BigEndian.AppendUint64(b, v.Seq))
}

// Node returns who published the message.
func (k MessageKey) Node() view.NodeID { return view.NodeID(k.word(0)) }

// Version returns in which life that was, and the number.
func (k MessageKey) Version() NoticeVersion { return NoticeVersion{k.word(1), k.word(2)} }

func (k MessageKey) word(i int) uint64 { return binary.BigEndian.Uint64([]byte(k[8*i : 8*i+8])) }

// Message is what a node has published. Who holds one must not change it.
type Message struct {
	Key     MessageKey
	Age     time.Duration // when it was told, without the time on the way; whole milliseconds
	Topic   string
	Payload []byte // nil when there is none
}

// Sum tells which message it is. It has no versions.
func (m Message) Sum() MessageSum { return MessageSum{Key: m.Key} }

// MessageSum tells that a node has a message.
type MessageSum = KeySum[MessageKey, struct{}]

// MessageSums asks a peer whose digest differs, or answers with all that one has.
type MessageSums = TableSums[MessageKey, struct{}]

// MessageSwap hands over messages and asks for others.
type MessageSwap = TableSwap[MessageKey, Message]

// codeMessageKey describes a key.
func (c *codec) codeMessageKey(k *MessageKey) {
	text := string(*k)
	if c.codeText(&text, messageKeySize); !c.reading {
		return
	}
	if len(text) != messageKeySize || MessageKey(text).Node() == 0 {
		c.failWith("key of %d bytes, or of no node", len(text))
		return
	}
	*k = MessageKey(text)
}

func messageSumsFields(s *MessageSums, c *codec) {
	c.codeVersion(messageVersion)
	c.codeWide(&s.Digest)
	for i := range codeList(c, &s.Sums, 1, maxMessages) {
		c.codeMessageKey(&s.Sums[i].Key)
	}
}

// AppendMessageSums appends the encoding of s.
func AppendMessageSums(dst []byte, s MessageSums) []byte {
	return appendFields(dst, &s, messageSumsFields)
}

// DecodeMessageSums reads what AppendMessageSums wrote.
func DecodeMessageSums(data []byte) (MessageSums, error) {
	return readFields(data, "sums of messages", messageSumsFields)
}

// saidFields describes a message without its key.
func (m *Message) saidFields(c *codec) {
	c.codeVersion(messageVersion)
	c.codeMillis(&m.Age)
	c.codeText(&m.Topic, MaxTopic)
	c.codeOwnBytes(&m.Payload, MaxPayload)
}

// messageSwap is a MessageSwap of which those messages are kept that wanted says yes to.
type messageSwap struct {
	MessageSwap
	wanted func(MessageSum) bool // in reading
}

func (s *messageSwap) codeFields(c *codec) {
	c.codeVersion(messageVersion)
	n := 2 * len(s.Have)
	if c.codeArrayLen(&n, 2*maxMessages); n%2 != 0 {
		c.failWith("%d fields of records of 2", n)
	}
	for i := range n / 2 {
		if c.reading {
			s.readMessage(c)
		} else {
			c.codeMessageKey(&s.Have[i].Key)
			c.writeBytes(appendFields(nil, &s.Have[i], (*Message).saidFields))
		}
	}
	for i := range codeList(c, &s.Want, 1, maxMessages) {
		c.codeMessageKey(&s.Want[i])
	}
}

// readMessage reads one message. One that cannot be read is left out, and no fault of the
// others: who passes it on is not to be judged by it.
func (s *messageSwap) readMessage(c *codec) {
	var key MessageKey
	var said []byte
	c.codeMessageKey(&key)
	c.codeBytes(&said, len(c.data))
	if c.err != nil || len(said) > maxSaid || !s.wanted(MessageSum{Key: key}) {
		return
	}
	if m, err := readFields(said, "message", (*Message).saidFields); err == nil {
		m.Key = key
		s.Have = append(s.Have, m)
	}
}

// AppendMessageSwap appends the encoding of s.
//
//	version=1
//	have  array: for each key, said
//	want  array of keys
//
// said is bytes of their own: version=1, age in ms, topic, payload.
func AppendMessageSwap(dst []byte, s MessageSwap) []byte {
	return appendFields(dst, &messageSwap{MessageSwap: s}, (*messageSwap).codeFields)
}

// DecodeMessageSwap reads what AppendMessageSwap wrote. Of the messages it keeps those
// that can be read and that wanted says yes to, in their order.
func DecodeMessageSwap(data []byte, wanted func(MessageSum) bool) (MessageSwap, error) {
	s, err := readFields(data, "swap of messages", func(s *messageSwap, c *codec) {
		s.wanted = wanted
		s.codeFields(c)
	})
	return s.MessageSwap, err
}
