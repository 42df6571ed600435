package storage

import (
	"bufio"
	"errors"
	"runtime"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// pieceBytes of a table are written at a time. Pebble writes 4 KiB: half of
// all the system calls of a store under load.
const pieceBytes = 64 << 10

// pieces is a table that is being written. Tables are sorted beside the
// clients, and the computing of one takes tens of milliseconds: on two
// processors and without a word, whoever waits for a processor would wait for
// all of the ten that the scheduler allows. So after each piece the others
// come first.
type pieces struct {
	vfs.File
	w *bufio.Writer
}

func newPieces(f vfs.File) *pieces {
	return &pieces{f, bufio.NewWriterSize(polite{f}, pieceBytes)}
}

// polite lets others run after each write.
type polite struct{ vfs.File }

func (p polite) Write(b []byte) (int, error) {
	n, err := p.File.Write(b)
	runtime.Gosched()
	return n, err
}

func (p *pieces) Write(b []byte) (int, error) { return p.w.Write(b) }

func (p *pieces) Sync() error {
	if err := p.w.Flush(); err != nil {
		return err
	}
	return p.File.Sync()
}

func (p *pieces) SyncData() error {
	if err := p.w.Flush(); err != nil {
		return err
	}
	return p.File.SyncData()
}

func (p *pieces) SyncTo(length int64) (fullSync bool, err error) {
	if err := p.w.Flush(); err != nil {
		return false, err
	}
	return p.File.SyncTo(length)
}

func (p *pieces) Close() error { return errors.Join(p.w.Flush(), p.File.Close()) }
