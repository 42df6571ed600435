package wire

// Names of the calls of a purge.
const (
	MethodStamps  = "replica.stamps"  // StampsRequest -> StampsReply
	MethodLog     = "replica.log"     // LogRequest -> LogReply
	MethodPropose = "replica.propose" // ProposeRequest -> ProposeReply
	MethodCommit  = "replica.commit"  // CommitRequest -> nothing
)

// ShardStamp is a store's stamp in a shard.
type ShardStamp struct {
	Shard int
	Stamp Stamp
}

// StampsRequest asks for a store's stamps in the shards that are named, or,
// when none is, in all where it has one. The members' digest, if it is not
// zero, asks whether the store could acknowledge a round now.
type StampsRequest struct {
	Members [16]byte
	Sum     uint64 // hash of the asker's own stamps, 0: none; if it is the same there, none are sent
	Shards  []int
}

// StampsReply answers StampsRequest.
type StampsReply struct {
	Able    bool // the members are agreed upon
	Trusted bool // the store's clock agrees with those of its peers
	Same    bool // the sums are equal
	Stamps  []ShardStamp
}

// Tomb is a key of a round with the item that stands for its delete.
type Tomb struct {
	Bucket uint64
	Key    string
	Item   []byte
}

// Proposal is one shard's round.
type Proposal struct {
	Shard int
	Round Round
	Stamp Stamp // of all that any member knows to be committed
	Tombs []Tomb
}

// ProposeRequest asks to acknowledge rounds.
type ProposeRequest struct {
	Members   [16]byte
	Proposals []Proposal
}

// ProposeReply names the proposals, by their place, that are acknowledged.
type ProposeReply struct{ Acked []int }

// CommitRequest tells which rounds every member has acknowledged.
type CommitRequest struct{ Rounds []ShardRound }

// ShardRound is a round of a shard.
type ShardRound struct {
	Shard int
	Round Round
}

// LogRequest asks what was purged of a shard after a round.
type LogRequest struct {
	Shard  int
	Stamp  Stamp  // the asker's
	From   Round  // the asker's log is whole after it
	Bucket uint64 // with Key: go on after this entry
	Key    string
	More   bool // false: from the start, Bucket and Key do not count
}

// Buried is what a store remembers of a key that was in rounds.
type Buried struct {
	Round Round
	Over  bool   // the round is known to be committed
	Tomb  []byte // the key's item in that round
	All   []byte // merged from those of all rounds; empty: as Tomb
}

// LogEntry is what is remembered of one key.
type LogEntry struct {
	Bucket uint64
	Key    string
	Buried
}

// LogReply is one page, in the order of buckets and keys.
type LogReply struct {
	Stamp   Stamp // of the store, before it read the entries
	From    Round // its log is whole after it
	Entries []LogEntry
	More    bool
}

// RoundState is what a store keeps of a shard's rounds.
type RoundState struct {
	Stamp  Stamp
	From   Round // the log is whole after it
	Logged Round // the last one of which there is something in the log
}

// RoundBatch is which keys a round that a store has acknowledged was about.
type RoundBatch struct {
	Round Round
	Keys  []RoundKey
}

// RoundKey is one of them.
type RoundKey struct {
	Bucket uint64
	Key    string
}

// AppendRoundBatch appends the encoding of b.
func AppendRoundBatch(dst []byte, b *RoundBatch) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(recordVersion)
		p.writeRound(b.Round)
		p.writeArrayLen(len(b.Keys) * 2)
		for _, k := range b.Keys {
			p.writeID(k.Bucket)
			p.writeString(k.Key)
		}
	})
}

// DecodeRoundBatch reads what AppendRoundBatch wrote.
func DecodeRoundBatch(data []byte) (b RoundBatch, err error) {
	err = unpackWhole(data, "batch of a round", func(u *unpacker) {
		u.readVersion(recordVersion)
		b.Round = u.readRound()
		b.Keys = listOf[RoundKey](u, u.readListLen(2))
		for range cap(b.Keys) {
			b.Keys = append(b.Keys, RoundKey{Bucket: u.readUint(), Key: u.readString(MaxKey)})
			if u.err != nil {
				return
			}
		}
	})
	return b, err
}

