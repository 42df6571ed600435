package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

var updateLink = flag.Bool("update-link", false, "write golden files of the transport that do not exist yet")

type frameSample struct {
	name    string
	kind    FrameKind
	id, aux uint64
	text    string
	payload string
}

var frameSamples = []frameSample{
	{"request", FrameRequest, 77, 1500, "replica.put", "the payload"},
	{"reply", FrameReply, 1 << 40, 0, "", "an answer"},
	{"failure", FrameFailure, 128, 0, "no-such-bucket", "b7 is not known"},
	{"drain", FrameDrain, 0, 0, "", ""},
	{"longest", FramePong, math.MaxUint64, math.MaxUint64, strings.Repeat("m", MaxFrameText), "p"},
}

func (s frameSample) bytes() []byte {
	return AppendFrame(nil, s.kind, s.id, s.aux, s.text, []byte(s.payload))
}

func TestFrames(t *testing.T) {
	for _, s := range frameSamples {
		b := s.bytes()
		golden(t, "frame-"+s.name, b)
		body := b[FramePrefix:]
		if int(binary.BigEndian.Uint32(b)) != len(body) {
			t.Errorf("%s: length is wrong", s.name)
		}
		h, n, err := DecodeFrameHeader(body[:min(len(body), MaxFrameHeader)])
		if err != nil || h.Kind != s.kind || h.ID != s.id || h.Aux != s.aux || string(h.Text) != s.text || string(body[n:]) != s.payload {
			t.Errorf("%s: %+v, %d, %v", s.name, h, n, err)
		}
		for cut := range n {
			if _, _, err := DecodeFrameHeader(body[:cut]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s cut to %d bytes: %v", s.name, cut, err)
			}
		}
		// What was written by hand is msgpack to everybody else.
		var fields []any
		if err := msgpack.Unmarshal(body[:n], &fields); err != nil || len(fields) != 5 || fields[4] != s.text {
			t.Errorf("%s: msgpack reads %v, %v", s.name, fields, err)
		}
		newer := bytes.Clone(body)
		newer[1]++
		if _, _, err := DecodeFrameHeader(newer); !errors.Is(err, ErrNewerVersion) {
			t.Errorf("%s of the next version: %v", s.name, err)
		}
	}
	if h, _, err := DecodeFrameHeader(AppendFrame(nil, FrameRequest, 1, 0, strings.Repeat("m", 300), nil)[FramePrefix:]); err != nil || len(h.Text) != MaxFrameText {
		t.Errorf("too long a text is cut: %d, %v", len(h.Text), err)
	}
}

