package storage

import (
	"encoding/binary"
	"hash/crc32"
)

// A record is what Pebble keeps under a key: CRC-32C, little endian, then
// the value. The sum covers the length of the key, the key and the value, so
// that a value under the wrong key is damage too. Pebble has sums of its own
// for each block and log entry; this one holds from the writer to the
// reader.
const recordOverhead = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func recordSum(key, value []byte) uint32 {
	// The four bytes of the length, little endian: crc32.Update would put them
	// on the heap.
	sum := ^uint32(0)
	for n, i := uint32(len(key)), 0; i < 4; n, i = n>>8, i+1 {
		sum = castagnoli[byte(sum)^byte(n)] ^ sum>>8
	}
	sum = crc32.Update(^sum, castagnoli, key)
	return crc32.Update(sum, castagnoli, value)
}

// encodeRecord returns a new record; its value is a part of it.
func encodeRecord(key, value []byte) []byte {
	rec := make([]byte, recordOverhead+len(value))
	binary.LittleEndian.PutUint32(rec, recordSum(key, value))
	copy(rec[recordOverhead:], value)
	return rec
}

// decodeRecord returns the value, which is a part of rec, or ErrCorrupt.
func decodeRecord(key, rec []byte) ([]byte, error) {
	if len(rec) < recordOverhead {
		return nil, ErrCorrupt
	}
	value := rec[recordOverhead:]
	if binary.LittleEndian.Uint32(rec) != recordSum(key, value) {
		return nil, ErrCorrupt
	}
	return value, nil
}
