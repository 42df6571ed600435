package replica

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/watch"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// Mesh is what a Store needs of the mesh node it lives on. *mesh.Node has it.
type Mesh interface {
	// ID returns the NodeID, which is that of the data too.
	ID() view.NodeID
	// Dir returns the node's data directory.
	Dir() string
	// Shards returns the number of shards, equal on all nodes of the mesh.
	Shards() int
	// Subkey returns a key for one purpose, equal on all nodes of the mesh.
	Subkey(purpose string) [32]byte
	// View returns who belongs to the mesh and who is alive.
	View() view.View
	// Watch delivers the latest View after each change until ctx ends.
	Watch(ctx context.Context) <-chan view.View
	// Call sends req to a node's handler of that name and returns its answer.
	Call(ctx context.Context, to view.NodeID, method string, req []byte) ([]byte, error)
	// Handle serves a method. The handler owns req.
	Handle(method string, h func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error)) error
	// HandlePrompt is Handle for a handler that waits for nothing: it calls answer
	// once, before it returns or later, from any goroutine, which that does not hold
	// up.
	HandlePrompt(method string, h func(ctx context.Context, from view.NodeID, req []byte, answer func(reply []byte, err error))) error
	// Confirm asks other nodes whether they reach a member that is down as seen
	// from here, tries it from here too, and tells what came of it. It takes some
	// seconds at most.
	Confirm(ctx context.Context, id view.NodeID) (view.Witnesses, error)
	// OnLeave has h run before the node leaves the mesh for good.
	OnLeave(h func(ctx context.Context) error)
	// Done is closed when the node is.
	Done() <-chan struct{}
}

// Config sets up a Store. Only Mesh is required.
type Config struct {
	// Mesh is the running node whose data directory holds the store and whose
	// peers hold the copies.
	Mesh Mesh

	// CacheBytes bounds the memory for records read lately, in bytes.
	// Half of it is for records, half for blocks of the disk's tables. Default
	// 32 MiB, or less where the process may use less than 512 MiB: a sixteenth of
	// the limit of its control group or of GOMEMLIMIT. Zero means the default.
	CacheBytes int64

	// ReserveBytes is the free disk space below which values are refused with
	// ErrStorageFull while reads go on, in bytes. Beside it stays free what it takes to
	// merge what was written last: as much as the store holds, 150 MiB or so at most.
	// Deletes go on, and what else makes room, until an eighth of it is left. One takes
	// less than 1 KiB of it, and its key, at each store, until it gives back more. On a
	// small disk 4 MiB will do: for some 3 000 deletes before the first have given room
	// back. Default 16 MiB. Zero means the default, negative no reserve.
	ReserveBytes int64

	// AckTimeout is how long a store that counts as alive may keep silent
	// before a stand-in is used. Default 500 ms. Zero means the default. Puts and
	// gets return within three times as much, however many are silent.
	AckTimeout time.Duration

	// SyncEvery is the mean time between two comparisons with a random peer
	// of those that hold the same data. Default 30 s. Zero means the default,
	// negative never.
	SyncEvery time.Duration

	// HealAfter is for how long this node must have seen a storing node down,
	// while it ran itself and had contact with others, before the copies that
	// were there are made elsewhere. Default 10 min. Zero means the default,
	// negative never. Only the larger part of a cut mesh does so; see
	// Store.ForceHeal. And nothing is done before other nodes have said that they
	// do not reach it either; see Mesh.Confirm.
	HealAfter time.Duration

	// TransferRate bounds what this store copies in the background (healing,
	// hand-overs, comparisons, what was kept for nodes that were down), in bytes
	// a second, as a metered link may need.
	// Zero or negative means no bound. While clients write, such copies take
	// 4 MiB/s at most anyway.
	TransferRate int64

	// PurgeEvery is the mean time between two attempts to forget deletes for
	// good, which takes an acknowledgement of every storing member. Default
	// 10 min. Zero means the default, negative never.
	PurgeEvery time.Duration

	// ScrubEvery is after how much running time all records are read again, 256
	// KiB a second, so that damage is found while other nodes still hold what was
	// damaged. Default 7 days. Zero means the default, negative never.
	ScrubEvery time.Duration

	// MaxSkew is how far the clock of this node may be from the median of the
	// storing nodes' before that takes its place, in what decides between
	// concurrent writes and in when a TTL ends. Default 5 min. Zero means the
	// default.
	MaxSkew time.Duration

	// DistrustDisk makes every opening write under a new session, so that data
	// that was rolled back or copied while the machine stood can never give
	// out an id twice. It costs some bytes in every key written again. Zero:
	// a session goes on until the machine boots or the directory changes.
	DistrustDisk bool

	// MaxPending bounds the writes that may wait in this store at once; more
	// end in ErrOverloaded. Default 8192. Zero means the default.
	MaxPending int

	// MaxPendingBytes bounds their keys and values, in bytes; half of it may
	// wait to be sent to each other store. Of those that it coordinates, a
	// store takes in no more than disks and peers lately got done within a
	// tenth of AckTimeout, and no more than a quarter of MaxPendingBytes;
	// more end in ErrOverloaded at once. Default 64 MiB. Zero means the
	// default.
	MaxPendingBytes int64

	// OutboxBytes bounds what a node that stores nothing keeps on its own disk
	// while it cannot hand it to a node that does, in bytes. An operation
	// counts with its key, value and context and 256 bytes, about what it
	// takes of memory. When it is full, operations of a bucket of higher
	// BucketConfig.Priority take the place of the oldest of the lowest;
	// others are refused with ErrOutboxFull. Default 64 MiB. Zero means the
	// default, negative no outbox.
	OutboxBytes int64

	// OutboxAge is after what time an operation in the outbox is given up.
	// Only time that this node has run since counts: neither its wall clock
	// nor the time that it was off, and of the last run before a crash up to
	// five minutes may be missing. Default 7 days. Zero means the default.
	OutboxAge time.Duration

	// Logger receives what an operator should know, with the node's id under "node".
	// Nil is silent.
	Logger *slog.Logger

	fs    vfs.FS       // tests: the disk; nil: the host's
	clock *clock.Clock // tests: the time; nil: the host's
	boot  string       // tests: the machine's boot id; empty: the host's
	block int          // tests: storage.Options.BlockBytes
	ring  int          // tests: how many changes are kept for those who watch; 0: watch.RingEntries

	memory   func() uint64 // tests: what the process may use; nil: memoryLimit
	memTable int64         // storage.Options.MemTableBytes, by withDefaults
}

