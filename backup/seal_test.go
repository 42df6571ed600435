package backup

import (
	"bytes"
	"errors"
	"testing"
)

func TestNewIdentityOpensWhatIsSealedToItsRecipient(t *testing.T) {
	open := func(identity string, sealed []byte) ([]byte, error) {
		ids, err := parseIdentities([]string{identity})
		if err != nil {
			t.Fatal(err)
		}
		return unsealBytes(sealed, ids, MaxObject)
	}
	identity, recipient, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSealer([]string{recipient})
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := s.sealBytes([]byte("71.5"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := open(identity, sealed); err != nil || !bytes.Equal(got, []byte("71.5")) {
		t.Errorf("opened %q, %v", got, err)
	}
	if _, err := open(other, sealed); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("another identity: %v", err)
	}
}
