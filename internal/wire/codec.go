package wire

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/skeinmesh/skein/mesh/view"
)

// ErrMalformed is what every decoder returns for bytes that no encoder wrote.
var ErrMalformed = errors.New("malformed bytes")

// ErrNewerVersion is returned for a format that this build does not know yet.
var ErrNewerVersion = errors.New("newer format version")

var errShort = fmt.Errorf("%w: they end too early", ErrMalformed)

// codec writes a message, or reads one. What a message is made of stands once, in its
// method codeFields: there each call of the codec is given the place of a field, and writes
// what is there or puts there what it reads. So the two directions cannot differ, and a
// limit stands beside the field that it bounds.
//
// Writing cannot fail and changes nothing in the message: what may not be is written as it
// is, and refused where it is read. The first error of reading sticks. Whatever is read
// after it is zero.
type codec struct {
	data       []byte // what is read, or what has been written
	off        int    // of the next byte to be read
	reading    bool
	memoryHeld int // bytes of memory that lists of what was read take
	factor     int // they may take so many times the message
	err        error
}

// A message may take so many times its own size in memory, and freeMemory beside it.
// Lists of real things take up to three times as much as their bytes; one of empty
// things, which nobody of good will sends, could take 60 times as much, in each of
// many requests at a time.
const (
	memoryFactor = 4
	freeMemory   = 4 << 10 // short lists of small numbers
	// looseFactor stands for memoryFactor where the smallest things are real ones: that
	// a store has no record of a key takes 3 bytes, and 64 in memory.
	looseFactor = 24
)

// appendFields appends m, as fields describes it, to dst. It and readFields are so short
// that they are inlined. The compiler then knows the function that is called, and leaves
// the codec and the message on the stack: TestPutMessagesStayOnTheStack.
func appendFields[T any](dst []byte, m *T, fields func(*T, *codec)) []byte {
	var c codec
	c.data = dst
	fields(m, &c)
	return c.data
}

// readFields reads data whole, as fields describes it; what names the format in errors.
func readFields[T any](data []byte, what string, fields func(*T, *codec)) (m T, err error) {
	var c codec
	c.data, c.reading, c.factor = data, true, memoryFactor
	fields(&m, &c)
	return m, c.finishReading(what)
}

func (c *codec) finishReading(what string) error {
	if c.err == nil && c.off == len(c.data) {
		return nil
	}
	return &formatError{what, c.err, len(c.data) - c.off}
}

// formatError tells of which format the bytes are not.
type formatError struct {
	what string
	err  error // nil: there are bytes too many
	left int   // so many
}

func (e *formatError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("wire: %s: %v: %d bytes too many", e.what, ErrMalformed, e.left)
	}
	return fmt.Sprintf("wire: %s: %v", e.what, e.err)
}

func (e *formatError) Unwrap() error {
	if e.err == nil {
		return ErrMalformed
	}
	return e.err
}

// failWith refuses what was read. What is written is not judged.
func (c *codec) failWith(format string, args ...any) {
	if c.reading && c.err == nil {
		c.refuse(fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...)))
	}
}

// checkError refuses what was read if err is one.
func (c *codec) checkError(err error) {
	if c.reading && err != nil {
		c.refuse(fmt.Errorf("%w: %w", ErrMalformed, err))
	}
}

// refuse ends reading: the first error counts, and nothing is left to be read.
func (c *codec) refuse(err error) {
	if c.err == nil {
		c.err, c.data, c.off = err, nil, 0
	}
}

// codeVersion describes the version that a format begins with.
func (c *codec) codeVersion(version uint64) {
	if c.reading {
		c.readVersion(version)
	} else {
		c.writeUint(version)
	}
}

// codeEitherVersion describes the version of a format that has two, of which the later is
// written only where there is more to tell. It returns whether there is.
func (c *codec) codeEitherVersion(earlier, later uint64, more bool) bool {
	if c.reading {
		return c.readVersion(later) == later
	}
	if more {
		c.writeUint(later)
	} else {
		c.writeUint(earlier)
	}
	return more
}

// codeVersionUpTo describes the version of a format that has several, of which latest is the
// newest.
func (c *codec) codeVersionUpTo(version *uint64, latest uint64) {
	if c.reading {
		*version = c.readVersion(latest)
	} else {
		c.writeUint(*version)
	}
}

// readVersion reads a format version; known is the newest that can be read.
func (c *codec) readVersion(known uint64) uint64 {
	v := c.readUint()
	if c.err == nil && v > known {
		c.refuse(fmt.Errorf("%w: %d, this build knows %d", ErrNewerVersion, v, known))
	}
	if v == 0 {
		c.failWith("format version 0")
	}
	return v
}

// codeNumber describes a number that is small mostly.
func (c *codec) codeNumber(n *uint64) {
	if c.reading {
		*n = c.readUint()
	} else {
		c.writeUint(*n)
	}
}

// codeWide describes a random number: all its bytes are needed nearly always.
func (c *codec) codeWide(n *uint64) {
	if c.reading {
		*n = c.readUint()
	} else {
		c.writeWide(*n)
	}
}

// codeBounded describes a number of at most limit.
func codeBounded[T ~int | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64](c *codec, n *T, limit uint64) {
	if c.reading {
		*n = T(c.readUintMax(limit))
	} else {
		c.writeUint(uint64(*n))
	}
}

