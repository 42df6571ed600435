package wire

import "encoding/binary"

// Names of the calls by which two stores find out in what they differ.
const (
	MethodSums   = "replica.sums"   // SumsRequest -> SumsReply
	MethodSketch = "replica.sketch" // SketchRequest -> SketchReply
	MethodFetch  = "replica.fetch"  // FetchRequest -> FetchReply
)

const (
	symbolBytes = 12      // see reconcile.AppendSymbols
	maxSymbols  = 1 << 16 // in one reply
	maxKeys     = 1 << 48 // of a bucket
)

// BucketSum is a hash of the digest of all records of a bucket in the shards that
// both stores are to have.
type BucketSum struct {
	Bucket uint64
	Sum    uint64
}

// SumsRequest shows the sender's digests of whole buckets.
type SumsRequest struct {
	Stamps uint64 // hash of the sender's stamps; 0: they do not matter
	Sums   []BucketSum
}

// BucketDiffers tells of a bucket whose digest differs, by its place in the
// request, how many keys the receiver has of it, and a byte of the digest of
// each shard, in their order. Bytes that differ belong to shards that differ.
type BucketDiffers struct {
	Place int
	Keys  uint64
	Marks []byte
}

// SumsReply lists the buckets that differ, in the order of the request. Stamps
// says that the stamps differ: one of the stores has to catch up with purges
// first, nothing was compared.
type SumsReply struct {
	Stamps bool
	Differ []BucketDiffers
}

// SketchRequest asks for Count coded symbols, from symbol From on, of the
// records of a bucket in some shards. Kept is the name of the state that earlier
// symbols came from; 0: there are none, and Shards tells of what they are to be.
//
// Rest asks about the other shards that both stores are to have. Marks, if there
// are any, are the Mark-th byte of the digest of each at the asker: those in which
// it differs become part of the sketch.
type SketchRequest struct {
	Bucket      uint64
	Shards      []int // in rising order
	Kept        uint64
	From, Count int
	Rest        bool
	Mark        int
	Marks       []byte
}

// SketchReply answers SketchRequest.
type SketchReply struct {
	Kept    uint64 // name of the state
	Keys    uint64 // in the shards
	Symbols []byte // 12 bytes each
	More    []int  // shards of the rest that are part of the sketch, by their places
	Rest    uint64 // hash of the digest of the others, 0 if it was not asked for
}

// FetchRequest asks for the records of fingerprints, 8 bytes each, that are in
// the state that Kept names.
type FetchRequest struct {
	Bucket uint64
	Kept   uint64
	Prints []byte
}

// Fetched is a record as it is now.
type Fetched struct {
	Key   string
	Item  []byte
	Stamp Stamp // of the store when it read Item
}

// FetchReply answers the first Done fingerprints. Records that changed since may
// be among the items in their place; those that have gone are not, and those of
// shards in which the store lags behind a purge: these are named.
type FetchReply struct {
	Gone  bool // the state is: nothing was looked for
	Done  int
	Lags  []int
	Items []Fetched
}

func (m *SumsRequest) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	c.codeNumber(&m.Stamps)
	for i := range codeList(c, &m.Sums, 2, maxBatch) {
		c.codeWide(&m.Sums[i].Bucket)
		c.codeWide(&m.Sums[i].Sum)
	}
}

// AppendSumsRequest appends the encoding of m.
func AppendSumsRequest(dst []byte, m *SumsRequest) []byte {
	return appendFields(dst, m, (*SumsRequest).codeFields)
}

// DecodeSumsRequest reads what AppendSumsRequest wrote.
func DecodeSumsRequest(data []byte) (SumsRequest, error) {
	return readFields(data, "sums request", (*SumsRequest).codeFields)
}

func (m *SumsReply) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	c.codeFlag(&m.Stamps)
	c.factor = looseFactor
	for i := range codeList(c, &m.Differ, 3, maxBatch) {
		d := &m.Differ[i]
		codeBounded(c, &d.Place, maxBatch)
		codeBounded(c, &d.Keys, maxKeys)
		c.codeBytes(&d.Marks, AllShards)
		if i > 0 && m.Differ[i-1].Place >= d.Place {
			c.failWith("places not in order at %d", i)
		}
	}
}

// AppendSumsReply appends the encoding of m.
func AppendSumsReply(dst []byte, m *SumsReply) []byte {
	return appendFields(dst, m, (*SumsReply).codeFields)
}