func TestPacketHeader(t *testing.T) {
	h := PacketHeader{Kind: PacketProbe, From: 0x0102030405060708, Boot: 9, Instance: 1 << 60, Counter: 5}
	b := AppendPacketHeader(nil, h)
	golden(t, "packet-header", b)
	if len(b) != PacketHeaderSize {
		t.Errorf("%d bytes", len(b))
	}
	if got, err := DecodePacketHeader(append(b, 1, 2, 3)); err != nil || got != h {
		t.Errorf("%+v, %v", got, err)
	}
	for n := range b {
		if _, err := DecodePacketHeader(b[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	for i, want := range map[int]error{0: ErrNewerVersion, 1: ErrMalformed} {
		bad := bytes.Clone(b)
		bad[i] = 200
		if _, err := DecodePacketHeader(bad); !errors.Is(err, want) {
			t.Errorf("byte %d: %v", i, err)
		}
	}
	for _, zero := range []PacketHeader{{Kind: PacketProbe, From: 1}, {Kind: PacketProbe, Counter: 1}, {From: 1, Counter: 1}} {
		if _, err := DecodePacketHeader(AppendPacketHeader(nil, zero)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%+v: %v", zero, err)
		}
	}
}

func TestFramePacketHeader(t *testing.T) {
	h := FramePacketHeader{From: 0x0102030405060708, Counter: 5}
	b := AppendFramePacketHeader(nil, h)
	golden(t, "frame-packet-header", b)
	if got, err := DecodeFramePacketHeader(append(b, 1, 2, 3)); err != nil || got != h || len(b) != FramePacketHeaderSize || !IsFramePacket(b) {
		t.Errorf("%+v, %v", got, err)
	}
	other := AppendPacketHeader(nil, PacketHeader{Kind: PacketProbe, From: 1, Counter: 1})
	newer := append([]byte{2}, b[1:]...)
	for _, bad := range [][]byte{nil, b[:1], b[:len(b)-1], other, newer, AppendFramePacketHeader(nil, FramePacketHeader{From: 1}), AppendFramePacketHeader(nil, FramePacketHeader{Counter: 1})} {
		if _, err := DecodeFramePacketHeader(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: %v", bad, err)
		}
	}
	if _, err := DecodePacketHeader(append(b, make([]byte, PacketHeaderSize)...)); !errors.Is(err, ErrMalformed) {
		t.Errorf("taken for a packet of another kind: %v", err)
	}
}

func TestGreeting(t *testing.T) {
	g := Greeting{Node: 0xfeed, Boot: 3, Instance: 1 << 63, Requests: 1024, Bytes: 8 << 20, MaxPayload: 4 << 20, Payload: []byte("who I am")}
	b := AppendGreeting(nil, g)
	golden(t, "greeting", b)
	if got, err := DecodeGreeting(b); err != nil || !reflect.DeepEqual(got, g) {
		t.Errorf("%+v, %v", got, err)
	}
	for n := range b {
		if _, err := DecodeGreeting(b[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	b[0]++
	if _, err := DecodeGreeting(b); !errors.Is(err, ErrNewerVersion) {
		t.Errorf("next version: %v", err)
	}
	for name, change := range map[string]func(*Greeting){
		"nobody": func(g *Greeting) { g.Node = 0 }, "no requests": func(g *Greeting) { g.Requests = 0 },
		"no bytes": func(g *Greeting) { g.Bytes = 1 }, "too many bytes": func(g *Greeting) { g.Bytes = 1 << 50 },
		"long payload": func(g *Greeting) { g.Payload = make([]byte, MaxGreetingPayload+1) },
	} {
		bad := g
		change(&bad)
		if _, err := DecodeGreeting(AppendGreeting(nil, bad)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	longest := Greeting{1, math.MaxUint64, math.MaxUint64, 1 << 32, 1 << 40, 1 << 32, make([]byte, MaxGreetingPayload)}
	if n := len(AppendGreeting(nil, longest)); n > MaxGreeting {
		t.Errorf("the longest greeting has %d bytes", n)
	}
}

// golden compares with bytes that an earlier build wrote.
func golden(t *testing.T, name string, b []byte) {
	t.Helper()
	path := filepath.Join("testdata", "link", name+".v1")
	want, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && *updateLink {
		err = os.WriteFile(path, b, 0o644)
		want = b
	}
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, want) {
		t.Errorf("%s: bytes changed:\n got %x\nwant %x", name, b, want)
	}
}

func FuzzDecodeFrameHeader(f *testing.F) {
	for _, s := range frameSamples {
		f.Add(s.bytes()[FramePrefix:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := DecodeFrameHeader(b)
		if err != nil {
			return
		}
		again := AppendFrame(nil, h.Kind, h.ID, h.Aux, string(h.Text), nil)[FramePrefix:]
		if !bytes.Equal(again, b[:n]) || n > MaxFrameHeader {
			t.Fatalf("%x reads as %+v, which writes %x", b[:n], h, again)
		}
	})
}

func FuzzDecodePacketHeader(f *testing.F) {
	f.Add(AppendPacketHeader(nil, PacketHeader{Kind: PacketGossip, From: 1, Boot: 2, Instance: 3, Counter: 4}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := DecodePacketHeader(b); err == nil && !bytes.Equal(AppendPacketHeader(nil, h), b[:PacketHeaderSize]) {
			t.Fatalf("%x reads as %+v", b, h)
		}
	})
}

func FuzzDecodeFramePacketHeader(f *testing.F) {
	f.Add(AppendFramePacketHeader(nil, FramePacketHeader{From: 1, Counter: 4}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := DecodeFramePacketHeader(b); err == nil && !bytes.Equal(AppendFramePacketHeader(nil, h), b[:FramePacketHeaderSize]) {
			t.Fatalf("%x reads as %+v", b, h)
		}
	})
}

func FuzzDecodeGreeting(f *testing.F) {
	f.Add(AppendGreeting(nil, Greeting{Node: 1, Boot: 1, Instance: 1, Requests: 1, Bytes: 9, MaxPayload: 9, Payload: []byte("x")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		readsBack(t, b, DecodeGreeting, func(g *Greeting) []byte { return AppendGreeting(nil, *g) })
	})
}
