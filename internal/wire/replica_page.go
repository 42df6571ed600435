package wire

// MethodPage reads records in order: PageRequest -> PageReply.
const MethodPage = "replica.page"

const maxShardBits = 1 << 13 // bytes of a set of shards

// pageOfScanVersion is that of a PageRequest which says of which scan it is.
const pageOfScanVersion = 2

// PageRequest asks for the records of a bucket in some shards, in order of keys.
type PageRequest struct {
	Bucket   uint64
	Shards   []byte // a bit for each shard, the lowest of the first byte for shard 0
	Lower    string // the least key
	Upper    string // the first key above all that are meant
	Bounded  bool   // false: Upper does not count, there is no such key
	Reverse  bool   // from the greatest key to the least
	KeysOnly bool   // items come without their values
	Records  uint64 // at most so many
	Bytes    uint64 // the reply ends once it has as many
	Scan     uint64 // a random number of the scan, of which other pages may be asked for; 0: none
}

// PageEntry is the record of one key.
type PageEntry struct {
	Key  string
	Item []byte // empty: the record is damaged
}

// PageReply answers PageRequest.
type PageReply struct {
	Code    Code
	Entries []PageEntry
	More    bool   // there was no room for what comes after UpTo
	UpTo    string // a key; empty without More
	// Vouched are the shards, as in the request, of which a key that does not come is
	// unknown in the mesh, as far as the store can tell.
	Vouched []byte
}

func (m *PageRequest) codeFields(c *codec) {
	ofScan := c.codeEitherVersion(replicaVersion, pageOfScanVersion, m.Scan != 0)
	c.codeWide(&m.Bucket)
	c.codeBytes(&m.Shards, maxShardBits)
	c.codeText(&m.Lower, MaxKey+1) // the key behind one has a byte more
	c.codeText(&m.Upper, MaxKey+1)
	c.codeFlag(&m.Bounded)
	c.codeFlag(&m.Reverse)
	c.codeFlag(&m.KeysOnly)
	c.codeNumber(&m.Records)
	c.codeNumber(&m.Bytes)
	if ofScan {
		c.codeWide(&m.Scan)
	}
}

// AppendPageRequest appends the encoding of m.
func AppendPageRequest(dst []byte, m *PageRequest) []byte {
	return appendFields(dst, m, (*PageRequest).codeFields)
}

// DecodePageRequest reads what AppendPageRequest wrote.
func DecodePageRequest(data []byte) (PageRequest, error) {
	return readFields(data, "page request", (*PageRequest).codeFields)
}

func (m *PageReply) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	codeBounded(c, &m.Code, maxCode)
	c.factor = looseFactor
	for i := range codeList(c, &m.Entries, 2, maxBatch) {
		c.codeText(&m.Entries[i].Key, MaxKey)
		c.codeBytes(&m.Entries[i].Item, maxMessage)
	}
	c.codeFlag(&m.More)
	c.codeText(&m.UpTo, MaxKey)
	c.codeBytes(&m.Vouched, maxShardBits)
	if !m.More && m.UpTo != "" {
		c.failWith("a page that is the last one ends at %q", m.UpTo)
	}
}

// AppendPageReply appends the encoding of m.
func AppendPageReply(dst []byte, m *PageReply) []byte {
	return appendFields(dst, m, (*PageReply).codeFields)
}

// DecodePageReply reads what AppendPageReply wrote.
func DecodePageReply(data []byte) (PageReply, error) {
	return readFields(data, "page reply", (*PageReply).codeFields)
}
