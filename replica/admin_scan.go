package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/scanning"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/scan"
	"github.com/skeinmesh/skein/internal/wire"
)

// BucketInfo is what a bucket is for ever.
type BucketInfo struct {
	Name   string
	Copies int
	Policy Policy
	Zones  []string
	// Conflict tells that the name is defined in another way, too: see
	// ErrBucketConflict.
	Conflict bool
}

// Buckets lists all buckets that the mesh knows, by name. ErrDegraded, or ErrUnavailable
// on a node that stores nothing, comes beside what is known here if there may be more.
func (s *Store) Buckets(ctx context.Context) ([]BucketInfo, error) {
	leave, ok := s.gate.Ops.Enter()
	if !ok {
		return nil, ErrClosed
	}
	defer leave()
	sys := s.buckets.System()
	r := s.beginScan(scanning.Query{Bucket: sys, Level: replicate.DefaultLevel})
	defer r.Close()
	var errs error
	for {
		e, err := r.Next(ctx)
		var gap *scanning.Gap
		switch {
		case err == nil && s.learnScanned(ctx, &e):
			continue
		case err == nil && ctx.Err() != nil:
			errs = errors.Join(errs, s.scanError(ctx.Err(), sys))
		case err == nil, errors.As(err, &gap):
			errs = fmt.Errorf("%w: buckets", ErrDegraded)
			continue
		case err != io.EOF:
			errs = errors.Join(errs, s.scanError(err, sys))
		}
		return s.listBuckets(), errs
	}
}

// learnScanned takes in what a scan of the definitions has come to. It reports false if
// there may be more of that name. What was read counts in any case, for definitions never
// go away.
func (s *Store) learnScanned(ctx context.Context, e *scanning.Entry) bool {
	s.buckets.LearnDefinitions(e.Key, e.Item, s.clocks.Early())
	if !e.Damaged && !e.Disputed {
		return true
	}
	read, err := s.reader.ReadKey(ctx, s.buckets.System(), s.homes.LocateKey(layout.SystemBucket, e.Key), replicate.DefaultLevel)
	s.buckets.LearnDefinitions(e.Key, read.Item, s.clocks.Early())
	return err == nil && read.Err == nil
}

// listBuckets lists the buckets that are known here.
func (s *Store) listBuckets() (out []BucketInfo) {
	for _, b := range s.buckets.ListAll() {
		if !b.System {
			out = append(out, s.infoOf(b))
		}
	}
	slices.SortStableFunc(out, func(a, b BucketInfo) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (s *Store) infoOf(b *layout.Bucket) BucketInfo {
	info := infoOfDefinition(&b.Def)
	info.Conflict = s.buckets.HasConflict(b.Def.Name)
	return info
}

func infoOfDefinition(def *wire.BucketDef) BucketInfo {
	info := BucketInfo{Name: def.Name, Copies: def.Copies, Zones: slices.Clone(def.Zones)}
	if def.Siblings {
		info.Policy = Siblings
	}
	return info
}

func (d adminDesk) answerBuckets(ctx context.Context, _ []byte) ([]byte, error) {
	all, err := d.s.Buckets(ctx)
	m := wire.AdminBuckets{AdminOutcome: faults.Outcome(err)}
	for _, b := range all {
		def := wire.BucketDef{Name: b.Name, Copies: b.Copies, Siblings: b.Policy == Siblings, Zones: b.Zones}
		m.Buckets = append(m.Buckets, wire.AdminBucket{Def: def, Conflict: b.Conflict})
	}
	return wire.AppendAdminBuckets(nil, &m), nil
}

// An answer to a program that scans ends with so many bytes, or after that time, with what
// there is: it asks again. An answer without a key goes on for longer, for asking again
// would begin anew: it ends when the homes of a shard have had their time one by one.
const (
	answerBytes = 128 << 10
	answerTime  = 2 * time.Second
)

func longestAnswer(p replicate.Patience) time.Duration { return answerTime + 4*p.Forward() }

func (d adminDesk) answerScan(ctx context.Context, req []byte) ([]byte, error) {
	m, err := wire.DecodeAdminScan(req)
	if err != nil {
		return nil, err
	}
	opts := ScanOptions{
		Prefix: m.Prefix, From: m.From, To: m.To, After: m.After, Limit: int(min(m.Limit, math.MaxInt32)),
		Reverse: m.Reverse, KeysOnly: m.KeysOnly, Level: Level(narrowToInt(m.Level)),
	}
	var reply wire.AdminPage
	b, err := d.findBucket(ctx, m.Bucket)
	if err == nil {
		err = b.fillAnswer(ctx, opts, &reply)
	}
	reply.AdminOutcome = faults.Outcome(err)
	return wire.AppendAdminPage(nil, &reply), nil
}

// fillAnswer scans until the answer is full.
func (b *Bucket) fillAnswer(ctx context.Context, opts ScanOptions, reply *wire.AdminPage) error {
	sc, err := b.beginScan(opts, answerBytes)
	if err != nil {
		return err
	}
	defer sc.endScan()
	limit, cancel := context.WithTimeout(ctx, longestAnswer(b.s.patience))
	defer cancel()
	short, cancelShort := context.WithTimeout(limit, answerTime)
	defer cancelShort()
	turn := short
	for size := 0; size < answerBytes && (turn == short || !sc.moved); {
		e, err := sc.nextEntry(turn)
		var gap *ScanGap
		switch {
		case err == io.EOF:
			return nil
		case errors.As(err, &gap):
			reply.Gaps, reply.Of = append(reply.Gaps, gap.Shards...), uint64(gap.Of)
			continue
		case errors.Is(err, ErrBucketConflict):
			reply.Conflict = true
			continue
		case errors.Is(err, context.DeadlineExceeded) && limit.Err() == nil:
			turn = limit // it ends here if there is a key
			continue
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			return fmt.Errorf("%w: scan: no key was settled in %v", ErrUnavailable, longestAnswer(b.s.patience))
		case err != nil:
			return err
		}
		out := wire.AdminEntry{Key: e.Key, Replies: uint64(e.Replies), Values: e.listValues(), Last: e.placeOfLast()}
		if out.Context, err = e.Context.MarshalBinary(); err != nil {
			return err
		}
		reply.Entries = append(reply.Entries, out)
		size += len(out.Key) + len(out.Context) + 32
		for _, v := range out.Values {
			size += len(v)
		}
	}
	reply.More, reply.After = true, sc.cursor()
	return nil
}

// Scan reads the items of a bucket in order; see Bucket.Scan. The node is asked for some
// at a time, as the sequence is consumed, and keeps nothing between. Where the stores are
// too slow for it to come to any key the scan ends in ErrUnavailable.
func (c *Client) Scan(ctx context.Context, bucket string, opts ScanOptions) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		rest, err := opts.bounds()
		if err != nil {
			yield(Entry{}, err)
			return
		}
		told, left := newTelling(bucket), opts.Limit
		for {
			opts.Limit = left
			m, err := c.askScan(ctx, bucket, opts)
			if err == nil {
				rest, err = passAnswer(rest, &m, left)
			}
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, err := range told.takeWarnings(&m) {
				if !yield(Entry{}, err) {
					return
				}
			}
			for i := range m.Entries {
				e := &m.Entries[i]
				it := Item{Key: e.Key, Context: Context{token: string(e.Context)}, Replies: int(e.Replies), values: e.Values}
				it.takeLast(e.Last)
				if !yield(Entry{it}, nil) {
					return
				}
			}
			if err := faults.FromOutcome(m.AdminOutcome); err != nil {
				yield(Entry{}, err)
				return
			}
			if left = max(left-len(m.Entries), 0); !m.More || opts.Limit > 0 && left == 0 {
				return
			}
			opts.After = m.After
		}
	}
}

