// Package former takes in what former identities of a node have left in its directory: it may
// hold writes that were acknowledged and are nowhere else. What of an old record is missing
// in the mesh, and what may have been deleted since, is decided by purge.Old. Nothing is
// written into an old store; it goes when all of it is at more than half of its homes.
package former

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skeinmesh/skein/internal/clock"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/notify"
	"github.com/skeinmesh/skein/internal/reconcile"
	"github.com/skeinmesh/skein/internal/replica/handover"
	"github.com/skeinmesh/skein/internal/replica/keep"
	"github.com/skeinmesh/skein/internal/replica/layout"
	"github.com/skeinmesh/skein/internal/replica/peering"
	"github.com/skeinmesh/skein/internal/replica/purging"
	"github.com/skeinmesh/skein/internal/storage"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	firstImportRetry = time.Second
	lastImportRetry  = time.Minute
)

// Options describe what is taken in by one node. All fields must be set, but on a node that
// stores nothing all after View are not looked at.
type Options struct {
	Self view.NodeID
	FS   vfs.FS
	Dir  string // of the node
	Log  *slog.Logger
	View func() view.View

	Records *keep.Records // nil on a node that stores nothing
	Disk    *storage.Store
	Homes   *layout.Homes
	Purging *purging.Purger
	Carrier *handover.Carrier
	Peers   *peering.Peers
	Taking  *lifecycle.Gate // shut when this node is about to leave: nothing is taken in

	// Deliver makes an operation that waited in an old outbox a write of this node, based
	// on what its client had seen. It returns what a client has seen afterwards. ErrNever
	// says that it cannot be one.
	Deliver func(ctx context.Context, op *wire.OutboxOp, seen reconcile.Seen) (reconcile.Seen, error)
}

// Importer takes in what former identities of one node have left. All methods may be used
// concurrently, but Open, which comes first.
type Importer struct {
	opts    Options
	records *keep.Records
	disk    *storage.Store
	homes   *layout.Homes
	carrier *handover.Carrier
	log     *slog.Logger
	id      view.NodeID
	kick    notify.Bell

	recalled recalled

	mu     sync.Mutex
	all    []*oldStore
	outbox *oldOutbox // nil: there is none
}

// New returns an importer that knows of nothing yet.
func New(opts Options) *Importer {
	return &Importer{
		opts: opts, records: opts.Records, disk: opts.Disk, homes: opts.Homes, carrier: opts.Carrier, log: opts.Log, id: opts.Self,
		kick: notify.NewBell(),
	}
}

// Open finds out what there is to take in.
func (im *Importer) Open(ctx context.Context) error {
	fsys, dir := im.opts.FS, im.opts.Dir
	if _, err := fsys.Stat(dir); err != nil {
		return nil // nothing was ever kept here
	}
	if err := removeDiscarded(fsys, dir); err != nil {
		im.log.Warn("old data that was taken in cannot be removed", "dir", dir, "error", err)
	}
	all, err := findFormer(fsys, dir)
	if err == nil && im.disk != nil {
		im.outbox, err = im.findOutbox()
	}
	if err != nil {
		return fmt.Errorf("replica: open: %w", err)
	}
	im.all = all
	if im.disk != nil {
		return im.forgetNotes(ctx, all)
	}
	for _, f := range all {
		f.unusable, f.problem = true, "this node stores nothing: start it as one that does"
	}
	return nil
}

// errLeaving: this node is about to leave, and takes nothing in.
var errLeaving = errors.New("replica: leaving")

const importPrefix = "import/"

// metaImport is where it is noted how far this store is in a shard of old data.
func metaImport(f *oldStore, shard int) []byte {
	return wire.MetaKey(fmt.Sprintf("%s%s/shard/%d", importPrefix, f.name, shard))
}

// metaRefused begins the keys that name records that were refused, and
// metaUnread those that do not read.
func metaRefused(f *oldStore) []byte { return wire.MetaKey(importPrefix + f.name + "/refused/") }
func metaUnread(f *oldStore) []byte  { return wire.MetaKey(importPrefix + f.name + "/unread/") }

