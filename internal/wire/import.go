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

func (s *ImportState) codeFields(c *codec) {
	c.codeVersion(metaVersion)
	c.codeFlag(&s.Done)
	c.codeOwnBytes(&s.Cursor, MaxKey+64)
	c.codeOwnBytes(&s.Anew, MaxKey+64)
	c.codeNumber(&s.Brought)
}

// AppendImportState appends the encoding of s.
func AppendImportState(dst []byte, s ImportState) []byte {
	return appendFields(dst, &s, (*ImportState).codeFields)
}

// DecodeImportState reads what AppendImportState wrote.
func DecodeImportState(data []byte) (ImportState, error) {
	return readFields(data, "import", (*ImportState).codeFields)
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
