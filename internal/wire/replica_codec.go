package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// ErrMalformed is what every decoder of items, records and replica messages
// returns for bytes that no encoder wrote.
var ErrMalformed = errors.New("malformed bytes")

// ErrNewerVersion is returned for a format that this build does not know yet.
var ErrNewerVersion = errors.New("newer format version")

// Of msgpack, https://github.com/msgpack/msgpack/blob/master/spec.md: a value
// begins with one of these codes; a short one has its length in the code, a
// longer one in the big-endian bytes after it.
const (
	fixInts     = 0x80 // so many numbers, from zero on, are written as themselves
	fixArray    = 0x90 // to 0x9f
	fixString   = 0xa0 // to 0xbf
	codeFalse   = 0xc2
	codeTrue    = 0xc3
	codeBytes8  = 0xc4
	codeBytes16 = 0xc5
	codeUint8   = 0xcc
	codeUint16  = 0xcd
	codeUint32  = 0xce
	codeUint64  = 0xcf
	codeString8 = 0xd9
	codeArray16 = 0xdc
)

// packer appends msgpack to a slice. Its writes cannot fail.
type packer struct {
	buf []byte
	enc *msgpack.Encoder
}

var packers = sync.Pool{New: func() any {
	p := &packer{}
	p.enc = msgpack.NewEncoder(p)
	return p
}}

func (p *packer) Write(b []byte) (int, error) {
	p.buf = append(p.buf, b...)
	return len(b), nil
}

func (p *packer) WriteByte(c byte) error {
	p.buf = append(p.buf, c)
	return nil
}

// appendPacked appends to dst what fn writes.
func appendPacked(dst []byte, fn func(p *packer)) []byte {
	p := packers.Get().(*packer)
	p.buf = dst
	fn(p)
	out := p.buf
	p.buf = nil
	packers.Put(p)
	return out
}

// What messages and records are made of is written and read here: they are
// taken apart and put together on every commit by the one goroutine that all
// writers wait for, and a call of the library through its reader and writer
// costs more than the few bytes in question. The rest is left to the library.

func (p *packer) writeUint(n uint64) {
	switch {
	case n < fixInts:
		p.buf = append(p.buf, byte(n))
	case n < 1<<8:
		p.buf = append(p.buf, codeUint8, byte(n))
	case n < 1<<16:
		p.buf = binary.BigEndian.AppendUint16(append(p.buf, codeUint16), uint16(n))
	case n < 1<<32:
		p.buf = binary.BigEndian.AppendUint32(append(p.buf, codeUint32), uint32(n))
	default:
		p.writeID(n)
	}
}

// writeID writes a random number: all its bytes are needed nearly always.
func (p *packer) writeID(n uint64) {
	p.buf = binary.BigEndian.AppendUint64(append(p.buf, codeUint64), n)
}

func (p *packer) writeInt(n int64) {
	if n >= 0 {
		p.writeUint(uint64(n))
		return
	}
	_ = p.enc.EncodeInt(n)
}

func (p *packer) writeBool(b bool) {
	code := byte(codeFalse)
	if b {
		code = codeTrue
	}
	p.buf = append(p.buf, code)
}

func (p *packer) writeArrayLen(n int) {
	if n < 16 {
		p.buf = append(p.buf, fixArray|byte(n))
		return
	}
	_ = p.enc.EncodeArrayLen(n)
}

func (p *packer) writeString(s string) {
	if len(s) < 32 {
		p.buf = append(append(p.buf, fixString|byte(len(s))), s...)
		return
	}
	_ = p.enc.EncodeString(s)
}

func (p *packer) writeBytes(b []byte) {
	switch n := len(b); {
	case n < 1<<8:
		p.buf = append(p.buf, codeBytes8, byte(n))
	case n < 1<<16:
		p.buf = binary.BigEndian.AppendUint16(append(p.buf, codeBytes16), uint16(n))
	default:
		_ = p.enc.EncodeBytesLen(n)
	}
	p.buf = append(p.buf, b...)
}

// unpacker reads msgpack from a slice and lends out parts of it. The first
// error sticks; whoever reads past it gets zeros.
type unpacker struct {
	data       []byte
	off        int
	memoryHeld int // bytes of memory that lists of what was read take
	factor     int // they may take so many times the message: memoryFactor, but for healthFactor
	dec        *msgpack.Decoder
	err        error
}

var unpackers = sync.Pool{New: func() any {
	u := &unpacker{}
	u.dec = msgpack.NewDecoder(u)
	return u
}}