// askScan asks for the next items.
func (c *Client) askScan(ctx context.Context, bucket string, o ScanOptions) (wire.AdminPage, error) {
	if len(bucket) > maxBucketName {
		return wire.AdminPage{}, fmt.Errorf("%w: name of %d bytes", ErrNoBucket, len(bucket))
	}
	req := wire.AppendAdminScan(nil, &wire.AdminScan{
		Bucket: bucket, Prefix: o.Prefix, From: o.From, To: o.To, After: o.After, Limit: uint64(o.Limit),
		Reverse: o.Reverse, KeysOnly: o.KeysOnly, Level: int64(o.Level),
	})
	return callAndDecode(ctx, c.node, wire.MethodAdminScan, req, wire.DecodeAdminPage)
}

// passAnswer returns what is left to be asked for behind an answer. An answer that is none
// to the question is an error, or a scan would show keys in no order, or never end.
func passAnswer(rest scan.Bounds, m *wire.AdminPage, limit int) (scan.Bounds, error) {
	page := scan.Page{More: m.More, Records: make([]scan.Record, len(m.Entries))}
	for i := range m.Entries {
		page.Records[i].Key = m.Entries[i].Key
	}
	var err error
	if m.More {
		page.UpTo, err = keyOfCursor(m.After)
	}
	if err != nil || !rest.AcceptsPage(page) || limit > 0 && len(m.Entries) > limit {
		return rest, fmt.Errorf("replica: scan: answer of %d entries, at most %d wanted, up to %.40q: %w", len(m.Entries), limit, m.After, wire.ErrMalformed)
	}
	if m.More {
		rest = rest.Beyond(page.UpTo)
	}
	return rest, nil
}

// telling remembers what a client was told: each answer is a scan of its own, and says
// again what the one before has said.
type telling struct {
	bucket   string
	conflict bool
	gaps     map[int]bool
}

func newTelling(bucket string) *telling { return &telling{bucket: bucket, gaps: make(map[int]bool)} }

// takeWarnings returns what is new of what is wrong with an answer.
func (t *telling) takeWarnings(m *wire.AdminPage) (out []error) {
	if m.Conflict && !t.conflict {
		t.conflict = true
		out = append(out, fmt.Errorf("%w: %q", ErrBucketConflict, t.bucket))
	}
	var fresh []int
	for _, shard := range m.Gaps {
		if !t.gaps[shard] {
			t.gaps[shard] = true
			fresh = append(fresh, shard)
		}
	}
	if fresh != nil {
		out = append(out, &ScanGap{Shards: fresh, Of: int(m.Of)})
	}
	return out
}

// Count returns how many items a scan would come to; see Bucket.Count.
func (c *Client) Count(ctx context.Context, bucket string, opts ScanOptions) (int, error) {
	opts.KeysOnly = true
	return countEntries(c.Scan(ctx, bucket, opts))
}

// Buckets lists all buckets that the node's mesh knows; see Store.Buckets.
func (c *Client) Buckets(ctx context.Context) ([]BucketInfo, error) {
	m, err := callAndDecode(ctx, c.node, wire.MethodAdminBuckets, nil, wire.DecodeAdminBuckets)
	if err != nil {
		return nil, err
	}
	var out []BucketInfo
	for i := range m.Buckets {
		info := infoOfDefinition(&m.Buckets[i].Def)
		info.Conflict = m.Buckets[i].Conflict
		out = append(out, info)
	}
	return out, faults.FromOutcome(m.AdminOutcome)
}
