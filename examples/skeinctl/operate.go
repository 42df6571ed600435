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

// evictJSON is what evict prints.
type evictJSON struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func (s *session) evict() error {
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
		_, err = fmt.Fprintf(s.out, "%s (%v) is given up for good; health tells when the copies it held are made anew\n", cmp.Or(clean(m.Name), "-"), id)
		return err
	})
}
