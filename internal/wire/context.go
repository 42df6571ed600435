package wire

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/skeinmesh/skein/replica/version"
)

// contextVersion 1 ended in a checksum that anybody could compute.
const contextVersion = 2

// contextSeal is how many bytes of the HMAC a context carries.
const contextSeal = 16

// ContextKey is what the nodes of a mesh seal contexts with.
type ContextKey [32]byte

// seenContext is what is sealed.
type seenContext struct {
	ctx  version.Context
	date version.HLC
}

func (s *seenContext) codeFields(c *codec) {
	c.codeVersion(contextVersion)
	c.codeContext(&s.ctx, &s.date)
}

// AppendContext appends the token of what a read of key in bucket has seen. It
// goes through clients, and a store believes it: what it covers is replaced
// wherever it is, also where the store that takes the write has never heard of it.
// So it ends in a seal, which covers bucket and key too. No client can make one up
// that covers what a store has yet to write, use that of another key, or cut one
// short in a cookie.
//
//	version=2, stores, hlc, context (as in an item), HMAC-SHA256 (16 bytes)
func AppendContext(dst []byte, ctx version.Context, hlc version.HLC, bucket uint64, key string, seal *ContextKey) []byte {
	start := len(dst)
	dst = appendFields(dst, &seenContext{ctx, hlc}, (*seenContext).codeFields)
	return append(dst, sealOfContext(dst[start:], bucket, key, seal)...)
}

// DecodeContext reads what AppendContext wrote for the same bucket and key, with the
// same seal.
func DecodeContext(data []byte, bucket uint64, key string, seal *ContextKey) (version.Context, version.HLC, error) {
	body := len(data) - contextSeal
	if body < 0 || !hmac.Equal(data[body:], sealOfContext(data[:body], bucket, key, seal)) {
		return nil, 0, fmt.Errorf("wire: context: %w: not sealed by this mesh, damaged, or of another key", ErrMalformed)
	}
	seen, err := readFields(data[:body], "context", (*seenContext).codeFields)
	return seen.ctx, seen.date, err
}

// sealOfContext covers the key's length, so that no other pair of key and body has
// the same bytes.
func sealOfContext(body []byte, bucket uint64, key string, seal *ContextKey) []byte {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], bucket)
	binary.BigEndian.PutUint64(b[8:], uint64(len(key)))
	h := hmac.New(sha256.New, seal[:])
	h.Write(b[:])
	h.Write([]byte(key))
	h.Write(body)
	return h.Sum(nil)[:contextSeal]
}
