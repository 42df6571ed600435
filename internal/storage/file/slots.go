package file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Slots keeps a small payload that is written often where each sync is dear: one sync
// per Write, where replacing a file takes two. The file has two slots, and a Write goes
// to the one that does not hold the present payload. A Slots writes a new file first,
// and after a Write that failed: what a sync that failed has left in the system's cache
// looks as if it were on disk. Writers of one path must take turns.
//
// Layout, little endian: two slots of 4096 bytes, each
//
//	0   16  as in every format version, the version is 2
//	16  4   length of the payload
//	20  8   number of the Write, which gave it the slot
//	28  4   CRC-32C of bytes 16 to 28 and the payload
//	32      payload
//
// The payload is that of the slot with the higher number that is whole. A release that
// knows only files as Write leaves them refuses it.
type Slots struct {
	fs     vfs.FS
	path   string
	number uint64
	fresh  bool // the file was written by this Slots, whole, with no failure since
}

const (
	slotsVersion  = 2
	slotSize      = 4096
	slotHeaderSz  = 32
	maxSlotLength = slotSize - slotHeaderSz
)

// NewSlots returns the Slots at a path. It touches nothing.
func NewSlots(fs vfs.FS, path string) *Slots { return &Slots{fs: fs, path: path} }

// Write makes payload, of at most 4064 bytes, the content. When it returns nil the
// content survives a crash. When it fails, or the process dies within, a later Read
// finds either the content from before or payload, whole.
func (s *Slots) Write(payload []byte) error {
	if len(payload) > maxSlotLength {
		return fmt.Errorf("write %s: payload of %d bytes is too long for a slot", s.path, len(payload))
	}
	s.number++
	var err error
	if s.fresh {
		err = s.overwrite(encodeSlot(s.number, payload))
	} else {
		err = replaceFile(s.fs, s.path, s.layOutSlots(payload))
	}
	if s.fresh = err == nil; err != nil {
		return fmt.Errorf("write %s: %w", s.path, err)
	}
	return nil
}

// layOutSlots lays a new file out: payload is in one slot, the other is empty.
func (s *Slots) layOutSlots(payload []byte) []byte {
	data := make([]byte, 2*slotSize)
	copy(data[s.number%2*slotSize:], encodeSlot(s.number, payload))
	if s.number%2 == 1 {
		copy(data, encodeSlot(0, payload)) // the file tells its version at its very beginning
	}
	return data
}

func (s *Slots) overwrite(slot []byte) error {
	f, err := s.fs.OpenReadWrite(s.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(slot, int64(s.number%2*slotSize)); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// Read returns what the last Write left there, or the function Write. Errors are those of
// the function Read. It counts on from there.
func (s *Slots) Read() ([]byte, error) {
	data, err := s.loadNewest()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.path, err)
	}
	return data, nil
}

func (s *Slots) loadNewest() ([]byte, error) {
	f, err := s.fs.Open(s.path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if len(data) != 2*slotSize {
		return decodeFile(data)
	}
	var best []byte
	found := false
	for _, slot := range [][]byte{data[:slotSize], data[slotSize:]} {
		number, payload, err := decodeSlot(slot)
		switch {
		case errors.Is(err, ErrNewerFormat):
			return nil, err
		case err == nil && (!found || number > s.number):
			best, s.number, found = payload, number, true
		}
	}
	if !found {
		return decodeFile(data) // of the length of two slots by chance
	}
	return best, nil
}

func encodeSlot(number uint64, payload []byte) []byte {
	data := make([]byte, slotSize)
	copy(data, magic)
	binary.LittleEndian.PutUint32(data[8:], slotsVersion)
	binary.LittleEndian.PutUint32(data[12:], crc32.Checksum(data[:12], castagnoli))
	binary.LittleEndian.PutUint32(data[16:], uint32(len(payload)))
	binary.LittleEndian.PutUint64(data[20:], number)
	binary.LittleEndian.PutUint32(data[28:], bodySum(data[16:28], payload))
	copy(data[slotHeaderSz:], payload)
	return data
}

func decodeSlot(slot []byte) (number uint64, payload []byte, err error) {
	if string(slot[:8]) != magic || binary.LittleEndian.Uint32(slot[12:]) != crc32.Checksum(slot[:12], castagnoli) {
		return 0, nil, ErrCorrupt
	}
	switch v := binary.LittleEndian.Uint32(slot[8:]); {
	case v > slotsVersion:
		return 0, nil, fmt.Errorf("format version %d: %w", v, ErrNewerFormat)
	case v != slotsVersion:
		return 0, nil, ErrCorrupt
	}
	n := binary.LittleEndian.Uint32(slot[16:])
	if n > maxSlotLength {
		return 0, nil, ErrCorrupt
	}
	payload = slot[slotHeaderSz : slotHeaderSz+n]
	if binary.LittleEndian.Uint32(slot[28:]) != bodySum(slot[16:28], payload) {
		return 0, nil, ErrCorrupt
	}
	return binary.LittleEndian.Uint64(slot[20:]), payload, nil
}
