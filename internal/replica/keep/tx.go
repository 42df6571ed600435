package keep

import (
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/storage"
)

// Tx is an update under way, on the committing goroutine. It is of no use after fn has
// returned. Records are changed by Save alone; the rest of the disk is the caller's.
type Tx struct {
	*storage.Tx
	rs *Records
}

// Load reads a record as it is in this update. Its bytes are shared and must not be changed.
func (tx Tx) Load(at layout.Place) (Stored, error) { return DecodeStored(tx.Get(at.Record)) }

// Writer gives out dots. What it has given out in an update that fails it gives out again.
func (tx Tx) Writer() *reconcile.Writer { return &tx.rs.writer }
