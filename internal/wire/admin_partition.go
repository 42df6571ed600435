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

func versionOf(problems bool) uint64 {
	if problems {
		return adminPartitionVersion
	}
	return adminVersion
}

// AppendAdminLook appends the encoding of m.
//
//	version=1, or 2: with problems; image
func AppendAdminLook(dst []byte, m AdminLook) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(versionOf(m.Problems))
		p.writeBool(m.Image)
	})
}

// DecodeAdminLook reads what AppendAdminLook wrote.
func DecodeAdminLook(data []byte) (m AdminLook, err error) {
	err = unpackWhole(data, "admin look", func(u *unpacker) {
		m.Problems = u.readVersion(adminPartitionVersion) > adminVersion
		m.Image = u.readBool()
	})
	return m, err
}

func (p *packer) writeTime(t time.Time) { p.writeInt(t.UnixMilli()) }

func (u *unpacker) readTime() time.Time { return time.UnixMilli(u.readInt()).UTC() }

func (p *packer) writeLeadership(l AdminLeadership, problems bool) {
	p.writeElection(l.Election)
	p.writeToken(l.Token)
	p.writeBool(l.Here)
	if problems {
		p.writeString(l.Problem[:min(len(l.Problem), maxAdminText)])
	}
}

func (u *unpacker) readLeadership(problems bool) AdminLeadership {
	l := AdminLeadership{Election: u.readElection(), Token: u.readToken(), Here: u.readBool()}
	if problems {
		l.Problem = u.readString(maxAdminText)
	}
	return l
}

// AppendAdminPartition appends the encoding of m.
//
//	version=1 or 2, node, component ids, members, storing, reached, situation, since
//	(ms), lost ids, unmet ids, evidence, flat array of node, cause, at (ms),
//	outage (ms), leadership, array of leaderships (name, scope, term, node,
//	here, from version 2 on problem), voters' ids, cloud, mode, since (ms), flat array of at (ms), met ids,
//	text, then text and image of the drawing
func AppendAdminPartition(dst []byte, m *AdminPartition) []byte {
	return appendPacked(dst, func(p *packer) {
		p.writeUint(versionOf(m.Problems))
		p.writeID(uint64(m.Node))
		p.writeNodeIDs(m.Component)
		for _, n := range []uint64{m.Members, m.Storing, m.Reached, uint64(m.Situation)} {
			p.writeUint(n)
		}
		p.writeTime(m.Since)
		p.writeNodeIDs(m.Lost)
		p.writeNodeIDs(m.Unmet)
		p.writeLines(m.Evidence)
		p.writeArrayLen(len(m.Verdicts) * 4)
		for _, v := range m.Verdicts {
			p.writeID(uint64(v.Node))
			p.writeUint(uint64(v.Cause))
			p.writeTime(v.At)
			p.writeMillis(v.Outage)
		}
		p.writeLeadership(m.Leader, m.Problems)
		p.writeArrayLen(len(m.Elections))
		for _, l := range m.Elections {
			p.writeLeadership(l, m.Problems)
		}
		p.writeNodeIDs(m.Voters)
		p.writeUint(uint64(m.Cloud))
		p.writeUint(uint64(m.Mode))
		p.writeTime(m.ModeSince)
		p.writeArrayLen(len(m.Merges) * 3)
		for _, g := range m.Merges {
			p.writeTime(g.At)
			p.writeNodeIDs(g.Met)
			p.writeString(g.Text[:min(len(g.Text), maxAdminText)])
		}
		p.writeString(m.Text)
		p.writeBytes(m.Image)
	})
}

// DecodeAdminPartition reads what AppendAdminPartition wrote.
func DecodeAdminPartition(data []byte) (m AdminPartition, err error) {
	err = unpackWhole(data, "admin partition", func(u *unpacker) {
		m.Problems = u.readVersion(adminPartitionVersion) > adminVersion
		m.Node = u.readNodeID()
		m.Component = u.readNodeIDs(MaxMembers)
		m.Members, m.Storing, m.Reached = u.readUintMax(MaxMembers), u.readUintMax(MaxMembers), u.readUintMax(MaxMembers)
		m.Situation = uint8(u.readUintMax(255))
		m.Since = u.readTime()
		m.Lost, m.Unmet = u.readNodeIDs(MaxMembers), u.readNodeIDs(MaxMembers)
		m.Evidence = u.readLines()
		for range u.readTuplesLen(4, maxAdminReports) {
			m.Verdicts = append(m.Verdicts, AdminVerdict{Node: u.readNodeID(), Cause: uint8(u.readUintMax(255)), At: u.readTime(), Outage: u.readMillis()})
		}
		m.Leader = u.readLeadership(m.Problems)
		for range u.readArrayLen(maxAdminElections) {
			if u.err != nil {
				return
			}
			m.Elections = append(m.Elections, u.readLeadership(m.Problems))
		}
		m.Voters = u.readNodeIDs(MaxMembers)
		m.Cloud, m.Mode = uint8(u.readUintMax(255)), uint8(u.readUintMax(255))
		m.ModeSince = u.readTime()
		for range u.readTuplesLen(3, maxAdminReports) {
			m.Merges = append(m.Merges, AdminMerge{At: u.readTime(), Met: u.readNodeIDs(MaxMembers), Text: u.readString(maxAdminText)})
		}
		m.Text = u.readString(maxAdminDrawing)
		m.Image = u.readBytes(maxAdminDrawing)
	})
	return m, err
}