func (u *unpacker) Read(b []byte) (int, error) {
	if u.off == len(u.data) {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(b, u.data[u.off:])
	u.off += n
	return n, nil
}

func (u *unpacker) ReadByte() (byte, error) {
	if u.off == len(u.data) {
		return 0, io.ErrUnexpectedEOF
	}
	u.off++
	return u.data[u.off-1], nil
}

func (u *unpacker) UnreadByte() error {
	if u.off == 0 {
		return io.ErrNoProgress
	}
	u.off--
	return nil
}

// unpackWhole lets fn read data whole; what names the format in errors.
func unpackWhole(data []byte, what string, fn func(u *unpacker)) error {
	u := unpackers.Get().(*unpacker)
	u.data, u.off, u.memoryHeld, u.factor, u.err = data, 0, 0, memoryFactor, nil
	fn(u)
	if u.err == nil && u.off != len(data) {
		u.failWith("%d bytes too many", len(data)-u.off)
	}
	err := u.err
	u.data, u.err = nil, nil
	unpackers.Put(u)
	if err != nil {
		return fmt.Errorf("wire: %s: %w", what, err)
	}
	return nil
}

func (u *unpacker) failWith(format string, args ...any) {
	if u.err == nil {
		u.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
}

func (u *unpacker) checkError(err error) bool {
	if u.err == nil && err != nil {
		u.err = fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return u.err == nil
}

// A message may take so many times its own size in memory, and freeMemory beside it.
// Lists of real things take up to three times as much as their bytes; one of empty
// things, which nobody of good will sends, could take 60 times as much, in each of
// many requests at a time.
const (
	memoryFactor = 4
	freeMemory   = 4 << 10 // short lists of small numbers
)

// listOf makes room for n elements of a message.
func listOf[T any](u *unpacker, n int) []T {
	if u.err != nil || n == 0 {
		return nil
	}
	u.memoryHeld += n * int(reflect.TypeFor[T]().Size())
	if most := u.factor*len(u.data) + freeMemory; u.memoryHeld > most {
		u.failWith("%d bytes of memory for a message of %d, limit %d", u.memoryHeld, len(u.data), most)
		return nil
	}
	return make([]T, 0, n)
}

// readVersion reads the leading format version; known is the newest we can read.
func (u *unpacker) readVersion(known uint64) uint64 {
	v := u.readUint()
	if u.err == nil && v > known {
		u.err = fmt.Errorf("%w: %d, this build knows %d", ErrNewerVersion, v, known)
	}
	if v == 0 {
		u.failWith("format version 0")
	}
	return v
}

func (u *unpacker) readUint() uint64 {
	if u.err != nil {
		return 0
	}
	left := u.data[u.off:]
	if len(left) > 0 && left[0] < fixInts {
		u.off++
		return uint64(left[0])
	}
	if len(left) > 8 { // long enough for all of them
		switch left[0] {
		case codeUint8:
			u.off += 2
			return uint64(left[1])
		case codeUint16:
			u.off += 3
			return uint64(binary.BigEndian.Uint16(left[1:]))
		case codeUint32:
			u.off += 5
			return uint64(binary.BigEndian.Uint32(left[1:]))
		case codeUint64:
			u.off += 9
			return binary.BigEndian.Uint64(left[1:])
		}
	}
	n, err := u.dec.DecodeUint64()
	if !u.checkError(err) {
		return 0
	}
	return n
}

// readUintMax reads a number of at most limit.
func (u *unpacker) readUintMax(limit uint64) uint64 {
	n := u.readUint()
	if n > limit {
		u.failWith("%d where at most %d may stand", n, limit)
		return 0
	}
	return n
}

func (u *unpacker) readInt() int64 {
	if u.err != nil {
		return 0
	}
	if u.off < len(u.data) && u.data[u.off] < fixInts {
		u.off++
		return int64(u.data[u.off-1])
	}
	n, err := u.dec.DecodeInt64()
	u.checkError(err)
	return n
}

func (u *unpacker) readBool() bool {
	if u.err != nil {
		return false
	}
	if u.off < len(u.data) {
		switch u.data[u.off] {
		case codeFalse, codeTrue:
			u.off++
			return u.data[u.off-1] == codeTrue
		}
	}
	b, err := u.dec.DecodeBool()
	u.checkError(err)
	return b
}

// readArrayLen reads the length of an array of at most limit elements, each of at
// least one byte, so that no length makes us allocate more than was sent.
func (u *unpacker) readArrayLen(limit int) int {
	if u.err != nil {
		return 0
	}
	n := u.readArrayHeader()
	if u.err != nil {
		return 0
	}
	if n < 0 || n > limit || n > len(u.data)-u.off {
		u.failWith("array of %d elements, limit %d, %d bytes left", n, limit, len(u.data)-u.off)
		return 0
	}
	return n
}

func (u *unpacker) readArrayHeader() int {
	switch left := u.data[u.off:]; {
	case len(left) > 0 && left[0]&0xf0 == fixArray:
		u.off++
		return int(left[0] & 0x0f)
	case len(left) > 2 && left[0] == codeArray16:
		u.off += 3
		return int(binary.BigEndian.Uint16(left[1:]))
	}
	n, err := u.dec.DecodeArrayLen()
	u.checkError(err)
	return n
}

func (u *unpacker) readBytesHeader() int {
	switch left := u.data[u.off:]; {
	case len(left) > 0 && left[0]&0xe0 == fixString:
		u.off++
		return int(left[0] & 0x1f)
	case len(left) > 1 && (left[0] == codeBytes8 || left[0] == codeString8):
		u.off += 2
		return int(left[1])
	case len(left) > 2 && left[0] == codeBytes16:
		u.off += 3
		return int(binary.BigEndian.Uint16(left[1:]))
	}
	n, err := u.dec.DecodeBytesLen()
	u.checkError(err)
	return n
}

// readBytes lends the next byte string, at most limit long.
func (u *unpacker) readBytes(limit int) []byte {
	if u.err != nil {
		return nil
	}
	n := u.readBytesHeader()
	if u.err != nil {
		return nil
	}
	if n < 0 || n > limit || n > len(u.data)-u.off {
		u.failWith("%d bytes, limit %d, %d left", n, limit, len(u.data)-u.off)
		return nil
	}
	b := u.data[u.off : u.off+n : u.off+n]
	u.off += n
	return b
}

func (u *unpacker) readString(limit int) string { return string(u.readBytes(limit)) }
