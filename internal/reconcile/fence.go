package reconcile

import (
	"errors"
	"fmt"

	"github.com/skeinmesh/skein/partition/token"
)

// ErrFenced: a later leader has written the key.
var ErrFenced = errors.New("a higher token was seen")

// Fenced is ErrFenced with what was seen.
type Fenced struct {
	Shown token.Token // that of the write, zero for none
	Seen  token.Token // the higher one that was seen
}

// Error tells both tokens.
func (f *Fenced) Error() string {
	if f.Shown.IsZero() {
		return fmt.Sprintf("token %v was seen, and the write has none", f.Seen)
	}
	return fmt.Sprintf("token %v was seen, which is higher than %v", f.Seen, f.Shown)
}

// Is tells that f is ErrFenced.
func (f *Fenced) Is(target error) bool { return target == ErrFenced }

// CheckFence decides whether a write that shows a token may be made where another one was
// seen: not if its own is lower. No token at all is lower than any. So whatever a write
// replaces has no higher token than it has itself, merge needs no rule for tokens, and the
// highest that was ever shown for a key is that of a value, or of a tomb, that is not replaced.
// It is forgotten with the tomb alone, when that is purged. The error is a *Fenced.
func CheckFence(shown, seen token.Token) error {
	if shown.Less(seen) {
		return &Fenced{Shown: shown, Seen: seen}
	}
	return nil
}

func higher(a, b token.Token) token.Token {
	if a.Less(b) {
		return b
	}
	return a
}
