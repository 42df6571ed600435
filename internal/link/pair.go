package link

import (
	"crypto/cipher"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"sync/atomic"

	"golang.org/x/crypto/chacha20poly1305"
)

const (
	pairLabel    = "EXPORTER-skein-datagram-1"
	pairOverhead = 8 + chacha20poly1305.Overhead // of a counter and a seal
)

var errNoPair = errors.New("link: packet is not sealed for a data connection of its sender")

// pair seals what two processes send each other by packet beside a data connection,
// with keys that only its ends have (RFC 8446, 7.5): nobody else of the mesh can speak
// for one of them, and nothing that was recorded before opens after a restart.
// Repeated packets are refused by what is around it, see opener.
type pair struct {
	out, in cipher.AEAD // nil when there is no TLS: nothing is sealed or opened
	sent    atomic.Uint64
}

// newPair derives the keys of a connection, one for each direction.
func newPair(tc *tls.Conn, dialed bool) (*pair, error) {
	cs := tc.ConnectionState()
	keys, err := cs.ExportKeyingMaterial(pairLabel, nil, 2*chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	out, in := keys[:chacha20poly1305.KeySize], keys[chacha20poly1305.KeySize:]
	if !dialed {
		out, in = in, out
	}
	p := &pair{}
	if p.out, err = chacha20poly1305.New(out); err == nil {
		p.in, err = chacha20poly1305.New(in)
	}
	return p, err
}

func pairNonce(counter []byte) []byte {
	return append(make([]byte, chacha20poly1305.NonceSize-8, chacha20poly1305.NonceSize), counter...)
}

// seal appends 8 bytes of a counter and the sealed frame to dst.
func (p *pair) seal(dst, frame []byte) []byte {
	n := len(dst)
	dst = binary.BigEndian.AppendUint64(dst, p.sent.Add(1))
	return p.out.Seal(dst, pairNonce(dst[n:]), frame, nil)
}

// open reads what the other end has sealed.
func (p *pair) open(sealed []byte) ([]byte, error) {
	if len(sealed) < pairOverhead {
		return nil, errNoPair
	}
	frame, err := p.in.Open(nil, pairNonce(sealed[:8]), sealed[8:], nil)
	if err != nil {
		return nil, errNoPair
	}
	return frame, nil
}
