package wire

// Names of the calls by which a program that is no node reads many keys.
const (
	MethodAdminScan    = "admin/scan"    // AdminScan -> AdminPage
	MethodAdminBuckets = "admin/buckets" // nothing -> AdminBuckets
)

const maxCursor = 2 * MaxKey // bytes of the text

// AdminScan asks for the next items of a bucket, in order of keys.
type AdminScan struct {
	Bucket           string
	Prefix, From, To string
	After            string // cursor
	Limit            uint64 // items at most; 0: as many as there is room for
	Reverse          bool
	KeysOnly         bool
	Level            int64
}

// AdminEntry is one item.
type AdminEntry struct {
	Key     string
	Context []byte
	Replies uint64
	Values  [][]byte
	Last    int // as in AdminItem
}

// AdminPage answers AdminScan. A fault is the end of the scan, behind the entries.
type AdminPage struct {
	AdminOutcome
	Entries  []AdminEntry
	Gaps     []int // shards of which items may be missing
	Of       uint64
	Conflict bool   // the bucket is defined in two ways
	More     bool   // there may be more behind After
	After    string // cursor
}

// AdminBucket is a bucket that a node knows.
type AdminBucket struct {
	Def      BucketDef
	Conflict bool // the name is defined in another way, too
}

// AdminBuckets lists them.
type AdminBuckets struct {
	AdminOutcome
	Buckets []AdminBucket
}

func (m *AdminScan) fields(c *codec) {
	c.formatVersion(adminVersion)
	c.text(&m.Bucket, maxName)
	for _, s := range []*string{&m.Prefix, &m.From, &m.To} {
		c.text(s, MaxKey)
	}
	c.text(&m.After, maxCursor)
	c.number(&m.Limit)
	c.flag(&m.Reverse)
	c.flag(&m.KeysOnly)
	signed(c, &m.Level)
}

// AppendAdminScan appends the encoding of m.
//
//	version=1, bucket, prefix, from, to, after, limit, reverse, keys only, level
func AppendAdminScan(dst []byte, m *AdminScan) []byte {
	return appendFields(dst, m, (*AdminScan).fields)
}

// DecodeAdminScan reads what AppendAdminScan wrote.
func DecodeAdminScan(data []byte) (AdminScan, error) {
	return readFields(data, "admin scan", (*AdminScan).fields)
}

func (m *AdminPage) fields(c *codec) {
	c.formatVersion(adminVersion)
	m.outcomeFields(c)
	c.factor = looseFactor
	for i := range listOf(c, &m.Entries, 5, maxBatch) {
		e := &m.Entries[i]
		c.text(&e.Key, MaxKey)
		c.bytes(&e.Context, maxAdminContext)
		c.number(&e.Replies)
		for j := range listOf(c, &e.Values, 1, MaxSiblings) {
			c.bytes(&e.Values[j], MaxValue)
		}
		bounded(c, &e.Last, uint64(len(e.Values)))
	}
	for i := range listOf(c, &m.Gaps, 1, AllShards) {
		c.shard(&m.Gaps[i])
	}
	c.number(&m.Of)
	c.flag(&m.Conflict)
	c.flag(&m.More)
	c.text(&m.After, maxCursor)
}

// AppendAdminPage appends the encoding of m.
//
//	version=1, faults, text, array of: key, context, replies, array of values, last;
//	array of gaps, of, conflict, more, after
func AppendAdminPage(dst []byte, m *AdminPage) []byte {
	return appendFields(dst, m, (*AdminPage).fields)
}

// DecodeAdminPage reads what AppendAdminPage wrote.
func DecodeAdminPage(data []byte) (AdminPage, error) {
	return readFields(data, "admin page", (*AdminPage).fields)
}

func (m *AdminBuckets) fields(c *codec) {
	c.formatVersion(adminVersion)
	m.outcomeFields(c)
	c.factor = looseFactor
	for i := range listOf(c, &m.Buckets, 2, maxBatch) {
		c.tuple(5)
		m.Buckets[i].Def.fields(c)
		c.flag(&m.Buckets[i].Conflict)
	}
}

// AppendAdminBuckets appends the encoding of m.
//
//	version=1, faults, text, array of: array of what is in a bucket's definition; conflict
func AppendAdminBuckets(dst []byte, m *AdminBuckets) []byte {
	return appendFields(dst, m, (*AdminBuckets).fields)
}

// DecodeAdminBuckets reads what AppendAdminBuckets wrote.
func DecodeAdminBuckets(data []byte) (AdminBuckets, error) {
	return readFields(data, "admin buckets", (*AdminBuckets).fields)
}
