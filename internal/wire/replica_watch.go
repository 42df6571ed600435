package wire

import (
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// MethodWatch waits for changes of records: WatchRequest -> WatchReply.
const MethodWatch = "replica.watch"

const maxWatchedStores = 1 << 14 // in a cursor

// WatchRequest asks for what a store has changed in some shards of a bucket behind a
// position in its changes, and waits for that.
type WatchRequest struct {
	Bucket  uint64
	Prefix  string // of the keys
	Shards  []byte // a bit for each shard, as in PageRequest
	Epoch   uint64 // 0: the question is where the changes have come to
	Seq     uint64
	Records uint64        // at most so many
	Bytes   uint64        // the reply ends once it has as many
	Wait    time.Duration // the reply comes by then, be it without a change; milliseconds
}

// WatchEntry is a record that has changed.
type WatchEntry struct {
	Step  uint64 // number of the change, less that in the request
	Key   string
	Item  []byte
	Ended bool // the item is as it was; the last of its values has ended by its TTL
}

// WatchReply answers WatchRequest. The entries are in order. Of a key that has changed more
// than once there is the last one.
type WatchReply struct {
	Code      Code
	Epoch     uint64 // of these changes: they are numbered anew with each
	Seq       uint64 // up to which all is in the reply
	Forgotten bool   // the store does not know what came behind the position: Seq is the last change
	Entries   []WatchEntry
	Refused   []byte        // shards that the store tells nothing of
	Doubtful  []byte        // shards of which records went without a delete
	Pause     time.Duration // how long is to be waited before the next request; milliseconds
}

func (m *WatchRequest) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	c.codeWide(&m.Bucket)
	c.codeText(&m.Prefix, MaxKey)
	c.codeBytes(&m.Shards, maxShardBits)
	c.codeWide(&m.Epoch)
	c.codeNumber(&m.Seq)
	c.codeNumber(&m.Records)
	c.codeNumber(&m.Bytes)
	c.codeMillis(&m.Wait)
}

// AppendWatchRequest appends the encoding of m.
func AppendWatchRequest(dst []byte, m *WatchRequest) []byte {
	return appendFields(dst, m, (*WatchRequest).codeFields)
}

// DecodeWatchRequest reads what AppendWatchRequest wrote.
func DecodeWatchRequest(data []byte) (WatchRequest, error) {
	return readFields(data, "watch request", (*WatchRequest).codeFields)
}

func (m *WatchReply) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	codeBounded(c, &m.Code, maxCode)
	c.codeWide(&m.Epoch)
	c.codeNumber(&m.Seq)
	c.codeFlag(&m.Forgotten)
	c.factor = looseFactor
	for i := range codeList(c, &m.Entries, 4, maxBatch) {
		e := &m.Entries[i]
		c.codeNumber(&e.Step)
		c.codeText(&e.Key, MaxKey)
		c.codeBytes(&e.Item, maxMessage)
		c.codeFlag(&e.Ended)
	}
	c.codeBytesOrNil(&m.Refused, maxShardBits)
	c.codeBytesOrNil(&m.Doubtful, maxShardBits)
	c.codeMillis(&m.Pause)
}

// AppendWatchReply appends the encoding of m.
func AppendWatchReply(dst []byte, m *WatchReply) []byte {
	return appendFields(dst, m, (*WatchReply).codeFields)
}

// DecodeWatchReply reads what AppendWatchReply wrote.
func DecodeWatchReply(data []byte) (WatchReply, error) {
	return readFields(data, "watch reply", (*WatchReply).codeFields)
}

// WatchCursor is where a watcher of a bucket stands.
type WatchCursor struct {
	Bucket uint64
	Places []WatchPlace
}

// WatchPlace is where a watcher stands in the changes of one store, which it follows for
// some shards.
type WatchPlace struct {
	Store  view.NodeID
	Epoch  uint64
	Seq    uint64
	Shards []byte // a bit for each shard
}

func (m *WatchCursor) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	c.codeWide(&m.Bucket)
	for i := range codeList(c, &m.Places, 4, maxWatchedStores) {
		p := &m.Places[i]
		c.codeNodeID(&p.Store)
		c.codeWide(&p.Epoch)
		c.codeNumber(&p.Seq)
		c.codeBytes(&p.Shards, maxShardBits)
	}
}

// AppendWatchCursor appends the encoding of m.
func AppendWatchCursor(dst []byte, m *WatchCursor) []byte {
	return appendFields(dst, m, (*WatchCursor).codeFields)
}

// DecodeWatchCursor reads what AppendWatchCursor wrote.
func DecodeWatchCursor(data []byte) (WatchCursor, error) {
	return readFields(data, "watch cursor", (*WatchCursor).codeFields)
}
