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

func (m *AdminHealth) codeFields(c *codec) {
	c.factor = healthFactor
	structure := c.codeEitherVersion(adminVersion, adminHealthVersion, !m.InWords)
	m.outcomeFields(c)
	if !structure {
		m.wordFields(c)
		return
	}
	for i := range codeList(c, &m.Problems, 1, 1<<16) {
		c.codeProblem(&m.Problems[i])
	}
	for i := range codeList(c, &m.Shards, 1, 1<<20) {
		m.Shards[i].codeFields(c)
	}
}

// wordFields describes the rest of version 1.
func (m *AdminHealth) wordFields(c *codec) {
	for i := range codeList(c, &m.Problems, 1, maxAdminLines) {
		p := &m.Problems[i]
		var words string
		if !c.reading {
			words = p.String()
		}
		if c.codeLine(&words); c.reading {
			*p = view.Problem{Kind: view.ProblemInWords, Text: words}
		}
	}
	c.codeLines(&m.Lines, maxAdminLines)
	if c.reading {
		m.InWords = true
	}
}

// AppendAdminHealth appends the encoding of m.
func AppendAdminHealth(dst []byte, m *AdminHealth) []byte {
	return appendFields(dst, m, (*AdminHealth).codeFields)
}

// DecodeAdminHealth reads what AppendAdminHealth wrote.
func DecodeAdminHealth(data []byte) (AdminHealth, error) {
	return readFields(data, "admin health", (*AdminHealth).codeFields)
}

func (c *codec) codeProblem(m *view.Problem) {
	c.codeText((*string)(&m.Kind), maxProblemKind)
	for _, list := range []*[]view.Named{&m.Nodes, &m.Cut, &m.Silent, &m.By} {
		for i := range codeList(c, list, 2, MaxMembers) {
			c.codeNodeID(&(*list)[i].ID)
			c.codeText(&(*list)[i].Name, maxName)
		}
	}
	c.codeLines(&m.Where, maxProblemPlaces)
	for _, n := range []*int{&m.Shards, &m.Count, &m.Of} {
		codeSigned(c, n)
	}
	codeSigned(c, &m.Bytes)
	codeSigned(c, &m.For)
	c.codeLine(&m.Text)
}

func (m *AdminShard) codeFields(c *codec) {
	c.codeText(&m.Bucket, maxName)
	c.codeText(&m.Role, maxShardRole)
	c.codeShard(&m.Shard)
	codeBounded(c, &m.Copies, MaxMembers)
	codeBounded(c, &m.Hints, 1<<48)
	c.codeFlag(&m.Syncing)
	c.codeNodeIDs(&m.Homes, MaxMembers)
	for i := range codeList(c, &m.Synced, 2, MaxMembers) {
		c.codeNodeID(&m.Synced[i].ID)
		codeSigned(c, &m.Synced[i].Ago)
	}
}
