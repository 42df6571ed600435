package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	firstImportRetry = time.Second
	lastImportRetry  = time.Minute
)

// imports takes in what former identities of this node have left: it may hold
// writes that were acknowledged and are nowhere else. The rules are in
// purge.Old.
type imports struct {
	s    *Store
	kick notify.Bell

	mu     sync.Mutex
	all    []*former
	outbox *formerOutbox // nil: there is none
}

// openImports finds out what there is to take in.
func (s *Store) openImports(ctx context.Context) error {
	fsys, dir := s.cfg.fs, s.mesh.Dir()
	if _, err := fsys.Stat(dir); err != nil {
		return nil // nothing was ever kept here
	}
	if err := removeDiscarded(fsys, dir); err != nil {
		s.log.Warn("old data that was taken in cannot be removed", "dir", dir, "error", err)
	}
	all, err := findFormer(fsys, dir)
	if err == nil && s.disk != nil {
		s.imports.outbox, err = s.findOutbox()
	}
	if err != nil {
		return fmt.Errorf("replica: open: %w", err)
	}
	s.imports.all = all
	if s.disk != nil {
		return s.forgetImports(ctx, all)
	}
	for _, f := range all {
		f.unusable, f.problem = true, "this node stores nothing: start it as one that does"
	}
	return nil
}

const importPrefix = "import/"

// metaImport is where it is noted how far this store is in a shard of old data.
func metaImport(f *former, shard int) []byte {
	return wire.MetaKey(fmt.Sprintf("%s%s/shard/%d", importPrefix, f.name, shard))
}

// metaRefused begins the keys that name records that were refused, and
// metaUnread those that do not read.
func metaRefused(f *former) []byte { return wire.MetaKey(importPrefix + f.name + "/refused/") }
func metaUnread(f *former) []byte  { return wire.MetaKey(importPrefix + f.name + "/unread/") }

