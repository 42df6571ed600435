package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/ledger"
	"github.com/skeinmesh/skein/internal/storage/file"
	"github.com/skeinmesh/skein/replica/version"
)

// Writes is a bucket of which writes are entered and proven. *replica.Writes has it.
type Writes interface {
	// Name returns the name of the bucket.
	Name() string
	// Read returns the writes of a key that none has replaced, deletes among them: first the one
	// that readers see.
	Read(ctx context.Context, key string) ([]version.Sibling, error)
	// Follow tells of the same of all keys, when they change, and calls current when nothing is
	// missing, with the place that it has come to. It begins with what is there, or goes on from
	// such a place. It ends with an error: that of told or current, of ctx, or another one.
	Follow(ctx context.Context, from string, told func(key string, all []version.Sibling) error, current func(at string) error) error
}

const (
	gatherTime  = 200 * time.Millisecond // from the first write that is told to the leaves
	mostWaiting = 4096                   // writes that wait for their leaves
	feedRetry   = time.Second
)

// Feed enters the writes that this node has coordinated in some buckets in its log. What that
// promises stands at the package. All methods may be used concurrently.
type Feed struct {
	l       *Ledger
	buckets []Writes
	news    chan entry

	mu     sync.Mutex
	status FeedStatus
	faults map[string]error // by bucket; of "" those of the disk
}

// FeedStatus tells how a Feed does. The numbers count since it was made.
type FeedStatus struct {
	// Entered is how many writes were entered.
	Entered uint64
	// LeftOut is how many were not, and will not be: later ones of the same key came first.
	LeftOut uint64
	// Waiting is how many of those that were told wait for their leaves.
	Waiting int
	// Error is what keeps the feed from going on, in words. Empty: nothing.
	Error string
}

// entry is a leaf to be entered, or a place that a bucket has been followed to.
type entry struct {
	leaf Leaf
	at   string // empty: it is a leaf
}

// birth is what a store's writes of a key are counted by: see version.Actor.
type birth struct {
	session uint64
	seq     uint32
}

// NewFeed returns a feed of some buckets, each of which has a name of its own. One Feed of a
// Ledger runs at a time.
func (l *Ledger) NewFeed(buckets ...Writes) *Feed {
	return &Feed{l: l, buckets: buckets, news: make(chan entry, mostWaiting), faults: make(map[string]error)}
}

// Run enters writes until ctx ends, or the Ledger is closed; then the error is ErrClosed. It
// begins by reading the log, and goes on where the last run has stopped. Faults of the disk and of
// the buckets are logged, told by Status, and overcome by trying again.
func (f *Feed) Run(ctx context.Context) error {
	entered, err := f.l.own.loadBirths(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(f.l.group.Context(), cancel)()
	var all sync.WaitGroup
	for _, b := range f.buckets {
		all.Go(func() { f.followBucket(ctx, b) })
	}
	f.keepEntering(ctx, entered)
	cancel()
	all.Wait()
	if f.l.group.Context().Err() != nil {
		return ErrClosed
	}
	return nil
}

// Status tells how the feed does.
func (f *Feed) Status() FeedStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.status
	s.Waiting += len(f.news)
	if len(f.faults) > 0 {
		s.Error = errors.Join(slices.Collect(maps.Values(f.faults))...).Error()
	}
	return s
}

// noteFault notes what keeps a bucket, or with "" the disk, from going on, or that nothing does.
func (f *Feed) noteFault(ctx context.Context, of string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil:
		delete(f.faults, of)
	case ctx.Err() == nil:
		f.faults[of] = err
		f.l.cfg.Logger.Warn("ledger feed", "error", err)
	}
}

