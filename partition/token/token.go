// Package token holds the words about leading that other packages share: how an election is
// named, and the fencing token, the number that orders its leaders, so that whatever a
// leader acts upon can tell an earlier one from a later one.
package token

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/skeinmesh/skein/mesh/view"
)

// Token belongs to one leadership. Tokens are unique, and ordered by Term, then
// by Node. The zero Token is lower than any other and belongs to nobody.
type Token struct {
	Term uint64
	Node view.NodeID
}

// Size is the length of a token's binary form in bytes.
const Size = 16

// ErrToken: what was to be read is no token.
var ErrToken = errors.New("token: not a fencing token")

// IsZero tells whether the token belongs to nobody.
func (t Token) IsZero() bool { return t == Token{} }

// Compare returns -1, 0 or 1 as t is lower than u, equal to it or higher.
func (t Token) Compare(u Token) int {
	return cmp.Or(cmp.Compare(t.Term, u.Term), cmp.Compare(t.Node, u.Node))
}

// Less tells whether t is lower than u: a resource that has seen u refuses t.
func (t Token) Less(u Token) bool { return t.Compare(u) < 0 }

// String returns the term, "@" and the node's id in hexadecimal digits.
func (t Token) String() string { return strconv.FormatUint(t.Term, 10) + "@" + t.Node.String() }

// Parse reads what String printed of a token that belongs to a node.
func Parse(s string) (Token, error) {
	term, node, ok := strings.Cut(s, "@")
	t, err := strconv.ParseUint(term, 10, 64)
	if !ok || err != nil || strconv.FormatUint(t, 10) != term {
		return Token{}, fmt.Errorf("%w: %.60q", ErrToken, s)
	}
	id, err := view.ParseNodeID(node)
	if err != nil {
		return Token{}, fmt.Errorf("%w: %.60q: %w", ErrToken, s, err)
	}
	read := Token{Term: t, Node: id}
	if read.String() != s { // ids are read in capital letters, too
		return Token{}, fmt.Errorf("%w: %.60q", ErrToken, s)
	}
	return read, nil
}

// MarshalText returns what String does, and nothing for the zero token.
func (t Token) MarshalText() ([]byte, error) {
	if t.IsZero() {
		return nil, nil
	}
	return []byte(t.String()), nil
}

// UnmarshalText reads what MarshalText returned.
func (t *Token) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*t = Token{}
		return nil
	}
	*t, err = Parse(string(text))
	return err
}

// Append appends the binary form to b. Tokens compare as their binary forms do,
// byte by byte.
func (t Token) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, t.Term)
	return binary.BigEndian.AppendUint64(b, uint64(t.Node))
}

// Decode reads a binary form, which b must be and nothing more.
func Decode(b []byte) (Token, error) {
	if len(b) != Size {
		return Token{}, fmt.Errorf("%w: %d bytes, not %d", ErrToken, len(b), Size)
	}
	return Token{Term: binary.BigEndian.Uint64(b), Node: view.NodeID(binary.BigEndian.Uint64(b[8:]))}, nil
}

// Fence keeps a resource from a leader whose time is over: it remembers the highest
// token that it was shown. The zero Fence has seen none. It is not safe for
// concurrent use; a resource that outlives its process keeps High with its data.
type Fence struct {
	High Token
}

// Admit tells whether what was asked for with a token may be done: no higher one
// was seen before.
func (f *Fence) Admit(t Token) bool {
	if t.IsZero() || t.Less(f.High) {
		return false
	}
	f.High = t
	return true
}
