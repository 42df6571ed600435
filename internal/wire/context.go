package wire

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/skeinmesh/skein/partition/token"
	"github.com/skeinmesh/skein/replica/version"
)

const (
	// contextVersion 1 ended in a checksum that anybody could compute.
	contextVersion = 2
	// fencedContextVersion is that of contexts that have seen a token.
	fencedContextVersion = 3
)

// contextSeal is how many bytes of the HMAC a context carries.
const contextSeal = 16

// ContextKey is what the nodes of a mesh seal contexts with.
type ContextKey [32]byte

// SeenContext is what is sealed.
type SeenContext struct {
	Ctx   version.Context
	HLC   version.HLC
	Fence token.Token // the highest that was seen
}

func (s *SeenContext) codeFields(c *codec) {
	fenced := c.codeEitherVersion(contextVersion, fencedContextVersion, !s.Fence.IsZero())
	c.codeContext(&s.Ctx, &s.HLC)
	if fenced {
		c.codeTokenOfLead(&s.Fence)
	}
}

// codeTokenOfLead describes the token of one who leads.
func (c *codec) codeTokenOfLead(t *token.Token) {
	if c.codeToken(t); t.IsZero() {
		c.failWith("no token where one must stand")
	}
}

// AppendContext appends the sealed form of what a read of key in bucket has seen. It
// goes through clients, and a store believes it: what it covers is replaced
// wherever it is, also where the store that takes the write has never heard of it.
// So it ends in a seal, which covers bucket and key too. No client can make one up
// that covers what a store has yet to write, use that of another key, or cut one
// short in a cookie.
//
//	version=2, stores, hlc, context (as in an item), HMAC-SHA256 (16 bytes)
//
// In version 3 term and node of the fence stand before the seal.
func AppendContext(dst []byte, seen *SeenContext, bucket uint64, key string, seal *ContextKey) []byte {
	start := len(dst)
	dst = appendFields(dst, seen, (*SeenContext).codeFields)
	return append(dst, sealOfContext(dst[start:], bucket, key, seal)...)
}

// DecodeContext reads what AppendContext wrote for the same bucket and key, with the
// same seal.
func DecodeContext(data []byte, bucket uint64, key string, seal *ContextKey) (SeenContext, error) {
	body := len(data) - contextSeal
	if body < 0 || !hmac.Equal(data[body:], sealOfContext(data[:body], bucket, key, seal)) {
		return SeenContext{}, fmt.Errorf("wire: context: %w: not sealed by this mesh, damaged, or of another key", ErrMalformed)
	}
	return readFields(data[:body], "context", (*SeenContext).codeFields)
}

// PeekFence reads the fence out of what AppendContext wrote, for one who has no seal; it is
// zero where that does not read.
func PeekFence(data []byte) token.Token {
	seen, err := readFields(data[:max(len(data)-contextSeal, 0)], "context", (*SeenContext).codeFields)
	if err != nil {
		return token.Token{}
	}
	return seen.Fence
}

// PeekKnown tells whether what AppendContext wrote has seen any write at all, for one who has no seal.
func PeekKnown(data []byte) bool {
	seen, err := readFields(data[:max(len(data)-contextSeal, 0)], "context", (*SeenContext).codeFields)
	return err == nil && len(seen.Ctx) > 0
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