// followBucket tells the news of one bucket to keepEntering. Where it cannot go on from the place that
// is known it begins with all that is there.
func (f *Feed) followBucket(ctx context.Context, w Writes) {
	own := uint64(f.l.id)
	hand := func(e entry) error {
		select {
		case f.news <- e:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for anew := false; ctx.Err() == nil; {
		from, told := "", false
		if !anew {
			from = f.l.own.loadPlace(w.Name())
		}
		err := w.Follow(ctx, from, func(key string, all []version.Sibling) error {
			told = true
			for i := range all {
				s := &all[i]
				if s.Dot.A.Store != own {
					continue
				}
				if err := hand(entry{leaf: leafOf(w.Name(), key, s)}); err != nil {
					return err
				}
			}
			return nil
		}, func(at string) error {
			told = true
			f.noteFault(ctx, w.Name(), nil)
			return hand(entry{Leaf{Bucket: w.Name()}, at})
		})
		anew = !told
		f.noteFault(ctx, w.Name(), fmt.Errorf("ledger: follow bucket %q: %w", w.Name(), err))
		waitFor(ctx, feedRetry)
	}
}

// leafOf is what the leaf of a write stands for. A delete, or a value that has ended, has no Sum.
func leafOf(bucket, key string, s *version.Sibling) Leaf {
	leaf := Leaf{Kind: Write, Bucket: bucket, Key: key, Dot: s.Dot}
	if s.Flags&version.Tomb == 0 {
		leaf.Sum = sha256.Sum256(s.Value)
	}
	return leaf
}

func waitFor(ctx context.Context, long time.Duration) {
	t := time.NewTimer(long)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// keepEntering enters what is told, together with what comes soon after it.
func (f *Feed) keepEntering(ctx context.Context, entered map[birth]uint64) {
	for {
		var batch []entry
		select {
		case e := <-f.news:
			batch = append(batch, e)
		case <-ctx.Done():
			return
		}
		waitFor(ctx, gatherTime)
		for more := true; more && len(batch) < mostWaiting; {
			select {
			case e := <-f.news:
				batch = append(batch, e)
			default:
				more = false
			}
		}
		f.setWaiting(len(batch))
		for err := f.enterAll(ctx, batch, entered); err != nil && ctx.Err() == nil; err = f.enterAll(ctx, batch, entered) {
			f.noteFault(ctx, "", err)
			waitFor(ctx, feedRetry)
		}
		f.setWaiting(0)
		f.noteFault(ctx, "", nil)
	}
}

func (f *Feed) setWaiting(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status.Waiting = n
}

// enterAll enters what is not in the log: entered is the last write of each birth that is. Then it
// keeps the places.
func (f *Feed) enterAll(ctx context.Context, batch []entry, entered map[birth]uint64) error {
	var leaves []Leaf
	last, leftOut := map[birth]uint64{}, uint64(0)
	for i := range batch {
		b, n := birthOf(batch[i].leaf.Dot)
		before := max(entered[b], last[b])
		if batch[i].at != "" || n <= before {
			continue
		}
		leaves, leftOut, last[b] = append(leaves, batch[i].leaf), leftOut+n-before-1, n
	}
	if err := f.l.own.appendLeaves(ctx, leaves); err != nil {
		return err
	}
	for b, n := range last {
		entered[b] = n
	}
	f.mu.Lock()
	f.status.Entered, f.status.LeftOut = f.status.Entered+uint64(len(leaves)), f.status.LeftOut+leftOut
	f.mu.Unlock()
	for i := range batch {
		if e := &batch[i]; e.at != "" {
			if err := f.l.own.savePlace(ctx, e.leaf.Bucket, e.at); err != nil {
				return err
			}
		}
	}
	return nil
}

func birthOf(d version.Dot) (birth, uint64) { return birth{d.A.Session, d.A.Seq}, d.N }

// loadBirths reads from the log which write of each birth of this store was entered last.
func (l *ownLog) loadBirths(ctx context.Context) (map[birth]uint64, error) {
	last := map[birth]uint64{}
	size := l.countLeaves()
	for n := int64(0); n*ledger.Width < size; n++ {
		entries, err := l.viewLog(ctx).readBundle(n)
		if err != nil {
			return nil, fmt.Errorf("ledger: read what was entered: %w", err)
		}
		for _, e := range entries {
			leaf, err := ledger.ParseLeaf(e)
			if err == nil && leaf.Kind == ledger.Write && leaf.Dot.A.Store == uint64(l.node) {
				b, n := birthOf(leaf.Dot)
				last[b] = max(last[b], n)
			}
		}
	}
	return last, nil
}

// placePath is where the place is kept to which a bucket was followed.
func (l *ownLog) placePath(bucket string) string {
	sum := sha256.Sum256([]byte(bucket))
	return l.files.fs.PathJoin(l.files.dir, "feed-"+hex.EncodeToString(sum[:8]))
}

// loadPlace returns nothing where nothing is known: then all is told anew, which is safe.
func (l *ownLog) loadPlace(bucket string) string {
	at, err := file.Read(l.files.fs, l.placePath(bucket))
	if err != nil {
		return ""
	}
	return string(at)
}

func (l *ownLog) savePlace(ctx context.Context, bucket, at string) error {
	return l.doJob(ctx, func(context.Context) error { return file.Write(l.files.fs, l.placePath(bucket), []byte(at)) })
}
