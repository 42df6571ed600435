package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/reading"
	"github.com/skeinmesh/skein/internal/replica/writing"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/partition/token"
)

// Bucket is a named set of items that are kept alike. All methods may be used
// concurrently.
type Bucket struct {
	s   *Store
	b   *layout.Bucket
	cfg BucketConfig
}

// Bucket opens a bucket, and defines it if the mesh does not know it. If the
// name is defined differently the error is ErrBucketConflict; when it is also
// defined as asked for, because two sides of a cut defined it apart from each
// other, a usable Bucket comes beside the error. Without a peer in reach the
// bucket is defined here and now, and the others hear of it.
func (s *Store) Bucket(ctx context.Context, name string, cfg BucketConfig) (*Bucket, error) {
	leave, ok := s.gate.Ops.Enter()
	if !ok {
		return nil, ErrClosed
	}
	defer leave()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if name == "" || len(name) > 255 {
		return nil, fmt.Errorf("%w: name of %d bytes, must be 1 to 255", ErrBadBucket, len(name))
	}
	cfg = cfg.withDefaults()
	cfg.Zones = append([]string(nil), cfg.Zones...)
	def := wire.BucketDef{Name: name, Copies: cfg.Copies, Siblings: cfg.Policy == Siblings, Zones: cfg.Zones}
	too, err := s.publishDefinition(ctx, &layout.Bucket{ID: layout.BucketID(wire.AppendBucketDef(nil, &def)), Def: def})
	if !too {
		return nil, err
	}
	b, clash := s.buckets.AddDefinition(def)
	if clash != nil {
		return nil, clash
	}
	s.opened.noteOpened(b.ID, cfg)
	return &Bucket{s: s, b: b, cfg: cfg}, err
}

// Name returns the bucket's name.
func (b *Bucket) Name() string { return b.b.Def.Name }

// PutOptions says how a value is written. The zero PutOptions is the default.
type PutOptions struct {
	// Context is what the client has seen; the write replaces that and
	// nothing else. Zero: the write replaces whatever its coordinator knows.
	Context Context
	// Level is when the write returns. Zero: Sloppy(2).
	Level Level
	// MinDurable is on how many stores the write must be synced not to be
	// ErrDegraded. Zero: as the bucket says.
	MinDurable int
	// TTL is after what time the value reads as deleted, at the earliest, by the
	// clocks of the stores: by the median of those where three or more can be
	// compared, by the later one of two. Of a write in the outbox it counts from
	// delivery. Zero: as the bucket says; negative: never.
	TTL time.Duration
	// Token is that of the lead under which the client writes, of one election for each key.
	// Zero: of none. Where a higher one was seen for the key the write ends in ErrFenced; so
	// does one without a token where any was. See "Keys of a leader" in the package's
	// documentation.
	Token token.Token
}

// GetOptions says how a key is read. The zero GetOptions is the default.
type GetOptions struct {
	// Level is how many stores are asked. Zero: Sloppy(2). One: this store if it is a home,
	// else the nearest home that is alive: one in the zone of this node before others, then
	// by measured round trip. Others are asked when that one does not know the key or fails.
	Level Level
	// Seen is what the client has seen of the key: the Context of an Item, or the one that
	// a write has returned. The read goes on, at all other stores and again, until what it
	// shows covers that, three times Config.AckTimeout at most, or until the deadline of
	// ctx where there is one. Else ErrBehind comes beside the Item. Zero: nothing.
	//
	// Where all stores have said twice that they do not know it, it was deleted and
	// forgotten by all, and is covered by what there is. A write in this node's outbox is
	// covered when it was delivered; but for the Context that was returned of it, which
	// must not have been sent through a client, nothing tells of it.
	Seen Context
}

// DeleteOptions says how a key is deleted; see PutOptions.
type DeleteOptions struct {
	Context    Context
	Level      Level
	MinDurable int
	Token      token.Token
}

