package wire

import (
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

const (
	maxProblemKind   = 64
	maxProblemPlaces = 1 << 10
	maxShardRole     = 64
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
	return pack(dst, func(p *packer) {
		if m.InWords {
			p.uint(adminVersion)
			p.outcome(m.AdminOutcome)
			words := make([]string, len(m.Problems))
			for i := range m.Problems {
				words[i] = m.Problems[i].String()
			}
			p.lines(words)
			p.lines(m.Lines)
			return
		}
		p.uint(adminHealthVersion)
		p.outcome(m.AdminOutcome)
		p.array(len(m.Problems))
		for i := range m.Problems {
			p.problem(&m.Problems[i])
		}
		p.array(len(m.Shards))
		for i := range m.Shards {
			p.shardHealth(&m.Shards[i])
		}
	})
}

// DecodeAdminHealth reads what AppendAdminHealth wrote.
func DecodeAdminHealth(data []byte) (m AdminHealth, err error) {
	err = unpack(data, "admin health", func(u *unpacker) {
		m.InWords = u.version(adminHealthVersion) == adminVersion
		m.AdminOutcome = u.outcome()
		if m.InWords {
			words := u.lines()
			m.Problems = listOf[view.Problem](u, len(words))
			for i := range cap(m.Problems) {
				m.Problems = append(m.Problems, view.Problem{Kind: view.ProblemInWords, Text: words[i]})
			}
			m.Lines = u.lines()
			return
		}
		m.Problems = listOf[view.Problem](u, u.array(1<<16))
		for range cap(m.Problems) {
			if u.err != nil {
				return
			}
			m.Problems = append(m.Problems, u.problem())
		}
		m.Shards = listOf[AdminShard](u, u.array(1<<20))
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
	p.string(string(m.Kind))
	for _, list := range [][]view.Named{m.Nodes, m.Cut, m.Silent, m.By} {
		p.array(len(list) * 2)
		for _, n := range list {
			p.id(uint64(n.ID))
			p.string(n.Name)
		}
	}
	p.lines(m.Where)
	for _, n := range []int64{int64(m.Shards), int64(m.Count), int64(m.Of), m.Bytes, int64(m.For)} {
		p.int(n)
	}
	p.string(m.Text[:min(len(m.Text), maxAdminText)])
}

func (u *unpacker) problem() (m view.Problem) {
	m.Kind = view.ProblemKind(u.string(maxProblemKind))
	for _, list := range []*[]view.Named{&m.Nodes, &m.Cut, &m.Silent, &m.By} {
		*list = listOf[view.Named](u, u.tuples(2, MaxMembers))
		for range cap(*list) {
			*list = append(*list, view.Named{ID: u.nodeID(), Name: u.string(maxName)})
		}
	}
	m.Where = listOf[string](u, u.array(maxProblemPlaces))
	for range cap(m.Where) {
		m.Where = append(m.Where, u.string(maxAdminText))
	}
	m.Shards, m.Count, m.Of = int(u.int()), int(u.int()), int(u.int())
	m.Bytes, m.For = u.int(), time.Duration(u.int())
	m.Text = u.string(maxAdminText)
	return m
}

func (p *packer) shardHealth(m *AdminShard) {
	p.string(m.Bucket)
	p.string(m.Role)
	for _, n := range []int{m.Shard, m.Copies, m.Hints} {
		p.uint(uint64(n))
	}
	p.bool(m.Syncing)
	p.ids(m.Homes)
	p.array(len(m.Synced) * 2)
	for _, s := range m.Synced {
		p.id(uint64(s.ID))
		p.int(int64(s.Ago))
	}
}

func (u *unpacker) shardHealth() (m AdminShard) {
	m.Bucket, m.Role = u.string(maxName), u.string(maxShardRole)
	m.Shard, m.Copies, m.Hints = u.shard(), int(u.uintMax(MaxMembers)), int(u.uintMax(1<<48))
	m.Syncing = u.bool()
	m.Homes = u.ids(MaxMembers)
	m.Synced = listOf[AdminSynced](u, u.tuples(2, MaxMembers))
	for range cap(m.Synced) {
		m.Synced = append(m.Synced, AdminSynced{ID: u.nodeID(), Ago: time.Duration(u.int())})
	}
	return m
}
