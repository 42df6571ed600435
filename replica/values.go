package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/slice"
)

// Values shows buckets as plain keys and values, to what puts old values back and knows nothing of
// buckets: backup.PutBack. It reads and writes as any program does: reads ask a quorum, and a write
// replaces what a read has seen. All methods may be used concurrently.
type Values struct {
	open func(bucket string) (batches, error)
}

// batches is what Values does with a bucket. *Bucket is one.
type batches interface {
	PutMany(ctx context.Context, puts []BatchPut, opts *PutOptions) ([]BatchResult, error)
	GetMany(ctx context.Context, gets []BatchGet, opts *GetOptions) ([]BatchItem, error)
}

// NewValues returns the values of buckets, which are found by their names.
func NewValues(buckets ...*Bucket) *Values {
	return &Values{func(name string) (batches, error) {
		for _, b := range buckets {
			if b.Name() == name {
				return b, nil
			}
		}
		return nil, fmt.Errorf("%w: %q", ErrNoBucket, name)
	}}
}

// Values returns the values of the node's buckets.
func (c *Client) Values() *Values {
	return &Values{func(name string) (batches, error) { return clientBucket{c, name}, nil }}
}

// clientBucket is a bucket as a client sees it.
type clientBucket struct {
	c    *Client
	name string
}

func (b clientBucket) PutMany(ctx context.Context, puts []BatchPut, opts *PutOptions) ([]BatchResult, error) {
	return b.c.PutMany(ctx, b.name, puts, opts)
}

func (b clientBucket) GetMany(ctx context.Context, gets []BatchGet, opts *GetOptions) ([]BatchItem, error) {
	return b.c.GetMany(ctx, b.name, gets, opts)
}

// ReadValues reads keys of a bucket. What too few stores could be asked about comes with an error.
func (v *Values) ReadValues(ctx context.Context, bucket string, keys []string) ([]slice.Current, error) {
	b, err := v.open(bucket)
	if err != nil {
		return nil, err
	}
	out := make([]slice.Current, len(keys))
	for first := 0; first < len(keys); first += MaxBatch {
		part := keys[first:min(first+MaxBatch, len(keys))]
		gets := make([]BatchGet, len(part))
		for i, key := range part {
			gets[i].Key = key
		}
		items, err := b.GetMany(ctx, gets, &GetOptions{Level: Quorum})
		if items == nil {
			return nil, err
		}
		for i := range items {
			out[first+i] = currentOf(&items[i])
		}
	}
	return out, nil
}

func currentOf(it *BatchItem) (c slice.Current) {
	if it.Err != nil && !isPlainlyMissing(it.Err) {
		return slice.Current{Err: it.Err}
	}
	if c.Seen, c.Err = it.Context.MarshalBinary(); c.Err != nil {
		return c
	}
	c.Known, c.All = wire.PeekKnown(c.Seen), it.Siblings()
	c.Last, c.Live = it.Value()
	return c
}

// WriteValues writes values, each in the place of what a read has seen of its key. It reads them
// again and tells where somebody else has written meanwhile.
func (v *Values) WriteValues(ctx context.Context, bucket string, in []slice.Anew) []slice.Rewritten {
	out := make([]slice.Rewritten, len(in))
	b, err := v.open(bucket)
	for first := 0; first < len(in); {
		var puts []BatchPut
		var of []int
		size, i := 0, first
		for ; i < len(in) && (i == first || len(puts)+len(in[i].Values) <= MaxBatch && size+sizeOfAnew(&in[i]) <= MaxBatchBytes); i++ {
			a := &in[i]
			var seen Context
			if bad := seen.UnmarshalBinary(a.Seen); bad != nil || seen.IsZero() {
				out[i].Err = errors.Join(ErrBadContext, bad)
				continue
			}
			size += sizeOfAnew(a)
			for j, value := range a.Values {
				p := BatchPut{Key: a.Key, Value: value, Context: seen, TTL: -1}
				if j < len(a.TTL) && a.TTL[j] > 0 {
					p.TTL = a.TTL[j]
				}
				puts, of = append(puts, p), append(of, i)
			}
		}
		first = i
		if err != nil {
			for _, i := range of {
				out[i].Err = err
			}
			continue
		}
		writeAnew(ctx, b, puts, of, in, out)
	}
	return out
}

func sizeOfAnew(a *slice.Anew) (n int) {
	for _, v := range a.Values {
		n += len(a.Key) + len(v)
	}
	return n
}

// writeAnew writes a batch, one by one where something in it cannot be written, and looks what is
// there then. of are the places of the entries in in and out.
func writeAnew(ctx context.Context, b batches, puts []BatchPut, of []int, in []slice.Anew, out []slice.Rewritten) {
	if len(puts) == 0 {
		return
	}
	done, err := b.PutMany(ctx, puts, &PutOptions{Level: Quorum})
	if done == nil {
		if len(puts) == 1 {
			out[of[0]].Err = err
			return
		}
		for i := range puts {
			writeAnew(ctx, b, puts[i:i+1], of[i:i+1], in, out)
		}
		return
	}
	var gets []BatchGet
	var which []int
	for i := range done {
		at := &out[of[i]]
		if err := unlessKept(done[i].Result, done[i].Err); err != nil {
			at.Err = err
		} else if at.Err == nil && (i+1 == len(done) || of[i+1] != of[i]) {
			gets, which = append(gets, BatchGet{Key: puts[i].Key}), append(which, i)
		}
	}
	if len(gets) == 0 {
		return
	}
	items, err := b.GetMany(ctx, gets, &GetOptions{Level: Quorum})
	for i, n := range which {
		now := slice.Current{Err: err}
		if items != nil {
			now = currentOf(&items[i])
		}
		if now.Err != nil {
			out[of[n]].Err = fmt.Errorf("it is written, and cannot be read again: %w", now.Err)
			continue
		}
		out[of[n]].Raced = isRaced(&in[of[n]], now, done[n].Context)
	}
}

// isRaced tells whether anything is there but what was written. Of one value nobody has written
// beside it as long as a reader has seen what the writer has, deletes among it.
func isRaced(a *slice.Anew, now slice.Current, last Context) bool {
	if len(a.Values) > 1 {
		return !slice.SameValues(a.Values, now.All)
	}
	wrote, err := last.MarshalBinary()
	return err != nil || !bytes.Equal(wrote, now.Seen)
}
