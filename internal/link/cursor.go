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
	rest         []byte
	err          error
	sift         *sift       // what gets through; nil: all
	lamportLimit uint64      // Lamport time that is believed
	strange      view.NodeID // the roster does not hold it, and it was spoken of
}

func (c *cursor) failWith(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: %s", errScreened, fmt.Sprintf(format, args...))
		c.rest = nil
	}
}

// takeBytes takes n bytes off.
func (c *cursor) takeBytes(n int) []byte {
	if n > len(c.rest) {
		c.failWith("cut short")
		return nil
	}
	b := c.rest[:n:n]
	c.rest = c.rest[n:]
	return b
}

func (c *cursor) takeByte() byte {
	if b := c.takeBytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) takeBigEndian(size int) uint64 {
	var n uint64
	for _, b := range c.takeBytes(size) {
		n = n<<8 | uint64(b)
	}
	return n
}

// readUint reads a whole number from 0 to limit, in any of its forms.
func (c *cursor) readUint(limit uint64) uint64 {
	var n uint64
	switch b := c.takeByte(); {
	case b < 0x80:
		n = uint64(b)
	case b >= 0xcc && b <= 0xcf:
		n = c.takeBigEndian(1 << (b - 0xcc))
	case b >= 0xd0 && b <= 0xd3:
		size := 1 << (b - 0xd0)
		if n = c.takeBigEndian(size); n>>(8*size-1) != 0 {
			c.failWith("negative number")
		}
	default:
		c.failWith("no number: %#x", b)
	}
	if n > limit {
		c.failWith("%d where %d is the most", n, limit)
		return 0
	}
	return n
}

func (c *cursor) readBool() bool {
	b := c.takeByte()
	if b != 0xc2 && b != 0xc3 {
		c.failWith("neither true nor false: %#x", b)
	}
	return b == 0xc3
}

// checkFloat reads a 64 bit number that is finite.
func (c *cursor) checkFloat() {
	if b := c.takeByte(); b != 0xcb {
		c.failWith("no float: %#x", b)
		return
	}
	if b := c.takeBytes(8); b != nil {
		if f := math.Float64frombits(binary.BigEndian.Uint64(b)); math.IsNaN(f) || math.IsInf(f, 0) {
			c.failWith("%v", f)
		}
	}
}

// takeNil takes a nil off, if one is next.
func (c *cursor) takeNil() bool {
	if len(c.rest) > 0 && c.rest[0] == 0xc0 {
		c.rest = c.rest[1:]
		return true
	}
	return false
}

// readString reads a string or bytes of at most limit; both look the same.
func (c *cursor) readString(limit int) []byte {
	return c.takeBytes(c.readLength("string", limit, 0xa0, 0x1f, 0xda))
}

func (c *cursor) readArrayLen(limit int) int { return c.readLength("array", limit, 0x90, 0x0f, 0xdc) }

func (c *cursor) readMapLen(limit int) int { return c.readLength("map", limit, 0x80, 0x0f, 0xde) }

// readLength reads a count in one of its three forms: in the low bits of fix, or
// in the two or four bytes after long or long+1.
func (c *cursor) readLength(what string, limit int, fix, low, long byte) int {
	var n uint64
	switch b := c.takeByte(); {
	case b&^low == fix:
		n = uint64(b & low)
	case b == long:
		n = c.takeBigEndian(2)
	case b == long+1:
		n = c.takeBigEndian(4)
	default:
		c.failWith("no %s: %#x", what, b)
	}
	if n > uint64(limit) {
		c.failWith("%s of %d, limit %d", what, n, limit)
		return 0
	}
	return int(n)
}

// expectEnd fails when something is left.
func (c *cursor) expectEnd() {
	if len(c.rest) > 0 {
		c.failWith("%d bytes too many", len(c.rest))
	}
}

// readFields reads a struct as memberlist writes it, a map by field name. read
// gets each name and reads its value; it returns false for a name it does not
// know. No field may come twice, and at least need must come.
func (c *cursor) readFields(need int, read func(name []byte) bool) {
	const most = 16
	n := c.readMapLen(most)
	var seen [most][]byte
	for i := range n {
		name := c.readString(most)
		for _, s := range seen[:i] {
			if bytes.Equal(s, name) {
				c.failWith("field %q twice", name)
			}
		}
		seen[i] = name
		if c.err == nil && !read(name) {
			c.failWith("field %q", name)
		}
		if c.err != nil {
			return
		}
	}
	if n < need {
		c.failWith("%d fields where %d must be", n, need)
	}
}
