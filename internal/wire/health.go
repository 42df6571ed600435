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

// AppendAdminHealth appends the encoding of m.
//
//	version=1, faults, text, array of sentences, array of lines
//	version=2, faults, text, array of problems, array of shards; a problem is kind, ids
//	and names of nodes, of those cut off, silent and that reach them, places, shards,
//	count, of, bytes, for (ns), text; a shard is bucket, role, number, copies, hints,
//	syncing, home ids, flat array of id and time (ns)
func AppendAdminHealth(dst []byte, m *AdminHealth) []byte {
	return appendPacked(dst, func(p *packer) {
		if m.InWords {
			p.writeUint(adminVersion)
			p.writeOutcome(m.AdminOutcome)
			words := make([]string, len(m.Problems))
			for i := range m.Problems {
				words[i] = m.Problems[i].String()
			}
			p.writeLines(words)
			p.writeLines(m.Lines)
			return
		}
		p.writeUint(adminHealthVersion)
		p.writeOutcome(m.AdminOutcome)
		p.writeArrayLen(len(m.Problems))
		for i := range m.Problems {
			p.problem(&m.Problems[i])
		}
		p.writeArrayLen(len(m.Shards))
		for i := range m.Shards {
			p.shardHealth(&m.Shards[i])
		}
	})
}

// DecodeAdminHealth reads what AppendAdminHealth wrote.
func DecodeAdminHealth(data []byte) (m AdminHealth, err error) {
	err = unpackWhole(data, "admin health", func(u *unpacker) {
		u.factor = healthFactor
		m.InWords = u.readVersion(adminHealthVersion) == adminVersion
		m.AdminOutcome = u.readOutcome()
		if m.InWords {
			words := u.readLines()
			m.Problems = listOf[view.Problem](u, len(words))
			for i := range cap(m.Problems) {
				m.Problems = append(m.Problems, view.Problem{Kind: view.ProblemInWords, Text: words[i]})
			}
			m.Lines = u.readLines()
			return
		}
		m.Problems = listOf[view.Problem](u, u.readArrayLen(1<<16))
		for range cap(m.Problems) {
			if u.err != nil {
				return
			}
			m.Problems = append(m.Problems, u.problem())
		}
		m.Shards = listOf[AdminShard](u, u.readArrayLen(1<<20))
		for range cap(m.Shards) {
			if u.err != nil {
				return
			}
			m.Shards = append(m.Shards, u.shardHealth())
		}
	})
	return m, err
}

func (p *packer) problem(m *view.Problem) {
	p.writeString(string(m.Kind))
	for _, list := range [][]view.Named{m.Nodes, m.Cut, m.Silent, m.By} {
		p.writeArrayLen(len(list) * 2)
		for _, n := range list {
			p.writeID(uint64(n.ID))
			p.writeString(n.Name)
		}
	}
	p.writeLines(m.Where)
	for _, n := range []int64{int64(m.Shards), int64(m.Count), int64(m.Of), m.Bytes, int64(m.For)} {
		p.writeInt(n)
	}
	p.writeString(m.Text[:min(len(m.Text), maxAdminText)])
}

func (u *unpacker) problem() (m view.Problem) {
	m.Kind = view.ProblemKind(u.readString(maxProblemKind))
	for _, list := range []*[]view.Named{&m.Nodes, &m.Cut, &m.Silent, &m.By} {
		*list = listOf[view.Named](u, u.readTuplesLen(2, MaxMembers))
		for range cap(*list) {
			*list = append(*list, view.Named{ID: u.readNodeID(), Name: u.readString(maxName)})
		}
	}
	m.Where = listOf[string](u, u.readArrayLen(maxProblemPlaces))
	for range cap(m.Where) {
		m.Where = append(m.Where, u.readString(maxAdminText))
	}
	m.Shards, m.Count, m.Of = int(u.readInt()), int(u.readInt()), int(u.readInt())
	m.Bytes, m.For = u.readInt(), time.Duration(u.readInt())
	m.Text = u.readString(maxAdminText)
	return m
}

func (p *packer) shardHealth(m *AdminShard) {
	p.writeString(m.Bucket)
	p.writeString(m.Role)
	for _, n := range []int{m.Shard, m.Copies, m.Hints} {
		p.writeUint(uint64(n))
	}
	p.writeBool(m.Syncing)
	p.writeNodeIDs(m.Homes)
	p.writeArrayLen(len(m.Synced) * 2)
	for _, s := range m.Synced {
		p.writeID(uint64(s.ID))
		p.writeInt(int64(s.Ago))
	}
}

func (u *unpacker) shardHealth() (m AdminShard) {
	m.Bucket, m.Role = u.readString(maxName), u.readString(maxShardRole)
	m.Shard, m.Copies, m.Hints = u.readShard(), int(u.readUintMax(MaxMembers)), int(u.readUintMax(1<<48))
	m.Syncing = u.readBool()
	m.Homes = u.readNodeIDs(MaxMembers)
	m.Synced = listOf[AdminSynced](u, u.readTuplesLen(2, MaxMembers))
	for range cap(m.Synced) {
		m.Synced = append(m.Synced, AdminSynced{ID: u.readNodeID(), Ago: time.Duration(u.readInt())})
	}
	return m
}
