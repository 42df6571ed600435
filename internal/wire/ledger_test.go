package wire

import (
	"testing"
	"time"

	"github.com/skeinmesh/skein/replica/version"
)

func ledgerFormats() []meshFormat {
	head := LedgerHead{Node: 1 << 63, Log: "skein/8000000000000000+0102aabb+AQ==", Cosign: "skein/8000000000000000+0102aabc+BA==", Note: []byte("skein/8000000000000000\n3\n")}
	proof := [][32]byte{{1}, {31: 2}}
	return []meshFormat{
		format("heads", LedgerHeads{Heads: []LedgerHead{head, {Node: 2, Log: "l", Cosign: "c"}}}, appended(AppendLedgerHeads), DecodeLedgerHeads),
		format("ask", LedgerAsk{Old: 1 << 48, Hashes: proof, Note: head.Note}, appended(AppendLedgerAsk), DecodeLedgerAsk),
		format("answer", LedgerAnswer{Verdict: 2, Text: head.Note}, appended(AppendLedgerAnswer), DecodeLedgerAnswer),
		format("growth", LedgerGrowth{From: 70, To: 70000}, appended(AppendLedgerGrowth), DecodeLedgerGrowth),
		format("grown", LedgerGrown{Size: 1 << 40, Hashes: proof}, appended(AppendLedgerGrown), DecodeLedgerGrown),
		format("wish", LedgerWish{Bucket: "b", Key: "k\xff", Dot: version.Dot{A: version.Actor{Store: 1 << 63, Session: 2, Seq: 3}, N: 4}, Sum: proof[0]}, appended(AppendLedgerWish), DecodeLedgerWish),
		format("alarms", LedgerAlarms{Alarms: []LedgerAlarm{{
			Kind: 3, Node: 7, At: time.UnixMilli(1700000000123).UTC(), Log: head.Log, Seen: head.Note, Shown: []byte("x\n"), Text: "why",
		}, {Kind: 1, Node: 8, At: time.UnixMilli(-1).UTC()}}}, appended(AppendLedgerAlarms), DecodeLedgerAlarms),
	}
}

func TestLedgerFormatsGolden(t *testing.T) { goldenFormats(t, "ledger", ledgerFormats()) }

func fuzzLedger[T any](f *testing.F, encode func([]byte, T) []byte, decode func([]byte) (T, error)) {
	for _, s := range ledgerFormats() {
		f.Add(s.encode(s.sample))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		readsBack(t, data, decode, func(v *T) []byte { return encode(nil, *v) })
	})
}

func FuzzDecodeLedgerHeads(f *testing.F) { fuzzLedger(f, AppendLedgerHeads, DecodeLedgerHeads) }

func FuzzDecodeLedgerAsk(f *testing.F) { fuzzLedger(f, AppendLedgerAsk, DecodeLedgerAsk) }

func FuzzDecodeLedgerAnswer(f *testing.F) { fuzzLedger(f, AppendLedgerAnswer, DecodeLedgerAnswer) }

func FuzzDecodeLedgerGrowth(f *testing.F) { fuzzLedger(f, AppendLedgerGrowth, DecodeLedgerGrowth) }

func FuzzDecodeLedgerGrown(f *testing.F) { fuzzLedger(f, AppendLedgerGrown, DecodeLedgerGrown) }

func FuzzDecodeLedgerWish(f *testing.F) { fuzzLedger(f, AppendLedgerWish, DecodeLedgerWish) }

func FuzzDecodeLedgerAlarms(f *testing.F) { fuzzLedger(f, AppendLedgerAlarms, DecodeLedgerAlarms) }
