package wire

import (
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// MethodAdminPartition is the call by which a program that is no node asks what a
// node knows of cuts and leaders: AdminLook -> AdminPartition. It is part of the
// protocol.
const MethodAdminPartition = "admin/partition"

const (
	maxAdminDrawing   = 1 << 24 // of text, and of an image
	maxAdminElections = 1 << 16
	maxAdminReports   = 1 << 10
)

// AdminLook says what is wanted besides the status.
type AdminLook struct {
	Image    bool
	Problems bool // what is wrong with each election; from version 2 on
	Scored   bool // the scores of nodes, and Problems; from version 3 on
	Stands   bool // who stands, and all that is above; from version 4 on
}

// AdminPartition is what a node knows of cuts and leaders. Enumerations are those
// of package partition; times are whole milliseconds.
type AdminPartition struct {
	Node                      view.NodeID
	Component                 []view.NodeID
	Members, Storing, Reached uint64
	Situation                 uint8
	Since                     time.Time // UTC
	Lost, Unmet               []view.NodeID
	Evidence                  []string
	Verdicts                  []AdminVerdict
	Leader                    AdminLeadership
	Elections                 []AdminLeadership
	Voters                    []view.NodeID
	Cloud, Mode               uint8
	ModeSince                 time.Time // UTC
	Merges                    []AdminMerge
	Text                      string // the drawing, for a terminal
	Image                     []byte // the drawing as SVG; empty: not asked for
	Problems                  bool   // leaderships tell of theirs; version 2
	Scored                    bool   // there are Scores, and Problems; version 3
	Stands                    bool   // leaderships tell who stands, and all that is above; version 4
	Scores                    []AdminScore
}

// AdminScore is how fit a node says it is to lead.
type AdminScore struct {
	Node  view.NodeID
	Score uint64
}

// AdminVerdict is what a member that is back went through.
type AdminVerdict struct {
	Node   view.NodeID
	Cause  uint8
	At     time.Time // UTC
	Outage time.Duration
}

// AdminLeadership is who leads an election; a zero Token: nobody is known to.
type AdminLeadership struct {
	Election Election
	Token    token.Token
	Here     bool
	Problem  string // at most 4 KiB
	Stands   []AdminCandidate
}

// AdminCandidate is who stands for an election, and how much it is preferred.
type AdminCandidate struct {
	Node       view.NodeID
	Preference uint32
}

// AdminMerge is what came together when members were met again.
type AdminMerge struct {
	At   time.Time // UTC
	Met  []view.NodeID
	Text string // at most 4 KiB
}

// What nodes of this release understand is adminPartitionStands and all before. They answer in
// the version in which they are asked.
const (
	adminPartitionProblems = 2
	adminPartitionScored   = 3
	adminPartitionStands   = 4
)

// codePartitionVersion describes the version, by what there is from it on.
func (c *codec) codePartitionVersion(problems, scored, stands *bool) {
	version := uint64(adminVersion)
	switch {
	case *stands:
		version = adminPartitionStands
	case *scored:
		version = adminPartitionScored
	case *problems:
		version = adminPartitionProblems
	}
	if c.codeVersionUpTo(&version, adminPartitionStands); c.reading {
		*problems, *scored, *stands = version >= adminPartitionProblems, version >= adminPartitionScored, version >= adminPartitionStands
	}
}

func (m *AdminLook) codeFields(c *codec) {
	c.codePartitionVersion(&m.Problems, &m.Scored, &m.Stands)
	c.codeFlag(&m.Image)
}

// AppendAdminLook appends the encoding of m.
func AppendAdminLook(dst []byte, m AdminLook) []byte {
	return appendFields(dst, &m, (*AdminLook).codeFields)
}

// DecodeAdminLook reads what AppendAdminLook wrote.
func DecodeAdminLook(data []byte) (AdminLook, error) {
	return readFields(data, "admin look", (*AdminLook).codeFields)
}

func (l *AdminLeadership) codeFields(c *codec, problems, stands bool) {
	l.Election.codeFields(c)
	c.codeToken(&l.Token)
	c.codeFlag(&l.Here)
	if problems {
		c.codeLine(&l.Problem)
	}
	if !stands {
		return
	}
	for i := range codeList(c, &l.Stands, 2, MaxMembers) {
		c.codeNodeID(&l.Stands[i].Node)
		codeBounded(c, &l.Stands[i].Preference, 1<<32-1)
	}
}

func (m *AdminPartition) codeFields(c *codec) {
	c.factor = looseFactor
	c.codePartitionVersion(&m.Problems, &m.Scored, &m.Stands)
	scored := m.Scored || m.Stands
	problems := m.Problems || scored
	c.codeNodeID(&m.Node)
	c.codeNodeIDs(&m.Component, MaxMembers)
	codeBounded(c, &m.Members, MaxMembers)
	codeBounded(c, &m.Storing, MaxMembers)
	codeBounded(c, &m.Reached, MaxMembers)
	codeBounded(c, &m.Situation, 255)
	c.codeMoment(&m.Since)
	c.codeNodeIDs(&m.Lost, MaxMembers)
	c.codeNodeIDs(&m.Unmet, MaxMembers)
	c.codeLines(&m.Evidence, maxAdminLines)
	for i := range codeList(c, &m.Verdicts, 4, maxAdminReports) {
		v := &m.Verdicts[i]
		c.codeNodeID(&v.Node)
		codeBounded(c, &v.Cause, 255)
		c.codeMoment(&v.At)
		c.codeMillis(&v.Outage)
	}
	m.Leader.codeFields(c, problems, m.Stands)
	for i := range codeList(c, &m.Elections, 1, maxAdminElections) {
		m.Elections[i].codeFields(c, problems, m.Stands)
	}
	c.codeNodeIDs(&m.Voters, MaxMembers)
	codeBounded(c, &m.Cloud, 255)
	codeBounded(c, &m.Mode, 255)
	c.codeMoment(&m.ModeSince)
	for i := range codeList(c, &m.Merges, 3, maxAdminReports) {
		c.codeMoment(&m.Merges[i].At)
		c.codeNodeIDs(&m.Merges[i].Met, MaxMembers)
		c.codeLine(&m.Merges[i].Text)
	}
	c.codeText(&m.Text, maxAdminDrawing)
	c.codeBytes(&m.Image, maxAdminDrawing)
	if !scored {
		return
	}
	for i := range codeList(c, &m.Scores, 2, MaxMembers) {
		c.codeNodeID(&m.Scores[i].Node)
		c.codeNumber(&m.Scores[i].Score)
	}
}

// AppendAdminPartition appends the encoding of m.
func AppendAdminPartition(dst []byte, m *AdminPartition) []byte {
	return appendFields(dst, m, (*AdminPartition).codeFields)
}

// DecodeAdminPartition reads what AppendAdminPartition wrote.
func DecodeAdminPartition(data []byte) (AdminPartition, error) {
	return readFields(data, "admin partition", (*AdminPartition).codeFields)
}
