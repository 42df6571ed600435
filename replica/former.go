package replica

import (
	"context"
	"errors"
	"fmt"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/former"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// deliverFormer makes an operation that a former identity of this node had kept a write of
// this store, as outboxStores.Deliver does.
func (s *Store) deliverFormer(ctx context.Context, op *wire.OutboxOp, seen reconcile.Seen) (reconcile.Seen, error) {
	known, err := s.buckets.AddDefinition(op.Bucket)
	if err != nil {
		return reconcile.Seen{}, fmt.Errorf("%w: %w", former.ErrNever, err)
	}
	b := &Bucket{s: s, b: known}
	q, err := b.newRequest(op.Key, reconcile.Write{Seen: &seen, Value: op.Value, Tomb: op.Tomb, TTL: int64(op.TTL), Token: op.Token}, Level(op.Level), int(op.MinDurable))
	if err != nil {
		return reconcile.Seen{}, err
	}
	out, err := s.router.RouteWrite(ctx, q)
	if err != nil && !errors.Is(err, ErrDegraded) {
		return reconcile.Seen{}, err
	}
	return out.Seen, nil
}

// reportFormer tells an operator how far what former identities have left is taken in.
func reportFormer(st former.Status, h *Health, add func(view.Problem)) {
	if box := st.Outbox; box != nil {
		switch where := []string{box.Dir}; {
		case box.Unusable:
			add(view.Problem{Kind: view.ProblemFormerOutboxKept, Where: where, Text: box.Problem})
		case !box.Finished:
			h.Importing++
			if box.Problem != "" {
				add(view.Problem{Kind: view.ProblemFormerOutboxWaits, Where: where, Text: box.Problem})
			}
		case box.Bad > 0:
			add(view.Problem{Kind: view.ProblemFormerOutboxUnread, Where: where, Count: box.Bad})
		}
	}
	for _, f := range st.Stores {
		h.ImportRefused += f.Refused
		where := []string{f.Dir}
		switch {
		case f.Unusable:
			add(view.Problem{Kind: view.ProblemFormerKept, Where: where, Text: f.Problem})
		case !f.LookedThrough:
			h.Importing += max(f.Shards-f.Done, 1)
			if f.Problem != "" {
				add(view.Problem{Kind: view.ProblemFormerWaits, Where: where, Count: f.Done, Of: f.Shards, Text: f.Problem})
			}
		}
		if f.Refused > 0 {
			add(view.Problem{Kind: view.ProblemFormerRefused, Where: where, Count: f.Refused, Text: former.RefusedName})
		}
		if f.Unread > 0 {
			add(view.Problem{Kind: view.ProblemFormerUnread, Where: where, Count: f.Unread, Text: former.RefusedName})
		}
	}
}
