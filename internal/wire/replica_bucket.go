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
	return appendPacked(dst, func(p *packer) {
		p.writeUint(bucketVersion)
		p.writeString(d.Name)
		p.writeUint(uint64(d.Copies))
		p.writeBool(d.Siblings)
		p.writeArrayLen(len(d.Zones))
		for _, z := range d.Zones {
			p.writeString(z)
		}
	})
}

// DecodeBucketDef reads what AppendBucketDef wrote.
func DecodeBucketDef(data []byte) (d BucketDef, err error) {
	err = unpackWhole(data, "bucket definition", func(u *unpacker) {
		u.readVersion(bucketVersion)
		d.Name = u.readString(maxName)
		d.Copies = int(u.readUintMax(1 << 10))
		d.Siblings = u.readBool()
		for range u.readArrayLen(maxZones) {
			d.Zones = append(d.Zones, u.readString(maxName))
		}
		if d.Name == "" || d.Copies == 0 {
			u.failWith("bucket without a name or without copies")
		}
	})
	return d, err
}
