package ledger

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/skeinmesh/skein/internal/ledger"
	"github.com/skeinmesh/skein/internal/storage/file"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

// AlarmKind is what is wrong with a log.
type AlarmKind uint8

const (
	// Forked: there are two histories of it. Of two checkpoints of one size this is proven by them;
	// of others the node has given a proof that shows nothing.
	Forked AlarmKind = 1 + iota
	// RolledBack: it has fewer leaves than its node has signed.
	RolledBack
	// Replaced: its node has begun another log, with another key.
	Replaced
	// Rewritten: what this node keeps of its own log is not what it has signed.
	Rewritten
)

// String returns the kind in a word or two.
func (k AlarmKind) String() string {
	names := []string{"unknown", "forked", "rolled back", "replaced", "rewritten"}
	if int(k) >= len(names) {
		k = 0
	}
	return names[k]
}

// kindOf is what a verdict of a witness says of a log.
func kindOf(v ledger.Verdict) AlarmKind {
	if v == ledger.RolledBack {
		return RolledBack
	}
	return Forked
}

// Alarm tells what was found wrong with a log. Of each log the first of each kind is kept, 64 in
// all.
type Alarm struct {
	Kind AlarmKind
	Node view.NodeID // whose log it is
	Log  string      // its public key
	At   time.Time   // when it was found
	// Seen and Shown are the checkpoints that show it, signed by the node: the one known before, and
	// the one that does not go with it. One of them may be missing.
	Seen, Shown []byte
	Text        string
}

const alarmsPath = "alarms"

// alarms are those that this node has found.
type alarms struct {
	own  *ownLog
	told func(Alarm)
	log  *slog.Logger

	mu   sync.Mutex
	list []Alarm
}

func (a *alarms) filePath() string { return a.own.files.fs.PathJoin(a.own.files.dir, alarmsPath) }

func (a *alarms) loadAlarms() error {
	data, err := file.Read(a.own.files.fs, a.filePath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	kept, err2 := wire.DecodeLedgerAlarms(data)
	for _, k := range kept.Alarms {
		a.list = append(a.list, Alarm{AlarmKind(k.Kind), k.Node, k.Log, k.At, k.Seen, k.Shown, k.Text})
	}
	return errors.Join(err, err2)
}

// listAlarms returns the alarms.
func (a *alarms) listAlarms() []Alarm {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.list)
}

// isKnown tells whether there is an alarm of that kind about a log.
func (a *alarms) isKnown(kind AlarmKind, log string) bool {
	return slices.ContainsFunc(a.listAlarms(), func(b Alarm) bool { return b.Kind == kind && b.Log == log })
}

// raiseAlarm keeps a new alarm and tells of it.
func (a *alarms) raiseAlarm(ctx context.Context, alarm Alarm) {
	alarm.At = time.Now().UTC().Truncate(time.Millisecond)
	alarm.Text = alarm.Text[:min(len(alarm.Text), 500)]
	a.mu.Lock()
	known := slices.ContainsFunc(a.list, func(b Alarm) bool { return b.Kind == alarm.Kind && b.Log == alarm.Log })
	isNew := !known && len(a.list) < wire.MaxLedgerAlarms
	if isNew {
		a.list = append(a.list, alarm)
	}
	a.mu.Unlock()
	if known {
		return
	}
	a.log.Error("ledger alarm", "kind", alarm.Kind.String(), "of", alarm.Node, "text", alarm.Text, "kept", isNew)
	if !isNew {
		return
	}
	if a.told != nil {
		a.told(alarm)
	}
	err := a.own.doJob(context.WithoutCancel(ctx), func(context.Context) error {
		var kept wire.LedgerAlarms
		for _, b := range a.listAlarms() {
			kept.Alarms = append(kept.Alarms, wire.LedgerAlarm{Kind: uint8(b.Kind), Node: b.Node, At: b.At, Log: b.Log, Seen: b.Seen, Shown: b.Shown, Text: b.Text})
		}
		return file.Write(a.own.files.fs, a.filePath(), wire.AppendLedgerAlarms(nil, kept))
	})
	if err != nil {
		a.log.Warn("ledger alarm is not saved", "error", err)
	}
}

// judgeOwn decides on a checkpoint that a peer has seen of this node's own log, and tells whether
// it is one.
func (a *alarms) judgeOwn(ctx context.Context, note []byte) (seen signed, isOwn bool) {
	seen, err := a.own.openOwn(note)
	if err != nil {
		return seen, false // not ours
	}
	now := a.own.newest()
	root := now.Root
	if seen.Size < now.Size {
		if root, err = ledger.RootAt(now.Checkpoint, seen.Size, a.own.kept.readBy(ctx)); err != nil {
			return seen, false
		}
	}
	if verdict := ledger.JudgeOwn(now.Checkpoint, seen.Checkpoint, root); verdict != ledger.Agreed {
		a.raiseAlarm(ctx, Alarm{Kind: kindOf(verdict), Node: a.own.node, Log: a.own.signer.Keys.Log, Seen: note, Shown: now.note, Text: "a peer has seen another state of this log"})
	}
	return seen, true
}
