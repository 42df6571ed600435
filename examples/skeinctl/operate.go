package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica"
)

// healthJSON is what health prints.
type healthJSON struct {
	Problems []string `json:"problems"`
	Shards   []string `json:"shards,omitempty"` // with -all
}

func (s *session) health() error {
	return s.withNode(func(ctx context.Context, node *mesh.Client) error {
		problems, shards, err := replica.NewClient(node).Health(ctx)
		if err != nil && len(problems) == 0 {
			return err
		}
		if !s.all {
			shards = nil
		}
		if s.json {
			return errors.Join(s.printJSON(healthJSON{append([]string{}, problems...), shards}), err)
		}
		for _, p := range problems {
			fmt.Fprintln(s.out, clean(p))
		}
		if len(problems) == 0 {
			fmt.Fprintln(s.out, "all is well")
		}
		for _, l := range shards {
			fmt.Fprintln(s.out, "  "+clean(l))
		}
		return err
	})
}

func (s *session) evict() error {
	id, err := view.ParseNodeID(s.words[0])
	if err != nil {
		return usageError(err.Error())
	}
	return s.withNode(func(ctx context.Context, node *mesh.Client) error { return node.Evict(ctx, id) })
}
