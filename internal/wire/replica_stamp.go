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

func (p *packer) round(r Round) {
	p.uint(r.Counter)
	p.id(uint64(r.Proposer))
}

func (u *unpacker) round() Round {
	return Round{Counter: u.uintMax(maxCounter), Proposer: view.NodeID(u.uint())}
}

func (p *packer) stamp(s Stamp) {
	p.round(s.Acked)
	p.round(s.Committed)
}

func (u *unpacker) stamp() Stamp { return Stamp{Acked: u.round(), Committed: u.round()} }

// stampTable numbers the stamps of a message: its items mostly share a few.
// Number 0 is the zero stamp, which is not in the table.
type stampTable struct {
	all    []Stamp
	number map[Stamp]int
}

func (t *stampTable) add(s Stamp) {
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

// version is that of a message with these stamps.
func (t *stampTable) version() uint64 {
	if len(t.all) == 0 {
		return replicaVersion
	}
	return stampedVersion
}

// width is how many fields a record has, beside those it has anyway.
func (t *stampTable) width(fields int) int { return width(fields, t.all) }

func width(fields int, table []Stamp) int {
	if len(table) > 0 {
		fields++
	}
	return fields
}

func (p *packer) stamps(t *stampTable) {
	if len(t.all) == 0 {
		return
	}
	p.array(len(t.all) * 4)
	for _, s := range t.all {
		p.stamp(s)
	}
}

func (p *packer) stampOf(t *stampTable, s Stamp) {
	if len(t.all) > 0 {
		p.uint(uint64(t.number[s]))
	}
}

// stamps reads the table of a message of version v.
func (u *unpacker) stamps(v uint64) []Stamp {
	if v < stampedVersion {
		return nil
	}
	n := u.list(4)
	if n == 0 {
		u.fail("no stamps in a message that has a table of them")
		return nil
	}
	out := make([]Stamp, n)
	for i := range out {
		if out[i] = u.stamp(); u.err == nil && out[i] == (Stamp{}) {
			u.fail("zero stamp in the table")
		}
	}
	return out
}

func (u *unpacker) stampOf(table []Stamp) Stamp {
	if table == nil {
		return Stamp{}
	}
	n := u.uintMax(uint64(len(table)))
	if u.err != nil || n == 0 {
		return Stamp{}
	}
	return table[n-1]
}

// numbers reads a list of places in a request of at most limit, in rising
// order.
func (u *unpacker) numbers(limit int) []int {
	out := listOf[int](u, u.list(1))
	for range cap(out) {
		n := int(u.uintMax(uint64(limit)))
		if u.err == nil && len(out) > 0 && out[len(out)-1] >= n {
			u.fail("places not in order at %d", n)
		}
		out = append(out, n)
	}
	return out
}

func (p *packer) numbers(list []int) {
	p.array(len(list))
	for _, n := range list {
		p.uint(uint64(n))
	}
}