// AppendStampsRequest appends the encoding of m.
func AppendStampsRequest(dst []byte, m *StampsRequest) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeBytes(m.Members[:])
		p.writeUint(m.Sum)
		p.writeNumbers(m.Shards)
	})
}

// DecodeStampsRequest reads what AppendStampsRequest wrote.
func DecodeStampsRequest(data []byte) (m StampsRequest, err error) {
	err = unpackWhole(data, "stamps request", func(u *unpacker) {
		u.readVersion(replicaVersion)
		u.readFixed(m.Members[:])
		m.Sum = u.readUint()
		m.Shards = u.readNumbers(AllShards)
	})
	return m, err
}

// AppendStampsReply appends the encoding of m.
func AppendStampsReply(dst []byte, m *StampsReply) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeBool(m.Able)
		p.writeBool(m.Trusted)
		p.writeBool(m.Same)
		p.writeArrayLen(len(m.Stamps) * 5)
		for _, s := range m.Stamps {
			p.writeUint(uint64(s.Shard))
			p.writeStamp(s.Stamp)
		}
	})
}

// DecodeStampsReply reads what AppendStampsReply wrote.
func DecodeStampsReply(data []byte) (m StampsReply, err error) {
	err = unpackWhole(data, "stamps reply", func(u *unpacker) {
		u.readVersion(replicaVersion)
		m.Able, m.Trusted, m.Same = u.readBool(), u.readBool(), u.readBool()
		m.Stamps = listOf[ShardStamp](u, u.readWideListLen(AllShards, 5))
		for range cap(m.Stamps) {
			m.Stamps = append(m.Stamps, ShardStamp{Shard: u.readShard(), Stamp: u.readStamp()})
		}
	})
	return m, err
}

// readWideListLen reads the length of a flattened list of at most limit records.
func (u *unpacker) readWideListLen(limit, width int) int {
	n := u.readArrayLen(limit * width)
	if n%width != 0 {
		u.failWith("part of a record")
		return 0
	}
	return n / width
}

// AppendProposeRequest appends the encoding of m.
func AppendProposeRequest(dst []byte, m *ProposeRequest) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeBytes(m.Members[:])
		p.writeArrayLen(len(m.Proposals))
		for i := range m.Proposals {
			o := &m.Proposals[i]
			p.writeUint(uint64(o.Shard))
			p.writeRound(o.Round)
			p.writeStamp(o.Stamp)
			p.writeArrayLen(len(o.Tombs) * 3)
			for _, t := range o.Tombs {
				p.writeID(t.Bucket)
				p.writeString(t.Key)
				p.writeBytes(t.Item)
			}
		}
	})
}

// DecodeProposeRequest reads what AppendProposeRequest wrote.
func DecodeProposeRequest(data []byte) (m ProposeRequest, err error) {
	err = unpackWhole(data, "propose request", func(u *unpacker) {
		u.readVersion(replicaVersion)
		u.readFixed(m.Members[:])
		m.Proposals = listOf[Proposal](u, u.readArrayLen(AllShards))
		for range cap(m.Proposals) {
			o := Proposal{Shard: u.readShard(), Round: u.readRound(), Stamp: u.readStamp()}
			o.Tombs = listOf[Tomb](u, u.readListLen(3))
			for range cap(o.Tombs) {
				o.Tombs = append(o.Tombs, Tomb{Bucket: u.readUint(), Key: u.readString(MaxKey), Item: u.readBytes(maxMessage)})
			}
			if u.err != nil {
				return
			}
			m.Proposals = append(m.Proposals, o)
		}
	})
	return m, err
}

// AppendProposeReply appends the encoding of m.
func AppendProposeReply(dst []byte, m *ProposeReply) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeNumbers(m.Acked)
	})
}

// DecodeProposeReply reads what AppendProposeReply wrote.
func DecodeProposeReply(data []byte) (m ProposeReply, err error) {
	err = unpackWhole(data, "propose reply", func(u *unpacker) {
		u.readVersion(replicaVersion)
		m.Acked = u.readNumbers(AllShards)
	})
	return m, err
}

// AppendCommitRequest appends the encoding of m.
func AppendCommitRequest(dst []byte, m *CommitRequest) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeArrayLen(len(m.Rounds) * 3)
		for _, r := range m.Rounds {
			p.writeUint(uint64(r.Shard))
			p.writeRound(r.Round)
		}
	})
}

