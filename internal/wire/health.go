package wire

import (
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

const (
	maxProblemKind   = 64
	maxProblemPlaces = 1 << 10
	maxShardRole     = 64

	// healthFactor stands for memoryFactor here. A shard with a part in it takes 9 bytes
	// at least, as soon as its bucket has a name, and 112 in memory. Only clients of
	// operators read this message, one at a time.
	healthFactor = 12
)

// AdminHealth is how a store is doing.
type AdminHealth struct {
	AdminOutcome
	Problems []view.Problem // what an operator should look at
	Shards   []AdminShard   // in which the store has a part

	// InWords: in version 1, which has a line for each problem and shard. What is read
	// of it has the kind ProblemInWords, and shards are Lines.
	InWords bool
	Lines   []string
}

// AdminShard is how a shard is doing, as one store sees it.
type AdminShard struct {
	Bucket, Role  string
	Shard, Copies int
	Hints         int
	Syncing       bool
	Homes         []view.NodeID
	Synced        []AdminSynced
}

// AdminSynced is how long ago a shard was made equal with that of another store.
type AdminSynced struct {
	ID  view.NodeID
	Ago time.Duration
}

func (m *AdminHealth) fields(c *codec) {
	c.factor = healthFactor
	structure := c.eitherVersion(adminVersion, adminHealthVersion, !m.InWords)
	m.outcomeFields(c)
	if !structure {
		m.wordFields(c)
		return
	}
	for i := range listOf(c, &m.Problems, 1, 1<<16) {
		c.problem(&m.Problems[i])
	}
	for i := range listOf(c, &m.Shards, 1, 1<<20) {
		m.Shards[i].fields(c)
	}
}

// wordFields describes the rest of version 1.
func (m *AdminHealth) wordFields(c *codec) {
	for i := range listOf(c, &m.Problems, 1, maxAdminLines) {
		p := &m.Problems[i]
		var words string
		if !c.reading {
			words = p.String()
		}
		if c.line(&words); c.reading {
			*p = view.Problem{Kind: view.ProblemInWords, Text: words}
		}
	}
	c.lines(&m.Lines, maxAdminLines)
	if c.reading {
		m.InWords = true
	}
}

// AppendAdminHealth appends the encoding of m.
func AppendAdminHealth(dst []byte, m *AdminHealth) []byte {
	return appendFields(dst, m, (*AdminHealth).fields)
}

// DecodeAdminHealth reads what AppendAdminHealth wrote.
func DecodeAdminHealth(data []byte) (AdminHealth, error) {
	return readFields(data, "admin health", (*AdminHealth).fields)
}

func (c *codec) problem(m *view.Problem) {
	c.text((*string)(&m.Kind), maxProblemKind)
	for _, list := range []*[]view.Named{&m.Nodes, &m.Cut, &m.Silent, &m.By} {
		for i := range listOf(c, list, 2, MaxMembers) {
			c.nodeID(&(*list)[i].ID)
			c.text(&(*list)[i].Name, maxName)
		}
	}
	c.lines(&m.Where, maxProblemPlaces)
	for _, n := range []*int{&m.Shards, &m.Count, &m.Of} {
		signed(c, n)
	}
	signed(c, &m.Bytes)
	signed(c, &m.For)
	c.line(&m.Text)
}

func (m *AdminShard) fields(c *codec) {
	c.text(&m.Bucket, maxName)
	c.text(&m.Role, maxShardRole)
	c.shard(&m.Shard)
	bounded(c, &m.Copies, MaxMembers)
	bounded(c, &m.Hints, 1<<48)
	c.flag(&m.Syncing)
	c.nodeIDs(&m.Homes, MaxMembers)
	for i := range listOf(c, &m.Synced, 2, MaxMembers) {
		c.nodeID(&m.Synced[i].ID)
		signed(c, &m.Synced[i].Ago)
	}
}
