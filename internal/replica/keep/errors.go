package keep

import (
	"context"
	"errors"
	"fmt"

	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/storage"
)

// Errors of records, in the words of package replica.
var (
	ErrNewerFormat = errors.New("replica: the data was written by a newer version")
	ErrStorageFull = errors.New("replica: storage full")
	ErrStorage     = errors.New("replica: storage failed")
	ErrClosed      = errors.New("replica: closed")
	// ErrSiblingLimit: a write that replaces none of too many concurrent values.
	ErrSiblingLimit = errors.New("replica: too many concurrent values")
	// ErrFenced: a write with a lower token than one that was seen.
	ErrFenced = errors.New("replica: a later leader has written the key")
)

// WrapError says what failed, in the words of this package.
func (rs *Records) WrapError(what string, err error) error { return WrapError(rs.group, what, err) }

// WrapError says what failed on a disk that has no records, such as that of an outbox.
// group is the store's: what ends because the store does is ErrClosed.
func WrapError(group *lifecycle.Group, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, storage.ErrStorageFull):
		return fmt.Errorf("%w: %s: %w", ErrStorageFull, what, err)
	case errors.Is(err, storage.ErrStoreFailed):
		return fmt.Errorf("%w: %s: %w", ErrStorage, what, err)
	case errors.Is(err, storage.ErrClosed):
		return fmt.Errorf("%w: %s", ErrClosed, what)
	case errors.Is(err, ErrUninformed), errors.Is(err, peering.ErrLate), errors.Is(err, ErrSiblingLimit), errors.Is(err, ErrFenced):
		return err
	case errors.Is(err, reconcile.ErrSiblingLimit):
		return fmt.Errorf("%w: %w", ErrSiblingLimit, err)
	case errors.Is(err, reconcile.ErrFenced):
		return fmt.Errorf("%w: %w", ErrFenced, err)
	case errors.Is(err, context.Canceled) && group.Context().Err() != nil:
		return fmt.Errorf("%w: %s", ErrClosed, what)
	}
	return fmt.Errorf("replica: %s: %w", what, err)
}
