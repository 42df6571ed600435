package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/skeinmesh/skein/internal/ledger"
	"github.com/skeinmesh/skein/internal/storage/file"
	"github.com/skeinmesh/skein/internal/wire"
	"github.com/skeinmesh/skein/mesh/view"
)

const (
	methodKeys   = "ledger/keys"
	methodCosign = "ledger/cosign"
	methodHeads  = "ledger/heads"
	methodGrowth = "ledger/growth"

	seenPath     = "seen"
	mostOfNode   = 4    // logs that a node may have begun
	mostAtATime  = 64   // heads in one message
	longestShown = 1024 // bytes of a checkpoint without cosignatures
)

// witness remembers the logs of others, and cosigns what goes on from what it remembers.
type witness struct {
	mesh   Mesh
	own    *ownLog
	alarms *alarms
	most   int

	mu      sync.Mutex
	logs    []*watched
	unsaved bool // there is news
}

// watched is the log of another node, as it was seen last. The fields behind the empty line are
// guarded by witness.mu.
type watched struct {
	node   view.NodeID
	keys   ledger.Keys
	key    ledger.Key
	cosign ledger.Key

	last  signed
	doubt []byte // a checkpoint of which nobody could tell whether last goes with it; nil: none
}

func (w *witness) handlers() map[string]func(context.Context, view.NodeID, []byte) ([]byte, error) {
	return map[string]func(context.Context, view.NodeID, []byte) ([]byte, error){
		methodKeys: w.serveKeys, methodCosign: w.serveCosign, methodHeads: w.serveHeads, methodGrowth: w.serveGrowth,
	}
}

func (w *witness) filePath() string { return w.own.files.fs.PathJoin(w.own.files.dir, seenPath) }

