package partition

import (
	"time"

	"github.com/skeinmesh/skein/internal/split"
	"github.com/skeinmesh/skein/mesh/view"
)

// readNotices reads rows and reports out of notices. What is said of an earlier life counts
// no more.
func (w *watcher) readNotices(now time.Duration, told map[view.NodeID]heardNotice) (split.Rows, map[view.NodeID]split.Life) {
	rows, lives := split.Rows{}, map[view.NodeID]split.Life{}
	for id, n := range told {
		if id == w.id {
			continue
		}
		m, _ := w.view.Member(id)
		if n.Boot >= m.Boot && (n.Isolated || len(n.Unreachable) > 0) {
			rows[id] = w.doubts.Heed(now, w.id, id, split.Row{Unreachable: n.Unreachable, Isolated: n.Isolated})
		}
		lives[id] = split.Life{Boot: n.Boot, Uptime: n.Up, At: n.at}
	}
	return rows, lives
}
