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

func (p *packer) writeElection(e Election) {
	p.writeString(e.Name)
	p.writeUint(uint64(e.Scope))
}

func (u *unpacker) readElection() (e Election) {
	e.Name = u.readString(MaxElectionName)
	e.Scope = uint8(u.readUintMax(255))
	if u.err == nil && e.Name == "" {
		u.failWith("election without a name")
	}
	return e
}

func (p *packer) writeMillis(d time.Duration) { p.writeUint(uint64(max(d, 0) / time.Millisecond)) }

func (u *unpacker) readMillis() time.Duration {
	return time.Duration(u.readUintMax(1<<43)) * time.Millisecond
}

func (p *packer) writeToken(t token.Token) {
	p.writeUint(t.Term)
	p.writeID(uint64(t.Node))
}

func (u *unpacker) readToken() (t token.Token) {
	t.Term = u.readUint()
	t.Node = view.NodeID(u.readUint())
	if u.err == nil && (t.Node == 0) != (t.Term == 0) {
		u.failWith("half a token")
	}
	return t
}

// AppendElectAsk appends the encoding of a.
//
//	version=1, name, scope, term, renew, electorate, lease (ms), score
func AppendElectAsk(dst []byte, a ElectAsk) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(partitionVersion)
		p.writeElection(a.Election)
		p.writeUint(a.Term)
		p.writeBool(a.Renew)
		p.writeID(a.Electorate)
		p.writeMillis(a.Lease)
		p.writeUint(a.Score)
	})
}

// DecodeElectAsk reads what AppendElectAsk wrote.
func DecodeElectAsk(data []byte) (a ElectAsk, err error) {
	err = unpackWhole(data, "request for a grant", func(u *unpacker) {
		u.readVersion(partitionVersion)
		a.Election = u.readElection()
		a.Term = u.readUint()
		a.Renew = u.readBool()
		a.Electorate = u.readUint()
		a.Lease = u.readMillis()
		a.Score = u.readUint()
	})
	return a, err
}

// AppendElectAnswer appends the encoding of a.
//
//	version=1, reason, max, wait (ms), holder's term, holder
func AppendElectAnswer(dst []byte, a ElectAnswer) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(partitionVersion)
		p.writeUint(a.Reason)
		p.writeUint(a.Max)
		p.writeMillis(a.Wait)
		p.writeToken(a.Holder)
	})
}

// DecodeElectAnswer reads what AppendElectAnswer wrote.
func DecodeElectAnswer(data []byte) (a ElectAnswer, err error) {
	err = unpackWhole(data, "answer of a voter", func(u *unpacker) {
		u.readVersion(partitionVersion)
		a.Reason = u.readUintMax(255)
		a.Max = u.readUint()
		a.Wait = u.readMillis()
		a.Holder = u.readToken()
	})
	return a, err
}

// AppendElectBack appends the encoding of b.
//
//	version=1, name, scope, term, nominee
func AppendElectBack(dst []byte, b ElectBack) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(partitionVersion)
		p.writeElection(b.Election)
		p.writeUint(b.Term)
		p.writeID(uint64(b.Nominee))
	})
}

// DecodeElectBack reads what AppendElectBack wrote.
func DecodeElectBack(data []byte) (b ElectBack, err error) {
	err = unpackWhole(data, "grant given back", func(u *unpacker) {
		u.readVersion(partitionVersion)
		b.Election = u.readElection()
		b.Term = u.readUint()
		b.Nominee = view.NodeID(u.readUint())
	})
	return b, err
}

// AppendElectState appends the encoding of s.
//
//	version=1, name, scope, max, grant's term, grantee, lease (ms)
func AppendElectState(dst []byte, s ElectState) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(partitionVersion)
		p.writeElection(s.Election)
		p.writeUint(s.Max)
		p.writeToken(s.Grant)
		p.writeMillis(s.Lease)
	})
}

// DecodeElectState reads what AppendElectState wrote.
func DecodeElectState(data []byte) (s ElectState, err error) {
	err = unpackWhole(data, "state of an election", func(u *unpacker) {
		u.readVersion(partitionVersion)
		s.Election = u.readElection()
		s.Max = u.readUint()
		s.Grant = u.readToken()
		s.Lease = u.readMillis()
		if u.err == nil && s.Grant.Term > s.Max {
			u.failWith("granted term %d of at most %d", s.Grant.Term, s.Max)
		}
	})
	return s, err
}

func (p *packer) writeVoters(v Voters) {
	p.writeUint(v.Version)
	p.writeNodeIDs(v.IDs)
}

