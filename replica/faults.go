package replica

import (
	"context"

	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/wire"
)

// faults are the errors that stores, and the programs that ask them, tell each other.
// One code is told of a write, so what was done of it stands before what was not.
var faults = wire.Faults{
	{Err: ErrDegraded, Code: wire.CodeDegraded, Bit: wire.AdminDegraded},
	{Err: ErrOverloaded, Code: wire.CodeOverloaded, Bit: wire.AdminOverloaded},
	{Err: peering.ErrLate, Code: wire.CodeLate},
	{Err: layout.ErrUnknownBucket, Code: wire.CodeUnknownBucket},
	{Err: ErrFenced, Code: wire.CodeFenced, Bit: wire.AdminFenced},
	{Err: ErrSiblingLimit, Code: wire.CodeSiblings, Bit: wire.AdminSiblings},
	{Err: ErrBucketConflict, Code: wire.CodeConflict, Bit: wire.AdminConflict},
	{Err: ErrStorageFull, Code: wire.CodeFull, Bit: wire.AdminFull},
	{Err: ErrStorage, Code: wire.CodeStorage, Bit: wire.AdminStorage},
	{Err: ErrClockSkew, Code: wire.CodeClock, Bit: wire.AdminClock},
	{Err: ErrNotFound, Bit: wire.AdminNotFound},
	{Err: ErrNoBucket, Bit: wire.AdminNoBucket},
	{Err: ErrUnavailable, Bit: wire.AdminUnavailable},
	{Err: ErrTooLarge, Bit: wire.AdminTooLarge},
	{Err: ErrBadContext, Bit: wire.AdminBadContext},
	{Err: ErrClosed, Bit: wire.AdminClosed},
	{Err: ErrOutboxFull, Bit: wire.AdminOutbox},
	{Err: ErrBadScan, Bit: wire.AdminBadScan},
	{Err: ErrBadWatch, Bit: wire.AdminBadWatch},
	{Err: ErrTooSlow, Bit: wire.AdminTooSlow},
	{Err: ErrBadBatch, Bit: wire.AdminBadBatch},
	{Err: ErrBehind, Bit: wire.AdminBehind},
	{Err: ErrNotStoring, Bit: wire.AdminNotStoring},
	{Err: context.DeadlineExceeded, Bit: wire.AdminDeadline},
}
