package link

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Errors of Open.
var (
	ErrPortTaken = errors.New("link: port is taken")
	ErrConfig    = errors.New("link: bad configuration")
)

// Errors of reaching a peer.
var (
	// ErrUnreachable: no connection to the peer could be made, or it broke
	// before the reply came. A request may have been carried out.
	ErrUnreachable = errors.New("link: peer is unreachable")
	// ErrUnknownPeer: Resolve knows no address. It comes with ErrUnreachable.
	ErrUnknownPeer = errors.New("link: no address known for peer")
	// ErrUntrusted: the other end could not prove that it belongs to this
	// mesh, or is not the node that a stream of gossip was for.
	ErrUntrusted = errors.New("link: other end is not to be trusted")
	// ErrOther: another member of this mesh answers at the address of the peer.
	ErrOther = errors.New("link: another node is at that address")
	// ErrNotAccepted: this node refused the hello of the peer that it dialled.
	// A *RefusedError is the reverse: the peer refused ours.
	ErrNotAccepted = errors.New("link: hello of the peer was not accepted")
	// ErrSelf: the address leads back to this very node.
	ErrSelf = errors.New("link: that is this node itself")
)

// Errors of a request.
var (
	ErrClosed     = errors.New("link: closed")
	ErrOverloaded = errors.New("link: peer is overloaded") // not carried out; try later
	ErrTooLarge   = errors.New("link: payload is too large")
)

// Codes that link itself puts into a RemoteError or RefusedError. Handlers
// and OnHello use codes of their own.
const (
	CodeError      = "error"      // the handler failed without a code
	CodeDeadline   = "deadline"   // the handler ran out of time
	CodeTooLarge   = "too-large"  // the reply exceeds MaxPayload
	CodeRefused    = "refused"    // OnHello refused without a code
	CodeSelf       = "self"       // a node dialled itself
	CodeConflict   = "conflict"   // another process uses the same NodeID
	CodeBusy       = "busy"       // no room for a further connection
	CodeOverloaded = "overloaded" // becomes ErrOverloaded at the caller
	codeClosed     = "closed"     // becomes ErrUnreachable at the caller
)

// RemoteError is the failure of a handler on the other node. A handler may
// return one to choose the code; any other error arrives as CodeError with
// its text.
type RemoteError struct {
	Code string // at most 64 bytes
	Text string // at most 1 KiB
}

func (e *RemoteError) Error() string { return fmt.Sprintf("link: remote error %s: %s", e.Code, e.Text) }

// Is makes a handler that ran out of time look like a deadline of one's own,
// since either may come first.
func (e *RemoteError) Is(target error) bool {
	return e.Code == CodeDeadline && target == context.DeadlineExceeded
}

// RefusedError says why the other side did not accept our hello. OnHello may
// return one to choose the code; the other side gets the same code and text.
type RefusedError struct {
	Code string // at most 64 bytes
	Text string // at most 1 KiB
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("link: connection refused, %s: %s", e.Code, e.Text)
}

// printableText returns what another node says as text that may go into a log or onto a
// terminal: at most limit bytes, in one line, without control sequences.
func printableText(text []byte, limit int) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return '.'
		}
		return r
	}, strings.ToValidUTF8(string(text[:min(len(text), limit)]), "."))
}
