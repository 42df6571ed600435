package wire

// Names of the calls with which shards change hands.
const (
	MethodCover = "replica.cover" // CoverRequest -> CoverReply
	MethodHeld  = "replica.held"  // HeldRequest -> HeldReply
)

// CoverRequest asks a home which records it holds as they are at the asker,
// which will let go of those that all homes hold.
type CoverRequest struct {
	Bucket uint64
	Shard  int
	Roster uint64 // digest of what the asker's placement depends on
	Marks  []Mark // in the order of keys
}

// CoverReply names the records, by their place, that are not here as they are
// there. Refused: for the others this store does not vouch either, because it is
// no home of the shard or knows another roster.
type CoverReply struct {
	Refused bool
	Missing []int
}

// HeldRequest asks for what a store holds although it is not to keep it, and
// where it may vouch for what is not there.
type HeldRequest struct{}

// Held is a slice of the data.
type Held struct {
	Bucket uint64
	Shard  int
}

// HeldReply answers HeldRequest.
type HeldReply struct {
	Roster   uint64
	Leftover []Held       // records here that this store is not to keep
	Seasoned []SeasonedIn // of what it is a home
}

// SeasonedIn tells the shards of a bucket of which a store has been a home long
// enough to know what the others know, as a bit map.
type SeasonedIn struct {
	Bucket uint64
	Shards []byte
}

// AppendCoverRequest appends the encoding of m.
func AppendCoverRequest(dst []byte, m *CoverRequest) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeID(m.Bucket)
		p.writeUint(uint64(m.Shard))
		p.writeID(m.Roster)
		p.writeArrayLen(len(m.Marks) * 2)
		for i := range m.Marks {
			p.writeString(m.Marks[i].Key)
			p.writeID(m.Marks[i].Hash)
		}
	})
}

// DecodeCoverRequest reads what AppendCoverRequest wrote.
func DecodeCoverRequest(data []byte) (m CoverRequest, err error) {
	err = unpackWhole(data, "cover request", func(u *unpacker) {
		u.readVersion(replicaVersion)
		m.Bucket, m.Shard, m.Roster = u.readUint(), u.readShard(), u.readUint()
		m.Marks = listOf[Mark](u, u.readListLen(2))
		for i := range cap(m.Marks) {
			m.Marks = append(m.Marks, Mark{Key: u.readString(MaxKey), Hash: u.readUint()})
			if i > 0 && m.Marks[i-1].Key >= m.Marks[i].Key {
				u.failWith("keys not in order at %d", i)
			}
			if u.err != nil {
				return
			}
		}
	})
	return m, err
}

// AppendCoverReply appends the encoding of m.
func AppendCoverReply(dst []byte, m *CoverReply) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeBool(m.Refused)
		p.writeNumbers(m.Missing)
	})
}

// DecodeCoverReply reads what AppendCoverReply wrote.
func DecodeCoverReply(data []byte) (m CoverReply, err error) {
	err = unpackWhole(data, "cover reply", func(u *unpacker) {
		u.readVersion(replicaVersion)
		m.Refused = u.readBool()
		m.Missing = u.readNumbers(maxBatch)
	})
	return m, err
}

// AppendHeldRequest appends the encoding of m.
func AppendHeldRequest(dst []byte, _ *HeldRequest) []byte {
	return appendPacked(dst, func(p *packer) { p.writeUint(replicaVersion) })
}

// DecodeHeldRequest reads what AppendHeldRequest wrote.
func DecodeHeldRequest(data []byte) (m HeldRequest, err error) {
	err = unpackWhole(data, "held request", func(u *unpacker) { u.readVersion(replicaVersion) })
	return m, err
}

// AppendHeldReply appends the encoding of m.
func AppendHeldReply(dst []byte, m *HeldReply) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeID(m.Roster)
		p.writeArrayLen(len(m.Leftover) * 2)
		for _, h := range m.Leftover {
			p.writeID(h.Bucket)
			p.writeUint(uint64(h.Shard))
		}
		p.writeArrayLen(len(m.Seasoned) * 2)
		for _, s := range m.Seasoned {
			p.writeID(s.Bucket)
			p.writeBytes(s.Shards)
		}
	})
}

// DecodeHeldReply reads what AppendHeldReply wrote.
func DecodeHeldReply(data []byte) (m HeldReply, err error) {
	err = unpackWhole(data, "held reply", func(u *unpacker) {
		u.readVersion(replicaVersion)
		m.Roster = u.readUint()
		m.Leftover = listOf[Held](u, u.readWideListLen(1<<20, 2))
		for range cap(m.Leftover) {
			m.Leftover = append(m.Leftover, Held{Bucket: u.readUint(), Shard: u.readShard()})
			if u.err != nil {
				return
			}
		}
		m.Seasoned = listOf[SeasonedIn](u, u.readWideListLen(maxBatch, 2))
		for range cap(m.Seasoned) {
			m.Seasoned = append(m.Seasoned, SeasonedIn{Bucket: u.readUint(), Shards: u.readBytes(AllShards/8 + 1)})
			if u.err != nil {
				return
			}
		}
	})
	return m, err
}
