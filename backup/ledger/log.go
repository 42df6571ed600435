package ledger

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/ledger"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/internal/storage/file"
	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

// Kind is what a leaf stands for.
type Kind uint8

const (
	Write    = Kind(1) // a write of a key
	Manifest = Kind(2) // a manifest of a backup
	Event    = Kind(3) // something else that has happened
)

// Leaf is what a leaf of the log stands for.
type Leaf struct {
	Kind Kind
	// At is when it was entered. Zero: when Append is called.
	At time.Time
	// Bucket and Key tell what was written; for other kinds they are names of any
	// meaning. Together they have 64 KiB and 255 bytes at most, as buckets have it.
	Bucket, Key string
	// Dot is the version that a write has made. Zero: none.
	Dot version.Dot
	// Sum is the SHA-256 of the value.
	Sum [sha256.Size]byte
}

const (
	checkpointPath = "checkpoint"
	keyPath        = "key"
	leafPurpose    = "ledger leaves"
)

// nameOf is the name of a node in signatures.
func nameOf(id view.NodeID) string { return "skein/" + id.String() }

// signed is a checkpoint with its signatures.
type signed struct {
	ledger.Checkpoint
	note []byte
	by   []ledger.Cosigned
}

// ownLog is the log of this node. One goroutine, that of runJobs, writes all that is on disk.
type ownLog struct {
	files  dirTiles
	kept   within
	signer *ledger.Signer
	key    ledger.Key
	secret [32]byte
	group  *lifecycle.Group
	node   view.NodeID
	jobs   chan job

	// Of the goroutine that writes.
	tree   *ledger.Tree
	bundle []byte        // entries of the last bundle, which is not full
	full   []ledger.Tile // that are to be written

	mu      sync.Mutex
	waiting []*pending
	size    int64  // leaves on disk
	last    signed // newest checkpoint
	best    signed // newest one that somebody has cosigned
}

// job is something to be done by the goroutine that writes.
type job struct {
	work func(ctx context.Context) error
	done chan error
}

// pending is a leaf that waits for the goroutine that writes.
type pending struct {
	leaf  Leaf
	index int64
	err   error
}

// openLog reads the log of a node, or begins it. Rewritten tells at which place that is not
// needed to go on the log is not the one that was signed.
func openLog(ctx context.Context, files dirTiles, m Mesh, group *lifecycle.Group) (l *ownLog, rewritten, err error) {
	l = &ownLog{files: files, node: m.ID(), secret: m.Subkey(leafPurpose), group: group, jobs: make(chan job)}
	if err := files.makeDirs(files.dir); err != nil {
		return nil, nil, err
	}
	if err := l.loadKey(); err != nil {
		return nil, nil, err
	}
	l.kept = within{files, l.key.Path()}
	read := l.kept.readBy(ctx)
	note, err := read(checkpointPath)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.last.Checkpoint = ledger.Checkpoint{Origin: l.key.Name(), Root: (&ledger.Tree{}).Root()}
	case err != nil:
		return nil, nil, fmt.Errorf("ledger: read the checkpoint: %w", err)
	default:
		if l.last, err = l.openOwn(note); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrTampered, err)
		}
	}
	l.tree, err = ledger.LoadTree(l.last.Checkpoint, read)
	if isWrong(err) {
		return nil, nil, fmt.Errorf("%w: %w", ErrTampered, err)
	}
	if err == nil {
		if rewritten = ledger.VerifyAll(l.last.Checkpoint, read); !isWrong(rewritten) {
			rewritten, err = nil, rewritten
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("ledger: read the log: %w", err)
	}
	return l, rewritten, l.takeUp(ctx)
}

// loadKey reads the node's own key, or makes it.
func (l *ownLog) loadKey() error {
	path := l.files.fs.PathJoin(l.files.dir, keyPath)
	seed, err := file.Read(l.files.fs, path)
	if errors.Is(err, fs.ErrNotExist) {
		seed = make([]byte, 32)
		_, _ = rand.Read(seed) // never fails: the runtime stops the program instead
		err = file.Write(l.files.fs, path, seed)
	}
	if err != nil || len(seed) != 32 {
		return fmt.Errorf("ledger: own key of %d bytes: %w", len(seed), err)
	}
	l.signer = ledger.NewSigner(nameOf(l.node), [32]byte(seed))
	l.key, err = ledger.ParseKey(l.signer.Keys.Log)
	return err
}

// openOwn reads a checkpoint of this log.
func (l *ownLog) openOwn(note []byte) (signed, error) {
	c, _, err := ledger.OpenNote(note, l.key)
	return signed{Checkpoint: c, note: note}, err
}

