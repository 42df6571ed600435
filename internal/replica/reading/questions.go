package reading

import (
	"context"
	"time"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/replica/clocks"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// QuestionOptions say how other stores are asked. All fields must be set.
type QuestionOptions struct {
	Mesh       peering.Caller
	Group      *lifecycle.Group
	Peers      *peering.Peers
	Clocks     *clocks.Clocks // learns the clocks of those that answer
	AckTimeout time.Duration  // see replica.Config
	Room       int            // bytes that may wait for each store
}

// Questions ask other stores for records. All methods may be used concurrently.
type Questions struct {
	opts QuestionOptions

	Lanes *peering.Lanes[wire.Lookup, wire.Lookedup]
}

// QuestionSender carries questions to stores.
type QuestionSender = peering.Sender[wire.Lookup, wire.Lookedup]

// NewQuestions returns lanes in which nothing waits.
func NewQuestions(opts QuestionOptions) *Questions {
	q := &Questions{opts: opts}
	q.Lanes = peering.NewLanes(peering.LaneOptions[wire.Lookup, wire.Lookedup]{
		Group: opts.Group, Silence: opts.Peers.Silence, Limit: opts.AckTimeout, Room: opts.Room, Call: q.sendQuestions,
		Size: func(l wire.Lookup) int { return len(l.Key) + 64 },
	})
	return q
}

// AskClock asks a store for no record, so that its clock becomes known.
func (q *Questions) AskClock(ctx context.Context, id view.NodeID) error {
	_, err := q.sendQuestions(ctx, id, nil)
	return err
}

// sendQuestions is the lane that carries questions.
func (q *Questions) sendQuestions(ctx context.Context, to view.NodeID, keys []wire.Lookup) ([]wire.Lookedup, error) {
	answer, err := q.opts.Mesh.Call(ctx, to, wire.MethodRead, wire.AppendReadRequest(nil, &wire.ReadRequest{Keys: keys}))
	if err != nil {
		return nil, err
	}
	m, err := wire.DecodeReadReply(answer)
	if err != nil {
		return nil, err
	}
	q.opts.Clocks.Learn(to, m.Wall)
	return m.Items, nil
}
