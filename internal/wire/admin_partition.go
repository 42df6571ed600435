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
}

// AdminMerge is what came together when members were met again.
type AdminMerge struct {
	At   time.Time // UTC
	Met  []view.NodeID
	Text string // at most 4 KiB
}

// adminPartitionVersion is what nodes of this release understand. They answer in the
// version in which they are asked.
const adminPartitionVersion = 2

func (m *AdminLook) fields(c *codec) {
	m.Problems = c.eitherVersion(adminVersion, adminPartitionVersion, m.Problems)
	c.flag(&m.Image)
}

// AppendAdminLook appends the encoding of m.
func AppendAdminLook(dst []byte, m AdminLook) []byte {
	return appendFields(dst, &m, (*AdminLook).fields)
}

// DecodeAdminLook reads what AppendAdminLook wrote.
func DecodeAdminLook(data []byte) (AdminLook, error) {
	return readFields(data, "admin look", (*AdminLook).fields)
}

func (l *AdminLeadership) fields(c *codec, problems bool) {
	l.Election.fields(c)
	c.token(&l.Token)
	c.flag(&l.Here)
	if problems {
		c.line(&l.Problem)
	}
}

func (m *AdminPartition) fields(c *codec) {
	c.factor = looseFactor
	problems := c.eitherVersion(adminVersion, adminPartitionVersion, m.Problems)
	if c.reading {
		m.Problems = problems
	}
	c.nodeID(&m.Node)
	c.nodeIDs(&m.Component, MaxMembers)
	bounded(c, &m.Members, MaxMembers)
	bounded(c, &m.Storing, MaxMembers)
	bounded(c, &m.Reached, MaxMembers)
	bounded(c, &m.Situation, 255)
	c.moment(&m.Since)
	c.nodeIDs(&m.Lost, MaxMembers)
	c.nodeIDs(&m.Unmet, MaxMembers)
	c.lines(&m.Evidence, maxAdminLines)
	for i := range listOf(c, &m.Verdicts, 4, maxAdminReports) {
		v := &m.Verdicts[i]
		c.nodeID(&v.Node)
		bounded(c, &v.Cause, 255)
		c.moment(&v.At)
		c.millis(&v.Outage)
	}
	m.Leader.fields(c, problems)
	for i := range listOf(c, &m.Elections, 1, maxAdminElections) {
		m.Elections[i].fields(c, problems)
	}
	c.nodeIDs(&m.Voters, MaxMembers)
	bounded(c, &m.Cloud, 255)
	bounded(c, &m.Mode, 255)
	c.moment(&m.ModeSince)
	for i := range listOf(c, &m.Merges, 3, maxAdminReports) {
		c.moment(&m.Merges[i].At)
		c.nodeIDs(&m.Merges[i].Met, MaxMembers)
		c.line(&m.Merges[i].Text)
	}
	c.text(&m.Text, maxAdminDrawing)
	c.bytes(&m.Image, maxAdminDrawing)
}

// AppendAdminPartition appends the encoding of m.
func AppendAdminPartition(dst []byte, m *AdminPartition) []byte {
	return appendFields(dst, m, (*AdminPartition).fields)
}

// DecodeAdminPartition reads what AppendAdminPartition wrote.
func DecodeAdminPartition(data []byte) (AdminPartition, error) {
	return readFields(data, "admin partition", (*AdminPartition).fields)
}
