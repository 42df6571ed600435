package wire

import "time"

// BackupState is what a node remembers of what it has backed up by one policy at one tier.
type BackupState struct {
	Chain     uint64
	Selection uint64 // hash of what is backed up, and for whom: what is another has a chain of its own
	Sequence  uint64 // of the last manifest
	Hash      [32]byte
	Segments  []SegmentRef // that the last manifest names
	Inventory []byte       // of the last manifest, not sealed
	Due       time.Time    // see retain.Good
	Begun     time.Time
	Pending   []byte // the last manifest, as long as it is not known to be at the tier
}

func (m *BackupState) codeFields(c *codec) {
	c.codeVersion(backupVersion)
	c.codeWide(&m.Chain)
	c.codeWide(&m.Selection)
	c.codeNumber(&m.Sequence)
	c.codeFixed(m.Hash[:])
	for i := range codeList(c, &m.Segments, 3, 1<<20) {
		m.Segments[i].codeFields(c)
	}
	c.codeBytes(&m.Inventory, maxInventory)
	c.codeMoment(&m.Due)
	c.codeMoment(&m.Begun)
	c.codeBytesOrNil(&m.Pending, 1<<24)
}

// AppendBackupState appends the encoding of m.
func AppendBackupState(dst []byte, m *BackupState) []byte {
	return appendFields(dst, m, (*BackupState).codeFields)
}

// DecodeBackupState reads what AppendBackupState wrote.
func DecodeBackupState(data []byte) (BackupState, error) {
	return readFields(data, "state of backups", (*BackupState).codeFields)
}

// ListedVersion is what a node remembers of one record that it has backed up.
type ListedVersion struct{ Key, Version uint64 } // hashes

// VersionList is what a node remembers of the records of one slice, in the order of Key.
type VersionList struct{ Versions []ListedVersion }

func (m *VersionList) codeFields(c *codec) {
	c.codeVersion(backupVersion)
	for i := range codeList(c, &m.Versions, 2, 1<<26) {
		c.codeWide(&m.Versions[i].Key)
		c.codeWide(&m.Versions[i].Version)
		if i > 0 && m.Versions[i-1].Key >= m.Versions[i].Key {
			c.failWith("hashes not in order at %d", i)
		}
	}
}

// AppendVersionList appends the encoding of m.
func AppendVersionList(dst []byte, m *VersionList) []byte {
	return appendFields(dst, m, (*VersionList).codeFields)
}

// DecodeVersionList reads what AppendVersionList wrote.
func DecodeVersionList(data []byte) (VersionList, error) {
	return readFields(data, "list of versions", (*VersionList).codeFields)
}
