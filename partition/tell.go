package partition

import (
	"cmp"
	"slices"

	"github.com/skeinmesh/skein/internal/mode"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// updateOwnNotice has this node's notice say what it should.
func (p *Partition) updateOwnNotice(s *scene, w *watcher) {
	standing, leads := p.ownElections()
	p.notices.changeOwn(func(n *wire.Notice) {
		n.Score = p.score.Load()
		n.Cloud = p.cloud.noticeCode()
		n.Isolated, n.Unreachable = w.row.Isolated, w.row.Unreachable
		n.Standing, n.Leads = standing, leads
		n.Voters = p.knownVoters()
	})
	s.notices[p.id] = p.notices.ownNotice()
}

// ownElections returns what this node stands for and leads, sorted.
func (p *Partition) ownElections() (standing []wire.Stand, leads []wire.Claim) {
	for _, e := range p.knownElections() {
		if preference, stands := e.standing(); stands {
			standing = append(standing, wire.Stand{Election: toWire(e.name), Preference: preference})
		}
		if t := e.leadingToken(); !t.IsZero() {
			leads = append(leads, wire.Claim{Election: toWire(e.name), Term: t.Term})
		}
	}
	return standing, leads
}

func (w *watcher) makeStatus(s *scene, cloud mode.Cloud) Status {
	p := w.p
	st := Status{
		Node: p.id, Component: s.component, Situation: Situation(w.situation.Kind), Since: w.situationSince, Lost: w.situation.Lost,
		Unmet: w.split.Situation().Unmet, Evidence: w.situation.Evidence, Verdicts: slices.Clone(w.verdicts),
		Cloud: Cloud(cloud), Mode: w.mode, ModeSince: w.modeSince, Merges: p.reports.allMerges(), Voters: p.knownVoters().IDs,
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
	st.Scores = s.scores()
	names := map[Election]bool{p.leaderOf(): true}
	for _, n := range s.notices {
		for _, c := range n.Leads {
			names[fromWire(c.Election)] = true
		}
	}
	for _, e := range p.knownElections() {
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

// scores returns what those in the component say of their fitness in this life.
func (s *scene) scores() map[view.NodeID]uint64 {
	out := map[view.NodeID]uint64{}
	for _, m := range s.view.Members {
		if n, told := s.notices[m.ID]; told && s.within[m.ID] && n.Boot >= m.Boot && n.Score > 0 {
			out[m.ID] = n.Score
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// candidates returns who stands for an election, sorted as the members of a view are.
func (s *scene) candidates(name Election) (out []Candidate) {
	for _, m := range s.view.Members {
		n, told := s.notices[m.ID]
		if !told || !s.within[m.ID] || n.Boot < m.Boot {
			continue
		}
		if preference, stands := standsFor(n.Notice, name); stands {
			out = append(out, Candidate{Node: m.ID, Preference: preference})
		}
	}
	return out
}

// leadership tells who leads an election: this node by its lease, another by its
// word.
func (p *Partition) leadership(s *scene, name Election) Leadership {
	l := Leadership{Election: name, Candidates: s.candidates(name)}
	var follows view.NodeID
	if e := p.findElection(name); e != nil {
		l.Problem = e.lastProblem()
		if l.Token = e.leadingToken(); !l.Token.IsZero() {
			l.Here = true
			return l
		}
		follows = e.followedNode()
	}
	f := s.electionField(name)
	l.Token = f.Leader(follows)
	return l
}
