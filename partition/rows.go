package partition

import (
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/elect"
	"github.com/skeinmesh/skein/internal/split"
	"github.com/skeinmesh/skein/mesh/view"
)

// hear reads rows and reports out of notices; the own row is what is seen here.
func (w *watcher) hear(told map[view.NodeID]heardNotice) (split.Rows, map[view.NodeID]split.Life) {
	rows, lives := split.Rows{}, map[view.NodeID]split.Life{}
	for id, n := range told {
		if id == w.p.id {
			continue
		}
		m, _ := w.view.Member(id)
		if n.Boot >= m.Boot && (n.Isolated || len(n.Unreachable) > 0) {
			rows[id] = split.Row{Unreachable: w.others(id, n.Unreachable), Isolated: n.Isolated}
		}
		lives[id] = split.Life{Boot: n.Boot, Uptime: n.Up, At: n.at}
	}
	row := split.NewRow(w.unreached(w.p.since()))
	w.rowDue = w.due(row)
	if now := w.p.since(); now >= w.rowDue {
		w.row, w.rowAt, w.rowDue, w.freshAt = row, now, elect.Never, 0
	}
	rows[w.p.id] = row
	return rows, lives
}

// others returns what a row says but for this node, if that was met a moment ago: the
// row may be from before, and is about to be taken back.
func (w *watcher) others(by view.NodeID, unreachable []view.NodeID) []view.NodeID {
	if at, ok := w.metAt[by]; !ok || w.p.since()-at > metGrace {
		return unreachable
	}
	return slices.DeleteFunc(slices.Clone(unreachable), func(id view.NodeID) bool { return id == w.p.id })
}

// unreached lists whom this node does not reach although gossip says they live, or
// said so not long ago: others may hear of their end much later, and would take them
// as reached from here.
func (w *watcher) unreached(now time.Duration) (out []view.NodeID) {
	for _, m := range w.view.Members {
		was := w.states[m.ID]
		w.states[m.ID] = m.State
		switch {
		case m.Unreachable || m.State == view.Failed && (was == view.Alive || was == view.Suspect):
			w.doubted[m.ID] = now
		case m.State == view.Alive || m.Status.Gone():
			delete(w.doubted, m.ID)
		}
		if at, ok := w.doubted[m.ID]; ok && now-at < 2*w.p.cfg.Pace.Window {
			out = append(out, m.ID)
		}
	}
	return out
}

// due is when a row may replace the last one. Doubts may wait; but whoever is
// listed takes itself as cut off, and may come to lead alone, until it is taken back.
func (w *watcher) due(row split.Row) time.Duration {
	if row.Isolated == w.row.Isolated && slices.Equal(row.Unreachable, w.row.Unreachable) {
		return elect.Never
	}
	fresh := slices.ContainsFunc(row.Unreachable, func(id view.NodeID) bool { return !slices.Contains(w.row.Unreachable, id) })
	if row.Isolated || fresh {
		if w.freshAt == 0 {
			w.freshAt = w.p.since()
		}
		pause := rowPause
		if row.Isolated || len(row.Unreachable) >= 2*len(w.row.Unreachable) {
			pause = growPause
		}
		return max(w.rowAt+pause, w.freshAt+gatherPause)
	}
	w.freshAt = 0
	return w.rowAt + takeBackPause
}
