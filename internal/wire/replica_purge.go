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

func (b *RoundBatch) fields(c *codec) {
	c.formatVersion(recordVersion)
	b.Round.fields(c)
	for i := range listOf(c, &b.Keys, 2, maxBatch) {
		c.wide(&b.Keys[i].Bucket)
		c.text(&b.Keys[i].Key, MaxKey)
	}
}

// AppendRoundBatch appends the encoding of b.
func AppendRoundBatch(dst []byte, b *RoundBatch) []byte {
	return appendFields(dst, b, (*RoundBatch).fields)
}

// DecodeRoundBatch reads what AppendRoundBatch wrote.
func DecodeRoundBatch(data []byte) (RoundBatch, error) {
	return readFields(data, "batch of a round", (*RoundBatch).fields)
}

func (m *StampsRequest) fields(c *codec) {
	c.formatVersion(replicaVersion)
	c.fixed(m.Members[:])
	c.number(&m.Sum)
	c.places(&m.Shards, AllShards)
}

// AppendStampsRequest appends the encoding of m.
func AppendStampsRequest(dst []byte, m *StampsRequest) []byte {
	return appendFields(dst, m, (*StampsRequest).fields)
}

// DecodeStampsRequest reads what AppendStampsRequest wrote.
func DecodeStampsRequest(data []byte) (StampsRequest, error) {
	return readFields(data, "stamps request", (*StampsRequest).fields)
}

func (m *StampsReply) fields(c *codec) {
	c.formatVersion(replicaVersion)
	c.flag(&m.Able)
	c.flag(&m.Trusted)
	c.flag(&m.Same)
	for i := range listOf(c, &m.Stamps, 5, AllShards) {
		c.shard(&m.Stamps[i].Shard)
		m.Stamps[i].Stamp.fields(c)
	}
}

// AppendStampsReply appends the encoding of m.
func AppendStampsReply(dst []byte, m *StampsReply) []byte {
	return appendFields(dst, m, (*StampsReply).fields)
}

// DecodeStampsReply reads what AppendStampsReply wrote.
func DecodeStampsReply(data []byte) (StampsReply, error) {
	return readFields(data, "stamps reply", (*StampsReply).fields)
}

func (m *ProposeRequest) fields(c *codec) {
	c.formatVersion(replicaVersion)
	c.fixed(m.Members[:])
	for i := range listOf(c, &m.Proposals, 1, AllShards) {
		o := &m.Proposals[i]
		c.shard(&o.Shard)
		o.Round.fields(c)
		o.Stamp.fields(c)
		for i := range listOf(c, &o.Tombs, 3, maxBatch) {
			c.wide(&o.Tombs[i].Bucket)
			c.text(&o.Tombs[i].Key, MaxKey)
			c.bytes(&o.Tombs[i].Item, maxMessage)
		}
	}
}

// AppendProposeRequest appends the encoding of m.
func AppendProposeRequest(dst []byte, m *ProposeRequest) []byte {
	return appendFields(dst, m, (*ProposeRequest).fields)
}

// DecodeProposeRequest reads what AppendProposeRequest wrote.
func DecodeProposeRequest(data []byte) (ProposeRequest, error) {
	return readFields(data, "propose request", (*ProposeRequest).fields)
}

func (m *ProposeReply) fields(c *codec) {
	c.formatVersion(replicaVersion)
	c.places(&m.Acked, AllShards)
}

// AppendProposeReply appends the encoding of m.
func AppendProposeReply(dst []byte, m *ProposeReply) []byte {
	return appendFields(dst, m, (*ProposeReply).fields)
}

// DecodeProposeReply reads what AppendProposeReply wrote.
func DecodeProposeReply(data []byte) (ProposeReply, error) {
	return readFields(data, "propose reply", (*ProposeReply).fields)
}

func (m *CommitRequest) fields(c *codec) {
	c.formatVersion(replicaVersion)
	for i := range listOf(c, &m.Rounds, 3, AllShards) {
		c.shard(&m.Rounds[i].Shard)
		m.Rounds[i].Round.fields(c)
	}
}

// AppendCommitRequest appends the encoding of m.
func AppendCommitRequest(dst []byte, m *CommitRequest) []byte {
	return appendFields(dst, m, (*CommitRequest).fields)
}

// DecodeCommitRequest reads what AppendCommitRequest wrote.
func DecodeCommitRequest(data []byte) (CommitRequest, error) {
	return readFields(data, "commit request", (*CommitRequest).fields)
}

func (m *LogRequest) fields(c *codec) {
	c.formatVersion(replicaVersion)
	c.shard(&m.Shard)
	m.Stamp.fields(c)
	m.From.fields(c)
	c.wide(&m.Bucket)
	c.text(&m.Key, MaxKey)
	c.flag(&m.More)
}

// AppendLogRequest appends the encoding of m.
func AppendLogRequest(dst []byte, m *LogRequest) []byte {
	return appendFields(dst, m, (*LogRequest).fields)
}

// DecodeLogRequest reads what AppendLogRequest wrote.
func DecodeLogRequest(data []byte) (LogRequest, error) {
	return readFields(data, "log request", (*LogRequest).fields)
}

func (m *LogReply) fields(c *codec) {
	c.formatVersion(replicaVersion)
	m.Stamp.fields(c)
	m.From.fields(c)
	for i := range listOf(c, &m.Entries, 1, maxBatch) {
		c.wide(&m.Entries[i].Bucket)
		c.text(&m.Entries[i].Key, MaxKey)
		m.Entries[i].Buried.fields(c)
	}
	c.flag(&m.More)
}

// AppendLogReply appends the encoding of m.
func AppendLogReply(dst []byte, m *LogReply) []byte {
	return appendFields(dst, m, (*LogReply).fields)
}

// DecodeLogReply reads what AppendLogReply wrote.
func DecodeLogReply(data []byte) (LogReply, error) {
	return readFields(data, "log reply", (*LogReply).fields)
}

// fields describes b as it stands in a LogReply.
func (b *Buried) fields(c *codec) {
	b.Round.fields(c)
	c.flag(&b.Over)
	c.bytes(&b.Tomb, maxMessage)
	c.bytesOrNil(&b.All, maxMessage)
	if len(b.Tomb) == 0 {
		c.failWith("nothing buried")
	}
}

func (b *Buried) storedFields(c *codec) {
	c.formatVersion(recordVersion)
	b.fields(c)
}

// AppendBuried appends the encoding of b, as it is stored.
func AppendBuried(dst []byte, b *Buried) []byte {
	return appendFields(dst, b, (*Buried).storedFields)
}

// DecodeBuried reads what AppendBuried wrote. Its items lie in data.
func DecodeBuried(data []byte) (Buried, error) {
	return readFields(data, "purged key", (*Buried).storedFields)
}

func (s *RoundState) fields(c *codec) {
	c.formatVersion(recordVersion)
	s.Stamp.fields(c)
	s.From.fields(c)
	s.Logged.fields(c)
}

// AppendRoundState appends the encoding of s.
func AppendRoundState(dst []byte, s RoundState) []byte {
	return appendFields(dst, &s, (*RoundState).fields)
}

// DecodeRoundState reads what AppendRoundState wrote.
func DecodeRoundState(data []byte) (RoundState, error) {
	return readFields(data, "rounds of a shard", (*RoundState).fields)
}
