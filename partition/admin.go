package partition

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/skeinmesh/skein/internal/mode/draw"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Caller asks a node. *mesh.Client is one.
type Caller interface {
	// Call sends req to the node's handler of that method and returns its
	// answer, which is the caller's.
	Call(ctx context.Context, method string, req []byte) ([]byte, error)
}

// Report is what a node tells a program that is no node.
type Report struct {
	Status Status // times are whole milliseconds, in UTC
	Text   string // as Partition.Text returns it
}

// Inspect asks a node, which must allow admin requests, for its Status and the
// drawing of it. The error is that of the Caller: mesh.ErrNoHandler if the node
// opens no Partition.
func Inspect(ctx context.Context, node Caller) (Report, error) {
	m, err := requestReport(ctx, node, wire.AdminLook{})
	if err != nil {
		return Report{}, err
	}
	return Report{Status: statusOf(&m), Text: m.Text}, nil
}

// Draw asks a node for the drawing that Partition.SVG returns, which is the
// caller's. The errors are those of Inspect.
func Draw(ctx context.Context, node Caller) (svg []byte, err error) {
	m, err := requestReport(ctx, node, wire.AdminLook{Image: true})
	return m.Image, err
}

func requestReport(ctx context.Context, node Caller, l wire.AdminLook) (m wire.AdminPartition, err error) {
	var answer []byte
	for _, ask := range []wire.AdminLook{
		{Image: l.Image, Problems: true, Scored: true, Stands: true}, {Image: l.Image, Problems: true, Scored: true}, {Image: l.Image, Problems: true}, {Image: l.Image},
	} {
		answer, err = node.Call(ctx, wire.MethodAdminPartition, wire.AppendAdminLook(nil, ask))
		if err == nil || ctx.Err() != nil {
			break // else an earlier release may not understand that
		}
	}
	if err != nil {
		return m, err
	}
	if m, err = wire.DecodeAdminPartition(answer); err != nil {
		return m, fmt.Errorf("partition: answer to %s: %w", wire.MethodAdminPartition, err)
	}
	return m, nil
}

// serveInspect answers programs that are no nodes. Whether it is asked at all is
// for the mesh to decide.
func (p *Partition) serveInspect(_ context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	l, err := wire.DecodeAdminLook(req)
	if err != nil {
		return nil, err
	}
	s := p.outlook.lastLook.Load()
	picture := s.makePicture()
	m := messageOf(&s.status)
	m.Text, m.Problems, m.Scored, m.Stands = draw.Text(picture), l.Problems, l.Scored, l.Stands
	if l.Image {
		m.Image = draw.SVG(picture)
	}
	return wire.AppendAdminPartition(nil, &m), nil
}

func messageOf(s *Status) wire.AdminPartition {
	m := wire.AdminPartition{
		Node: s.Node, Component: s.Component, Members: uint64(s.Members), Storing: uint64(s.Storing), Reached: uint64(s.Reached),
		Situation: uint8(s.Situation), Since: s.Since, Lost: s.Lost, Unmet: s.Unmet, Evidence: s.Evidence,
		Leader: s.Leader.toMessage(), Voters: s.Voters, Cloud: uint8(s.Cloud), Mode: uint8(s.Mode), ModeSince: s.ModeSince,
	}
	for _, v := range s.Verdicts {
		m.Verdicts = append(m.Verdicts, wire.AdminVerdict{Node: v.Node, Cause: uint8(v.Cause), At: v.At, Outage: v.Outage})
	}
	for _, l := range s.Elections {
		m.Elections = append(m.Elections, l.toMessage())
	}
	for _, g := range s.Merges {
		m.Merges = append(m.Merges, wire.AdminMerge(g))
	}
	for _, id := range slices.Sorted(maps.Keys(s.Scores)) {
		m.Scores = append(m.Scores, wire.AdminScore{Node: id, Score: s.Scores[id]})
	}
	return m
}

func (l Leadership) toMessage() wire.AdminLeadership {
	m := wire.AdminLeadership{Election: toWire(l.Election), Token: l.Token, Here: l.Here, Problem: l.Problem}
	for _, c := range l.Candidates {
		m.Stands = append(m.Stands, wire.AdminCandidate(c))
	}
	return m
}

func leadershipOf(m wire.AdminLeadership) Leadership {
	l := Leadership{Election: fromWire(m.Election), Token: m.Token, Here: m.Here, Problem: m.Problem}
	for _, c := range m.Stands {
		l.Candidates = append(l.Candidates, Candidate(c))
	}
	return l
}

func statusOf(m *wire.AdminPartition) Status {
	s := Status{
		Node: m.Node, Component: m.Component, Members: int(m.Members), Storing: int(m.Storing), Reached: int(m.Reached),
		Situation: Situation(m.Situation), Since: m.Since, Lost: m.Lost, Unmet: m.Unmet, Evidence: m.Evidence,
		Leader: leadershipOf(m.Leader), Voters: m.Voters, Cloud: Cloud(m.Cloud), Mode: Mode(m.Mode), ModeSince: m.ModeSince,
	}
	for _, v := range m.Verdicts {
		s.Verdicts = append(s.Verdicts, Verdict{Node: v.Node, Cause: Cause(v.Cause), At: v.At, Outage: v.Outage})
	}
	for _, l := range m.Elections {
		s.Elections = append(s.Elections, leadershipOf(l))
	}
	for _, g := range m.Merges {
		s.Merges = append(s.Merges, Merge(g))
	}
	if len(m.Scores) > 0 {
		s.Scores = map[view.NodeID]uint64{}
	}
	for _, n := range m.Scores {
		s.Scores[n.Node] = n.Score
	}
	return s
}
