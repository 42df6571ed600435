package link

import (
	"crypto/cipher"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"sync/atomic"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	pairLabel = "EXPORTER-skein-datagram-1"
	pairRoom  = wire.MaxPacket - wire.FramePacketHeaderSize - chacha20poly1305.Overhead
)

var errNoPair = errors.New("link: packet is not sealed for a data connection of its sender")

// pairSealer seals what two processes send each other by packet beside a data connection,
// with keys that only its ends have (RFC 8446, 7.5): nobody else of the mesh can speak
// for one of them, and nothing that was recorded opens on another connection.
type pairSealer struct {
	out, in cipher.AEAD
	sent    atomic.Uint64
	window  replayWindow // of what came; for the one goroutine that reads packets
}

// newPairSealer derives the keys of a connection, one for each direction.
func newPairSealer(tc *tls.Conn, dialed bool) (*pairSealer, error) {
	cs := tc.ConnectionState()
	keys, err := cs.ExportKeyingMaterial(pairLabel, nil, 2*chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	out, in := keys[:chacha20poly1305.KeySize], keys[chacha20poly1305.KeySize:]
	if !dialed {
		out, in = in, out
	}
	p := &pairSealer{}
	if p.out, err = chacha20poly1305.New(out); err == nil {
		p.in, err = chacha20poly1305.New(in)
	}
	return p, err
}

func pairNonce(counter uint64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, chacha20poly1305.NonceSize-8, chacha20poly1305.NonceSize), counter)
}

// sealFrame returns a packet.
func (p *pairSealer) sealFrame(from view.NodeID, frame []byte) []byte {
	counter := p.sent.Add(1)
	header := wire.AppendFramePacketHeader(make([]byte, 0, wire.MaxPacket), wire.FramePacketHeader{From: from, Counter: counter})
	return p.out.Seal(header, pairNonce(counter), frame, header)
}

// openFrame returns what the other end has sealed, once.
func (p *pairSealer) openFrame(h wire.FramePacketHeader, packet []byte) ([]byte, error) {
	if p.window.hasSeen(h.Counter) {
		return nil, errReplayed
	}
	header, sealed := packet[:wire.FramePacketHeaderSize], packet[wire.FramePacketHeaderSize:]
	frame, err := p.in.Open(make([]byte, 0, len(sealed)), pairNonce(h.Counter), sealed, header)
	if err != nil {
		return nil, errNoPair
	}
	p.window.markSeen(h.Counter)
	return frame, nil
}