// Put writes a value. value stays the caller's. It returns ErrDegraded beside
// a valid Result when the write is kept on fewer stores than asked for. On
// ErrUnavailable, or when ctx ends, the write may or may not have been kept:
// writing again is safe, it replaces what the first attempt left. The key must
// not be empty; one that an older version has written can be read and deleted.
//
// On a node that stores nothing a write that no store takes, or before which
// others of the key wait, is kept in the node's outbox: see Result.Queued.
func (b *Bucket) Put(ctx context.Context, key string, value []byte, opts *PutOptions) (r Result, err error) {
	defer b.s.meters.countPut(time.Now(), &r, &err)
	if opts == nil {
		opts = &PutOptions{}
	}
	if key == "" {
		return Result{}, errEmptyKey
	}
	if len(value) > b.cfg.MaxValue {
		return Result{}, tooLarge("value", len(value), b.cfg.MaxValue)
	}
	w := b.newValue(value, opts.TTL)
	w.Token = opts.Token
	return b.writeKey(ctx, key, w, opts.Context, opts.Level, opts.MinDurable)
}

// newValue is the write of a value that lives so long.
func (b *Bucket) newValue(value []byte, ttl time.Duration) reconcile.Write {
	if ttl == 0 {
		ttl = b.cfg.TTL
	}
	w := reconcile.Write{Value: value}
	if ttl > 0 {
		w.TTL = max(ttl.Milliseconds(), 1)
	}
	return w
}

// Delete writes the record of a delete; a value that is written concurrently
// survives it, or not, as the bucket's policy says. Deleting what is not there
// is no error.
func (b *Bucket) Delete(ctx context.Context, key string, opts *DeleteOptions) (r Result, err error) {
	defer b.s.meters.countPut(time.Now(), &r, &err)
	if opts == nil {
		opts = &DeleteOptions{}
	}
	return b.writeKey(ctx, key, reconcile.Write{Tomb: true, Token: opts.Token}, opts.Context, opts.Level, opts.MinDurable)
}

func (b *Bucket) writeKey(ctx context.Context, key string, w reconcile.Write, c Context, level Level, durable int) (Result, error) {
	s := b.s
	leave, ok := s.gate.Ops.Enter()
	if !ok {
		return Result{}, ErrClosed
	}
	defer leave()
	if len(key) > b.cfg.MaxKey {
		return Result{}, tooLarge("key", len(key), b.cfg.MaxKey)
	}
	seen, err := c.seenFor(b, key)
	if err != nil {
		return Result{}, err
	}
	w.Seen = seen
	q, err := b.newRequest(key, w, level, durable)
	if err != nil {
		return Result{}, err
	}
	size := len(key) + len(w.Value)
	if !s.gate.Clients.MakeRoom(size) {
		return Result{}, admission.Overload{After: admission.RetryAfter}
	}
	defer s.gate.Clients.ReleaseBytes(size)
	if s.outbox != nil {
		return b.writeOrQueue(ctx, q, writeWish{after: c.after, level: level, durable: durable})
	}
	out, err := s.router.RouteWrite(ctx, q)
	return b.newResult(key, out, err)
}

// newRequest is a write as it goes to a coordinator.
func (b *Bucket) newRequest(key string, w reconcile.Write, level Level, durable int) (*writing.Request, error) {
	lv, err := level.coreLevel()
	q := &writing.Request{Bucket: b.b, At: b.s.homes.LocateKey(b.b.ID, key), Write: w, Level: lv}
	if err := errors.Join(b.checkDurable(durable), checkToken(w.Token)); err != nil {
		return nil, err
	}
	q.Durable = b.minDurable(q.At, durable)
	if level == 0 {
		// A key with one home is not degraded by having one.
		q.Level = min(lv, replicate.Sloppy(b.s.homes.Now().RouteOf(b.b, q.At.Shard).Homes))
	}
	return q, err
}

