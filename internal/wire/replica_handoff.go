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

func (m *CoverRequest) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	c.codeWide(&m.Bucket)
	c.codeShard(&m.Shard)
	c.codeWide(&m.Roster)
	c.codeMarks(&m.Marks)
}

// AppendCoverRequest appends the encoding of m.
func AppendCoverRequest(dst []byte, m *CoverRequest) []byte {
	return appendFields(dst, m, (*CoverRequest).codeFields)
}

// DecodeCoverRequest reads what AppendCoverRequest wrote.
func DecodeCoverRequest(data []byte) (CoverRequest, error) {
	return readFields(data, "cover request", (*CoverRequest).codeFields)
}

func (m *CoverReply) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	c.codeFlag(&m.Refused)
	c.codePlaces(&m.Missing, maxBatch)
}

// AppendCoverReply appends the encoding of m.
func AppendCoverReply(dst []byte, m *CoverReply) []byte {
	return appendFields(dst, m, (*CoverReply).codeFields)
}

// DecodeCoverReply reads what AppendCoverReply wrote.
func DecodeCoverReply(data []byte) (CoverReply, error) {
	return readFields(data, "cover reply", (*CoverReply).codeFields)
}

func (m *HeldRequest) codeFields(c *codec) { c.codeVersion(replicaVersion) }

// AppendHeldRequest appends the encoding of m.
func AppendHeldRequest(dst []byte, m *HeldRequest) []byte {
	return appendFields(dst, m, (*HeldRequest).codeFields)
}

// DecodeHeldRequest reads what AppendHeldRequest wrote.
func DecodeHeldRequest(data []byte) (HeldRequest, error) {
	return readFields(data, "held request", (*HeldRequest).codeFields)
}

func (m *HeldReply) codeFields(c *codec) {
	c.codeVersion(replicaVersion)
	c.codeWide(&m.Roster)
	for i := range codeList(c, &m.Leftover, 2, 1<<20) {
		c.codeWide(&m.Leftover[i].Bucket)
		c.codeShard(&m.Leftover[i].Shard)
	}
	for i := range codeList(c, &m.Seasoned, 2, maxBatch) {
		c.codeWide(&m.Seasoned[i].Bucket)
		c.codeBytes(&m.Seasoned[i].Shards, AllShards/8+1)
	}
}

// AppendHeldReply appends the encoding of m.
func AppendHeldReply(dst []byte, m *HeldReply) []byte {
	return appendFields(dst, m, (*HeldReply).codeFields)
}

// DecodeHeldReply reads what AppendHeldReply wrote.
func DecodeHeldReply(data []byte) (HeldReply, error) {
	return readFields(data, "held reply", (*HeldReply).codeFields)
}
