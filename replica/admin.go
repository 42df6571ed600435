package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/writing"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// ErrNoBucket: no bucket of that name is known. Admin requests find buckets,
// they do not define them. ErrDegraded beside it says that stores which might
// know it could not be asked.
var ErrNoBucket = errors.New("replica: no such bucket")

// adminDesk answers requests of programs that are no nodes, by what the store offers to
// programs on its node. Whether it is asked at all is for the mesh to decide.
type adminDesk struct{ s *Store }

func (d adminDesk) registerHandlers() error {
	handlers := map[string]func(context.Context, []byte) ([]byte, error){
		wire.MethodAdminGet:        d.answerGet,
		wire.MethodAdminPut:        d.answerPut,
		wire.MethodAdminDelete:     d.answerDelete,
		wire.MethodAdminGetMany:    d.answerGetMany,
		wire.MethodAdminPutMany:    d.answerPutMany,
		wire.MethodAdminDeleteMany: d.answerDeleteMany,
		wire.MethodAdminStatus:     d.answerStatus,
		wire.MethodAdminHealth:     d.answerHealth,
		wire.MethodAdminScan:       d.answerScan,
		wire.MethodAdminBuckets:    d.answerBuckets,
		wire.MethodAdminWatch:      d.answerWatch,
		wire.MethodAdminImport:     d.answerImport,
	}
	for method, h := range handlers {
		err := d.s.mesh.Handle(method, func(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) { return h(ctx, req) })
		if err != nil {
			return fmt.Errorf("replica: serve %s: %w", method, err)
		}
	}
	return nil
}

// findBucket finds a bucket by its name. Of a name in conflict it takes one of the
// definitions, the same on all nodes; operations then say so.
func (d adminDesk) findBucket(ctx context.Context, name string) (*Bucket, error) {
	s := d.s
	leave, ok := s.gate.Ops.Enter()
	if !ok {
		return nil, ErrClosed
	}
	defer leave()
	read, err := s.reader.ReadKey(ctx, s.buckets.System(), s.homes.LocateKey(layout.SystemBucket, name), replicate.One)
	if err != nil {
		return nil, err
	}
	var in []*layout.Bucket
	if read.Found() {
		in = s.buckets.LearnDefinitions(name, read.Item, s.clocks.Early())
	}
	if len(in) == 0 {
		// It may have been defined here, out of reach of those that would keep
		// it. The system bucket, which has no name, is nobody's to use.
		in = slices.DeleteFunc(s.buckets.ListAll(), func(b *layout.Bucket) bool { return b.System || b.Def.Name != name })
	}
	if len(in) > 0 {
		return &Bucket{s: s, b: in[0], cfg: s.opened.configOf(in[0].ID)}, nil
	}
	err = fmt.Errorf("%w: %q", ErrNoBucket, name)
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("replica: find bucket %q: %w", name, ctx.Err())
	case read.Err != nil && read.Replies == 0 && s.disk == nil:
		return nil, ErrUnavailable
	case read.Err != nil:
		return nil, errors.Join(err, writing.PublicError(read.Err))
	}
	return nil, err
}

func (d adminDesk) answerGet(ctx context.Context, req []byte) ([]byte, error) {
	m, err := wire.DecodeAdminRequest(req)
	if err != nil {
		return nil, err
	}
	var it Item
	b, err := d.findBucket(ctx, m.Bucket)
	if err == nil {
		it, err = b.Get(ctx, m.Key, &GetOptions{Level: Level(narrowToInt(m.Level))})
	}
	reply, err := it.toWire(err)
	if err != nil {
		return nil, err
	}
	return wire.AppendAdminItem(nil, &reply), nil
}

// placeOfLast tells which of the values is the last writer's, counted from 1; 0: it deleted.
func (it *Item) placeOfLast() int {
	if !it.live {
		return 0
	}
	return 1 + slices.IndexFunc(it.listValues(), func(v []byte) bool { return bytes.Equal(v, it.last) })
}

func (d adminDesk) answerPut(ctx context.Context, req []byte) ([]byte, error) {
	return d.answerWrite(ctx, req, func(b *Bucket, m *wire.AdminRequest, c Context) (Result, error) {
		return b.Put(ctx, m.Key, m.Value, &PutOptions{
			Context: c, Level: Level(narrowToInt(m.Level)), MinDurable: narrowToInt(m.MinDurable), TTL: time.Duration(m.TTL),
			Token: m.Token,
		})
	})
}

