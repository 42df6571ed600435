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

func (b *RoundBatch) codeFields(c *codec) {
	c.codeVersion(recordVersion)
	b.Round.codeFields(c)
	for i := range codeList(c, &b.Keys, 2, maxBatch) {
		c.codeWide(&b.Keys[i].Bucket)
		c.codeText(&b.Keys[i].Key, MaxKey)
	}
}

// AppendRoundBatch appends the encoding of b.
func AppendRoundBatch(dst []byte, b *RoundBatch) []byte {
	return appendFields(dst, b, (*RoundBatch).codeFields)
}

// DecodeRoundBatch reads what AppendRoundBatch wrote.
func DecodeRoundBatch(data []byte) (RoundBatch, error) {
	return readFields(data, "batch of a round", (*RoundBatch).codeFields)
}

func (m *StampsRequest) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	c.codeFixed(m.Members[:])
	c.codeNumber(&m.Sum)
	c.codePlaces(&m.Shards, AllShards)
}

// AppendStampsRequest appends the encoding of m.
func AppendStampsRequest(dst []byte, m *StampsRequest) []byte {
	return appendFields(dst, m, (*StampsRequest).codeFields)
}

// DecodeStampsRequest reads what AppendStampsRequest wrote.
func DecodeStampsRequest(data []byte) (StampsRequest, error) {
	return readFields(data, "stamps request", (*StampsRequest).codeFields)
}

func (m *StampsReply) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	c.codeFlag(&m.Able)
	c.codeFlag(&m.Trusted)
	c.codeFlag(&m.Same)
	for i := range codeList(c, &m.Stamps, 5, AllShards) {
		c.codeShard(&m.Stamps[i].Shard)
		m.Stamps[i].Stamp.codeFields(c)
	}
}

// AppendStampsReply appends the encoding of m.
func AppendStampsReply(dst []byte, m *StampsReply) []byte {
	return appendFields(dst, m, (*StampsReply).codeFields)
}

// DecodeStampsReply reads what AppendStampsReply wrote.
func DecodeStampsReply(data []byte) (StampsReply, error) {
	return readFields(data, "stamps reply", (*StampsReply).codeFields)
}

func (m *ProposeRequest) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	c.codeFixed(m.Members[:])
	for i := range codeList(c, &m.Proposals, 1, AllShards) {
		o := &m.Proposals[i]
		c.codeShard(&o.Shard)
		o.Round.codeFields(c)
		o.Stamp.codeFields(c)
		for i := range codeList(c, &o.Tombs, 3, maxBatch) {
			c.codeWide(&o.Tombs[i].Bucket)
			c.codeText(&o.Tombs[i].Key, MaxKey)
			c.codeBytes(&o.Tombs[i].Item, maxMessage)
		}
	}
}

// AppendProposeRequest appends the encoding of m.
func AppendProposeRequest(dst []byte, m *ProposeRequest) []byte {
	return appendFields(dst, m, (*ProposeRequest).codeFields)
}

// DecodeProposeRequest reads what AppendProposeRequest wrote.
func DecodeProposeRequest(data []byte) (ProposeRequest, error) {
	return readFields(data, "propose request", (*ProposeRequest).codeFields)
}

func (m *ProposeReply) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	c.codePlaces(&m.Acked, AllShards)
}

// AppendProposeReply appends the encoding of m.
func AppendProposeReply(dst []byte, m *ProposeReply) []byte {
	return appendFields(dst, m, (*ProposeReply).codeFields)
}

// DecodeProposeReply reads what AppendProposeReply wrote.
func DecodeProposeReply(data []byte) (ProposeReply, error) {
	return readFields(data, "propose reply", (*ProposeReply).codeFields)
}

func (m *CommitRequest) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	for i := range codeList(c, &m.Rounds, 3, AllShards) {
		c.codeShard(&m.Rounds[i].Shard)
		m.Rounds[i].Round.codeFields(c)
	}
}

// AppendCommitRequest appends the encoding of m.
func AppendCommitRequest(dst []byte, m *CommitRequest) []byte {
	return appendFields(dst, m, (*CommitRequest).codeFields)
}

// DecodeCommitRequest reads what AppendCommitRequest wrote.
func DecodeCommitRequest(data []byte) (CommitRequest, error) {
	return readFields(data, "commit request", (*CommitRequest).codeFields)
}

func (m *LogRequest) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	c.codeShard(&m.Shard)
	m.Stamp.codeFields(c)
	m.From.codeFields(c)
	c.codeWide(&m.Bucket)
	c.codeText(&m.Key, MaxKey)
	c.codeFlag(&m.More)
}

// AppendLogRequest appends the encoding of m.
func AppendLogRequest(dst []byte, m *LogRequest) []byte {
	return appendFields(dst, m, (*LogRequest).codeFields)
}

// DecodeLogRequest reads what AppendLogRequest wrote.
func DecodeLogRequest(data []byte) (LogRequest, error) {
	return readFields(data, "log request", (*LogRequest).codeFields)
}

func (m *LogReply) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	m.Stamp.codeFields(c)
	m.From.codeFields(c)
	for i := range codeList(c, &m.Entries, 1, maxBatch) {
		c.codeWide(&m.Entries[i].Bucket)
		c.codeText(&m.Entries[i].Key, MaxKey)
		m.Entries[i].Buried.codeFields(c)
	}
	c.codeFlag(&m.More)
}

// AppendLogReply appends the encoding of m.
func AppendLogReply(dst []byte, m *LogReply) []byte {
	return appendFields(dst, m, (*LogReply).codeFields)
}

// DecodeLogReply reads what AppendLogReply wrote.
func DecodeLogReply(data []byte) (LogReply, error) {
	return readFields(data, "log reply", (*LogReply).codeFields)
}

// fields describes b as it stands in a LogReply.
func (b *Buried) codeFields(c *codec) {
	b.Round.codeFields(c)
	c.codeFlag(&b.Over)
	c.codeBytes(&b.Tomb, maxMessage)
	c.codeBytesOrNil(&b.All, maxMessage)
	if len(b.Tomb) == 0 {
		c.failWith("nothing buried")
	}
}

func (b *Buried) storedFields(c *codec) {
	c.codeVersion(recordVersion)
	b.codeFields(c)
}

// AppendBuried appends the encoding of b, as it is stored.
func AppendBuried(dst []byte, b *Buried) []byte {
	return appendFields(dst, b, (*Buried).storedFields)
}

// DecodeBuried reads what AppendBuried wrote. Its items lie in data.
func DecodeBuried(data []byte) (Buried, error) {
	return readFields(data, "purged key", (*Buried).storedFields)
}

func (s *RoundState) codeFields(c *codec) {
	c.codeVersion(recordVersion)
	s.Stamp.codeFields(c)
	s.From.codeFields(c)
	s.Logged.codeFields(c)
}

// AppendRoundState appends the encoding of s.
func AppendRoundState(dst []byte, s RoundState) []byte {
	return appendFields(dst, &s, (*RoundState).codeFields)
}

// DecodeRoundState reads what AppendRoundState wrote.
func DecodeRoundState(data []byte) (RoundState, error) {
	return readFields(data, "rounds of a shard", (*RoundState).codeFields)
}
