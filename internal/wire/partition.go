package wire

import (
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// Limits of what decoders of what nodes tell each other about cuts and leaders
// accept.
const (
	MaxElectionName = 64
	MaxElections    = 64
	MaxExceptions   = 64 // of a notice's row
	MaxVoters       = 7
)

// partitionVersion is the format of all of it.
const partitionVersion = 1

// Election names an election. Scope is part of the name: elections of the same
// name and another scope are others.
type Election struct {
	Name  string
	Scope uint8
}

// ElectAsk is a candidate's request for a grant, or a leader's for its renewal.
type ElectAsk struct {
	Election   Election
	Term       uint64
	Renew      bool
	Electorate uint64
	Lease      time.Duration // whole milliseconds
	Score      uint64
}

// ElectAnswer is a voter's reply.
type ElectAnswer struct {
	Reason uint64
	Max    uint64
	Wait   time.Duration // whole milliseconds
	Holder token.Token
}

// ElectBack frees what a voter has granted the sender, for a nominee if that is
// not zero.
type ElectBack struct {
	Election Election
	Term     uint64
	Nominee  view.NodeID
}

// ElectState is what a node keeps of an election.
type ElectState struct {
	Election Election
	Max      uint64
	Grant    token.Token
	Lease    time.Duration // whole milliseconds
}

// Voters is the electorate of the elections of majority scope.
type Voters struct {
	Version uint64
	IDs     []view.NodeID // sorted
}

// Claim says that a node leads.
type Claim struct {
	Election Election
	Term     uint64
}

// Notice is what a node tells all others of itself.
type Notice struct {
	Node        view.NodeID
	Boot, Seq   uint64        // of two, that with the higher Boot, then Seq, holds
	Up          time.Duration // since the node was started; whole milliseconds
	Score       uint64
	Cloud       uint8
	Isolated    bool
	Unreachable []view.NodeID
	Standing    []Election
	Leads       []Claim
	Voters      Voters // none: not known
}

// Sum tells which notice it is.
func (n Notice) Sum() NoticeSum { return NoticeSum{n.Node, NoticeVersion{n.Boot, n.Seq}} }

// NoticeVersion tells a notice of a node from its others.
type NoticeVersion struct {
	Boot, Seq uint64
}

// NoticeSum tells which notice of a node one has.
type NoticeSum = KeySum[view.NodeID, NoticeVersion]

// NoticeSums asks a peer whose digest differs, or answers with all that one has.
type NoticeSums = TableSums[view.NodeID, NoticeVersion]

// NoticeSwap hands over notices and asks for others.
type NoticeSwap = TableSwap[view.NodeID, Notice]

func (p *packer) election(e Election) {
	p.string(e.Name)
	p.uint(uint64(e.Scope))
}

func (u *unpacker) election() (e Election) {
	e.Name = u.string(MaxElectionName)
	e.Scope = uint8(u.uintMax(255))
	if u.err == nil && e.Name == "" {
		u.fail("election without a name")
	}
	return e
}

func (p *packer) millis(d time.Duration) { p.uint(uint64(max(d, 0) / time.Millisecond)) }

func (u *unpacker) millis() time.Duration {
	return time.Duration(u.uintMax(1<<43)) * time.Millisecond
}

func (p *packer) token(t token.Token) {
	p.uint(t.Term)
	p.id(uint64(t.Node))
}

func (u *unpacker) token() (t token.Token) {
	t.Term = u.uint()
	t.Node = view.NodeID(u.uint())
	if u.err == nil && (t.Node == 0) != (t.Term == 0) {
		u.fail("half a token")
	}
	return t
}

// AppendElectAsk appends the encoding of a.
//
//	version=1, name, scope, term, renew, electorate, lease (ms), score
func AppendElectAsk(dst []byte, a ElectAsk) []byte {
	return pack(dst, func(p *packer) {
		p.uint(partitionVersion)
		p.election(a.Election)
		p.uint(a.Term)
		p.bool(a.Renew)
		p.id(a.Electorate)
		p.millis(a.Lease)
		p.uint(a.Score)
	})
}

// DecodeElectAsk reads what AppendElectAsk wrote.
func DecodeElectAsk(data []byte) (a ElectAsk, err error) {
	err = unpack(data, "request for a grant", func(u *unpacker) {
		u.version(partitionVersion)
		a.Election = u.election()
		a.Term = u.uint()
		a.Renew = u.bool()
		a.Electorate = u.uint()
		a.Lease = u.millis()
		a.Score = u.uint()
	})
	return a, err
}

// AppendElectAnswer appends the encoding of a.
//
//	version=1, reason, max, wait (ms), holder's term, holder
func AppendElectAnswer(dst []byte, a ElectAnswer) []byte {
	return pack(dst, func(p *packer) {
		p.uint(partitionVersion)
		p.uint(a.Reason)
		p.uint(a.Max)
		p.millis(a.Wait)
		p.token(a.Holder)
	})
}

// DecodeElectAnswer reads what AppendElectAnswer wrote.
func DecodeElectAnswer(data []byte) (a ElectAnswer, err error) {
	err = unpack(data, "answer of a voter", func(u *unpacker) {
		u.version(partitionVersion)
		a.Reason = u.uintMax(255)
		a.Max = u.uint()
		a.Wait = u.millis()
		a.Holder = u.token()
	})
	return a, err
}

// AppendElectBack appends the encoding of b.
//
//	version=1, name, scope, term, nominee
func AppendElectBack(dst []byte, b ElectBack) []byte {
	return pack(dst, func(p *packer) {
		p.uint(partitionVersion)
		p.election(b.Election)
		p.uint(b.Term)
		p.id(uint64(b.Nominee))
	})
}

// DecodeElectBack reads what AppendElectBack wrote.
func DecodeElectBack(data []byte) (b ElectBack, err error) {
	err = unpack(data, "grant given back", func(u *unpacker) {
		u.version(partitionVersion)
		b.Election = u.election()
		b.Term = u.uint()
		b.Nominee = view.NodeID(u.uint())
	})
	return b, err
}

// AppendElectState appends the encoding of s.
//
//	version=1, name, scope, max, grant's term, grantee, lease (ms)
func AppendElectState(dst []byte, s ElectState) []byte {
	return pack(dst, func(p *packer) {
		p.uint(partitionVersion)
		p.election(s.Election)
		p.uint(s.Max)
		p.token(s.Grant)
		p.millis(s.Lease)
	})
}

// DecodeElectState reads what AppendElectState wrote.
func DecodeElectState(data []byte) (s ElectState, err error) {
	err = unpack(data, "state of an election", func(u *unpacker) {
		u.version(partitionVersion)
		s.Election = u.election()
		s.Max = u.uint()
		s.Grant = u.token()
		s.Lease = u.millis()
		if u.err == nil && s.Grant.Term > s.Max {
			u.fail("granted term %d of at most %d", s.Grant.Term, s.Max)
		}
	})
	return s, err
}

func (p *packer) voters(v Voters) {
	p.uint(v.Version)
	p.ids(v.IDs)
}

func (u *unpacker) voters() (v Voters) {
	v.Version = u.uint()
	v.IDs = u.ids(MaxVoters)
	if u.err == nil && (v.Version == 0) != (len(v.IDs) == 0) {
		u.fail("voters without a version, or the reverse")
	}
	for i := 1; i < len(v.IDs); i++ {
		if v.IDs[i-1] >= v.IDs[i] {
			u.fail("voters not in order")
		}
	}
	return v
}

// AppendVoters appends the encoding of v as it is kept.
//
//	version=1, version of the voters, ids
func AppendVoters(dst []byte, v Voters) []byte {
	return pack(dst, func(p *packer) {
		p.uint(partitionVersion)
		p.voters(v)
	})
}

// DecodeVoters reads what AppendVoters wrote.
func DecodeVoters(data []byte) (v Voters, err error) {
	err = unpack(data, "voters", func(u *unpacker) {
		u.version(partitionVersion)
		v = u.voters()
	})
	return v, err
}

func (p *packer) notice(n *Notice) {
	p.id(uint64(n.Node))
	p.uint(n.Boot)
	p.uint(n.Seq)
	p.millis(n.Up)
	p.uint(n.Score)
	p.uint(uint64(n.Cloud))
	p.bool(n.Isolated)
	p.ids(n.Unreachable)
	p.array(len(n.Standing) * 2)
	for _, e := range n.Standing {
		p.election(e)
	}
	p.array(len(n.Leads) * 3)
	for _, c := range n.Leads {
		p.election(c.Election)
		p.uint(c.Term)
	}
	p.voters(n.Voters)
}

func (u *unpacker) notice() (n Notice) {
	n.Node = u.nodeID()
	n.Boot = u.uint()
	n.Seq = u.uint()
	n.Up = u.millis()
	n.Score = u.uint()
	n.Cloud = uint8(u.uintMax(255))
	n.Isolated = u.bool()
	n.Unreachable = u.ids(MaxExceptions)
	for range u.tuples(2, MaxElections) {
		n.Standing = append(n.Standing, u.election())
	}
	for range u.tuples(3, MaxElections) {
		n.Leads = append(n.Leads, Claim{Election: u.election(), Term: u.uint()})
	}
	n.Voters = u.voters()
	return n
}

// tuples reads the length of a flat array of tuples.
func (u *unpacker) tuples(size, limit int) int {
	n := u.array(size * limit)
	if n%size != 0 {
		u.fail("part of a tuple")
		return 0
	}
	if u.err != nil {
		return 0
	}
	return n / size
}

// AppendNoticeSums appends the encoding of s.
//
//	version=1, digest, array of: node, boot, seq
func AppendNoticeSums(dst []byte, s NoticeSums) []byte {
	return pack(dst, func(p *packer) {
		p.uint(partitionVersion)
		p.id(s.Digest)
		p.array(len(s.Sums) * 3)
		for _, n := range s.Sums {
			p.id(uint64(n.Key))
			p.uint(n.Version.Boot)
			p.uint(n.Version.Seq)
		}
	})
}

// DecodeNoticeSums reads what AppendNoticeSums wrote.
func DecodeNoticeSums(data []byte) (s NoticeSums, err error) {
	err = unpack(data, "sums of notices", func(u *unpacker) {
		u.version(partitionVersion)
		s.Digest = u.uint()
		for range u.tuples(3, MaxMembers) {
			if u.err != nil {
				return
			}
			s.Sums = append(s.Sums, NoticeSum{Key: u.nodeID(), Version: NoticeVersion{Boot: u.uint(), Seq: u.uint()}})
		}
	})
	return s, err
}

// AppendNoticeSwap appends the encoding of s.
//
//	version=1, array of notices (node, boot, seq, up (ms), score, cloud, isolated,
//	unreachable ids, flat array of name, scope, flat array of name, scope, term,
//	version of the voters, ids), array of ids wanted
func AppendNoticeSwap(dst []byte, s NoticeSwap) []byte {
	return pack(dst, func(p *packer) {
		p.uint(partitionVersion)
		p.array(len(s.Have))
		for i := range s.Have {
			p.notice(&s.Have[i])
		}
		p.ids(s.Want)
	})
}

// DecodeNoticeSwap reads what AppendNoticeSwap wrote. Of the notices it keeps those that
// wanted says yes to, in their order: a notice in memory may take 60 times the bytes that it
// came in.
func DecodeNoticeSwap(data []byte, wanted func(NoticeSum) bool) (s NoticeSwap, err error) {
	err = unpack(data, "notices", func(u *unpacker) {
		u.version(partitionVersion)
		for range u.array(MaxMembers) {
			if u.err != nil {
				return
			}
			if n := u.notice(); u.err == nil && wanted(n.Sum()) {
				s.Have = append(s.Have, n)
			}
		}
		s.Want = u.ids(MaxMembers)
	})
	return s, err
}
