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

func (m *AdminScan) codeFields(c *codec) {
	c.codeVersion(adminVersion)
	c.codeText(&m.Bucket, maxName)
	for _, s := range []*string{&m.Prefix, &m.From, &m.To} {
		c.codeText(s, MaxKey)
	}
	c.codeText(&m.After, maxCursor)
	c.codeNumber(&m.Limit)
	c.codeFlag(&m.Reverse)
	c.codeFlag(&m.KeysOnly)
	codeSigned(c, &m.Level)
}

// AppendAdminScan appends the encoding of m.
//
//	version=1, bucket, prefix, from, to, after, limit, reverse, keys only, level
func AppendAdminScan(dst []byte, m *AdminScan) []byte {
	return appendFields(dst, m, (*AdminScan).codeFields)
}

// DecodeAdminScan reads what AppendAdminScan wrote.
func DecodeAdminScan(data []byte) (AdminScan, error) {
	return readFields(data, "admin scan", (*AdminScan).codeFields)
}

func (m *AdminPage) codeFields(c *codec) {
	c.codeVersion(adminVersion)
	m.outcomeFields(c)
	c.factor = looseFactor
	for i := range codeList(c, &m.Entries, 5, maxBatch) {
		e := &m.Entries[i]
		c.codeText(&e.Key, MaxKey)
		c.codeBytes(&e.Context, maxAdminContext)
		c.codeNumber(&e.Replies)
		for j := range codeList(c, &e.Values, 1, MaxSiblings) {
			c.codeBytes(&e.Values[j], MaxValue)
		}
		codeBounded(c, &e.Last, uint64(len(e.Values)))
	}
	for i := range codeList(c, &m.Gaps, 1, AllShards) {
		c.codeShard(&m.Gaps[i])
	}
	c.codeNumber(&m.Of)
	c.codeFlag(&m.Conflict)
	c.codeFlag(&m.More)
	c.codeText(&m.After, maxCursor)
}

// AppendAdminPage appends the encoding of m.
//
//	version=1, faults, text, array of: key, context, replies, array of values, last;
//	array of gaps, of, conflict, more, after
func AppendAdminPage(dst []byte, m *AdminPage) []byte {
	return appendFields(dst, m, (*AdminPage).codeFields)
}

// DecodeAdminPage reads what AppendAdminPage wrote.
func DecodeAdminPage(data []byte) (AdminPage, error) {
	return readFields(data, "admin page", (*AdminPage).codeFields)
}

func (m *AdminBuckets) codeFields(c *codec) {
	c.codeVersion(adminVersion)
	m.outcomeFields(c)
	c.factor = looseFactor
	for i := range codeList(c, &m.Buckets, 2, maxBatch) {
		c.codeTuple(5)
		m.Buckets[i].Def.codeFields(c)
		c.codeFlag(&m.Buckets[i].Conflict)
	}
}

// AppendAdminBuckets appends the encoding of m.
//
//	version=1, faults, text, array of: array of what is in a bucket's definition; conflict
func AppendAdminBuckets(dst []byte, m *AdminBuckets) []byte {
	return appendFields(dst, m, (*AdminBuckets).codeFields)
}

// DecodeAdminBuckets reads what AppendAdminBuckets wrote.
func DecodeAdminBuckets(data []byte) (AdminBuckets, error) {
	return readFields(data, "admin buckets", (*AdminBuckets).codeFields)
}