// DecodeCommitRequest reads what AppendCommitRequest wrote.
func DecodeCommitRequest(data []byte) (m CommitRequest, err error) {
	err = unpackWhole(data, "commit request", func(u *unpacker) {
		u.readVersion(replicaVersion)
		m.Rounds = listOf[ShardRound](u, u.readWideListLen(AllShards, 3))
		for range cap(m.Rounds) {
			m.Rounds = append(m.Rounds, ShardRound{Shard: u.readShard(), Round: u.readRound()})
		}
	})
	return m, err
}

// AppendLogRequest appends the encoding of m.
func AppendLogRequest(dst []byte, m *LogRequest) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeUint(uint64(m.Shard))
		p.writeStamp(m.Stamp)
		p.writeRound(m.From)
		p.writeID(m.Bucket)
		p.writeString(m.Key)
		p.writeBool(m.More)
	})
}

// DecodeLogRequest reads what AppendLogRequest wrote.
func DecodeLogRequest(data []byte) (m LogRequest, err error) {
	err = unpackWhole(data, "log request", func(u *unpacker) {
		u.readVersion(replicaVersion)
		m = LogRequest{Shard: u.readShard(), Stamp: u.readStamp(), From: u.readRound(), Bucket: u.readUint(), Key: u.readString(MaxKey), More: u.readBool()}
	})
	return m, err
}

func (p *packer) writeBuried(b *Buried) {
	p.writeRound(b.Round)
	p.writeBool(b.Over)
	p.writeBytes(b.Tomb)
	p.writeBytes(b.All)
}

func (u *unpacker) readBuried() Buried {
	b := Buried{Round: u.readRound(), Over: u.readBool(), Tomb: u.readBytes(maxMessage), All: u.readBytes(maxMessage)}
	if u.err == nil && len(b.Tomb) == 0 {
		u.failWith("nothing buried")
	}
	if len(b.All) == 0 {
		b.All = nil
	}
	return b
}

// AppendLogReply appends the encoding of m.
func AppendLogReply(dst []byte, m *LogReply) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(replicaVersion)
		p.writeStamp(m.Stamp)
		p.writeRound(m.From)
		p.writeArrayLen(len(m.Entries))
		for i := range m.Entries {
			e := &m.Entries[i]
			p.writeID(e.Bucket)
			p.writeString(e.Key)
			p.writeBuried(&e.Buried)
		}
		p.writeBool(m.More)
	})
}

// DecodeLogReply reads what AppendLogReply wrote.
func DecodeLogReply(data []byte) (m LogReply, err error) {
	err = unpackWhole(data, "log reply", func(u *unpacker) {
		u.readVersion(replicaVersion)
		m.Stamp, m.From = u.readStamp(), u.readRound()
		m.Entries = listOf[LogEntry](u, u.readArrayLen(maxBatch))
		for range cap(m.Entries) {
			e := LogEntry{Bucket: u.readUint(), Key: u.readString(MaxKey), Buried: u.readBuried()}
			if u.err != nil {
				return
			}
			m.Entries = append(m.Entries, e)
		}
		m.More = u.readBool()
	})
	return m, err
}

// AppendBuried appends the encoding of b, as it is stored.
func AppendBuried(dst []byte, b *Buried) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(recordVersion)
		p.writeBuried(b)
	})
}

// DecodeBuried reads what AppendBuried wrote. Its items lie in data.
func DecodeBuried(data []byte) (b Buried, err error) {
	err = unpackWhole(data, "purged key", func(u *unpacker) {
		u.readVersion(recordVersion)
		b = u.readBuried()
	})
	return b, err
}

// AppendRoundState appends the encoding of s.
func AppendRoundState(dst []byte, s RoundState) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(recordVersion)
		p.writeStamp(s.Stamp)
		p.writeRound(s.From)
		p.writeRound(s.Logged)
	})
}

// DecodeRoundState reads what AppendRoundState wrote.
func DecodeRoundState(data []byte) (s RoundState, err error) {
	err = unpackWhole(data, "rounds of a shard", func(u *unpacker) {
		u.readVersion(recordVersion)
		s = RoundState{Stamp: u.readStamp(), From: u.readRound(), Logged: u.readRound()}
	})
	return s, err
}
