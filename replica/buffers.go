package replica

import "sync"

// buffers lends memory for requests, which a call does not keep.
type buffers struct{ pool sync.Pool }

// keptBuffer is the largest that is lent again.
const keptBuffer = 64 << 10

// takeBuffer returns an empty slice with room for n bytes.
func (b *buffers) takeBuffer(n int) *[]byte {
	if p, ok := b.pool.Get().(*[]byte); ok && cap(*p) >= n {
		return p
	}
	s := make([]byte, 0, n)
	return &s
}

func (b *buffers) returnBuffer(p *[]byte) {
	if cap(*p) <= keptBuffer {
		*p = (*p)[:0]
		b.pool.Put(p)
	}
}
