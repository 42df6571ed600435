package wire

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/skeinmesh/skein/replica/version"
)

const contextVersion = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendContext appends the token of what a read of key in bucket has seen.
// The checksum at its end covers bucket and key too: the context of one key
// must not be used on another, nor one that was cut short in a client's
// cookie.
//
//	version=1, stores, hlc, context (as in an item), CRC32C (4 bytes)
func AppendContext(dst []byte, ctx version.Context, hlc version.HLC, bucket uint64, key string) []byte {
	start := len(dst)
	dst = pack(dst, func(p *packer) {
		p.uint(contextVersion)
		p.context(ctx, hlc)
	})
	return binary.BigEndian.AppendUint32(dst, contextSum(dst[start:], bucket, key))
}

// DecodeContext reads what AppendContext wrote for the same bucket and key.
func DecodeContext(data []byte, bucket uint64, key string) (version.Context, version.HLC, error) {
	body := len(data) - 4
	if body < 0 || binary.BigEndian.Uint32(data[body:]) != contextSum(data[:body], bucket, key) {
		return nil, 0, fmt.Errorf("wire: context: %w: checksum differs, or it is of another key", ErrMalformed)
	}
	var ctx version.Context
	var hlc version.HLC
	err := unpack(data[:body], "context", func(u *unpacker) {
		u.version(contextVersion)
		ctx, hlc = u.context()
	})
	return ctx, hlc, err
}

func contextSum(body []byte, bucket uint64, key string) uint32 {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], bucket)
	sum := crc32.Update(0, castagnoli, b[:])
	sum = crc32.Update(sum, castagnoli, []byte(key))
	return crc32.Update(sum, castagnoli, body)
}