// forgetImports deletes notes of old data that is not there any more.
func (s *Store) forgetImports(ctx context.Context, all []*former) error {
	var gone [][]byte
	s.imports.mu.Lock()
	box := s.imports.outbox
	s.imports.mu.Unlock()
	lower := wire.MetaKey(importPrefix)
	err := s.disk.Scan(ctx, lower, wire.After(lower), func(k, _ []byte) error {
		name, _, _ := strings.Cut(string(k[len(lower):]), "/")
		if name == outboxName && box != nil {
			return nil
		}
		if !slices.ContainsFunc(all, func(f *former) bool { return f.name == name }) {
			gone = append(gone, slices.Clone(k))
		}
		return nil
	})
	for part := range slices.Chunk(gone, keep.PageKeys) {
		err = errors.Join(err, s.records.Update(ctx, "forget an import", func(tx keep.Tx) error {
			for _, k := range part {
				if err := tx.Delete(k); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	return err
}

// retryNow has another try made at once: nodes have come into contact.
func (im *imports) retryNow() { im.kick.Ring() }

func (im *imports) keepImporting(ctx context.Context) {
	retry := time.NewTimer(0)
	defer retry.Stop()
	wait := clock.Backoff{First: firstImportRetry, Last: lastImportRetry}
	for {
		select {
		case <-ctx.Done():
			return
		case <-im.kick:
			wait.Reset()
		case <-retry.C:
		}
		left := false
		for _, f := range im.listPending() {
			err := im.takeFormer(ctx, f)
			if ctx.Err() != nil {
				return
			}
			if errors.Is(err, errNever) {
				im.s.log.Error("what a former identity of this node has left is not taken in", "dir", f.dir, "error", err)
			}
			left = left || err != nil && !errors.Is(err, errNever)
		}
		if box := im.waitingOutbox(); box != nil {
			if err := im.takeOutbox(ctx, box); err != nil && !errors.Is(err, errNever) {
				left = true
			}
		}
		if left {
			retry.Reset(wait.Next())
		}
	}
}

// listPending returns what there is still to take in.
func (im *imports) listPending() (out []*former) {
	im.mu.Lock()
	defer im.mu.Unlock()
	for _, f := range im.all {
		f.mu.Lock()
		if !f.lookedThrough && !f.unusable {
			out = append(out, f)
		}
		f.mu.Unlock()
	}
	return out
}

// waitingOutbox returns the outbox that is still to be emptied.
func (im *imports) waitingOutbox() *formerOutbox {
	im.mu.Lock()
	defer im.mu.Unlock()
	if im.outbox == nil {
		return nil
	}
	im.outbox.mu.Lock()
	defer im.outbox.mu.Unlock()
	if im.outbox.finished || im.outbox.unusable {
		return nil
	}
	return im.outbox
}

// takeFormer takes in one set of old data, as far as that can be done now.
func (im *imports) takeFormer(ctx context.Context, f *former) (err error) {
	defer func() {
		err = errors.Join(err, f.closeStore())
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.problem = ""; err != nil && ctx.Err() == nil {
			f.problem, f.unusable = err.Error(), errors.Is(err, errNever)
		}
	}()
	if im.s.gate.taking.IsShut() {
		return errLeaving
	}
	ok, err := f.openStore(im.s.mesh.View())
	if err != nil {
		return err
	}
	if !ok {
		return im.finishFormer(ctx, f)
	}
	shards, err := f.listShards(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.shards, f.done, f.brought = len(shards), 0, 0
	f.mu.Unlock()
	var first error
	tops := im.s.memberStamps(ctx)
	for _, shard := range shards {
		if err := im.continueShard(ctx, f, shard, tops); err != nil {
			if ctx.Err() != nil || errors.Is(err, errNever) {
				return err
			}
			if first == nil {
				first = err
			}
		}
	}
	if err := im.listRefused(ctx, f); err != nil || first != nil {
		return errors.Join(first, err)
	}
	return im.finishFormer(ctx, f)
}

// continueShard goes on with one shard of old data.
func (im *imports) continueShard(ctx context.Context, f *former, shard int, tops memberStampMap) error {
	var state wire.ImportState
	data, err := im.s.disk.Get(ctx, metaImport(f, shard))
	if err == nil {
		// A note that does not read is none: to bring what the mesh has does nothing.
		state, err = wire.DecodeImportState(data)
	}
	if err != nil && !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, wire.ErrMalformed) {
		return im.s.records.WrapError("import", err)
	}
	w := &importShard{s: im.s, f: f, shard: shard, state: state, tops: tops}
	if !state.Done {
		err = w.importWithRetries(ctx)
	} else {
		err = nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.brought += w.state.Brought
	if err == nil {
		f.done++
	}
	return err
}

// finishFormer removes old data of which all is in the mesh, and keeps what is not.
func (im *imports) finishFormer(ctx context.Context, f *former) error {
	if err := f.closeStore(); err != nil {
		return err
	}
	f.mu.Lock()
	refused, unread, brought := f.refused, f.unread, f.brought
	f.mu.Unlock()
	keep := refused+unread > 0
	if keep {
		im.s.log.Error("what a former identity of this node has left was taken in, but for what may have been deleted or does not read",
			"dir", f.dir, "brought", brought, "refused", refused, "unread", unread)
	} else {
		if err := discardFormer(f.fs, f.dir); err != nil {
			return fmt.Errorf("replica: old data that was taken in: %w", err)
		}
		im.s.log.Info("what a former identity of this node had left was taken in", "former", f.node, "brought", brought)
	}
	f.mu.Lock()
	f.lookedThrough = true
	f.mu.Unlock()
	im.mu.Lock()
	if !keep {
		im.all = slices.DeleteFunc(im.all, func(o *former) bool { return o == f })
	}
	left := slices.Clone(im.all)
	im.mu.Unlock()
	return im.s.forgetImports(ctx, left)
}

// reportStatus tells an operator how far it is.
func (im *imports) reportStatus(h *Health, add func(view.Problem)) {
	im.mu.Lock()
	defer im.mu.Unlock()
	if im.outbox != nil {
		im.outbox.reportStatus(h, add)
	}
	for _, f := range im.all {
		f.mu.Lock()
		h.ImportRefused += f.refused
		switch {
		case f.unusable:
			add(view.Problem{Kind: view.ProblemFormerKept, Where: []string{f.dir}, Text: f.problem})
		case !f.lookedThrough:
			h.Importing += max(f.shards-f.done, 1)
			if f.problem != "" {
				add(view.Problem{Kind: view.ProblemFormerWaits, Where: []string{f.dir}, Count: f.done, Of: f.shards, Text: f.problem})
			}
		}
		if f.refused > 0 {
			add(view.Problem{Kind: view.ProblemFormerRefused, Where: []string{f.dir}, Count: f.refused, Text: refusedName})
		}
		if f.unread > 0 {
			add(view.Problem{Kind: view.ProblemFormerUnread, Where: []string{f.dir}, Count: f.unread, Text: refusedName})
		}
		f.mu.Unlock()
	}
}
