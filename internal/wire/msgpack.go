package wire

import (
	"encoding/binary"
	"math"
)

// Of msgpack, https://github.com/msgpack/msgpack/blob/master/spec.md: a value
// begins with one of these codes; a short one has its length in the code, a
// longer one in the big-endian bytes after it. Where there is a code for each
// of 1, 2, 4 and 8 bytes, they follow each other.
const (
	fixInts      = 0x80 // so many numbers, from zero on, are written as themselves
	fixArray     = 0x90 // to 0x9f
	fixString    = 0xa0 // to 0xbf
	codeFalse    = 0xc2
	codeTrue     = 0xc3
	codeBytes8   = 0xc4
	codeBytes32  = 0xc6
	codeUint8    = 0xcc
	codeUint16   = 0xcd
	codeUint32   = 0xce
	codeUint64   = 0xcf
	codeInt8     = 0xd0
	codeInt64    = 0xd3
	codeString8  = 0xd9
	codeString32 = 0xdb
	codeArray16  = 0xdc
	codeArray32  = 0xdd
	fixNegative  = 0xe0 // to 0xff, -32 to -1
)

func (c *codec) writeUint(n uint64) {
	switch {
	case n < fixInts:
		c.data = append(c.data, byte(n))
	case n <= math.MaxUint8:
		c.data = append(c.data, codeUint8, byte(n))
	case n <= math.MaxUint16:
		c.data = binary.BigEndian.AppendUint16(append(c.data, codeUint16), uint16(n))
	case n <= math.MaxUint32:
		c.data = binary.BigEndian.AppendUint32(append(c.data, codeUint32), uint32(n))
	default:
		c.writeWide(n)
	}
}

func (c *codec) writeWide(n uint64) {
	c.data = binary.BigEndian.AppendUint64(append(c.data, codeUint64), n)
}

func (c *codec) writeInt(n int64) {
	switch {
	case n >= 0:
		c.writeUint(uint64(n))
	case n >= -32:
		c.data = append(c.data, byte(n))
	case n >= math.MinInt8:
		c.data = append(c.data, codeInt8, byte(n))
	case n >= math.MinInt16:
		c.data = binary.BigEndian.AppendUint16(append(c.data, codeInt8+1), uint16(n))
	case n >= math.MinInt32:
		c.data = binary.BigEndian.AppendUint32(append(c.data, codeInt8+2), uint32(n))
	default:
		c.data = binary.BigEndian.AppendUint64(append(c.data, codeInt64), uint64(n))
	}
}

func (c *codec) writeArrayLen(n int) {
	switch {
	case n < 16:
		c.data = append(c.data, fixArray|byte(n))
	case n <= math.MaxUint16:
		c.data = binary.BigEndian.AppendUint16(append(c.data, codeArray16), uint16(n))
	default:
		c.data = binary.BigEndian.AppendUint32(append(c.data, codeArray32), uint32(n))
	}
}

func (c *codec) writeText(s string) {
	if len(s) < 32 {
		c.data = append(c.data, fixString|byte(len(s)))
	} else {
		c.writeSize(len(s), codeString8)
	}
	c.data = append(c.data, s...)
}

func (c *codec) writeBytes(b []byte) {
	c.writeSize(len(b), codeBytes8)
	c.data = append(c.data, b...)
}

// writeSize writes the length of a byte string; code is that of lengths of one byte.
func (c *codec) writeSize(n int, code byte) {
	switch {
	case n <= math.MaxUint8:
		c.data = append(c.data, code, byte(n))
	case n <= math.MaxUint16:
		c.data = binary.BigEndian.AppendUint16(append(c.data, code+1), uint16(n))
	default:
		c.data = binary.BigEndian.AppendUint32(append(c.data, code+2), uint32(n))
	}
}

func (c *codec) readCode() (code byte) {
	if c.off < len(c.data) {
		code = c.data[c.off]
		c.off++
	} else {
		c.refuse(errShort)
	}
	return code
}

// readNumber reads a number of size bytes, which is 1, 2, 4 or 8.
func (c *codec) readNumber(size int) (n uint64) {
	left := c.data[c.off:]
	if size > len(left) {
		c.refuse(errShort)
		return 0
	}
	for _, b := range left[:size] {
		n = n<<8 | uint64(b)
	}
	c.off += size
	return n
}

func (c *codec) readUint() uint64 {
	left := c.data[c.off:]
	if len(left) > 0 && left[0] < fixInts {
		c.off++
		return uint64(left[0])
	}
	if len(left) > 8 { // long enough for each of them
		switch left[0] {
		case codeUint8:
			c.off += 2
			return uint64(left[1])
		case codeUint16:
			c.off += 3
			return uint64(binary.BigEndian.Uint16(left[1:]))
		case codeUint32:
			c.off += 5
			return uint64(binary.BigEndian.Uint32(left[1:]))
		case codeUint64:
			c.off += 9
			return binary.BigEndian.Uint64(left[1:])
		}
	}
	code := c.readCode()
	if code < codeUint8 || code > codeUint64 {
		c.failWith("code %#x where a number should be", code)
		return 0
	}
	return c.readNumber(1 << (code - codeUint8))
}

// readUintMax reads a number of at most limit.
func (c *codec) readUintMax(limit uint64) uint64 {
	n := c.readUint()
	if n > limit {
		c.failWith("%d where at most %d may stand", n, limit)
		return 0
	}
	return n
}

func (c *codec) readInt() int64 {
	switch code := c.readCode(); {
	case code < fixInts || code >= fixNegative:
		return int64(int8(code))
	case code >= codeUint8 && code <= codeUint64:
		n := c.readNumber(1 << (code - codeUint8))
		if n > math.MaxInt64 {
			c.failWith("%d where at most %d may stand", n, int64(math.MaxInt64))
			return 0
		}
		return int64(n)
	case code >= codeInt8 && code <= codeInt64:
		size := 1 << (code - codeInt8)
		unused := 64 - 8*size
		return int64(c.readNumber(size)<<unused) >> unused
	default:
		c.failWith("code %#x where a number should be", code)
		return 0
	}
}

// readArrayLen reads the length of an array of at most limit elements, each of at
// least one byte, so that no length makes us allocate more than was sent.
func (c *codec) readArrayLen(limit int) int {
	n := uint64(0)
	switch code := c.readCode(); {
	case code&0xf0 == fixArray:
		n = uint64(code & 0x0f)
	case code == codeArray16 || code == codeArray32:
		n = c.readNumber(2 << (code - codeArray16))
	default:
		c.failWith("code %#x where an array should be", code)
	}
	if left := len(c.data) - c.off; n > uint64(min(limit, left)) {
		c.failWith("array of %d elements, limit %d, %d bytes left", n, limit, left)
		return 0
	}
	return int(n)
}

// readBytes lends the next byte string, at most limit long.
func (c *codec) readBytes(limit int) []byte {
	n := uint64(0)
	switch code := c.readCode(); {
	case code&0xe0 == fixString:
		n = uint64(code & 0x1f)
	case code == codeBytes8 || code == codeString8:
		n = uint64(c.readCode())
	case code > codeBytes8 && code <= codeBytes32:
		n = c.readNumber(1 << (code - codeBytes8))
	case code > codeString8 && code <= codeString32:
		n = c.readNumber(1 << (code - codeString8))
	default:
		c.failWith("code %#x where bytes should be", code)
	}
	if left := len(c.data) - c.off; n > uint64(min(limit, left)) {
		c.failWith("%d bytes, limit %d, %d left", n, limit, left)
		return nil
	}
	end := c.off + int(n)
	b := c.data[c.off:end:end]
	c.off = end
	return b
}