func (d adminDesk) answerDelete(ctx context.Context, req []byte) ([]byte, error) {
	return d.answerWrite(ctx, req, func(b *Bucket, m *wire.AdminRequest, c Context) (Result, error) {
		return b.Delete(ctx, m.Key, &DeleteOptions{Context: c, Level: Level(narrowToInt(m.Level)), MinDurable: narrowToInt(m.MinDurable), Token: m.Token})
	})
}

func (d adminDesk) answerWrite(ctx context.Context, req []byte, write func(*Bucket, *wire.AdminRequest, Context) (Result, error)) ([]byte, error) {
	m, err := wire.DecodeAdminRequest(req)
	if err != nil {
		return nil, err
	}
	var seen Context
	if err := seen.UnmarshalBinary(m.Context); err != nil {
		return nil, err
	}
	var r Result
	b, err := d.findBucket(ctx, m.Bucket)
	if err == nil {
		r, err = write(b, &m, seen)
	}
	reply, err := r.toWire(err)
	if err != nil {
		return nil, err
	}
	return wire.AppendAdminResult(nil, &reply), nil
}

func (d adminDesk) answerStatus(ctx context.Context, req []byte) ([]byte, error) {
	known, err := wire.DecodeWish(req)
	if err != nil {
		return nil, err
	}
	st, err := d.s.Status(ctx)
	m := wire.AdminStatus{
		AdminOutcome: faults.Outcome(err), Hints: uint64(st.Hints), Syncing: uint64(st.Syncing),
		Delivered: st.Delivered, Repaired: st.Repaired, Compared: st.Compared, Moved: st.Moved,
	}
	if known > 1 {
		m.Outbox = &wire.OutboxStatus{
			Ops: uint64(st.OutboxOps), Bytes: uint64(st.OutboxBytes), Oldest: uint64(st.OutboxOldest.Milliseconds()),
			Delivered: st.OutboxDelivered, Dropped: st.OutboxDropped, Error: clipText(st.OutboxError, 1024),
		}
	}
	return wire.AppendAdminStatus(nil, &m), nil
}

func (d adminDesk) answerHealth(ctx context.Context, req []byte) ([]byte, error) {
	known, err := wire.DecodeWish(req)
	if err != nil {
		return nil, err
	}
	h, err := d.s.Health(ctx)
	m := wire.AdminHealth{AdminOutcome: faults.Outcome(err), Problems: h.Problems, InWords: known < 2}
	for i := range h.Shards {
		if m.InWords {
			m.Lines = append(m.Lines, h.Shards[i].String())
		} else {
			m.Shards = append(m.Shards, h.Shards[i].toWire())
		}
	}
	return wire.AppendAdminHealth(nil, &m), nil
}

// toWire returns h as it travels.
func (h *ShardHealth) toWire() wire.AdminShard {
	m := wire.AdminShard{Bucket: h.Bucket, Role: h.Role, Shard: h.Shard, Copies: h.Copies, Hints: h.Hints, Syncing: h.Syncing, Homes: h.Homes}
	for _, id := range slices.Sorted(maps.Keys(h.Synced)) {
		m.Synced = append(m.Synced, wire.AdminSynced{ID: id, Ago: h.Synced[id]})
	}
	return m
}

// shardHealthOf is the reverse.
func shardHealthOf(m wire.AdminShard) ShardHealth {
	h := ShardHealth{Bucket: m.Bucket, Role: m.Role, Shard: m.Shard, Copies: m.Copies, Hints: m.Hints, Syncing: m.Syncing, Homes: m.Homes}
	for _, s := range m.Synced {
		if h.Synced == nil {
			h.Synced = make(map[view.NodeID]time.Duration, len(m.Synced))
		}
		h.Synced[s.ID] = s.Ago
	}
	return h
}

// narrowToInt makes an int of any width of what a client sent. Beyond these bounds
// it makes no difference.
func narrowToInt(n int64) int { return int(max(min(n, 1<<16), -1<<16)) }
