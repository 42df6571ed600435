package wire

import "github.com/skeinmesh/skein/mesh/view"

// stampedVersion is the version of messages whose items carry stamps, or whose
// answers speak of them. Items whose stores have seen no round of a purge carry
// none, and travel as they did before there were stamps.
const stampedVersion = 2

// maxCounter is that of package purge.
const maxCounter = 1 << 48

// Round names one attempt to purge a shard.
type Round struct {
	Counter  uint64
	Proposer view.NodeID
}

// Stamp is where a store stood in the rounds of a shard when it read an item.
type Stamp struct {
	Acked     Round
	Committed Round
}

func (p *packer) writeRound(r Round) {
	p.writeUint(r.Counter)
	p.writeID(uint64(r.Proposer))
}

func (u *unpacker) readRound() Round {
	return Round{Counter: u.readUintMax(maxCounter), Proposer: view.NodeID(u.readUint())}
}

func (p *packer) writeStamp(s Stamp) {
	p.writeRound(s.Acked)
	p.writeRound(s.Committed)
}

func (u *unpacker) readStamp() Stamp { return Stamp{Acked: u.readRound(), Committed: u.readRound()} }

// stampTable numbers the stamps of a message: its items mostly share a few.
// Number 0 is the zero stamp, which is not in the table.
type stampTable struct {
	all    []Stamp
	number map[Stamp]int
}

func (t *stampTable) addStamp(s Stamp) {
	if s == (Stamp{}) {
		return
	}
	if t.number == nil {
		t.number = make(map[Stamp]int)
	}
	if t.number[s] == 0 {
		t.all = append(t.all, s)
		t.number[s] = len(t.all)
	}
}

// messageVersion is that of a message with these stamps.
func (t *stampTable) messageVersion() uint64 {
	if len(t.all) == 0 {
		return replicaVersion
	}
	return stampedVersion
}

// recordWidth is how many fields a record has, beside those it has anyway.
func (t *stampTable) recordWidth(fields int) int { return stampedWidth(fields, t.all) }

func stampedWidth(fields int, table []Stamp) int {
	if len(table) > 0 {
		fields++
	}
	return fields
}

func (p *packer) writeStampTable(t *stampTable) {
	if len(t.all) == 0 {
		return
	}
	p.writeArrayLen(len(t.all) * 4)
	for _, s := range t.all {
		p.writeStamp(s)
	}
}

func (p *packer) writeStampNumber(t *stampTable, s Stamp) {
	if len(t.all) > 0 {
		p.writeUint(uint64(t.number[s]))
	}
}

// readStampTable reads the table of a message of version v.
func (u *unpacker) readStampTable(v uint64) []Stamp {
	if v < stampedVersion {
		return nil
	}
	n := u.readListLen(4)
	if n == 0 {
		u.failWith("no stamps in a message that has a table of them")
		return nil
	}
	out := make([]Stamp, n)
	for i := range out {
		if out[i] = u.readStamp(); u.err == nil && out[i] == (Stamp{}) {
			u.failWith("zero stamp in the table")
		}
	}
	return out
}

func (u *unpacker) readStampNumber(table []Stamp) Stamp {
	if table == nil {
		return Stamp{}
	}
	n := u.readUintMax(uint64(len(table)))
	if u.err != nil || n == 0 {
		return Stamp{}
	}
	return table[n-1]
}

// readNumbers reads a list of places in a request of at most limit, in rising
// order.
func (u *unpacker) readNumbers(limit int) []int {
	out := listOf[int](u, u.readListLen(1))
	for range cap(out) {
		n := int(u.readUintMax(uint64(limit)))
		if u.err == nil && len(out) > 0 && out[len(out)-1] >= n {
			u.failWith("places not in order at %d", n)
		}
		out = append(out, n)
	}
	return out
}

func (p *packer) writeNumbers(list []int) {
	p.writeArrayLen(len(list))
	for _, n := range list {
		p.writeUint(uint64(n))
	}
}