// forgetNotes deletes notes of old data that is not there any more.
func (im *Importer) forgetNotes(ctx context.Context, all []*oldStore) error {
	var gone [][]byte
	im.mu.Lock()
	box := im.outbox
	im.mu.Unlock()
	lower := wire.MetaKey(importPrefix)
	err := im.disk.Scan(ctx, lower, wire.After(lower), func(k, _ []byte) error {
		name, _, _ := strings.Cut(string(k[len(lower):]), "/")
		if name == OutboxName && box != nil {
			return nil
		}
		if !slices.ContainsFunc(all, func(f *oldStore) bool { return f.name == name }) {
			gone = append(gone, slices.Clone(k))
		}
		return nil
	})
	for part := range slices.Chunk(gone, keep.PageKeys) {
		err = errors.Join(err, im.records.Update(ctx, "forget an import", func(tx keep.Tx) error {
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

// RetryNow has another try made at once: nodes have come into contact.
func (im *Importer) RetryNow() { im.kick.Ring() }

// KeepImporting takes in what there is until ctx ends, or at once if there is nothing.
func (im *Importer) KeepImporting(ctx context.Context) {
	if len(im.listPending()) == 0 && im.waitingOutbox() == nil {
		return
	}
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
			if errors.Is(err, ErrNever) {
				im.log.Error("what a former identity of this node has left is not taken in", "dir", f.dir, "error", err)
			}
			left = left || err != nil && !errors.Is(err, ErrNever)
		}
		if box := im.waitingOutbox(); box != nil {
			if err := im.takeOutbox(ctx, box); err != nil && !errors.Is(err, ErrNever) {
				left = true
			}
		}
		if left {
			retry.Reset(wait.Next())
		}
	}
}

// listPending returns what there is still to take in.
func (im *Importer) listPending() (out []*oldStore) {
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
func (im *Importer) waitingOutbox() *oldOutbox {
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
func (im *Importer) takeFormer(ctx context.Context, f *oldStore) (err error) {
	defer func() {
		err = errors.Join(err, f.closeStore())
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.problem = ""; err != nil && ctx.Err() == nil {
			f.problem, f.unusable = err.Error(), errors.Is(err, ErrNever)
		}
	}()
	if im.opts.Taking.IsShut() {
		return errLeaving
	}
	ok, err := f.openStore(im.opts.View())
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
	tops := im.memberStamps(ctx)
	for _, shard := range shards {
		if err := im.continueShard(ctx, f, shard, tops); err != nil {
			if ctx.Err() != nil || errors.Is(err, ErrNever) {
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
func (im *Importer) continueShard(ctx context.Context, f *oldStore, shard int, tops memberStampMap) error {
	var state wire.ImportState
	data, err := im.disk.Get(ctx, metaImport(f, shard))
	if err == nil {
		// A note that does not read is none: to bring what the mesh has does nothing.
		state, err = wire.DecodeImportState(data)
	}
	if err != nil && !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, wire.ErrMalformed) {
		return im.records.WrapError("import", err)
	}
	w := &shardImport{Importer: im, f: f, shard: shard, state: state, tops: tops}
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
func (im *Importer) finishFormer(ctx context.Context, f *oldStore) error {
	if err := f.closeStore(); err != nil {
		return err
	}
	f.mu.Lock()
	refused, unread, brought := f.refused, f.unread, f.brought
	f.mu.Unlock()
	keep := refused+unread > 0
	if keep {
		im.log.Error("what a former identity of this node has left was taken in, but for what may have been deleted or does not read",
			"dir", f.dir, "brought", brought, "refused", refused, "unread", unread)
	} else {
		if err := discardFormer(f.fs, f.dir); err != nil {
			return fmt.Errorf("replica: old data that was taken in: %w", err)
		}
		im.log.Info("what a former identity of this node had left was taken in", "former", f.node, "brought", brought)
	}
	f.mu.Lock()
	f.lookedThrough = true
	f.mu.Unlock()
	im.mu.Lock()
	if !keep {
		im.all = slices.DeleteFunc(im.all, func(o *oldStore) bool { return o == f })
	}
	left := slices.Clone(im.all)
	im.mu.Unlock()
	return im.forgetNotes(ctx, left)
}
