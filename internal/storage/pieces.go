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

// pieceWriter is a table that is being written. Tables are sorted beside the
// clients, and the computing of one takes tens of milliseconds: on two
// processors and without a word, whoever waits for a processor would wait for
// all of the ten that the scheduler allows. So after each piece the others
// come first.
type pieceWriter struct {
	vfs.File
	w *bufio.Writer
}

func newPieceWriter(f vfs.File) *pieceWriter {
	return &pieceWriter{f, bufio.NewWriterSize(yieldingFile{f}, pieceBytes)}
}

// yieldingFile lets others run after each write.
type yieldingFile struct{ vfs.File }

func (p yieldingFile) Write(b []byte) (int, error) {
	n, err := p.File.Write(b)
	runtime.Gosched()
	return n, err
}

func (p *pieceWriter) Write(b []byte) (int, error) { return p.w.Write(b) }

func (p *pieceWriter) Sync() error {
	if err := p.w.Flush(); err != nil {
		return err
	}
	return p.File.Sync()
}

func (p *pieceWriter) SyncData() error {
	if err := p.w.Flush(); err != nil {
		return err
	}
	return p.File.SyncData()
}

func (p *pieceWriter) SyncTo(length int64) (fullSync bool, err error) {
	if err := p.w.Flush(); err != nil {
		return false, err
	}
	return p.File.SyncTo(length)
}

func (p *pieceWriter) Close() error { return errors.Join(p.w.Flush(), p.File.Close()) }
