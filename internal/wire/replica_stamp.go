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

func (r *Round) codeFields(c *codec) {
	codeBounded(c, &r.Counter, maxCounter)
	c.codeWide((*uint64)(&r.Proposer))
}

func (s *Stamp) codeFields(c *codec) {
	s.Acked.codeFields(c)
	s.Committed.codeFields(c)
}

// stampTable numbers the stamps of a message: its items mostly share a few.
// Number 0 is the zero stamp, which is not in the table.
type stampTable struct {
	all    []Stamp
	number map[Stamp]int // in writing
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

// width is how many fields a record has, beside those it has anyway.
func (t *stampTable) width(fields int) int {
	if len(t.all) > 0 {
		fields++
	}
	return fields
}

// version describes the version of a message that may have a table of stamps, and
// returns whether it has one.
func (t *stampTable) version(c *codec) bool {
	return c.codeEitherVersion(replicaVersion, stampedVersion, len(t.all) > 0)
}

// fields describes the table of a message that has one.
func (t *stampTable) codeFields(c *codec) {
	for i := range codeList(c, &t.all, 4, maxBatch) {
		if t.all[i].codeFields(c); t.all[i] == (Stamp{}) {
			c.failWith("zero stamp in the table")
		}
	}
	if len(t.all) == 0 {
		c.failWith("no stamps in a message that has a table of them")
	}
}

// stampNumber describes a stamp by its number, where there is a table.
func (t *stampTable) stampNumber(s *Stamp, c *codec) {
	if len(t.all) == 0 {
		return
	}
	n := t.number[*s]
	codeBounded(c, &n, uint64(len(t.all)))
	if c.reading && n > 0 {
		*s = t.all[n-1]
	}
}

// codePlaces describes a list of places in a request of at most limit, in rising order.
func (c *codec) codePlaces(list *[]int, limit int) {
	for i := range codeList(c, list, 1, maxBatch) {
		codeBounded(c, &(*list)[i], uint64(limit))
		if i > 0 && (*list)[i-1] >= (*list)[i] {
			c.failWith("places not in order at %d", i)
		}
	}
}
