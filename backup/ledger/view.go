package ledger

import (
	"context"
	"fmt"
	"slices"

	"github.com/skeinmesh/skein/internal/ledger"
	"github.com/skeinmesh/skein/replica/version"
)

// logView is a log as it can be read and opened on any node of the mesh: that of this node, or what
// is kept of that of another one.
type logView struct {
	read   ledger.Read
	secret [32]byte
	log    string // its public key
}

func (l *ownLog) viewLog(ctx context.Context) logView {
	return logView{l.kept.readBy(ctx), l.secret, l.signer.Keys.Log}
}

// readBundle reads the n-th bundle of entries.
func (v logView) readBundle(n int64) ([][]byte, error) {
	data, err := v.read(ledger.EntriesPath(n))
	if err != nil {
		return nil, err
	}
	return ledger.ParseEntries(data)
}

func (v logView) openingOf(leaf Leaf, index int64) ledger.Opening {
	return ledger.Opening{Salt: ledger.DeriveSalt(v.secret, v.log, index), Bucket: leaf.Bucket, Key: leaf.Key, Sum: leaf.Sum}
}

// findLeaf returns the last of so many leaves that stands for something.
func (v logView) findLeaf(size int64, want Leaf) (int64, error) {
	for n := (size+ledger.Width-1)/ledger.Width - 1; n >= 0; n-- {
		entries, err := v.readBundle(n)
		if err != nil {
			return 0, fmt.Errorf("ledger: find a leaf: %w", err)
		}
		for i, e := range slices.Backward(entries) {
			index := n*ledger.Width + int64(i)
			if leaf, err := ledger.ParseLeaf(e); err == nil && index < size && v.standsFor(leaf, want, index) {
				return index, nil
			}
		}
	}
	return 0, fmt.Errorf("%w: of bucket %.64q, key %.64q, version %s", ErrNotFound, want.Bucket, want.Key, want.Dot)
}

func (v logView) standsFor(leaf ledger.Leaf, want Leaf, index int64) bool {
	sameDot := want.Dot == leaf.Dot || want.Dot == version.Dot{}
	return sameDot && leaf.Kind == ledger.Kind(want.Kind) && v.openingOf(want, index).Opens(leaf)
}

// proveLeaf proves that a leaf is in the tree of a checkpoint, and stands for something.
func (v logView) proveLeaf(index int64, want Leaf, c signed) ([]byte, error) {
	entries, err := v.readBundle(index / ledger.Width)
	if err != nil {
		return nil, fmt.Errorf("ledger: prove leaf %d: %w", index, err)
	}
	p := ledger.Proof{Index: index, Note: c.note, Opening: v.openingOf(want, index)}
	if at := int(index % ledger.Width); at < len(entries) {
		p.Leaf = entries[at]
	}
	if p.Hashes, err = ledger.ProveLeaf(c.Checkpoint, index, v.read); err != nil {
		return nil, fmt.Errorf("ledger: prove leaf %d: %w", index, err)
	}
	leaf, err := ledger.ParseLeaf(p.Leaf)
	if err != nil || !v.standsFor(leaf, want, index) {
		return nil, fmt.Errorf("%w: leaf %d stands for something else", ErrNotFound, index)
	}
	return ledger.AppendProof(nil, p), nil
}
