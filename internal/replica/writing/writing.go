// Package writing coordinates writes at a home of their keys: it commits them here, sends them to
// the other homes, and answers when as many stores have them as shall.
package writing

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/admission"
	"github.com/skeinmesh/skein/internal/replica/clocks"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/merging"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replica/purging"
	"github.com/skeinmesh/skein/internal/replica/reading"
	"github.com/skeinmesh/skein/internal/replicate"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/partition/token"
)

// Options describe the store that coordinates. All fields must be set.
type Options struct {
	Self       view.NodeID
	Group      *lifecycle.Group
	Gate       *admission.Gate
	Intakes    *admission.Intakes
	Homes      *layout.Homes
	Records    *keep.Records
	Disk       *storage.Store
	Clocks     *clocks.Clocks
	Peers      *peering.Peers
	Offers     *merging.Offers
	Reader     *reading.Reader
	Purging    *purging.Purger
	Missed     func(view.NodeID) // by a store that has not got a write which is synced here
	Faults     wire.Faults       // with which other nodes are answered
	Patience   replicate.Patience
	AckTimeout time.Duration // see replica.Config
	Uptime     func() time.Duration
	Log        *slog.Logger
}

// Coordinator coordinates writes at one store. All methods may be used concurrently.
type Coordinator struct{ opts Options }

// New returns a coordinator that waits to be asked.
func New(opts Options) *Coordinator { return &Coordinator{opts} }

// ErrLeaving: this store is about to leave and takes nothing more in.
var ErrLeaving = errors.New("replica: leaving")

// ErrDegraded: a write is kept on fewer stores than asked for, in the words of package
// replica.
var ErrDegraded = errors.New("replica: kept on fewer stores than asked for")

// PublicError replaces the core's word by ours.
func PublicError(err error) error {
	switch {
	case errors.Is(err, replicate.ErrDegraded):
		return fmt.Errorf("%w: %w", ErrDegraded, err)
	case errors.Is(err, reconcile.ErrFenced):
		return fmt.Errorf("%w: %w", keep.ErrFenced, err)
	}
	return err
}

// EndsSearch tells whether what a store says of a write is the answer to it. After
// any other failure another store may take the write.
func EndsSearch(err error) bool {
	for _, final := range []error{ErrDegraded, admission.ErrOverloaded, keep.ErrSiblingLimit, keep.ErrFenced, layout.ErrBucketConflict} {
		if errors.Is(err, final) {
			return true
		}
	}
	return err == nil
}

// FencedBy returns the token that was seen, after ErrFenced, and the zero token for other
// errors.
func FencedBy(err error) token.Token {
	var f *reconcile.Fenced
	if errors.As(err, &f) {
		return f.Seen
	}
	return token.Token{}
}
