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

// AppendSumsRequest appends the encoding of m.
func AppendSumsRequest(dst []byte, m *SumsRequest) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeUint(m.Stamps)
		p.writeArrayLen(len(m.Sums) * 2)
		for i := range m.Sums {
			p.writeID(m.Sums[i].Bucket)
			p.writeID(m.Sums[i].Sum)
		}
	})
}

// DecodeSumsRequest reads what AppendSumsRequest wrote.
func DecodeSumsRequest(data []byte) (m SumsRequest, err error) {
	err = unpackWhole(data, "sums request", func(u *unpacker) {
		u.readVersion(replicaVersion)
		m.Stamps = u.readUint()
		m.Sums = listOf[BucketSum](u, u.readListLen(2))
		for range cap(m.Sums) {
			m.Sums = append(m.Sums, BucketSum{Bucket: u.readUint(), Sum: u.readUint()})
			if u.err != nil {
				return
			}
		}
	})
	return m, err
}

// AppendSumsReply appends the encoding of m.
func AppendSumsReply(dst []byte, m *SumsReply) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeBool(m.Stamps)
		p.writeArrayLen(len(m.Differ) * 3)
		for i := range m.Differ {
			p.writeUint(uint64(m.Differ[i].Place))
			p.writeUint(m.Differ[i].Keys)
			p.writeBytes(m.Differ[i].Marks)
		}
	})
}

// DecodeSumsReply reads what AppendSumsReply wrote.
func DecodeSumsReply(data []byte) (m SumsReply, err error) {
	err = unpackWhole(data, "sums reply", func(u *unpacker) {
		u.readVersion(replicaVersion)
		m.Stamps = u.readBool()
		m.Differ = listOf[BucketDiffers](u, u.readListLen(3))
		for i := range cap(m.Differ) {
			d := BucketDiffers{Place: int(u.readUintMax(maxBatch)), Keys: u.readUintMax(1 << 48), Marks: u.readBytes(AllShards)}
			if i > 0 && m.Differ[i-1].Place >= d.Place {
				u.failWith("places not in order at %d", i)
			}
			if u.err != nil {
				return
			}
			m.Differ = append(m.Differ, d)
		}
	})
	return m, err
}

// AppendSketchRequest appends the encoding of m.
func AppendSketchRequest(dst []byte, m *SketchRequest) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeID(m.Bucket)
		p.writeRising(m.Shards)
		p.writeUint(m.Kept)
		p.writeUint(uint64(m.From))
		p.writeUint(uint64(m.Count))
		p.writeBool(m.Rest)
		p.writeUint(uint64(m.Mark))
		p.writeBytes(m.Marks)
	})
}

// DecodeSketchRequest reads what AppendSketchRequest wrote.
func DecodeSketchRequest(data []byte) (m SketchRequest, err error) {
	err = unpackWhole(data, "sketch request", func(u *unpacker) {
		u.readVersion(replicaVersion)
		m = SketchRequest{
			Bucket: u.readUint(), Shards: u.readRising(AllShards), Kept: u.readUint(),
			From: int(u.readUintMax(1 << 30)), Count: int(u.readUintMax(maxSymbols)),
			Rest: u.readBool(), Mark: int(u.readUintMax(7)), Marks: u.readBytes(AllShards),
		}
	})
	return m, err
}

// writeRising writes numbers in rising order by their distances: one byte each, mostly.
func (p *packer) writeRising(list []int) {
	p.writeArrayLen(len(list))
	last := -1
	for _, n := range list {
		p.writeUint(uint64(n - last - 1))
		last = n
	}
}

// readRising reads numbers below limit.
func (u *unpacker) readRising(limit int) (out []int) {
	last := -1
	for range u.readArrayLen(limit) {
		if last += 1 + int(u.readUintMax(uint64(limit))); last >= limit {
			u.failWith("%d, limit %d", last, limit)
		}
		if u.err != nil {
			return nil
		}
		out = append(out, last)
	}
	return out
}

// AppendSketchReply appends the encoding of m.
func AppendSketchReply(dst []byte, m *SketchReply) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeID(m.Kept)
		p.writeUint(m.Keys)
		p.writeBytes(m.Symbols)
		p.writeRising(m.More)
		p.writeUint(m.Rest)
	})
}

// DecodeSketchReply reads what AppendSketchReply wrote.
func DecodeSketchReply(data []byte) (m SketchReply, err error) {
	err = unpackWhole(data, "sketch reply", func(u *unpacker) {
		u.readVersion(replicaVersion)
		m = SketchReply{
			Kept: u.readUint(), Keys: u.readUintMax(1 << 48), Symbols: u.readBytes(maxSymbols * symbolBytes),
			More: u.readRising(AllShards), Rest: u.readUint(),
		}
		if len(m.Symbols)%symbolBytes != 0 {
			u.failWith("%d bytes of symbols", len(m.Symbols))
		}
	})
	return m, err
}

// AppendFetchRequest appends the encoding of m.
func AppendFetchRequest(dst []byte, m *FetchRequest) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeID(m.Bucket)
		p.writeID(m.Kept)
		p.writeBytes(m.Prints)
	})
}

// DecodeFetchRequest reads what AppendFetchRequest wrote.
func DecodeFetchRequest(data []byte) (m FetchRequest, err error) {
	err = unpackWhole(data, "fetch request", func(u *unpacker) {
		u.readVersion(replicaVersion)
		m = FetchRequest{Bucket: u.readUint(), Kept: u.readUint(), Prints: u.readBytes(maxBatch * 8)}
		if len(m.Prints)%8 != 0 {
			u.failWith("%d bytes of fingerprints", len(m.Prints))
		}
	})
	return m, err
}

// AppendPrints appends fingerprints as FetchRequest has them.
func AppendPrints[P ~uint64](dst []byte, prints []P) []byte {
	for _, f := range prints {
		dst = binary.BigEndian.AppendUint64(dst, uint64(f))
	}
	return dst
}

// AppendFetchReply appends the encoding of m.
func AppendFetchReply(dst []byte, m *FetchReply) []byte {
	var table stampTable
	for i := range m.Items {
		table.addStamp(m.Items[i].Stamp)
	}
	return appendPacked(dst, func(p *packer) {
		p.writeUint(table.messageVersion())
		p.writeStampTable(&table)
		p.writeBool(m.Gone)
		p.writeUint(uint64(m.Done))
		p.writeRising(m.Lags)
		p.writeArrayLen(len(m.Items) * table.recordWidth(2))
		for i := range m.Items {
			p.writeString(m.Items[i].Key)
			p.writeBytes(m.Items[i].Item)
			p.writeStampNumber(&table, m.Items[i].Stamp)
		}
	})
}

// DecodeFetchReply reads what AppendFetchReply wrote.
func DecodeFetchReply(data []byte) (m FetchReply, err error) {
	err = unpackWhole(data, "fetch reply", func(u *unpacker) {
		v := u.readVersion(stampedVersion)
		table := u.readStampTable(v)
		m.Gone = u.readBool()
		m.Done = int(u.readUintMax(maxBatch))
		m.Lags = u.readRising(AllShards)
		m.Items = listOf[Fetched](u, u.readListLen(stampedWidth(2, table)))
		for i := range cap(m.Items) {
			f := Fetched{Key: u.readString(MaxKey), Item: u.readBytes(maxMessage), Stamp: u.readStampNumber(table)}
			if len(f.Item) == 0 {
				u.failWith("item %d has no bytes", i)
			}
			if u.err != nil {
				return
			}
			m.Items = append(m.Items, f)
		}
	})
	return m, err
}
