package scanning

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

func TestBusyStoreIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, 1)
		s.put(t, map[string]string{"a": "1", "b": "2"})
		group := lifecycle.NewGroup(context.Background())
		defer group.Close()
		begin, busy := time.Now(), 0
		r := Begin(Options{
			Self: 99, Homes: s.opts.Homes, Group: group, Patience: replicate.Patience(time.Second), Now: func() time.Duration { return time.Since(begin) },
			Call: func(ctx context.Context, _ view.NodeID, _ string, req []byte) ([]byte, error) {
				if busy++; busy < 5 {
					return wire.AppendPageReply(nil, &wire.PageReply{Code: wire.CodeOverloaded}), nil
				}
				q, err := wire.DecodePageRequest(req)
				if err != nil {
					return nil, err
				}
				m, err := s.Read(ctx, &q)
				return wire.AppendPageReply(nil, &m), err
			},
		}, Query{Bucket: s.bucket, Level: replicate.One})
		defer r.Close()
		for _, want := range []string{"a", "b"} {
			if e, err := r.Next(context.Background()); err != nil || e.Key != want || e.Replies != 1 {
				t.Fatalf("%+v, %v, want %q", e, err, want)
			}
		}
		if _, err := r.Next(context.Background()); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	})
}

// A store that answers with more than it was asked for would fill this node's memory.
func TestPageLargerThanAskedForIsNone(t *testing.T) {
	for _, many := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newShelf(t, 1)
			group := lifecycle.NewGroup(context.Background())
			defer group.Close()
			begin := time.Now()
			r := Begin(Options{
				Self: 99, Homes: s.opts.Homes, Group: group, Patience: replicate.Patience(time.Second), Now: func() time.Duration { return time.Since(begin) },
				Call: func(ctx context.Context, _ view.NodeID, _ string, req []byte) ([]byte, error) {
					var m wire.PageReply
					if many {
						for i := range maxRecords + 1 {
							m.Entries = append(m.Entries, wire.PageEntry{Key: fmt.Sprintf("%04d", i)})
						}
					} else {
						m.Entries = []wire.PageEntry{{Key: "a", Item: make([]byte, maxBytes)}, {Key: "b", Item: []byte{1}}}
					}
					return wire.AppendPageReply(nil, &m), nil
				},
			}, Query{Bucket: s.bucket, Level: replicate.One})
			defer r.Close()
			e, err := r.Next(context.Background())
			for ; err == nil || errors.As(err, new(*Gap)); e, err = r.Next(context.Background()) {
				if err == nil {
					t.Fatalf("many %v: %q was taken", many, e.Key)
				}
			}
			if !errors.Is(err, ErrNobody) {
				t.Errorf("many %v: %v", many, err)
			}
		})
	}
}

// A home was silent when the scan began, and is there when it is needed.
func TestHomeThatIsBackIsNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, 3)
		two, err := s.opts.Homes.Buckets.AddDefinition(wire.BucketDef{Name: "two", Copies: 2})
		if err != nil {
			t.Fatal(err)
		}
		group := lifecycle.NewGroup(context.Background())
		defer group.Close()
		begin := time.Now()
		s.silence.Note(2, false)
		r := Begin(Options{
			Self: 99, Homes: s.opts.Homes, Group: group, Patience: replicate.Patience(time.Second), Now: func() time.Duration { return time.Since(begin) },
			Call: func(_ context.Context, to view.NodeID, _ string, req []byte) ([]byte, error) {
				if to == 3 {
					s.silence.Note(2, true)
					return nil, errors.New("out of order")
				}
				return wire.AppendPageReply(nil, &wire.PageReply{Vouched: allShards()}), nil
			},
		}, Query{Bucket: two, Level: replicate.One})
		defer r.Close()
		if e, err := r.Next(context.Background()); !errors.Is(err, io.EOF) {
			t.Fatal(e, err)
		}
	})
}