func (w *witness) loadLogs() error {
	data, err := file.Read(w.own.files.fs, w.filePath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	heads, err2 := wire.DecodeLedgerHeads(data)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	for _, h := range heads.Heads {
		seen := &watched{node: h.Node, keys: ledger.Keys{Log: h.Log, Cosign: h.Cosign}}
		if seen.key, seen.cosign, err = ledger.ParseKeys(seen.keys, nameOf(h.Node)); err != nil {
			return err
		}
		seen.last.note = h.Note
		if seen.last.Checkpoint, _, err = ledger.OpenNote(h.Note, seen.key); err != nil {
			return err
		}
		w.logs = append(w.logs, seen)
	}
	return nil
}

// saveLogs keeps what is remembered, if there is news.
func (w *witness) saveLogs(ctx context.Context) error {
	return w.own.doJob(ctx, func(context.Context) error {
		w.mu.Lock()
		news, heads := w.unsaved, w.listHeads()
		w.unsaved = false
		w.mu.Unlock()
		if !news {
			return nil
		}
		err := file.Write(w.own.files.fs, w.filePath(), wire.AppendLedgerHeads(nil, wire.LedgerHeads{Heads: heads}))
		if err != nil {
			w.mu.Lock()
			w.unsaved = true
			w.mu.Unlock()
		}
		return err
	})
}

// heads returns what is remembered.
func (w *witness) heads() []wire.LedgerHead {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.listHeads()
}

// listHeads is heads; the caller holds mu.
func (w *witness) listHeads() (heads []wire.LedgerHead) {
	for _, s := range w.logs {
		if s.last.note != nil {
			heads = append(heads, wire.LedgerHead{Node: s.node, Log: s.keys.Log, Cosign: s.keys.Cosign, Note: s.last.note})
		}
	}
	return heads
}

// logsOf returns the logs of a node, the newest last.
func (w *witness) logsOf(node view.NodeID) (logs []*watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.logs {
		if s.node == node {
			logs = append(logs, s)
		}
	}
	return logs
}

// askKeys asks a node for its keys.
func (w *witness) askKeys(ctx context.Context, node view.NodeID) (*watched, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	reply, err := w.mesh.Call(ctx, node, methodKeys, nil)
	if err != nil {
		return nil, err
	}
	told, err := wire.DecodeLedgerHeads(reply)
	if err != nil || len(told.Heads) != 1 {
		return nil, fmt.Errorf("ledger: node %v tells no keys: %w", node, err)
	}
	s := &watched{node: node, keys: ledger.Keys{Log: told.Heads[0].Log, Cosign: told.Heads[0].Cosign}}
	s.key, s.cosign, err = ledger.ParseKeys(s.keys, nameOf(node))
	return s, err
}

// keysOf returns the keys by which a node cosigns.
func (w *witness) keysOf(ctx context.Context, node view.NodeID) (keys []ledger.Key) {
	logs := w.logsOf(node)
	if len(logs) == 0 {
		s, err := w.askKeys(ctx, node)
		if err != nil {
			return nil
		}
		logs = append(logs, s)
	}
	for _, s := range logs {
		keys = append(keys, s.cosign)
	}
	return keys
}

// findLog returns the log of a node that has signed a checkpoint. A log that is not known is asked
// for at its node.
func (w *witness) findLog(ctx context.Context, node view.NodeID, note []byte) (*watched, signed, error) {
	if len(note) > longestShown {
		return nil, signed{}, fmt.Errorf("ledger: checkpoint of %d bytes", len(note))
	}
	logs := w.logsOf(node)
	for _, s := range logs {
		if c, _, err := ledger.OpenNote(note, s.key); err == nil {
			return s, signed{Checkpoint: c, note: note}, nil
		}
	}
	s, err := w.askKeys(ctx, node)
	if err != nil {
		return nil, signed{}, err
	}
	c, _, err := ledger.OpenNote(note, s.key)
	if err != nil {
		return nil, signed{}, err
	}
	if len(logs) > 0 {
		w.alarms.raiseAlarm(ctx, Alarm{Kind: Replaced, Node: node, Log: s.keys.Log, Seen: logs[len(logs)-1].last.note, Shown: note, Text: "the node has begun another log"})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	at := slices.IndexFunc(w.logs, func(k *watched) bool { return k.keys == s.keys })
	switch {
	case at >= 0: // by another request
		s = w.logs[at]
	case len(logs) >= mostOfNode || len(w.logs) >= wire.MaxLedgerHeads:
		return nil, signed{}, fmt.Errorf("ledger: too many logs to remember: %d, and %d of node %v", len(w.logs), len(logs), node)
	default:
		w.logs = append(w.logs, s)
	}
	return s, signed{Checkpoint: c, note: note}, nil
}

func (w *witness) serveKeys(context.Context, view.NodeID, []byte) ([]byte, error) {
	keys := w.own.signer.Keys
	return wire.AppendLedgerHeads(nil, wire.LedgerHeads{Heads: []wire.LedgerHead{{Node: w.own.node, Log: keys.Log, Cosign: keys.Cosign}}}), nil
}

// serveCosign answers a node that asks to have its log cosigned.
func (w *witness) serveCosign(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	ask, err := wire.DecodeLedgerAsk(req)
	if err != nil {
		return nil, err
	}
	s, shown, err := w.findLog(ctx, from, ask.Note)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	doubt := s.doubt
	w.mu.Unlock()
	if doubt != nil { // it is in reach now, and can prove what it owes
		if err := w.hearHead(ctx, wire.LedgerHead{Node: from, Note: doubt}); err != nil {
			return nil, err
		}
	}
	verdict, seen := w.judgeAsk(s, ask, shown)
	answer := wire.LedgerAnswer{Verdict: uint8(verdict), Text: seen.note}
	switch verdict {
	case ledger.Agreed:
		if err := w.saveLogs(ctx); err != nil { // before anybody is told
			return nil, err
		}
		answer.Text = []byte(w.own.signer.Cosign(shown.Checkpoint, time.Now()))
	case ledger.Forked, ledger.RolledBack:
		w.alarms.raiseAlarm(ctx, Alarm{Kind: kindOf(verdict), Node: from, Log: s.keys.Log, Seen: seen.note, Shown: shown.note, Text: "it asks to cosign what does not go on from what was seen"})
	}
	return wire.AppendLedgerAnswer(nil, answer), nil
}

// judgeAsk decides on a checkpoint, and remembers it if it goes on from what was seen, which it returns.
func (w *witness) judgeAsk(s *watched, ask wire.LedgerAsk, shown signed) (ledger.Verdict, signed) {
	forked := w.alarms.isKnown(Forked, s.keys.Log)
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := s.last
	if forked {
		return ledger.Forked, seen
	}
	verdict := ledger.Judge(seen.Checkpoint, ask.Old, shown.Checkpoint, asHashes[tlog.Hash](ask.Hashes))
	if verdict == ledger.Agreed {
		w.unsaved = w.unsaved || seen.note == nil || seen.Size != shown.Size
		s.last = shown
	}
	return verdict, seen
}

// serveHeads hears which logs a peer has seen.
func (w *witness) serveHeads(ctx context.Context, from view.NodeID, req []byte) ([]byte, error) {
	told, err := wire.DecodeLedgerHeads(req)
	if err != nil || len(told.Heads) > mostAtATime {
		return nil, fmt.Errorf("ledger: %d heads: %w", len(told.Heads), err)
	}
	var faults []error
	for _, h := range told.Heads {
		switch {
		case h.Node == w.own.node:
			w.alarms.judgeOwn(ctx, h.Note)
		case len(w.logsOf(h.Node)) > 0 || slices.Contains(w.chosenOf(h.Node), w.own.node):
			faults = append(faults, w.hearHead(ctx, h))
		}
	}
	return nil, errors.Join(faults...)
}

// hearHead compares a checkpoint of a log with what was seen of it. Where neither is known to go
// on from the other the log's node is asked to prove it; until it does nothing of that
// log is cosigned.
func (w *witness) hearHead(ctx context.Context, h wire.LedgerHead) error {
	s, told, err := w.findLog(ctx, h.Node, h.Note)
	if err != nil {
		return err
	}
	w.mu.Lock()
	seen := s.last
	w.mu.Unlock()
	older, newer := seen, told
	if older.Size > newer.Size {
		older, newer = newer, older
	}
	grown := wire.LedgerGrown{}
	if seen.note != nil && older.Size < newer.Size {
		if grown, err = w.askGrowth(ctx, h.Node, older.Size, newer.Size); err != nil {
			w.settleHead(s, seen, seen, told.note, told.note)
			return fmt.Errorf("ledger: growth of the log of %v: %w", h.Node, err)
		}
	}
	if seen.note != nil {
		if verdict := ledger.JudgeHeads(older.Checkpoint, newer.Checkpoint, grown.Size, asHashes[tlog.Hash](grown.Hashes)); verdict != ledger.Agreed {
			w.alarms.raiseAlarm(ctx, Alarm{
				Kind: kindOf(verdict), Node: h.Node, Log: s.keys.Log, Seen: seen.note, Shown: told.note,
				Text: fmt.Sprintf("two peers have seen %d and %d leaves of it, and it has shown %d", seen.Size, told.Size, grown.Size),
			})
			newer = seen
		}
	}
	w.settleHead(s, seen, newer, told.note, nil)
	return w.saveLogs(ctx)
}

// settleHead notes how a comparison with a checkpoint has ended: now is the newest of which it is
// known that all goes on to it. What was seen meanwhile stays.
func (w *witness) settleHead(s *watched, before, now signed, told, doubt []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if doubt != nil || bytes.Equal(s.doubt, told) {
		s.doubt = doubt
	}
	if s.last.Size == before.Size && now.note != nil && (s.last.note == nil || now.Size > before.Size) {
		s.last, w.unsaved = now, true
	}
}

func (w *witness) askGrowth(ctx context.Context, node view.NodeID, from, to int64) (wire.LedgerGrown, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	reply, err := w.mesh.Call(ctx, node, methodGrowth, wire.AppendLedgerGrowth(nil, wire.LedgerGrowth{From: from, To: to}))
	if err != nil {
		return wire.LedgerGrown{}, err
	}
	return wire.DecodeLedgerGrown(reply)
}

// serveGrowth proves that this node's log goes on from an earlier state of it.
func (w *witness) serveGrowth(ctx context.Context, _ view.NodeID, req []byte) ([]byte, error) {
	ask, err := wire.DecodeLedgerGrowth(req)
	if err != nil {
		return nil, err
	}
	now, grown := w.own.newest(), wire.LedgerGrown{}
	grown.Size = now.Size
	if ask.From <= ask.To && ask.To <= now.Size && ask.To > 0 {
		read := w.own.kept.readBy(ctx)
		then := ledger.Checkpoint{Origin: now.Origin, Size: ask.To}
		if then.Root, err = ledger.RootAt(now.Checkpoint, ask.To, read); err != nil {
			return nil, err
		}
		hashes, err := ledger.ProveGrowth(then, ask.From, read)
		if err != nil {
			return nil, err
		}
		grown.Hashes = asHashes[[32]byte](hashes)
	}
	return wire.AppendLedgerGrown(nil, grown), nil
}

// chosenOf returns who is to cosign the log of a node, and hears of it what others have seen: all
// nodes that see the same members choose the same.
func (w *witness) chosenOf(node view.NodeID) []view.NodeID {
	var alive []view.NodeID
	for _, m := range w.mesh.View().Members {
		if m.ID != node && m.State == view.Alive {
			alive = append(alive, m.ID)
		}
	}
	return ledger.Choose(node, alive, w.most)
}
