package identity

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
)

// SecretSize is the length of a mesh secret in bytes.
const SecretSize = 32

// ErrSecret says that something is not a mesh secret: of another length, or
// with a typing error in its printed form.
var ErrSecret = errors.New("not a mesh secret")

const (
	secretPrefix = "skein1"
	checkSize    = 3 // bytes; one typing error in 16 million goes unnoticed
	groupSize    = 8 // letters between dashes
)

// Base32 letters leave out none that is likely to be misread for a digit it
// contains: 0, 1, 8 and 9 are not among them.
var letters = base32.StdEncoding.WithPadding(base32.NoPadding)

// NewSecret mints a mesh secret. Whoever holds it can join the mesh as any
// node: keep it like a private key.
func NewSecret() []byte {
	secret := make([]byte, SecretSize)
	_, _ = rand.Read(secret) // never fails: the runtime stops the program instead
	return secret
}

// FormatSecret prints a secret in letters and digits that can be read aloud.
// It carries a checksum, so that ParseSecret notices typing errors.
func FormatSecret(secret []byte) string {
	text := strings.ToLower(letters.EncodeToString(append(bytes.Clone(secret), secretChecksum(secret)...)))
	var b strings.Builder
	b.WriteString(secretPrefix)
	for len(text) > 0 {
		n := min(groupSize, len(text))
		b.WriteByte('-')
		b.WriteString(text[:n])
		text = text[n:]
	}
	return b.String()
}

// ParseSecret reads what FormatSecret printed. It ignores case, dashes and
// white space. The error is ErrSecret and never shows the text.
func ParseSecret(text string) ([]byte, error) {
	text = strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' || r == '\t' || r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, strings.ToLower(text))
	body, ok := strings.CutPrefix(text, secretPrefix)
	if !ok {
		return nil, fmt.Errorf("identity: the secret must begin with %q: %w", secretPrefix, ErrSecret)
	}
	raw, err := letters.DecodeString(strings.ToUpper(body))
	if err != nil || len(raw) != SecretSize+checkSize {
		return nil, fmt.Errorf("identity: the secret is cut short, too long, or has a wrong letter: %w", ErrSecret)
	}
	secret, check := raw[:SecretSize:SecretSize], raw[SecretSize:]
	if !bytes.Equal(check, secretChecksum(secret)) {
		return nil, fmt.Errorf("identity: the secret has a typing error: %w", ErrSecret)
	}
	return secret, nil
}

func secretChecksum(secret []byte) []byte {
	sum := sha256.Sum256(append([]byte("skein secret checksum"), secret...))
	return sum[:checkSize]
}
