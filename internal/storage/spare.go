package storage

import (
	"context"
	"errors"
	iofs "io/fs"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/notify"
)

const (
	spareFile  = "SPARE"
	sparePiece = 64 << 10 // written at a time
	spareSync  = 1 << 20  // synced at a time
	// firstMemTable is the size of Pebble's first memtable after opening; each
	// later one is twice the one before, up to MemTableBytes.
	firstMemTable = 256 << 10
	// spareCategory is what Pebble says that it writes its logs for.
	spareCategory vfs.DiskWriteCategory = "pebble-wal"
)

// spareLog keeps a log of zeros ready. To sync a file that grows is to sync what
// the file system notes of it, too: on ext4 that is a commit of its journal,
// which all files of the disk wait for. A log that is written over what it
// held before needs none. Pebble reuses its logs for that reason, but not the
// first ones of a store, nor those of its last opening: there the spare takes
// the place of a new log.
//
// It is a matter of speed alone. Whenever there is none, because the disk is
// full, say, Pebble gets a new log.
type spareLog struct {
	fs           vfs.FS // below the guard: to fail here is no failure of the store
	dir          string
	fullMemTable int64        // bytes of a full-grown memtable
	logsBegun    atomic.Int64 // logs since the opening
	reserve      int64        // bytes to leave free, negative: do not look
	frozen       func() bool  // the disk is to be left as it is
	log          *slog.Logger
	wanted       notify.Bell // look whether there is one
}

func newSpare(o *Options, frozen func() bool) *spareLog {
	return &spareLog{
		fs: o.FS, dir: o.Dir, fullMemTable: o.MemTableBytes, reserve: o.Reserve, frozen: frozen, log: o.Logger,
		wanted: notify.NewBell(),
	}
}

func (p *spareLog) sparePath() string { return p.fs.PathJoin(p.dir, spareFile) }

// wantedSize is what the next log may take: a little more than its memtable.
func (p *spareLog) wantedSize() int64 {
	mem := p.fullMemTable
	if n := p.logsBegun.Load(); n < 20 {
		mem = min(mem, firstMemTable<<n)
	}
	return mem + mem/8
}

// reuseAs makes the spare the file of the name given, for the log that begins
// now. It returns nil when there is no spare.
func (p *spareLog) reuseAs(name string) vfs.File {
	if _, err := p.fs.Stat(p.sparePath()); err != nil {
		return nil
	}
	f, err := p.fs.ReuseForWrite(p.sparePath(), name, spareCategory)
	if err != nil {
		return nil
	}
	return f
}

// isBetterThan tells whether the spare is to be preferred to a log of the name
// given, which Pebble would reuse: that of a smaller memtable would have to
// grow.
func (p *spareLog) isBetterThan(name string) bool {
	old, err := p.fs.Stat(name)
	return err == nil && old.Size() < p.wantedSize()/2
}

// noteLogBegun is called when a log has begun, from the spare or not.
func (p *spareLog) noteLogBegun() {
	p.logsBegun.Add(1)
	p.requestSpare()
}

func (p *spareLog) requestSpare() {
	p.wanted.Ring()
}

// keepPrepared prepares a spare whenever there is none.
func (p *spareLog) keepPrepared(ctx context.Context) {
	for {
		if err := p.prepareFile(ctx); err != nil && ctx.Err() == nil {
			p.log.Debug("storage: no spare log", "error", err)
		}
		select {
		case <-p.wanted:
		case <-ctx.Done():
			return
		}
	}
}

var errNoRoom = errors.New("too little space")

func (p *spareLog) prepareFile(ctx context.Context) error {
	size := p.wantedSize()
	switch at, err := p.fs.Stat(p.sparePath()); {
	case err == nil && at.Size() >= size:
		return nil
	case err != nil && !errors.Is(err, iofs.ErrNotExist):
		return err
	}
	if usage, err := p.fs.GetDiskUsage(p.dir); err == nil && p.reserve >= 0 && int64(usage.AvailBytes) < 2*p.reserve+size {
		return errNoRoom
	}
	if p.frozen() {
		return errFrozen
	}
	tmp := p.sparePath() + ".tmp"
	f, err := p.fs.Create(tmp, spareCategory)
	if err != nil {
		return err
	}
	err = errors.Join(p.fillZeros(ctx, f, size), f.Close())
	switch {
	case p.frozen():
		return errFrozen
	case err != nil:
		return errors.Join(err, p.fs.Remove(tmp))
	}
	return p.fs.Rename(tmp, p.sparePath())
}

// fillZeros writes the zeros in pieces and rests after each for as long as it took,
// so that it never has more than half of the disk.
func (p *spareLog) fillZeros(ctx context.Context, f vfs.File, size int64) error {
	zeros := make([]byte, sparePiece)
	begin := time.Now()
	for at := int64(0); at < size; at += sparePiece {
		if err := ctx.Err(); err != nil {
			return err
		}
		if p.frozen() {
			return errFrozen
		}
		if _, err := f.Write(zeros[:min(sparePiece, size-at)]); err != nil {
			return err
		}
		if (at+sparePiece)%spareSync != 0 && at+sparePiece < size {
			continue
		}
		if err := f.SyncData(); err != nil {
			return err
		}
		rest := time.NewTimer(time.Since(begin))
		select {
		case <-rest.C:
		case <-ctx.Done():
		}
		rest.Stop()
		begin = time.Now()
	}
	return f.Sync()
}
