package wire

import (
	"testing"
)

// stampSamples are the messages that came with purges and hand-offs.
func stampSamples(item, small []byte) []sample {
	one := Stamp{Acked: Round{7, 1 << 63}, Committed: Round{6, 5}}
	two := Stamp{Acked: Round{7, 1 << 63}}
	merge := MergeRequest{Wall: 5, Offers: []Offer{
		{Bucket: 9, Key: "a", Item: small, Stamp: one}, {Bucket: 9, Key: "b", Item: small, For: 3}, {Bucket: 9, Key: "c", Item: item, Stamp: two}, {Bucket: 8, Key: "a", Item: small, Stamp: one},
	}}
	mergeReply := MergeReply{Wall: 3, Stale: []int{0, 2}}
	read := ReadReply{Wall: 7, Items: []Lookedup{{Found: Present, Item: small, Stamp: two}, {Found: Absent, Item: []byte{}}, {Found: Same, Item: []byte{}, Stamp: one}}}
	members := [16]byte{1, 15: 9}
	stampsReq := StampsRequest{Members: members, Sum: 1 << 63, Shards: []int{0, 5, 270}}
	stamps := StampsReply{Able: true, Trusted: true, Stamps: []ShardStamp{{270, one}, {3, two}}}
	propose := ProposeRequest{Members: members, Proposals: []Proposal{
		{Shard: 270, Round: Round{8, 1}, Stamp: one, Tombs: []Tomb{{9, "k", small}, {1 << 63, "", item}}}, {Shard: 3, Round: Round{1, 1}},
	}}
	proposed := ProposeReply{Acked: []int{1}}
	commit := CommitRequest{Rounds: []ShardRound{{270, Round{8, 1}}, {3, Round{1, 1}}}}
	logReq := LogRequest{Shard: 270, Stamp: one, From: Round{2, 2}, Bucket: 9, Key: "k", More: true}
	buried := Buried{Round: Round{8, 1}, Over: true, Tomb: small, All: item}
	log := LogReply{Stamp: two, From: Round{1, 1}, Entries: []LogEntry{{9, "k", buried}, {9, "l", Buried{Round: Round{7, 1}, Tomb: small}}}, More: true}
	state := RoundState{Stamp: one, From: Round{1, 1}, Logged: Round{9, 1}}
	batch := RoundBatch{Round: Round{8, 1}, Keys: []RoundKey{{9, "k"}, {1 << 63, ""}}}
	imported := ImportState{Done: true, Cursor: []byte("d12k"), Anew: []byte("d12"), Brought: 1 << 50}
	cover := CoverRequest{Bucket: 9, Shard: 270, Roster: 1 << 63, Marks: []Mark{{"a", 1 << 63}, {"b", 2}}}
	covered := CoverReply{Refused: true, Missing: []int{0, 300}}
	held := HeldReply{Roster: 1 << 63, Leftover: []Held{{9, 270}, {1, 0}}, Seasoned: []SeasonedIn{{9, []byte{1, 255}}}}
	return []sample{
		{"merge-request-stamped", AppendMergeRequest(nil, &merge), merge, as(DecodeMergeRequest)},
		{"merge-reply-stale", AppendMergeReply(nil, mergeReply), mergeReply, as(DecodeMergeReply)},
		{"read-reply-stamped", AppendReadReply(nil, &read), read, as(DecodeReadReply)},
		{"stamps-request", AppendStampsRequest(nil, &stampsReq), stampsReq, as(DecodeStampsRequest)},
		{"stamps-reply", AppendStampsReply(nil, &stamps), stamps, as(DecodeStampsReply)},
		{"propose-request", AppendProposeRequest(nil, &propose), propose, as(DecodeProposeRequest)},
		{"propose-reply", AppendProposeReply(nil, &proposed), proposed, as(DecodeProposeReply)},
		{"commit-request", AppendCommitRequest(nil, &commit), commit, as(DecodeCommitRequest)},
		{"log-request", AppendLogRequest(nil, &logReq), logReq, as(DecodeLogRequest)},
		{"log-reply", AppendLogReply(nil, &log), log, as(DecodeLogReply)},
		{"buried", AppendBuried(nil, &buried), buried, as(DecodeBuried)},
		{"rounds", AppendRoundState(nil, state), state, as(DecodeRoundState)},
		{"scrub", AppendScrubState(nil, ScrubState{1 << 50, []byte("d12")}), ScrubState{1 << 50, []byte("d12")}, as(DecodeScrubState)},
		{"purge-wait", AppendPurgeWait(nil, PurgeWait{1 << 50}), PurgeWait{1 << 50}, as(DecodePurgeWait)},
		{"import", AppendImportState(nil, imported), imported, as(DecodeImportState)},
		{"round-batch", AppendRoundBatch(nil, &batch), batch, as(DecodeRoundBatch)},
		{"cover-request", AppendCoverRequest(nil, &cover), cover, as(DecodeCoverRequest)},
		{"cover-reply", AppendCoverReply(nil, &covered), covered, as(DecodeCoverReply)},
		{"held-request", AppendHeldRequest(nil, &HeldRequest{}), HeldRequest{}, as(DecodeHeldRequest)},
		{"held-reply", AppendHeldReply(nil, &held), held, as(DecodeHeldReply)},
	}
}

