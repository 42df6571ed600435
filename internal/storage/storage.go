// Package storage is the durable store of a node: ordered keys with
// checksummed values on Pebble.
//
// Writers queue update functions; one goroutine runs all that have queued,
// puts what they wrote into one Pebble batch and syncs it once (group
// commit). Nothing is shown to anyone before it is synced: Pebble makes a
// batch visible before its log is on disk, so readers pass a gate (see
// group). When the log cannot be written or synced the store stops for good;
// what an fsync that failed has left on disk cannot be known, and asking
// again may be answered with a lie.
//
// The meaning of keys and values belongs to the caller.
package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/storage/file"
)

// Errors of Open.
var (
	// ErrLocked says that another process, or another Store in this one,
	// has the directory open.
	ErrLocked = errors.New("store is in use")
	// ErrNewerFormat says that a newer release wrote the store. It was left
	// untouched.
	ErrNewerFormat = file.ErrNewerFormat
)

// Errors of operations. ErrCorrupt and ErrStorageFull also come from Open.
var (
	// ErrNotFound says that the store holds no record of the key. It does
	// not say that there never was one.
	ErrNotFound = errors.New("key not found")
	// ErrCorrupt says that a record, or the store, is damaged. What it held
	// is unknown; it must not be taken for absent.
	ErrCorrupt = errors.New("data is corrupt")
	// ErrStorageFull says that too little space is free to write safely.
	// Nothing was written; reads go on, and writes do when space returns.
	ErrStorageFull = errors.New("storage is full")
	// ErrStoreFailed says that the disk failed to keep a write and the
	// store has stopped for good. What was acknowledged before is kept;
	// updates that were under way may or may not be.
	ErrStoreFailed = errors.New("store has failed")
	// ErrReadOnly refuses an update of a store opened with ReadOnly.
	ErrReadOnly = errors.New("store is read-only")
	// ErrKey refuses a key that is empty, begins with a zero byte, or is longer
	// than MaxKey.
	ErrKey = errors.New("key is empty, reserved or too long")
	// ErrTooLarge refuses a value longer than MaxValue.
	ErrTooLarge = errors.New("value is too large")
	// ErrBusy says that no more updates can wait, see TryStart.
	ErrBusy = errors.New("too many updates wait")
	// ErrClosed says that the Store was closed.
	ErrClosed = errors.New("store is closed")
)

// Limits of one record.
const (
	MaxKey   = 64 << 10
	MaxValue = 64 << 20
)

// Options say where the store is and what it may use.
type Options struct {
	// FS holds the store. Default: that of the host.
	FS vfs.FS
	// Dir is the directory of the store. It is created, with its parents,
	// unless ReadOnly.
	Dir string
	// CacheBytes bounds the memory spent on caching: one eighth, which scans
	// and reads of cold records live on, for Pebble's blocks, the rest for
	// records. Default (0): 16 MiB. Minimum: 1 MiB.
	CacheBytes int64
	// MemTableBytes is how much is collected in memory, and in the log,
	// before it is sorted into tables: more costs memory and time to open,
	// less costs wear. At most three of this size exist at a time. Logs kept to
	// be written over take some six times as much on disk. Default (0): 8 MiB,
	// give or take a fifth by chance: stores that hold copies of the same
	// records fill at the same pace, and would all be slow at the same moment.
	// Minimum: 256 KiB.
	MemTableBytes int64
	// Reserve is how many bytes must be free in the file system for an
	// update to be accepted, so that what was accepted can still be sorted
	// in. Updates that make room use it, see Tx.UseReserve, down to an eighth. With
	// less than two times MemTableBytes it may not do for giving back room that is spread
	// over all tables. Default (0): four times MemTableBytes. Negative: do not look.
	Reserve int64
	// BlockBytes is the size of the blocks that tables are made of. What does not
	// read is lost by the block. Default (0): 16 KiB: of Pebble's 4 KiB compactions
	// would read each by itself.
	BlockBytes int
	// ReadOnly opens the store for looking only: no file in it is changed.
	ReadOnly bool
	// OnCorrupt is told of each damaged record when it is come across; with
	// an empty key, of a range that a scan could not read. It is called from
	// whatever goroutine found it, must not block and must not call the Store.
	// key is the callee's to keep. Default: none.
	OnCorrupt func(key []byte, err error)
	// OnSync is told how long it took to write and sync each group of updates that
	// is durable since. It is called from the goroutine that commits, and must be
	// quick. Default: none.
	OnSync func(took time.Duration)
	// Logger gets what the operator should know. Default: silent.
	Logger *slog.Logger
}

