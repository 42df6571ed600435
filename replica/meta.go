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

func metaSettled(b *bucket) []byte { return wire.MetaKey(fmt.Sprintf("settled/%016x", b.id)) }

// loadSettled returns in which shards of b this store had caught up when it
// last took note. Where it had not, it is as good as new.
func (s *Store) loadSettled(b *bucket) func(shard int) bool {
	bits, err := s.disk.Get(s.group.Context(), metaSettled(b))
	if err != nil {
		bits = nil
	}
	if len(bits) < 8 || binary.BigEndian.Uint64(bits) != s.layout.Load().roster {
		return func(int) bool { return false } // homes have changed since
	}
	bits = bits[8:]
	return func(shard int) bool { return shard/8 < len(bits) && bits[shard/8]&(1<<(shard%8)) != 0 }
}

// saveSettled takes note of where this store has caught up. To lose the note
// costs time, never data, so an error is only logged.
func (s *Store) saveSettled(ctx context.Context, lay *layout, b *bucket) {
	err := s.updateDisk(ctx, "note where the store has caught up", func(tx *storage.Tx) error {
		// Not before: what is lost meanwhile must not come back as caught up.
		bits := append(binary.BigEndian.AppendUint64(nil, lay.roster), b.ready.settledBits()...)
		return tx.Set(metaSettled(b), bits)
	})
	if err != nil && ctx.Err() == nil {
		s.log.Warn("cannot note where the store has caught up", "error", err)
	}
}