// Validate reports all faults of the configuration at once.
func (c Config) Validate() error {
	var errs []error
	fault := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("replica: config: "+format, args...))
	}
	if c.Mesh == nil {
		fault("Mesh is missing")
	}
	if c.CacheBytes < 0 {
		fault("CacheBytes is %d, must not be negative", c.CacheBytes)
	}
	if c.AckTimeout < 0 || c.AckTimeout > time.Minute {
		fault("AckTimeout is %v, must be between 0 and 1m", c.AckTimeout)
	}
	if c.MaxSkew < 0 {
		fault("MaxSkew is %v, must not be negative", c.MaxSkew)
	}
	if c.MaxPending < 0 {
		fault("MaxPending is %d, must not be negative", c.MaxPending)
	}
	if c.MaxPendingBytes < 0 {
		fault("MaxPendingBytes is %d, must not be negative", c.MaxPendingBytes)
	}
	if c.OutboxAge < 0 {
		fault("OutboxAge is %v, must not be negative", c.OutboxAge)
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.memory == nil {
		c.memory = memoryLimit
	}
	cache, memTable := memorySizes(c.memory())
	setDefault(&c.CacheBytes, cache)
	c.memTable = scatterSize(memTable)
	setDefault(&c.ReserveBytes, 16<<20)
	setDefault(&c.ring, watch.RingEntries)
	setDefault(&c.AckTimeout, 500*time.Millisecond)
	setDefault(&c.SyncEvery, 30*time.Second)
	setDefault(&c.HealAfter, replicate.DefaultHealAfter)
	setDefault(&c.PurgeEvery, 10*time.Minute)
	setDefault(&c.ScrubEvery, 7*24*time.Hour)
	setDefault(&c.MaxSkew, 5*time.Minute)
	setDefault(&c.MaxPending, 8192)
	setDefault(&c.MaxPendingBytes, 64<<20)
	setDefault(&c.OutboxBytes, 64<<20)
	setDefault(&c.OutboxAge, 7*24*time.Hour)
	c.ReserveBytes = max(c.ReserveBytes, 0)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.fs == nil {
		c.fs = vfs.Default
	}
	if c.clock == nil {
		c.clock = clock.System()
	}
	if c.boot == "" {
		c.boot = machineBoot()
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Policy says what a reader sees of concurrent writes.
type Policy uint8

const (
	// LastWriterWins shows one value: causality decides first, then the later
	// clock. Nothing else is lost: Siblings still tells the others.
	LastWriterWins Policy = iota
	// Siblings shows all concurrent values; a delete concurrent with a write
	// is not shown. The next write that carries the context replaces them.
	Siblings
)

// BucketConfig defines a bucket. Copies, Policy and Zones are part of the
// bucket for ever and equal wherever it is opened; the rest may differ from
// place to place.
type BucketConfig struct {
	// Copies is how many stores hold each item, 1 to 16. Default 3. Zero
	// means the default. A mesh with fewer storing nodes holds fewer.
	Copies int
	// Policy is what readers see of concurrent writes.
	Policy Policy
	// Zones are preferred places for copies, best first.
	Zones []string

	// MinDurable is on how many stores a write must be synced; a write kept
	// on fewer returns ErrDegraded beside its result. It is no more than Copies.
	// Default 2, or Copies, or the number of storing nodes if one of them is less.
	// Zero means the default.
	MinDurable int
	// TTL is how long a value lives unless the write says otherwise. Zero
	// means for ever.
	TTL time.Duration
	// MaxKey bounds keys, in bytes. Default 1 KiB, at most 64 KiB. Zero means
	// the default.
	MaxKey int
	// MaxValue bounds values, in bytes. Default 1 MiB, at most 8 MiB. Zero
	// means the default. The concurrent values of a key together may hold
	// 32 MiB; a write that would exceed that returns ErrSiblingLimit.
	MaxValue int
	// Priority, -100 to 100, orders what waits in this node's outbox: higher
	// is delivered first and dropped last. Default 0.
	Priority int
}

// Validate reports all faults of the definition at once.
func (c BucketConfig) Validate() error {
	var errs []error
	fault := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrBadBucket}, args...)...))
	}
	if c.Copies < 0 || c.Copies > 16 {
		fault("Copies is %d, must be 1 to 16", c.Copies)
	}
	if c.Policy > Siblings {
		fault("Policy is %d", c.Policy)
	}
	if len(c.Zones) > 16 {
		fault("%d Zones, at most 16", len(c.Zones))
	}
	if copies := max(cmp.Or(c.Copies, defaultCopies), 1); c.MinDurable < 0 || c.MinDurable > copies {
		fault("MinDurable is %d, must be 0 to %d, as Copies is", c.MinDurable, copies)
	}
	if c.TTL < 0 {
		fault("TTL is %v, must not be negative", c.TTL)
	}
	if c.MaxKey < 0 || c.MaxKey > wire.MaxKey {
		fault("MaxKey is %d, must be 0 to %d", c.MaxKey, wire.MaxKey)
	}
	if c.MaxValue < 0 || c.MaxValue > wire.MaxValue {
		fault("MaxValue is %d, must be 0 to %d", c.MaxValue, wire.MaxValue)
	}
	if c.Priority < -100 || c.Priority > 100 {
		fault("Priority is %d, must be -100 to 100", c.Priority)
	}
	return errors.Join(errs...)
}

const defaultCopies = 3

func (c BucketConfig) withDefaults() BucketConfig {
	setDefault(&c.Copies, defaultCopies)
	setDefault(&c.MaxKey, 1<<10)
	setDefault(&c.MaxValue, 1<<20)
	return c
}

// machineBoot names this run of the machine, where the system tells it.
func machineBoot() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}
