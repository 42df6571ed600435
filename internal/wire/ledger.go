package wire

import (
	"time"

	"github.com/skeinmesh/skein/mesh/view"
	"github.com/skeinmesh/skein/replica/version"
)

const (
	ledgerVersion = 1

	// MaxLedgerNote is the longest checkpoint of a ledger, with its signatures, in bytes.
	MaxLedgerNote = 16 << 10
	// MaxLedgerProof is the longest proof of a ledger's growth, in hashes.
	MaxLedgerProof = 64
	// MaxLedgerHeads is how many ledgers a node may remember.
	MaxLedgerHeads = 4096
	// MaxLedgerAlarms is how many alarms about ledgers a node may remember.
	MaxLedgerAlarms = 64

	maxLedgerKey  = 256
	maxLedgerSize = 1 << 48
	maxLedgerText = 512
)

// LedgerHead is what is known of a node's ledger: its public keys, and a signed checkpoint.
type LedgerHead struct {
	Node        view.NodeID
	Log, Cosign string
	Note        []byte
}

func (h *LedgerHead) codeParts(c *codec) {
	c.codeNodeID(&h.Node)
	c.codeText(&h.Log, maxLedgerKey)
	c.codeText(&h.Cosign, maxLedgerKey)
	c.codeOwnBytes(&h.Note, MaxLedgerNote)
}

// LedgerHeads are the heads of several ledgers, told to a node or remembered by it.
type LedgerHeads struct{ Heads []LedgerHead }

func (h *LedgerHeads) codeFields(c *codec) {
	c.codeVersion(ledgerVersion)
	for i := range codeList(c, &h.Heads, 4, MaxLedgerHeads) {
		h.Heads[i].codeParts(c)
	}
}

// AppendLedgerHeads appends the encoding of h.
func AppendLedgerHeads(dst []byte, h LedgerHeads) []byte {
	return appendFields(dst, &h, (*LedgerHeads).codeFields)
}

// DecodeLedgerHeads reads what AppendLedgerHeads wrote.
func DecodeLedgerHeads(data []byte) (LedgerHeads, error) {
	return readFields(data, "heads of ledgers", (*LedgerHeads).codeFields)
}

// LedgerAsk asks to cosign a checkpoint, with the proof that it goes on from Old leaves.
type LedgerAsk struct {
	Old    int64
	Hashes [][32]byte
	Note   []byte
}

func (a *LedgerAsk) codeFields(c *codec) {
	c.codeVersion(ledgerVersion)
	codeBounded(c, &a.Old, maxLedgerSize)
	codeHashes(c, &a.Hashes)
	c.codeBytes(&a.Note, MaxLedgerNote)
}

// AppendLedgerAsk appends the encoding of a.
func AppendLedgerAsk(dst []byte, a LedgerAsk) []byte {
	return appendFields(dst, &a, (*LedgerAsk).codeFields)
}

// DecodeLedgerAsk reads what AppendLedgerAsk wrote.
func DecodeLedgerAsk(data []byte) (LedgerAsk, error) {
	return readFields(data, "request to cosign", (*LedgerAsk).codeFields)
}

// LedgerAnswer is a witness's verdict and, with it, its cosignature or the checkpoint that it
// has seen.
type LedgerAnswer struct {
	Verdict uint8
	Text    []byte
}

func (a *LedgerAnswer) codeFields(c *codec) {
	c.codeVersion(ledgerVersion)
	codeBounded(c, &a.Verdict, 15)
	c.codeBytesOrNil(&a.Text, MaxLedgerNote)
}

// AppendLedgerAnswer appends the encoding of a.
func AppendLedgerAnswer(dst []byte, a LedgerAnswer) []byte {
	return appendFields(dst, &a, (*LedgerAnswer).codeFields)
}

// DecodeLedgerAnswer reads what AppendLedgerAnswer wrote.
func DecodeLedgerAnswer(data []byte) (LedgerAnswer, error) {
	return readFields(data, "answer of a witness", (*LedgerAnswer).codeFields)
}

// LedgerGrowth asks a ledger's node to prove that its tree of To leaves goes on from that of From.
type LedgerGrowth struct{ From, To int64 }