// Messages without stamps are what they were before there were any.
func TestMessagesWithoutStampsAreAsBefore(t *testing.T) {
	for _, data := range [][]byte{
		AppendMergeRequest(nil, &MergeRequest{Offers: []Offer{{Key: "k", Item: []byte{1}}}}),
		AppendMergeReply(nil, MergeReply{Code: CodeOK}),
		AppendReadReply(nil, &ReadReply{Items: []Lookedup{{Found: Absent}}}),
	} {
		if data[0] != replicaVersion {
			t.Errorf("version %d", data[0])
		}
	}
}

func TestLogKeys(t *testing.T) {
	k := LogKey(RecordKey(270, 9, "key"))
	shard, bucket, key, ok := ParseLogKey(k)
	if !ok || shard != 270 || bucket != 9 || key != "key" {
		t.Fatal(shard, bucket, key, ok)
	}
	if _, _, _, ok := ParseLogKey(RecordKey(270, 9, "key")); ok {
		t.Fatal("a record read as a log entry")
	}
	lower, upper := LogRange(270)
	if string(k) < string(lower) || string(k) >= string(upper) {
		t.Fatal("not in the range of its shard")
	}
}

// fuzzFormat checks that what a decoder takes reads back the same.
func fuzzFormat[T any](f *testing.F, decode func([]byte) (T, error), encode func(T) []byte) {
	for _, s := range samples() {
		f.Add(s.data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { readsBack(t, data, decode, func(v *T) []byte { return encode(*v) }) })
}

func FuzzDecodeStampsRequest(f *testing.F) {
	fuzzFormat(f, DecodeStampsRequest, func(m StampsRequest) []byte { return AppendStampsRequest(nil, &m) })
}

func FuzzDecodeImportState(f *testing.F) {
	fuzzFormat(f, DecodeImportState, func(m ImportState) []byte { return AppendImportState(nil, m) })
}

func TestAsideKeys(t *testing.T) {
	record := RecordKey(270, 9, "key")
	k := AsideKey(record)
	if string(ParseAsideKey(k)) != string(record) || len(ParseAsideKey(nil)) != 0 {
		t.Fatalf("%q reads as %q", k, ParseAsideKey(k))
	}
	if lower, upper := AsideRange(); string(k) < string(lower) || string(k) >= string(upper) {
		t.Fatal("not in the range of what was set aside")
	}
	if lower, upper := ShardRange(270); string(record) < string(lower) || string(record) >= string(upper) || string(RecordKey(271, 0, "")) < string(upper) {
		t.Fatal("not in the range of its shard")
	}
}

// FuzzParseAsideKey reads any key as one of a record that was set aside.
func FuzzParseAsideKey(f *testing.F) {
	f.Add(AsideKey(RecordKey(270, 9, "key")))
	f.Fuzz(func(t *testing.T, k []byte) {
		record := ParseAsideKey(k)
		if len(k) > 0 && string(AsideKey(record)[1:]) != string(k[1:]) {
			t.Fatalf("%x reads as %x", k, record)
		}
	})
}

func FuzzDecodeStampsReply(f *testing.F) {
	fuzzFormat(f, DecodeStampsReply, func(m StampsReply) []byte { return AppendStampsReply(nil, &m) })
}

func FuzzDecodeProposeRequest(f *testing.F) {
	fuzzFormat(f, DecodeProposeRequest, func(m ProposeRequest) []byte { return AppendProposeRequest(nil, &m) })
}

func FuzzDecodeProposeReply(f *testing.F) {
	fuzzFormat(f, DecodeProposeReply, func(m ProposeReply) []byte { return AppendProposeReply(nil, &m) })
}

func FuzzDecodeCommitRequest(f *testing.F) {
	fuzzFormat(f, DecodeCommitRequest, func(m CommitRequest) []byte { return AppendCommitRequest(nil, &m) })
}

func FuzzDecodeLogRequest(f *testing.F) {
	fuzzFormat(f, DecodeLogRequest, func(m LogRequest) []byte { return AppendLogRequest(nil, &m) })
}

func FuzzDecodeLogReply(f *testing.F) {
	fuzzFormat(f, DecodeLogReply, func(m LogReply) []byte { return AppendLogReply(nil, &m) })
}

func FuzzDecodeBuried(f *testing.F) {
	fuzzFormat(f, DecodeBuried, func(m Buried) []byte { return AppendBuried(nil, &m) })
}

func FuzzDecodeRoundState(f *testing.F) {
	fuzzFormat(f, DecodeRoundState, func(m RoundState) []byte { return AppendRoundState(nil, m) })
}

func FuzzDecodeRoundBatch(f *testing.F) {
	fuzzFormat(f, DecodeRoundBatch, func(m RoundBatch) []byte { return AppendRoundBatch(nil, &m) })
}

func FuzzDecodeCoverRequest(f *testing.F) {
	fuzzFormat(f, DecodeCoverRequest, func(m CoverRequest) []byte { return AppendCoverRequest(nil, &m) })
}

func FuzzDecodeCoverReply(f *testing.F) {
	fuzzFormat(f, DecodeCoverReply, func(m CoverReply) []byte { return AppendCoverReply(nil, &m) })
}

func FuzzDecodeHeldRequest(f *testing.F) {
	fuzzFormat(f, DecodeHeldRequest, func(m HeldRequest) []byte { return AppendHeldRequest(nil, &m) })
}

func FuzzDecodeHeldReply(f *testing.F) {
	fuzzFormat(f, DecodeHeldReply, func(m HeldReply) []byte { return AppendHeldReply(nil, &m) })
}

func FuzzDecodePurgeWait(f *testing.F) {
	fuzzFormat(f, DecodePurgeWait, func(m PurgeWait) []byte { return AppendPurgeWait(nil, m) })
}

func FuzzDecodeScrubState(f *testing.F) {
	fuzzFormat(f, DecodeScrubState, func(m ScrubState) []byte { return AppendScrubState(nil, m) })
}

func FuzzParseLogKey(f *testing.F) {
	f.Add(LogKey(RecordKey(270, 9, "key")))
	f.Fuzz(func(t *testing.T, k []byte) {
		if shard, bucket, key, ok := ParseLogKey(k); ok && string(LogKey(RecordKey(shard, bucket, key))) != string(k) {
			t.Fatalf("%x read as %d %d %q", k, shard, bucket, key)
		}
	})
}
