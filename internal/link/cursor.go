package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/skeinmesh/skein/mesh/view"
)

var errScreened = errors.New("link: gossip that no honest node sends")

// cursor walks over msgpack as memberlist and serf write it (the old form,
// without bin and ext types). The first fault sticks; whoever reads past it
// gets zeros.
type cursor struct {
	b       []byte
	err     error
	sift    *sift       // what gets through; nil: all
	latest  uint64      // Lamport time that is believed
	strange view.NodeID // the roster does not hold it, and it was spoken of
}

func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: %s", errScreened, fmt.Sprintf(format, args...))
		c.b = nil
	}
}

// cut takes n bytes off.
func (c *cursor) cut(n int) []byte {
	if n > len(c.b) {
		c.fail("cut short")
		return nil
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b
}

func (c *cursor) lead() byte {
	if b := c.cut(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) bigEndian(size int) uint64 {
	var n uint64
	for _, b := range c.cut(size) {
		n = n<<8 | uint64(b)
	}
	return n
}

// uint reads a whole number from 0 to limit, in any of its forms.
func (c *cursor) uint(limit uint64) uint64 {
	var n uint64
	switch b := c.lead(); {
	case b < 0x80:
		n = uint64(b)
	case b >= 0xcc && b <= 0xcf:
		n = c.bigEndian(1 << (b - 0xcc))
	case b >= 0xd0 && b <= 0xd3:
		size := 1 << (b - 0xd0)
		if n = c.bigEndian(size); n>>(8*size-1) != 0 {
			c.fail("negative number")
		}
	default:
		c.fail("no number: %#x", b)
	}
	if n > limit {
		c.fail("%d where %d is the most", n, limit)
		return 0
	}
	return n
}

func (c *cursor) bool() bool {
	b := c.lead()
	if b != 0xc2 && b != 0xc3 {
		c.fail("neither true nor false: %#x", b)
	}
	return b == 0xc3
}

// float reads a 64 bit number that is finite.
func (c *cursor) float() {
	if b := c.lead(); b != 0xcb {
		c.fail("no float: %#x", b)
		return
	}
	if b := c.cut(8); b != nil {
		if f := math.Float64frombits(binary.BigEndian.Uint64(b)); math.IsNaN(f) || math.IsInf(f, 0) {
			c.fail("%v", f)
		}
	}
}

// nil takes a nil off, if one is next.
func (c *cursor) nil() bool {
	if len(c.b) > 0 && c.b[0] == 0xc0 {
		c.b = c.b[1:]
		return true
	}
	return false
}

// raw reads a string or bytes of at most limit; both look the same.
func (c *cursor) raw(limit int) []byte {
	return c.cut(c.length("string", limit, 0xa0, 0x1f, 0xda))
}

func (c *cursor) array(limit int) int { return c.length("array", limit, 0x90, 0x0f, 0xdc) }

func (c *cursor) dict(limit int) int { return c.length("map", limit, 0x80, 0x0f, 0xde) }

// length reads a count in one of its three forms: in the low bits of fix, or
// in the two or four bytes after long or long+1.
func (c *cursor) length(what string, limit int, fix, low, long byte) int {
	var n uint64
	switch b := c.lead(); {
	case b&^low == fix:
		n = uint64(b & low)
	case b == long:
		n = c.bigEndian(2)
	case b == long+1:
		n = c.bigEndian(4)
	default:
		c.fail("no %s: %#x", what, b)
	}
	if n > uint64(limit) {
		c.fail("%s of %d, limit %d", what, n, limit)
		return 0
	}
	return int(n)
}

// end fails when something is left.
func (c *cursor) end() {
	if len(c.b) > 0 {
		c.fail("%d bytes too many", len(c.b))
	}
}

// fields reads a struct as memberlist writes it, a map by field name. read
// gets each name and reads its value; it returns false for a name it does not
// know. No field may come twice, and at least need must come.
func (c *cursor) fields(need int, read func(name []byte) bool) {
	const most = 16
	n := c.dict(most)
	var seen [most][]byte
	for i := range n {
		name := c.raw(most)
		for _, s := range seen[:i] {
			if bytes.Equal(s, name) {
				c.fail("field %q twice", name)
			}
		}
		seen[i] = name
		if c.err == nil && !read(name) {
			c.fail("field %q", name)
		}
		if c.err != nil {
			return
		}
	}
	if n < need {
		c.fail("%d fields where %d must be", n, need)
	}
}
