package replica

import (
	"context"
	"errors"
	"time"
)

// Records shows a bucket as plain keys and values, to what keeps its records in one and knows
// nothing of buckets: package failover keeps plans, routes and the history there. All methods
// may be used concurrently.
//
// What is kept on fewer stores than asked for counts as kept here, and what was found as
// found, so that a side of a cut goes on by what it has.
type Records struct{ b *Bucket }

// Records returns the bucket as records. It should have the policy LastWriterWins; with the
// zero BucketConfig they are on three stores. Values in it are not empty.
func (b *Bucket) Records() *Records { return &Records{b} }

// Read returns the value of a key. Nil: it is not there, as far as is known here.
func (r *Records) Read(ctx context.Context, key string) (value []byte, err error) {
	item, err := r.b.Get(ctx, key, nil)
	if value, ok := item.Value(); ok {
		return value, nil
	}
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return nil, err
}

// Write writes a value, which lives so long; 0 is for ever.
func (r *Records) Write(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if ttl == 0 {
		ttl = -1
	}
	kept, err := r.b.Put(ctx, key, value, &PutOptions{TTL: ttl})
	return unlessKept(kept, err)
}

// Erase deletes a key, if it is there.
func (r *Records) Erase(ctx context.Context, key string) error {
	kept, err := r.b.Delete(ctx, key, nil)
	return unlessKept(kept, err)
}

// unlessKept returns the error of a write of which nothing may be left.
func unlessKept(r Result, err error) error {
	if r.Durable > 0 || r.Queued {
		return nil
	}
	return err
}

// Each visits the keys with a prefix and their values, from the greatest key down, until visit
// returns false. It goes on where too few stores can be asked, and the error tells of that.
func (r *Records) Each(ctx context.Context, prefix string, visit func(key string, value []byte) bool) error {
	var gaps error
	for e, err := range r.b.Scan(ctx, ScanOptions{Prefix: prefix, Reverse: true}) {
		switch {
		case goesOn(err):
			gaps = err
			continue
		case err != nil:
			return err
		}
		if value, ok := e.Value(); ok && !visit(e.Key, value) {
			break
		}
	}
	return gaps
}

// Follow tells of each key with a prefix: those that are there first, that these were all, then
// what changes, with nil for what is there no more, until ctx or the store ends. Where stores
// are out of reach it tells that when they are back. The value is the receiver's.
func (r *Records) Follow(ctx context.Context, prefix string, changed func(key string, value []byte), all func()) error {
	begins := true
	for c, err := range r.b.Watch(ctx, WatchOptions{Prefix: prefix, Present: true}) {
		switch {
		case goesOn(err):
		case err != nil:
			return err
		case c.Kind == ChangePut:
			value, _ := c.Value()
			changed(c.Key, value)
		case c.Kind == ChangeDelete, c.Kind == ChangeExpire:
			changed(c.Key, nil)
		case c.Kind == ChangeCurrent && c.Open == 0 && begins:
			begins = false
			all()
		}
	}
	return nil
}
