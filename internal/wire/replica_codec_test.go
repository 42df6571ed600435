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
		sameCode(t, n, func(e *msgpack.Encoder) error { return e.EncodeUint(n) },
			func(p *packer) { p.writeUint(n) }, func(u *unpacker) any { return u.readUint() })
		sameCode(t, n, func(e *msgpack.Encoder) error { return e.EncodeUint64(n) },
			func(p *packer) { p.writeID(n) }, func(u *unpacker) any { return u.readUint() })
		for _, i := range []int64{int64(n), -int64(n)} {
			sameCode(t, i, func(e *msgpack.Encoder) error { return e.EncodeInt(i) },
				func(p *packer) { p.writeInt(i) }, func(u *unpacker) any { return u.readInt() })
		}
	}
	for _, b := range []bool{false, true} {
		sameCode(t, b, func(e *msgpack.Encoder) error { return e.EncodeBool(b) },
			func(p *packer) { p.writeBool(b) }, func(u *unpacker) any { return u.readBool() })
	}
	for _, n := range lengths {
		s := strings.Repeat("x", n)
		sameCode(t, s, func(e *msgpack.Encoder) error { return e.EncodeString(s) },
			func(p *packer) { p.writeString(s) }, func(u *unpacker) any { return u.readString(n) })
		sameCode(t, s, func(e *msgpack.Encoder) error { return e.EncodeBytes([]byte(s)) },
			func(p *packer) { p.writeBytes([]byte(s)) }, func(u *unpacker) any { return string(u.readBytes(n)) })
		sameCode(t, n, func(e *msgpack.Encoder) error { return errors.Join(e.EncodeArrayLen(n), zeros(e, n)) },
			func(p *packer) {
				p.writeArrayLen(n)
				for range n {
					p.writeUint(0)
				}
			}, func(u *unpacker) any {
				got := u.readArrayLen(n)
				for range got {
					u.readUint()
				}
				return got
			})
	}
}

func zeros(e *msgpack.Encoder, n int) (err error) {
	for range n {
		err = errors.Join(err, e.EncodeUint(0))
	}
	return err
}

func sameCode(t *testing.T, value any, library func(*msgpack.Encoder) error, write func(*packer), read func(*unpacker) any) {
	t.Helper()
	var theirs bytes.Buffer
	if err := library(msgpack.NewEncoder(&theirs)); err != nil {
		t.Fatal(err)
	}
	ours := appendPacked([]byte("before"), write)
	if want := append([]byte("before"), theirs.Bytes()...); !bytes.Equal(ours, want) {
		t.Fatalf("%.20v is written %.20x, by the library %.20x", value, ours, want)
	}
	var got any
	if err := unpackWhole(theirs.Bytes(), "value", func(u *unpacker) { got = read(u) }); err != nil || got != value {
		t.Fatalf("%.20v is read as %.20v, %v", value, got, err)
	}
	// Cut off anywhere, it is malformed.
	for n := range min(theirs.Len(), 10) {
		if err := unpackWhole(theirs.Bytes()[:n], "value", func(u *unpacker) { read(u) }); !errors.Is(err, ErrMalformed) {
			t.Fatalf("%d bytes of %.20v: %v", n, value, err)
		}
	}
}