func (o *Options) fillDefaults() error {
	var errs []error
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Dir == "" {
		errs = append(errs, errors.New("no Dir"))
	}
	switch {
	case o.CacheBytes == 0:
		o.CacheBytes = 16 << 20
	case o.CacheBytes < 1<<20:
		errs = append(errs, fmt.Errorf("CacheBytes is %d, the minimum is 1 MiB", o.CacheBytes))
	}
	switch {
	case o.MemTableBytes == 0:
		o.MemTableBytes = 8<<20*4/5 + rand.N[int64](8<<20*2/5)
	case o.MemTableBytes < 256<<10 || o.MemTableBytes > 1<<30:
		errs = append(errs, fmt.Errorf("MemTableBytes is %d, not between 256 KiB and 1 GiB", o.MemTableBytes))
	}
	if o.BlockBytes == 0 {
		o.BlockBytes = 16 << 10
	} else if o.BlockBytes < 512 {
		errs = append(errs, fmt.Errorf("BlockBytes is %d, the minimum is 512", o.BlockBytes))
	}
	if o.Reserve == 0 {
		o.Reserve = 4 * o.MemTableBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if len(errs) > 0 {
		return fmt.Errorf("storage options: %w", errors.Join(errs...))
	}
	return nil
}

// Store is an open store. All methods may be used concurrently. Bytes that a
// Store gives out are shared between all who asked: they are never changed
// by the Store and must not be changed by anybody.
type Store struct {
	opts  Options
	db    *pebble.DB
	block *pebble.Cache
	lock  *pebble.Lock
	guard *guard
	cache *recordCache
	tasks *lifecycle.Group // the committer, and what keeps a spare log

	queue         chan *update
	updates       sync.Pool     // of *update
	committerDone chan struct{} // closed when the committer has gone
	mends         chan *mending
	exciseLock    sync.RWMutex          // held while a part of the store goes
	exciseSeq     atomic.Uint64         // odd meanwhile
	inflight      atomic.Pointer[group] // applied, perhaps visible in Pebble, not yet known to be synced
	pressure      pressure
	gathering     gathering
	groupCount    uint64        // groups in the store; only the committer's, once open
	syncedCount   atomic.Uint64 // the same, for all
	markedCount   uint64        // the same, as the mark says; only markLoop's, once open

	refuseOnce   sync.Once
	refused      chan struct{} // closed when updates are not taken any more
	closed       atomic.Bool
	pebbleWedged atomic.Bool     // Pebble panicked with its locks held
	readers      *lifecycle.Gate // reading from db now

	stats  counters
	damage damage
}

// Get returns the value of key, which is shared and must not be changed. It
// never returns what is not synced: if the only value it can see is being
// synced, it waits for that. The error is ErrNotFound, ErrCorrupt (unknown),
// ErrStoreFailed, ErrClosed or that of ctx.
func (s *Store) Get(ctx context.Context, key []byte) ([]byte, error) { return s.getSynced(ctx, key) }

// Scan calls fn for every record with lower <= key < upper in the order of
// keys, as of one moment, synced data only. An empty bound is open. Damaged
// records are left out and reported to Options.OnCorrupt. Where a part of the
// disk cannot be read at all, Scan ends there with ErrCorrupt: what follows
// is unknown until that part is given up; see Mend. key and value are valid only during the call and must not be
// changed. Scan stops at the first error of fn and returns it. It keeps files
// from being deleted while it runs; fn may read the Store and update it, but
// not close it.
func (s *Store) Scan(ctx context.Context, lower, upper []byte, fn func(key, value []byte) error) error {
	return s.scanSynced(ctx, lower, upper, fn)
}

// Update runs fn on the committer goroutine and makes what it wrote durable,
// all of it or nothing. It returns nil when it is synced, or fn's error, in
// which case fn has written nothing. fn runs alone, sees what all updates
// before it wrote, and must be quick: all other writers wait for it. It must
// not call the Store but through tx, and not keep tx.
//
// When ctx ends before fn has begun, nothing is written. When it ends later
// the error wraps that of ctx, and what fn wrote may or may not be kept; fn
// has returned in any case.
func (s *Store) Update(ctx context.Context, fn func(tx *Tx) error) error {
	return s.awaitUpdate(ctx, fn, false)
}

// Look is Update for an fn that writes nothing: it takes its place among the
// updates and returns when all that it may have seen is synced. It is not refused
// when the disk is full. An fn that writes ends in ErrReadOnly.
func (s *Store) Look(ctx context.Context, fn func(tx *Tx) error) error {
	return s.awaitUpdate(ctx, fn, true)
}

// Start is Update without the wait: it returns as soon as the update is
// queued, and then is called with the outcome on the committer goroutine, so
// that what the updates of one sync lead to begins at one time. Like fn it must
// be quick and must not call the Store. It is called once, unless the update is
// abandoned or the Store closed before. ctx bounds the queueing only.
func (s *Store) Start(ctx context.Context, fn func(tx *Tx) error, then func(error)) (Started, error) {
	return s.startUpdate(ctx, fn, then)
}

// TryStart is Start for those who must not wait at all: where no room is left
// to queue the update the error is ErrBusy.
func (s *Store) TryStart(fn func(tx *Tx) error, then func(error)) (Started, error) {
	return s.tryStartUpdate(fn, then)
}

// Part is one of several updates that are queued together; see Start.
type Part struct {
	Run  func(tx *Tx) error
	Then func(error)
}

// StartAll is Start for several updates, which run one after the other and share one
// sync, whatever else is queued, unless they write more than a MiB together: then they take
// several. Each succeeds or fails by itself, and each Then is called.
func (s *Store) StartAll(ctx context.Context, parts []Part) (Started, error) {
	u := joinParts(parts)
	return Started{u}, s.enqueue(ctx, u)
}

// TryStartAll is StartAll for those who must not wait at all; see TryStart.
func (s *Store) TryStartAll(parts []Part) (Started, error) {
	u := joinParts(parts)
	return Started{u}, s.tryEnqueue(u)
}

// Err returns nil, or why the store stopped: an error that is
// ErrStoreFailed.
func (s *Store) Err() error { return s.guard.failure() }
