package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/skeinmesh/skein/internal/bench/load"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica"
)

// lostName is the name of the node whose disk is lost.
const lostName = "lost"

// What a single node may be asked for.
const (
	askTogether = "together" // answered when all nodes have met
	askFill     = "fill"     // put every key once
	askContent  = "content"  // a hash of all it holds
	askGivenUp  = "given up" // answered when the lost node is given up here
	askHealed   = "healed"   // answered when it holds all it is a home of: when it first asked for items, in seconds since 1970
	askSteady   = "steady"   // begin a steady load
	askCalm     = "calm"     // end it: its counts
	askLarge    = "large"    // put as many large values as are taken, for some time
)

// single is the one node of its process, as nodes are in the field: what the
// other stores of a mesh have their Go runtimes do is nothing that its clients
// have to wait for.
type single struct {
	*member
	ledger *ledger
	load   *steadyLoad
	values stock // large ones
}

func openSingle(ctx context.Context, dir, name, listen, seed string) (load.System, load.Hello, error) {
	hello := load.Hello{System: "skein", Version: "this tree", Copies: 1}
	s := &single{ledger: newLedger(func() int64 { return 0 })} // only the time is of interest
	cfg := meshConfig(dir, name, listen, []string{seed})
	var err error
	s.member, err = setup{mesh: cfg, wrap: func(inner replica.Mesh) replica.Mesh { return meteredMesh{inner, s.ledger, nil} }}.openMember(ctx)
	if err != nil {
		return nil, hello, errors.Join(err, s.closeAll())
	}
	hello.Config = configs(cfg)
	return s, hello, nil
}

func (s *single) Extra(ctx context.Context, cmd load.Command) (map[string]float64, error) {
	switch cmd.Level {
	case askTogether:
		return nil, s.awaitAll(ctx, nodes)
	case askFill:
		return nil, s.fillKeys(ctx, load.Keys(cmd.Keys), newStock(cmd.Size))
	case askContent:
		sum, err := s.content(ctx)
		return map[string]float64{askContent: sum}, err
	case askGivenUp:
		return nil, awaitTrue(ctx, "a lost node is given up", time.Minute, func() (bool, error) {
			return !slices.ContainsFunc(s.node.View().Members, func(m view.Member) bool {
				return m.Name == lostName && (m.State == view.Alive || m.State == view.Suspect)
			}), nil
		})
	case askHealed:
		if err := s.awaitAll(ctx, nodes); err != nil {
			return nil, err
		}
		err := awaitTrue(ctx, "a healed store", time.Minute, func() (bool, error) {
			st, err := s.store.Status(ctx)
			return st.Syncing == 0, err
		})
		return map[string]float64{askHealed: float64(s.ledger.firstMove().UnixMicro()) / 1e6}, err
	case askLarge:
		return s.putLarge(ctx, cmd)
	case askSteady:
		s.load = startSteady(ctx, s.bucket, load.Keys(cmd.Keys), newStock(cmd.Size), cmd.Clients)
		return nil, nil
	case askCalm:
		if s.load == nil {
			return nil, errors.New("there is no load to end")
		}
		result, err := s.load.endLoad()
		s.load = nil
		return result.counts(), err
	}
	return nil, load.ErrUnsupported
}

func (s *single) fillKeys(ctx context.Context, keys []string, values stock) error {
	return forEachUpTo(len(keys), 64, func(i int) (err error) {
		for range 10 {
			if _, err = s.bucket.Put(ctx, keys[i], values.cutValue(i), nil); err == nil {
				return nil
			}
			time.Sleep(100 * time.Millisecond) // a patient caller: loading is no measurement
		}
		return err
	})
}

// content is a hash of all that the node holds, of as many bits as a float64
// carries.
func (s *single) content(ctx context.Context) (float64, error) {
	shards, err := s.bucket.Digests(ctx)
	h := xxhash.New()
	for _, shard := range slices.Sorted(maps.Keys(shards)) {
		sum := shards[shard]
		_, _ = fmt.Fprint(h, shard, " ")
		_, _ = h.Write(sum[:])
	}
	return float64(h.Sum64() >> 11), err
}

func (s *single) Put(context.Context, int, string, []byte) error { return load.ErrUnsupported }

func (s *single) Get(context.Context, int, string, string) ([]byte, error) {
	return nil, load.ErrUnsupported
}

func (s *single) Children() []int { return nil }

func (s *single) Close() error {
	var err error
	if s.load != nil {
		_, err = s.load.endLoad()
	}
	return errors.Join(err, s.closeAll())
}
