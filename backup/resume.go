package backup

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/skeinmesh/skein/internal/retain"
)

// Resume remembers slices that a restore has brought whole, by hashes of what was asked for and of
// what was there to read of each: one of which there is another backup since is brought again. It is of
// one target.
type Resume interface {
	IsDone(hash [32]byte) bool
	// MarkDone is told when a slice is brought, and nothing of it was refused or lost.
	MarkDone(hash [32]byte)
}

// restoreUnlessDone passes over what an earlier try has brought.
func (r *restore) restoreUnlessDone(ctx context.Context, s retain.Slice, choices []retain.Choice) error {
	if r.cfg.Resume == nil {
		return r.restoreSlice(ctx, s, choices)
	}
	hash := r.hashOfSlice(s, choices)
	if r.cfg.Resume.IsDone(hash) {
		r.out.Passed++
		return nil
	}
	bad := r.out.RefusedInAll + len(r.out.Lost)
	err := r.restoreSlice(ctx, s, choices)
	if err == nil && r.out.RefusedInAll+len(r.out.Lost) == bad {
		r.cfg.Resume.MarkDone(hash)
	}
	return err
}

// hashOfSlice stands for what is asked for of a slice, and for what there is to read of it.
func (r *restore) hashOfSlice(s retain.Slice, choices []retain.Choice) (hash [32]byte) {
	h := sha256.New()
	fmt.Fprintf(h, "%v %q %q %q %d", r.catalog.mesh, r.cfg.Prefix, slices.Sorted(slices.Values(r.cfg.Keys)), s.Bucket, s.Shard)
	for _, c := range choices {
		fmt.Fprintf(h, " %v %q %v", c.Node, c.Policy, c.Points)
	}
	return [32]byte(h.Sum(nil))
}
