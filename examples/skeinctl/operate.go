package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica"
)

// healthJSON is what health prints.
type healthJSON struct {
	Problems []problemJSON `json:"problems"`
	Shards   []shardJSON   `json:"shards,omitempty"` // with -all
}

// problemJSON is a problem with its sentence; times are texts like "1h0m0s".
type problemJSON struct {
	view.Problem
	For   string `json:"for,omitempty"`
	Words string `json:"words"`
}

// shardJSON is how one shard is doing.
type shardJSON struct {
	Bucket  string                 `json:"bucket"` // empty: the definitions of all buckets
	Shard   int                    `json:"shard"`
	Role    string                 `json:"role"`
	Homes   []view.NodeID          `json:"homes"`
	Copies  int                    `json:"copies"`
	Syncing bool                   `json:"syncing"`
	Hints   int                    `json:"hints"`
	Synced  map[view.NodeID]string `json:"synced"` // how long ago
}

func healthAsJSON(problems []view.Problem, shards []replica.ShardHealth) healthJSON {
	out := healthJSON{Problems: []problemJSON{}}
	for _, p := range problems {
		j := problemJSON{Problem: p, Words: p.String()}
		if p.For != 0 {
			j.For = p.For.String()
		}
		out.Problems = append(out.Problems, j)
	}
	for _, h := range shards {
		j := shardJSON{Bucket: h.Bucket, Shard: h.Shard, Role: h.Role, Homes: h.Homes, Copies: h.Copies, Syncing: h.Syncing, Hints: h.Hints, Synced: map[view.NodeID]string{}}
		for id, ago := range h.Synced {
			j.Synced[id] = ago.String()
		}
		out.Shards = append(out.Shards, j)
	}
	return out
}

func (s *session) runHealth() error {
	return s.withNode(func(ctx context.Context, node *mesh.Client) error {
		problems, shards, err := replica.NewClient(node).Health(ctx)
		if err != nil && len(problems) == 0 {
			return err
		}
		if !s.all {
			shards = nil
		}
		if s.json {
			return errors.Join(s.printJSON(healthAsJSON(problems, shards)), err)
		}
		for _, p := range problems {
			fmt.Fprintln(s.out, cleanLine(p.String()))
		}
		if len(problems) == 0 {
			fmt.Fprintln(s.out, "all is well")
		}
		for _, l := range shards {
			fmt.Fprintln(s.out, "  "+cleanLine(l.String()))
		}
		return err
	})
}

// evictJSON is what evict prints.
type evictJSON struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func (s *session) runEvict() error {
	id, err := view.ParseNodeID(s.words[0])
	if err != nil {
		return usageError(err.Error())
	}
	return s.withNode(func(ctx context.Context, node *mesh.Client) error {
		if err := node.Evict(ctx, id); err != nil {
			return err
		}
		v, err := node.View(ctx)
		if err != nil {
			return err
		}
		m, _ := v.Member(id) // forgotten already, perhaps
		if s.json {
			return s.printJSON(evictJSON{id.String(), m.Name})
		}
		_, err = fmt.Fprintf(s.out, "%s (%v) is given up for good; health tells when the copies it held are made anew\n", cmp.Or(cleanLine(m.Name), "-"), id)
		return err
	})
}
