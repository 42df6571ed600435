package wire

import "slices"

// RetiredPrefix begins the names, in a data directory, of the directories that
// hold what an identity has left that may not be used any more: its identity
// file and its store, as far as they were there.
const RetiredPrefix = "retired-"

// ImportState is how far a store is in taking in one shard of what a former
// identity has left.
type ImportState struct {
	Done    bool
	Cursor  []byte // the last record that was dealt with; empty: none
	Anew    []byte // the last one whose values, as far as that was needed, were written anew
	Brought uint64 // records of which something was not in the mesh
}

// AppendImportState appends the encoding of s: version=1, then its fields in
// order.
func AppendImportState(dst []byte, s ImportState) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(metaVersion)
		p.writeBool(s.Done)
		p.writeBytes(s.Cursor)
		p.writeBytes(s.Anew)
		p.writeUint(s.Brought)
	})
}

// DecodeImportState reads what AppendImportState wrote.
func DecodeImportState(data []byte) (s ImportState, err error) {
	err = unpackWhole(data, "import", func(u *unpacker) {
		u.readVersion(metaVersion)
		s.Done = u.readBool()
		s.Cursor = slices.Clone(u.readBytes(MaxKey + 64))
		s.Anew = slices.Clone(u.readBytes(MaxKey + 64))
		s.Brought = u.readUint()
	})
	return s, err
}

// ShardRange returns the bounds of all records of a shard.
func ShardRange(shard int) (lower, upper []byte) {
	lower = RecordPrefix(shard, 0, 0)[:3]
	return lower, After(lower)
}

// ParseAsideKey returns the key of the record that was set aside under k.
func ParseAsideKey(k []byte) []byte {
	record := slices.Clone(k)
	if len(record) > 0 {
		record[0] = keyRecord
	}
	return record
}

// AsideRange returns the bounds of all records that were set aside.
func AsideRange() (lower, upper []byte) { return []byte{keyAside}, []byte{keyAside + 1} }
