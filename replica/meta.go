package replica

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
)

func metaSession() []byte { return wire.MetaKey("session") }

// openWriter continues the store's session, or begins a new one.
func (s *Store) openWriter(ctx context.Context) error {
	start := reconcile.Start{
		Store:     uint64(s.id),
		Machine:   fingerprint(s.cfg.boot, s.dir),
		TrustDisk: !s.cfg.DistrustDisk && s.cfg.boot != "",
		MaxSkew:   s.cfg.MaxSkew.Milliseconds(),
	}
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return fmt.Errorf("replica: open: %w", err)
	}
	start.Random = binary.BigEndian.Uint64(random[:])
	data, err := s.disk.Get(ctx, metaSession())
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
		return s.diskError("open", err)
	}
	s.writer = reconcile.Open(start)
	return nil
}

// machineBoot names this run of the machine, where the system tells it.
func machineBoot() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

// fingerprint changes when the data may have been copied: with the boot of
// the machine and, where the system tells it, with the directory itself.
func fingerprint(boot, dir string) [16]byte {
	h := sha256.Sum256([]byte(boot + "\x00" + directoryID(dir)))
	return [16]byte(h[:16])
}

func metaSettled(b *layout.Bucket) []byte { return wire.MetaKey(fmt.Sprintf("settled/%016x", b.ID)) }

// loadSettled returns in which shards of b this store had caught up when it
// last took note. Where it had not, it is as good as new.
func (s *Store) loadSettled(b *layout.Bucket) func(shard int) bool {
	note, err := s.disk.Get(s.group.Context(), metaSettled(b))
	if err != nil {
		note = nil
	}
	return s.homes.ReadSettled(note)
}

// saveSettled takes note of where this store has caught up. To lose the note
// costs time, never data, so an error is only logged.
func (s *Store) saveSettled(ctx context.Context, lay *layout.Layout, b *layout.Bucket) {
	err := s.updateDisk(ctx, "note where the store has caught up", func(tx *storage.Tx) error {
		// Not before: what is lost meanwhile must not come back as caught up.
		return tx.Set(metaSettled(b), b.SettledNote(lay))
	})
	if err != nil && ctx.Err() == nil {
		s.log.Warn("cannot note where the store has caught up", "error", err)
	}
}
