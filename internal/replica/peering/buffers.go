package peering

import "sync"

// Buffers lends memory for requests, which a call does not keep. The zero Buffers is empty.
// All methods may be used concurrently.
type Buffers struct{ pool sync.Pool }

// keptBuffer is the largest that is lent again.
const keptBuffer = 64 << 10

// TakeBuffer returns an empty slice with room for n bytes. It is to be returned.
func (b *Buffers) TakeBuffer(n int) *[]byte {
	if p, ok := b.pool.Get().(*[]byte); ok && cap(*p) >= n {
		return p
	}
	s := make([]byte, 0, n)
	return &s
}

// ReturnBuffer ends the use of a buffer.
func (b *Buffers) ReturnBuffer(p *[]byte) {
	if cap(*p) <= keptBuffer {
		*p = (*p)[:0]
		b.pool.Put(p)
	}
}
