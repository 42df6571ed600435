package main

import (
	"context"
	"errors"
	"time"

	"github.com/skeinmesh/skein/internal/bench/load"
	"github.com/skeinmesh/skein/partition"
)

// idleNode is one member of a mesh that has nothing to do; what it sends is
// counted on the way to the host's network.
type idleNode struct {
	*member
	part    *partition.Partition
	network *countingNetwork
}

func openIdle(ctx context.Context, dir, name, listen string, seeds []string) (load.System, load.Hello, error) {
	hello := load.Hello{System: "skein", Version: "this tree", Copies: 1}
	network := &countingNetwork{}
	cfg := meshConfig(dir, name, listen, seeds)
	cfg.Network = network
	m, err := openMember(ctx, cfg)
	if err == nil {
		err = m.awaitAll(ctx, nodes)
	}
	if err != nil {
		return nil, hello, errors.Join(err, m.closeAll())
	}
	part, err := partition.Open(ctx, partition.Config{Mesh: m.node})
	if err != nil {
		return nil, hello, errors.Join(err, m.closeAll())
	}
	hello.Config = configs(cfg)
	return &idleNode{m, part, network}, hello, nil
}

func (n *idleNode) Extra(_ context.Context, cmd load.Command) (map[string]float64, error) {
	if cmd.Level != "idle" {
		return nil, load.ErrUnsupported
	}
	packets, streams, start := n.network.packets.Load(), n.network.streams.Load(), time.Now()
	resident, cpu, err := load.Idle(cmd.Duration)
	if err != nil {
		return nil, err
	}
	packets, streams = n.network.packets.Load()-packets, n.network.streams.Load()-streams
	seconds := time.Since(start).Seconds()
	return map[string]float64{
		"rss_mib":  float64(resident) / (1 << 20),
		"cpu_pct":  cpu,
		"sent_Bps": float64(packets+streams) / seconds,
		"udp_Bps":  float64(packets) / seconds,
		"tcp_Bps":  float64(streams) / seconds,
	}, nil
}

func (n *idleNode) Put(context.Context, int, string, []byte) error { return load.ErrUnsupported }

func (n *idleNode) Get(context.Context, int, string, string) ([]byte, error) {
	return nil, load.ErrUnsupported
}

func (n *idleNode) Children() []int { return nil }
func (n *idleNode) Close() error    { return errors.Join(n.part.Close(), n.closeAll()) }
