package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/skeinmesh/skein/internal/ledger"
	"github.com/skeinmesh/skein/internal/lifecycle"
	"github.com/skeinmesh/skein/mesh/view"
)

// Ledger is the log of a node, and its memory of the logs of others. All methods may be used
// concurrently.
type Ledger struct {
	cfg     Config
	id      view.NodeID
	group   *lifecycle.Group
	own     *ownLog
	alarms  *alarms
	witness *witness
	asker   *asker
}

// Open opens the ledger in the Dir, reads all of it (about two seconds for a million leaves), and serves the peers that ask to have their
// logs cosigned. A node has one at a time: its handlers stay with the Mesh. The error is ErrConfig,
// ErrTampered, or that of the disk. A log that goes on, but in which something was rewritten, is
// opened, and an alarm.
func Open(ctx context.Context, cfg Config) (*Ledger, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	l := &Ledger{cfg: cfg, id: cfg.Mesh.ID(), group: lifecycle.NewGroup(context.WithoutCancel(ctx))}
	own, rewritten, err := openLog(ctx, dirTiles{cfg.fs, cfg.Dir}, cfg.Mesh, l.group)
	if err != nil {
		return nil, err
	}
	l.own = own
	l.alarms = &alarms{own: own, told: cfg.OnAlarm, log: cfg.Logger}
	l.witness = &witness{mesh: cfg.Mesh, own: own, alarms: l.alarms, most: cfg.Witnesses}
	l.asker = &asker{mesh: cfg.Mesh, own: own, alarms: l.alarms, witness: l.witness, most: cfg.Witnesses, turn: make(chan struct{}, 1), mirrored: -1, mirror: within{cfg.Mirror, own.key.Path()}}
	if err := l.alarms.loadAlarms(); err != nil {
		return nil, err
	}
	if err := l.witness.loadLogs(); err != nil {
		return nil, err
	}
	l.asker.loadCosigned(ctx)
	l.group.Go(own.runJobs)
	if rewritten != nil {
		l.alarms.raiseAlarm(ctx, Alarm{Kind: Rewritten, Node: l.id, Log: own.signer.Keys.Log, Seen: own.newest().note, Text: rewritten.Error()})
	}
	handlers := l.witness.handlers()
	handlers[methodProve] = l.serveProve
	for method, h := range handlers {
		if err := cfg.Mesh.Handle(method, h); err != nil {
			l.group.Close()
			return nil, fmt.Errorf("ledger: serve %s: %w", method, err)
		}
	}
	return l, nil
}

// Close stops the ledger and waits until nothing is written any more. What was appended is kept.
func (l *Ledger) Close() error {
	l.group.Close()
	return nil
}

// Append enters a leaf and returns its index once it is on disk. Those that wait at the same time share
// a sync. After an error the leaf may be in the log or not. The error is ErrLeaf, ErrClosed,
// that of the disk, or that of ctx.
func (l *Ledger) Append(ctx context.Context, leaf Leaf) (index int64, err error) {
	if leaf.Kind < Write || leaf.Kind > Event || len(leaf.Bucket)+len(leaf.Key) > ledger.MaxNames {
		return 0, fmt.Errorf("%w: kind %d, names of %d and %d bytes", ErrLeaf, leaf.Kind, len(leaf.Bucket), len(leaf.Key))
	}
	if leaf.At.IsZero() {
		leaf.At = time.Now()
	}
	return l.own.appendLeaf(ctx, leaf)
}

// EnterManifest enters a manifest of a backup: for backup.Config.Enter. The Bucket of the leaf
// is the tier, and the Key the name of the object.
func (l *Ledger) EnterManifest(ctx context.Context, tier, name string, sum [32]byte) error {
	_, err := l.Append(ctx, Leaf{Kind: Manifest, Bucket: tier, Key: name, Sum: sum})
	return err
}

// Checkpoint signs the state of the log, if it has grown, and returns it in C2SP's form with the
// cosignatures that there are.
func (l *Ledger) Checkpoint(ctx context.Context) ([]byte, error) {
	s, err := l.own.signNow(ctx)
	if best := l.asker.cosigned(); err == nil && best.note != nil && best.Size == s.Size {
		return best.note, nil
	}
	return s.note, err
}

// Find returns the index of the last leaf that stands for this: its Kind, Bucket, Key and
// Sum, and its Dot unless that is zero; At does not count. It reads the log from its end, 100 000
// leaves in about half a second. The error is ErrNotFound, or that of the disk or ctx.
func (l *Ledger) Find(ctx context.Context, leaf Leaf) (index int64, err error) {
	return l.own.viewLog(ctx).findLeaf(l.own.countLeaves(), leaf)
}

// Prove returns what proves to anybody, by Verify, that the leaf of that index is in the log and
// stands for this, as Find compares it. It is C2SP's tlog-proof, and reveals nothing of another
// leaf. It names the newest checkpoint that peers have cosigned, if the leaf is in it. The
// error is ErrNotFound if there is no such leaf or it stands for something else.
func (l *Ledger) Prove(ctx context.Context, index int64, leaf Leaf) ([]byte, error) {
	c := l.asker.cosigned()
	if index >= c.Size {
		var err error
		if c, err = l.own.signNow(ctx); err != nil {
			return nil, err
		}
	}
	if index < 0 || index >= c.Size {
		return nil, fmt.Errorf("%w: index %d of %d", ErrNotFound, index, c.Size)
	}
	return l.own.viewLog(ctx).proveLeaf(index, leaf, c)
}

// Keys returns the public keys of this node in C2SP's form: the one that signs its log, and the
// one by which it cosigns those of others.
func (l *Ledger) Keys() (log, cosign string) { return l.own.signer.Keys.Log, l.own.signer.Keys.Cosign }
