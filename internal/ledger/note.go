package ledger

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	// MaxNote is the longest checkpoint that is read, with all its signatures, in bytes.
	MaxNote = 16 << 10
	// MaxKey is the longest public key in its text form, in bytes.
	MaxKey = 256
	// MaxSize is the most leaves that a log may have.
	MaxSize = 1 << 48

	algCosign = 4 // of cosignatures, in the key's text form
)

// Checkpoint is the state of a log.
type Checkpoint struct {
	Origin string // whose log it is
	Size   int64
	Root   tlog.Hash
}

// Text is the text of the checkpoint, which is signed.
func (c Checkpoint) Text() string { return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, c.Root) }

// ParseCheckpoint reads what Text returns, and nothing else: checkpoints have no extensions here.
func ParseCheckpoint(text string) (c Checkpoint, err error) {
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) != 4 {
		return c, fmt.Errorf("%w: checkpoint of %d lines", ErrMalformed, len(lines))
	}
	c.Origin = lines[0]
	size, err1 := strconv.ParseInt(lines[1], 10, 64)
	root, err2 := tlog.ParseHash(lines[2])
	c.Size, c.Root = size, root
	if err1 != nil || err2 != nil || size < 0 || size > MaxSize || c.Origin == "" || c.Text() != text {
		return Checkpoint{}, fmt.Errorf("%w: checkpoint %.200q", ErrMalformed, text)
	}
	return c, nil
}

// Keys are the public keys of a node in the form of C2SP: name, hash and key, with a plus between.
type Keys struct {
	Log    string // signs checkpoints of its log
	Cosign string // signs checkpoints of others
}

// Signer signs as one node.
type Signer struct {
	Keys
	name        string
	log, cosign ed25519.PrivateKey
}

// NewSigner returns the signer of that name and secret. It has two keys: what one signs can never
// be taken for what the other does.
func NewSigner(name string, seed [32]byte) *Signer {
	derive := func(use string) ed25519.PrivateKey {
		h := hmac.New(sha256.New, seed[:])
		h.Write([]byte(use))
		return ed25519.NewKeyFromSeed(h.Sum(nil))
	}
	s := &Signer{name: name, log: derive("log"), cosign: derive("cosign")}
	s.Keys = Keys{encodeKey(name, 1, s.log), encodeKey(name, algCosign, s.cosign)}
	return s
}

// Sign returns the checkpoint of the node's own log, signed.
func (s *Signer) Sign(size int64, root tlog.Hash) []byte {
	text := Checkpoint{s.name, size, root}.Text()
	return []byte(text + "\n" + s.formatSignature(1, s.log, ed25519.Sign(s.log, []byte(text))))
}

// Cosign returns the line that tells that the signer saw c at that time as the newest
// state of its log, and that it goes on from all states of it that were seen before.
func (s *Signer) Cosign(c Checkpoint, at time.Time) string {
	sig := binary.BigEndian.AppendUint64(nil, uint64(max(at.Unix(), 0)))
	sig = append(sig, ed25519.Sign(s.cosign, cosigned(sig, c.Text()))...)
	return s.formatSignature(algCosign, s.cosign, sig)
}

func (s *Signer) formatSignature(alg byte, key ed25519.PrivateKey, sig []byte) string {
	b := binary.BigEndian.AppendUint32(nil, hashKey(s.name, alg, key.Public().(ed25519.PublicKey)))
	return "— " + s.name + " " + base64.StdEncoding.EncodeToString(append(b, sig...)) + "\n"
}

// cosigned is what a witness signs: the time, and then the checkpoint.
func cosigned(stamp []byte, text string) []byte {
	return fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(stamp), text)
}

func hashKey(name string, alg byte, key ed25519.PublicKey) uint32 {
	sum := sha256.Sum256(slices.Concat([]byte(name), []byte{'\n', alg}, key))
	return binary.BigEndian.Uint32(sum[:])
}

func encodeKey(name string, alg byte, key ed25519.PrivateKey) string {
	public := key.Public().(ed25519.PublicKey)
	return Key{name, hashKey(name, alg, public), alg, public}.String()
}

// Key is a public key that was read. It is a note.Verifier.
type Key struct {
	name   string
	hash   uint32
	alg    byte
	public ed25519.PublicKey
}

