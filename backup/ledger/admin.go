package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/skeinmesh/skein/internal/ledger"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	methodAdmin = "admin/ledger"
	maxRequest  = 2*ledger.MaxNames + 1<<10
	maxAnswer   = 2*ledger.MaxBundle + 1<<14
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

// adminRequest is what a Client asks: for a proof, or without a Bucket for the keys alone.
type adminRequest struct {
	Bucket string `json:",omitempty"`
	Key    []byte `json:",omitempty"`
}

type adminAnswer struct {
	Log, Cosign string      // keys of the node that is asked
	Proof       []byte      `json:",omitempty"`
	Node        view.NodeID `json:",omitempty"` // whose log the proof is of
	Of          string      `json:",omitempty"` // the public key of that
	Code        string      `json:",omitempty"` // of an error of this package, or ""
	Error       string      `json:",omitempty"` // in words
}

// adminErrors are the errors of this package that a node tells by name.
func adminErrors() map[string]error {
	return map[string]error{"not found": ErrNotFound, "closed": ErrClosed, "unproven": ErrUnproven}
}

// remoteError is an error that a node has told of.
type remoteError struct {
	words string
	kind  error // nil: none of this package
}

func (e *remoteError) Error() string { return e.words }
func (e *remoteError) Unwrap() error { return e.kind }

// HandleAdmin has a node answer Clients, who ask it to prove what keys of these buckets hold. A node
// answers them only if it allows admin requests, and for one Ledger in its life; else the error is
// that of Handle.
func (l *Ledger) HandleAdmin(node Handler, buckets ...Writes) error {
	err := node.Handle(methodAdmin, func(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
		if len(req) > maxRequest {
			return nil, fmt.Errorf("ledger: a request of %d bytes, %d are the most", len(req), maxRequest)
		}
		var r adminRequest
		if err := json.Unmarshal(req, &r); err != nil {
			return nil, fmt.Errorf("ledger: read a request: %w", err)
		}
		return json.Marshal(l.answerAdmin(ctx, r, buckets))
	})
	if err != nil {
		return fmt.Errorf("ledger: answer clients: %w", err)
	}
	return nil
}

func (l *Ledger) answerAdmin(ctx context.Context, r adminRequest, buckets []Writes) (a adminAnswer) {
	a.Log, a.Cosign = l.Keys()
	if r.Bucket == "" {
		return a
	}
	err := fmt.Errorf("ledger: the node proves nothing of a bucket %.64q: its program has not named it", r.Bucket)
	for _, b := range buckets {
		if b.Name() == r.Bucket {
			var got KeyProof
			got, err = l.ProveKey(ctx, b, string(r.Key))
			a.Proof, a.Node, a.Of = got.Proof, got.Node, got.Log
		}
	}
	if err != nil {
		text := err.Error()
		a.Error = text[:min(len(text), maxWords)]
	}
	for code, kind := range adminErrors() {
		if errors.Is(err, kind) {
			a.Code = code
		}
	}
	return a
}

// Client asks a node for proofs, as a program that is no node. The node must allow admin requests, and
// its program have called HandleAdmin; else the errors are those of its Caller. All methods may be
// used concurrently.
type Client struct{ node Caller }

// NewClient returns a Client that asks a node.
func NewClient(node Caller) *Client { return &Client{node} }

// Keys returns what Ledger.Keys does at the node.
func (c *Client) Keys(ctx context.Context) (log, cosign string, err error) {
	a, err := c.askNode(ctx, adminRequest{})
	return a.Log, a.Cosign, err
}

// ProveKey returns what Ledger.ProveKey does at the node, for a bucket that its program has
// named. The error may also be ErrUnproven because the answer is a proof of something else.
func (c *Client) ProveKey(ctx context.Context, bucket, key string) (KeyProof, error) {
	a, err := c.askNode(ctx, adminRequest{bucket, []byte(key)})
	if err != nil {
		return KeyProof{}, err
	}
	proven, err := Verify(a.Proof, Trust{Log: a.Of})
	if err == nil && (proven.Leaf.Bucket != bucket || proven.Leaf.Key != key || proven.Leaf.Kind != Write) {
		err = fmt.Errorf("%w: it is a proof of something else", ErrUnproven)
	}
	return KeyProof{a.Proof, a.Node, a.Of, proven}, err
}

func (c *Client) askNode(ctx context.Context, r adminRequest) (a adminAnswer, err error) {
	req, err := json.Marshal(r)
	if err != nil {
		return a, fmt.Errorf("ledger: ask for a proof: %w", err)
	}
	text, err := c.node.Call(ctx, methodAdmin, req)
	if err != nil {
		return a, fmt.Errorf("ledger: ask for a proof: %w", err)
	}
	if len(text) > maxAnswer {
		return a, fmt.Errorf("ledger: an answer of %d bytes, %d are the most", len(text), maxAnswer)
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, fmt.Errorf("ledger: read the answer: %w", err)
	}
	if a.Error != "" {
		return a, &remoteError{a.Error, adminErrors()[a.Code]}
	}
	return a, nil
}
