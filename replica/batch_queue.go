package replica

import (
	"context"
	"errors"
	"sync"

	"github.com/skeinmesh/skein/internal/replica/outbox"
	"github.com/skeinmesh/skein/internal/replica/routing"
)

// manyEntry is a write of a batch on its way.
type manyEntry struct {
	routing.Entry
	after  uint64 // see Context
	result Result // instead of Out, if it was queued or went its own way
	queued bool
}

// routesOf lists writes of a batch as they are routed.
func routesOf(entries []*manyEntry) []*routing.Entry {
	out := make([]*routing.Entry, len(entries))
	for i, e := range entries {
		out[i] = &e.Entry
	}
	return out
}

// writeOrQueueMany hands writes to stores, or else keeps them in the outbox. What it has
// kept, or what waits behind what it keeps, has its result.
func (b *Bucket) writeOrQueueMany(ctx context.Context, entries []*manyEntry, o *PutOptions) {
	box := b.s.outbox
	routed := make([]*manyEntry, 0, len(entries))
	waiting := make(map[string][]*manyEntry) // by key, in order
	waits := make(map[string]bool)
	for _, e := range entries {
		key := outbox.Key{Bucket: e.At.Bucket, Key: e.At.Key}
		if _, known := waits[key.Key]; !known {
			waits[key.Key] = box.Concerns(key)
		}
		if waits[key.Key] {
			waiting[key.Key] = append(waiting[key.Key], e)
		} else {
			b.joinSeen(key, e.Request, e.after)
			routed = append(routed, e)
		}
	}
	b.s.router.RouteMany(ctx, routesOf(routed))
	for _, e := range routed {
		switch {
		case errors.Is(e.Err, ErrUnavailable):
			waiting[e.At.Key] = append(waiting[e.At.Key], e)
		case e.Err == nil, errors.Is(e.Err, ErrDegraded):
			box.NoteReached(outbox.Key{Bucket: e.At.Bucket, Key: e.At.Key}, e.Out.Seen)
		}
	}
	var all sync.WaitGroup
	for _, list := range waiting {
		all.Go(func() {
			for _, e := range list {
				b.queueEntry(ctx, e, writeWish{after: e.after, level: o.Level, durable: o.MinDurable})
			}
		})
	}
	all.Wait()
}

// queueEntry keeps a write of a batch in the outbox, or hands it to a store behind what
// waits there.
func (b *Bucket) queueEntry(ctx context.Context, e *manyEntry, a writeWish) {
	e.queued = true
	if e.Err != nil {
		e.result, e.Err = b.queueWrite(ctx, e.Request, a, e.Err)
	} else {
		e.result, e.Err = b.writeOrQueue(ctx, e.Request, a)
	}
}
