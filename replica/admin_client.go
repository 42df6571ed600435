package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Caller asks a node. *mesh.Client is one.
type Caller interface {
	// Call sends req to the node's handler of that method and returns its
	// answer, which is the caller's.
	Call(ctx context.Context, method string, req []byte) ([]byte, error)
}

// Client uses the store of a node that it is no part of: for tools. The node
// must allow admin requests. Buckets are found by name, never defined. Limits, TTL and
// MinDurable are those with which the node's program has opened the bucket, the last
// time; if it has not, values without a TTL live for ever and the limits are those of the
// formats. All methods may be used concurrently.
//
// Errors are those of Store and Bucket, ErrNoBucket, and those of the Caller.
type Client struct{ node Caller }

// NewClient returns a client of the node that the caller asks.
func NewClient(c Caller) *Client { return &Client{node: c} }

// Get reads a key; see Bucket.Get. An Item with the zero Context comes of a
// read that failed.
func (c *Client) Get(ctx context.Context, bucket, key string, opts *GetOptions) (Item, error) {
	var o GetOptions
	if opts != nil {
		o = *opts
	}
	if !o.Seen.IsZero() { // nodes of an earlier release would not look at it, and must not seem to
		items, err := c.GetMany(ctx, bucket, []BatchGet{{Key: key, Seen: o.Seen}}, &GetOptions{Level: o.Level})
		if items == nil {
			return Item{}, err
		}
		return items[0].Item, items[0].Err
	}
	req, err := adminRequest(bucket, key, nil, PutOptions{Level: o.Level})
	if err != nil {
		return Item{}, err
	}
	m, err := callAndDecode(ctx, c.node, wire.MethodAdminGet, req, wire.DecodeAdminItem)
	if err != nil {
		return Item{}, err
	}
	return itemOf(key, &m)
}

// takeLast is the reverse of placeOfLast.
func (it *Item) takeLast(place int) {
	if place > 0 {
		it.last, it.live = append([]byte{}, it.values[place-1]...), true
	}
}

// Put writes a value; see Bucket.Put. A Result with the zero Context comes of
// a write that failed. value stays the caller's.
func (c *Client) Put(ctx context.Context, bucket, key string, value []byte, opts *PutOptions) (Result, error) {
	var o PutOptions
	if opts != nil {
		o = *opts
	}
	return c.sendWrite(ctx, wire.MethodAdminPut, bucket, key, value, o)
}

// Delete deletes a key; see Bucket.Delete. A Result with the zero Context
// comes of a delete that failed.
func (c *Client) Delete(ctx context.Context, bucket, key string, opts *DeleteOptions) (Result, error) {
	var o DeleteOptions
	if opts != nil {
		o = *opts
	}
	return c.sendWrite(ctx, wire.MethodAdminDelete, bucket, key, nil, PutOptions{Context: o.Context, Level: o.Level, MinDurable: o.MinDurable, Token: o.Token})
}

func (c *Client) sendWrite(ctx context.Context, method, bucket, key string, value []byte, o PutOptions) (Result, error) {
	req, err := adminRequest(bucket, key, value, o)
	if err != nil {
		return Result{}, err
	}
	m, err := callAndDecode(ctx, c.node, method, req, wire.DecodeAdminResult)
	if err != nil {
		return Result{}, err
	}
	return resultOf(&m)
}

// Status tells how the node's store is doing. A node of an early release says
// nothing of its outbox.
func (c *Client) Status(ctx context.Context) (Status, error) {
	m, err := callAndDecode(ctx, c.node, wire.MethodAdminStatus, wire.AppendStatusWish(nil), wire.DecodeAdminStatus)
	if err != nil {
		return Status{}, err
	}
	st := Status{
		Hints: int(m.Hints), Syncing: int(m.Syncing),
		Delivered: m.Delivered, Repaired: m.Repaired, Compared: m.Compared, Moved: m.Moved,
	}
	if o := m.Outbox; o != nil {
		st.OutboxOps, st.OutboxBytes, st.OutboxOldest = int(o.Ops), int64(o.Bytes), time.Duration(o.Oldest)*time.Millisecond
		st.OutboxDelivered, st.OutboxDropped, st.OutboxError = o.Delivered, o.Dropped, o.Error
	}
	return st, faults.FromOutcome(m.AdminOutcome)
}

// Health returns how the node's store is doing: what an operator should look at, and
// the shards in which it has a part. The former come beside ErrStorage, too. A node of
// an early release tells its problems in words alone, view.ProblemInWords, and nothing
// of its shards.
func (c *Client) Health(ctx context.Context) (problems []view.Problem, shards []ShardHealth, err error) {
	m, err := callAndDecode(ctx, c.node, wire.MethodAdminHealth, wire.AppendHealthWish(nil), wire.DecodeAdminHealth)
	if err != nil {
		return nil, nil, err
	}
	for i := range m.Shards {
		shards = append(shards, shardHealthOf(m.Shards[i]))
	}
	return m.Problems, shards, faults.FromOutcome(m.AdminOutcome)
}

// adminRequest refuses here what the format has no room for.
func adminRequest(bucket, key string, value []byte, o PutOptions) ([]byte, error) {
	switch {
	case len(bucket) > maxBucketName:
		return nil, longBucketName(bucket)
	case len(key) > wire.MaxKey:
		return nil, tooLarge("key", len(key), wire.MaxKey)
	case len(value) > wire.MaxValue:
		return nil, tooLarge("value", len(value), wire.MaxValue)
	}
	if _, err := o.Level.coreLevel(); err != nil {
		return nil, err
	}
	if err := checkToken(o.Token); err != nil {
		return nil, err
	}
	seen, err := o.Context.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return wire.AppendAdminRequest(make([]byte, 0, len(key)+len(value)+len(seen)+300), &wire.AdminRequest{
		Bucket: bucket, Key: key, Context: seen, Level: int64(o.Level), MinDurable: int64(o.MinDurable),
		TTL: int64(o.TTL), Value: value, Token: o.Token,
	}), nil
}

const maxBucketName = 255

func longBucketName(name string) error {
	return fmt.Errorf("%w: name of %d bytes", ErrNoBucket, len(name))
}

// errWrongAnswer: a node has answered what was not asked.
var errWrongAnswer = errors.New("replica: the node's answer does not fit the question")

func callAndDecode[T any](ctx context.Context, node Caller, method string, req []byte, decode func([]byte) (T, error)) (T, error) {
	answer, err := node.Call(ctx, method, req)
	if err != nil {
		var none T
		return none, err
	}
	m, err := decode(answer)
	if err != nil {
		return m, fmt.Errorf("replica: answer to %s: %w", method, err)
	}
	return m, nil
}