// DecodeSumsReply reads what AppendSumsReply wrote.
func DecodeSumsReply(data []byte) (SumsReply, error) {
	return readFields(data, "sums reply", (*SumsReply).codeFields)
}

func (m *SketchRequest) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	c.codeWide(&m.Bucket)
	c.codeRising(&m.Shards, AllShards)
	c.codeNumber(&m.Kept)
	codeBounded(c, &m.From, 1<<30)
	codeBounded(c, &m.Count, maxSymbols)
	c.codeFlag(&m.Rest)
	codeBounded(c, &m.Mark, 7)
	c.codeBytes(&m.Marks, AllShards)
}

// AppendSketchRequest appends the encoding of m.
func AppendSketchRequest(dst []byte, m *SketchRequest) []byte {
	return appendFields(dst, m, (*SketchRequest).codeFields)
}

// DecodeSketchRequest reads what AppendSketchRequest wrote.
func DecodeSketchRequest(data []byte) (SketchRequest, error) {
	return readFields(data, "sketch request", (*SketchRequest).codeFields)
}

// codeRising describes numbers below limit in rising order, by their distances: one byte
// each, mostly.
func (c *codec) codeRising(list *[]int, limit int) {
	n := len(*list)
	c.codeArrayLen(&n, limit)
	last := -1
	for i := range n {
		if c.reading {
			*list = append(*list, last+1+int(c.readUintMax(uint64(limit))))
		} else {
			c.writeUint(uint64((*list)[i] - last - 1))
		}
		if last = (*list)[i]; last >= limit {
			c.failWith("%d, limit %d", last, limit)
		}
	}
}

func (m *SketchReply) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	c.codeWide(&m.Kept)
	codeBounded(c, &m.Keys, maxKeys)
	c.codeBytes(&m.Symbols, maxSymbols*symbolBytes)
	c.codeRising(&m.More, AllShards)
	c.codeNumber(&m.Rest)
	if len(m.Symbols)%symbolBytes != 0 {
		c.failWith("%d bytes of symbols", len(m.Symbols))
	}
}

// AppendSketchReply appends the encoding of m.
func AppendSketchReply(dst []byte, m *SketchReply) []byte {
	return appendFields(dst, m, (*SketchReply).codeFields)
}

// DecodeSketchReply reads what AppendSketchReply wrote.
func DecodeSketchReply(data []byte) (SketchReply, error) {
	return readFields(data, "sketch reply", (*SketchReply).codeFields)
}

func (m *FetchRequest) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	c.codeWide(&m.Bucket)
	c.codeWide(&m.Kept)
	c.codeBytes(&m.Prints, maxBatch*8)
	if len(m.Prints)%8 != 0 {
		c.failWith("%d bytes of fingerprints", len(m.Prints))
	}
}

// AppendFetchRequest appends the encoding of m.
func AppendFetchRequest(dst []byte, m *FetchRequest) []byte {
	return appendFields(dst, m, (*FetchRequest).codeFields)
}

// DecodeFetchRequest reads what AppendFetchRequest wrote.
func DecodeFetchRequest(data []byte) (FetchRequest, error) {
	return readFields(data, "fetch request", (*FetchRequest).codeFields)
}

// AppendPrints appends fingerprints as FetchRequest has them.
func AppendPrints[P ~uint64](dst []byte, prints []P) []byte {
	for _, f := range prints {
		dst = binary.BigEndian.AppendUint64(dst, uint64(f))
	}
	return dst
}

func (m *FetchReply) codeFields(c *codec) {
	var table stampTable
	for i := range m.Items {
		table.addStamp(m.Items[i].Stamp)
	}
	if table.version(c) {
		table.codeFields(c)
	}
	c.codeFlag(&m.Gone)
	codeBounded(c, &m.Done, maxBatch)
	c.codeRising(&m.Lags, AllShards)
	for i := range codeList(c, &m.Items, table.width(2), maxBatch) {
		f := &m.Items[i]
		c.codeText(&f.Key, MaxKey)
		c.codeBytes(&f.Item, maxMessage)
		table.stampNumber(&f.Stamp, c)
		if len(f.Item) == 0 {
			c.failWith("item %d has no bytes", i)
		}
	}
}

// AppendFetchReply appends the encoding of m.
func AppendFetchReply(dst []byte, m *FetchReply) []byte {
	return appendFields(dst, m, (*FetchReply).codeFields)
}

// DecodeFetchReply reads what AppendFetchReply wrote.
func DecodeFetchReply(data []byte) (FetchReply, error) {
	return readFields(data, "fetch reply", (*FetchReply).codeFields)
}
