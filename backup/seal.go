package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

// Each object is compressed and sealed by age (age-encryption.org/v1), with a file key of its
// own, which is wrapped to the recipients and then forgotten: what a node has sealed it cannot
// open itself. The tools age and zstd open it as well.

// ErrNoIdentity says that none of the identities opens an object.
var ErrNoIdentity = errors.New("none of the identities opens it")

// sealer seals objects to the recipients of one tier. It must not be used concurrently.
type sealer struct {
	recipients []age.Recipient
	encoder    *zstd.Encoder
	packed     []byte       // room for what is compressed
	sealed     bytes.Buffer // and for what is sealed
}

// newSealer takes recipients as age writes them, "age1...".
func newSealer(recipients []string) (*sealer, error) {
	s := &sealer{}
	var errs []error
	for _, text := range recipients {
		r, err := parseRecipient(text)
		if err != nil {
			errs = append(errs, err)
		}
		s.recipients = append(s.recipients, r)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var err error
	s.encoder, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	return s, err
}

// NewIdentity makes an identity, and the recipient that stands for it in a TierConfig, as age-keygen
// does. Who loses the identity loses what is sealed to it alone: keep it elsewhere than on the nodes.
func NewIdentity() (identity, recipient string, err error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return "", "", fmt.Errorf("backup: make an identity: %w", err)
	}
	return id.String(), id.Recipient().String(), nil
}

func parseRecipient(text string) (age.Recipient, error) {
	all, err := age.ParseRecipients(strings.NewReader(text))
	if err != nil || len(all) != 1 {
		return nil, fmt.Errorf("recipient %q: %w", text, errors.Join(err, errors.New("must be one recipient of age")))
	}
	return all[0], nil
}

func parseIdentities(texts []string) (out []age.Identity, err error) {
	for i, text := range texts {
		all, err := age.ParseIdentities(strings.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("identity %d: %w", i+1, err)
		}
		out = append(out, all...)
	}
	return out, nil
}

// sealBytes compresses and seals. What it returns is valid until the next call.
func (s *sealer) sealBytes(plain []byte) ([]byte, error) {
	s.packed = s.encoder.EncodeAll(plain, s.packed[:0])
	s.sealed.Reset()
	s.sealed.Grow(len(s.packed) + len(s.packed)/1024 + 4<<10) // a tag for each 64 KiB, and the header
	w, err := age.Encrypt(&s.sealed, s.recipients...)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(s.packed)
	err = errors.Join(err, w.Close()) // the last bytes are written by this
	return s.sealed.Bytes(), err
}

// unsealBytes is the reverse; what would be larger than most is an error.
func unsealBytes(data []byte, ids []age.Identity, most int) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(data), ids...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return nil, ErrNoIdentity
	}
	if err != nil {
		return nil, err
	}
	d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(most)), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	plain, err := io.ReadAll(io.LimitReader(d, int64(most)+1))
	if err == nil && len(plain) > most {
		err = fmt.Errorf("more than %d bytes", most)
	}
	return plain, err
}
