package partition

import (
	"context"
	"fmt"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// methodResources asks a node for what its machine has. Earlier releases do not know it.
const methodResources = "partition/resources"

// Resources are what the machine of a node has, and what of it was free when it was last
// read, at most half a minute before. They are what its score is made of, with how it
// reaches the others. A container has what its limits leave it. What is not known is zero,
// and so is FreeCPU until there were two readings.
type Resources struct {
	Node                 view.NodeID
	Score                uint64        // how fit it is to lead, as in Status.Scores
	CPU, FreeCPU         uint64        // processing power, in thousandths of a core
	Memory, FreeMemory   uint64        // bytes
	Storage, FreeStorage uint64        // bytes, of the file system of the data directory
	Mains                bool          // it is powered from outside, or nothing says that it is not
	Battery              int           // percent; -1: there is none, or nothing tells of it
	Uptime               time.Duration // of the machine; of the host, in a container
}

// Resources asks a node, which may be this one, what its machine has. The error is that
// of Mesh.CallIdempotent: mesh.ErrNoHandler if the node opens no Partition, or is of an
// earlier release, and mesh.ErrUnreachable, or that of ctx, if it cannot be reached
// directly.
func (p *Partition) Resources(ctx context.Context, node view.NodeID) (Resources, error) {
	b, err := p.mesh.CallIdempotent(ctx, node, methodResources, nil)
	if err != nil {
		return Resources{}, fmt.Errorf("partition: resources of node %v: %w", node, err)
	}
	r, err := wire.DecodeResources(b)
	if err != nil {
		return Resources{}, fmt.Errorf("partition: resources of node %v: %w", node, err)
	}
	if r.Battery == wire.NoBattery {
		r.Battery = -1
	}
	return Resources{
		Node: node, Score: r.Score, CPU: r.CPU, FreeCPU: r.FreeCPU, Memory: r.Memory, FreeMemory: r.FreeMemory,
		Storage: r.Storage, FreeStorage: r.FreeStorage, Mains: r.Mains, Battery: r.Battery, Uptime: r.Uptime,
	}, nil
}
