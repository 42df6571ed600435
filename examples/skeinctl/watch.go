package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/skeinmesh/skein/mesh"
	"github.com/skeinmesh/skein/replica"
)

func (s *session) watchFlags(fs *flag.FlagSet) {
	fs.StringVar(&s.bucket, "bucket", "", "`name` of the bucket")
	fs.StringVar(&s.watch.Prefix, "prefix", "", "`text` that the keys begin with")
	fs.BoolVar(&s.watch.Present, "present", false, "first print what is there")
	fs.StringVar((*string)(&s.watch.From), "from", "", "`cursor` that -json showed: go on behind its change")
	fs.IntVar(&s.scan.Limit, "limit", 0, "end after so `many` changes; 0: never")
	s.endless = true
}

// changeJSON is what watch prints for each change, on a line.
type changeJSON struct {
	Kind   string      `json:"kind"`
	Key    *string     `json:"key,omitempty"`
	Value  *valueJSON  `json:"value,omitempty"`
	Values []valueJSON `json:"values,omitempty"` // all concurrent ones
	Shards []int       `json:"shards,omitempty"`
	Open   *int        `json:"open,omitempty"` // shards of which changes may be missing
	Cursor string      `json:"cursor"`
}

func (s *session) runWatch() error {
	if err := s.watch.Validate(); err != nil {
		return usageError(err.Error())
	}
	return s.withNode(func(ctx context.Context, node *mesh.Client) error {
		s.extendTime()
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		shown := 0
		for c, err := range replica.NewClient(node).Watch(ctx, s.bucket, s.watch) {
			switch {
			case ctx.Err() != nil:
				return nil // it was interrupted
			case errors.Is(err, replica.ErrBucketConflict):
				s.printWarning("the bucket is defined in two ways: this is from one of the two")
				continue
			case err != nil:
				return err
			}
			if err := s.showChange(&c); err != nil {
				return err
			}
			if c.Kind <= replica.ChangeExpire {
				shown++
			}
			if shown > 0 && shown == s.scan.Limit {
				return nil
			}
		}
		return nil
	})
}

// showChange prints a change on one line.
func (s *session) showChange(c *replica.Change) error {
	value, live := c.Value()
	if s.json {
		return s.printJSON(newChangeJSON(c))
	}
	line := c.Kind.String() + "\t" + quoteUnlessPlain(c.Key)
	switch c.Kind {
	case replica.ChangeGap:
		s.printWarning("changes of %s may be missing until they are made good", countNoun(len(c.Shards), "shard"))
		return nil
	case replica.ChangeCurrent:
		return nil
	case replica.ChangePut:
		if line += "\t"; live {
			line += quoteUnlessPlain(string(value))
		}
	}
	_, err := fmt.Fprintln(s.out, line)
	return err
}

func newChangeJSON(c *replica.Change) changeJSON {
	out := changeJSON{Kind: c.Kind.String(), Cursor: string(c.Cursor())}
	if c.Kind == replica.ChangeGap || c.Kind == replica.ChangeCurrent {
		out.Shards, out.Open = c.Shards, &c.Open
		return out
	}
	out.Key = &c.Key
	if value, live := c.Value(); live {
		v := newValueJSON(value)
		out.Value = &v
	}
	for _, v := range c.Siblings() {
		out.Values = append(out.Values, newValueJSON(v))
	}
	return out
}
