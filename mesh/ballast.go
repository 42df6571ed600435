package mesh

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ballastSize is room for an identity and the largest roster.
const ballastSize = 1 << 20

// ballast is a file that holds room for what a node must write at every start, the
// count of it first of all: without that it may not start, and a disk that others
// have filled would end it for good. It is given up when the disk is full, and filled
// again at the next start. The writer of the directory alone uses it.
type ballast struct {
	fs   vfs.FS
	path string
	log  *slog.Logger
	gone bool // in this run
}

// reserveRoom takes room, unless it is there or had to be given up in this run.
func (b *ballast) reserveRoom() {
	if b.gone {
		return
	}
	if info, err := b.fs.Stat(b.path); err == nil && info.Size() >= ballastSize {
		return
	}
	if err := b.writeRoom(); err != nil {
		// What was written so far is no use, and others may need it.
		_ = b.fs.Remove(b.path)
		b.log.Warn("no room is held for the next start: the disk is all but full", "error", err)
	}
}

func (b *ballast) writeRoom() error {
	f, err := b.fs.Create(b.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	room := make([]byte, ballastSize)
	_, _ = rand.Read(room) // never fails; and no file system makes it smaller
	_, err = f.Write(room)
	return errors.Join(err, f.Sync(), f.Close())
}

// giveUpRoom gives the room up and tells whether there was any.
func (b *ballast) giveUpRoom() bool {
	b.gone = true
	err := b.fs.Remove(b.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.log.Warn("the room held for this cannot be given up", "error", err)
	}
	if err == nil {
		b.log.Warn("the disk is full: the room held for this is given up", "file", b.path)
	}
	return err == nil
}
