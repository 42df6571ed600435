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
	return pack(dst, func(p *packer) {
		p.uint(replicaVersion)
		p.uint(m.Stamps)
		p.array(len(m.Sums) * 2)
		for i := range m.Sums {
			p.id(m.Sums[i].Bucket)
			p.id(m.Sums[i].Sum)
		}
	})
}

// DecodeSumsRequest reads what AppendSumsRequest wrote.
func DecodeSumsRequest(data []byte) (m SumsRequest, err error) {
	err = unpack(data, "sums request", func(u *unpacker) {
		u.version(replicaVersion)
		m.Stamps = u.uint()
		m.Sums = listOf[BucketSum](u, u.list(2))
		for range cap(m.Sums) {
			m.Sums = append(m.Sums, BucketSum{Bucket: u.uint(), Sum: u.uint()})
			if u.err != nil {
				return
			}
		}
	})
	return m, err
}

// AppendSumsReply appends the encoding of m.
func AppendSumsReply(dst []byte, m *SumsReply) []byte {
	return pack(dst, func(p *packer) {
		p.uint(replicaVersion)
		p.bool(m.Stamps)
		p.array(len(m.Differ) * 3)
		for i := range m.Differ {
			p.uint(uint64(m.Differ[i].Place))
			p.uint(m.Differ[i].Keys)
			p.bytes(m.Differ[i].Marks)
		}
	})
}

// DecodeSumsReply reads what AppendSumsReply wrote.
func DecodeSumsReply(data []byte) (m SumsReply, err error) {
	err = unpack(data, "sums reply", func(u *unpacker) {
		u.version(replicaVersion)
		m.Stamps = u.bool()
		m.Differ = listOf[BucketDiffers](u, u.list(3))
		for i := range cap(m.Differ) {
			d := BucketDiffers{Place: int(u.uintMax(maxBatch)), Keys: u.uintMax(1 << 48), Marks: u.bytes(AllShards)}
			if i > 0 && m.Differ[i-1].Place >= d.Place {
				u.fail("places not in order at %d", i)
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
	return pack(dst, func(p *packer) {
		p.uint(replicaVersion)
		p.id(m.Bucket)
		p.rising(m.Shards)
		p.uint(m.Kept)
		p.uint(uint64(m.From))
		p.uint(uint64(m.Count))
		p.bool(m.Rest)
		p.uint(uint64(m.Mark))
		p.bytes(m.Marks)
	})
}

// DecodeSketchRequest reads what AppendSketchRequest wrote.
func DecodeSketchRequest(data []byte) (m SketchRequest, err error) {
	err = unpack(data, "sketch request", func(u *unpacker) {
		u.version(replicaVersion)
		m = SketchRequest{
			Bucket: u.uint(), Shards: u.rising(AllShards), Kept: u.uint(),
			From: int(u.uintMax(1 << 30)), Count: int(u.uintMax(maxSymbols)),
			Rest: u.bool(), Mark: int(u.uintMax(7)), Marks: u.bytes(AllShards),
		}
	})
	return m, err
}

// rising writes numbers in rising order by their distances: one byte each, mostly.
func (p *packer) rising(list []int) {
	p.array(len(list))
	last := -1
	for _, n := range list {
		p.uint(uint64(n - last - 1))
		last = n
	}
}

// rising reads numbers below limit.
func (u *unpacker) rising(limit int) (out []int) {
	last := -1
	for range u.array(limit) {
		if last += 1 + int(u.uintMax(uint64(limit))); last >= limit {
			u.fail("%d, limit %d", last, limit)
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
	return pack(dst, func(p *packer) {
		p.uint(replicaVersion)
		p.id(m.Kept)
		p.uint(m.Keys)
		p.bytes(m.Symbols)
		p.rising(m.More)
		p.uint(m.Rest)
	})
}

// DecodeSketchReply reads what AppendSketchReply wrote.
func DecodeSketchReply(data []byte) (m SketchReply, err error) {
	err = unpack(data, "sketch reply", func(u *unpacker) {
		u.version(replicaVersion)
		m = SketchReply{
			Kept: u.uint(), Keys: u.uintMax(1 << 48), Symbols: u.bytes(maxSymbols * symbolBytes),
			More: u.rising(AllShards), Rest: u.uint(),
		}
		if len(m.Symbols)%symbolBytes != 0 {
			u.fail("%d bytes of symbols", len(m.Symbols))
		}
	})
	return m, err
}

// AppendFetchRequest appends the encoding of m.
func AppendFetchRequest(dst []byte, m *FetchRequest) []byte {
	return pack(dst, func(p *packer) {
		p.uint(replicaVersion)
		p.id(m.Bucket)
		p.id(m.Kept)
		p.bytes(m.Prints)
	})
}

// DecodeFetchRequest reads what AppendFetchRequest wrote.
func DecodeFetchRequest(data []byte) (m FetchRequest, err error) {
	err = unpack(data, "fetch request", func(u *unpacker) {
		u.version(replicaVersion)
		m = FetchRequest{Bucket: u.uint(), Kept: u.uint(), Prints: u.bytes(maxBatch * 8)}
		if len(m.Prints)%8 != 0 {
			u.fail("%d bytes of fingerprints", len(m.Prints))
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
		table.add(m.Items[i].Stamp)
	}
	return pack(dst, func(p *packer) {
		p.uint(table.version())
		p.stamps(&table)
		p.bool(m.Gone)
		p.uint(uint64(m.Done))
		p.rising(m.Lags)
		p.array(len(m.Items) * table.width(2))
		for i := range m.Items {
			p.string(m.Items[i].Key)
			p.bytes(m.Items[i].Item)
			p.stampOf(&table, m.Items[i].Stamp)
		}
	})
}

// DecodeFetchReply reads what AppendFetchReply wrote.
func DecodeFetchReply(data []byte) (m FetchReply, err error) {
	err = unpack(data, "fetch reply", func(u *unpacker) {
		v := u.version(stampedVersion)
		table := u.stamps(v)
		m.Gone = u.bool()
		m.Done = int(u.uintMax(maxBatch))
		m.Lags = u.rising(AllShards)
		m.Items = listOf[Fetched](u, u.list(width(2, table)))
		for i := range cap(m.Items) {
			f := Fetched{Key: u.string(MaxKey), Item: u.bytes(maxMessage), Stamp: u.stampOf(table)}
			if len(f.Item) == 0 {
				u.fail("item %d has no bytes", i)
			}
			if u.err != nil {
				return
			}
			m.Items = append(m.Items, f)
		}
	})
	return m, err
}
