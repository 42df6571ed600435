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

// AppendBucketDef appends the encoding of d: equal definitions have equal
// bytes.
func AppendBucketDef(dst []byte, d *BucketDef) []byte {
	return pack(dst, func(p *packer) {
		p.uint(bucketVersion)
		p.string(d.Name)
		p.uint(uint64(d.Copies))
		p.bool(d.Siblings)
		p.array(len(d.Zones))
		for _, z := range d.Zones {
			p.string(z)
		}
	})
}

// DecodeBucketDef reads what AppendBucketDef wrote.
func DecodeBucketDef(data []byte) (d BucketDef, err error) {
	err = unpack(data, "bucket definition", func(u *unpacker) {
		u.version(bucketVersion)
		d.Name = u.string(maxName)
		d.Copies = int(u.uintMax(1 << 10))
		d.Siblings = u.bool()
		for range u.array(maxZones) {
			d.Zones = append(d.Zones, u.string(maxName))
		}
		if d.Name == "" || d.Copies == 0 {
			u.fail("bucket without a name or without copies")
		}
	})
	return d, err
}