// codeSigned describes a number that may be below zero.
func codeSigned[T ~int | ~int64](c *codec, n *T) {
	if c.reading {
		*n = T(c.readInt())
	} else {
		c.writeInt(int64(*n))
	}
}

func (c *codec) codeFlag(b *bool) {
	if !c.reading {
		code := byte(codeFalse)
		if *b {
			code = codeTrue
		}
		c.data = append(c.data, code)
		return
	}
	code := c.readCode()
	if *b = code == codeTrue; !*b && code != codeFalse {
		c.failWith("code %#x where true or false should be", code)
	}
}

// codeText describes a string of at most limit bytes.
func (c *codec) codeText(s *string, limit int) {
	if c.reading {
		*s = string(c.readBytes(limit))
	} else {
		c.writeText(*s)
	}
}

// codeBytes describes a byte string of at most limit bytes. What is read lies in the message.
func (c *codec) codeBytes(b *[]byte, limit int) {
	if c.reading {
		*b = c.readBytes(limit)
	} else {
		c.writeBytes(*b)
	}
}

// codeBytesOrNil describes one that is nil when it is empty.
func (c *codec) codeBytesOrNil(b *[]byte, limit int) {
	if c.codeBytes(b, limit); c.reading && len(*b) == 0 {
		*b = nil
	}
}

// codeOwnBytes describes one that does not lie in the message, and is nil when it is empty.
func (c *codec) codeOwnBytes(b *[]byte, limit int) {
	if c.codeBytesOrNil(b, limit); c.reading {
		*b = slices.Clone(*b)
	}
}

// codeFixed describes a byte string that is always as long as b.
func (c *codec) codeFixed(b []byte) {
	if !c.reading {
		c.writeBytes(b)
	} else if n := copy(b, c.readBytes(len(b))); n != len(b) {
		c.failWith("%d bytes where %d must stand", n, len(b))
	}
}

// codeNodeID describes the id of a node, which is never zero.
func (c *codec) codeNodeID(id *view.NodeID) {
	if c.codeWide((*uint64)(id)); *id == 0 {
		c.failWith("node id 0")
	}
}

// codeNodeIDs describes a list of at most limit of them.
func (c *codec) codeNodeIDs(list *[]view.NodeID, limit int) {
	for i := range codeList(c, list, 1, limit) {
		c.codeNodeID(&(*list)[i])
	}
}

// codeRisingIDs describes such a list in order, each named once.
func (c *codec) codeRisingIDs(list *[]view.NodeID, limit int) {
	c.codeNodeIDs(list, limit)
	for i := 1; i < len(*list); i++ {
		if (*list)[i-1] >= (*list)[i] {
			c.failWith("ids not in order at %d", i)
		}
	}
}

// codeMoment describes a time by its milliseconds since 1970, in UTC.
func (c *codec) codeMoment(t *time.Time) {
	if c.reading {
		*t = time.UnixMilli(c.readInt()).UTC()
	} else {
		c.writeInt(t.UnixMilli())
	}
}

// codeSpan describes a time of at most limit units; what is written is cut.
func (c *codec) codeSpan(d *time.Duration, unit time.Duration, limit uint64) {
	if c.reading {
		*d = time.Duration(c.readUintMax(limit)) * unit
	} else {
		c.writeUint(min(uint64(max(*d, 0)/unit), limit))
	}
}

// codeMillis describes a time in whole milliseconds.
func (c *codec) codeMillis(d *time.Duration) { c.codeSpan(d, time.Millisecond, 1<<43) }

// codeTuple describes the beginning of an array of n fields.
func (c *codec) codeTuple(n int) {
	got := n
	if c.codeArrayLen(&got, n); got != n {
		c.failWith("array of %d fields where %d must stand", got, n)
	}
}

// codeArrayLen describes the length of an array of at most limit elements.
func (c *codec) codeArrayLen(n *int, limit int) {
	if c.reading {
		*n = c.readArrayLen(limit)
	} else {
		c.writeArrayLen(*n)
	}
}

// codeList describes the length of a flattened list of at most limit records of so many
// fields each, and returns how many records there are. The caller describes them one
// after the other; what is read goes into the records of *list, which are zero before.
func codeList[T any](c *codec, list *[]T, fields, limit int) int {
	if !c.reading {
		c.writeArrayLen(len(*list) * fields)
		return len(*list)
	}
	elements := c.readArrayLen(limit * fields)
	if elements == 0 {
		return 0
	}
	n := elements / fields
	if n*fields != elements {
		c.failWith("%d fields of records of %d", elements, fields)
		return 0
	}
	if !c.holdMemory(n * int(reflect.TypeFor[T]().Size())) {
		return 0
	}
	*list = make([]T, n)
	return n
}

// holdMemory counts n bytes more for lists of the message, and returns whether it may
// take them.
func (c *codec) holdMemory(n int) bool {
	c.memoryHeld += n
	if most := c.factor*len(c.data) + freeMemory; c.memoryHeld > most {
		c.failWith("%d bytes of memory for a message of %d, limit %d", c.memoryHeld, len(c.data), most)
	}
	return c.err == nil
}
