package replica

import (
	"errors"
	"fmt"
	"time"

	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/replica/exporting"
	"github.com/skeinmesh/skein/internal/replica/former"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replica/routing"
	"github.com/skeinmesh/skein/internal/replica/writing"
	"github.com/skeinmesh/skein/partition/token"
)

// Errors of opening.
var (
	ErrLocked            = errors.New("replica: the data directory is in use")
	ErrNewerFormat error = keep.ErrNewerFormat
)

// Errors of buckets.
var (
	// ErrBucketConflict: the name is defined differently elsewhere. Operations
	// on a bucket in conflict are still carried out, on the data of its own
	// definition, and return this error beside their result: two sides of the
	// program disagree on what the bucket is and do not see each other's items.
	ErrBucketConflict error = layout.ErrBucketConflict
	// ErrBadBucket: the definition itself is wrong.
	ErrBadBucket = errors.New("replica: bad bucket definition")
)

// errEmptyKey: nobody means to write under no key.
var errEmptyKey = errors.New("replica: the key is empty")

// Errors of operations.
var (
	// ErrNotFound: no live value. The Item beside it carries the context.
	ErrNotFound = errors.New("replica: not found")
	// ErrDegraded comes beside a valid Result: the write is kept and will
	// spread, but fewer stores hold it now than were asked for.
	ErrDegraded error = writing.ErrDegraded
	// ErrBehind comes beside a valid Item, with ErrDegraded: the stores in reach do not
	// know all of GetOptions.Seen. Its words name the writes that are missing.
	ErrBehind = errors.New("replica: the stores in reach do not know all that was seen")
	// ErrUnavailable: no store that could serve the key answered. A write may
	// have been kept all the same when the last one stopped answering.
	ErrUnavailable error = peering.ErrUnavailable
	// ErrOutboxFull comes with ErrUnavailable: there is no room left to keep
	// the operation until a store can be reached. It was not kept.
	ErrOutboxFull = errors.New("replica: outbox full")
	// ErrBadBatch: entries of a batch cannot be. Nothing of it was begun.
	ErrBadBatch = errors.New("replica: bad batch")
	// ErrTooLarge: key or value exceed the bucket's limits, or a batch its own.
	ErrTooLarge = errors.New("replica: too large")
	// ErrBadContext: the context was damaged, belongs to another key, or was made by
	// nobody of this mesh, or by an older version of it. Read the key again.
	ErrBadContext = errors.New("replica: bad context")
	// ErrNotReady: a store cannot vouch for what it holds of some keys, as it is catching up
	// with others. It can, a while later.
	ErrNotReady error = exporting.ErrNotReady
	// ErrDamaged: records do not read, so that nobody can tell what a slice lacks.
	ErrDamaged error = exporting.ErrDamaged
	// ErrNotStoring: this node stores nothing, and cannot take in records.
	ErrNotStoring error = former.ErrNotStoring
	// ErrBadScan: the options of a scan are wrong.
	ErrBadScan = errors.New("replica: bad scan options")
	// ErrBadWatch: the options of a watch are wrong.
	ErrBadWatch = errors.New("replica: bad watch options")
	// ErrTooSlow ends a watch: changes were not consumed before the stores had to forget
	// them. It can go on from its cursor, behind a gap.
	ErrTooSlow = errors.New("replica: the watch is too slow")
	// ErrSiblingLimit: the key has too many concurrent values for one more
	// that replaces none of them. Read it, then write with what was read.
	ErrSiblingLimit error = keep.ErrSiblingLimit
	// ErrFenced: a write shows a lower token than was seen for its key, or none where one
	// was. It is not acknowledged, and does not succeed when it is tried again. FencedBy
	// tells the token. See PutOptions.Token.
	ErrFenced error = keep.ErrFenced
	// ErrClockSkew: no home with a clock near that of its peers is in reach. Only
	// stores of earlier versions say so; others date by their peers' clocks.
	ErrClockSkew error = routing.ErrClockSkew
	// ErrOverloaded: too many operations wait. See RetryAfter.
	ErrOverloaded error = admission.ErrOverloaded
	// ErrStorageFull: the disk has no room for the write. Reads go on.
	ErrStorageFull error = keep.ErrStorageFull
	// ErrStorage: the store failed and serves nothing until it is opened anew.
	ErrStorage error = keep.ErrStorage
	// ErrClosed: the store, or the mesh node under it, is closed.
	ErrClosed error = keep.ErrClosed
)

// FencedBy returns the token that was seen, after ErrFenced. It is the zero token for other
// errors, and where a node has told a Client in words alone.
func FencedBy(err error) token.Token { return writing.FencedBy(err) }

// RetryAfter returns when an operation that ended in ErrOverloaded may be
// tried again, 0 for other errors.
func RetryAfter(err error) time.Duration {
	var o admission.Overload
	switch {
	case errors.As(err, &o):
		return o.After
	case errors.Is(err, ErrOverloaded): // at another node, which told no time
		return admission.RetryAfter
	}
	return 0
}

func tooLarge(what string, n, limit int) error {
	return fmt.Errorf("%w: %s of %d bytes, limit %d", ErrTooLarge, what, n, limit)
}
