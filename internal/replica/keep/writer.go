package keep

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/replica/version"
)

func metaSession() []byte { return wire.MetaKey("session") }

// openWriter continues the store's session, or begins a new one.
func (rs *Records) openWriter(ctx context.Context) error {
	start := reconcile.Start{
		Store:     uint64(rs.id),
		Machine:   fingerprint(rs.opts.Machine, rs.opts.Dir),
		TrustDisk: !rs.opts.DistrustDisk && rs.opts.Machine != "",
		MaxSkew:   rs.opts.MaxSkew.Milliseconds(),
	}
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return fmt.Errorf("replica: open: %w", err)
	}
	start.Random = binary.BigEndian.Uint64(random[:])
	data, err := rs.disk.Get(ctx, metaSession())
	switch {
	case err == nil:
		m, err := wire.DecodeWriterMeta(data)
		if errors.Is(err, wire.ErrNewerVersion) {
			return fmt.Errorf("%w: %w", ErrNewerFormat, err)
		}
		if err == nil {
			start.Meta = (*reconcile.Meta)(&m)
		}
	case !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrCorrupt):
		return rs.WrapError("open", err)
	}
	rs.writer = reconcile.Open(start)
	rs.noteDate()
	rs.startDate = version.HLC(rs.lastDate.Load())
	return nil
}

// noteDate shows to others what was dated here last.
func (rs *Records) noteDate() {
	c := rs.writer.Clock()
	rs.lastDate.Store(uint64(c.Last()))
}

// fingerprint changes when the data may have been copied: with the boot of
// the machine and, where the system tells it, with the directory itself.
func fingerprint(boot, dir string) [16]byte {
	h := sha256.Sum256([]byte(boot + "\x00" + directoryID(dir)))
	return [16]byte(h[:16])
}