// ParseKey reads a public key of a log or a witness.
func ParseKey(text string) (k Key, err error) {
	parts := strings.Split(text, "+") // base64 has pluses, too
	if len(text) <= MaxKey && len(parts) >= 3 {
		raw, err := base64.StdEncoding.DecodeString(strings.Join(parts[2:], "+"))
		if err == nil && len(raw) == 1+ed25519.PublicKeySize && (raw[0] == 1 || raw[0] == algCosign) {
			k = Key{parts[0], hashKey(parts[0], raw[0], raw[1:]), raw[0], raw[1:]}
		}
	}
	if k.name == "" || strings.ContainsFunc(k.name, func(r rune) bool { return r <= ' ' || r > '~' }) || !strings.HasPrefix(text, fmt.Sprintf("%s+%08x+", k.name, k.hash)) {
		return Key{}, fmt.Errorf("%w: public key %.80q", ErrMalformed, text)
	}
	return k, nil
}

// ParseKeys reads the two keys of the node of that name.
func ParseKeys(keys Keys, name string) (log, cosign Key, err error) {
	log, err1 := ParseKey(keys.Log)
	cosign, err2 := ParseKey(keys.Cosign)
	if err1 != nil || err2 != nil || log.alg != 1 || cosign.alg != algCosign || log.name != name || cosign.name != name {
		return log, cosign, fmt.Errorf("%w: keys %.80q and %.80q of %s", ErrMalformed, keys.Log, keys.Cosign, name)
	}
	return log, cosign, nil
}

// Path is below what the log of this key is kept: the node and the hash of the key.
func (k Key) Path() string {
	return fmt.Sprintf("%s-%08x/", k.name[strings.LastIndexByte(k.name, '/')+1:], k.hash)
}

// String returns the key in its text form.
func (k Key) String() string {
	return fmt.Sprintf("%s+%08x+%s", k.name, k.hash, base64.StdEncoding.EncodeToString(append([]byte{k.alg}, k.public...)))
}

// Name is the name of the key's node.
func (k Key) Name() string { return k.name }

// KeyHash is the hash that stands in signatures for the key.
func (k Key) KeyHash() uint32 { return k.hash }

// Verify tells whether sig is the key's signature of a text.
func (k Key) Verify(text, sig []byte) bool {
	if k.alg == 1 {
		return ed25519.Verify(k.public, text, sig)
	}
	return len(sig) == 8+ed25519.SignatureSize && ed25519.Verify(k.public, cosigned(sig, string(text)), sig[8:])
}

// Cosigned tells which witness has signed a checkpoint, and when by its clock.
type Cosigned struct {
	Name string
	At   time.Time
}

// OpenNote reads a checkpoint that the log signed, and tells which of these witnesses did.
// Signatures of others are passed over.
func OpenNote(msg []byte, log Key, witnesses ...Key) (c Checkpoint, by []Cosigned, err error) {
	if len(msg) > MaxNote {
		return c, nil, fmt.Errorf("%w: checkpoint of %d bytes", ErrMalformed, len(msg))
	}
	known := []note.Verifier{log}
	for _, w := range witnesses {
		if w.alg == algCosign {
			known = append(known, w)
		}
	}
	n, err := note.Open(msg, note.VerifierList(known...))
	if err != nil {
		return c, nil, fmt.Errorf("%w: checkpoint of %s: %w", ErrUnproven, log.name, err)
	}
	if c, err = ParseCheckpoint(n.Text); err != nil {
		return c, nil, err
	}
	signed := false
	for _, s := range n.Sigs {
		raw, err := base64.StdEncoding.Strict().DecodeString(s.Base64)
		if err != nil { // note.Open has read it, but nobody writes it so
			return Checkpoint{}, nil, fmt.Errorf("%w: signature by %s", ErrMalformed, s.Name)
		}
		if s.Name == log.name && s.Hash == log.hash {
			signed = true
		} else if stamp := binary.BigEndian.Uint64(raw[4:]); stamp < 1<<40 {
			by = append(by, Cosigned{s.Name, time.Unix(int64(stamp), 0).UTC()})
		}
	}
	if !signed || c.Origin != log.name || log.alg != 1 {
		return Checkpoint{}, nil, fmt.Errorf("%w: checkpoint of %.80q is not signed by %s", ErrUnproven, c.Origin, log.name)
	}
	return c, by, nil
}
