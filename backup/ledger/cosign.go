package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/ledger"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	defaultEvery = time.Minute
	askAgain     = time.Hour // a peer that has cosigned what there is
	mostTries    = 3         // of asking a peer in a round
	cosignedPath = "cosigned"
)

// asker has peers cosign the log of this node, and tells them what was seen of others.
type asker struct {
	mesh    Mesh
	own     *ownLog
	alarms  *alarms
	witness *witness
	most    int
	turn    chan struct{} // of one round at a time

	// Of the round that has the turn.
	told     map[telling]string // the last checkpoint
	mirror   within
	mirrored int64 // leaves that are there; -1: not known

	mu    sync.Mutex
	asked int
	given map[view.NodeID]cosignature
}

type telling struct {
	peer view.NodeID
	log  string
}

type cosignature struct {
	line string
	by   ledger.Cosigned
	size int64
	at   time.Time // by this node's clock
}

// KeepCosigning has rounds of Cosign, the first at once, until ctx ends or the Ledger is closed. Zero: each minute.
func (l *Ledger) KeepCosigning(ctx context.Context, every time.Duration) {
	if every <= 0 {
		every = defaultEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := l.Cosign(ctx); err != nil && ctx.Err() == nil {
			l.cfg.Logger.Warn("ledger: round of cosigning", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		case <-l.group.Context().Done():
			return
		}
	}
}

// Cosign signs the state of the log, has the chosen peers cosign it as far as they are in reach,
// tells the chosen peers of other logs what was seen of these, and copies the log to the Mirror.
// Status tells how that has gone. The error is that of the disk or the Mirror, ErrClosed, or
// that of ctx; peers that do not answer are none.
func (l *Ledger) Cosign(ctx context.Context) error {
	select {
	case l.asker.turn <- struct{}{}:
		defer func() { <-l.asker.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return l.asker.runRound(ctx)
}

func (a *asker) runRound(ctx context.Context) error {
	now, err := a.own.signNow(ctx)
	if err != nil {
		return err
	}
	peers := a.witness.chosenOf(a.own.node)
	a.mu.Lock()
	a.asked = len(peers)
	a.mu.Unlock()
	var all sync.WaitGroup
	for _, p := range peers {
		all.Go(func() { a.askPeer(ctx, p, now) })
	}
	all.Wait()
	if err := a.gather(ctx, now); err != nil {
		return err
	}
	a.tellHeads(ctx)
	return a.copyLog(ctx, now)
}

// askPeer asks one peer to cosign. Where it has seen another size than thought it is asked again,
// a few times.
func (a *asker) askPeer(ctx context.Context, peer view.NodeID, now signed) {
	a.mu.Lock()
	last := a.given[peer]
	a.mu.Unlock()
	if now.Size == 0 || last.size == now.Size && time.Since(last.at) < askAgain {
		return
	}
	old := last.size
	for range mostTries {
		ask := wire.LedgerAsk{Old: old, Note: now.note}
		if old <= now.Size {
			hashes, err := ledger.ProveGrowth(now.Checkpoint, old, a.own.kept.readBy(ctx))
			if err != nil {
				return
			}
			ask.Hashes = asHashes[[32]byte](hashes)
		}
		answer, err := a.callPeer(ctx, peer, ask)
		if err != nil {
			return
		}
		if ledger.Verdict(answer.Verdict) == ledger.Agreed {
			a.keepCosignature(ctx, peer, now, string(answer.Text))
			return
		}
		next := int64(0)
		if len(answer.Text) > 0 {
			seen, ok := a.alarms.judgeOwn(ctx, answer.Text)
			if !ok {
				return
			}
			next = seen.Size // also when this log does not go on from it: then the peer is to know
		}
		if ledger.Verdict(answer.Verdict) != ledger.SeenOther || next == old {
			return
		}
		old = next
	}
}

func (a *asker) callPeer(ctx context.Context, peer view.NodeID, ask wire.LedgerAsk) (wire.LedgerAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	reply, err := a.mesh.Call(ctx, peer, methodCosign, wire.AppendLedgerAsk(nil, ask))
	if err != nil {
		return wire.LedgerAnswer{}, err
	}
	return wire.DecodeLedgerAnswer(reply)
}

// keepCosignature keeps a cosignature if it is one.
func (a *asker) keepCosignature(ctx context.Context, peer view.NodeID, now signed, line string) {
	for _, key := range a.witness.keysOf(ctx, peer) {
		if _, by, err := ledger.OpenNote([]byte(string(now.note)+line), a.own.key, key); err == nil && len(by) == 1 {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.given[peer] = cosignature{line, by[0], now.Size, time.Now()}
			return
		}
	}
}

// gather adds the cosignatures of the checkpoint to it. Where there is none the one before stays.
func (a *asker) gather(ctx context.Context, now signed) error {
	best := signed{Checkpoint: now.Checkpoint, note: slices.Clone(now.note)}
	a.mu.Lock()
	for _, peer := range slices.Sorted(maps.Keys(a.given)) {
		if g := a.given[peer]; g.size == now.Size {
			best.note, best.by = append(best.note, g.line...), append(best.by, g.by)
		}
	}
	a.mu.Unlock()
	if len(best.by) == 0 {
		return nil
	}
	if err := a.own.doJob(ctx, func(ctx context.Context) error { return a.own.kept.writeTo(ctx, cosignedPath, best.note) }); err != nil {
		return err
	}
	a.own.mu.Lock()
	defer a.own.mu.Unlock()
	a.own.best = best
	return nil
}

// cosigned returns the newest checkpoint that somebody has cosigned.
func (a *asker) cosigned() signed {
	a.own.mu.Lock()
	defer a.own.mu.Unlock()
	return a.own.best
}

// loadCosigned reads the checkpoint that was cosigned last. Without one the next round makes one, and
// tells by whom.
func (a *asker) loadCosigned(ctx context.Context) {
	a.given = map[view.NodeID]cosignature{}
	note, err := a.own.kept.readBy(ctx)(cosignedPath)
	if err != nil {
		return
	}
	if best, err := a.own.openOwn(note); err == nil && best.Size <= a.own.last.Size {
		a.own.best = best
	}
}

// tellHeads tells the chosen peers of each log what was seen of it.
func (a *asker) tellHeads(ctx context.Context) {
	news, told := map[view.NodeID][]wire.LedgerHead{}, map[telling]string{}
	for _, h := range a.witness.heads() {
		for _, peer := range a.witness.chosenOf(h.Node) {
			switch k := (telling{peer, h.Log}); {
			case a.told[k] == string(h.Note):
				told[k] = a.told[k]
			case peer != a.own.node && len(news[peer]) < mostAtATime:
				news[peer] = append(news[peer], h)
			}
		}
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	for peer, heads := range news {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, callTimeout)
			defer cancel()
			if _, err := a.mesh.Call(ctx, peer, methodHeads, wire.AppendLedgerHeads(nil, wire.LedgerHeads{Heads: heads})); err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for _, h := range heads {
				told[telling{peer, h.Log}] = string(h.Note)
			}
		})
	}
	all.Wait()
	a.told = told
}

// copyLog copies what is new to the mirror, the checkpoint last.
func (a *asker) copyLog(ctx context.Context, now signed) error {
	if a.mirror.tiles == nil || a.mirrored == now.Size {
		return nil
	}
	if a.mirrored < 0 {
		note, err := a.mirror.readBy(ctx)(checkpointPath)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("ledger: read the mirror: %w", err)
		}
		if err := a.mirror.tiles.Write(ctx, keyPathOf(a.own.node), []byte(a.own.signer.Keys.Log)); err != nil {
			return fmt.Errorf("ledger: copy the key to the mirror: %w", err)
		}
		a.mirrored = 0
		if c, err := a.own.openOwn(note); err == nil && c.Size <= now.Size {
			a.mirrored = c.Size
		}
	}
	for _, path := range ledger.PathsSince(a.mirrored, now.Size) {
		data, err := a.own.kept.readBy(ctx)(path)
		if err == nil {
			err = a.mirror.writeTo(ctx, path, data)
		}
		if err != nil {
			return fmt.Errorf("ledger: copy %s to the mirror: %w", path, err)
		}
	}
	if best := a.cosigned(); best.Size == now.Size {
		now = best
	}
	if err := a.mirror.writeTo(ctx, checkpointPath, now.note); err != nil {
		return fmt.Errorf("ledger: copy the checkpoint to the mirror: %w", err)
	}
	a.mirrored = now.Size
	return nil
}
