package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/skeinmesh/skein/internal/ledger"
	"github.com/skeinmesh/skein/mesh/view"
)

// Trust is whom a verifier believes, by public keys in C2SP's form.
type Trust struct {
	// Log is the key of the log.
	Log string
	// Witnesses are keys of peers that cosign.
	Witnesses []string
	// Quorum is how many of them must have. Zero: none.
	Quorum int
}

// Cosigned tells which peer has cosigned a checkpoint, and when by its clock.
type Cosigned struct {
	Name string
	At   time.Time
}

// Proven is what a proof shows.
type Proven struct {
	Leaf     Leaf
	Index    int64
	Size     int64 // leaves of the log in the checkpoint
	Cosigned []Cosigned
}

// Verify checks a proof that Prove returned, anywhere, and tells what it shows. The error is
// ErrUnproven.
func Verify(proof []byte, trust Trust) (Proven, error) {
	p, err := ledger.ParseProof(proof)
	if err != nil {
		return Proven{}, fmt.Errorf("%w: %w", ErrUnproven, err)
	}
	log, witnesses, err := trust.parseKeys()
	if err != nil {
		return Proven{}, err
	}
	leaf, c, by, err := p.Verify(log, witnesses...)
	if err != nil {
		return Proven{}, fmt.Errorf("%w: %w", ErrUnproven, err)
	}
	out := Proven{Index: p.Index, Size: c.Size, Leaf: Leaf{Kind(leaf.Kind), leaf.At, p.Opening.Bucket, p.Opening.Key, leaf.Dot, p.Opening.Sum}}
	if out.Cosigned, err = trust.checkQuorum(by); err != nil {
		return Proven{}, err
	}
	return out, nil
}

func (t Trust) parseKeys() (log ledger.Key, witnesses []ledger.Key, err error) {
	log, err = ledger.ParseKey(t.Log)
	for _, text := range t.Witnesses {
		w, err2 := ledger.ParseKey(text)
		witnesses, err = append(witnesses, w), errors.Join(err, err2)
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrUnproven, err)
	}
	return log, witnesses, err
}

// checkQuorum counts each key once, however often it has signed.
func (t Trust) checkQuorum(by []ledger.Cosigned) (list []Cosigned, err error) {
	for _, b := range by {
		list = append(list, Cosigned(b))
	}
	if len(list) < t.Quorum {
		err = fmt.Errorf("%w: cosigned by %d of %d that are trusted, %d must have", ErrUnproven, len(list), len(t.Witnesses), t.Quorum)
	}
	return list, err
}

// VerifiedLog tells what VerifyLog has found right.
type VerifiedLog struct {
	// Size is how many leaves the log has, and CosignedSize how many of them are in the newest
	// checkpoint that the Quorum has cosigned; both are kept with it.
	Size, CosignedSize int64
	Cosigned           []Cosigned
}

// VerifyLog is VerifyAll, and checks as well that a checkpoint which the Quorum has cosigned is one
// of the log.
func VerifyLog(ctx context.Context, tiles Tiles, trust Trust) (v VerifiedLog, err error) {
	key, witnesses, err := trust.parseKeys()
	if err != nil {
		return v, err
	}
	if v.Size, err = VerifyAll(ctx, tiles, trust.Log, nil); err != nil {
		return v, err
	}
	err = fmt.Errorf("%w: no cosigned checkpoint is kept with the log", ErrUnproven)
	for _, path := range []string{checkpointPath, cosignedPath} {
		note, err2 := within{tiles, key.Path()}.readBy(ctx)(path)
		if err2 != nil {
			continue
		}
		_, by, err2 := ledger.OpenNote(note, key, witnesses...)
		if v.Cosigned, err = trust.checkQuorum(by); err2 != nil || err != nil {
			continue
		}
		v.CosignedSize, err = VerifyAll(ctx, tiles, trust.Log, note)
		return v, err
	}
	return v, err
}

// VerifyAll reads the whole log of that public key where Tiles keep it, and checks that it is that
// of a checkpoint; nil is the one that is kept with it. It returns how many leaves that has.
// The error is ErrUnproven and tells the first place that is wrong, or that of the Tiles.
func VerifyAll(ctx context.Context, tiles Tiles, log string, checkpoint []byte) (size int64, err error) {
	key, err := ledger.ParseKey(log)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnproven, err)
	}
	read := within{tiles, key.Path()}.readBy(ctx)
	if checkpoint == nil {
		if checkpoint, err = read(checkpointPath); err != nil {
			return 0, err
		}
	}
	c, _, err := ledger.OpenNote(checkpoint, key)
	if err == nil {
		err = ledger.VerifyAll(c, read)
	}
	switch {
	case isWrong(err):
		return 0, fmt.Errorf("%w: %w", ErrUnproven, err)
	case err != nil:
		return 0, fmt.Errorf("ledger: read a log: %w", err)
	}
	return c.Size, nil
}

// isWrong tells whether what was read is not what was signed, or is gone: whether it is not the
// reading that has failed.
func isWrong(err error) bool {
	return errors.Is(err, ledger.ErrUnproven) || errors.Is(err, ledger.ErrMalformed) || errors.Is(err, fs.ErrNotExist)
}

// Status is how the ledger of a node is.
type Status struct {
	Node view.NodeID
	// Size is how many leaves are in the log, and Signed how many in its newest checkpoint.
	Size, Signed int64
	// CosignedSize is how many leaves are in the newest checkpoint that somebody has cosigned,
	// and Cosigned who has, as far as this run knows. Asked is how many peers were asked in the last round.
	CosignedSize int64
	Cosigned     []Cosigned
	Asked        int
	// Watched is how many logs of others are remembered, and Doubted of how many of them their
	// nodes owe a proof.
	Watched, Doubted int
	Alarms           []Alarm
}

// Status tells how the ledger is. It reads no disk.
func (l *Ledger) Status() Status {
	s := Status{Node: l.id, Alarms: l.alarms.listAlarms()}
	l.own.mu.Lock()
	best := l.own.best
	s.Size, s.Signed, s.CosignedSize = l.own.size, l.own.last.Size, best.Size
	l.own.mu.Unlock()
	l.asker.mu.Lock()
	s.Asked = l.asker.asked
	l.asker.mu.Unlock()
	for _, b := range best.by {
		s.Cosigned = append(s.Cosigned, Cosigned(b))
	}
	l.witness.mu.Lock()
	defer l.witness.mu.Unlock()
	s.Watched = len(l.witness.logs)
	for _, w := range l.witness.logs {
		if w.doubt != nil {
			s.Doubted++
		}
	}
	return s
}

// asHashes returns hashes as those of another package.
func asHashes[B, A ~[32]byte](list []A) []B {
	hashes := make([]B, len(list))
	for i, h := range list {
		hashes[i] = B(h)
	}
	return hashes
}
