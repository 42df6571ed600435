package partition

import (
	"cmp"
	"slices"

	"github.com/skeinmesh/skein/internal/mode"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// updateOwnNotice has this node's notice say what it should.
func (w *watcher) updateOwnNotice(s *scene) {
	standing, leads := w.elections.ownElections()
	w.notices.changeOwn(func(n *wire.Notice) {
		n.Score = w.fitness.score.Load()
		n.Cloud = w.reach.noticeCode()
		n.Isolated, n.Unreachable = w.row.Isolated, w.row.Unreachable
		n.Standing, n.Leads = standing, leads
		n.Voters = w.voters.knownVoters()
	})
	s.notices[w.id] = w.notices.ownNotice()
}

func (w *watcher) makeStatus(s *scene, cloud mode.Cloud) Status {
	st := Status{
		Node: w.id, Component: s.component, Situation: Situation(w.situation.Kind), Since: w.situationSince, Lost: w.situation.Lost,
		Unmet: w.split.Situation().Unmet, Evidence: w.situation.Evidence, Verdicts: slices.Clone(w.verdicts),
		Cloud: Cloud(cloud), Mode: w.mode, ModeSince: w.modeSince, Merges: w.merges.allMerges(), Voters: w.voters.knownVoters().IDs,
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
	names := map[Election]bool{w.leaderOf(): true}
	for _, n := range s.notices {
		for _, c := range n.Leads {
			names[fromWire(c.Election)] = true
		}
	}
	for _, e := range w.elections.knownElections() {
		names[e.name] = true
	}
	for name := range names {
		st.Elections = append(st.Elections, w.elections.leadership(s, name))
	}
	slices.SortFunc(st.Elections, func(a, b Leadership) int {
		return cmp.Or(cmp.Compare(a.Election.Name, b.Election.Name), cmp.Compare(a.Election.Scope, b.Election.Scope))
	})
	st.Leader = w.elections.leadership(s, w.leaderOf())
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
