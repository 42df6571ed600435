package wire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// FrameKind tells what a frame of a data connection means.
type FrameKind uint8

const (
	FrameGreeting FrameKind = 1  // payload: Greeting; the first frame each way
	FrameReady    FrameKind = 2  // the side that dialled accepts the other's greeting
	FrameRefusal  FrameKind = 3  // the greeting is not accepted; text: code, payload: words
	FrameRequest  FrameKind = 4  // aux: milliseconds left, 0 = no deadline; text: method
	FrameReply    FrameKind = 5  // to the request of the same id
	FrameFailure  FrameKind = 6  // to the request of the same id; text: code, payload: words
	FrameCancel   FrameKind = 7  // nobody waits any more for the request of this id
	FramePing     FrameKind = 8  // wants a pong of the same id
	FramePong     FrameKind = 9  //
	FrameDrain    FrameKind = 10 // the sender will make no further request on this connection
)

const (
	frameVersion = 1

	// FramePrefix is the size of the length that precedes a frame.
	FramePrefix = 4
	// MaxFrameHeader is the size of the longest header.
	MaxFrameHeader = 1 + 1 + 1 + 9 + 9 + 2 + MaxFrameText
	// MaxFrameText bounds methods and codes.
	MaxFrameText = 255
)

// FrameHeader is what a frame says besides its payload.
type FrameHeader struct {
	Kind FrameKind
	ID   uint64 // of a request, chosen by who makes it
	Aux  uint64
	Text []byte // at most MaxFrameText
}

// AppendFrame appends a whole frame:
//
//	length    4 bytes, big endian, of all that follows
//	header    msgpack array of 5: version=1, kind, id, aux, text (str)
//	payload   the rest, raw
func AppendFrame(dst []byte, kind FrameKind, id, aux uint64, text string, payload []byte) []byte {
	start := len(dst)
	var c codec
	c.data = append(dst, 0, 0, 0, 0, fixArray|5, frameVersion, byte(kind))
	c.writeUint(id)
	c.writeUint(aux)
	c.writeText(text[:min(len(text), MaxFrameText)])
	c.data = append(c.data, payload...)
	binary.BigEndian.PutUint32(c.data[start:], uint32(len(c.data)-start-FramePrefix))
	return c.data
}

// DecodeFrameHeader reads the header at the start of a frame whose length was
// taken off, and returns its size. Text lies in b. It is enough to give it
// the first MaxFrameHeader bytes of the frame.
func DecodeFrameHeader(b []byte) (h FrameHeader, size int, err error) {
	if len(b) < 3 {
		return h, 0, fmt.Errorf("wire: frame: %w: %d bytes", ErrMalformed, len(b))
	}
	if b[1] > frameVersion && b[1] < 0x80 {
		return h, 0, fmt.Errorf("wire: frame: %w: %d, this build knows %d", ErrNewerVersion, b[1], frameVersion)
	}
	h.Kind = FrameKind(b[2])
	ok := b[0] == 0x95 && b[1] == frameVersion && h.Kind >= FrameGreeting && h.Kind <= FrameDrain
	rest := b[3:]
	if ok {
		h.ID, rest, ok = cutUint(rest)
	}
	if ok {
		h.Aux, rest, ok = cutUint(rest)
	}
	if ok {
		h.Text, rest, ok = cutText(rest)
	}
	if !ok {
		return FrameHeader{}, 0, fmt.Errorf("wire: frame: %w: no such header", ErrMalformed)
	}
	return h, len(b) - len(rest), nil
}

// cutUint reads a number in its shortest form, and only that.
func cutUint(b []byte) (n uint64, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	c, b := b[0], b[1:]
	switch {
	case c < 0x80:
		return uint64(c), b, true
	case c == 0xcc && len(b) >= 1:
		n = uint64(b[0])
		return n, b[1:], n >= 0x80
	case c == 0xcd && len(b) >= 2:
		n = uint64(binary.BigEndian.Uint16(b))
		return n, b[2:], n > math.MaxUint8
	case c == 0xce && len(b) >= 4:
		n = uint64(binary.BigEndian.Uint32(b))
		return n, b[4:], n > math.MaxUint16
	case c == 0xcf && len(b) >= 8:
		n = binary.BigEndian.Uint64(b)
		return n, b[8:], n > math.MaxUint32
	}
	return 0, nil, false
}

func cutText(b []byte) (text, rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, nil, false
	}
	c, b := b[0], b[1:]
	n := 0
	switch {
	case c&0xe0 == 0xa0:
		n = int(c & 0x1f)
	case c == 0xd9 && len(b) >= 1 && b[0] >= 32:
		n, b = int(b[0]), b[1:]
	default:
		return nil, nil, false
	}
	if n > len(b) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}
