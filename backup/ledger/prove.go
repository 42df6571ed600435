package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/skeinmesh/skein/internal/ledger"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const methodProve = "ledger/prove"

// keyPathOf is where a mirror keeps the key of the newest log of a node.
func keyPathOf(node view.NodeID) string { return node.String() + "/log" }

// KeyProof proves what a key holds.
type KeyProof struct {
	// Proof is for Verify, and goes to whoever asks.
	Proof []byte
	// Node is whose log it is of, and Log the public key of that, as this node knows it. Who
	// verifies must know by other means whether that is to be trusted.
	Node view.NodeID
	Log  string
	// Proven is what the proof shows; its Cosigned is empty.
	Proven Proven
}

// ProveKey proves that the write that readers of a key see, be it a delete, is in the log of the
// node whose store has coordinated it. Where that is another node, it is asked for the proof; if it
// is not in reach, or has lost its log, the proof is made from the Mirror, which all nodes must have
// in common. The error is ErrNotFound if the key is not known, or the log does not have the write, or
// not yet: see Feed. It is ErrUnproven if what was answered, or kept, is no proof by a key that this
// node knows, and else that of reading the bucket, of reaching the node, or of the Mirror.
func (l *Ledger) ProveKey(ctx context.Context, bucket Writes, key string) (KeyProof, error) {
	all, err := bucket.Read(ctx, key)
	if len(all) == 0 {
		if err != nil {
			return KeyProof{}, fmt.Errorf("ledger: prove key %.64q: %w", key, err)
		}
		return KeyProof{}, fmt.Errorf("%w: bucket %.64q does not know key %.64q", ErrNotFound, bucket.Name(), key)
	}
	want := leafOf(bucket.Name(), key, &all[0])
	node := view.NodeID(want.Dot.A.Store)
	if node == l.id {
		return l.proveOwn(ctx, want)
	}
	got, err := l.askProof(ctx, node, want)
	if err == nil || l.cfg.Mirror == nil {
		return got, err
	}
	got, err2 := l.proveByMirror(ctx, node, want)
	if err2 != nil {
		return got, fmt.Errorf("ledger: write %s, at its node: %w; in the mirror: %w", want.Dot, err, err2)
	}
	return got, nil
}

func (l *Ledger) proveOwn(ctx context.Context, want Leaf) (KeyProof, error) {
	index, err := l.Find(ctx, want)
	if err != nil {
		return KeyProof{}, err
	}
	proof, err := l.Prove(ctx, index, want)
	if err != nil {
		return KeyProof{}, err
	}
	return checkProof(proof, l.id, []ledger.Key{l.own.key}, want)
}

// askProof asks the node of a log for a proof.
func (l *Ledger) askProof(ctx context.Context, node view.NodeID, want Leaf) (KeyProof, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	proof, err := l.cfg.Mesh.Call(ctx, node, methodProve, wire.AppendLedgerWish(nil, wire.LedgerWish{Bucket: want.Bucket, Key: want.Key, Dot: want.Dot, Sum: want.Sum}))
	if err != nil {
		return KeyProof{}, fmt.Errorf("ledger: ask node %v for a proof: %w", node, err)
	}
	if len(proof) == 0 {
		return KeyProof{}, fmt.Errorf("%w: node %v has none of %s", ErrNotFound, node, want.Dot)
	}
	keys := l.keysOfLogs(node)
	if len(keys) == 0 {
		s, err := l.witness.askKeys(ctx, node)
		if err != nil {
			return KeyProof{}, err
		}
		keys = append(keys, s.key)
	}
	return checkProof(proof, node, keys, want)
}

// keysOfLogs returns the keys of a node's logs that this node remembers, the newest first.
func (l *Ledger) keysOfLogs(node view.NodeID) (keys []ledger.Key) {
	for _, s := range l.witness.logsOf(node) {
		keys = append([]ledger.Key{s.key}, keys...)
	}
	return keys
}

// checkProof tells what a proof shows, if it is by one of these keys and of what was asked for.
func checkProof(proof []byte, node view.NodeID, keys []ledger.Key, want Leaf) (KeyProof, error) {
	var faults []error
	for _, key := range keys {
		proven, err := Verify(proof, Trust{Log: key.String()})
		if err == nil && !isSameLeaf(proven.Leaf, want) {
			err = fmt.Errorf("%w: it is a proof of something else", ErrUnproven)
		}
		if err == nil {
			return KeyProof{proof, node, key.String(), proven}, nil
		}
		faults = append(faults, err)
	}
	return KeyProof{}, fmt.Errorf("ledger: proof by node %v: %w", node, errors.Join(faults...))
}

func isSameLeaf(a, b Leaf) bool {
	a.At = b.At
	return a == b
}

// serveProve proves to a peer that a write is in the log; the answer is empty if it is not.
func (l *Ledger) serveProve(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	w, err := wire.DecodeLedgerWish(req)
	if err != nil {
		return nil, err
	}
	got, err := l.proveOwn(ctx, Leaf{Kind: Write, Bucket: w.Bucket, Key: w.Key, Dot: w.Dot, Sum: w.Sum})
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return got.Proof, err
}

// proveByMirror proves by what the mirror keeps of the logs of a node: those that this node remembers, and
// the one that the mirror names.
func (l *Ledger) proveByMirror(ctx context.Context, node view.NodeID, want Leaf) (KeyProof, error) {
	keys := l.keysOfLogs(node)
	if named, err := l.cfg.Mirror.Read(ctx, keyPathOf(node)); err == nil {
		if key, err := ledger.ParseKey(string(named)); err == nil && key.Name() == nameOf(node) {
			keys = append(keys, key)
		}
	}
	err := fmt.Errorf("%w: no log of node %v is known", ErrNotFound, node)
	for _, key := range keys {
		var got KeyProof
		if got, err = l.proveByCopy(ctx, node, key, want); err == nil {
			return got, nil
		}
	}
	return KeyProof{}, err
}

// proveByCopy proves by the copy of one log.
func (l *Ledger) proveByCopy(ctx context.Context, node view.NodeID, key ledger.Key, want Leaf) (KeyProof, error) {
	v := logView{within{l.cfg.Mirror, key.Path()}.readBy(ctx), l.own.secret, key.String()}
	note, err := v.read(checkpointPath)
	if err != nil {
		return KeyProof{}, err
	}
	c := signed{note: note}
	if c.Checkpoint, _, err = ledger.OpenNote(note, key); err != nil {
		return KeyProof{}, fmt.Errorf("%w: %w", ErrUnproven, err)
	}
	index, err := v.findLeaf(c.Size, want)
	if err != nil {
		return KeyProof{}, err
	}
	proof, err := v.proveLeaf(index, want, c)
	if err != nil {
		return KeyProof{}, err
	}
	return checkProof(proof, node, []ledger.Key{key}, want)
}
