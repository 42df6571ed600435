package scanning

import (
	"context"
	"errors"
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
