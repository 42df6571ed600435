package wire

const (
	bucketVersion = 1
	maxName       = 1 << 10
	maxZones      = 64
)

// BucketDef is what never changes of a bucket. The bucket's id is a hash of
// its encoding, so two buckets that differ never share a record.
type BucketDef struct {
	Name     string
	Copies   int
	Siblings bool     // false: the last writer wins
	Zones    []string // preferred, best first
}

func (d *BucketDef) codeFields(c *codec) {
	c.codeVersion(bucketVersion)
	c.codeText(&d.Name, maxName)
	codeBounded(c, &d.Copies, 1<<10)
	c.codeFlag(&d.Siblings)
	for i := range codeList(c, &d.Zones, 1, maxZones) {
		c.codeText(&d.Zones[i], maxName)
	}
	if d.Name == "" || d.Copies == 0 {
		c.failWith("bucket without a name or without copies")
	}
}

// AppendBucketDef appends the encoding of d: equal definitions have equal
// bytes.
func AppendBucketDef(dst []byte, d *BucketDef) []byte {
	return appendFields(dst, d, (*BucketDef).codeFields)
}

// DecodeBucketDef reads what AppendBucketDef wrote.
func DecodeBucketDef(data []byte) (BucketDef, error) {
	return readFields(data, "bucket definition", (*BucketDef).codeFields)
}
