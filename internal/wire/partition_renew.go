package wire

import "time"

// Renewal is what a leader asks a voter for once more, or first where its term has begun
// without that voter.
type Renewal struct {
	Election Election
	Term     uint64
}

// ElectRenewals are all that are due at one voter, for one lease.
type ElectRenewals struct {
	Lease time.Duration // whole milliseconds
	List  []Renewal     // the shorter the more of a name is that of the one before
}

// ElectRenewed tells which of them are granted, in their order. What is not must be asked for
// by itself: the answer needs a disk, or is longer than yes.
type ElectRenewed struct {
	Granted []bool
}

func (m *ElectRenewals) codeFields(c *codec) {
	c.codeVersion(partitionVersion)
	c.factor = looseFactor
	c.codeMillis(&m.Lease)
	before := ""
	for i := range codeList(c, &m.List, 4, MaxElections) {
		r := &m.List[i]
		c.codeNameAfter(before, &r.Election.Name)
		before = r.Election.Name
		codeBounded(c, &r.Election.Scope, 255)
		c.codeNumber(&r.Term)
	}
}

// codeNameAfter describes the name of an election by how many bytes it shares with the one
// before, and the rest.
func (c *codec) codeNameAfter(before string, name *string) {
	shared, rest := 0, *name
	for !c.reading && shared < min(len(before), len(rest)) && before[shared] == rest[shared] {
		shared++
	}
	codeBounded(c, &shared, MaxElectionName)
	if !c.reading {
		c.writeText(rest[shared:])
		return
	}
	if c.codeText(&rest, MaxElectionName); shared > len(before) || shared+len(rest) > MaxElectionName || shared+len(rest) == 0 {
		c.failWith("election of %d bytes of %d, and %d", shared, len(before), len(rest))
		return
	}
	*name = before[:shared] + rest
}

// AppendElectRenewals appends the encoding of m.
func AppendElectRenewals(dst []byte, m ElectRenewals) []byte {
	return appendFields(dst, &m, (*ElectRenewals).codeFields)
}

// DecodeElectRenewals reads what AppendElectRenewals wrote.
func DecodeElectRenewals(data []byte) (ElectRenewals, error) {
	return readFields(data, "renewals", (*ElectRenewals).codeFields)
}

func (m *ElectRenewed) codeFields(c *codec) {
	c.codeVersion(partitionVersion)
	for i := range codeList(c, &m.Granted, 1, MaxElections) {
		c.codeFlag(&m.Granted[i])
	}
}

// AppendElectRenewed appends the encoding of m.
func AppendElectRenewed(dst []byte, m ElectRenewed) []byte {
	return appendFields(dst, &m, (*ElectRenewed).codeFields)
}

// DecodeElectRenewed reads what AppendElectRenewed wrote.
func DecodeElectRenewed(data []byte) (ElectRenewed, error) {
	return readFields(data, "answer to renewals", (*ElectRenewed).codeFields)
}
