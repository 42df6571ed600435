package replica

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/scanning"
	"github.com/skeinmesh/skein/internal/scan"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// ScanOptions say which keys of a bucket are read, and how. The zero ScanOptions means
// all of them.
type ScanOptions struct {
	// Prefix is what the keys begin with. Empty: anything.
	Prefix string
	// From is the least key, and To the first one that is too great, also with Reverse.
	// Empty: there is no such bound.
	From, To string
	// After has a scan go on where another one stopped: behind the entry whose Cursor
	// this is, by the order of this scan. Empty: from the beginning.
	After string
	// Limit is how many entries there are at most. Zero: no limit.
	Limit int
	// Reverse goes from the greatest key to the least.
	Reverse bool
	// KeysOnly leaves the values where they are: those of the entries are empty.
	KeysOnly bool
	// Level is how many homes of each shard are asked: as many as must say that a key is
	// unknown for a Get at that level to find nothing, more than half at least. Zero:
	// Sloppy(2). One: a single home, if it has caught up; what another one acknowledged
	// a moment ago may be missing.
	Level Level
}

// Entry is an item that a scan came to.
type Entry struct{ Item }

// Cursor returns where a scan has come to with this entry, as URL-safe text: see
// ScanOptions.After. It means the same on all nodes and does not age.
func (e *Entry) Cursor() string { return cursorOf(e.Key) }

// cursorMark begins the text of a cursor, so that an empty key has one, too.
const cursorMark = "k"

func cursorOf(key string) string {
	return cursorMark + base64.RawURLEncoding.EncodeToString([]byte(key))
}

func keyOfCursor(text string) (string, error) {
	rest, ok := strings.CutPrefix(text, cursorMark)
	key, err := base64.RawURLEncoding.DecodeString(rest)
	if !ok || err != nil || len(key) > wire.MaxKey {
		return "", fmt.Errorf("%.40q in After is no cursor", text)
	}
	return string(key), nil
}

// Validate reports all faults of the options at once, each an ErrBadScan.
func (o ScanOptions) Validate() error {
	_, err := o.bounds()
	return err
}

// bounds are the keys that the options mean.
func (o ScanOptions) bounds() (scan.Bounds, error) {
	var errs []error
	fault := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrBadScan}, args...)...))
	}
	for _, key := range []string{o.Prefix, o.From, o.To} {
		if len(key) > wire.MaxKey {
			fault("a bound of %d bytes, keys have %d at most", len(key), wire.MaxKey)
		}
	}
	if o.To != "" && o.From > o.To {
		fault("From %.40q is behind To %.40q", o.From, o.To)
	}
	if o.Limit < 0 {
		fault("Limit is %d, must not be negative", o.Limit)
	}
	if _, err := o.Level.coreLevel(); err != nil {
		fault("Level is %d, which is none", int(o.Level))
	}
	within := scan.Bounds{Lower: max(o.From, o.Prefix), Upper: o.To, Bounded: o.To != "", Reverse: o.Reverse}
	if end := wire.After([]byte(o.Prefix)); end != nil && (!within.Bounded || string(end) < within.Upper) {
		within.Upper, within.Bounded = string(end), true
	}
	if o.After != "" {
		key, err := keyOfCursor(o.After)
		if err != nil {
			fault("%w", err)
		}
		if rest := within.Beyond(key); rest.Lower > within.Lower || rest.Bounded && (!within.Bounded || rest.Upper < within.Upper) {
			within = rest // else the scan begins behind the cursor anyway
		}
	}
	return within, errors.Join(errs...)
}

// ScanGap is an error that does not end a scan. It is ErrDegraded. Of its shards, from here
// on, items may be missing, values may be older than what was acknowledged, and items may
// appear that were deleted: those who know better could not be asked.
type ScanGap struct {
	Shards []int // each is told once in a scan
	Of     int   // how many shards the bucket has
}

// Error tells how much is concerned.
func (g *ScanGap) Error() string {
	return fmt.Sprintf("replica: scan: too few stores could be asked for %d of %d shards, of which keys may be missing or out of date from here on: %.100s",
		len(g.Shards), g.Of, fmt.Sprint(g.Shards))
}

// Is tells that it is ErrDegraded.
func (g *ScanGap) Is(target error) bool { return target == ErrDegraded }

