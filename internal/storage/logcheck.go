package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble's log and manifest are sequences of records, each in one or more
// chunks. Where a chunk does not check, Pebble takes it for the place where
// a crash has cut writing short, and forgets what comes behind. But here at
// most one record is ever unsynced: the committer writes a batch, and Pebble
// an edit of the manifest, after the one before is on disk. So when a whole
// record begins behind a bad chunk, that chunk was on disk once: it is
// damage, and what Pebble would forget was acknowledged.
//
// Damage to the very last record of a log that was not closed cannot be told
// from a crash.

const chunkBlock = 32 << 10

// chunkFormat is how chunks of a file begin: crc 4, length 2, type 1, then
// in logs the number of the log 4 and a synced offset 8.
type chunkFormat struct {
	header      int
	full, first byte   // types of chunks that begin a record
	last        byte   // type of the chunk that ends what first began
	number      uint32 // of the log
}

func logFormat(number uint32) chunkFormat {
	return chunkFormat{header: 19, full: 9, first: 10, last: 12, number: number}
}

func manifestFormat() chunkFormat {
	return chunkFormat{header: 7, full: 1, first: 2, last: 4}
}

// chunkAt returns the type and the end of the chunk at off, if it checks.
func (f chunkFormat) chunkAt(data []byte, off int) (kind byte, end int, ok bool) {
	room := min(chunkBlock-off%chunkBlock, len(data)-off)
	if room < f.header {
		return 0, 0, false
	}
	head := data[off:]
	kind = head[6]
	end = off + f.header + int(binary.LittleEndian.Uint16(head[4:]))
	if kind < f.full || kind > f.last || end > off+room {
		return 0, 0, false
	}
	if f.header > 7 && binary.LittleEndian.Uint32(head[7:]) != f.number {
		return 0, 0, false
	}
	sum := crc32.Checksum(data[off+6:end], castagnoli)
	if binary.LittleEndian.Uint32(head) != (sum>>15|sum<<17)+0xa282ead8 {
		return 0, 0, false
	}
	return kind, end, true
}

// checkRecords finds a record behind a bad chunk.
func (f chunkFormat) checkRecords(data []byte) error {
	off := 0
	for {
		if rest := chunkBlock - off%chunkBlock; rest < f.header {
			off += rest // filled with zeros
		}
		_, end, ok := f.chunkAt(data, off)
		if !ok {
			break
		}
		off = end
	}
	for at := off + 1; at < len(data); at++ {
		if kind, _, ok := f.chunkAt(data, at); ok && (kind == f.full || kind == f.first) {
			return fmt.Errorf("damage at byte %d of %d: a later record begins at %d", off, len(data), at)
		}
	}
	return nil
}

// checkLogs looks at what Pebble would forgive: the manifest and the newest
// log. Older logs it checks itself. A store that was ever opened has a log.
func checkLogs(fs vfs.FS, dir string, desc *pebble.DBDesc, wasOpened bool) error {
	if err := checkChunks(fs, desc.ManifestFilename, manifestFormat()); err != nil {
		return err
	}
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	found, newest := newestLog(names)
	switch {
	case found == "" && wasOpened:
		return errors.New("the log is missing")
	case found == "":
		return nil
	}
	return checkChunks(fs, fs.PathJoin(dir, found), logFormat(uint32(newest)))
}

// newestLog returns the name and the number of the newest log, "" if there is none.
func newestLog(names []string) (found string, newest uint64) {
	for _, name := range names {
		number, ok := strings.CutSuffix(path.Base(name), ".log")
		n, err := strconv.ParseUint(number, 10, 64)
		if ok && err == nil && n >= newest {
			newest, found = n, name
		}
	}
	return found, newest
}

func checkChunks(fs vfs.FS, name string, format chunkFormat) error {
	f, err := fs.Open(name)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := format.checkRecords(data); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
