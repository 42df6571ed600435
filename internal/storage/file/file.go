// Package file keeps small files that are either wholly there or wholly as
// they were before: identities, rosters, markers. Every file is checksummed,
// so that damage is told apart from an older or a newer content.
//
// Layout, little endian. The first 16 bytes are the same in every format
// version for ever, so that a newer version is recognised for certain:
//
//	0   8  magic "SKEINFIL"
//	8   4  format version
//	12  4  CRC-32C of bytes 0 to 12
//	16  4  length of the payload
//	20  4  CRC-32C of bytes 16 to 20 and the payload
//	24     payload, up to the end of the file
package file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	iofs "io/fs"
	"math"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	magic      = "SKEINFIL"
	version    = 1
	preambleSz = 16
	headerSz   = 24
	tempSuffix = ".tmp"
)

var (
	// ErrCorrupt says that the file is damaged: cut short, filled with
	// zeros, changed, or not one of ours. Nothing in it can be believed.
	ErrCorrupt = errors.New("file is corrupt")
	// ErrNewerFormat says that a newer release wrote the file. It is whole
	// and must be left untouched.
	ErrNewerFormat = errors.New("file has a newer format than this release reads")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Write makes payload the content of the file at path. When it returns nil
// the content survives a crash. When it fails, or the process dies within, a
// later Read finds either the content from before or payload, whole. Writers
// of one path must take turns.
func Write(fs vfs.FS, path string, payload []byte) error {
	if err := writeEncoded(fs, path, payload); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func writeEncoded(fs vfs.FS, path string, payload []byte) error {
	data, err := encode(payload)
	if err != nil {
		return err
	}
	return replaceFile(fs, path, data)
}

// WriteText is Write for what people are to read: there is nothing in the file
// but text, and damage to it shows only to them.
func WriteText(fs vfs.FS, path, text string) error {
	if err := replaceFile(fs, path, []byte(text)); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func replaceFile(fs vfs.FS, path string, data []byte) error {
	temp := path + tempSuffix
	if err := createSynced(fs, temp, data); err != nil {
		// Room for another try; what is left over does no harm.
		return errors.Join(err, ignoreMissing(fs.Remove(temp)))
	}
	if err := fs.Rename(temp, path); err != nil {
		return errors.Join(err, ignoreMissing(fs.Remove(temp)))
	}
	return SyncDir(fs, fs.PathDir(path))
}

// ignoreMissing is for removing what may not have been created.
func ignoreMissing(err error) error {
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	return err
}

func createSynced(fs vfs.FS, path string, data []byte) error {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	// What is written here may be secret. Files in memory have no mode.
	if m, ok := f.(interface{ Chmod(iofs.FileMode) error }); ok {
		if err := m.Chmod(0o600); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// SyncDir makes the names in the directory dir survive a crash: files
// created, renamed and removed there.
func SyncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		return errors.Join(err, d.Close())
	}
	return d.Close()
}

// Read returns what the last Write to path left there. The error is
// io/fs.ErrNotExist when there is no file, ErrCorrupt when it cannot be
// believed, ErrNewerFormat when a newer release wrote it. The result belongs
// to the caller.
func Read(fs vfs.FS, path string) ([]byte, error) {
	payload, err := readDecoded(fs, path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return payload, nil
}

func readDecoded(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return decodeFile(data)
}

func encode(payload []byte) ([]byte, error) {
	if uint64(len(payload)) > math.MaxUint32 {
		return nil, fmt.Errorf("payload of %d bytes is too long", len(payload))
	}
	data := make([]byte, headerSz, headerSz+len(payload))
	copy(data, magic)
	binary.LittleEndian.PutUint32(data[8:], version)
	binary.LittleEndian.PutUint32(data[12:], crc32.Checksum(data[:12], castagnoli))
	binary.LittleEndian.PutUint32(data[16:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(data[20:], bodySum(data[16:20], payload))
	return append(data, payload...), nil
}

func decodeFile(data []byte) ([]byte, error) {
	if len(data) < preambleSz || string(data[:8]) != magic {
		return nil, ErrCorrupt
	}
	if binary.LittleEndian.Uint32(data[12:]) != crc32.Checksum(data[:12], castagnoli) {
		return nil, ErrCorrupt
	}
	switch v := binary.LittleEndian.Uint32(data[8:]); {
	case v > version:
		return nil, fmt.Errorf("format version %d: %w", v, ErrNewerFormat)
	case v != version:
		return nil, ErrCorrupt
	}
	if len(data) < headerSz {
		return nil, ErrCorrupt
	}
	payload := data[headerSz:]
	if uint64(binary.LittleEndian.Uint32(data[16:])) != uint64(len(payload)) {
		return nil, ErrCorrupt
	}
	if binary.LittleEndian.Uint32(data[20:]) != bodySum(data[16:20], payload) {
		return nil, ErrCorrupt
	}
	return payload, nil
}

func bodySum(length, payload []byte) uint32 {
	return crc32.Update(crc32.Checksum(length, castagnoli), castagnoli, payload)
}