// Scan returns the items of the bucket that have a live value, in order of keys (as bytes,
// whatever they are), merged from all nodes as the sequence is consumed. Values are what
// Get shows. Nothing comes twice.
//
// A pair holds either an Entry or an error. Errors that are ErrDegraded, a *ScanGap, or
// ErrBucketConflict say what is wrong with what follows, and the scan goes on; any other
// error is the last pair: ErrBadScan, ErrUnavailable, ErrClosed, or that of ctx, behind whose
// end nothing more comes.
//
// An item that exists from before the scan until after it comes exactly once, with a
// value at least as new as the one that was acknowledged when the scan began, whatever
// nodes die, join, leave or heal meanwhile, as far as a Get at that level would find it.
// Where homes that must be asked are out of reach a *ScanGap tells of which shards that
// does not hold. An item that is written, replaced or deleted meanwhile may be seen as
// before or as after. There is no snapshot.
//
// Of each node two pages of at most 128 KiB are held, one item at least, and smaller ones
// where there are many nodes; nothing more is read until they are consumed, however long
// that takes. Leaving the loop waits for a read of this node's own disk that is under way.
func (b *Bucket) Scan(ctx context.Context, opts ScanOptions) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		sc, err := b.beginScan(opts, 0)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		defer sc.endScan()
		for {
			if err := ctx.Err(); err != nil { // also where all that is left is here
				yield(Entry{}, sc.b.s.scanError(err, sc.b.b))
				return
			}
			e, err := sc.nextEntry(ctx)
			if err == io.EOF || !yield(e, err) || err != nil && !goesOn(err) {
				return
			}
		}
	}
}

// goesOn tells whether a scan goes on behind an error.
func goesOn(err error) bool {
	var gap *ScanGap
	return errors.As(err, &gap) || errors.Is(err, ErrBucketConflict)
}

// Count returns how many items a scan would come to. ErrDegraded, or ErrBucketConflict,
// comes beside a number that may be too low, or too high where deletes are not known;
// beside any other error it is how far the scan came.
func (b *Bucket) Count(ctx context.Context, opts ScanOptions) (n int, err error) {
	opts.KeysOnly = true
	return countEntries(b.Scan(ctx, opts))
}

func countEntries(all iter.Seq2[Entry, error]) (n int, err error) {
	for _, e := range all {
		if e != nil {
			err = errors.Join(err, e)
		} else {
			n++
		}
	}
	return n, err
}

// beginScan begins to read the keys of a bucket.
func (s *Store) beginScan(q scanning.Query) *scanning.Reader {
	return scanning.Begin(scanning.Options{
		Self: s.id, Homes: s.homes, Local: s.pages, Group: s.group, Patience: s.patience, Now: s.uptime,
		Call: func(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error) {
			return s.peering.AskBulk(ctx, to, method, req, time.Now().Add(s.patience.Forward()), nil)
		},
	}, q)
}

// scanError says what has ended a scan, or is wrong with it, in the words of this package.
func (s *Store) scanError(err error, b *layout.Bucket) error {
	var gap *scanning.Gap
	switch {
	case err == io.EOF:
		return err
	case errors.As(err, &gap):
		return &ScanGap{Shards: gap.Shards, Of: s.homes.ShardsOf(b)}
	case errors.Is(err, scanning.ErrClosed):
		return fmt.Errorf("%w: scan", ErrClosed)
	case errors.Is(err, scanning.ErrNobody):
		return fmt.Errorf("%w: scan", ErrUnavailable)
	}
	return fmt.Errorf("replica: scan: %w", err)
}

// servePage answers a question for records in order.
func (s *Store) servePage(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	q, err := wire.DecodePageRequest(req)
	if err != nil {
		return nil, err
	}
	reply, err := s.pages.Read(ctx, &q)
	if err != nil {
		return nil, s.records.WrapError("read a page", err)
	}
	return wire.AppendPageReply(nil, &reply), nil
}

// newPages returns the pages of this store's own records.
func (s *Store) newPages() *scanning.Pages {
	return scanning.NewPages(scanning.PagesOptions{
		Disk: s.disk, Homes: s.homes, Shards: s.shards, Wait: s.patience.Silent() / 2, Group: s.group,
		Lags: func(shard int) bool { return s.records.SyncedStamp(shard).Lagging() },
	})
}