// takeUp takes up the entries that were written after the last checkpoint.
func (l *ownLog) takeUp(ctx context.Context) error {
	for {
		at := l.tree.Size()
		entries, err := l.viewLog(ctx).readBundle(at / ledger.Width)
		if errors.Is(err, fs.ErrNotExist) && at%ledger.Width == 0 {
			entries, err = nil, nil
		}
		switch {
		case err == nil && len(entries) < int(at%ledger.Width):
			return fmt.Errorf("%w: the bundle of leaf %d has %d", ErrTampered, at, len(entries))
		case isWrong(err):
			return fmt.Errorf("%w: bundle of leaf %d: %w", ErrTampered, at, err)
		case err != nil:
			return fmt.Errorf("ledger: read the log: %w", err)
		}
		l.bundle = nil
		for i, e := range entries {
			l.bundle = ledger.AppendEntry(l.bundle, e)
			if i >= int(at%ledger.Width) {
				l.full = append(l.full, l.tree.Add(e)...)
			}
		}
		if len(entries) < ledger.Width {
			l.size = l.tree.Size()
			return nil
		}
	}
}

// runJobs does what there is to be written, one after the other.
func (l *ownLog) runJobs(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-l.jobs:
			j.done <- j.work(ctx)
		}
	}
}

// doJob has the goroutine that writes do something, and waits for it.
func (l *ownLog) doJob(ctx context.Context, work func(ctx context.Context) error) error {
	j := job{work, make(chan error, 1)}
	select {
	case l.jobs <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-l.group.Context().Done():
		return ErrClosed
	}
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// appendLeaf appends a leaf, together with all that wait.
func (l *ownLog) appendLeaf(ctx context.Context, leaf Leaf) (int64, error) {
	p := &pending{leaf: leaf}
	err := l.appendPending(ctx, p)
	return p.index, err
}

// appendLeaves appends leaves that have no time yet, in their order, all or none.
func (l *ownLog) appendLeaves(ctx context.Context, leaves []Leaf) error {
	all := make([]*pending, len(leaves))
	for i, leaf := range leaves {
		leaf.At = time.Now()
		all[i] = &pending{leaf: leaf}
	}
	return l.appendPending(ctx, all...)
}

func (l *ownLog) appendPending(ctx context.Context, all ...*pending) error {
	if len(all) == 0 {
		return nil
	}
	l.mu.Lock()
	l.waiting = append(l.waiting, all...)
	l.mu.Unlock()
	if err := l.doJob(ctx, l.appendWaiting); err != nil {
		return err
	}
	return all[0].err // they share their fate
}

// countLeaves returns how many leaves are on disk.
func (l *ownLog) countLeaves() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

// appendWaiting writes the leaves that wait, and then has them in the tree. Where it fails
// the next ones take their places; no checkpoint knows of them.
func (l *ownLog) appendWaiting(ctx context.Context) error {
	l.mu.Lock()
	leaves := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	bundle, entries, err := slices.Clone(l.bundle), make([][]byte, len(leaves)), error(nil)
	for i, p := range leaves {
		p.index = l.tree.Size() + int64(i)
		o := l.viewLog(ctx).openingOf(p.leaf, p.index)
		entries[i] = ledger.AppendLeaf(nil, ledger.Leaf{
			Kind: ledger.Kind(p.leaf.Kind), At: p.leaf.At, Dot: p.leaf.Dot, Subject: o.CommitSubject(), Value: o.CommitValue(),
		})
		bundle = ledger.AppendEntry(bundle, entries[i])
		isFull := p.index%ledger.Width == ledger.Width-1
		if (isFull || i == len(leaves)-1) && err == nil {
			err = l.kept.writeTo(ctx, ledger.EntriesPath(p.index/ledger.Width), bundle)
		}
		if isFull {
			bundle = nil
		}
	}
	if err != nil {
		for _, p := range leaves {
			p.err = fmt.Errorf("ledger: append: %w", err)
		}
		return nil
	}
	for _, e := range entries {
		l.full = append(l.full, l.tree.Add(e)...)
	}
	l.bundle = bundle
	l.mu.Lock()
	l.size = l.tree.Size()
	l.mu.Unlock()
	_ = l.writeFull(ctx) // else the checkpoint does
	return nil
}

// writeFull writes the tiles that are full.
func (l *ownLog) writeFull(ctx context.Context) error {
	for len(l.full) > 0 {
		if err := l.kept.writeTo(ctx, l.full[0].Path, l.full[0].Data); err != nil {
			return err
		}
		l.full = l.full[1:]
	}
	return nil
}

// signNow returns a checkpoint of all leaves. All that it tells of is synced before it is signed,
// and it is before anybody gets it.
func (l *ownLog) signNow(ctx context.Context) (signed, error) {
	err := l.doJob(ctx, func(ctx context.Context) error {
		if last := l.newest(); last.note != nil && last.Size == l.tree.Size() {
			return nil
		}
		if err := l.writeFull(ctx); err != nil {
			return err
		}
		for _, tile := range l.tree.Edges() {
			if err := l.kept.writeTo(ctx, tile.Path, tile.Data); err != nil {
				return err
			}
		}
		s, err := l.openOwn(l.signer.Sign(l.tree.Size(), l.tree.Root()))
		if err == nil {
			err = l.kept.writeTo(ctx, checkpointPath, s.note)
		}
		if err != nil {
			return err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.last = s
		return nil
	})
	if err != nil {
		return signed{}, fmt.Errorf("ledger: checkpoint: %w", err)
	}
	return l.newest(), nil
}

// newest returns the newest checkpoint; its note is nil before the first one.
func (l *ownLog) newest() signed {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}
