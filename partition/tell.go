package partition

import (
	"cmp"
	"slices"

	"github.com/skeinmesh/skein/internal/mode"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// tell has this node's notice say what it should.
func (p *Partition) tell(s *scene, w *watcher) {
	standing, leads := p.mine()
	p.notices.set(func(n *wire.Notice) {
		n.Score = p.score.Load()
		n.Cloud = p.cloud.code()
		n.Isolated, n.Unreachable = w.row.Isolated, w.row.Unreachable
		n.Standing, n.Leads = standing, leads
		n.Voters = p.knownVoters()
	})
	s.notices[p.id] = p.notices.own()
}

// mine returns what this node stands for and leads, sorted.
func (p *Partition) mine() (standing []wire.Election, leads []wire.Claim) {
	for _, e := range p.known() {
		if e.standing() {
			standing = append(standing, e.name.wire())
		}
		if t := e.leading(); !t.IsZero() {
			leads = append(leads, wire.Claim{Election: e.name.wire(), Term: t.Term})
		}
	}
	return standing, leads
}

func (w *watcher) status(s *scene, cloud mode.Cloud) Status {
	p := w.p
	st := Status{
		Node: p.id, Component: s.component, Situation: Situation(w.sit.Kind), Since: w.since, Lost: w.sit.Lost,
		Unmet: w.split.Situation().Unmet, Evidence: w.sit.Evidence, Verdicts: slices.Clone(w.verdict),
		Cloud: Cloud(cloud), Mode: w.mode, ModeSince: w.modeAt, Merges: p.reports.all(), Voters: p.knownVoters().IDs,
	}
	for _, m := range s.view.Members {
		if m.Status.Gone() {
			continue
		}
		st.Members++
		if m.Storing {
			st.Storing++
			if s.within[m.ID] {
				st.Reached++
			}
		}
	}
	names := map[Election]bool{p.leaderOf(): true}
	for _, n := range s.notices {
		for _, c := range n.Leads {
			names[fromWire(c.Election)] = true
		}
	}
	for _, e := range p.known() {
		names[e.name] = true
	}
	for name := range names {
		st.Elections = append(st.Elections, p.leadership(s, name))
	}
	slices.SortFunc(st.Elections, func(a, b Leadership) int {
		return cmp.Or(cmp.Compare(a.Election.Name, b.Election.Name), cmp.Compare(a.Election.Scope, b.Election.Scope))
	})
	st.Leader = p.leadership(s, p.leaderOf())
	return st
}

// leadership tells who leads an election: this node by its lease, another by its
// word.
func (p *Partition) leadership(s *scene, name Election) Leadership {
	l := Leadership{Election: name}
	var follows view.NodeID
	if e := p.opened(name); e != nil {
		l.Problem = e.problem()
		if l.Token = e.leading(); !l.Token.IsZero() {
			l.Here = true
			return l
		}
		follows = e.follows()
	}
	f := s.field(name)
	l.Token = f.Leader(follows)
	return l
}