func (u *unpacker) readVoters() (v Voters) {
	v.Version = u.readUint()
	v.IDs = u.readNodeIDs(MaxVoters)
	if u.err == nil && (v.Version == 0) != (len(v.IDs) == 0) {
		u.failWith("voters without a version, or the reverse")
	}
	for i := 1; i < len(v.IDs); i++ {
		if v.IDs[i-1] >= v.IDs[i] {
			u.failWith("voters not in order")
		}
	}
	return v
}

// AppendVoters appends the encoding of v as it is kept.
//
//	version=1, version of the voters, ids
func AppendVoters(dst []byte, v Voters) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(partitionVersion)
		p.writeVoters(v)
	})
}

// DecodeVoters reads what AppendVoters wrote.
func DecodeVoters(data []byte) (v Voters, err error) {
	err = unpackWhole(data, "voters", func(u *unpacker) {
		u.readVersion(partitionVersion)
		v = u.readVoters()
	})
	return v, err
}

func (p *packer) writeNotice(n *Notice) {
	p.writeID(uint64(n.Node))
	p.writeUint(n.Boot)
	p.writeUint(n.Seq)
	p.writeMillis(n.Up)
	p.writeUint(n.Score)
	p.writeUint(uint64(n.Cloud))
	p.writeBool(n.Isolated)
	p.writeNodeIDs(n.Unreachable)
	p.writeArrayLen(len(n.Standing) * 2)
	for _, e := range n.Standing {
		p.writeElection(e)
	}
	p.writeArrayLen(len(n.Leads) * 3)
	for _, c := range n.Leads {
		p.writeElection(c.Election)
		p.writeUint(c.Term)
	}
	p.writeVoters(n.Voters)
}

func (u *unpacker) readNotice() (n Notice) {
	n.Node = u.readNodeID()
	n.Boot = u.readUint()
	n.Seq = u.readUint()
	n.Up = u.readMillis()
	n.Score = u.readUint()
	n.Cloud = uint8(u.readUintMax(255))
	n.Isolated = u.readBool()
	n.Unreachable = u.readNodeIDs(MaxExceptions)
	for range u.readTuplesLen(2, MaxElections) {
		n.Standing = append(n.Standing, u.readElection())
	}
	for range u.readTuplesLen(3, MaxElections) {
		n.Leads = append(n.Leads, Claim{Election: u.readElection(), Term: u.readUint()})
	}
	n.Voters = u.readVoters()
	return n
}

// readTuplesLen reads the length of a flat array of tuples.
func (u *unpacker) readTuplesLen(size, limit int) int {
	n := u.readArrayLen(size * limit)
	if n%size != 0 {
		u.failWith("part of a tuple")
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
	return appendPacked(dst, func(p *packer) {
		p.writeUint(partitionVersion)
		p.writeID(s.Digest)
		p.writeArrayLen(len(s.Sums) * 3)
		for _, n := range s.Sums {
			p.writeID(uint64(n.Key))
			p.writeUint(n.Version.Boot)
			p.writeUint(n.Version.Seq)
		}
	})
}

// DecodeNoticeSums reads what AppendNoticeSums wrote.
func DecodeNoticeSums(data []byte) (s NoticeSums, err error) {
	err = unpackWhole(data, "sums of notices", func(u *unpacker) {
		u.readVersion(partitionVersion)
		s.Digest = u.readUint()
		for range u.readTuplesLen(3, MaxMembers) {
			if u.err != nil {
				return
			}
			s.Sums = append(s.Sums, NoticeSum{Key: u.readNodeID(), Version: NoticeVersion{Boot: u.readUint(), Seq: u.readUint()}})
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
	return appendPacked(dst, func(p *packer) {
		p.writeUint(partitionVersion)
		p.writeArrayLen(len(s.Have))
		for i := range s.Have {
			p.writeNotice(&s.Have[i])
		}
		p.writeNodeIDs(s.Want)
	})
}

// DecodeNoticeSwap reads what AppendNoticeSwap wrote. Of the notices it keeps those that
// wanted says yes to, in their order: a notice in memory may take 60 times the bytes that it
// came in.
func DecodeNoticeSwap(data []byte, wanted func(NoticeSum) bool) (s NoticeSwap, err error) {
	err = unpackWhole(data, "notices", func(u *unpacker) {
		u.readVersion(partitionVersion)
		for range u.readArrayLen(MaxMembers) {
			if u.err != nil {
				return
			}
			if n := u.readNotice(); u.err == nil && wanted(n.Sum()) {
				s.Have = append(s.Have, n)
			}
		}
		s.Want = u.readNodeIDs(MaxMembers)
	})
	return s, err
}
