package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/skeinmesh/skein/mesh/view"
)

const (
	methodAdmin = "admin/backup"
	maxRequest  = 1 << 10
	maxAnswer   = 1 << 20
	maxWords    = 4 << 10 // of an error
)

// Handler is what serving Clients needs of the mesh node. *mesh.Node has it.
type Handler interface {
	// Handle serves a method. The handler owns req.
	Handle(method string, h func(ctx context.Context, from view.NodeID, req []byte) ([]byte, error)) error
}

// Caller asks a node. *mesh.Client is one.
type Caller interface {
	// Call sends req to the node's handler of that method and returns its answer, which is
	// the caller's.
	Call(ctx context.Context, method string, req []byte) ([]byte, error)
}

// adminRequest is what a Client asks.
type adminRequest struct {
	Do           string
	Policy, Tier string `json:",omitempty"`
}

type adminAnswer struct {
	Levels []adminLevel `json:",omitempty"`
	Done   adminDone    `json:",omitzero"`
	Code   string       `json:",omitempty"` // of an error of this package, or ""
	Error  string       `json:",omitempty"` // in words
}

// adminDone is a Done of which Failed is told in words.
type adminDone struct {
	Done
	Why string `json:",omitempty"`
}

type adminLevel struct {
	LevelStatus
	Why string `json:",omitempty"` // of Last
}

// adminErrors are the errors of this package that a node tells by name.
func adminErrors() map[string]error {
	return map[string]error{"unknown": ErrUnknown, "closed": ErrClosed, "full": ErrTierFull, "denied": ErrDenied}
}

// remoteError is an error that a node has told of.
type remoteError struct {
	words string
	kind  error // nil: none of this package
}

func (e *remoteError) Error() string { return e.words }
func (e *remoteError) Unwrap() error { return e.kind }

// wordsOf are those of an error, or none.
func wordsOf(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	return text[:min(len(text), maxWords)]
}

// errorOf is the reverse.
func errorOf(words, code string) error {
	if words == "" {
		return nil
	}
	return &remoteError{words, adminErrors()[code]}
}

// HandleAdmin has a node answer Clients, as long as this Backup is open. A node answers them only
// if it allows admin requests, and for one Backup in its life; else the error is that of Handle.
func (b *Backup) HandleAdmin(node Handler) error {
	if err := node.Handle(methodAdmin, b.answerAdmin); err != nil {
		return fmt.Errorf("backup: answer clients: %w", err)
	}
	return nil
}

func (b *Backup) answerAdmin(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	if len(req) > maxRequest {
		return nil, fmt.Errorf("backup: a request of %d bytes, %d are the most", len(req), maxRequest)
	}
	var r adminRequest
	if err := json.Unmarshal(req, &r); err != nil {
		return nil, fmt.Errorf("backup: read a request: %w", err)
	}
	var a adminAnswer
	var err error
	switch r.Do {
	case "status":
		for _, l := range b.Status() {
			why := wordsOf(l.Last.Failed)
			l.Last.Failed = nil
			a.Levels = append(a.Levels, adminLevel{l, why})
		}
		if b.group.Context().Err() != nil {
			err = ErrClosed
		}
	case "now":
		var done Done
		done, err = b.Now(ctx, r.Policy, r.Tier)
		a.Done.Why = wordsOf(done.Failed)
		done.Failed = nil
		a.Done.Done = done
	default:
		err = fmt.Errorf("backup: this release does not know how to %.30q", r.Do)
	}
	a.Error = wordsOf(err)
	for code, kind := range adminErrors() {
		if errors.Is(err, kind) {
			a.Code = code
		}
	}
	return json.Marshal(a)
}

// Client asks a node how its backups do, as a program that is no node. The node must allow admin
// requests, and its program have called HandleAdmin; else the errors are those of its Caller. Beside
// those of the Backup's methods, which errors.Is finds, there are those of the Caller. All methods may
// be used concurrently.
type Client struct{ node Caller }

// NewClient returns a Client that asks a node.
func NewClient(node Caller) *Client { return &Client{node} }

// Status returns what Backup.Status does at the node.
func (c *Client) Status(ctx context.Context) (out []LevelStatus, err error) {
	a, err := c.askNode(ctx, adminRequest{Do: "status"})
	for _, l := range a.Levels {
		l.Last.Failed = errorOf(l.Why, "")
		out = append(out, l.LevelStatus)
	}
	return out, err
}

// Now does what Backup.Now does at the node. When ctx ends the backup goes on there.
func (c *Client) Now(ctx context.Context, policy, tier string) (Done, error) {
	a, err := c.askNode(ctx, adminRequest{Do: "now", Policy: policy, Tier: tier})
	a.Done.Failed = errorOf(a.Done.Why, "")
	return a.Done.Done, err
}

func (c *Client) askNode(ctx context.Context, r adminRequest) (a adminAnswer, err error) {
	req, err := json.Marshal(r)
	if err != nil {
		return a, fmt.Errorf("backup: %s: %w", r.Do, err)
	}
	text, err := c.node.Call(ctx, methodAdmin, req)
	if err != nil {
		return a, fmt.Errorf("backup: %s: %w", r.Do, err)
	}
	if len(text) > maxAnswer {
		return a, fmt.Errorf("backup: %s: an answer of %d bytes, %d are the most", r.Do, len(text), maxAnswer)
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, fmt.Errorf("backup: %s: read the answer: %w", r.Do, err)
	}
	return a, errorOf(a.Error, a.Code)
}
