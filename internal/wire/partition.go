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

// Stand says that a node stands for an election, and how much it is preferred for it.
type Stand struct {
	Election   Election
	Preference uint32
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
	Standing    []Stand
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

func (e *Election) codeFields(c *codec) {
	c.codeText(&e.Name, MaxElectionName)
	codeBounded(c, &e.Scope, 255)
	if e.Name == "" {
		c.failWith("election without a name")
	}
}

func (c *codec) codeToken(t *token.Token) {
	c.codeNumber(&t.Term)
	c.codeWide((*uint64)(&t.Node))
	if (t.Node == 0) != (t.Term == 0) {
		c.failWith("half a token")
	}
}

func (a *ElectAsk) codeFields(c *codec) {
	c.codeVersion(partitionVersion)
	a.Election.codeFields(c)
	c.codeNumber(&a.Term)
	c.codeFlag(&a.Renew)
	c.codeWide(&a.Electorate)
	c.codeMillis(&a.Lease)
	c.codeNumber(&a.Score)
}

// AppendElectAsk appends the encoding of a.
func AppendElectAsk(dst []byte, a ElectAsk) []byte {
	return appendFields(dst, &a, (*ElectAsk).codeFields)
}

// DecodeElectAsk reads what AppendElectAsk wrote.
func DecodeElectAsk(data []byte) (ElectAsk, error) {
	return readFields(data, "request for a grant", (*ElectAsk).codeFields)
}

func (a *ElectAnswer) codeFields(c *codec) {
	c.codeVersion(partitionVersion)
	codeBounded(c, &a.Reason, 255)
	c.codeNumber(&a.Max)
	c.codeMillis(&a.Wait)
	c.codeToken(&a.Holder)
}

// AppendElectAnswer appends the encoding of a.
func AppendElectAnswer(dst []byte, a ElectAnswer) []byte {
	return appendFields(dst, &a, (*ElectAnswer).codeFields)
}

// DecodeElectAnswer reads what AppendElectAnswer wrote.
func DecodeElectAnswer(data []byte) (ElectAnswer, error) {
	return readFields(data, "answer of a voter", (*ElectAnswer).codeFields)
}

func (b *ElectBack) codeFields(c *codec) {
	c.codeVersion(partitionVersion)
	b.Election.codeFields(c)
	c.codeNumber(&b.Term)
	c.codeWide((*uint64)(&b.Nominee))
}

// AppendElectBack appends the encoding of b.
func AppendElectBack(dst []byte, b ElectBack) []byte {
	return appendFields(dst, &b, (*ElectBack).codeFields)
}

// DecodeElectBack reads what AppendElectBack wrote.
func DecodeElectBack(data []byte) (ElectBack, error) {
	return readFields(data, "grant given back", (*ElectBack).codeFields)
}

func (s *ElectState) codeFields(c *codec) {
	c.codeVersion(partitionVersion)
	s.Election.codeFields(c)
	c.codeNumber(&s.Max)
	c.codeToken(&s.Grant)
	c.codeMillis(&s.Lease)
	if s.Grant.Term > s.Max {
		c.failWith("granted term %d of at most %d", s.Grant.Term, s.Max)
	}
}

// AppendElectState appends the encoding of s.
func AppendElectState(dst []byte, s ElectState) []byte {
	return appendFields(dst, &s, (*ElectState).codeFields)
}

// DecodeElectState reads what AppendElectState wrote.
func DecodeElectState(data []byte) (ElectState, error) {
	return readFields(data, "state of an election", (*ElectState).codeFields)
}

// fields describes v as it stands in a notice.
func (v *Voters) codeFields(c *codec) {
	c.codeNumber(&v.Version)
	c.codeRisingIDs(&v.IDs, MaxVoters)
	if (v.Version == 0) != (len(v.IDs) == 0) {
		c.failWith("voters without a version, or the reverse")
	}
}

func (v *Voters) keptFields(c *codec) {
	c.codeVersion(partitionVersion)
	v.codeFields(c)
}

// AppendVoters appends the encoding of v as it is kept.
func AppendVoters(dst []byte, v Voters) []byte {
	return appendFields(dst, &v, (*Voters).keptFields)
}

// DecodeVoters reads what AppendVoters wrote.
func DecodeVoters(data []byte) (Voters, error) {
	return readFields(data, "voters", (*Voters).keptFields)
}

func (n *Notice) codeFields(c *codec) {
	c.codeNodeID(&n.Node)
	c.codeNumber(&n.Boot)
	c.codeNumber(&n.Seq)
	c.codeMillis(&n.Up)
	c.codeNumber(&n.Score)
	codeBounded(c, &n.Cloud, 255)
	c.codeFlag(&n.Isolated)
	c.codeNodeIDs(&n.Unreachable, MaxExceptions)
	codeStanding(c, &n.Standing)
	for i := range codeList(c, &n.Leads, 3, MaxElections) {
		n.Leads[i].Election.codeFields(c)
		c.codeNumber(&n.Leads[i].Term)
	}
	n.Voters.codeFields(c)
}

func noticeSumsFields(s *NoticeSums, c *codec) {
	c.codeVersion(partitionVersion)
	c.codeWide(&s.Digest)
	for i := range codeList(c, &s.Sums, 3, MaxMembers) {
		n := &s.Sums[i]
		c.codeNodeID(&n.Key)
		c.codeNumber(&n.Version.Boot)
		c.codeNumber(&n.Version.Seq)
	}
}

// AppendNoticeSums appends the encoding of s.
func AppendNoticeSums(dst []byte, s NoticeSums) []byte {
	return appendFields(dst, &s, noticeSumsFields)
}

// DecodeNoticeSums reads what AppendNoticeSums wrote.
func DecodeNoticeSums(data []byte) (NoticeSums, error) {
	return readFields(data, "sums of notices", noticeSumsFields)
}

// noticeSwap is a NoticeSwap of which those notices are kept that wanted says yes to.
type noticeSwap struct {
	NoticeSwap
	wanted func(NoticeSum) bool // in reading
}

func (s *noticeSwap) codeFields(c *codec) {
	c.codeVersion(partitionVersion)
	c.factor = looseFactor
	n := len(s.Have)
	c.codeArrayLen(&n, MaxMembers)
	for i := range n {
		if !c.reading {
			s.Have[i].codeFields(c)
			continue
		}
		var read Notice
		read.codeFields(c)
		if c.err != nil {
			return
		}
		if s.wanted(read.Sum()) {
			s.Have = append(s.Have, read)
		}
	}
	c.codeNodeIDs(&s.Want, MaxMembers)
}

// AppendNoticeSwap appends the encoding of s.
func AppendNoticeSwap(dst []byte, s NoticeSwap) []byte {
	return appendFields(dst, &noticeSwap{NoticeSwap: s}, (*noticeSwap).codeFields)
}

// DecodeNoticeSwap reads what AppendNoticeSwap wrote. Of the notices it keeps those that
// wanted says yes to, in their order: a notice in memory may take 60 times the bytes that it
// came in.
func DecodeNoticeSwap(data []byte, wanted func(NoticeSum) bool) (NoticeSwap, error) {
	s, err := readFields(data, "notices", func(s *noticeSwap, c *codec) {
		s.wanted = wanted
		s.codeFields(c)
	})
	return s.NoticeSwap, err
}
