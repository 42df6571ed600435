package wire

// MethodAdminWatch waits for changes: AdminWatch -> AdminChanges.
const MethodAdminWatch = "admin/watch"

// maxWatchCursor is how long the text of a cursor may be.
const maxWatchCursor = 1 << 20

// AdminWatch begins to watch a bucket, or asks for the next changes of a watch that was
// begun: the node keeps it for a while.
type AdminWatch struct {
	Session uint64 // that AdminChanges has named; 0: begin one
	End     bool   // it is not asked for any more
	Bucket  string
	Prefix  string
	From    string // cursor
	Present bool
}

// AdminChange is one change. Kinds that a receiver does not know are none to it.
type AdminChange struct {
	Kind    uint64
	Key     string
	Context []byte
	Replies uint64
	Values  [][]byte
	Last    int   // as in AdminItem
	Shards  []int // that a gap, or its end, is about
	Open    uint64
}

// AdminChanges answers AdminWatch. A fault is the end of the watch, behind the changes.
type AdminChanges struct {
	AdminOutcome
	Session  uint64
	Changes  []AdminChange
	Cursor   string // behind the changes
	Conflict bool   // the bucket is defined in two ways
}

func (m *AdminWatch) codeFields(c *codec) {
	c.codeVersion(adminVersion)
	c.codeWide(&m.Session)
	c.codeFlag(&m.End)
	c.codeText(&m.Bucket, maxName)
	c.codeText(&m.Prefix, MaxKey)
	c.codeText(&m.From, maxWatchCursor)
	c.codeFlag(&m.Present)
}

// AppendAdminWatch appends the encoding of m.
//
//	version=1, session, end, bucket, prefix, from, present
func AppendAdminWatch(dst []byte, m *AdminWatch) []byte {
	return appendFields(dst, m, (*AdminWatch).codeFields)
}

// DecodeAdminWatch reads what AppendAdminWatch wrote.
func DecodeAdminWatch(data []byte) (AdminWatch, error) {
	return readFields(data, "admin watch", (*AdminWatch).codeFields)
}

func (m *AdminChanges) codeFields(c *codec) {
	c.codeVersion(adminVersion)
	m.outcomeFields(c)
	c.codeWide(&m.Session)
	c.factor = looseFactor
	for i := range codeList(c, &m.Changes, 8, maxBatch) {
		e := &m.Changes[i]
		c.codeNumber(&e.Kind)
		c.codeText(&e.Key, MaxKey)
		c.codeBytesOrNil(&e.Context, maxAdminContext)
		c.codeNumber(&e.Replies)
		for j := range codeList(c, &e.Values, 1, MaxSiblings) {
			c.codeBytes(&e.Values[j], MaxValue)
		}
		codeBounded(c, &e.Last, uint64(len(e.Values)))
		for j := range codeList(c, &e.Shards, 1, AllShards) {
			c.codeShard(&e.Shards[j])
		}
		c.codeNumber(&e.Open)
	}
	c.codeText(&m.Cursor, maxWatchCursor)
	c.codeFlag(&m.Conflict)
}

// AppendAdminChanges appends the encoding of m.
//
//	version=1, faults, text, session, array of: kind, key, context, replies, array of values,
//	last, array of shards, open; cursor, conflict
func AppendAdminChanges(dst []byte, m *AdminChanges) []byte {
	return appendFields(dst, m, (*AdminChanges).codeFields)
}

// DecodeAdminChanges reads what AppendAdminChanges wrote.
func DecodeAdminChanges(data []byte) (AdminChanges, error) {
	return readFields(data, "admin changes", (*AdminChanges).codeFields)
}
