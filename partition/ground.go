package partition

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/mesh/view"
)

// ground is what all rooms of a Partition stand on: who the node is, what its user wants,
// and what the last look has shown. It knows none of them.
type ground struct {
	cfg     Config
	mesh    Mesh
	log     *slog.Logger
	id      view.NodeID
	dir     string
	started time.Time
	group   *lifecycle.Group

	lookBell  notify.Bell // there may be something to see
	leadsBell notify.Bell // who leads or stands here has changed
	leaving   atomic.Bool // the node goes for good
	ready     atomic.Bool // the others had their time to be met
	scene     atomic.Pointer[scene]
}

// uptime is this node's run time.
func (g *ground) uptime() time.Duration { return time.Since(g.started) }

func (g *ground) isClosed() bool { return g.group.Context().Err() != nil }

// leaderOf is the election of the leader that Status shows.
func (g *ground) leaderOf() Election { return Election{Name: leaderElection, Scope: g.cfg.Scope} }

// callPeer calls a peer with this pace's patience. All that is asked of peers may be
// taken in twice, and late: grants and what gives them back name their term, notices
// are numbered.
func (g *ground) callPeer(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Pace.Lease)
	defer cancel()
	return g.mesh.CallIdempotent(ctx, to, method, req)
}