func (g *LedgerGrowth) codeFields(c *codec) {
	c.codeVersion(ledgerVersion)
	codeBounded(c, &g.From, maxLedgerSize)
	codeBounded(c, &g.To, maxLedgerSize)
}

// AppendLedgerGrowth appends the encoding of g.
func AppendLedgerGrowth(dst []byte, g LedgerGrowth) []byte {
	return appendFields(dst, &g, (*LedgerGrowth).codeFields)
}

// DecodeLedgerGrowth reads what AppendLedgerGrowth wrote.
func DecodeLedgerGrowth(data []byte) (LedgerGrowth, error) {
	return readFields(data, "question for a ledger's growth", (*LedgerGrowth).codeFields)
}

// LedgerGrown answers it. Size is how many leaves the ledger has; where that is less than was asked
// for there is no proof.
type LedgerGrown struct {
	Size   int64
	Hashes [][32]byte
}

func (g *LedgerGrown) codeFields(c *codec) {
	c.codeVersion(ledgerVersion)
	codeBounded(c, &g.Size, maxLedgerSize)
	codeHashes(c, &g.Hashes)
}

// AppendLedgerGrown appends the encoding of g.
func AppendLedgerGrown(dst []byte, g LedgerGrown) []byte {
	return appendFields(dst, &g, (*LedgerGrown).codeFields)
}

// DecodeLedgerGrown reads what AppendLedgerGrown wrote.
func DecodeLedgerGrown(data []byte) (LedgerGrown, error) {
	return readFields(data, "proof of a ledger's growth", (*LedgerGrown).codeFields)
}

// LedgerWish asks a ledger's node to prove that a write is in it.
type LedgerWish struct {
	Bucket, Key string
	Dot         version.Dot
	Sum         [32]byte // SHA-256 of the value; zeros: there is none
}

func (w *LedgerWish) codeFields(c *codec) {
	c.codeVersion(ledgerVersion)
	c.codeText(&w.Bucket, 255)
	c.codeText(&w.Key, MaxKey)
	c.codeDot(&w.Dot)
	c.codeFixed(w.Sum[:])
}

// AppendLedgerWish appends the encoding of w.
func AppendLedgerWish(dst []byte, w LedgerWish) []byte {
	return appendFields(dst, &w, (*LedgerWish).codeFields)
}

// DecodeLedgerWish reads what AppendLedgerWish wrote.
func DecodeLedgerWish(data []byte) (LedgerWish, error) {
	return readFields(data, "question for a proof of a write", (*LedgerWish).codeFields)
}

func codeHashes(c *codec, list *[][32]byte) {
	for i := range codeList(c, list, 1, MaxLedgerProof) {
		c.codeFixed((*list)[i][:])
	}
}

// LedgerAlarm is something that was found wrong with a ledger, and the two signed checkpoints
// that show it.
type LedgerAlarm struct {
	Kind        uint8
	Node        view.NodeID
	At          time.Time
	Log         string
	Seen, Shown []byte
	Text        string
}

// LedgerAlarms are the alarms that a node remembers.
type LedgerAlarms struct{ Alarms []LedgerAlarm }

func (l *LedgerAlarms) codeFields(c *codec) {
	c.codeVersion(ledgerVersion)
	for i := range codeList(c, &l.Alarms, 7, MaxLedgerAlarms) {
		a := &l.Alarms[i]
		codeBounded(c, &a.Kind, 15)
		c.codeNodeID(&a.Node)
		c.codeMoment(&a.At)
		c.codeText(&a.Log, maxLedgerKey)
		c.codeOwnBytes(&a.Seen, MaxLedgerNote)
		c.codeOwnBytes(&a.Shown, MaxLedgerNote)
		c.codeText(&a.Text, maxLedgerText)
	}
}

// AppendLedgerAlarms appends the encoding of l.
func AppendLedgerAlarms(dst []byte, l LedgerAlarms) []byte {
	return appendFields(dst, &l, (*LedgerAlarms).codeFields)
}

// DecodeLedgerAlarms reads what AppendLedgerAlarms wrote.
func DecodeLedgerAlarms(data []byte) (LedgerAlarms, error) {
	return readFields(data, "alarms about ledgers", (*LedgerAlarms).codeFields)
}
