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
	return pack(dst, func(p *packer) {
		p.uint(versionOf(m.Problems))
		p.bool(m.Image)
	})
}

// DecodeAdminLook reads what AppendAdminLook wrote.
func DecodeAdminLook(data []byte) (m AdminLook, err error) {
	err = unpack(data, "admin look", func(u *unpacker) {
		m.Problems = u.version(adminPartitionVersion) > adminVersion
		m.Image = u.bool()
	})
	return m, err
}

func (p *packer) time(t time.Time) { p.int(t.UnixMilli()) }

func (u *unpacker) time() time.Time { return time.UnixMilli(u.int()).UTC() }

func (p *packer) leadership(l AdminLeadership, problems bool) {
	p.election(l.Election)
	p.token(l.Token)
	p.bool(l.Here)
	if problems {
		p.string(l.Problem[:min(len(l.Problem), maxAdminText)])
	}
}

func (u *unpacker) leadership(problems bool) AdminLeadership {
	l := AdminLeadership{Election: u.election(), Token: u.token(), Here: u.bool()}
	if problems {
		l.Problem = u.string(maxAdminText)
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
	return pack(dst, func(p *packer) {
		p.uint(versionOf(m.Problems))
		p.id(uint64(m.Node))
		p.ids(m.Component)
		for _, n := range []uint64{m.Members, m.Storing, m.Reached, uint64(m.Situation)} {
			p.uint(n)
		}
		p.time(m.Since)
		p.ids(m.Lost)
		p.ids(m.Unmet)
		p.lines(m.Evidence)
		p.array(len(m.Verdicts) * 4)
		for _, v := range m.Verdicts {
			p.id(uint64(v.Node))
			p.uint(uint64(v.Cause))
			p.time(v.At)
			p.millis(v.Outage)
		}
		p.leadership(m.Leader, m.Problems)
		p.array(len(m.Elections))
		for _, l := range m.Elections {
			p.leadership(l, m.Problems)
		}
		p.ids(m.Voters)
		p.uint(uint64(m.Cloud))
		p.uint(uint64(m.Mode))
		p.time(m.ModeSince)
		p.array(len(m.Merges) * 3)
		for _, g := range m.Merges {
			p.time(g.At)
			p.ids(g.Met)
			p.string(g.Text[:min(len(g.Text), maxAdminText)])
		}
		p.string(m.Text)
		p.bytes(m.Image)
	})
}

// DecodeAdminPartition reads what AppendAdminPartition wrote.
func DecodeAdminPartition(data []byte) (m AdminPartition, err error) {
	err = unpack(data, "admin partition", func(u *unpacker) {
		m.Problems = u.version(adminPartitionVersion) > adminVersion
		m.Node = u.nodeID()
		m.Component = u.ids(MaxMembers)
		m.Members, m.Storing, m.Reached = u.uintMax(MaxMembers), u.uintMax(MaxMembers), u.uintMax(MaxMembers)
		m.Situation = uint8(u.uintMax(255))
		m.Since = u.time()
		m.Lost, m.Unmet = u.ids(MaxMembers), u.ids(MaxMembers)
		m.Evidence = u.lines()
		for range u.tuples(4, maxAdminReports) {
			m.Verdicts = append(m.Verdicts, AdminVerdict{Node: u.nodeID(), Cause: uint8(u.uintMax(255)), At: u.time(), Outage: u.millis()})
		}
		m.Leader = u.leadership(m.Problems)
		for range u.array(maxAdminElections) {
			if u.err != nil {
				return
			}
			m.Elections = append(m.Elections, u.leadership(m.Problems))
		}
		m.Voters = u.ids(MaxMembers)
		m.Cloud, m.Mode = uint8(u.uintMax(255)), uint8(u.uintMax(255))
		m.ModeSince = u.time()
		for range u.tuples(3, maxAdminReports) {
			m.Merges = append(m.Merges, AdminMerge{At: u.time(), Met: u.ids(MaxMembers), Text: u.string(maxAdminText)})
		}
		m.Text = u.string(maxAdminDrawing)
		m.Image = u.bytes(maxAdminDrawing)
	})
	return m, err
}
