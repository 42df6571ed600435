package wire

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

// The forms written and read here must be those of the library: of all its
// values at which a form changes.
func TestCodecIsTheLibrarys(t *testing.T) {
	lengths := []int{0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536}
	numbers := []uint64{0, 1, 127, 128, 255, 256, 65535, 65536, math.MaxUint32, math.MaxUint32 + 1, math.MaxInt64, math.MaxUint64}
	for _, n := range numbers {
		sameCode(t, n, func(e *msgpack.Encoder) error { return e.EncodeUint(n) }, func(n *uint64, c *codec) { c.codeNumber(n) })
		sameCode(t, n, func(e *msgpack.Encoder) error { return e.EncodeUint64(n) }, func(n *uint64, c *codec) { c.codeWide(n) })
		for shift := range 64 {
			for _, i := range []int64{int64(n) >> shift, -int64(n) >> shift, -int64(n)>>shift - 1} {
				sameCode(t, i, func(e *msgpack.Encoder) error { return e.EncodeInt(i) }, func(i *int64, c *codec) { codeSigned(c, i) })
			}
		}
	}
	for _, b := range []bool{false, true} {
		sameCode(t, b, func(e *msgpack.Encoder) error { return e.EncodeBool(b) }, func(b *bool, c *codec) { c.codeFlag(b) })
	}
	for _, n := range lengths {
		s := strings.Repeat("x", n)
		sameCode(t, s, func(e *msgpack.Encoder) error { return e.EncodeString(s) }, func(s *string, c *codec) { c.codeText(s, n) })
		sameCode(t, s, func(e *msgpack.Encoder) error { return e.EncodeBytes([]byte(s)) }, func(s *string, c *codec) {
			b := []byte(*s)
			c.codeBytes(&b, n)
			*s = string(b)
		})
		sameCode(t, n, func(e *msgpack.Encoder) error { return errors.Join(e.EncodeArrayLen(n), zeros(e, n)) }, func(n *int, c *codec) {
			c.codeArrayLen(n, 1<<16)
			zero := uint64(0)
			for range *n {
				c.codeNumber(&zero)
			}
		})
	}
}

func zeros(e *msgpack.Encoder, n int) (err error) {
	for range n {
		err = errors.Join(err, e.EncodeUint(0))
	}
	return err
}

func sameCode[T comparable](t *testing.T, value T, library func(*msgpack.Encoder) error, fields func(*T, *codec)) {
	t.Helper()
	var theirs bytes.Buffer
	if err := library(msgpack.NewEncoder(&theirs)); err != nil {
		t.Fatal(err)
	}
	written := value
	ours := appendFields([]byte("before"), &written, fields)
	if written != value {
		t.Fatalf("%.20v became %.20v while it was written", value, written)
	}
	if want := append([]byte("before"), theirs.Bytes()...); !bytes.Equal(ours, want) {
		t.Fatalf("%.20v is written %.20x, by the library %.20x", value, ours, want)
	}
	if got, err := readFields(theirs.Bytes(), "value", fields); err != nil || got != value {
		t.Fatalf("%.20v is read as %.20v, %v", value, got, err)
	}
	// Cut off anywhere, it is malformed.
	for n := range min(theirs.Len(), 10) {
		if _, err := readFields(theirs.Bytes()[:n:n], "value", fields); !errors.Is(err, ErrMalformed) {
			t.Fatalf("%d bytes of %.20v: %v", n, value, err)
		}
	}
}

// What may not be is refused where it is read. Writing it leaves out nothing, least of all
// what stands before it.
func TestWritingIsNotJudged(t *testing.T) {
	m := PutRequest{Key: "k", Tomb: true, Value: []byte("v")}
	wrong := AppendPutRequest([]byte("before"), &m)
	m.Tomb = false
	right := AppendPutRequest([]byte("before"), &m)
	if len(wrong) != len(right) || string(wrong[:6]) != "before" {
		t.Errorf("%x is written, %x if it is right", wrong, right)
	}
	if _, err := DecodePutRequest(wrong[6:]); !errors.Is(err, ErrMalformed) {
		t.Errorf("a delete with a value: %v", err)
	}
}
