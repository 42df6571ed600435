package link

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// What a stream is for, said before anything else is read from it.
const (
	forGossip = "skein-gossip/2"
	forData   = "skein-data/2"
)

const (
	knockNonce = 16 // bytes: the knocks of one mesh do not show that they are of one
	knockProof = 16 // bytes of HMAC-SHA256
)

var (
	// errNoKnock: a scanner, a browser, or a node of before the knock.
	errNoKnock = errors.New("link: it does not knock")
	// errWrongKnock: one of our kind that has another key.
	errWrongKnock = fmt.Errorf("%w: it knocks with another key", ErrUntrusted)
)

// knockFor adds to what a stream is for the proof that its dialler holds the
// key of the mesh: the name of the protocol (ALPN) that the dialler offers, and
// the only one.
//
//	purpose "." hex(nonce) hex(first 16 bytes of HMAC-SHA256(key, purpose nonce))
//
// The acceptor checks it before it shows its certificate or signs anything. One
// without the key gets an alert, and learns neither who is here nor of which mesh;
// the refusal costs next to nothing.
//
// A knock is no proof of who dials, and is not for once: no clock is in it, for
// clocks are wrong, and no acceptor remembers knocks. Whoever overhears one, or is
// dialled, can use it again for the same purpose at any node of the mesh. All that
// he gains is the certificate, with the ids of node and mesh. The handshake behind
// the knock proves both ends and depends on it in nothing.
func knockFor(key *[32]byte, purpose string, nonce []byte) string {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(purpose))
	mac.Write(nonce)
	return purpose + "." + hex.EncodeToString(nonce) + hex.EncodeToString(mac.Sum(nil)[:knockProof])
}

// makeKnock makes a knock that was never made before.
func (l *Link) makeKnock(purpose string) string {
	var nonce [knockNonce]byte
	_, _ = rand.Read(nonce[:]) // never fails: the runtime stops the program instead
	return knockFor(&l.cfg.KnockKey, purpose, nonce[:])
}

// parseKnock takes a knock apart. It says nothing of whether it is right.
func parseKnock(knock string) (purpose string, nonce []byte, err error) {
	purpose, text, _ := strings.Cut(knock, ".")
	if purpose != forGossip && purpose != forData || len(text) != 2*(knockNonce+knockProof) {
		return "", nil, errNoKnock
	}
	if nonce, err = hex.DecodeString(text[:2*knockNonce]); err != nil {
		return "", nil, errNoKnock
	}
	return purpose, nonce, nil
}

// checkKnock returns what the one is here for who offers these protocols. The error
// is errWrongKnock when the proof is wrong and the rest is not.
func checkKnock(key *[32]byte, offered []string) (purpose string, err error) {
	if len(offered) != 1 {
		return "", errNoKnock
	}
	purpose, nonce, err := parseKnock(offered[0])
	if err != nil {
		return "", err
	}
	if subtle.ConstantTimeCompare([]byte(knockFor(key, purpose, nonce)), []byte(offered[0])) != 1 {
		return "", errWrongKnock
	}
	return purpose, nil
}