// checkDurable refuses what no write can be.
func (b *Bucket) checkDurable(durable int) error {
	if durable > b.b.Def.Copies {
		return fmt.Errorf("%w: MinDurable is %d, and bucket %q has %d copies", ErrBadBucket, durable, b.Name(), b.b.Def.Copies)
	}
	return nil
}

// checkToken refuses what no election gives.
func checkToken(t token.Token) error {
	if (t.Term == 0) != (t.Node == 0) {
		return fmt.Errorf("replica: %w: term %d of node %v", token.ErrToken, t.Term, t.Node)
	}
	return nil
}

// newResult is what the client is told of a write that a store has coordinated.
func (b *Bucket) newResult(key string, out writing.Outcome, err error) (Result, error) {
	if err != nil && !errors.Is(err, ErrDegraded) {
		return Result{}, b.withConflict(err)
	}
	return Result{
		Context: b.contextOf(key, out.Seen),
		Durable: out.Result.Durable, Homes: out.Result.Homes, Hinted: out.Result.Hinted,
		Dot: out.Dot, Covered: out.Covered,
	}, b.withConflict(err)
}

func (b *Bucket) minDurable(at layout.Place, asked int) int {
	switch {
	case asked > 0:
		return asked
	case b.cfg.MinDurable > 0:
		return b.cfg.MinDurable
	}
	lay := b.s.homes.Now()
	return min(replicate.DefaultMinDurable(len(lay.Placed)), max(lay.RouteOf(b.b, at.Shard).Homes, 1))
}

// withConflict adds to an operation's outcome what the caller has to know of the
// bucket.
func (b *Bucket) withConflict(err error) error {
	if b.s.buckets.HasConflict(b.b.Def.Name) {
		return errors.Join(err, fmt.Errorf("%w: %q", ErrBucketConflict, b.b.Def.Name))
	}
	return err
}

// Get reads a key. It returns ErrNotFound beside an Item that carries the
// context when there is no live value. When too few stores could be asked to
// be sure of what was found, or that there is nothing, ErrDegraded is added.
func (b *Bucket) Get(ctx context.Context, key string, opts *GetOptions) (item Item, err error) {
	s := b.s
	defer s.meters.countGet(time.Now(), &item, &err)
	leave, ok := s.gate.Ops.Enter()
	if !ok {
		return Item{}, ErrClosed
	}
	defer leave()
	var o GetOptions
	if opts != nil {
		o = *opts
	}
	lv, err := o.Level.coreLevel()
	if err != nil {
		return Item{}, err
	}
	if len(key) > b.cfg.MaxKey {
		return Item{}, tooLarge("key", len(key), b.cfg.MaxKey)
	}
	r, err := b.newRead(key, lv, o.Seen)
	if err != nil {
		return Item{}, err
	}
	return r.showItem(ctx, r.beginReading(ctx, s.questions.Lanes))
}

// showItem waits for a read that was begun, and shows what it brings.
func (r *keyRead) showItem(ctx context.Context, under reading.UnderWay) (Item, error) {
	b, s := r.b, r.b.s
	read, err := r.pursue(ctx, under)
	isBehind := errors.Is(err, ErrBehind)
	switch {
	case err != nil && !isBehind:
		return Item{}, b.withConflict(err)
	case read.Err != nil && s.group.Context().Err() != nil:
		return Item{}, b.withConflict(fmt.Errorf("%w: get", ErrClosed))
	case read.Err != nil && ctx.Err() != nil && !isBehind:
		return Item{}, b.withConflict(fmt.Errorf("replica: get: %w", ctx.Err()))
	case read.Replies == 0 && !read.Found() && read.Err != nil && s.disk == nil:
		return Item{}, b.withConflict(errors.Join(s.router.Unavailable(), err))
	}
	item, found := b.newItem(r.at.Key, read.Item, read.Replies, false)
	if read.Err != nil || isBehind {
		found = errors.Join(found, writing.PublicError(read.Err), err)
	}
	return item, b.withConflict(found)
}
